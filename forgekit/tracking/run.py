"""What a run of the mirror is: plain values, the words and links in them, and what a study says once for all of its runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any
from urllib.parse import quote

SOURCE = {"mlflow.source.name": "forgekit", "mlflow.source.type": "LOCAL"}
ABOUT = "forgekit"  # the JSON tag
WORKFLOW = "workflowType=machine_learning"  # without it the UI opens its pages about traces
DIGITS = 4  # of every figure: the UI shows all there are
NOTE_LIMIT, SCENE_LIMIT = 6_500, 250  # characters; MLflow refuses a tag above 8,000, and addresses come to a note
SHARED_LIMIT = 4_500  # MLflow refuses a tag of an experiment above 5,000


@dataclass(frozen=True)
class Study:
    """What the runs of an MLflow experiment have in common, and so do not say each for itself."""

    name: str
    experiments: tuple[str, ...]
    generators: tuple[str, ...]
    vision_models: tuple[str, ...]

    def judge(self, vision_model: str) -> str:
        """Return what sets a judge apart from the others: "owl" beside "clip" for "mini-owl" and "mini-clip"."""
        if len(self.vision_models) == 1:
            return vision_model
        shared = commonprefix(self.vision_models)  # noqa: RUF071 (letters are meant, not folders)
        return vision_model[max(shared.rfind(mark) for mark in "-_/:") + 1 :]

    def tags(self) -> dict[str, str]:
        """Return what the experiment says once for all of its runs."""
        said = {"experiment": self.experiments, "generator": self.generators, "vision_model": self.vision_models}
        return {name: shorten(", ".join(values), SHARED_LIMIT) for name, values in said.items()}

    def differing(self, experiment: str, generator: str) -> dict[str, str]:
        """Return the experiment and the generator of a run, as far as the study has several."""
        arm = {"experiment": experiment} if len(self.experiments) > 1 else {}
        return arm | ({"generator": generator} if len(self.generators) > 1 else {})

    def label(self, experiment: str, generator: str) -> list[str]:
        """Return the same for a run's name, an arm without the name of its study."""
        return [value.removeprefix(f"{self.name}/") for value in self.differing(experiment, generator).values()]


@dataclass(frozen=True)
class Run:
    """One run as plain values. `metrics` are (name, value, step); times are milliseconds since 1970.

    `about` is what only machines ask for, one JSON tag; it has `identity` and `content`. `note` is the run's description:
    in it "{experiment_id}" and "{run_id}" are replaced, and `![](NAME)` shows an artifact.
    """

    name: str
    tags: dict[str, str]
    about: dict[str, Any]
    params: dict[str, str]
    metrics: list[tuple[str, float, int]]
    note: str
    start_ms: int
    end_ms: int
    shown: Any  # what its files are made from: a row per image, or tables

    @property
    def identity(self) -> str:
        """Return the id that it carries for ever."""
        return str(self.about["identity"])


def role(steers: bool) -> str:
    """Return the role of a judge: one steers the loop, the others only watch."""
    return "objective" if steers else "held-out"


def measured(values: Mapping[str, Any]) -> list[tuple[str, float, int]]:
    """Return the values that are known as metrics without steps."""
    known = {name: float(value) for name, value in values.items() if value is not None}
    return [(safe_key(name), round(value, DIGITS), 0) for name, value in known.items() if value == value]


def slug(text: str, length: int = 40) -> str:
    """Return `text` as letters a to z, digits and dashes, cut at a word; "x" where it has none of those."""
    words = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "x"
    return words if len(words) <= length else words[: length + 1].rpartition("-")[0] or words[:length]


def shorten(text: str, length: int) -> str:
    """Return `text` with at most `length` characters, the last one "…" where something was cut off."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def safe_key(text: str) -> str:
    """Return `text` as the name of a metric or param: MLflow takes letters, digits and `_ - . / space`."""
    return shorten(re.sub(r"[^\w\-./ ]", "_", text), 240)


def as_text(text: str, length: int) -> str:
    """Return a text on one line that Markdown shows as it stands: what came by mail sets no picture and no link."""
    line = shorten(" ".join(text.split()), length).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]!|~])", r"\\\1", line)


def about_is(name: str, value: str) -> str:
    """Return the filter for the runs whose JSON tag says this; the filter of the parent's id must not find its children."""
    return f'tags.forgekit LIKE \'%"{name}": "{value}"%\''


def runs_link(text: str, where: str) -> str:
    """Return a link in Markdown to the runs of the experiment that a filter finds."""
    return f"[{text}](#/experiments/{{experiment_id}}/runs?{WORKFLOW}&searchFilter={quote(where)})"
