"""Ids made from content: the same content has the same id in every process and on every run."""

from __future__ import annotations

import hashlib
import json
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
