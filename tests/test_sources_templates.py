"""Templates: worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from forgekit.errors import ParameterError
from forgekit.sources import expand, expand_rows, is_template


def test_a_choice_stands_for_each_of_its_options():
    assert expand("a {red|blue} {cat|dog}") == ["a red cat", "a red dog", "a blue cat", "a blue dog"]


def test_an_option_may_be_empty():
    assert expand("a {very |}big cat") == ["a very big cat", "a big cat"]


def test_two_of_three_are_different_and_keep_their_order():
    assert expand("{2$$a|b|c}") == ["a, b", "a, c", "b, c"]


def test_a_range_takes_each_amount_and_its_own_separator():
    assert expand("{1-2$$ and $$a|b|c}") == ["a", "b", "c", "a and b", "a and c", "b and c"]


def test_a_choice_inside_a_choice_counts_each_of_its_options():
    assert expand("{a|{b|c}} {1|2}") == ["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"]


def test_several_of_nested_choices_give_each_combination_once():
    assert expand("{2$$a|{b|c}|d}") == ["a, b", "a, c", "a, d", "b, d", "c, d"]


def test_wildcards_come_from_files_may_nest_and_skip_comments(tmp_path):
    (tmp_path / "animals").mkdir()
    (tmp_path / "colors.txt").write_text("# basic\nred\n\n{dark|light} blue\n")
    (tmp_path / "animals" / "birds.txt").write_text("__colors__ owl\n")
    assert expand("a __animals/birds__", wildcards=tmp_path) == ["a red owl", "a dark blue owl", "a light blue owl"]


def test_an_escaped_mark_is_text():
    assert expand(r"\{a\|b\} snake_case") == ["{a|b} snake_case"]


def test_a_bar_outside_braces_is_text():
    assert expand("a cat | a dog") == ["a cat | a dog"]


def test_samples_are_different_and_the_same_for_the_same_seed():
    template = "{a|b|c|d|e}{1|2|3|4|5}"
    drawn = expand(template, n=12, seed=7)
    assert len(set(drawn)) == 12 and set(drawn) <= set(expand(template))
    assert drawn == expand(template, n=12, seed=7) and drawn != expand(template, n=12, seed=8)


def test_more_samples_than_expansions_give_all_of_them():
    assert expand("{a|b}", n=5) == ["a", "b"]


def test_samples_of_more_expansions_than_a_machine_word_counts():
    assert len(set(expand("{a|b|c|d|e|f|g|h|i|j}" * 40, n=20))) == 20


def test_rows_expand_alike_in_any_order_and_keep_their_template():
    frame = pd.DataFrame({"text": ["a {red|blue|green} cat", "a {big|small|tiny} dog"], "row": [1, 2]})
    forward, backward = expand_rows(frame, n=2, seed=1), expand_rows(frame.iloc[::-1], n=2, seed=1)
    assert sorted(forward["text"]) == sorted(backward["text"]) and len(forward) == 4
    assert list(forward["template"]) == [frame["text"][0]] * 2 + [frame["text"][1]] * 2
    assert list(forward["row"]) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{a", "without its '}'"), ("a}", "without its '{'"), ("{3$$a|b}", "asks for 3"), ("__nope__", "no wildcard"),
        ("{" * 5000, "nested too deep"), ("{a|b|c|d|e|f|g|h|i|j}" * 6, "give n"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_expanded_says_why(template, words):
    with pytest.raises(ParameterError, match=words.replace("$", r"\$").replace("{", r"\{").replace("}", r"\}")):
        expand(template)


def test_a_wildcard_that_contains_itself_is_refused():
    with pytest.raises(ParameterError, match="a > b > a"):
        expand("__a__", wildcards={"a": ["x __b__ __b__"], "b": ["__a__ __a__"]})


def test_an_error_in_a_table_of_templates_names_its_row():
    with pytest.raises(ParameterError, match="row 9"):
        expand_rows(pd.DataFrame({"text": ["{a"], "row": [9]}))


def test_templates_are_told_from_plain_text():
    assert is_template("a {b|c}") and is_template("a __d__") and not is_template("a snake__case | b")
