"""`forgekit doctor`: what is wrong before a run, what would work, and what it will take."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from loopback_hub import hub, use_hub
from safetensors.numpy import save_file
from served_models import answered, picture, serving
from tiny_models import build_generator

import forgekit as fk
from forgekit.errors import UnknownModelError
from forgekit.models import load_model

FLUX_1 = ["flux-1", "Qwen3-VL-8B", "CLIP-L14", "qwen3-4b"]  # one of each kind of repository


def found(report, what):
    """The findings about one thing, as (verdict, what was found with what would work)."""
    return [(f.verdict, f"{f.found} → {f.remedy}") for f in report.findings if f.what == what]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_generator("flux", tmp_path_factory.mktemp("models") / "tiny-flux")


@pytest.fixture
def tiny(folder, tmp_path, monkeypatch):
    """A folder with a pipeline, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(folder, tmp_path / "tiny-flux")


def elapsed(command, **environment):
    """What a command says, its exit status, and the seconds of processor time that it took."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    after = os.times()
    assert not done.stderr, done.stderr
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, done.returncode, spent


# weights


def test_missing_weights_are_found_in_seconds_without_a_network_and_without_torch(tmp_path):
    code = "import sys; from forgekit.cli import main; status = main(); print('torch' in sys.modules); sys.exit(status)"
    command = [sys.executable, "-c", code, "doctor", *FLUX_1, "--store", str(tmp_path / "no.duckdb")]
    told, status, seconds = elapsed(command, HF_HOME=str(tmp_path / "hub"))
    assert (status, seconds < 5) == (1, True), seconds
    assert told.splitlines()[0].startswith("doctor: 4 faults, 0 warnings")
    for name in FLUX_1:
        assert f"→ forgekit fetch {name}" in told
    assert told.endswith("False\n")
    assert not list(tmp_path.iterdir())  # nothing is written


def test_the_hub_says_size_licence_and_gate_where_it_is_asked(tmp_path, monkeypatch):
    for owner, size in (("open", 3 << 20), ("gated", 5 << 20)):
        (tmp_path / owner / "m").mkdir(parents=True)
        (tmp_path / owner / "m" / "config.json").write_text("{}")
        (tmp_path / owner / "m" / "model.safetensors").write_bytes(bytes(size))
        (tmp_path / owner / "m" / "pytorch_model.bin").write_bytes(bytes(size))
    asked: list[str] = []
    with hub(tmp_path, gated=("gated/m",), asked=asked) as address:
        use_hub(monkeypatch, address, tmp_path / "cache")
        fk.doctor(None, "open/m")
        assert asked == []
        told = [text for _, text in found(fk.doctor(None, "open/m", "gated/m", online=True), "weights")]
    assert "a download of 3.0 MiB, licence apache-2.0 → forgekit fetch open/m" in told[0]
    assert "5.0 MiB, licence apache-2.0, to be accepted on its page first" in told[1]


@pytest.mark.parametrize("kind", ["closed", "silent", "offline"])
def test_without_a_network_the_hub_is_said_to_be_out_of_reach_in_seconds(tmp_path, monkeypatch, kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "silent" else 9
        use_hub(monkeypatch, f"http://127.0.0.1:{port}", tmp_path, offline=kind == "offline")
        started = time.monotonic()
        report = fk.doctor(None, "owner/one", "owner/two", online=True)
        assert time.monotonic() - started < 5
    assert [verdict for verdict, _ in found(report, "hub")] == ["fault"] * 2
    assert "HF_HUB_OFFLINE" in found(report, "hub")[0][1]
    assert "forgekit fetch owner/one" in found(report, "weights")[0][1]


@pytest.mark.parametrize(
    ("gone", "lacks"),
    [("vae", "vae/"), ("transformer/diffusion_pytorch_model.safetensors", "the weights of transformer")],
)
def test_a_folder_without_all_parts_is_a_fault(tiny, gone, lacks):
    path = tiny / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    ((verdict, told),) = found(fk.doctor(None, str(tiny)), "weights")
    assert (verdict, f"it lacks {lacks}" in told) == ("fault", True)


def test_a_missing_shard_and_a_file_cut_short_are_faults(tiny):
    weights = tiny / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "they cannot be read" in found(fk.doctor(None, str(tiny)), "weights")[1][1]
    index = {"weight_map": {"a": "x-00001-of-00002.safetensors", "b": "x-00002-of-00002.safetensors"}}
    (weights.parent / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    weights.rename(weights.parent / "x-00001-of-00002.safetensors")
    assert "lacks transformer/x-00002-of-00002" in found(fk.doctor(None, str(tiny)), "weights")[0][1]


@pytest.mark.parametrize(
    ("index", "lacks"),
    [
        ({"_class_name": "MyOwnPipeline"}, "it lacks a pipeline of diffusers: model_index.json names 'MyOwnPipeline'"),
        ({"_class_name": ["pipeline", "Mine"]}, "names ['pipeline', 'Mine']"),
        ({"image_encoder": None}, "it lacks image_encoder (null in model_index.json; write [null, null])"),
    ],
)
def test_an_index_that_diffusers_cannot_read_is_a_fault(tiny, index, lacks):
    file = tiny / "model_index.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | index))
    ((verdict, told),) = found(fk.doctor(None, str(tiny)), "weights")
    assert (verdict, lacks in told) == ("fault", True), told


def tensors(path, *names):
    save_file({name: np.zeros((2, 2), np.float32) for name in names}, path)


MISNAMED = {
    "one.safetensors": (lambda path: tensors(path, "a", "b", "c"), "a checkpoint in one file.*from_single_file"),
    "lora.safetensors": (lambda path: tensors(path, "lora_unet_x.lora_down.weight"), "a LoRA.*parameters="),
    "words.safetensors": (lambda path: tensors(path, "emb_params"), "an embedding"),
    "cut.safetensors": (lambda path: path.write_bytes(b"version https://git-lfs"), "cannot be read; fetch or copy it again"),
    "old.ckpt": (lambda path: path.write_bytes(b"PK"), "a checkpoint in one file.*from_single_file"),
    "q4.gguf": (lambda path: path.write_bytes(b"GGUF"), "GGUF.*llama.cpp"),
    "m.onnx": (lambda path: path.write_bytes(b"x"), "ONNX.*safetensors"),
    "folder/q4.gguf": (lambda path: path.write_bytes(b"GGUF"), "GGUF.*llama.cpp"),
    "folder/pytorch_lora_weights.safetensors": (lambda path: tensors(path, "unet.x.lora_A.weight"), "a LoRA"),
    "folder/adapter_config.json": (lambda path: path.write_text("{}"), "a LoRA"),
    "folder/config.json": (lambda path: path.write_text('{"_class_name": "ControlNetModel"}'), r"a part of a pipeline \(ControlNetModel\)"),
    "folder/.cache": (lambda path: path.write_text(""), "a folder without a model"),
    "folder/snap/model_index.json": (lambda path: path.write_text('{"_class_name": "X"}'), "name '.*folder/snap'"),
}  # fmt: skip


@pytest.mark.parametrize("place", MISNAMED)
@pytest.mark.parametrize("role", ["image_generator", "vision_model"])
def test_what_is_no_model_is_named_for_what_it_is_with_what_would_work(tmp_path, place, role):
    write, told = MISNAMED[place]
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    write(tmp_path / place)
    name = str(tmp_path / place.split("/")[0])
    with pytest.raises(UnknownModelError, match=f"no {role} is at '{name}': it is .*{told}"):
        load_model(role, name)
    ((verdict, text),) = found(fk.doctor(None, name), "name")
    assert (verdict, bool(re.search(told, text))) == ("fault", True)


def test_a_part_that_only_reads_text_is_no_judge(tiny):
    with pytest.raises(UnknownModelError, match="a model of the type 'clip_text_model', which has another role"):
        load_model("vision_model", str(tiny / "text_encoder"))
    assert found(fk.doctor(None, str(tiny / "text_encoder")), "name")[0][0] == "fault"


# memory


def test_weights_take_what_their_numbers_take_in_the_dtype_and_what_would_fit_is_named(tiny):
    parts = load_model("image_generator", str(tiny)).pipeline.components
    numbers = {
        name: sum(p.numel() for p in part.parameters()) for name, part in parts.items() if hasattr(part, "parameters")
    }
    # Of one picture: twice 1024² pixels in the autoencoder's one halving and patches of 2 × 2, 32 channels, 24 numbers, 2 bytes.
    picture_mib = 2 * (1024 * 1024 // 4 // 4) * 32 * 24 * 2 // 2**20
    assert picture_mib == 192
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=10), "memory")
    assert verdict == "ok"
    assert f"{sum(numbers.values()) * 2 / 2**20:.1f} MiB of weights and an estimated {4 * picture_mib:.1f} MiB" in told
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=0.3), "memory")
    assert (verdict, f"would fit: {tiny}?batch_size=1" in told) == ("fault", True)
    largest = max(numbers.values()) * 2 / 2**20 + picture_mib
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=(largest + 0.01) / 1024), "memory")
    assert f"would fit: {tiny}?batch_size=1&offload=model" in told
    told = found(fk.doctor(None, f"{tiny}?batch_size=2", memory_gib=0.3), "memory")[0][1]
    assert f"would fit: {tiny}?batch_size=1 (about" in told


def test_too_little_memory_on_this_machine_is_a_fault_found_in_seconds(tiny):
    code = (
        "import sys; from forgekit.checkup import models; models.room = lambda device: 40 << 20\n"
        "from forgekit.cli import main; status = main(); print('diffusers' in sys.modules); sys.exit(status)"
    )
    told, status, seconds = elapsed([sys.executable, "-c", code, "doctor", str(tiny)])
    assert status == 1
    assert told.endswith("False\n")  # which takes longest to import
    if seconds >= 5:  # others work on this machine: as they slow this, they slow the import of torch
        assert seconds < 2.5 * elapsed([sys.executable, "-c", "import torch"])[2]
    assert "where 40.0 MiB are free" in told
    assert "none of its settings fits" in told
    assert "would fit: mini-clip?" in "".join(t for _, t in found(_with_room(6 << 20, "mini-clip"), "memory"))


def _with_room(room, *names):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forgekit.checkup.models.room", lambda device: room)
        return fk.doctor(None, *names)


def test_quantised_numbers_keep_their_bytes_and_a_language_model_loads_as_it_is_stored(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file(
        {"a": torch.zeros(1 << 20, dtype=torch.float32), "b": torch.zeros(1 << 20, dtype=torch.int8)},
        tmp_path / "model.safetensors",
    )
    settings = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    told = found(fk.doctor(None, str(tmp_path), memory_gib=1), "memory")[0][1]
    assert told.startswith("5.0 MiB of weights")  # 4 + 1
    settings |= {"vision_config": {"hidden_size": 8}, "architectures": ["X"]}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert found(fk.doctor(None, str(tmp_path), memory_gib=1), "memory")[0][1].startswith("3.0 MiB of weights")  # 2 + 1


# what runs elsewhere


def test_a_server_that_is_down_silent_or_has_another_model_is_a_fault_in_seconds():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(lambda *_: answered({"data": [{"id": "other"}]})) as other,
    ):
        names = [
            "http://127.0.0.1:9/v1#m",
            f"http://127.0.0.1:{silent.getsockname()[1]}/v1#m",
            f"{other}#m",
            f"{other}#other",
        ]
        started = time.monotonic()
        report = fk.doctor(None, *names)
        assert time.monotonic() - started < 5
    told = found(report, "server")
    assert [verdict for verdict, _ in told] == ["fault"] * 3 + ["ok"]
    assert "Connection refused → start it" in told[0][1]
    assert "timed out → start it" in told[1][1]
    assert f"has other → start it with that model, or name one that it has: {other}#other" in told[2][1]


@pytest.mark.parametrize(
    ("status", "verdict", "remedy"), [(401, "fault", "OPENAI_API_KEY"), (404, "warning", "--dry-run")]
)
def test_a_server_that_refuses_to_list_its_models_is_told_apart_from_one_that_is_down(status, verdict, remedy):
    with serving(lambda *_: answered({"error": "no"}, status)) as address:
        ((seen, told),) = found(fk.doctor(None, f"{address}#m"), "server")
    assert (seen, remedy in told) == (verdict, True)


def test_a_dry_run_tells_whether_a_server_honours_seeds():
    from PIL import Image

    shades = iter(range(1, 99))

    def answer(path, body):
        if path.endswith("/models"):
            return answered({"data": [{"id": "flat"}]})
        return picture(Image.new("RGB", (8, 8), (next(shades), 0, 0)))

    with serving(answer) as address:
        report = fk.doctor(None, f"{address}#flat", dry_run=True)
    assert found(report, "dry run")[0][0] == "ok"
    assert found(report, "seeds")[0][0] == "warning"
    assert report.failed == 0


def test_mlflow_and_ray_are_asked_where_they_are_named(store, monkeypatch):
    report = fk.doctor(store, "ray:mini?workers=2&address=127.0.0.1:9", tracking_uri="http://127.0.0.1:9")
    assert found(report, "mirror")[0][0] == "fault"
    assert found(report, "ray")[0][0] == "fault"
    monkeypatch.setattr("forgekit.checkup.services.find_spec", lambda name: None)
    assert "pip install 'forgekit[ray]'" in found(fk.doctor(store, "ray:mini"), "ray")[0][1]
    assert found(fk.doctor(store, "mini"), "mirror") == [
        ("ok", "mlflow.db beside the store, made when it is needed → ")
    ]
