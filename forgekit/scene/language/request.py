"""What a language model is asked in order to read a scene, and the JSON Schema of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.ids import content_hash
from forgekit.scene.lexicon import ATTRIBUTE_KINDS

KINDS = (*ATTRIBUTE_KINDS, "other")

REQUEST = """\
Read a prompt for a text-to-image model, and list what its picture must show, as one JSON object.

{{"objects": [{{"words": "...", "name": "...", "count": 1, "attributes": [{{"words": "...", "kind": "color", "value": "..."}}]}}],
 "relations": [{{"words": "...", "subject": 0, "predicate": "...", "object": 1}}],
 "background": null, "style": null, "rendered_text": [], "negations": []}}

- "words" are copied from the prompt, in its own language. "name", "value" and "predicate" say the same in English.
- objects: each thing, person, animal or place once, in the order of the prompt. "name" is a singular noun without article or
  attributes; "count" a number, or "some" or "many" where the prompt says no number of several.
- attributes: "kind" is one of {kinds}.
- relations: "subject" and "object" are positions in "objects", from 0; "object" is null for what somebody does alone ("run").
  "predicate" is "left of", "right of", "above", "below", "on", "inside", "behind", "in front of", "next to", "with", or a verb.
- background, style: {{"words": "...", "value": "..."}} where the prompt names a colour of the background, or a kind of picture.
- rendered_text: texts that are to be legible in the picture, as they stand.
- negations: {{"words": "...", "name": "..."}} of what must not be there ("no people"); it is in no other list.
- Every word of the prompt that says what is seen belongs to one element. List nothing that the prompt does not say.

Example: "zwei rote Würfel auf einem Tisch, keine Menschen"
{{"objects": [{{"words": "Würfel", "name": "cube", "count": 2, "attributes": [{{"words": "rote", "kind": "color", "value": "red"}}]}},
             {{"words": "Tisch", "name": "table", "count": 1, "attributes": []}}],
 "relations": [{{"words": "auf", "subject": 0, "predicate": "on", "object": 1}}],
 "background": null, "style": null, "rendered_text": [], "negations": [{{"words": "Menschen", "name": "person"}}]}}

Answer with the JSON object alone.

Prompt: {text}
"""
RETRY = "\nYour last answer was refused: {reason}.\n"


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT, _NUMBER = {"type": "string"}, {"type": "integer"}
_SAID = {"anyOf": [_object(words=_TEXT, value=_TEXT), {"type": "null"}]}
_ATTRIBUTE = _object(words=_TEXT, kind={"enum": list(KINDS)}, value=_TEXT)
_COUNT = {"anyOf": [_NUMBER, {"enum": ["some", "many"]}]}
SCHEMA = _object(
    objects=_list(_object(words=_TEXT, name=_TEXT, count=_COUNT, attributes=_list(_ATTRIBUTE))),
    relations=_list(
        _object(
            words=_TEXT, subject=_NUMBER, predicate=_TEXT, object={"anyOf": [_NUMBER, {"type": "null"}]}
        )
    ),
    background=_SAID,
    style=_SAID,
    rendered_text=_list(_TEXT),
    negations=_list(_object(words=_TEXT, name=_TEXT)),
)  # fmt: skip
TEMPLATE = content_hash([REQUEST, RETRY, SCHEMA])[:16]  # changes whenever what is asked does


def reading_request(text: str, refused: Sequence[str] = ()) -> str:
    """Return what a model is asked about a scene; `refused` says why each of its answers so far was not taken."""
    asked = REQUEST.format(kinds=", ".join(KINDS), text=text.strip())
    return asked + "".join(RETRY.format(reason=reason) for reason in refused)
