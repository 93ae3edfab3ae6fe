"""The scenes of the refinement study, data/prompts/study.csv: `python -m training.study_scenes OUT.csv`."""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from forgekit.mini.captions import RARE, Grammar, caption
from forgekit.mini.world import WorldScene, sample_scene
from forgekit.scene import list_elements, parse, scene_hash
from training.loop import command

SCENES, SEED = 120, 11_029  # scenes that nothing was tuned on: no earlier study or pilot had this seed
WORDS = Grammar(rare=40.0, variants=0.04, unknown=0.0)  # about half of all words are rare ones
PLAIN = Grammar(variants=0.04, unknown=0.0, rare=0.0)
RARE_WORDS = tuple(word for words in RARE.values() for word in words)
# Words of the lexicon that no caption in any training holds: the generator's tokenizer makes `<unk>` of them.
UNSEEN: Mapping[str, tuple[str, ...]] = {
    "circle": ("disk",),
    "red": ("burgundy",),
    "orange": ("coral", "apricot", "terracotta"),
    "yellow": ("gold", "mustard"),
    "green": ("jade", "mint"),
    "blue": ("sapphire", "cerulean"),
    "purple": ("lilac", "mauve", "plum"),
    "pink": ("peach",),
    "large": ("enormous", "massive"),
    "small": ("petite",),
    "watercolor": ("aquarelle",),
}
REPLACED = 0.6  # of the words that have an unseen one, the share that is replaced


@dataclass(frozen=True)
class Category:
    """A kind of difficulty: which scenes have it, and how they are worded."""

    name: str
    grammar: Grammar
    has: Callable[[WorldScene, str], bool]
    unseen: bool = False  # in words that the generator never met


# In turn, so that every stretch of the list is equally hard: memory is measured on the second half.
CATEGORIES = (
    Category("unseen words, one object", PLAIN, lambda s, text: len(s.objects) == 1, unseen=True),
    Category("rare words, relation", WORDS, lambda s, text: s.relation is not None and _rare(text) > 1),
    Category("unseen words, several objects", PLAIN, lambda s, text: _several(s), unseen=True),
    Category("rare words, one object", WORDS, lambda s, text: len(s.objects) == 1 and _rare(text) > 0),
    Category("unseen words, count", PLAIN, lambda s, text: s.kind == "count", unseen=True),
    Category("rare words, style", WORDS, lambda s, text: _styled(s, text) and len(s.objects) < 3 and _rare(text) > 0),
    Category("unseen words, style", PLAIN, lambda s, text: _styled(s, text) and len(s.objects) < 3, unseen=True),
    Category("rare words, several objects", WORDS, lambda s, text: _several(s) and _rare(text) > 0),
    Category("usual words, relation", PLAIN, lambda s, text: s.relation is not None),
    Category("usual words, one or several objects", PLAIN, lambda s, text: s.relation is None and s.kind != "count"),
)


def study_scenes(n: int = SCENES, seed: int = SEED) -> list[dict[str, str]]:
    """Return `n` different scenes as rows with id, text and category; the same seed gives the same scenes.

    Every text is one that the parser reads: as many objects, and a relation and a style where the scene has them.
    """
    rng = random.Random(seed)
    rows: dict[str, dict[str, str]] = {}
    for category in cycle(CATEGORIES):
        if len(rows) == n:
            return list(rows.values())
        while True:
            scene = sample_scene(rng)
            text = caption(scene, rng, category.grammar)
            if category.unseen and (text := _in_unseen_words(text, rng)) is None:
                continue
            if category.has(scene, text) and _is_read(scene, text) and scene_hash(text) not in rows:
                break
        name = f"study-{len(rows) + 1:03d}"
        rows[scene_hash(text)] = {"id": name, "text": text, "category": category.name}


def _in_unseen_words(text: str, rng: random.Random) -> str | None:
    """Return `text` with some of its plain words in words that the generator never met; None where it has none."""
    words, replaced = text.split(), 0
    for i, word in enumerate(words):
        plain = word.rstrip(",.")
        concept = plain if plain in UNSEEN else plain.removesuffix("s")
        if concept in UNSEEN and rng.random() < REPLACED:
            new = rng.choice(UNSEEN[concept]) + word[len(concept) :]
            if i and words[i - 1] in ("a", "an"):
                words[i - 1] = "an" if new[0] in "aeiou" else "a"
            words[i], replaced = new, replaced + 1
    return " ".join(words) if replaced else None


def _rare(text: str) -> int:
    """How many rare words a text has."""
    padded = " " + text.replace(",", " ").replace(".", " ") + " "
    return sum(f" {word} " in padded or f" {word}s " in padded for word in RARE_WORDS)


def _styled(scene: WorldScene, text: str) -> bool:
    return scene.style != "flat" and parse(text)["style"] is not None


def _several(scene: WorldScene) -> bool:
    return len(scene.groups) > 1 and scene.relation is None


def _is_read(scene: WorldScene, text: str) -> bool:
    read = parse(text)
    alike = len(read["objects"]) == len(scene.groups) and bool(read["relations"]) == bool(scene.relation)
    counts = sorted(item["count"] for item in read["objects"]) == sorted(count for _, count in scene.groups)
    return alike and counts and bool(list_elements(read))


def main(out: Path, *, scenes: int = SCENES, seed: int = SEED) -> None:
    """Write the scenes to the CSV file OUT."""
    with out.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("id", "text", "category"), lineterminator="\n")
        writer.writeheader()
        writer.writerows(study_scenes(scenes, seed))


if __name__ == "__main__":
    command(main)
