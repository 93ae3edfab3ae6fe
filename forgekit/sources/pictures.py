"""PNG files that carry the prompt they were drawn from: our own, A1111, ComfyUI, InvokeAI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgekit.sources.rows import BadRow, Notes, Row

ENDINGS = frozenset({".png"})

A1111_LAST = re.compile(r'\s*([A-Za-z][\w \-/]*):\s*("(?:\\.|[^"\\])*"|[^,]*)(?:,|$)')
NAMES = {  # what others call a parameter, and what we call it
    "steps": "num_inference_steps", "Steps": "num_inference_steps", "cfg": "guidance_scale", "cfg_scale": "guidance_scale",
    "CFG scale": "guidance_scale", "Seed": "seed", "sampler_name": "sampler", "Sampler": "sampler",
}  # fmt: skip
COMFY_TEXTS = (
    "text", "t5xxl", "clip_l", "text_g", "text_l", "string", "value", "prompt", "conditioning", "positive",
)  # fmt: skip
DREAM = re.compile(r'^"(?P<prompt>.*)"(?P<options>(?:\s+-\w+\s*\S+)*)\s*$', re.DOTALL)


def read_pictures(
    folder: Path, paths: list[Path], refused: Sequence[BadRow] = (), notes: Notes | None = None
) -> Iterator[Row]:
    """Read the prompts of PNG files, one row a file, in the order given. A file without a prompt is a bad row.

    `refused` are files that were passed over, and why.
    """
    yield from refused
    for number, path in enumerate(paths, 1):
        name = str(path.relative_to(folder)) if path != folder else path.name
        found = prompt_of(path)
        if isinstance(found, str):
            yield BadRow(number, found, file=name)
        else:
            yield number, {"id": path.stem, "file": name, **found}


def prompt_of(path: Path) -> dict[str, Any] | str:
    """Return text, model and parameters that a PNG carries, or the reason why there are none."""
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as image:
            chunks = {
                key: value
                for key, value in {**image.info, **getattr(image, "text", {})}.items()
                if isinstance(value, str)
            }
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"not a PNG file that can be read: {error}"
    for key, reader in READERS.items():
        if key in chunks:
            try:
                record = reader(chunks[key])
            except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
                return f"its {key!r} metadata cannot be read: {error}"
            if record and record.get("text"):
                return record
    return f"it carries no prompt (text chunks: {', '.join(sorted(chunks)) or 'none'})"


def _ours(chunk: str) -> dict[str, Any]:
    data = json.loads(chunk)
    text = data.get("scene_text") or data.get("prompt_text") or data.get("prompt")
    parameters = data.get("base_parameters") or data.get("parameters") or {}
    return {"text": text, "model": data.get("model"), "parameters": parameters if isinstance(parameters, dict) else {}}


def _a1111(chunk: str) -> dict[str, Any]:
    """Read "prompt⏎Negative prompt: …⏎Steps: 20, Sampler: …"; the prompt itself may have several lines."""
    lines = chunk.strip().split("\n")
    settings = lines.pop() if len(A1111_LAST.findall(lines[-1])) >= 3 else ""
    text, _, negative = "\n".join(lines).partition("Negative prompt:")
    found = {name.strip(): value.strip().strip('"') for name, value in A1111_LAST.findall(settings)}
    numbers = {name: _number(value) for name, value in found.items()}
    parameters = _settings(numbers, "Steps", "CFG scale", "Seed", "Sampler")
    if re.fullmatch(r"\d+x\d+", found.get("Size", "")):
        parameters["width"], parameters["height"] = map(int, found["Size"].split("x"))
    if negative.strip():
        parameters["negative_prompt"] = negative.strip()
    return {"text": text.strip(), "model": found.get("Model"), "parameters": parameters}


def _comfy(chunk: str) -> dict[str, Any]:
    """Follow a ComfyUI graph from its sampler to the text behind "positive" and "negative"."""
    nodes = json.loads(chunk)
    sampler = next((n for n in nodes.values() if "positive" in n.get("inputs", {}) and "seed" in n["inputs"]), None)
    sampler = sampler or next((n for n in nodes.values() if "positive" in n.get("inputs", {})), None)
    if sampler is None:
        encoders = [n for n in nodes.values() if "TextEncode" in str(n.get("class_type", ""))]
        return {"text": _comfy_text(nodes, encoders[0], set())} if encoders else {}
    inputs = sampler["inputs"]
    parameters = _settings(inputs, "steps", "cfg", "seed", "sampler_name")
    if negative := _comfy_text(nodes, _linked(nodes, inputs.get("negative")), set()):
        parameters["negative_prompt"] = negative
    loader: dict[str, Any] = next((n["inputs"] for n in nodes.values() if "ckpt_name" in n.get("inputs", {})), {})
    text = _comfy_text(nodes, _linked(nodes, inputs["positive"]), set())
    return {"text": text, "model": loader.get("ckpt_name"), "parameters": parameters}


def _linked(nodes: Mapping[str, Any], link: Any) -> Mapping[str, Any] | None:
    return nodes.get(str(link[0])) if isinstance(link, list) and link else None


def _comfy_text(nodes: Mapping[str, Any], node: Mapping[str, Any] | None, seen: set[int]) -> str:
    """Return the text of an encoder node, through links (strings, conditioning chains); "" where there is none."""
    if node is None or id(node) in seen:
        return ""
    seen.add(id(node))
    inputs = node.get("inputs", {})
    for name in COMFY_TEXTS:
        value = inputs.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if text := _comfy_text(nodes, _linked(nodes, value), seen):
            return text
    return ""


def _invoke(chunk: str) -> dict[str, Any]:
    data = json.loads(chunk)
    model = data.get("model")
    parameters = _settings(data, "steps", "cfg_scale", "seed", "width", "height", "negative_prompt")
    name = model.get("name") or model.get("model_name") if isinstance(model, dict) else model
    return {"text": data.get("positive_prompt"), "model": name, "parameters": parameters}


def _invoke_old(chunk: str) -> dict[str, Any]:
    data = json.loads(chunk)
    prompt = data["image"]["prompt"]
    text = prompt[0]["prompt"] if isinstance(prompt, list) else prompt
    return {"text": text, "model": data.get("model_weights"), "parameters": _settings(data["image"], "steps", "seed")}


def _dream(chunk: str) -> dict[str, Any]:
    match = DREAM.match(chunk.strip())
    return {"text": match["prompt"] if match else chunk, "parameters": {}}


def _settings(said: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the parameters of these names, under ours; what is empty, or a link to another node, is none."""
    found = {name: said.get(name) for name in names}
    return {NAMES.get(name, name): v for name, v in found.items() if isinstance(v, int | float | str) and v != ""}


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


READERS = {
    "forgekit": _ours,
    "parameters": _a1111,
    "invokeai_metadata": _invoke,
    "sd-metadata": _invoke_old,
    "Dream": _dream,
    "prompt": _comfy,
}
