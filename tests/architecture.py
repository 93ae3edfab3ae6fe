"""The house as its code has it: who imports whom, on which floor each part stands, and the drawing of that.

python tests/architecture.py    # write the drawing into docs/architecture.md anew
"""

from __future__ import annotations

import ast
import re
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "forgekit"
PAGE = PACKAGE.parent / "docs" / "architecture.md"
ADDRESS = re.compile(r"forgekit(\.\w+)+:\w+")  # of a function that is imported when it is called
DRAWING = re.compile(r"(?<=```mermaid\n).*?(?=```)", re.DOTALL)

# The floors of the house, the lowest first. What stands on one floor imports only what stands below it, and its own.
FLOORS = (
    ("errors", "ids", "metrics", "progress"),
    ("scene",),
    ("mini", "models", "sources", "store"),
    ("refiner",),
    ("judge_tests", "stages", "trends"),
    ("show",),
    ("tracking",),
    ("batches", "study", "upkeep"),
    ("checkup",),
    ("cli",),
)
FLOOR = {part: number for number, parts in enumerate(FLOORS) for part in parts}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(source: ast.Module, *, at_top: bool = False) -> set[str]:
    """The modules that a file imports, or names by an address ("forgekit.show.report:write_report"); or only at its top."""
    nodes = source.body if at_top else ast.walk(source)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and ADDRESS.fullmatch(str(node.value)):
            found.add(node.value.partition(":")[0])
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def modules() -> dict[str, ast.Module]:
    """Each module of the package by its name."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): parsed(path)
        for path in PACKAGE.rglob("*.py")
    }


def graph(sources: dict[str, ast.Module]) -> dict[str, set[str]]:
    """Each module with those of the others that it imports anywhere in its source."""
    # A module and the packages that it lies in are left out: `from forgekit import x` names forgekit as well.
    return {
        module: {name for name in imports(source) & set(sources) if not within(module, name)}
        for module, source in sources.items()
    }


def part_of(module: str) -> str | None:
    """The file or package directly below forgekit that a module is, or lies in."""
    return module.split(".")[1] if "." in module else None


def upward(imported: dict[str, set[str]]) -> list[str]:
    """Imports of a floor that is not below the importer's own, except inside one package."""
    return sorted(
        f"{module} imports {other}"
        for module, others in imported.items()
        for other in others
        if (part := part_of(module)) and (its := part_of(other)) and part != its and FLOOR[its] >= FLOOR[part]
    )


def circles(imported: dict[str, set[str]]) -> list[str]:
    """Modules that import one another, directly or over others; imports inside functions count."""
    try:
        TopologicalSorter(imported).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def arrows(imported: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Which part imports which, above the ground floor, without what is reached over a part in between as well."""
    below: dict[str, set[str]] = {part: set() for part in FLOOR if FLOOR[part]}
    for module, others in imported.items():
        if (part := part_of(module)) in below:
            below[part] |= {its for other in others if (its := part_of(other)) in below and its != part}
    return {
        (part, its)
        for part, parts in below.items()
        for its in parts
        if not any(its in reached(below, between) for between in parts - {its})
    }


def reached(below: dict[str, set[str]], part: str) -> set[str]:
    """Every part that one imports, directly or over others."""
    return below[part].union(*(reached(below, its) for its in below[part]))


def drawing(imported: dict[str, set[str]]) -> str:
    """The parts and their arrows as a Mermaid graph, one row a floor, the highest first."""
    lines = ["graph TD"]
    for number in range(len(FLOORS) - 1, 0, -1):
        lines += [
            f"  subgraph floor{number} [ ]",
            "    direction LR",
            *(f"    {part}" for part in FLOORS[number]),
            "  end",
        ]
    lines += [f"  {part} --> {its}" for part, its in sorted(arrows(imported))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = PAGE.read_text()
    PAGE.write_text(DRAWING.sub(lambda _: drawing(graph(modules())), page))
