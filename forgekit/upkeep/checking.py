"""`forgekit check`: whether all that a store says fits together; a table of rules, looked up one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from forgekit.stages.keeping import copies_not_asked
from forgekit.store import Store
from forgekit.store.file import RECORD_TABLES
from forgekit.upkeep.repairing import mend
from forgekit.upkeep.rules import Rule, load_rules

SHOWN = 10  # findings of one rule
READ = " union all ".join(f"select sum(hash(t)) from {table} t" for table in RECORD_TABLES)  # every page of the record


@dataclass
class CheckReport:
    """What is wrong with a store: one line per finding. `mended` are those that a repair did away with."""

    images: int
    rules: int
    findings: list[str] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many findings there are."""
        return len(self.findings)

    def __str__(self) -> str:
        well = f"all is well ({self.images} images, {self.rules} rules)"
        head = f"check: {f'{len(self.findings)} findings' if self.findings else well}"
        mended = [f"{len(self.mended)} mended:", *_shortened(self.mended)] if self.mended else []
        return "\n".join([head, *(f"  {line}" for line in (*_shortened(self.findings), *mended, *self.notes))])

    __repr__ = __str__


def _shortened(lines: list[str]) -> list[str]:
    """Return the first lines of each rule, and how many more it has."""
    shown: list[str] = []
    times: Counter[str] = Counter()
    for line in lines:
        times[line.partition(":")[0]] += 1
        if times[line.partition(":")[0]] <= SHOWN:
            shown.append(line)
    return shown + [f"{means}: … and {n - SHOWN} more" for means, n in times.items() if n > SHOWN]


def check(store: Store, *, repair: bool = False) -> CheckReport:
    """Look for rows that contradict each other or their content, and for files that are missing, damaged or nobody's.

    Nothing is changed, unless with `repair`: scores are computed again from the evidence, links and statuses put right, missing and
    damaged pictures drawn again where the very same bytes come of it, and files that belong to nothing moved to the folder
    `lost` beside the store. Nothing is deleted. What cannot be made again stays a finding.

    Args:
        repair: mend what can be made again.

    Raises:
        StoreError: the store is damaged; it says what of it can still be read.
    """
    rules = load_rules()
    found = _findings(store, rules)
    images = store.rows("select count(*) as n from generated_images")[0]["n"]
    report = CheckReport(images, len(rules))
    if repair and any(found.values()):
        before = [line for rule in rules for line in found[rule.name].values()]
        report.notes = mend(store, rules, found)
        found = _findings(store, rules)
        left = {line for rule in rules for line in found[rule.name].values()}
        report.mended = [line for line in before if line not in left]
    report.findings = [line for rule in rules for line in found[rule.name].values()]
    report.notes += copies_not_asked(store)
    return report


def _findings(store: Store, rules: Sequence[Rule]) -> dict[str, dict[str, str]]:
    """Look all rules up; those about rows see one moment of the store, and files are read while others may write."""
    store.rows(READ)
    with store.held_still():
        found = {rule.name: rule.findings(store) for rule in rules if not rule.of_files}
    return found | {rule.name: rule.findings(store) for rule in rules if rule.of_files}
