"""What was looked at and found, as a report; and looking at many things that may not answer at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

OK, WARNING, FAULT = "ok", "warning", "fault"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `what` of `subject`. Where it is not ok, `remedy` says what would work."""

    subject: str
    what: str
    verdict: str  # OK, WARNING or FAULT
    found: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n{'':10}→ {self.remedy}" if self.remedy else ""
        return f"{self.verdict:8}  {self.subject}: {self.what}: {self.found}{remedy}"


@dataclass
class DoctorReport:
    """All findings, in the order in which things were looked at, and the plan: what the work will take."""

    findings: list[Finding] = field(default_factory=list)
    plan: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, subject: str, what: str, verdict: str, found: str, remedy: str = "") -> bool:
        """Note a finding; return whether it is no fault."""
        self.findings.append(Finding(subject, what, verdict, found, remedy))
        return verdict != FAULT

    @property
    def failed(self) -> int:
        """How many faults there are."""
        return sum(finding.verdict == FAULT for finding in self.findings)

    def __str__(self) -> str:
        warnings = sum(finding.verdict == WARNING for finding in self.findings)
        head = (
            f"doctor: {self.failed} faults, {warnings} warnings, {len(self.findings)} looked at, {self.seconds:.1f} s"
        )
        return "\n".join(
            [head, *map(str, self.findings), *(["plan", *(f"  {line}" for line in self.plan)] if self.plan else [])]
        )

    __repr__ = __str__


def ask_all(tasks: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Any]:
    """Do all tasks at the same time and return what each returned or raised; one not done after `seconds` timed out.

    A look-up of a name in a network that swallows packets cannot be cut short, so nobody waits for its thread.
    """
    found: dict[str, Any] = {name: TimeoutError(f"no answer within {seconds:.0f} s") for name in tasks}

    def work(name: str, task: Callable[[], Any]) -> None:
        try:
            answer = task()
        except Exception as error:  # handed to the caller, whose finding it is
            answer = error
        found[name] = answer

    threads = [threading.Thread(target=work, args=task, daemon=True) for task in tasks.items()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def reason(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
