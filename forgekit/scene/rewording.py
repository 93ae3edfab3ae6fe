"""The gate of rewordings: does a text still ask for what the scene's text asks for, both read by the same rules?"""

from __future__ import annotations

from itertools import islice

from forgekit.scene.fidelity import compare
from forgekit.scene.language.content_words import TextWords
from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.rules.parsing import read_by_rules
from forgekit.scene.text import MOST_CHARACTERS

MOST_LOST = 20  # words that are looked for in all forms; to find one takes as long as the text


def why_refused(scene_text: str, text: str, *, lexicon: Lexicon | None = None) -> list[str]:
    """Return why `text` is no faithful rewording of `scene_text`; [] is faithful.

    Whoever reads one of two texts in other words than whoever read the other finds changes where there are none. So the
    elements that a scene is judged by, which an annotation or a language model may have given, have no say here. Where
    the rules find no object in the scene's text (it is in another language), each of its content words must stand.
    """
    if text == scene_text:
        return []
    if max(len(scene_text), len(text)) > MOST_CHARACTERS:
        return [f"more than {MOST_CHARACTERS:,} characters, which nobody reads"]
    lexicon = lexicon or default_lexicon()
    wanted, _ = read_by_rules(scene_text, lexicon)
    if wanted["objects"]:
        return compare(wanted, read_by_rules(text, lexicon)[0], lexicon=lexicon)
    kept = TextWords(text, lexicon)
    lost = (word for word in TextWords(scene_text, lexicon).uncovered([text]) if not kept.places(word))
    return [f"words lost: {word}" for word in islice(lost, MOST_LOST)]
