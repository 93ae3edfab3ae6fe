"""The three roles of models, and how one is found by name: image generators, vision models (judges), language models."""

from __future__ import annotations

from forgekit.models.loading import known_models, load_model, load_stored_model, recorded_name
from forgekit.models.roles import Drawing, DrawRequest, ImageGenerator, Judgement, LanguageModel, VisionModel, at_once

__all__ = [
    "DrawRequest",
    "Drawing",
    "ImageGenerator",
    "Judgement",
    "LanguageModel",
    "VisionModel",
    "at_once",
    "known_models",
    "load_model",
    "load_stored_model",
    "recorded_name",
]
