"""Who reads a scene text, and what it asks for by that reading: what the stages store as `scenes.elements` and `scenes.read_by`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from forgekit.scene.lexicon import Lexicon
from forgekit.scene.parsing import read_by_rules


@dataclass(frozen=True)
class Reading:
    """What a scene asks for, and who says so. Where nobody understood it, `elements` asks for nothing."""

    elements: dict[str, Any]
    read_by: dict[str, Any]  # {"reader": "rules"}; {"reader": "nobody", "reason": "not English"}


def read_scene(text: str, *, lexicon: Lexicon | None = None) -> Reading:
    """Read `text` by the rules, or say why they do not understand it: then it is judged as a whole text only."""
    elements, reason = read_by_rules(text, lexicon)
    return Reading(elements, {"reader": "nobody", "reason": reason} if reason else {"reader": "rules"})
