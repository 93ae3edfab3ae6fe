"""Where the public prompt sets lie: they are downloaded, not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path


def public_sets() -> Path | None:
    """Return the folder of public prompt sets: FORGEKIT_PUBLIC_SETS, else data/public/; None where neither is there."""
    named = os.environ.get("FORGEKIT_PUBLIC_SETS")
    folder = Path(named) if named else Path(__file__).parents[1] / "data" / "public"
    return folder if folder.is_dir() else None
