"""What lies at a path that no family of models can load, and what would work: said where the name is refused."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from forgekit.models.weights import settings_at

PIPELINE = "model_index.json"
CONVERT = (
    "write it as a folder once: diffusers.StableDiffusionXLPipeline (or whatever it is of)"
    ".from_single_file(FILE).save_pretrained(FOLDER), and name the folder"
)
LORA = 'a LoRA, no model of its own; name the model that it is for, with parameters={"loras": {FILE: 0.8}}'
ONE_FILE = f"a checkpoint in one file; {CONVERT}"
FILES = {
    ".ckpt": ONE_FILE, ".pt": ONE_FILE, ".pth": ONE_FILE, ".bin": ONE_FILE,
    ".gguf": "GGUF weights; start a language model with llama.cpp and give its address, or take the safetensors",
    ".onnx": "an ONNX graph; take the repository that has safetensors",
}  # fmt: skip


def what_lies_at(address: str) -> str:
    """Return what a file or folder is that is no model to us, and what would work; "" where there is nothing at that path."""
    path = Path(address)
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        return ""
    if (path / PIPELINE).is_file() and settings_at(address, PIPELINE) is None:
        return f"a pipeline whose {PIPELINE} is no JSON; fetch or copy it again"
    if (path / "adapter_config.json").is_file():
        return LORA
    if settings := settings_at(address, "config.json"):
        if "_class_name" in settings:
            return f"a part of a pipeline ({settings['_class_name']}); name the folder that has {PIPELINE}"
        kind = settings.get("model_type", "unknown")
        return f"a model of the type {kind!r}, which has another role, or none here"
    if inner := next(
        (entry for deep in ("*", "*/*", "*/*/*") for entry in sorted(path.glob(f"{deep}/{PIPELINE}"))), None
    ):
        return f"a folder around a model; name {str(inner.parent)!r}"
    told = next((told for file in sorted(path.iterdir()) if file.is_file() and (told := _file(file))), "")
    return told or f"a folder without a model: it has neither {PIPELINE} nor config.json"


def _file(file: Path) -> str:
    """Return what a file of weights is, by its ending and the names of its tensors."""
    if file.suffix.lower() != ".safetensors":
        return FILES.get(file.suffix.lower(), "")
    names: list[str] = []
    with suppress(Exception):  # a damaged file: what it was meant to be is not known
        from safetensors import safe_open

        with safe_open(file, framework="np") as weights:
            names = list(weights.keys())
    if any("lora_" in name.lower() for name in names):
        return LORA
    if names and len(names) <= 2:
        return "an embedding (textual inversion), no model of its own; it is not loaded: write out what it stands for"
    return ONE_FILE if names else "a safetensors file that cannot be read; fetch or copy it again"
