"""Pictures to judge, the keys under which verdicts on them are found again, and verdicts as rows."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ItemError
from forgekit.ids import content_hash, content_id
from forgekit.images import read_image
from forgekit.models import Judgement
from forgekit.scene import Element, Scene, list_elements, parse

if TYPE_CHECKING:
    from PIL.Image import Image

OBJECTIVE, HELDOUT = "objective", "heldout"  # the judge that steers, and those that only watch
DOCUMENTS = ("model_output", "adherence_analysis", "element_scores")  # what a verdict says
_GROUPS = {"object": "objects", "count": "objects", "color": "colors", "relation": "spatial"}


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

    def verdict_key(self, judge_key: str) -> str | None:
        """Return what a verdict depends on, as a hash: pixels, the judge's settings, what it is asked."""
        return self.content and content_hash([self.content, judge_key, self.asked])


def read_pictures(folder: Path, rows: Iterable[Mapping[str, Any]], at_once: int) -> Iterator[list[Picture]]:
    """Read the images of `rows` (image_id, image_path, prompt_id, scene_hash, scene_text, elements), some at a time."""
    scenes: dict[str, tuple[Scene, Sequence[Element], str]] = {}
    pictures: list[Picture] = []
    for row in rows:
        if row["scene_hash"] not in scenes:
            scene = Scene(row["scene_text"], row["elements"] or parse(row["scene_text"]))
            elements = list_elements(scene.elements)
            asked = content_hash([scene.text, [asdict(element) for element in elements]])
            scenes[row["scene_hash"]] = scene, elements, asked
        image = read_image(folder, row["image_path"])
        content = None if isinstance(image, ItemError) else _content(image)
        ids = (row["image_id"], row["prompt_id"], row["scene_hash"])
        pictures.append(Picture(*ids, *scenes[row["scene_hash"]], image, content))
        if len(pictures) == at_once:
            yield pictures
            pictures = []
    if pictures:
        yield pictures


def evaluation_row(
    picture: Picture, judge: tuple[str, str], role: str, verdict: Judgement | ItemError | Mapping[str, Any]
) -> dict[str, Any]:
    """Return the `image_evaluations` row of a verdict by `judge` (name, key); a mapping is a row to use again."""
    name, key = judge
    row = {
        "id": content_id("evaluation", image=picture.image_id, vision_model=name, judge_key=key),
        "image_id": picture.image_id,
        "prompt_id": picture.prompt_id,
        "scene_hash": picture.scene_hash,
        "vision_model": name,
        "judge_key": key,
        "verdict_key": picture.verdict_key(key),
        "role": role,
        **dict.fromkeys(DOCUMENTS),
        "error": None,
    }
    if isinstance(verdict, ItemError):
        return {**row, "error": verdict.reason}
    documents = _documents(picture.elements, verdict) if isinstance(verdict, Judgement) else verdict
    return {**row, **{name: documents[name] for name in DOCUMENTS}}


def _documents(elements: Sequence[Element], verdict: Judgement) -> dict[str, Any]:
    return {
        "element_scores": dict(verdict.element_scores),
        "model_output": {
            "description": verdict.description,
            "confidence_scores": _confidence(elements, verdict.element_scores),
            "detected_artifacts": list(verdict.detected_artifacts),
            "metrics": dict(verdict.metrics),
            "reasons": dict(verdict.reasons),
        },
        "adherence_analysis": {
            "text_match_score": verdict.text_match_score,
            "missing_elements": [e.phrase for e in elements if _failed(verdict.element_scores.get(e.key))],
            "unwanted_elements": list(verdict.unwanted_elements),
            "style_deviation": verdict.style_deviation,
        },
    }


def _failed(score: float | None) -> bool:
    return score is not None and score < 0.5


def _confidence(elements: Sequence[Element], scores: Mapping[str, float | None]) -> dict[str, float | None]:
    """Mean probability of the seed's three groups; null where the scene asks for nothing of the group."""
    members = defaultdict(list)
    for element in elements:
        score = scores.get(element.key)
        if element.kind in _GROUPS and score is not None:
            members[_GROUPS[element.kind]].append(score)
    return {name: sum(m) / len(m) if (m := members[name]) else None for name in ("objects", "colors", "spatial")}


def _content(image: Image) -> str:
    """Hash size and pixels: the same picture in another file, with other metadata, is the same."""
    return hashlib.sha256(f"{image.width}x{image.height} ".encode() + image.tobytes()).hexdigest()
