"""What a step did and how far it is: its counts, its failures, its progress bar."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tqdm import tqdm

SHOWN_FAILURES = 5


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
    """Time a stage and show its progress bar (none where nothing is due)."""
    started = time.monotonic()
    report = StageReport(stage)
    silent = {"disable": True} if total == 0 else {}  # said only then, so that tqdm's own TQDM_DISABLE holds
    with tqdm(total=total, desc=stage, unit=unit, leave=False, **silent) as bar:
        yield report, bar
    report.seconds = time.monotonic() - started
