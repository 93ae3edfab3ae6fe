"""Where the public prompt sets lie: they are others' work, and no part of this repository (data/public/README.md)."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "FORGEKIT_PUBLIC_SETS"
PLACE = Path(__file__).parents[1] / "data" / "public"
ABSENT = f"the public sets are not here; data/public/README.md says where they come from ({VARIABLE} may name another folder)"


def public_sets() -> Path | None:
    """Return the folder that FORGEKIT_PUBLIC_SETS names, else data/public/; None where no set is there."""
    folder = Path(os.environ.get(VARIABLE) or PLACE)
    return folder if any(path.is_dir() for path in folder.glob("*")) else None
