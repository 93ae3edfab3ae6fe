"""The scenes of the study: reproducible, different, mixed, and read by the parser as they are meant."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import pytest

from forgekit.mini import WEIGHTS
from forgekit.scene import list_elements, parse, scene_hash
from training.generator import tokenizer as generator_tokenizer
from training.study_scenes import CATEGORIES, RARE_WORDS, UNSEEN, study_scenes

UNSEEN_WORDS = tuple(word for words in UNSEEN.values() for word in words)
FILE = Path(__file__).parents[1] / "data" / "prompts" / "study.csv"


def test_the_committed_file_is_what_the_seed_gives():
    with FILE.open(newline="") as file:
        assert list(csv.DictReader(file)) == study_scenes()


def test_there_are_120_different_scenes_of_every_category_evenly_through_the_list():
    rows = study_scenes()
    assert len({scene_hash(row["text"]) for row in rows}) == len(rows) >= 120
    halves = [Counter(row["category"] for row in part) for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :])]
    assert halves[0] == halves[1]
    assert set(halves[0]) == {category.name for category in CATEGORIES}


def test_most_scenes_have_hard_words_and_the_parser_knows_them_all():
    rows = study_scenes()
    hard = {*RARE_WORDS, *UNSEEN_WORDS}
    assert len([row for row in rows if hard & words_of(row["text"])]) > len(rows) // 2
    kinds = Counter(element.kind for row in rows for element in list_elements(parse(row["text"])))
    assert min(kinds[kind] for kind in ("object", "color", "relation", "count", "size", "style", "background")) >= 12
    assert not [element for row in rows for element in list_elements(parse(row["text"])) if element.kind == "other"]


def test_unseen_words_are_where_the_category_says_so_and_nowhere_else():
    for row in study_scenes():
        unseen = {
            word for word in words_of(row["text"]) if word in UNSEEN_WORDS or word.removesuffix("s") in UNSEEN_WORDS
        }
        assert bool(unseen) == row["category"].startswith("unseen"), row


@pytest.mark.parametrize("word", UNSEEN_WORDS)
def test_the_generator_never_met_an_unseen_word_and_the_judges_read_it_as_the_plain_one(word):
    from transformers import AutoTokenizer

    plain = next(concept for concept, words in UNSEEN.items() if word in words)
    assert generator_tokenizer().tokenize(word) == ["<unk>"]
    for judge in ("clip", "fuyu", "owl"):
        assert AutoTokenizer.from_pretrained(WEIGHTS / judge).tokenize(f"a {word} thing")[1] == plain


def words_of(text: str) -> set[str]:
    return set(text.replace(",", " ").replace(".", " ").split())
