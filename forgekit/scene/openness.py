"""What a scene leaves open: what a completion may add without saying something that the scene rules out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from forgekit.scene.lexicon import default_lexicon

OF_A_PHOTO = ("focus", "lighting")  # what only a photograph has


def leaves_open(part: str, scene_text: str, elements: Mapping[str, Any]) -> bool:
    """Say whether a completion may add a "background", "style", "focus" or "lighting" of its own to a scene.

    Not where the scene has one or words that rule one out ("a logo of a fox", "a candle-lit table"); no focus and no light
    where its style is no photograph; no light before a background that is asked for; and nothing where no object of the
    scene was understood, as in another language.
    """
    lexicon, style, background = default_lexicon(), elements.get("style"), elements.get("background")
    if not elements["objects"] or elements.get(part) or (part == "lighting" and background):
        return False
    photo = style and all(lexicon.kinds.is_kind(each, "photo", "style") for each in style.split(", "))
    if part in OF_A_PHOTO and style and not photo:
        return False
    words = list(lexicon.rules_out.get(part, ()))
    if part in OF_A_PHOTO and not photo:
        words += lexicon.rules_out["style"]
    patterns = "|".join(re.escape(word).replace(r"\*", r"\w*") for word in words)
    return not words or not re.search(rf"\b(?:{patterns})\b", lexicon.kinds.spelt(scene_text))
