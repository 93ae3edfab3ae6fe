"""forgekit: how faithfully does a text-to-image model draw a scene, and how do we make it more faithful?"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forgekit.stages.completing import complete_prompts
    from forgekit.stages.evaluating import evaluate_images
    from forgekit.stages.generating import generate_images
    from forgekit.stages.importing import import_prompts
    from forgekit.stages.importing_pictures import import_pictures
    from forgekit.stages.redrawing import redraw
    from forgekit.stages.refining import refine_prompts
    from forgekit.store import Store, open_store

__version__ = "0.1.0"

# Public names and the modules they come from, imported when they are first used: `import forgekit` loads nothing heavy.
_FUNCTIONS = {
    "open_store": "forgekit.store",
    "Store": "forgekit.store",
    "import_prompts": "forgekit.stages.importing",
    "import_pictures": "forgekit.stages.importing_pictures",
    "complete_prompts": "forgekit.stages.completing",
    "generate_images": "forgekit.stages.generating",
    "redraw": "forgekit.stages.redrawing",
    "evaluate_images": "forgekit.stages.evaluating",
    "refine_prompts": "forgekit.stages.refining",
    "load_model": "forgekit.models",
    "track": "forgekit.tracking",
    "check": "forgekit.upkeep.checking",
    "backup": "forgekit.upkeep.backup",
    "restore": "forgekit.upkeep.backup",
    "doctor": "forgekit.checkup.doctor",
    "fetch": "forgekit.models.fetching",
    "explore": "forgekit.show.explorer",
    "rate": "forgekit.show.rating",
    "in_project": "forgekit.show.notebook",
    "run_batch": "forgekit.batches.run",
    "export_store": "forgekit.show.export",
    "write_report": "forgekit.show.report",
    "ForgekitError": "forgekit.errors",
}
_MODULES = {
    "ids": "forgekit.ids",
    "judging": "forgekit.judge_tests",
    "learnings": "forgekit.refiner.learnings",
    "plots": "forgekit.show.plots",
    "scene": "forgekit.scene",
    "sheets": "forgekit.show.sheets",
    "tracking": "forgekit.tracking",
    "trends": "forgekit.trends",
}

__all__ = ["__version__", *_FUNCTIONS, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(_FUNCTIONS[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'forgekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
