"""Ids made from content: the same content has the same id in every process and on every run; and what can be stored."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid5

FORGEKIT_NAMESPACE = UUID("6f0a4b52-5e1d-5c0e-9b1a-0b6f3f1c2d00")


def canonical_json(content: Any) -> str:
    """Return `content` as JSON with sorted keys and no white space, so that equal content is equal text."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def content_id(kind: str, **content: Any) -> str:
    """Return the UUIDv5 of the content that identifies a row of `kind` ("prompt", "image", …)."""
    return str(uuid5(FORGEKIT_NAMESPACE, canonical_json({"kind": kind, **content})))


def content_hash(content: Any) -> str:
    """Return the SHA-256 of `content`'s canonical JSON: 64 hex digits."""
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def storable(value: Any) -> Any:
    """Return `value` without what JSON cannot hold: nan and inf, and halves of characters, become text that can."""
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
