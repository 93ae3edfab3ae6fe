"""How a terse scene text becomes a full prompt: by rules, by a template, or by a language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ParameterError

REQUEST = """\
Complete this scene into one full text-to-image prompt.
Keep every object, number, colour, relation and quoted text exactly as it is. Add no objects.
You may add what is missing of: background, style, lighting, composition. At most {words} words.
Answer with the prompt alone, between <PROMPT> and </PROMPT>.

Scene: {scene}
"""
RETRY = "Your last attempt was refused: {reasons}. Last attempt: {attempt}\n"


@dataclass(frozen=True)
class Wording:
    """What a generator's prompts say where the scene says nothing. "" adds nothing."""

    background: str = ""
    style: str = ""
    composition: str = ""


# The mini world has five backgrounds and three styles; other generators get what their captions usually say.
WORDINGS = {"mini": Wording(background="on a white background", style="flat design")}
DEFAULT_WORDING = Wording(style="photograph", composition="sharp focus, natural light")


def complete_by_rules(
    scene_text: str, elements: Mapping[str, Any], wording: Wording, fits: Callable[[str], bool]
) -> str:
    """Append what the scene leaves open, as far as it fits the generator's text limit.

    The scene's own words stay as they stand. A background goes to the sentence, the rest is set off by commas.
    """
    prompt = scene_text.strip().rstrip(".;,")
    if wording.background and not elements.get("background"):
        joint = ", " if "," in prompt or "." in prompt else " "
        prompt = _longer(prompt, joint + wording.background, fits)
    if wording.style and not elements.get("style"):
        prompt = _longer(prompt, f", {wording.style}", fits)
    if wording.composition:
        prompt = _longer(prompt, f", {wording.composition}", fits)
    return prompt


def complete_by_template(template: str, scene_text: str) -> str:
    """Fill "{scene}" of a template.

    Raises:
        ParameterError: the template has no "{scene}".
    """
    if "{scene}" not in template:
        raise ParameterError(f'template {template!r} has no "{{scene}}" in it, e.g. "{{scene}}, oil painting"')
    return template.replace("{scene}", scene_text.strip().rstrip(".;,"))


def completion_request(scene_text: str, *, words: int, refused: Sequence[tuple[str, Sequence[str]]] = ()) -> str:
    """Return what a language model is asked; `refused` are its earlier attempts and the gate's reasons."""
    request = REQUEST.format(scene=scene_text.strip(), words=words)
    return request + "".join(RETRY.format(attempt=attempt, reasons="; ".join(reasons)) for attempt, reasons in refused)


def _longer(prompt: str, addition: str, fits: Callable[[str], bool]) -> str:
    return prompt + addition if fits(prompt + addition) else prompt
