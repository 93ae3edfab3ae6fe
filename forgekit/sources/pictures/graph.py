"""A graph of ComfyUI: its nodes, the links between them, and the texts and numbers that stand behind a link."""

from __future__ import annotations

import re
import tomllib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from forgekit.sources.pictures.found import UnfollowedError

TABLE = tomllib.loads(Path(__file__).with_name("nodes.toml").read_text("utf-8"))
ASIDE = frozenset(TABLE["aside"])
CONDITIONING = re.compile(r"cond(?:itioning)?(?:_?(?:to|from|[a-c]|\d{1,2}))?")  # inputs of what makes one of several
PART = re.compile(r"(?:text|string|prompt|part|str|input|value|any)_?([a-z]|\d{1,2})", re.IGNORECASE)  # of joined texts
CHOICE = re.compile(r"[a-z_]*?[a-z](?:_([a-z])|_?(\d{1,2}))")  # what a switch chooses from
SEPARATORS = ("delimiter", "separator", "delim")
HOLDING = ("value", "seed", "noise_seed", "int", "number", "float", "boolean")  # inputs of nodes that hold one value
SWITCH = {True: ("on_true", "tt_value"), False: ("on_false", "ff_value")}
SWITCHED_BY = ("select", "index", "switch", "boolean", "input", "cond")
PIPES = TABLE["positive"][-1]  # inputs that carry both sides and much else
PRESETS = ("resolution", "aspect_ratio", "ratio")  # inputs that choose a size from a list
PRESET = re.compile(r"\b(\d{2,5}) ?[x×*] ?(\d{2,5})\b")
LONGEST = 100_000  # characters of a text; nodes that double it forty times over would fill the memory
DEEPEST = 100  # links in a row


class Link(NamedTuple):
    """Where an input comes from: which output of which node."""

    node: str
    slot: int


class Graph:
    """Nodes by id, in the form in which ComfyUI runs them: {"class_type": …, "inputs": {name: value or [id, slot]}}.

    Names of inputs are lower case here: some packages write "Text".
    """

    def __init__(self, nodes: Mapping[str, Any]):
        self.nodes = {
            str(key): {**node, "inputs": {str(name).lower(): _bare(value) for name, value in node["inputs"].items()}}
            for key, node in nodes.items()
            if isinstance(node, dict) and isinstance(node.get("inputs"), dict)
        }
        self._texts: dict[tuple[str, int, str], str] = {}  # what was found behind an output, for a side

    def inputs(self, node: str) -> dict[str, Any]:
        """Return a node's inputs."""
        return self.nodes[node]["inputs"]

    def kind(self, node: str) -> str:
        """Return the name of a node's class."""
        return str(self.nodes[node].get("class_type", ""))

    def label(self, node: str) -> str:
        """Return a node as a message names it."""
        return f"node {node} ({self.kind(node)})" if node in self.nodes else f"node {node}, which is not in the graph"

    def link(self, value: Any) -> Link | None:
        """Return an input's value as a link, None where it is none."""
        if isinstance(value, list) and len(value) == 2 and type(value[0]) in (str, int) and type(value[1]) is int:
            return Link(str(value[0]), value[1])
        return None

    def links(self, node: str, names: Iterable[str] | None = None) -> Iterator[tuple[str, Link]]:
        """Yield the inputs of a node that are links, of these names or all."""
        for name, value in self.inputs(node).items():
            if (names is None or name in names) and (link := self.link(value)):
                yield name, link

    def upstream(self, starts: Iterable[str]) -> Iterator[str]:
        """Yield the nodes that these ones depend on, themselves first, the nearest before others."""
        queue = deque(node for node in starts if node in self.nodes)
        seen = set(queue)
        while queue:
            node = queue.popleft()
            yield node
            for _, link in self.links(node):
                if link.node in self.nodes and link.node not in seen:
                    seen.add(link.node)
                    queue.append(link.node)

    def sought(self, node: str, names: Sequence[str], behind: Sequence[str]) -> Any:
        """Return what an input of one of these names says, in the node or behind its inputs `behind`; None if nothing does."""
        seen = {node}
        queue = deque([node])
        while queue:
            at = queue.popleft()
            for name in names:
                if (value := self.scalar(self.inputs(at).get(name))) is not None:
                    return value
            onward = [link.node for _, link in self.links(at, [*behind, *self._through(at)])]
            fresh = [key for key in dict.fromkeys(onward) if key in self.nodes and key not in seen]
            seen.update(fresh)
            queue.extend(fresh)
        return None

    def _through(self, node: str) -> list[str]:
        """Return the only linked input of a node that hands on what it gets, such as a reroute."""
        linked = [name for name, _ in self.links(node)]
        return linked if len(linked) == 1 and len(self.inputs(node)) == 1 else []

    def size(self, node: str, names: Sequence[str], behind: Sequence[str]) -> Any:
        """Return a width or height as `sought`: that of the size a node was told to take from a list, if it was."""
        for at in self.upstream([node]):
            inputs = self.inputs(at)
            if not inputs.keys() & {*names, f"{names[0]}_override"}:
                continue
            listed = [value for name, value in inputs.items() if name in PRESETS and isinstance(value, str)]
            if not listed or any("custom" in value.lower() or "自定义" in value for value in listed):
                break
            if override := self.scalar(inputs.get(f"{names[0]}_override")):
                return override
            preset = PRESET.search(listed[0])
            swapped = inputs.get("swap_dimensions") in ("On", True)
            return int(preset[1 + ((names[0] == "height") != swapped)]) if preset else None
        return self.sought(node, names, behind)

    def scalar(self, value: Any) -> int | float | str | None:
        """Return a number or text that an input has, through the nodes that hold it."""
        value = self.held(value)
        return None if isinstance(value, bool) else value

    def held(self, value: Any) -> bool | int | float | str | None:
        """Return what an input has, as `scalar`, also true and false; None where it is drawn by lot."""
        for _ in range(DEEPEST):
            link = self.link(value)
            if link is None:
                return value if isinstance(value, int | float | str) else None
            if link.node not in self.nodes or "random" in self.kind(link.node).lower():
                return None
            inputs = self.inputs(link.node)
            named = [inputs[name] for name in HOLDING if name in inputs] or list(inputs.values())[: len(inputs) == 1]
            value = named[0] if named else None
        return None

    def text(self, link: Link, side: str, depth: int = 0) -> str:
        """Return the text behind an output, "" where it is none on purpose. `side` is "positive" or "negative".

        Raises:
            UnfollowedError: a node on the way cannot be followed.
        """
        key = (link.node, link.slot, side)
        if key not in self._texts:
            if link.node not in self.nodes or depth > DEEPEST:
                raise UnfollowedError(f"{self.label(link.node)} cannot be followed")
            self._texts[key] = ""  # what leads back to itself ends here
            try:
                found = self._behind(link, side, depth + 1)
                if len(found) > LONGEST:
                    raise UnfollowedError(f"{self.label(link.node)} makes a text of more than {LONGEST:,} characters")
            except UnfollowedError:
                del self._texts[key]
                raise
            self._texts[key] = found
        return self._texts[key]

    def side(self, node: str, side: str, depth: int = 0) -> str:
        """Return the text of a side of a sampler or guider, or of what hands both on; "" where it has no such side.

        Raises:
            UnfollowedError: a node on the way cannot be followed.
        """
        inputs = self.inputs(node)
        for group in TABLE[side]:
            if held := [inputs[name] for name in group if isinstance(inputs.get(name), str | list)]:
                return self._joined(held, side, depth)
        return ""

    def one(self, value: Any, side: str, depth: int = 0) -> str:
        """Return the text that an input has or that stands behind it; "" where it has none. Raises as `text`."""
        link = self.link(value)
        return self.text(link, side, depth) if link else value if isinstance(value, str) else ""

    def _joined(self, values: Iterable[Any], side: str, depth: int) -> str:
        """Return the different texts of several inputs as one."""
        texts = (self.one(value, side, depth).strip() for value in values)
        return ", ".join(dict.fromkeys(text for text in texts if text))

    def _behind(self, link: Link, side: str, depth: int) -> str:
        node, kind, inputs = link.node, self.kind(link.node).lower(), self.inputs(link.node)
        if kind in TABLE["silent"]:
            return ""
        if "switch" in kind or inputs.keys() & {*SWITCH[True]}:
            return self._switched(node, side, depth)
        changed = inputs.keys() & {*TABLE["changing"]} or inputs.get("action", "append") != "append"
        if changed or (any(part in kind for part in TABLE["opaque"]) and "populated_text" not in inputs):
            raise UnfollowedError(f"{self.label(node)} cannot be followed")
        if any(pair in kind for pair in TABLE["pairs"]) and "negative" in inputs and link.slot < 2:
            side = ("positive", "negative")[link.slot]
        if "guider" in kind or inputs.keys() & {"positive", "negative"} or any(self.links(node, PIPES)):
            return self.side(node, side, depth)
        linked = {name: value for name, value in inputs.items() if CONDITIONING.fullmatch(name) and self.link(value)}
        if linked:
            share = str(inputs.get("conditioning_to_strength")).removesuffix(".0")
            left_out = {"1": "conditioning_from", "0": "conditioning_to"}.get(share)
            names = sorted(linked, key=lambda name: name.endswith("from"))
            return self._joined((linked[name] for name in names if name != left_out), side, depth)
        return self._encoded(node, side, depth)

    def _encoded(self, node: str, side: str, depth: int) -> str:
        """Return the text of an encoder, of a node that holds or joins texts, or of the only node behind a passing one."""
        inputs = self.inputs(node)
        empty = False
        for group in TABLE[f"{side}_texts"] + TABLE["texts"]:
            if held := [inputs[name] for name in group if isinstance(inputs.get(name), str | list)]:
                if found := self._joined(held, side, depth):
                    return found
                empty = True
        if parts := self._parts(inputs):
            texts = [self.one(inputs[name], side, depth) for name in parts.values()]
            between = ", " if inputs.get("tidy_tags") == "yes" else ""
            between = next((inputs[name] for name in SEPARATORS if isinstance(inputs.get(name), str)), between)
            return between.replace("\\n", "\n").join(text for text in texts if text)
        onward = [link for name, link in self.links(node) if name not in ASIDE]
        if len(onward) == 1 and not empty:
            return self.text(onward[0], side, depth)
        if empty:
            return ""
        raise UnfollowedError(f"{self.label(node)} cannot be followed")

    def _parts(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Return the inputs that a node joins or chooses from, by the letter or number at their end, in that order."""
        found = {m[1]: name for name, v in inputs.items() if isinstance(v, str | list) and (m := PART.fullmatch(name))}
        return {end: found[end] for end in sorted(found, key=lambda end: (len(end.lstrip("0")), end))}

    def _switched(self, node: str, side: str, depth: int) -> str:
        """Return the text of the input that a switch is set to."""
        inputs = self.inputs(node)
        choices = {n: v for n, v in inputs.items() if isinstance(v, str) or self.link(v)}
        settings = [value for name in SWITCHED_BY if (value := self.held(inputs.get(name))) is not None]
        settings += [value for value in inputs.values() if isinstance(value, bool)]
        chosen = settings[0] if settings else None
        ends = {name: match[1] or match[2] for name in sorted(choices) if (match := CHOICE.fullmatch(name))}
        if isinstance(chosen, bool):
            names = [name for name in SWITCH[chosen] if name in choices]
            names += [name for name, end in ends.items() if end == "ba"[chosen]]
        elif settings:
            names = [name for name, end in ends.items() if end.isdecimal() and str(int(end)) == str(chosen)]
        else:  # the first that is there at all
            names = list(ends)
        if not names:
            raise UnfollowedError(f"{self.label(node)} cannot be followed")
        return self.one(choices[names[0]], side, depth)


def _bare(value: Any) -> Any:
    """Return an input's value out of the object that some packages, and ComfyUI for lists, put around it."""
    return next((value[name] for name in ("content", "__value__") if isinstance(value, dict) and name in value), value)
