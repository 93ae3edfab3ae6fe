"""Who reads a scene text, and what it asks for by that reading: what the stages store as `scenes.elements` and `scenes.read_by`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forgekit.scene.language.reader import LanguageReader
from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.rules.parsing import read_by_rules
from forgekit.scene.syntax.prompt import split_prompt


@dataclass(frozen=True)
class Reading:
    """What a scene asks for, and who says so. Where nobody understood it, `elements` asks for nothing."""

    elements: dict[str, Any]
    read_by: dict[str, Any]  # {"reader": "rules"}, {"reader": "nobody", "reason": …}, or as LanguageReader.read says


def parse(text: str, *, lexicon: Lexicon | None = None, language_model: Any = None) -> dict[str, Any]:
    """Return what `text` asks for: objects, relations, background, style, rendered_text, negations.

    By the rules (see `read_by_rules`), or by `language_model`, any object with a name and `generate`; then texts may be in any
    language, and each part has beside its English its `words` in the text. Where three answers of it cannot be used, the
    rules serve; `read_scene` says which. Prompt syntax is no part of the scene: spans are places in `split_prompt(text).asked`.

    Raises:
        ParameterError: `language_model` is no such object.
    """
    reader = None if language_model is None else LanguageReader(language_model)
    return read_scene(text, lexicon=lexicon, reader=reader).elements


def read_scene(text: str, *, lexicon: Lexicon | None = None, reader: LanguageReader | None = None) -> Reading:
    """Read `text` by a language model, or by the rules, or say why they do not understand it.

    What nobody understands is judged as a whole text only. Where the answers of the language model could not be used,
    `read_by` says so beside who served.
    """
    asked: dict[str, Any] = {}
    if reader is not None:
        read, read_by = reader.read(split_prompt(text).asked, lexicon or default_lexicon())
        if read is not None:
            return Reading(read, read_by)
        asked = {"language_model": read_by}
    elements, reason = read_by_rules(text, lexicon)
    by = {"reader": "nobody", "reason": reason} if reason else {"reader": "rules"}
    return Reading(elements, by | asked)
