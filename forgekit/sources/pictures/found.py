"""What a reader finds in a picture, whoever wrote it: texts, settings under the writer's own names, models."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class UnfollowedError(ValueError):
    """What a picture says cannot be read. The message says where it ends."""


@dataclass
class Found:
    """A prompt and how it was drawn. `notes` say what could not be followed."""

    text: str
    negative: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    model: Any = None
    loras: list[dict[str, Any]] = field(default_factory=list)  # {"name": …, "weight": …}; only those that no text has
    notes: list[str] = field(default_factory=list)
    own: bool = False  # forgekit's own: the settings are parameters already
