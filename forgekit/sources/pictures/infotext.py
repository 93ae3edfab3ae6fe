"""The text of AUTOMATIC1111, Forge and SD.Next, which many others write too: prompt, negative prompt, settings.

    a cat,
    on a mat
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x512, Model: sd
    Template: a {cat|dog}

Each part may have several lines, and what looks like another part may stand in any of them.
"""

from __future__ import annotations

import json
import re
from typing import Any

from forgekit.scene.syntax.parameters import key
from forgekit.scene.syntax.settings import FIRST_NAMES, UNNAMED, USUAL, Parts
from forgekit.sources.pictures.found import Found

NEGATIVE = re.compile(r"^[ \t]*negative prompt:", re.IGNORECASE | re.MULTILINE)
INLINE_NEGATIVE = re.compile(r"\bnegative prompt:", re.IGNORECASE)
TEMPLATE = re.compile(r"\n(?:Negative )?Template:")  # of the wildcards that the prompt was made from
FIRST = re.compile("|".join(FIRST_NAMES), re.IGNORECASE)
COMMON = frozenset(map(key, USUAL))
INLINE_SETTINGS = re.compile(r"\bSteps: ?\d+, ")
RESOURCES = "Civitai resources"
LORAS = ("lora", "lycoris", "locon", "dora")


def read_infotext(text: str) -> Found:
    """Read such a text; all of it is prompt where it has none of the other parts."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip("\n\0 ")
    start, settings = _settings(text)
    settings.pop(UNNAMED, None)
    head = TEMPLATE.split(text[:start])[0]
    mark = NEGATIVE.search(head)
    if mark is None and (start == len(text) or text[start - 1] != "\n"):  # its lines were run together
        mark = next((m for m in INLINE_NEGATIVE.finditer(head) if head.count('"', 0, m.start()) % 2 == 0), None)
    prompt, negative = (head[: mark.start()], head[mark.end() :]) if mark else (head, "")
    prompt = settings.pop("Raw prompt", "") or prompt  # Fooocus: before its styles
    negative = settings.pop("Raw negative prompt", negative)
    resources = _resources(settings.pop(RESOURCES, ""))
    found = [each for each in resources if each.get("type") in LORAS]
    loras = [{"name": each.get("modelName"), "weight": each.get("weight", 1.0)} for each in found]
    listed = (each.get("modelName") for each in resources if each.get("type") == "checkpoint")
    return Found(prompt.strip(), negative.strip(), settings, settings.pop("Model", None) or next(listed, None), loras)


def looks_so(text: str) -> bool:
    """Say whether a text has settings or a negative prompt: any other may be a mere remark."""
    return bool(NEGATIVE.search(text)) or bool(_settings(text)[1])


def _settings(text: str) -> tuple[int, dict[str, str]]:
    """Return where the settings begin, and what they say; the text's end where there are none.

    Of several lines that look like settings the last one counts, for a prompt may quote others; what stands within a
    quoted value of theirs is no line.
    """
    found: tuple[int, dict[str, str]] = len(text), {}
    end = 0
    parts = Parts(text)
    for line in re.finditer(r"^[ \t]*(?=[A-Za-z])", text, re.MULTILINE):
        if line.start() < end or not FIRST.match(text, line.end()):
            continue
        said, stop = parts.read(line.end())
        if _is_settings(said):
            found, end = (line.start(), said), stop
    if not found[1]:
        for match in [*INLINE_SETTINGS.finditer(text)][-1:]:
            said, _ = parts.read(match.start())
            if len(USUAL & said.keys()) >= 3:
                return match.start(), said
    return found


def _is_settings(said: dict[str, str]) -> bool:
    """Tell "Steps: 20, Seed: 1" from a prompt's "Steps: 3, careful"."""
    named = {key(name): value for name, value in said.items()}
    if "steps" in named:
        return named["steps"].isdecimal() and (named.keys() <= COMMON or len(named.keys() - {UNNAMED}) >= 3)
    return len(named.keys() & COMMON) >= 3


def _resources(listed: str) -> list[dict[str, Any]]:
    """Return the models that Civitai lists apart."""
    try:
        resources = json.loads(listed) if listed else []
    except (ValueError, RecursionError):
        return []
    return [each for each in resources if isinstance(each, dict)] if isinstance(resources, list) else []
