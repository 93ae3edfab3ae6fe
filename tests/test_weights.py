"""Weights: which ones a model has, whether they are the same as before, and the memory they take."""

import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from tiny_models import build_generator

import forgekit as fk
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.models import DrawRequest, load_model, load_stored_model, memory, weights
from forgekit.models.detector import DetectorJudge
from forgekit.models.generator import DiffusionGenerator
from forgekit.models.vlm import VQAJudge

SMALL = {"height": 16, "width": 16, "num_inference_steps": 1}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def flux(tmp_path) -> Path:
    return build_generator("flux", tmp_path / "flux")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return what puts a file of a repository into an empty cache of the hub, as a download does."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    weights._absent.clear()

    def put(repo: str, name: str, text: str) -> str:
        home = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
        for folder, file, content in (("refs", "main", COMMIT), (f"snapshots/{COMMIT}", name, text)):
            (home / folder).mkdir(parents=True, exist_ok=True)
            (home / folder / file).write_text(content)
        return str(home / "snapshots" / COMMIT / name)

    return put


def aged(path: Path, seconds: float = 60) -> Path:
    """Set a file's time back, as that of weights which were written some time ago."""
    os.utime(path, (time.time() - seconds,) * 2)
    return path


# identity


def test_a_byte_in_the_middle_of_the_weights_changes_their_hash_and_a_readme_does_not(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(300_000))
    before = weights.fingerprint(tmp_path)
    (tmp_path / "README.md").write_text("trained on a Monday")
    (tmp_path / ".gitattributes").write_text("*")
    assert weights.fingerprint(tmp_path) == before
    file.write_bytes(bytes(1000) + b"\1" + bytes(298_999))
    assert weights.fingerprint(tmp_path) != before
    file.write_bytes(bytes(300_000))
    assert weights.fingerprint(tmp_path) == before
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert weights.fingerprint(tmp_path) != before


def test_a_file_is_read_once_for_all_processes_until_its_size_or_time_changes(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    home = tmp_path / "model"
    home.mkdir()
    file = home / "model.safetensors"
    file.write_bytes(b"one")
    aged(file)
    read = []
    real = weights.file_digest
    monkeypatch.setattr(weights, "file_digest", lambda file, how: read.append(file.name) or real(file, how))
    first = weights.fingerprint(home)
    assert weights.fingerprint(home) == first and len(read) == 1
    file.write_bytes(b"two")
    aged(file, 30)
    assert weights.fingerprint(home) != first and len(read) == 2


def test_a_file_written_just_now_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "model.safetensors").write_bytes(b"one")
    first, now = weights.fingerprint(tmp_path), (tmp_path / "model.safetensors").stat().st_mtime_ns
    (tmp_path / "model.safetensors").write_bytes(b"two")
    os.utime(tmp_path / "model.safetensors", ns=(now, now))  # within what the file system's clock can tell apart
    assert weights.fingerprint(tmp_path) != first


def test_a_hub_model_has_the_key_of_its_commit_before_its_weights_are_there_and_after(hub, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", lambda repo, name, revision=None: hub(repo, name, "{}"), raising=True
    )
    before = DiffusionGenerator.from_address("owner/model").describe()
    hub("owner/model", "model.safetensors", "weights")
    after = DiffusionGenerator.from_address("owner/model").describe()
    assert before == after and before["revision"] == COMMIT


def test_a_lookup_that_failed_is_not_repeated(hub, monkeypatch):
    asked = []

    def no_network(repo, name, revision=None):
        asked.append(name)
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", no_network)
    generator = DiffusionGenerator.from_address("owner/model")
    tokenizers = []
    monkeypatch.setattr("forgekit.models.generator.load_readers", lambda *_: tokenizers.append(1) or no_network("", ""))
    assert all(generator.fits("a cat") for _ in range(20))
    assert [generator.describe()["revision"] for _ in range(20)] == [None] * 20
    assert len(tokenizers) == 1 and asked.count("model_index.json") == 1


@pytest.mark.parametrize(
    ("repo", "settings", "family"),
    [
        ("owner/eclipse-7b", {"model_type": "qwen2_5_vl"}, VQAJudge),
        ("owner/finder", {"model_type": "owlv2"}, DetectorJudge),
        ("owner/not-owlv2-but-a-vlm", {"model_type": "smolvlm"}, VQAJudge),
    ],
)
def test_a_judge_is_of_the_family_that_its_settings_tell_whatever_its_name(hub, repo, settings, family):
    hub(repo, "config.json", json.dumps(settings))
    assert type(load_model("vision_model", repo)) is family


# one object, settings


def test_the_same_address_is_the_same_object_until_its_files_change(flux):
    first = load_model("image_generator", str(flux))
    before = first.describe()
    assert load_model("image_generator", str(flux)) is first
    assert load_stored_model("image_generator", str(flux)) is first
    (flux / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "FlowMatchEulerDiscreteScheduler"}')
    second = load_model("image_generator", str(flux))
    assert second is not first and second.describe()["revision"] != before["revision"]


def test_a_folder_is_loaded_once_for_twenty_prompts_and_drawn_by_its_path(store, flux, monkeypatch):
    from diffusers import AutoPipelineForText2Image

    loads = []
    real = AutoPipelineForText2Image.from_pretrained
    monkeypatch.setattr(AutoPipelineForText2Image, "from_pretrained", lambda *a, **k: loads.append(a) or real(*a, **k))
    texts = pd.DataFrame({"prompt": [f"a red circle and {n} stars" for n in range(20)]})
    fk.import_prompts(store, texts, model=str(flux), parameters=SMALL)
    fk.complete_prompts(store)
    for _ in range(2):
        report = fk.generate_images(store, image_generator=str(flux), images_per_prompt=1, images_per_batch=4)
    assert store.rows("select count(*) as n from generated_images") == [{"n": 20}], report.failures
    assert len(loads) == 1


def test_settings_stand_behind_a_name(flux):
    model = load_model("image_generator", f"{flux}?dtype=bfloat16&batch_size=2&offload=model")
    assert (model.dtype, model.batch_size, model.offload) == ("bfloat16", 2, "model")
    assert load_model("image_generator", f"{flux}?dtype=bfloat16&batch_size=2&offload=model") is model
    assert load_model("image_generator", "flux-2?offload=sequential").defaults["num_inference_steps"] == 50
    assert load_model("vision_model", "mini-fuyu?least_mass=0.5&count_questions=false").count_questions is False


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mini?ofload=model", "no setting 'ofload'. Did you mean 'offload'"),
        ("mini?offload=gpu", "offload='gpu' of mini: it is one of '', 'model', 'sequential'"),
        ("mini?batch_size=many", "batch_size='many' of mini"),
        ("mini?repo=/tmp/evil", "no setting 'repo'"),
        ("mini?offload", r"write settings as in mini\?offload=model"),
    ],
)
def test_a_setting_that_a_model_does_not_have_is_refused(name, reason):
    with pytest.raises(ParameterError, match=reason):
        load_model("image_generator", name)


def test_settings_are_no_way_around_what_data_may_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "model_index.json").write_text("{}")
    (tmp_path / "own" / "code.py").write_text("")
    for name in ("own?dtype=float32", "../elsewhere?dtype=float32", "os:abort?dtype=float32"):
        with pytest.raises(UnknownModelError, match="no image_generator is loaded"):
            load_stored_model("image_generator", name)


def test_prompts_are_recorded_under_the_name_without_settings(store):
    fk.import_prompts(store, pd.DataFrame({"prompt": ["a red circle"]}), model="mini?batch_size=2")
    assert store.rows("select model from prompts") == [{"model": "mini"}]


# memory


def test_models_are_let_go_when_the_next_does_not_fit_and_only_then(flux, monkeypatch):
    one, two = (DiffusionGenerator(name, str(flux)) for name in ("one", "two"))
    assert one.pipeline and two.pipeline
    assert one in memory.loaded() and two in memory.loaded()
    three = DiffusionGenerator("three", str(flux))
    monkeypatch.setattr(memory, "room", lambda device: 1000)
    assert three.pipeline
    assert [model.name for model in memory.loaded()] == ["three"]
    monkeypatch.undo()
    assert not isinstance(one.draw([DrawRequest("a red circle", 1, SMALL)])[0], fk.errors.ItemError)


def test_tokenizers_need_no_room_so_that_completing_prompts_lets_no_model_go(flux, monkeypatch):
    busy, asked = DiffusionGenerator("busy", str(flux)), DiffusionGenerator("asked", str(flux))
    assert busy.pipeline
    monkeypatch.setattr(memory, "room", lambda device: 1000)
    assert asked.fits("a red circle")
    assert busy in memory.loaded()


def full_memory(*_, **__):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 24 GiB")


def test_memory_that_is_full_while_loading_is_freed_of_other_models_first(flux, monkeypatch):
    from diffusers import FluxPipeline

    idle = DiffusionGenerator("idle", str(flux))
    assert idle.pipeline
    real = FluxPipeline.to
    monkeypatch.setattr(
        FluxPipeline, "to", lambda self, device: full_memory() if idle in memory.loaded() else real(self, device)
    )
    assert DiffusionGenerator("next", str(flux)).pipeline
    assert idle not in memory.loaded()


def test_a_model_that_does_not_fit_says_what_would_and_the_prompts_of_others_are_drawn(store, flux, monkeypatch):
    from diffusers import FluxPipeline

    real = FluxPipeline.to
    monkeypatch.setattr(FluxPipeline, "to", lambda self, device: full_memory() if large(self) else real(self, device))
    fk.import_prompts(store, pd.DataFrame({"prompt": ["a red circle"]}), model=str(flux), parameters=SMALL)
    fk.import_prompts(store, pd.DataFrame({"prompt": ["a red circle"]}), parameters={"num_inference_steps": 1})
    fk.complete_prompts(store)
    report = fk.generate_images(store, images_per_prompt=1)
    assert report.done == 1
    (reason,) = report.failures.values()
    assert (
        "out of memory while loading" in reason and "flux?offload=model" in reason and "flux?dtype=bfloat16" in reason
    )
    assert store.rows("select p.model from generated_images i join prompts p on p.id = i.prompt_id") == [
        {"model": "mini"}
    ]


def large(pipeline) -> bool:
    """Say whether it is the tiny one, which stands for one that is too large: mini's weights lie in the package."""
    return "mini" not in str(pipeline.config._name_or_path)


def test_memory_that_is_full_while_drawing_is_freed_of_idle_models_before_batches_shrink(flux, monkeypatch):
    idle, busy = DiffusionGenerator("idle", str(flux)), DiffusionGenerator("busy", str(flux))
    assert idle.pipeline and busy.pipeline
    sizes = []
    real = type(busy.pipeline).__call__

    def crowded(self, prompt, **call):
        sizes.append(len(prompt))
        return full_memory() if idle in memory.loaded() else real(self, prompt=prompt, **call)

    monkeypatch.setattr(type(busy.pipeline), "__call__", crowded)
    vars(busy)["_signature"] = __import__("inspect").signature(real).parameters
    drawn = busy.draw([DrawRequest("a red circle", seed, SMALL) for seed in range(4)])
    assert sizes == [4, 4] and not any(isinstance(d, fk.errors.ItemError) for d in drawn)


# pipelines


def test_a_pipeline_that_has_no_task_in_diffusers_is_loaded_as_its_index_says(tmp_path):
    folder = build_generator("stable-diffusion", tmp_path / "sag")
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPanoramaPipeline"}))
    generator = DiffusionGenerator.from_address(str(folder))
    assert type(generator.pipeline).__name__ == "StableDiffusionPanoramaPipeline"


def test_a_prompt_longer_than_the_pipeline_reads_does_not_fit_also_where_no_default_says_so(tmp_path):
    folder = build_generator("flux-2-klein", tmp_path / "klein")
    generator = DiffusionGenerator.from_address(str(folder))
    assert generator.fits("a red circle " * 100) and not generator.fits("a red circle " * 233)
    assert "pipeline" not in vars(generator)


@pytest.mark.parametrize(("family", "dtype"), [(VQAJudge, "bfloat16"), (DetectorJudge, "float16")])
def test_half_precision_on_an_accelerator_is_that_of_the_family(family, dtype):
    from forgekit.models.memory import placement

    assert placement(family("judge", "owner/model", device="cuda")) == ("cuda", dtype)
    assert placement(family("judge", "owner/model", device="cuda", dtype="float32")) == ("cuda", "float32")
    assert placement(family("judge", "owner/model", device="cpu")) == ("cpu", "float32")
