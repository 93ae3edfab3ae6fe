"""What became of an execution of a batch: a file beside its notebook, written after it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from forgekit.batches.plan import Execution
from forgekit.store.images import write_whole


@dataclass(frozen=True)
class State:
    """What became of an execution: `status` is finished or failed, `notebook_hash` is of the notebook's cells."""

    status: str
    parameters: dict[str, Any]
    notebook_hash: str
    started_at: str
    seconds: float
    error: str | None = None


def read_state(folder: Path, execution: Execution) -> State | None:
    """Return what became of an execution; None where it has not come to an end."""
    file = state_file(folder, execution.name)
    return State(**json.loads(file.read_text("utf-8"))) if file.exists() else None


def state_file(folder: Path, name: str) -> Path:
    """Return where the state of an execution is kept."""
    return folder / f"{name}.json"


def write_state(folder: Path, name: str, state: State) -> None:
    """Keep what became of an execution."""
    write_whole(state_file(folder, name), json.dumps(asdict(state), indent=2).encode())
