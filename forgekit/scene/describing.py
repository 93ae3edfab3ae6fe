"""From elements back to text: the plainest caption that asks for exactly these elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.wording import full, said_relation, with_article


def describe_object(item: Mapping[str, Any], *, lexicon: Lexicon | None = None) -> str:
    """Return one object with its article or count: "a small scarlet disc", "two pink hearts"."""
    return full(item, lexicon or default_lexicon())


def describe(elements: Mapping[str, Any], *, lexicon: Lexicon | None = None) -> str:
    """Return a caption of a parsed scene: its objects and relations, then background, style, negations and quoted text.

    `parse` of the caption gives the elements back where the scene is simple; the fidelity gate tells where not.
    """
    lexicon = lexicon or default_lexicon()
    phrases = [describe_object(item, lexicon=lexicon) for item in elements["objects"]]
    clauses, said = [], set()
    for relation in elements["relations"]:
        subject, target = relation["subject"], relation["object"]
        words = [phrases[subject], said_relation(relation, lexicon)]
        clauses.append(" ".join(words if target is None else [*words, phrases[target]]))
        said |= {subject, target}
    clauses += [phrase for index, phrase in enumerate(phrases) if index not in said]
    text = ", ".join(clauses[:-1]) + " and " + clauses[-1] if len(clauses) > 1 else "".join(clauses)
    if elements.get("background"):
        text += f" on {with_article(elements['background'])} background"
    parts = [text, elements.get("style") or ""]
    parts += [f'the text "{words}"' for words in elements.get("rendered_text", ())]
    parts += [f"no {thing if isinstance(thing, str) else thing['name']}" for thing in elements.get("negations", ())]
    return ", ".join(part.strip() for part in parts if part.strip())
