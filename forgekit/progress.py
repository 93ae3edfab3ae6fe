"""What a person sees of a step: its counts and failures, its progress bar, its tables as text."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    import pandas as pd

SHOWN_FAILURES = 5
# Whether a bar is shown already, of which the steps now running are parts.
_within: ContextVar[bool] = ContextVar("within", default=False)


def in_notebook_server() -> bool:
    """Whether a notebook server named this kernel's session, as it does where a person works; papermill and nbconvert don't."""
    return "JPY_SESSION_NAME" in os.environ


@dataclass
class StageReport:
    """Counts of one call of a stage. `failures` maps what failed (a prompt id, a line number) to the reason."""

    stage: str
    done: int = 0
    skipped: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    details: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many items failed."""
        return len(self.failures)

    def count(self, detail: str, n: int = 1) -> None:
        """Add `n` to a named detail, such as "rewrite"."""
        if n:
            self.details[detail] = self.details.get(detail, 0) + n

    def __str__(self) -> str:
        counts = f"{self.stage}: {self.done} done, {self.skipped} skipped, {self.failed} failed, {self.seconds:.1f} s"
        details = ", ".join(f"{n} {name}" for name, n in sorted(self.details.items()))
        lines = [f"{counts} ({details})" if details else counts]
        lines += [f"  {item}: {reason}" for item, reason in list(self.failures.items())[:SHOWN_FAILURES]]
        if self.failed > SHOWN_FAILURES:
            lines.append(f"  … and {self.failed - SHOWN_FAILURES} more")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    __repr__ = __str__


@contextmanager
def running(stage: str, *, total: int, unit: str) -> Iterator[tuple[StageReport, tqdm]]:
    """Time a step and show its progress bar: none where nothing is due, or inside another one's bar."""
    started = time.monotonic()
    report = StageReport(stage)
    with progress_bar(stage, total=total, unit=unit) as bar:
        yield report, bar
    report.seconds = time.monotonic() - started


@contextmanager
def progress_bar(name: str, *, total: int, unit: str) -> Iterator[tqdm]:
    """Show one updating line where somebody watches: in a terminal or a notebook, not in a file or under papermill."""
    watched = sys.stderr.isatty() or in_notebook_server()
    # Said only where it is so, so that tqdm's own TQDM_DISABLE holds.
    silent = {} if watched and total and not _within.get() else {"disable": True}
    token = _within.set(_within.get() or bool(total))
    try:
        with tqdm(total=total, desc=name, unit=unit, leave=False, **silent) as bar:
            yield bar
    finally:
        _within.reset(token)


def as_text(table: pd.DataFrame) -> str:
    """Return a table as lines: within a terminal's width (further columns below, long texts cut), whole elsewhere."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    return table.to_string(
        index=False,
        line_width=width,
        max_colwidth=width and width // 2,
        float_format="{:.3f}".format,
        na_rep="",
    )
