"""Entries for single words: what the lexicon says first, then lemminflect's dictionary, then endings."""

from __future__ import annotations

from functools import lru_cache

from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Entry, Lexicon

HINTS = ("noun", "adjective", "compound", "thing")
MISSPELT = 30  # letters; no common word has more
LETTERS = "abcdefghijklmnopqrstuvwxyz"
Readings = dict[str, tuple[str, ...]]  # class: the lemmas of a word


def entry_of(word: str, lexicon: Lexicon) -> Entry:
    """Return what `word` (lower case) can be. Unknown words have the tags "U"."""
    entry = lexicon.entries.get(word)
    if entry is None:
        entry = lexicon.entries[word] = _open_entry(word, lexicon)
    return entry


def _open_entry(word: str, lexicon: Lexicon) -> Entry:
    if word[0].isdigit():
        return Entry("Q" if word.isdecimal() else "J")
    forms = (word, word.replace("-", " "))  # "dark-red"
    kind = next((kind for kind in ATTRIBUTE_KINDS for form in forms if (kind, form) in lexicon.meanings), "")
    readings = lemmas_of(word)
    noun = _noun_lemma(word, readings, lexicon)
    if not readings and not noun and not kind:
        return _entry_by_form(word, lexicon)
    verb = readings.get("VERB", ("",))[0]
    hint = next((name for name in HINTS if word in lexicon.words[name]), "")
    if not hint and verb in lexicon.words["verb"]:
        hint = "verb"
    tags = _tags(word, readings, Entry("", noun, verb, kind, hint))
    return Entry(tags, noun or word, verb, kind, hint)


def _tags(word: str, readings: Readings, entry: Entry) -> str:
    """Return the classes that a word of the dictionary may have, the likeliest first."""
    tags = "J" if entry.kind else ""
    if entry.hint == "noun":
        tags += "N"
    if entry.verb and word != entry.verb and word.endswith("ing"):
        tags += "G"
    elif entry.verb and word != entry.verb and not word.endswith("s"):
        tags += "E"
    if "ADJ" in readings and "J" not in tags and entry.hint != "noun":
        tags += "J"
    may_be_noun = entry.kind in ("", "material", "shape") or entry.hint == "thing"
    if entry.noun and "N" not in tags and entry.hint != "adjective" and may_be_noun:
        tags += "N"
    if entry.verb and "G" not in tags and "E" not in tags:
        tags += "V"
    if "ADV" in readings and (not tags or (word.endswith("ly") and "J" not in tags)):
        tags = "R"
    return tags or "N"


def _entry_by_form(word: str, lexicon: Lexicon) -> Entry:
    """Judge a word the dictionary lacks: naive plurals ("benchs"), hyphenated words, else unknown."""
    for ending in ("es", "s"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and (readings := lemmas_of(stem)).get("NOUN"):
            return Entry("N", noun=_noun_lemma(stem, readings, lexicon) or stem)
    describing = lexicon.endings["adjective"]
    if "-" in word:
        last = word.rsplit("-", 1)[1]
        if last.endswith(("ed", "ing", *describing)):
            return Entry("J")
        known = entry_of(last, lexicon) if last else Entry("U")
        if "N" in known.tags:
            return Entry("N", noun=word[: -len(last)] + known.noun)
        return Entry("J" if "J" in known.tags else "U", noun=word, kind=known.kind)
    if word.endswith(describing) and word not in describing:
        return Entry("J")
    if lexicon.is_thing(word) or word.endswith(lexicon.endings["noun"]):
        return Entry("N", noun=word)
    if word.endswith("ly") and len(word) > 5:  # "lazily"
        return Entry("R")
    if word.endswith(("ing", "ed")) and len(word) > 5:  # "flambeing"
        return Entry("G" if word.endswith("ing") else "E", verb=word)
    if word.endswith("s") and lexicon.is_thing(word[:-1]):
        return Entry("N", noun=word[:-1])
    plural = word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3
    return Entry("U", noun=word[:-1] if plural else word)


def respelt(word: str, lexicon: Lexicon) -> Entry:
    """Return what a word that no dictionary has can be, with slips of common words read as these: "teh", "yelow"."""
    key = f"{word}?"  # no word has the mark, so the entries of words as they stand are others
    if key not in lexicon.entries:
        meant = _respelt(word, lexicon)
        lexicon.entries[key] = entry_of(meant or word, lexicon)
    return lexicon.entries[key]


def _respelt(word: str, lexicon: Lexicon) -> str:
    """Return the one common word that `word` is a slip of: "teh", "agianst", "yelow"; "" where none or several are near."""
    if not 3 <= len(word) <= MISSPELT or not word.isascii() or word in lexicon.tables["foreign"]:
        return ""
    cuts = [(word[:at], word[at:]) for at in range(len(word) + 1)]
    near = {head + tail[1] + tail[0] + tail[2:] for head, tail in cuts if len(tail) > 1}
    if len(word) > 3:
        near |= {head + letter + tail for head, tail in cuts for letter in LETTERS}
        near |= {head + tail[1:] for head, tail in cuts if tail}
    found = [other for other in near if len(other) > 2 and other in lexicon.words["often_misspelt"]]
    return found[0] if len(found) == 1 else ""


def _noun_lemma(word: str, readings: Readings, lexicon: Lexicon) -> str:
    if word in lexicon.tables["irregular"]:
        return lexicon.tables["irregular"][word]
    if word in lexicon.words["plural"]:
        return word
    for stem in (word, word.removesuffix("s")):
        if stem in lexicon.words["lacking"]:
            return stem
    lemmas = readings.get("NOUN", ())
    if not lemmas and (lexicon.is_thing(word) or word in lemmas_of(word + "s").get("NOUN", ())):
        return word  # the dictionary lacks the singular of some nouns: "bar"
    if not lemmas and word.endswith("s") and word[:-1] in readings.get("VERB", ()):  # a naive plural: "three knifes"
        lemmas = lemmas_of(word[:-1]).get("NOUN", ())
    return lemmas[0] if lemmas else ""


@lru_cache(maxsize=65536)
def lemmas_of(word: str) -> Readings:
    """Return what the dictionary has of a word, by class."""
    from lemminflect import getAllLemmas  # loads its tables on first use, so not at import

    return getAllLemmas(word)
