"""From elements back to text: the plainest caption that asks for exactly these elements."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from forgekit.scene.lexicon import Lexicon, default_lexicon
from forgekit.scene.wording import full, said_relation, with_article


def describe_object(item: Mapping[str, Any], *, lexicon: Lexicon | None = None) -> str:
    """Return one object with its article or count: "a small scarlet disc", "two pink hearts"."""
    return full(item, lexicon or default_lexicon())


def again(phrase: str) -> str:
    """Return how to speak again of what was called `phrase`: "the small disc", "the two pink hearts"."""
    return re.sub(r"^(?:(?:an?|one) )?", "the ", phrase)


def describe(elements: Mapping[str, Any], *, lexicon: Lexicon | None = None) -> str:
    """Return a caption of a parsed scene: its objects and relations, then background, style, negations and quoted text.

    `parse` of the caption gives the elements back where the scene is simple; the fidelity gate tells where not.
    """
    lexicon = lexicon or default_lexicon()
    phrases = [describe_object(item, lexicon=lexicon) for item in elements["objects"]]
    clauses, said = [], set()
    for relation in elements["relations"]:
        subject, target = relation["subject"], relation["object"]
        ends = [again(phrases[end]) if end in said else phrases[end] for end in (subject, target) if end is not None]
        clauses.append(" ".join([ends[0], said_relation(relation, lexicon), *ends[1:]]))
        said |= {subject, target}
    clauses += [phrase for index, phrase in enumerate(phrases) if index not in said]
    text = ", ".join(clauses[:-1]) + " and " + clauses[-1] if len(clauses) > 1 else "".join(clauses)
    if elements.get("background"):
        text += f" on {with_article(elements['background'])} background"
    parts = [text, elements.get("style") or ""]
    parts += [f'the text "{words}"' for words in elements.get("rendered_text", ())]
    parts += [f"no {thing if isinstance(thing, str) else thing['name']}" for thing in elements.get("negations", ())]
    return ", ".join(part.strip() for part in parts if part.strip())
