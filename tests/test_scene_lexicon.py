"""The lexicon's files: no list that no rule names, no word that two meanings claim, one's own concepts on top."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from forgekit.scene import compare, default_lexicon, load_lexicon, parse, synonyms

SCENE = Path(__file__).parents[1] / "forgekit" / "scene"
GRAMMAR = tomllib.loads((SCENE / "lexicon" / "grammar.toml").read_text(encoding="utf-8"))
CODE = "\n".join(path.read_text(encoding="utf-8") for path in SCENE.rglob("*.py"))


@pytest.mark.parametrize("name", [*GRAMMAR, *GRAMMAR["words"], *GRAMMAR["endings"], *GRAMMAR["phrases"]])
def test_every_list_of_the_grammar_is_named_by_a_rule(name):
    kinds_of_verbs = GRAMMAR["no_place"]  # named by another table
    assert f'"{name}"' in CODE or name in kinds_of_verbs


@pytest.mark.parametrize("table", ["closed", "count", "partitive", "irregular", "lemma"])
def test_no_word_stands_under_two_meanings_of_a_table(table):
    words = [word for words in GRAMMAR[table].values() for word in words.split()]
    assert len(words) == len(set(words)), sorted(word for word in words if words.count(word) > 1)


def test_every_concept_belongs_to_no_other_of_its_kind():
    for kind, table in default_lexicon().concepts.items():
        words = [word for concept, same in table.items() for word in (concept, *same)]
        assert len(words) == len(set(words)), (kind, sorted(word for word in words if words.count(word) > 1))


def test_a_relation_that_can_be_said_from_the_other_end_has_an_opposite_both_ways():
    opposites = default_lexicon().opposites
    assert (opposites["left of"], opposites["right of"]) == ("right of", "left of")
    assert (opposites["behind"], opposites["in front of"]) == ("in front of", "behind")


def test_synonyms_put_the_common_word_first_and_leave_the_term_out():
    assert synonyms("scarlet", "color") == ["red"]
    assert synonyms("navy", "color") == ["blue", "navy blue"]
    assert synonyms("sofa", "object") == ["couch", "settee"]
    assert synonyms("boy", "object") == ["child", "person"]
    assert synonyms("giant", "size")[:3] == ["large", "big", "huge"]
    assert synonyms("red", "color") == [] == synonyms("dog", "object")  # no kind of theirs keeps what they say
    assert synonyms("zebra", "object") == [] == synonyms("blorp", "color")


def test_a_users_lexicon_comes_first_and_adds_concepts(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[object]\ngizmo = ["widget"]\n[color]\nred = ["rosso"]\n')
    assert synonyms("widget", "object", path=path) == ["gizmo"]
    assert synonyms("red", "color", path=path) == ["rosso"]
    assert synonyms("crimson", "color", path=path) == ["red", "rosso"]
    mine = load_lexicon(path)
    assert parse("a rosso widget", lexicon=mine)["objects"][0]["attributes"] == [{"kind": "color", "value": "rosso"}]
    assert compare(parse("a gizmo"), parse("a widget", lexicon=mine), lexicon=mine) == []


def test_ones_own_kinds_are_loosened_and_ones_own_synonyms_go_both_ways(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[color]\nred = ["crimson"]\n[kinds.object]\ndog = ["borzoi"]\n')
    mine = load_lexicon(path)
    assert compare(parse("a red cup"), parse("a crimson cup"), lexicon=mine) == []
    assert compare(parse("a borzoi"), parse("a dog"), lexicon=mine) == []
    assert compare(parse("a dog"), parse("a borzoi"), lexicon=mine)


def test_every_kind_has_one_plain_word_and_no_circle():
    table = tomllib.loads((SCENE / "lexicon" / "concepts.toml").read_text(encoding="utf-8"))
    for kind, concepts in table["kinds"].items():
        words = [(word, plain) for plain, texts in concepts.items() for text in texts for word in text.split(" = ")]
        assert len(words) == len(dict(words)), kind
        assert not dict(words).keys() & {word for same in table[kind].values() for word in same}, kind
        assert not [word for word, plain in words if default_lexicon().kinds.is_kind(plain, word, kind)], kind
