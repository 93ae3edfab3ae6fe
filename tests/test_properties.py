"""What holds for any text and any bytes: few examples here, as many as wanted with FORGEKIT_EXAMPLES=100000."""

from __future__ import annotations

import json
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import forgekit as fk
from forgekit.errors import ForgekitError
from forgekit.ids import canonical_json, content_hash
from forgekit.scene import compare, list_elements, normalise, parse, scene_hash, split_prompt, why_refused
from forgekit.scene.syntax.parameters import checked_parameters
from forgekit.scene.text import MOST_CHARACTERS
from forgekit.sources import read
from forgekit.sources.readers import SUFFIXES

EXAMPLES = int(os.environ.get("FORGEKIT_EXAMPLES", "60"))
examples = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES <= 60, suppress_health_check=list(HealthCheck)
)
WORDS = [
    "a", "two", "3", "the", "red", "cat", "cats", "circle", "square", "left", "right", "of", "on", "and", "with",
    "no", "not", "is", "its", "cat's", "grey", "million", "one", "next", "to", '"stop"', "(cat:1.2)", "[dog]", "::",
    "--ar", "16:9", ",", ".", ";", "<lora:x:1>", "BREAK", "AND", "{a|b}", "*", "_", "#", "&", "&amp;", "²", "ß", "猫",
    "🐈", "\\", "\n", "—", "-", "",
]  # fmt: skip
texts = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=9), inner, max_size=4)),
    max_leaves=12,
)


@examples
@given(texts)
def test_any_text_is_parsed_and_says_the_same_as_itself(text):
    elements = parse(text)
    assert json.loads(json.dumps(elements)) == elements
    assert len({element.key for element in list_elements(elements)}) == len(list_elements(elements))
    assert compare(elements, elements) == []
    assert why_refused(text, text) == []


@examples
@given(texts, texts)
def test_the_gate_answers_for_any_two_texts(text, other):
    assert all(isinstance(reason, str) for reason in why_refused(text, other))


@examples
@given(texts)
def test_a_prompt_is_split_once_and_put_together_again(text):
    parts = split_prompt(text)
    assert parts.drawn == text
    assert split_prompt(parts.asked).asked == parts.asked
    assert parts.words in text
    own = parts.drawn[parts.start : parts.end].strip()
    assert parts.with_words(own) == text


@examples
@given(texts)
def test_a_scene_is_told_by_its_normalised_form(text):
    assert normalise(normalise(text)) == normalise(text)
    assert scene_hash(text) == scene_hash(f"  {normalise(text)} ")
    assert len(scene_hash(text)) == 64


@examples
@given(st.dictionaries(st.text(max_size=9), values, max_size=5))
def test_equal_content_has_equal_hashes_in_whatever_order(content):
    content = json.loads(canonical_json(content).replace("NaN", "1"))
    backwards = dict(reversed(content.items()))
    assert content_hash(content) == content_hash(backwards) == content_hash(json.loads(canonical_json(content)))


@examples
@given(
    st.dictionaries(
        st.sampled_from(["num_inference_steps", "seed", "width", "negative_prompt", "true_cfg_scale", "x"]), values
    )
)
def test_parameters_are_in_bounds_or_refused(said):
    try:
        found = checked_parameters(said)
    except ForgekitError:
        return
    assert 1 <= found.get("num_inference_steps", 1) <= 1000
    assert 0 <= found.get("true_cfg_scale", 0) <= 100
    assert checked_parameters(found) == found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


contents = st.one_of(
    st.binary(max_size=300),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.lists(st.dictionaries(st.sampled_from(["prompt", "id", "steps", "parameters"]), values), max_size=4).map(
        lambda rows: "\n".join(map(json.dumps, rows)).encode()
    ),
)


@examples
@given(contents, st.sampled_from([*SUFFIXES, "", ".png"]))
def test_any_bytes_are_read_or_refused(folder, content, suffix):
    path = folder / f"p{suffix}"
    path.write_bytes(content)
    try:
        rows = read(path)
    except ForgekitError as error:
        assert str(error).encode()
    else:
        assert rows.total >= 0 and all(bad.reason for bad in rows.bad)


@settings(parent=examples, max_examples=max(8, EXAMPLES // 10))
@given(contents, st.sampled_from([".csv", ".jsonl", ".txt", ".yaml"]))
def test_what_is_read_is_stored_or_a_bad_row(folder, content, suffix):
    path = folder / f"q{suffix}"
    path.write_bytes(content)
    try:
        report = fk.import_prompts(fk.open_store(folder / "s.duckdb"), path, dry_run=True)
    except ForgekitError as error:
        assert str(error).encode()
    else:
        assert str(report).encode()


@pytest.mark.parametrize(
    "part",
    ["a cat, ", "twenty ", "million ", "cat ", "cat's ", "x", "a-", "not a cat ", "((a:1.1)), ", "abc1 ", "very "],
)
def test_the_work_on_a_text_grows_about_as_the_text_and_ends_where_texts_are_too_long(part):
    def seconds(length):
        text = f"a red cat {part * length}"[:length]
        started = time.process_time()
        why_refused(text, f"{text}, on a white background")
        return time.process_time() - started

    seconds(500)
    assert seconds(MOST_CHARACTERS - 40) < 0.5 + 40 * seconds((MOST_CHARACTERS - 40) // 8)
    assert seconds(100 * MOST_CHARACTERS) < 1.0  # not read at all
