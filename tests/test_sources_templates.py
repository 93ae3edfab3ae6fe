"""Templates: worked out by hand."""

from __future__ import annotations

from collections import Counter

import pandas as pd
import pytest

from forgekit.errors import ParameterError
from forgekit.sources import expand, expand_rows, templates

COLOURS = {"colour": ["red", "blue", "green"]}


def test_a_choice_stands_for_each_of_its_options():
    assert expand("a {red|blue} {cat|dog}") == ["a red cat", "a red dog", "a blue cat", "a blue dog"]


def test_an_option_may_be_empty():
    assert expand("a {very |}big cat") == ["a very big cat", "a big cat"]


def test_two_of_three_are_different_in_any_order():
    assert expand("{2$$a|b|c}") == ["a, b", "a, c", "b, a", "b, c", "c, a", "c, b"]
    assert expand("{3$$a|b}") == ["a, b", "b, a"]


def test_a_range_takes_each_amount_and_its_own_separator():
    assert expand("{1-2$$ and $$a|b}") == ["a", "b", "a and b", "b and a"]


def test_a_choice_inside_a_choice_counts_each_of_its_options():
    assert expand("{a|{b|c}} {1|2}") == ["a 1", "a 2", "b 1", "b 2", "c 1", "c 2"]


def test_weights_are_respected_by_draws_and_by_nothing_else():
    assert expand("{3::red|1::blue} ball") == ["red ball", "blue ball"]
    assert expand("__w__", wildcards={"w": ["3::red", "0.5::blue"]}) == ["red", "blue"]
    assert sorted(expand("{2$$__w__}", n=1, wildcards={"w": ["9::a", "1::b"]})) in (["a, b"], ["b, a"])
    for template in ("{9::red|1::blue} ball", "__w__ ball"):
        drawn = Counter(expand(template, n=1, seed=seed, wildcards={"w": ["9::red", "blue"]})[0] for seed in range(100))
        assert 80 <= drawn["red ball"] < 100


def test_a_variable_that_is_set_once_is_the_same_everywhere():
    assert expand("${c=!{red|blue}}${c} hat and ${c} shoes") == ["red hat and red shoes", "blue hat and blue shoes"]
    assert len(expand("${c={red|blue}}${c} hat and ${c} shoes")) == 4
    assert len(set(expand("${c=!{1|2|3|4|5}}${c} {a|b|c}", n=10))) == 10


def test_wildcards_come_from_files_may_nest_and_skip_comments(tmp_path):
    (tmp_path / "animals").mkdir()
    (tmp_path / "colors.txt").write_text("\ufeff# basic\nred\n\n{dark|light} blue\n")
    (tmp_path / "animals" / "birds.txt").write_text("__colors__ owl\n")
    assert expand("a __animals/birds__", wildcards=tmp_path) == ["a red owl", "a dark blue owl", "a light blue owl"]


def test_wildcards_may_be_patterns_and_yaml_and_several_of_one_may_be_taken(tmp_path):
    (tmp_path / "animals.yaml").write_text("birds: [owl, tit]\ncats:\n  big: [2::lion]\n")
    (tmp_path / "colour.txt").write_text("red\nblue\n")
    assert expand("__birds__", wildcards=tmp_path) == ["owl", "tit"]
    assert expand("__cats/*__", wildcards=tmp_path) == ["lion"]
    assert expand("a {2$$__colour__} ball", wildcards=tmp_path) == ["a red, blue ball", "a blue, red ball"]
    assert expand("__col{ou|x}r__", n=1, wildcards={**COLOURS, "colxr": ["grey"]})


def test_an_escaped_mark_is_text():
    assert expand(r"\{a\|b\} snake_case") == ["{a|b} snake_case"]
    assert expand(r"{\}|\|} \_\_colour\_\_") == ["} __colour__", "| __colour__"]


@pytest.mark.parametrize(
    "text",
    [
        *("a cat | a dog", "a}", "snake__case", "a __ b", "# 1", "a // b", "100% of $5", "a /* b */", "", "a\tb", " ", "\\", "2$$a"),
        "http://x.org/a#b",
    ],
)  # fmt: skip
def test_a_text_without_choices_stays_as_it_stands_alone_and_within_a_template(text):
    assert expand(text) == [text] == expand(text, n=3)
    if "}" not in text and "$$" not in text and "__" not in text and "\\" not in text:
        assert expand(f"x{text}{{1|2}}") == [f"x{text}1", f"x{text}2"]
        assert expand("__a__ x", wildcards={"a": [f"{text}x", "y"]}) == [f"{text}x x", "y x"]


def test_samples_are_different_and_the_same_for_the_same_seed():
    template = "{a|b|c|d|e}{1|2|3|4|5}"
    drawn = expand(template, n=12, seed=7)
    assert len(set(drawn)) == 12 and set(drawn) <= set(expand(template))
    assert drawn == expand(template, n=12, seed=7) and drawn != expand(template, n=12, seed=8)


def test_templates_that_are_alike_are_drawn_from_independently():
    drawn = [expand(f"{name}{{0|1|2|3|4|5|6|7|8|9}}", n=1, seed=7)[0][1:] for name in "abcdefgh"]
    assert len(set(drawn)) > 1


def test_a_search_that_finds_new_texts_may_take_as_many_steps_as_it_needs(monkeypatch):
    monkeypatch.setattr(templates, "MOST_STEPS", 50)
    assert len(expand("{a|b|c|d} {a|b|c|d} {a|b|c|d}")) == 64


def test_what_is_hardly_ever_drawn_is_taken_where_nothing_else_is_left():
    assert sorted(expand("{1000000::a|b|c}", n=2)) in (["a", "b"], ["a", "c"])


def test_more_samples_than_expansions_give_all_of_them():
    assert expand("{a|b}", n=5) == ["a", "b"]


def test_samples_of_more_expansions_than_a_machine_word_counts():
    assert len(set(expand("{a|b|c|d|e|f|g|h|i|j}" * 40, n=20))) == 20


def test_whether_choices_are_drawn_is_not_for_a_template_to_say(recwarn):
    assert expand("{@a|b} {~c|d}") == ["a c", "a d", "b c", "b d"]
    assert len(set(expand("{!a|b} __@colour__", n=3, wildcards=COLOURS))) == 3 and not recwarn.list


def test_rows_expand_alike_in_any_order_and_keep_their_template():
    frame = pd.DataFrame({"text": ["a {red|blue|green} cat", "a {big|small|tiny} dog"], "row": [1, 2]})
    forward, backward = expand_rows(frame, n=2, seed=1), expand_rows(frame.iloc[::-1], n=2, seed=1)
    assert sorted(forward["text"]) == sorted(backward["text"]) and len(forward) == 4
    assert list(forward["template"]) == [frame["text"][0]] * 2 + [frame["text"][1]] * 2
    assert list(forward["row"]) == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{a", "from '{a' on"), ("x {a|{b} c", "from '{a|{b} c' on"), ("__nope__", "no wildcard is called 'nope', there is no nope.txt"),
        ("{a|{b|__nope__}}", "no wildcard is called 'nope'"), ("__colors__", "Did you mean 'colour'?"), ("__e__", "has no values"),
        ("a __f__", "from '{x' on"),
        ("{" * 500, "nested too deep"), ("{~a}" * 2000, "2,000 choices, more than 500"), ("{a|b|c|d|e|f|g|h|i|j}" * 6, "give n"), ("{2$$a|a} x", "no expansion"),
        ("${c=!{a|b}}", "only sets a variable"), ("${c} {a|b}", "Variable c is not defined"), ("{0::a|0::b|0::c}", "weights"),
        ("{12$$" + "|".join(["{a|b|c|d}"] + [f"{{a|b|c|d|{i}}}" for i in range(11)]) + "}", "takes too long"),
        ("{a|aa}" * 40, "takes too long"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_expanded_says_why(template, words, monkeypatch):
    monkeypatch.setattr(templates, "MOST_EXPANSIONS", 1_000)
    monkeypatch.setattr(templates, "MOST_STEPS", 5_000)
    with pytest.raises(ParameterError) as raised:
        expand(
            template,
            n={"give n": None, "takes too long": 99}.get(words, 2),
            wildcards={**COLOURS, "e": [], "f": ["{x"]},
        )
    assert words in str(raised.value) and repr(template)[:20] in str(raised.value)


def test_a_wildcard_that_contains_itself_is_refused_drawn_or_not():
    wildcards = {"a": ["x __b__ __b__"], "b": ["end", "__a__ __a__"]}
    for n in (None, 1):
        with pytest.raises(ParameterError, match="a > b > a"):
            expand("__a__", n=n, wildcards=wildcards)
    with pytest.raises(ParameterError, match="nested too deep"):
        expand("__{x|x}__", wildcards={"x": ["__{x|x}__ y"]})


@pytest.mark.parametrize(
    ("name", "content"), [("a.txt", b"\0\1\2\3red"), ("a.yaml", b"a: [b"), ("a.json", b"{"), ("a.yaml", b"%PDF-1.4")]
)
def test_a_damaged_wildcard_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ParameterError, match=rf"{name} cannot be read"):
        expand("__a__", wildcards=tmp_path)


def test_yaml_and_templates_run_no_code(tmp_path):
    (tmp_path / "a.yaml").write_text(f"a: !!python/object/apply:os.mkdir ['{tmp_path}/made']\n")
    with pytest.raises(ParameterError, match="a.yaml cannot be read"):
        expand("__a__", wildcards=tmp_path)
    assert expand("{{ 7*7 }}") == ["7*7 "] and not (tmp_path / "made").exists()


def test_an_error_in_a_table_of_templates_names_its_row():
    with pytest.raises(ParameterError, match="row 9"):
        expand_rows(pd.DataFrame({"text": ["{a"], "row": [9]}))
