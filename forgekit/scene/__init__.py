"""What a scene text asks for: objects with counts and attributes, relations, background, style, negations."""

from __future__ import annotations

from forgekit.scene.describing import describe, describe_object
from forgekit.scene.elements import Element, Scene, list_elements
from forgekit.scene.fidelity import align, compare, loosened
from forgekit.scene.language.reader import LanguageReader
from forgekit.scene.lexicon import Lexicon, default_lexicon, load_lexicon, synonyms
from forgekit.scene.reading import Reading, parse, read_scene
from forgekit.scene.rewording import why_refused
from forgekit.scene.syntax.carrying import carry
from forgekit.scene.syntax.directives import from_data, not_applied
from forgekit.scene.syntax.prompt import PromptParts, split_prompt
from forgekit.scene.text import normalise, scene_hash

__all__ = [
    "Element", "LanguageReader", "Lexicon", "PromptParts", "Reading", "Scene", "align", "carry", "compare",
    "default_lexicon", "describe", "describe_object", "from_data", "list_elements", "load_lexicon", "loosened",
    "normalise", "not_applied", "parse", "read_scene", "scene_hash", "split_prompt", "synonyms", "why_refused",
]  # fmt: skip
