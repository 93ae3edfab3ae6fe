"""Which program wrote a picture's metadata, and how each says its prompt."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from forgekit.errors import listed
from forgekit.scene.syntax.parameters import key
from forgekit.sources.pictures.comfyui import read_comfyui
from forgekit.sources.pictures.found import Found, UnfollowedError
from forgekit.sources.pictures.infotext import LORAS, looks_so, read_infotext

# Where prompts stand in a picture, what says the most first: a graph was run, while the settings beside it may be written
# by hand or by a node that guessed.
PLACES = (
    "forgekit", "invokeai_metadata", "prompt", "comment", "parameters", "generation_data", "usercomment", "workflow",
    "xmp:usercomment", "xmp:parameters", "imagedescription", "description", "xpcomment", "documentname", "xmp:description",
)  # fmt: skip
OWN_PLACES = frozenset(PLACES[:7])  # no camera, scanner or editor writes there
LABELLED = re.compile(r"\s*(prompt|workflow|parameters)\s*:\s*(?=\{)", re.IGNORECASE)  # "Prompt: {…}" in an EXIF field
JSON_BEGINS = re.compile(r'\s*(?:\{\s*["}]|\[\s*\{)')
TEXT_KEYS = ("positiveprompt", "prompt", "c")
NEGATIVE_KEYS = ("negativeprompt", "negative", "uc")
MODEL_KEYS = ("model", "basemodel", "basemodelname", "modelweights", "usestablediffusionmodel", "modelname", "ckptname")
LORA_KEYS = ("loras", "lora", "useloramodel", "models")
WEIGHT_KEYS = ("loraweights", "loraalpha")
RENAMED = {"scale": "cfg_scale", "comfyuisampler": "sampler", "comfyuischeduler": "scheduler"}  # NovelAI, old SwarmUI
PAIR = re.compile(r"\((\d{2,5}), ?(\d{2,5})\)")
EDITOR = re.compile(r"\s*(?:created|edited|processed|exported|saved) (?:with|by|using|in) ", re.IGNORECASE)  # a remark
MIDJOURNEY = re.compile(r"\s*Job ID: [0-9a-f-]{36}\s*\Z")
# What a malformed one leads to.
WRONG = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError, SyntaxError)


def read_texts(texts: Mapping[str, str]) -> Found:
    """Return the prompt in a picture's texts.

    Raises:
        UnfollowedError: there is none, or none that can be read; the message says what there is.
    """
    reasons = []
    placed = {name.lower(): name for name in reversed(list(texts))}
    for place, name, text in _in_order(texts, placed):
        try:
            found = _read(place, text, texts)
        except WRONG as error:
            reasons.append(f"its {name!r} metadata cannot be read: {error}")
            continue
        if found and isinstance(found.text, str) and found.text.strip():
            return found
        if found:
            reasons.append(f"its {name!r} metadata has settings or a negative prompt, and no prompt")
    if reasons:
        raise UnfollowedError("; ".join(dict.fromkeys(reasons)))
    raise UnfollowedError(f"it carries no prompt (metadata: {listed(sorted(texts)) or 'none'})")


def _in_order(texts: Mapping[str, str], placed: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Yield where a text stands, the place's own name, and the text; a label in a text says where it belongs."""
    found = []
    for place, name in placed.items():
        text = texts[name].strip("\0")
        if label := LABELLED.match(text):
            found.append((label[1].lower(), name, text[label.end() :]))
        elif place in PLACES:
            found.append((place, name, text))
    yield from sorted(found, key=lambda each: PLACES.index(each[0]))


def _read(place: str, text: str, texts: Mapping[str, str]) -> Found | None:
    if JSON_BEGINS.match(text):
        return _read_json(place, json.loads(text), texts)
    if place == "parameters" or looks_so(text):
        return read_infotext(text)
    if place == "prompt":  # Easy Diffusion writes each setting as a chunk
        return _flat({**texts, "prompt": text})
    if place.endswith("description") and MIDJOURNEY.search(text):
        return Found(MIDJOURNEY.sub("", text))
    remark = place == "comment" or (text.isascii() and len(text.split()) < 2) or EDITOR.match(text)  # "Screenshot"
    return Found(text.strip()) if place in OWN_PLACES and not remark else None


def _read_json(place: str, data: Any, texts: Mapping[str, str]) -> Found | None:
    if isinstance(data, list):
        (data, *_) = data or [{}]
    if not isinstance(data, dict):
        raise UnfollowedError("it is no JSON object")
    if place == "forgekit":
        return _ours(data)
    if "sui_image_params" in data:
        return _flat(data["sui_image_params"])
    if isinstance(data.get("Comment"), str) and "prompt" not in data:  # NovelAI's chunks in one EXIF field
        return _read_json("comment", json.loads(data["Comment"]), {**texts, **data})
    for graph in (data.get("prompt"), data.get("workflow"), data):
        if isinstance(graph, str) and JSON_BEGINS.match(graph):
            graph = json.loads(graph)
        if isinstance(graph, dict) and _is_graph(graph):
            return read_comfyui(graph)
    drawn = texts.get("Software", "").startswith("NovelAI") or data.keys() & {"uc", "prompt", "Prompt"}
    if place == "comment" and not drawn:
        return None
    if place == "comment" and not data.get("prompt"):  # NovelAI's first versions
        data = {**data, "prompt": texts.get("Description", "")}
    return _flat(data, texts.get("Source"))


def _is_graph(data: Mapping[str, Any]) -> bool:
    nodes = data.get("nodes")
    if isinstance(nodes, list) and isinstance(data.get("links"), list):
        return True
    return any(isinstance(node, dict) and ("class_type" in node or "inputs" in node) for node in data.values())


def _flat(data: Mapping[str, Any], model: Any = None) -> Found:
    """Read settings that stand side by side: SwarmUI, Fooocus, InvokeAI, NovelAI, Draw Things, Easy Diffusion, …"""
    said = {key(name): value for name, value in reversed(list(data.items()))}
    # NovelAI since its fourth model has captions: one of the scene, one of each character.
    text = _captions(said.get("v4prompt")) or _words(_first(said, TEXT_KEYS))
    negative = _captions(said.get("v4negativeprompt")) or _words(_first(said, NEGATIVE_KEYS))
    styled = _words(said.get("positivestyleprompt"))  # of InvokeAI for SDXL
    text = ", ".join(dict.fromkeys(part for part in (text, styled) if part))
    loras = _loras(_first(said, LORA_KEYS), _first(said, WEIGHT_KEYS))
    known = {*TEXT_KEYS, *NEGATIVE_KEYS, *MODEL_KEYS, *LORA_KEYS}
    settings = {RENAMED.get(name, name): value for name, value in data.items() if key(name) not in known}
    if size := PAIR.fullmatch(str(said.get("resolution", ""))):  # Fooocus
        settings["resolution"] = f"{size[1]}x{size[2]}"
    return Found(text, negative, settings, _name_of(_first(said, MODEL_KEYS) or model), loras)


def _ours(data: Mapping[str, Any]) -> Found:
    text = data.get("scene_text") or data.get("prompt_text") or data.get("prompt")
    parameters = data.get("base_parameters") or data.get("parameters") or {}
    settings = parameters if isinstance(parameters, dict) else {}
    return Found(text or "", settings=dict(settings), model=_name_of(data.get("model")), own=True)


def _first(said: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((said[name] for name in names if said.get(name)), None)


def _words(said: Any) -> str:
    """Return a text, or several as one; what is neither says nothing."""
    parts = said if isinstance(said, list) else [said]
    return ", ".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def _captions(said: Any) -> str:
    caption = said.get("caption") if isinstance(said, dict) else None
    if not isinstance(caption, dict):
        return ""
    characters = [each.get("char_caption") for each in caption.get("char_captions") or []]
    return _words([caption.get("base_caption"), *characters])


def _name_of(model: Any) -> Any:
    """Return a model's name: some say it in an object with its hash and kind."""
    if not isinstance(model, dict):
        return model
    inner = model.get("model") or model.get("lora") or model
    inner = inner if isinstance(inner, dict) else {"name": inner}
    names = ("name", "model_name", "modelFileName", "label", "file", "key")
    return next((inner[name] for name in names if inner.get(name)), None)


def _loras(listed: Any, weights: Any = None) -> list[dict[str, Any]]:
    """Return the LoRAs of a list: names with weights beside them, pairs, or objects."""
    weights = _listed(weights)
    found = []
    for number, lora in enumerate(_listed(listed)):
        if isinstance(lora, dict) and str(lora.get("type", "lora")).lower() not in LORAS:
            continue
        beside = weights[number] if number < len(weights) else None
        if isinstance(lora, dict):
            name, weight = _name_of(lora), lora.get("weight", lora.get("strength", beside))
        else:
            name, weight = (lora[0], lora[1]) if isinstance(lora, list) and len(lora) > 1 else (lora, beside)
        if isinstance(name, str) and name.strip():
            found.append({"name": name.strip(), "weight": _number(weight)})
    return found


def _listed(value: Any) -> list[Any]:
    """Return a list that may be written as "a,b", or as Python writes one."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return list(ast.literal_eval(value))
    if isinstance(value, str):
        return [name for name in value.split(",") if name.strip() not in ("", "None")]
    return value if isinstance(value, list) else []


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
