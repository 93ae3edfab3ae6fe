"""Entries for single words and phrases: closed classes and lexicon first, then lemminflect's dictionary, then endings."""

from __future__ import annotations

from collections.abc import Callable

from forgekit.scene.lexicon import ATTRIBUTE_KINDS, Entry, Lexicon, Phrase

SUFFIX_TAGS = (("like", "J"), ("shaped", "J"), ("colored", "J"), ("coloured", "J"), ("sized", "J"), ("style", "J"))


def entry_of(word: str, lexicon: Lexicon) -> Entry:
    """Return what `word` (lower case) can be. Unknown words have the tags "U"."""
    entry = lexicon.entries.get(word)
    if entry is None:
        if not lexicon.entries:
            _fill_closed_classes(lexicon)
        entry = lexicon.entries.get(word) or _open_entry(word, lexicon)
        lexicon.entries[word] = entry
    return entry


def phrases_from(word: str, lexicon: Lexicon) -> list[Phrase]:
    """Return the phrases that begin with `word`, the longest first."""
    if not lexicon.phrases:
        _fill_phrases(lexicon)
    return lexicon.phrases.get(word, [])


def singular(word: str, lexicon: Lexicon) -> str:
    """Return the lemma of a noun of one or more words: "wine glasses" → "wine glass"."""
    *before, last = word.lower().split()
    lemma = entry_of(last, lexicon).noun or last
    return " ".join([*before, lemma])


def _fill_closed_classes(lexicon: Lexicon) -> None:
    for tag, words in lexicon.grammar["closed"].items():
        for word in words.split():
            lexicon.entries[word] = Entry(tag)
    for word in lexicon.grammar["count"]:
        lexicon.entries[word] = Entry("Q", noun=word)
    for word in lexicon.grammar["quantity"]["words"].split():
        lexicon.entries[word] = Entry("Q")
    for word in ("no", "without", "none", "never", "nobody", "neither", "nor"):
        lexicon.entries[word] = Entry("K")
    lexicon.entries["back"] = Entry("RN", noun="back")
    lexicon.entries["plus"] = Entry("CN", noun="plus")
    lexicon.entries["can"] = Entry("BN", noun="can", verb="can")
    lexicon.entries["lay"] = Entry("V", verb="lie", hint="verb")  # hardly ever the noun
    for word in ("pair", "trio", "dozen"):
        lexicon.entries[word] = Entry("NQ", noun=word)


def _fill_phrases(lexicon: Lexicon) -> None:
    def add(text: str, tag: str, value: str) -> None:
        words = tuple(text.split())
        lexicon.phrases.setdefault(words[0], []).append(Phrase(words, tag, value))

    for predicate, wordings in lexicon.grammar["relation"].items():
        for wording in wordings:
            add(wording, "K" if predicate == "without" else "P", predicate)
    for text in lexicon.grammar["filler"]["words"]:
        add(text, "X", "")
    for text in lexicon.grammar["compounds"]["words"]:
        add(text, "N", text)
    for kind, table in lexicon.concepts.items():
        for concept, words in table.items():
            for text in (concept, *words):
                if " " in text:
                    add(text, {"object": "N", "figure": "N", "style": "Y"}.get(kind, "J"), kind + ":" + text)
                elif kind == "style":
                    add(text, "Y", "style:" + text)
    for same in lexicon.phrases.values():
        same.sort(key=lambda phrase: -len(phrase.words))


def _open_entry(word: str, lexicon: Lexicon) -> Entry:
    if word[0].isdigit():
        return Entry("Q" if word.isdigit() else "J")
    kind = next((kind for kind in ATTRIBUTE_KINDS if (kind, word) in lexicon.meanings), "")
    readings = _dictionary()(word)
    hint = _hint(word, readings, lexicon)
    noun = _noun_lemma(word, readings, lexicon)
    verb = readings.get("VERB", ("",))[0]
    if not readings and not noun and not kind:
        return _entry_by_form(word, lexicon)
    tags = "J" if kind else ""
    if hint == "noun":
        tags += "N"
    if verb and word.endswith("ing") and word != verb:
        tags += "G"
    elif verb and word != verb and not word.endswith("s"):
        tags += "E"
    if "ADJ" in readings and "J" not in tags and hint != "noun":
        tags += "J"
    if noun and "N" not in tags and hint != "adjective" and (kind in ("", "material", "shape") or hint == "thing"):
        tags += "N"
    if verb and not set("GE") & set(tags):
        tags += "V"
    if "ADV" in readings and not tags:
        tags = "R"
    if "ADV" in readings and word.endswith("ly") and "J" not in tags:
        tags = "R"
    return Entry(tags or "N", noun=noun or word, verb=verb, kind=kind, hint=hint)


def _entry_by_form(word: str, lexicon: Lexicon) -> Entry:
    """Judge a word the dictionary lacks: naive plurals ("benchs"), hyphenated words, else unknown."""
    for ending in ("es", "s"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _dictionary()(stem).get("NOUN"):
            return Entry("N", noun=_noun_lemma(stem, _dictionary()(stem), lexicon) or stem)
    if "-" in word:
        last = word.rsplit("-", 1)[1]
        if last.endswith(("ed", "ing")) or any(last.endswith(suffix) for suffix, _ in SUFFIX_TAGS):
            return Entry("J")
        known = entry_of(last, lexicon) if last else Entry("U")
        if "N" in known.tags:
            return Entry("N", noun=word[: -len(last)] + known.noun)
        return Entry("J" if "J" in known.tags else "U", noun=word, kind=known.kind)
    if any(word.endswith(suffix) and word != suffix for suffix, _ in SUFFIX_TAGS):
        return Entry("J")
    if lexicon.is_thing(word) or word.endswith(("er", "ist", "ette", "let", "ian")):
        return Entry("N", noun=word)
    if word.endswith("ly") and len(word) > 5:  # "lazily"
        return Entry("R")
    if word.endswith(("ing", "ed")) and len(word) > 5:  # "flambeing"
        return Entry("G" if word.endswith("ing") else "E", verb=word)
    if word.endswith("s") and lexicon.is_thing(word[:-1]):
        return Entry("N", noun=word[:-1])
    plural = word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3
    return Entry("U", noun=word[:-1] if plural else word)


def _noun_lemma(word: str, readings: dict[str, tuple[str, ...]], lexicon: Lexicon) -> str:
    if word in lexicon.irregular:
        return lexicon.irregular[word]
    if word in lexicon.grammar["hint"]["plural"].split():
        return word
    lacking = lexicon.grammar["hint"]["lacking"].split()
    for stem in (word, word.removesuffix("s")):
        if stem in lacking:
            return stem
    lemmas = readings.get("NOUN", ())
    if not lemmas and (lexicon.is_thing(word) or word in _dictionary()(word + "s").get("NOUN", ())):
        return word  # the dictionary lacks the singular of some nouns: "bar"
    if not lemmas and word.endswith("s") and word[:-1] in readings.get("VERB", ()):  # a naive plural: "three knifes"
        lemmas = _dictionary()(word[:-1]).get("NOUN", ())
    return lemmas[0] if lemmas else ""


def _hint(word: str, readings: dict[str, tuple[str, ...]], lexicon: Lexicon) -> str:
    hints = lexicon.grammar["hint"]
    if word in hints["noun"].split():
        return "noun"
    if word in hints["adjective"].split():
        return "adjective"
    if word in hints["compound"].split():
        return "compound"
    if word in hints["thing"].split():
        return "thing"
    if readings.get("VERB", ("",))[0] in hints["verb"].split():
        return "verb"
    return ""


def _dictionary() -> Callable[[str], dict[str, tuple[str, ...]]]:
    from lemminflect import getAllLemmas  # loads its tables on first use, so not at import

    return getAllLemmas
