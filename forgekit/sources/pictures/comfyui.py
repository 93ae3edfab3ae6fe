"""The graph of ComfyUI that a picture was made by: followed from what saved it to its sampler, and on to texts and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forgekit.sources.pictures.found import Found, UnfollowedError
from forgekit.sources.pictures.graph import TABLE, Graph

# What a second pass goes on from.
BEFORE = ("latent_image", "latent", "samples", "image", "images", "pixels", "upscaled_image")
SAVING = ("save", "preview")
LORA = re.compile(r"lora(?:_name)?(?:_(\d{1,2}))?(?:_name)?")
MOST_PICTURES = 50  # of a graph that are looked at


def read_comfyui(graph: Mapping[str, Any]) -> Found:
    """Read a graph in the form in which it was run.

    Raises:
        UnfollowedError: it has no sampler, or a node between the sampler and the text cannot be followed; or it is the
            editor's form, in which names of inputs and what was bypassed are left to the editor.
    """
    if isinstance(graph.get("nodes"), list):
        raise UnfollowedError("it is ComfyUI's graph for its editor; save pictures with the graph that was run")
    nodes = Graph(graph)
    found = _samplers(nodes)
    if not found:
        return _without_sampler(nodes)
    told = [node for node in nodes.nodes if _samples(nodes, node) and _saves(nodes, node)]  # they are given the prompt
    reasons = []
    for node in [*found[:1], *told]:
        try:
            if text := nodes.side(node, "positive"):
                return _drawn_by(nodes, node, text, found[1:])
            reasons.append(f"no text stands behind {nodes.label(node)}")
        except UnfollowedError as error:
            reasons.append(str(error))
    raise UnfollowedError(reasons[0])


def _samplers(nodes: Graph) -> list[str]:
    """Return the samplers that began the pictures which are saved, or shown, or made at all; one for each picture."""
    used = {link.node for node in nodes.nodes for _, link in nodes.links(node)}
    ends = [node for node in nodes.nodes if node not in used] or list(nodes.nodes)
    for word in (*SAVING, ""):
        named = [end for end in ends if word in nodes.kind(end).lower()]
        last = (_last_sampler(nodes, end) for end in named[:MOST_PICTURES])
        if began := [_first_pass(nodes, sampler) for sampler in last if sampler]:
            return list(dict.fromkeys(began))
    return []


def _last_sampler(nodes: Graph, end: str) -> str | None:
    return next((n for n in nodes.upstream([end]) if _samples(nodes, n) and not _saves(nodes, n)), None)


def _saves(nodes: Graph, node: str) -> bool:
    return SAVING[0] in nodes.kind(node).lower()


def _samples(nodes: Graph, node: str) -> bool:
    inputs = nodes.inputs(node).keys()
    sides = {name for group in TABLE["positive"] for name in group}
    return bool(inputs & {*TABLE["sampler_has"]}) and bool(inputs & sides)


def _first_pass(nodes: Graph, sampler: str) -> str:
    """Return the sampler that began the picture, where this one only went on with it (an upscaler, a refiner)."""
    seen = {sampler}
    while _goes_on(nodes, sampler):
        starts = [link.node for _, link in nodes.links(sampler, BEFORE)]
        earlier = next((n for n in nodes.upstream(starts) if n not in seen and _samples(nodes, n)), None)
        if earlier is None:
            break
        seen.add(earlier)
        sampler = earlier
    return sampler


def _goes_on(nodes: Graph, sampler: str) -> bool:
    inputs = nodes.inputs(sampler)
    share = nodes.sought(sampler, ["denoise"], ["sigmas"])
    start = nodes.scalar(inputs.get("start_at_step"))
    noises = [nodes.nodes.get(link.node, {}).get("class_type") for _, link in nodes.links(sampler, ["noise"])]
    return (
        "image" in inputs
        or (isinstance(share, int | float) and share < 1)
        or (isinstance(start, int | float) and start > 0)
        or inputs.get("add_noise") in ("disable", False)
        or "DisableNoise" in noises
    )


def _drawn_by(nodes: Graph, sampler: str, text: str, others: Sequence[str]) -> Found:
    notes = [f"the graph saves pictures of {nodes.label(each)}, too" for each in others]
    try:
        negative = nodes.side(sampler, "negative")
        negative = "" if negative == text else negative  # one node for both, where the negative is not used
    except UnfollowedError as error:
        negative = ""
        notes.append(f"the negative prompt: {error}")
    seek = {"width": nodes.size, "height": nodes.size}
    said = {
        what["name"]: seek.get(what["name"], nodes.sought)(sampler, what["inputs"], what["behind"])
        for what in TABLE["sought"]
    }
    model = said.pop("model", None) or _only_model(nodes)
    settings = {name: value for name, value in said.items() if value is not None}
    return Found(text, negative, settings, model, list(_loras(nodes, sampler)), notes)


def _only_model(nodes: Graph) -> Any:
    """Return the checkpoint of a graph that names one only."""
    names = next(what["inputs"] for what in TABLE["sought"] if what["name"] == "model")
    values = (nodes.inputs(node).get(name) for node in nodes.nodes for name in names)
    said = {value for value in values if isinstance(value, str)}
    return said.pop() if len(said) == 1 else None


def _loras(nodes: Graph, sampler: str) -> Iterator[dict[str, Any]]:
    """Yield the LoRAs between the checkpoint and the sampler, the first to be laid on first."""
    behind = {link.node for _, link in nodes.links(sampler, ("model", "guider", "pipe", "basic_pipe", "context"))}
    for node in reversed(list(nodes.upstream(behind))):
        inputs = nodes.inputs(node)
        listed: list[Any] = inputs["loras"] if isinstance(inputs.get("loras"), list) else []
        for lora in [*inputs.values(), *listed]:
            on = isinstance(lora, dict) and lora.get("on", lora.get("active", True))
            if on and isinstance(name := lora.get("lora", lora.get("name")), str):
                yield {"name": name, "weight": lora.get("strength")}
        for name, value in inputs.items():
            match = LORA.fullmatch(name) if isinstance(value, str) and value != "None" else None
            if match and _laid_on(inputs, match[1] or ""):
                yield {"name": value, "weight": _strength(nodes, inputs, match[1] or "")}


def _laid_on(inputs: Mapping[str, Any], number: str) -> bool:
    """Say whether LoRA `number` of a node that holds several is one of those switched on; "" of a node that holds one."""
    counts = [inputs[name] for name in ("lora_count", "num_loras") if isinstance(inputs.get(name), int)]
    off = inputs.get(f"switch_{number}") == "Off" or inputs.get("toggle") is False
    return not number or not (off or any(int(number) > count for count in counts))


def _strength(nodes: Graph, inputs: Mapping[str, Any], number: str) -> Any:
    """Return how strongly LoRA `number` of a node is laid on the model; the simple setting of a node that has two counts."""
    end = f"_{number}" if number else ""
    simple = [f"lora_wt{end}", f"lora{end}_strength"]
    named = ("strength_model", "lora_model_strength", "model_weight", "model_str", "strength")
    told = [*(f"{name}{end}" for name in named), f"lora{end}_model_strength"]
    advanced = "advanced" in (inputs.get("input_mode"), inputs.get("mode"))
    names = [*told, *simple] if advanced else [*simple, *told]
    return next((weight for name in names if (weight := nodes.scalar(inputs.get(name))) is not None), None)


def _without_sampler(nodes: Graph) -> Found:
    """Read a graph in which some node draws all by itself (a service): the one text that goes in is the prompt."""
    asked: dict[str, str] = {}
    for node in nodes.nodes:
        inputs = nodes.inputs(node)
        encodes = "textencode" in nodes.kind(node).lower()
        if text := nodes.one(inputs.get("text") if encodes else inputs.get("prompt"), "positive"):
            asked[text] = node
    if len(asked) != 1:
        raise UnfollowedError(f"the graph has no sampler{f' and {len(asked)} texts' if asked else ''}")
    ((text, node),) = asked.items()
    inputs = nodes.inputs(node)
    said = {name: nodes.scalar(inputs.get(name)) for name in ("seed", "steps", "width", "height")}
    settings = {name: value for name, value in said.items() if value is not None}
    return Found(text, nodes.one(inputs.get("negative_prompt"), "negative"), settings)
