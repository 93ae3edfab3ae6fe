"""What a person is asked, and in which order: images, elements or pairs, drawn by lots that know no arm and no score."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from forgekit.errors import ParameterError, did_you_mean
from forgekit.scene import list_elements
from forgekit.scene.element import Element
from forgekit.store import Store
from forgekit.store.arguments import number, several, text, whole

NOTHING = {
    "image": "there are no images",
    "element": "no scene with an image has elements (`forgekit.trends.unread` lists why)",
    "pair": "no scene has different images, judged, of two arms, or of two versions of the one arm",
}
ARMS = "select distinct experiment from prompts where id in (select prompt_id from generated_images) order by all"
CANDIDATES = "select scene_hash, images from rateable_{}s($arms) order by images"
DETAILS = """
select cast(i.id as varchar) as image_id, i.image_path, s.scene_text, s.elements
from generated_images i
join prompts p on p.id = i.prompt_id
join scenes s using (scene_hash)
where i.id in (select unnest($images::uuid[]))
"""


class Answer(NamedTuple):
    """One thing that can be said of an item: how it reads, the key that stands for it, and the rating that it is."""

    label: str
    key: str  # "": none
    rating: float


@dataclass(frozen=True)
class Item:
    """What a rater is asked once: about an image, about an element of it, or which of two images is better."""

    scene_text: str
    images: tuple[str, ...]  # their ids, from left to right
    paths: tuple[str, ...]
    element: Element | None = None

    @property
    def key(self) -> tuple[tuple[str, ...], str | None]:
        """What is rated, as the store has it."""
        return self.images, self.element.key if self.element else None

    @property
    def scale(self) -> tuple[float, float]:
        """The lowest and the highest rating."""
        return (1, 5) if len(self.images) == 1 and self.element is None else (0, 1)

    @property
    def question(self) -> str:
        """What the rater reads below the scene text."""
        if len(self.images) == 2:
            return "Which picture shows the text better?"
        return (
            self.element.question if self.element else "How much of it does the picture show? 1: nothing, 5: all of it"
        )

    @property
    def answers(self) -> list[Answer]:
        """What can be said. Of an element the rating is 1 where it is what the scene asks for, which may be a "no"."""
        if len(self.images) == 2:
            return [Answer("A (left)", "a", 1), Answer("B (right)", "b", 0), Answer("no difference (=)", "=", 0.5)]
        if self.element is None:
            return [Answer(f"{points}", f"{points}", points) for points in range(1, 6)]
        choices = self.element.choices or ("yes", "no")
        keys = [choice[:1].lower() for choice in choices]
        keys = keys if len({*keys}) == len(keys) else [""] * len(keys)
        return [
            Answer(choice, key, float(choice == self.element.expected))
            for choice, key in zip(choices, keys, strict=True)
        ]


def rating_plan(
    store: Store,
    *,
    rater: str,
    kind: str = "image",
    n: int = 48,
    seed: int = 0,
    arms: Sequence[str] | None = None,
    overlap: float = 1.0,
) -> list[Item]:
    """Return what `forgekit.rate` asks `rater`, in that rater's own order; on every call the same, while no images are drawn.

    Images (or pairs) are drawn by lot, of each scene one before any scene has a second. The elements of an image are
    asked together. A pair is of one scene and, where there are such, of one seed; which image is on the left is drawn
    for each rater.

    Raises:
        ParameterError: an argument outside its range, an arm that nobody knows, or nothing to rate.
    """
    if kind not in NOTHING:
        raise ParameterError(f"kind={kind!r}: give one of {', '.join(NOTHING)}")
    if not (text("rater", rater) or "").strip():
        raise ParameterError("rater='' is nobody: give a name, or any word that stays the same, such as rater='ann'")
    n, seed, overlap = whole("n", n), whole("seed", seed, least=0), number("overlap", overlap, most=1)
    known = [row["experiment"] for row in store.rows(ARMS)]
    arms = known if arms is None else several("arms", arms)
    for arm in arms:
        if arm not in known:
            raise ParameterError(
                f"no experiment {arm!r} has images.{did_you_mean(arm, known)} Known: {', '.join(known)}"
            )
    candidates = store.rows(CANDIDATES.format("pair" if kind == "pair" else "image"), arms=arms)
    drawn = draw([(row["scene_hash"], row["images"]) for row in candidates], n, seed=seed, rater=rater, overlap=overlap)
    told = {
        row["image_id"]: row
        for row in store.rows(DETAILS, images=sorted({image for images in drawn for image in images}))
    }
    items = []
    for images in drawn:
        scene, paths = told[images[0]], tuple(told[image]["image_path"] for image in images)
        asked: list[Any] = (
            [None] if kind != "element" else list_elements(scene["elements"]) if scene["elements"] else []
        )
        items += [Item(scene["scene_text"], images, paths, element) for element in asked]
    if not items:
        raise ParameterError(f"there is nothing to rate in {', '.join(arms) or store.path}: {NOTHING[kind]}")
    return items


def draw(
    candidates: Iterable[tuple[str, Sequence[str]]], n: int, *, seed: int, rater: str, overlap: float = 1.0
) -> list[tuple[str, ...]]:
    """Return the `n` of the candidates (scene, images) on which the lots fall, in the rater's order; of a pair also its sides."""
    known = [(scene, tuple(sorted(images))) for scene, images in candidates]
    shared = _scene_by_scene(known, seed)[: round(n * overlap)]
    own = [images for images in _scene_by_scene(known, seed, rater) if images not in {*shared}][: n - len(shared)]
    ordered = sorted(shared + own, key=lambda images: _lot(seed, rater, images))
    # The sides hang on no seed: what a rater said of a pair is shown again as it was.
    return [images[:: -1 if _lot(rater, images) < "8" else 1] for images in ordered]


def _scene_by_scene(candidates: Iterable[tuple[str, tuple[str, ...]]], *salt: Any) -> list[tuple[str, ...]]:
    """Return images in the order of their lots, of each scene one before any scene has a second."""
    turns: Counter[str] = Counter()
    ranked = []
    for scene, images in sorted(candidates, key=lambda candidate: _lot(*salt, candidate[1])):
        ranked.append((turns[scene], images))
        turns[scene] += 1
    return [images for _, images in sorted(ranked, key=lambda turn: turn[0])]


def _lot(*of: Any) -> str:
    """Return a number by which things are put in an order that none of them has a part in; quick, for there are many images."""
    return hashlib.sha256(repr(of).encode()).hexdigest()
