"""The form in which ComfyUI's editor keeps a graph, turned into the form in which it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.sources.pictures.found import UnfollowedError
from forgekit.sources.pictures.graph import TABLE

AFTER_RUN = frozenset({"fixed", "increment", "decrement", "randomize"})  # what becomes of a seed; it is no input
MUTED, BYPASSED = 2, 4
REMARKS = ("Note", "MarkdownNote")
INSIDE, OUTSIDE = -10, -20  # the ids under which a subgraph has its own inputs and outputs
DEEPEST, MOST = 8, 1_000  # subgraphs in one another, and in all

Slots = Sequence[tuple[str, Any, Any]]  # the inputs of a node: name, type, and what is linked to it


def as_graph(workflow: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes of a workflow by id, with links and widgets as inputs; subgraphs are laid open."""
    definitions = workflow.get("definitions")
    listed = definitions.get("subgraphs") if isinstance(definitions, dict) else None
    editor = _Editor({str(graph.get("id")): graph for graph in _objects(listed)})
    editor.take(workflow)
    return {
        key: {"class_type": kind, "inputs": {name: editor.resolved(value) for name, value in inputs.items()}}
        for key, (kind, inputs) in editor.nodes.items()
    }


class _Editor:
    """Collects the nodes of a workflow and of its subgraphs, whose ids follow that of the node they stand for: "12:3"."""

    def __init__(self, subgraphs: Mapping[str, Mapping[str, Any]]):
        self.subgraphs = subgraphs
        self.nodes: dict[str, tuple[str, dict[str, Any]]] = {}
        self.handed_on: dict[tuple[Any, Any], Any] = {}  # what stands behind the outputs of nodes that are left out
        self.opened = 0

    def take(self, graph: Mapping[str, Any], prefix: str = "", outer: Mapping[Any, Any] | None = None) -> None:
        """Take the nodes of a graph up; `outer` are the values of a subgraph's own inputs by number."""
        links = dict(link for link in map(_link, graph.get("links") or []) if link)
        nodes = _objects(graph.get("nodes"))
        kept_under = {_first(node): f"{prefix}{node.get('id')}" for node in nodes if node.get("type") == "SetNode"}

        def origin(number: Any) -> Any:
            node, slot = links.get(number, (None, None))
            return None if node is None else (outer or {}).get(slot) if node == INSIDE else [f"{prefix}{node}", slot]

        for node in nodes:
            key, kind, mode = f"{prefix}{node.get('id')}", str(node.get("type")), node.get("mode")
            inputs = _objects(node.get("inputs"))
            slots = [(slot.get("name") or "value", slot.get("type"), origin(slot.get("link"))) for slot in inputs]
            if kind == "GetNode" and _first(node) in kept_under:
                self.handed_on[key, 0] = [kept_under[_first(node)], 0]
            elif mode == BYPASSED:
                self._pass(node, key, slots)
            elif kind in self.subgraphs and key.count(":") < DEEPEST:
                self._open(node, key, slots)
            elif mode != MUTED and kind not in REMARKS:
                linked = {name: value for name, _, value in slots if value is not None}
                self.nodes[key] = (kind, _widgets(node) | linked)

    def _pass(self, node: Mapping[str, Any], key: str, slots: Slots) -> None:
        """Let each output of a bypassed node hand on its first input of the same type."""
        for number, output in enumerate(_objects(node.get("outputs"))):
            same = (value for _, kind, value in slots if kind == output.get("type") and value is not None)
            self.handed_on[key, number] = next(same, None)

    def _open(self, node: Mapping[str, Any], key: str, slots: Slots) -> None:
        """Take up the nodes of a subgraph, and let the node that stands for it hand on their outputs."""
        self.opened += 1
        if self.opened > MOST:
            raise UnfollowedError(f"it has more than {MOST:,} subgraphs")
        subgraph = self.subgraphs[str(node.get("type"))]
        said = _widgets(node) | {name: value for name, _, value in slots if value is not None}
        names = [str(slot.get("name")) for slot in _objects(subgraph.get("inputs"))]
        outer: dict[Any, Any] = {number: said[name] for number, name in enumerate(names) if name in said}
        self.take(subgraph, f"{key}:", outer)
        for link in _objects(subgraph.get("links")):
            if link.get("target_id") == OUTSIDE:
                origin, slot = link.get("origin_id"), link.get("origin_slot")
                behind = outer.get(slot) if origin == INSIDE else [f"{key}:{origin}", slot]
                self.handed_on[key, link.get("target_slot")] = behind

    def resolved(self, value: Any) -> Any:
        """Return what a link leads to when the outputs that only hand on are left out; None where that is nothing."""
        for _ in range(len(self.handed_on) + 1):
            if not (isinstance(value, list) and len(value) == 2 and (value[0], value[1]) in self.handed_on):
                return value
            value = self.handed_on[value[0], value[1]]
        return None


def _objects(listed: Any) -> list[dict[str, Any]]:
    return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []


def _link(link: Any) -> tuple[Any, tuple[Any, Any]] | None:
    """Return a link's number and where it comes from: [number, node, slot, …], or an object in newer files."""
    if isinstance(link, dict):
        return link.get("id"), (link.get("origin_id"), link.get("origin_slot"))
    return (link[0], (link[1], link[2])) if isinstance(link, list) and len(link) >= 5 else None


def _first(node: Mapping[str, Any]) -> str:
    values = node.get("widgets_values")
    return str(values[0]) if isinstance(values, list) and values else ""


def _widgets(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a node's widgets by name, as far as the names are known: from the table, or listed with it."""
    values, kind = node.get("widgets_values"), str(node.get("type"))
    if isinstance(values, dict):
        return {str(name): value for name, value in values.items() if not isinstance(value, list)}
    values = values if isinstance(values, list) else []
    names = TABLE["widgets"].get(kind)
    if names is None:
        values = [value for value in values if not (isinstance(value, str) and value in AFTER_RUN)]
        widgets = [slot.get("widget") for slot in _objects(node.get("inputs"))]
        names = [widget.get("name") for widget in _objects(widgets)]
        texts = [value for value in values if isinstance(value, str)]
        if len(names) != len(values):
            return {"text": texts[0]} if len(texts) == 1 else {}
    said = zip(names, values, strict=False)
    return {str(name): value for name, value in said if name and not isinstance(value, list)}
