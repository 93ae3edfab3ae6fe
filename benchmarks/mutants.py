"""Break the rules of the record one by one, and see whether the tests of each rule notice.

    python benchmarks/mutants.py [--only NAME ...] [--json]

The rules and their tests are those of docs/rules.md; what breaks them lies in benchmarks/mutants/*.toml. NAME is a
mutant or a rule. Everything happens in a copy of the repository. The exit status is 1 where a mutant survives.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULE = re.compile(r"^- \*\*(?P<name>[a-z0-9-]+)\*\*: (?P<told>.+?)(?=^- |^#|\Z)", re.MULTILINE | re.DOTALL)
TEST = re.compile(r"`(tests/\w+\.py::\w+)`")
TIMEOUT_S = 600  # a mutant whose tests hang is noticed


@dataclass(frozen=True)
class Mutant:
    """A change of one place in the source that breaks a rule."""

    name: str
    rule: str
    file: str
    before: str
    after: str

    def break_in(self, root: Path) -> str:
        """Return the source of the file with the change made.

        Raises:
            ValueError: what is to be changed does not stand there exactly once.
        """
        source = (root / self.file).read_text()
        if (n := source.count(self.before)) != 1:
            raise ValueError(f"{self.name}: {self.before!r} stands {n} times in {self.file}; it must stand there once")
        return source.replace(self.before, self.after)


def load_rules(root: Path = ROOT) -> dict[str, list[str]]:
    """Return the rules of docs/rules.md with the tests that notice when they are broken."""
    page = (root / "docs" / "rules.md").read_text()
    return {found["name"]: TEST.findall(found["told"]) for found in RULE.finditer(page)}


def load_mutants(root: Path = ROOT) -> list[Mutant]:
    """Return the mutants of benchmarks/mutants/, in the order they stand there."""
    files = sorted((root / "benchmarks" / "mutants").glob("*.toml"))
    return [Mutant(name, **fields) for file in files for name, fields in tomllib.loads(file.read_text()).items()]


def copy_tree(folder: Path) -> None:
    """Copy all that git knows of, or would add, into `folder`."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def fails(folder: Path, tests: Sequence[str]) -> bool:
    """Run tests in the copy until the first one fails; return whether one did, or did not come to an end.

    Raises:
        RuntimeError: the tests could not be run.
    """
    path = os.pathsep.join([str(folder), str(folder / "tests")])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "TQDM_DISABLE": "1"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # none is needed, and loading them takes longer than most tests
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest {' '.join(tests)} cannot be run:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")
    return done.returncode == 1


def noticed(mutants: Sequence[Mutant], rules: dict[str, list[str]]) -> Iterator[tuple[Mutant, bool, float]]:
    """Yield each mutant with whether the tests of its rule noticed it, and how many seconds they took.

    Raises:
        RuntimeError: the tests fail on the source as it is, or cannot be run.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_tree(folder)
        if fails(folder, sorted({test for mutant in mutants for test in rules[mutant.rule]})):
            raise RuntimeError("the tests fail without any mutant: run them first")
        for mutant in mutants:
            started, source = time.monotonic(), (folder / mutant.file).read_text()
            (folder / mutant.file).write_text(mutant.break_in(folder))
            failed = fails(folder, rules[mutant.rule])
            (folder / mutant.file).write_text(source)
            yield mutant, failed, time.monotonic() - started


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="mutants, or rules, by name")
    parser.add_argument("--json", action="store_true", help="print one JSON object with the figures")
    options = parser.parse_args()
    rules, mutants = load_rules(), load_mutants()
    known = {mutant.name for mutant in mutants} | set(rules)
    if unknown := sorted(set(options.only or ()) - known):
        parser.error(f"no mutant or rule is called {', '.join(unknown)}. Known: {', '.join(sorted(known))}")
    chosen = [m for m in mutants if not options.only or {m.name, m.rule} & set(options.only)]
    survivors = []
    for mutant, was_noticed, seconds in noticed(chosen, rules):
        survivors += [] if was_noticed else [mutant.name]
        if not options.json:
            told = "noticed" if was_noticed else "SURVIVED"
            print(f"{told:8}  {seconds:5.1f} s  {mutant.rule:24} {mutant.name}", flush=True)
    share = 1 - len(survivors) / len(chosen)
    if options.json:
        print(json.dumps({"mutants": len(chosen), "noticed_share": round(share, 4), "survivors": survivors}))
    else:
        print(f"{len(chosen) - len(survivors)} of {len(chosen)} noticed ({share:.0%})")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
