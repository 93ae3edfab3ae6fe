"""The form in which ComfyUI's editor keeps a graph, turned into the form in which it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.sources.pictures.graph import TABLE

AFTER_RUN = frozenset({"fixed", "increment", "decrement", "randomize"})  # what becomes of a seed; it is no input
MUTED, BYPASSED = 2, 4
REMARKS = ("Note", "MarkdownNote")
INSIDE, OUTSIDE = -10, -20  # the ids under which a subgraph has its own inputs and outputs
DEEPEST = 8  # subgraphs in one another


def as_graph(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of a workflow by id, with links and widgets as inputs; subgraphs are laid open."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    subgraphs = {str(graph.get("id")): graph for graph in listed or [] if isinstance(graph, dict)}
    return _Editor(subgraphs).nodes_of(workflow, "", {}, 0)


class _Editor:
    def __init__(self, subgraphs: Mapping[str, Any]):
        self.subgraphs = subgraphs
        self.nodes: dict[str, Any] = {}
        self.standins: dict[tuple[str, int], Any] = {}  # outputs that only hand on: what they hand on

    def nodes_of(self, graph: Mapping[str, Any], prefix: str, outer: Mapping[int, Any], depth: int) -> dict[str, Any]:
        """Take the nodes of a graph up; `outer` are the values of a subgraph's inputs."""
        listed = [node for node in graph.get("nodes", []) if isinstance(node, dict)]
        links = dict(filter(None, map(_link, graph.get("links") or [])))
        named = {_first(node): node for node in listed if node.get("type") == "SetNode"}

        def source(number: Any) -> Any:
            origin, slot = links.get(number, (None, 0))
            return outer.get(slot) if origin == INSIDE else None if origin is None else [f"{prefix}{origin}", slot]

        for node in listed:
            key, kind = f"{prefix}{node.get('id')}", str(node.get("type"))
            slots = [slot for slot in node.get("inputs") or [] if isinstance(slot, dict)]
            linked = [(slot, source(slot.get("link"))) for slot in slots]
            if kind == "GetNode" and _first(node) in named:
                self.standins[key, 0] = [f"{prefix}{named[_first(node)].get('id')}", 0]
            elif node.get("mode") == BYPASSED:
                for number, output in enumerate(node.get("outputs") or []):
                    same = [v for slot, v in linked if v and slot.get("type") == (output or {}).get("type")]
                    self.standins[key, number] = same[0] if same else None
            elif kind in self.subgraphs and depth < DEEPEST:
                inputs = {**_inner_values(node, self.subgraphs[kind], slots), **_by_name(linked, slots, self.subgraphs[kind])}
                self._open(self.subgraphs[kind], key, inputs, depth + 1)
            elif node.get("mode") != MUTED and kind not in REMARKS:
                inputs = {**_widgets(node, slots), **{slot.get("name") or "value": v for slot, v in linked if v}}
                self.nodes[key] = {"class_type": kind, "inputs": inputs}
        if not prefix:
            for node in self.nodes.values():
                node["inputs"] = {name: self._resolved(value) for name, value in node["inputs"].items()}
        return self.nodes

    def _open(self, subgraph: Mapping[str, Any], key: str, inputs: Mapping[int, Any], depth: int) -> None:
        self.nodes_of(subgraph, f"{key}:", inputs, depth)
        for link in subgraph.get("links") or []:
            if isinstance(link, dict) and link.get("target_id") == OUTSIDE:
                origin = link.get("origin_id"), link.get("origin_slot")
                passed = inputs.get(origin[1]) if origin[0] == INSIDE else [f"{key}:{origin[0]}", origin[1]]
                self.standins[key, link.get("target_slot")] = passed

    def _resolved(self, value: Any) -> Any:
        """Return what a link leads to when the nodes that only hand on are left out; None where that is nothing."""
        seen = set()
        while isinstance(value, list) and len(value) == 2 and (at := (value[0], value[1])) in self.standins:
            if at in seen:
                return None
            seen.add(at)
            value = self.standins[at]
        return value


def _link(link: Any) -> tuple[Any, tuple[Any, Any]] | None:
    """Return a link's number and where it comes from: [id, node, slot, …], or an object in newer files."""
    if isinstance(link, dict):
        return link.get("id"), (link.get("origin_id"), link.get("origin_slot"))
    return (link[0], (link[1], link[2])) if isinstance(link, list) and len(link) >= 5 else None


def _first(node: Mapping[str, Any]) -> Any:
    values = node.get("widgets_values")
    return str(values[0]) if isinstance(values, list) and values else None


def _widgets(node: Mapping[str, Any], slots: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of a node's widgets by name, as far as the names are known: from the table, or listed with it."""
    values = node.get("widgets_values")
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items() if not isinstance(value, list)}
    values = values if isinstance(values, list) else []
    names = TABLE["widgets"].get(str(node.get("type")))
    if names is None:
        values = [value for value in values if not (isinstance(value, str) and value in AFTER_RUN)]
        names = [slot["widget"].get("name") for slot in slots if isinstance(slot.get("widget"), dict)]
        texts = [value for value in values if isinstance(value, str)]
        if len(names) != len(values):
            return {"text": texts[0]} if len(texts) == 1 else {}
    return {name: value for name, value in zip(names, values, strict=False) if name and not isinstance(value, list)}


def _by_name(linked: Sequence[Any], slots: Any, subgraph: Mapping[str, Any]) -> dict[int, Any]:
    """Return what is linked to a subgraph's inputs, by their number within it."""
    names = [slot.get("name") for slot in subgraph.get("inputs") or [] if isinstance(slot, dict)]
    return {names.index(slot.get("name")): value for slot, value in linked if value and slot.get("name") in names}


def _inner_values(node: Mapping[str, Any], subgraph: Mapping[str, Any], slots: Any) -> dict[int, Any]:
    """Return the values that a subgraph's own widgets give to its inputs, by their number within it."""
    names = [slot.get("name") for slot in subgraph.get("inputs") or [] if isinstance(slot, dict)]
    said = _widgets(node, slots)
    return {number: said[name] for number, name in enumerate(names) if name in said}
