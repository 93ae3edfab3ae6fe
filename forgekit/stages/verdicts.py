"""Verdicts: who judges, the pictures that are judged, and the row that a judgement of one becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError
from forgekit.ids import content_hash, content_id
from forgekit.models import Judgement, VisionModel
from forgekit.scene import Element, Scene, list_elements, parse
from forgekit.scene.annotation import not_askable
from forgekit.stages.calls import Calls, reason_of
from forgekit.store.images import read_image

if TYPE_CHECKING:
    from PIL.Image import Image

OBJECTIVE, HELDOUT = "objective", "heldout"  # the judge that steers, and those that only watch
DOCUMENTS = ("model_output", "adherence_analysis", "element_scores")  # what a verdict says
_GROUPS = {"objects": ("object", "count"), "colors": ("color",), "spatial": ("relation",)}  # of kinds of elements


@dataclass(frozen=True)
class Seat:
    """A judge with its role, key and pass mark. With an `error` it cannot judge, and each of its verdicts is that."""

    judge: VisionModel
    role: str
    key: str
    pass_mark: float
    error: str | None = None

    @property
    def identity(self) -> dict[str, str]:
        """What tells its verdicts from those of others."""
        return {"vision_model": self.judge.name, "judge_key": self.key}


@dataclass(frozen=True)
class Picture:
    """One image with what its scene asks for. `content` hashes its pixels, `asked` the texts a judge is given."""

    image_id: str
    prompt_id: str
    scene_hash: str
    scene: Scene
    elements: Sequence[Element]
    asked: str
    image: Image | ItemError
    content: str | None  # None where the file cannot be read
    learning_id: str | None = None  # the decision of the refiner that the image was drawn for, if any

    def verdict_key(self, judge_key: str) -> str | None:
        """Return what a verdict depends on, as a hash: pixels, the judge's settings, what it is asked."""
        return self.content and content_hash([self.content, judge_key, self.asked])


def read_pictures(folder: Path, rows: Sequence[Mapping[str, Any]], at_once: int) -> Iterator[list[Picture]]:
    """Read the images of `rows` (image_id, image_path, prompt_id, scene_hash, scene_text, elements), some at a time."""
    scenes = {key: _scene(row) for key, row in {row["scene_hash"]: row for row in rows}.items()}
    for start in range(0, len(rows), at_once):
        yield [_picture(folder, row, scenes[row["scene_hash"]]) for row in rows[start : start + at_once]]


def _scene(row: Mapping[str, Any]) -> tuple[Scene, Sequence[Element], str] | ItemError:
    try:
        scene = Scene(row["scene_text"], row["elements"] or parse(row["scene_text"]))
        elements = list_elements(scene.elements)
    except Exception as error:  # this scene's failure; the others are judged
        return ItemError(f"what the scene asks for cannot be told: {reason_of(error)}")
    return scene, elements, content_hash([scene.text, [_told(element) for element in elements]])


def _told(element: Element) -> dict[str, Any]:
    """Return what a judge is told of an element. What only a benchmark's questions have is left out where it says nothing."""
    told = {name: value for name, value in asdict(element).items() if value or name not in ("choices", "parents")}
    return told | ({"asked": element.asked} if element.choices else {})


def _picture(folder: Path, row: Mapping[str, Any], scene: tuple[Scene, Sequence[Element], str] | ItemError) -> Picture:
    asked = (Scene(row["scene_text"], {}), [], "") if isinstance(scene, ItemError) else scene
    try:
        image = scene if isinstance(scene, ItemError) else read_image(folder, row["image_path"])
        content = None if isinstance(image, ItemError) else _content(image)
    except Exception as error:  # this image's failure: a picture too large to open, say
        image, content = ItemError(f"the image file {row['image_path']} cannot be read: {reason_of(error)}"), None
    return Picture(row["image_id"], row["prompt_id"], row["scene_hash"], *asked, image, content, row["learning_id"])


def row_of(calls: Calls, picture: Picture, seat: Seat, said: Any) -> dict[str, Any]:
    """Return the row of a verdict; of one that cannot be written down, that of its error."""
    row = calls.attempt(seat.judge.name, {"image": picture.image_id}, evaluation_row, picture, seat, said)
    return evaluation_row(picture, seat, row) if isinstance(row, ItemError) else row


def evaluation_row(picture: Picture, seat: Seat, verdict: Judgement | ItemError | Mapping[str, Any]) -> dict[str, Any]:
    """Return the `image_evaluations` row of a verdict by the judge of `seat`; a mapping is a row to use again.

    Elements below the pass mark are the missing ones. One that cannot be asked about, because its parent is not there, has no
    score but a reason; what the judge says of it all the same is kept beside, under `not_askable`. A verdict that leaves an
    element of its own without a score keeps what it says and has an error as well: the image has no score by it, and it is
    to be asked for again.
    """
    row = {
        "id": content_id("evaluation", image=picture.image_id, **seat.identity),
        "image_id": picture.image_id,
        "prompt_id": picture.prompt_id,
        "scene_hash": picture.scene_hash,
        **seat.identity,
        "verdict_key": picture.verdict_key(seat.key),
        "role": seat.role,
        **dict.fromkeys(DOCUMENTS),
        "error": None,
    }
    if isinstance(verdict, ItemError):
        return {**row, "error": verdict.reason}
    mark = seat.pass_mark
    documents = _documents(picture.elements, verdict, mark) if isinstance(verdict, Judgement) else verdict
    scores = documents["element_scores"]
    missing = [e.label for e in picture.elements if (score := scores.get(e.key)) is not None and score < mark]
    return {
        **row,
        "model_output": documents["model_output"],
        "adherence_analysis": {**documents["adherence_analysis"], "missing_elements": missing},
        "element_scores": scores,
        "error": _without_score(scores, documents["model_output"]),
    }


def _without_score(scores: Mapping[str, float | None], output: Mapping[str, Any]) -> str | None:
    reasons, unasked = output.get("reasons", {}), output.get("not_askable", {})
    nulls = sorted(key for key, score in scores.items() if score is None and key not in unasked)
    told = (f"{key} ({reasons[key]})" if reasons.get(key) else key for key in nulls)
    return f"no score for {', '.join(told)}" if nulls else None


def _documents(elements: Sequence[Element], verdict: Judgement, mark: float) -> dict[str, Any]:
    said = verdict.element_scores

    def is_there(key: str) -> bool | None:
        if key in verdict.answers:
            return bool(verdict.answers[key]["right"])
        score = said.get(key)
        return None if score is None else score >= mark

    unasked = {key: reason for key, reason in not_askable(elements, is_there).items() if key in said}
    scores = {key: None if key in unasked else score for key, score in said.items()}
    of_questions = {"answers": dict(verdict.answers), "not_askable": {key: said[key] for key in unasked}}
    return {
        "element_scores": scores,
        "model_output": {
            "description": verdict.description,
            "confidence_scores": _confidence(elements, scores),
            "detected_artifacts": list(verdict.detected_artifacts),
            "metrics": dict(verdict.metrics),
            "reasons": dict(verdict.reasons) | unasked,
            **{name: told for name, told in of_questions.items() if told},
        },
        "adherence_analysis": {
            "text_match_score": verdict.text_match_score,
            "unwanted_elements": list(verdict.unwanted_elements),
            "style_deviation": verdict.style_deviation,
        },
    }


def _confidence(elements: Sequence[Element], scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Mean probability of the seed's three groups; null where the scene asks for nothing of the group."""
    found = [(element.kind, score) for element in elements if (score := scores.get(element.key)) is not None]
    groups = {name: [score for kind, score in found if kind in kinds] for name, kinds in _GROUPS.items()}
    return {name: sum(group) / len(group) if group else None for name, group in groups.items()}


def _content(image: Image) -> str:
    """Hash size and pixels: the same picture in another file, with other metadata, is the same."""
    return hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()
