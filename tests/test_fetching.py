"""Fetching weights: of a repository's files, those that the model's loader reads and no others; from a hub on loopback."""

from __future__ import annotations

from pathlib import Path

import pytest
from diffusers import DiffusionPipeline
from loopback_hub import hub, use_hub
from tiny_models import flux

import forgekit as fk
from forgekit.models.fetching import Repository, needed, repository_of
from forgekit.models.loading import find_model

SCHEDULER = "scheduler/scheduler_config.json"
TOKENS = [
    f"{tokenizer}/{name}"
    for tokenizer, own in (
        ("tokenizer", ("merges.txt", "vocab.json")),
        ("tokenizer_2", ("spiece.model", "tokenizer.json")),
    )
    for name in (*own, "special_tokens_map.json", "tokenizer_config.json")
]
INDEX = {
    "_class_name": "FluxPipeline",
    "safety_checker": [None, None],
    **{
        part: ["diffusers", "X"] for part in ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
    },
    **{part: ["diffusers", "X"] for part in ("transformer", "vae")},
}
TRANSFORMER = [f"transformer/diffusion_pytorch_model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
# The files of black-forest-labs/FLUX.1-dev, of which the two at the top are the transformer and the autoencoder once more.
FLUX = [
    ".gitattributes", "LICENSE.md", "README.md", "ae.safetensors", "dev_grid.jpg", "flux1-dev.safetensors",
    "model_index.json", SCHEDULER, "text_encoder/config.json", "text_encoder/model.safetensors",
    "text_encoder_2/config.json", "text_encoder_2/model-00001-of-00002.safetensors",
    "text_encoder_2/model-00002-of-00002.safetensors", "text_encoder_2/model.safetensors.index.json", *TOKENS,
    "transformer/config.json", *TRANSFORMER, "transformer/diffusion_pytorch_model.safetensors.index.json",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip
# The parts of stabilityai/stable-diffusion-xl-base-1.0, each in single and half precision, for other programs, and pickled.
SDXL = [
    "README.md", "model_index.json", "sd_xl_base_1.0.safetensors", "sd_xl_base_1.0_0.9vae.safetensors", "pipeline.png",
    "scheduler/scheduler_config.json", "tokenizer/vocab.json", "vae_1_0/config.json",
    "vae_1_0/diffusion_pytorch_model.safetensors", "vae_decoder/model.onnx", "vae/config.json", "unet/config.json",
    "text_encoder/config.json", "text_encoder/model.onnx", "text_encoder/flax_model.msgpack", "unet/openvino_model.xml",
    "text_encoder/model.safetensors", "text_encoder/model.fp16.safetensors", "text_encoder/openvino_model.bin",
    *(f"{part}/diffusion_pytorch_model{kind}" for part in ("unet", "vae")
      for kind in (".bin", ".fp16.bin", ".safetensors", ".fp16.safetensors")),
]  # fmt: skip
PARTS = {name: ["diffusers", "X"] for name in ("scheduler", "text_encoder", "tokenizer", "unet", "vae")}


def test_of_a_pipeline_the_weights_of_other_programs_stay_behind():
    other = {".gitattributes", "LICENSE.md", "README.md", "ae.safetensors", "dev_grid.jpg", "flux1-dev.safetensors"}
    assert needed(FLUX, INDEX) == sorted(set(FLUX) - other)
    assert needed(FLUX) == needed(FLUX, INDEX)  # where its index cannot be read


@pytest.mark.parametrize(("variant", "mark"), [(None, ""), ("fp16", ".fp16")])
def test_weights_come_in_one_precision_the_one_that_is_loaded(variant, mark):
    weights = [f"{part}/diffusion_pytorch_model{mark}.safetensors" for part in ("unet", "vae")]
    settings = ["model_index.json", "scheduler/scheduler_config.json", "tokenizer/vocab.json"]
    settings += [f"{part}/config.json" for part in ("text_encoder", "unet", "vae")]
    assert needed(SDXL, PARTS, variant) == sorted([*settings, *weights, f"text_encoder/model{mark}.safetensors"])


def test_a_part_without_the_variant_comes_as_it_is():
    files = [
        "model_index.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]
    assert needed(files, PARTS, "fp16") == files


def test_shards_of_a_variant_are_known_by_both_ways_of_naming_them_and_come_with_their_index():
    new = [f"unet/diffusion_pytorch_model.fp16-0000{n}-of-00002.safetensors" for n in (1, 2)]
    old = [f"text_encoder/model-0000{n}-of-00002.fp16.safetensors" for n in (1, 2)]
    indexes = [
        "text_encoder/model.safetensors.index.fp16.json",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
    ]
    plain = ["text_encoder/model.safetensors", "unet/diffusion_pytorch_model.safetensors.index.json"]
    files = ["model_index.json", *new, *old, *indexes, *plain]
    assert needed(files, PARTS, "fp16") == sorted({*files} - {*plain})
    assert needed(files, PARTS) == sorted(["model_index.json", *plain])


def test_pickles_come_only_where_a_part_has_nothing_else():
    files = ["model_index.json", "unet/diffusion_pytorch_model.bin", "unet/diffusion_pytorch_model.safetensors"]
    assert needed(files, PARTS) == [files[0], files[2]]
    files += ["vae/diffusion_pytorch_model.bin"]  # then diffusers takes pickles for all parts
    assert needed(files, PARTS) == [files[0], files[1], files[3]]


def test_of_a_transformers_model_one_form_of_the_weights_comes_with_all_its_settings():
    settings = [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "merges.txt",
        "preprocessor_config.json",
    ]
    settings += ["tokenizer.json", "tokenizer.model", "tokenizer_config.json", "vocab.json"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    others = [
        "pytorch_model-00001-of-00002.bin",
        "pytorch_model.bin.index.json",
        "consolidated.safetensors",
        "tf_model.h5",
    ]
    others += [
        "original/consolidated.00.pth",
        "onnx/model.onnx",
        "q4.gguf",
        "modeling_x.py",
        "README.md",
        "runs/log.txt",
    ]
    assert needed([*settings, *shards, *others]) == sorted([*settings, *shards])
    whole = "model.safetensors"  # transformers prefers it to the same in shards
    assert needed([*settings, *shards, *others, whole]) == sorted([*settings, whole])
    assert needed(["config.json", "pytorch_model.bin", "flax_model.msgpack"]) == ["config.json", "pytorch_model.bin"]


def test_of_an_open_clip_repository_that_is_one_of_transformers_too_its_own_weights_come():
    files = ["open_clip_config.json", "open_clip_model.safetensors", "open_clip_pytorch_model.bin", "tokenizer.json"]
    both = [*files, "model.safetensors", "pytorch_model.bin", "config.json"]
    assert needed(both) == ["config.json", "open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize("name", ["CLIP-L14", "CLIP-H14", "SigLIP2", "MobileCLIP2"])
def test_where_the_weights_of_a_known_name_of_open_clip_lie_is_what_open_clip_says(name):
    from open_clip.pretrained import get_pretrained_cfg

    model = find_model("vision_model", name)
    assert repository_of(model).address == get_pretrained_cfg(model.model, model.pretrained)["hf_hub"].rstrip("/")


@pytest.fixture(scope="module")
def fetched(tmp_path_factory):
    """What `fetch` says and has fetched from a hub on loopback, and what diffusers' own download takes from there."""
    root = tmp_path_factory.mktemp("hub")
    repository, pipeline = root / "tiny" / "flux", flux()
    pipeline.save_pretrained(repository)
    pipeline.save_pretrained(repository, variant="fp16")
    pipeline.save_pretrained(repository, safe_serialization=False)
    for name in ("flux1-tiny.safetensors", "README.md", "onnx/model.onnx"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_bytes(b"not needed")
    (root / "tiny" / "gated").mkdir()
    (root / "tiny" / "gated" / "config.json").write_text("{}")
    with hub(root, gated=("tiny/gated",)) as address, pytest.MonkeyPatch.context() as patch:
        use_hub(patch, address, root / "home")
        report = fk.fetch("tiny/flux", "tiny/gated", "tiny/absent", "mini")
        theirs = DiffusionPipeline.download("tiny/flux", cache_dir=root / "theirs")
        return report, files(Repository("tiny/flux", "model_index.json").folder), files(Path(theirs))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_what_is_fetched_is_what_diffusers_would_download(fetched):
    _, ours, theirs = fetched
    assert ours == theirs
    assert "transformer/diffusion_pytorch_model.safetensors" in ours
    assert not [name for name in ours if name.endswith(".bin") or "fp16" in name or "flux1-tiny" in name]


def test_what_cannot_be_fetched_says_why_and_stops_no_other(fetched):
    report, failures, notes = fetched[0], fetched[0].failures, fetched[0].notes
    assert report.done == 2
    assert "14 files, licence apache-2.0" in notes[0]
    assert "its weights are in" in notes[1]
    assert "Accept its licence" in failures["tiny/gated"]
    assert "Look at the spelling" in failures["tiny/absent"]


def test_offline_nothing_is_tried_and_the_remedy_is_named():
    report = fk.fetch("tiny/flux", "nonsense")
    assert "Unset HF_HUB_OFFLINE" in report.failures["tiny/flux"]
    assert "no weights to fetch" in report.failures["nonsense"]
