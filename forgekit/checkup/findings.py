"""What was looked at and found, as a report."""

from __future__ import annotations

from dataclasses import dataclass, field

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
        counts = f"{self.failed} faults, {warnings} warnings, {len(self.findings)} looked at, {self.seconds:.1f} s"
        plan = ["plan", *(f"  {line}" for line in self.plan)] if self.plan else []
        return "\n".join([f"doctor: {counts}", *map(str, self.findings), *plan])

    __repr__ = __str__
