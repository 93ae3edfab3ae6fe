"""The normalised text and its hash."""

from __future__ import annotations

import hashlib

import pytest

from forgekit.scene import normalise, scene_hash


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("  A red\tCat \n", "a red cat"), ("A red cat.", "a red cat"), ("A red cat ?!", "a red cat"), ("a\u00a0red cat…", "a red cat"),
        ("Ａ ｒｅｄ cat", "a red cat"), ("STRASSE", "strasse"), ("Straße", "strasse"), ("cafe\u0301", "café"), ("...", "..."), (" ", ""),
        ("3.5 cats, a dog", "3.5 cats, a dog"), ("ﬁre", "fire"),
    ],
)  # fmt: skip
def test_texts_that_read_alike_have_one_normal_form(text, normal):
    assert normalise(text) == normal


def test_the_ascii_short_cut_agrees_with_the_rule_for_all_texts():
    text = " A Red\x0bCat \x1c IS on\r\nthe  MAT . "
    assert normalise(text) == normalise(text + "é").removesuffix(" . é") == "a red cat is on the mat"


def test_normalising_twice_changes_nothing():
    for text in ("A. B. C. ", "ǅungla ŉ", "Ⅷ cats…", "İstanbul", "ϓ"):
        assert normalise(normalise(text)) == normalise(text)


def test_the_hash_is_the_sha256_of_the_normal_form():
    assert scene_hash("A red cat. ") == hashlib.sha256(b"a red cat").hexdigest()
    assert scene_hash("a \ud800 cat") != scene_hash("a cat")
