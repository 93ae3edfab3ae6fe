"""Who may import whom: the layers of the design, checked on the source."""

from __future__ import annotations

import ast
import importlib.util
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "forgekit"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# A third-party library and the only places that may import it, as path prefixes inside forgekit/.
HOMES = {
    "duckdb": ("store.py", "rows.py", "claims.py"),
    "mlflow": ("tracking",),
    "papermill": ("batch.py",),
    "ray": ("cluster.py",),
    "torch": ("models/", "mini/"),
    "torchvision": ("models/", "mini/"),
    "diffusers": ("models/", "mini/"),
    "transformers": ("models/", "mini/"),
    "open_clip": ("models/", "mini/"),
    "matplotlib": (
        "plots.py",
        "plot_parts.py",
        "report.py",
        "study/pictures.py",
        "sheets.py",
        "tracking/summary.py",
        "mini/",
    ),
}


def imports(path: Path, *, at_top: bool = False) -> set[str]:
    """The modules that a file imports anywhere, or only those of its top level."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if at_top else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_is_imported_only_in_its_home(path):
    place = str(path.relative_to(PACKAGE))
    for library, homes in HOMES.items():
        if not place.startswith(homes):
            assert not [m for m in imports(path) if within(m, library)], f"{place} imports {library}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*ing.py")), ids=lambda path: path.stem)
def test_stages_never_import_each_other(path):
    others = {f"forgekit.stages.{other.stem}" for other in (PACKAGE / "stages").glob("*ing.py")} - {
        f"forgekit.stages.{path.stem}"
    }
    assert not imports(path) & others


@pytest.mark.parametrize("path", sorted((PACKAGE / "models").glob("*.py")), ids=lambda path: path.stem)
def test_models_never_import_the_store_or_the_stages(path):
    assert not [m for m in imports(path) if within(m, "forgekit.store") or within(m, "forgekit.stages")]


@pytest.mark.parametrize("path", sorted((PACKAGE / "scene").glob("*.py")), ids=lambda path: path.stem)
def test_scene_stands_on_nothing_but_errors_and_ids(path):
    allowed = ("forgekit.scene", "forgekit.errors", "forgekit.ids")
    assert not [m for m in imports(path) if within(m, "forgekit") and not m.startswith(allowed)]


def test_the_stages_do_not_import_what_is_above_them():
    above = ("forgekit.cli", "forgekit.batch", "forgekit.cluster", "forgekit.tracking", "forgekit.trends")
    for path in (PACKAGE / "stages").glob("*.py"):
        assert not [m for m in imports(path) if m.startswith(above)], path


def test_plots_know_no_store():
    for path in PACKAGE.glob("plots*"):
        for file in [path] if path.is_file() else path.glob("*.py"):
            assert not [m for m in imports(file, at_top=True) if within(m, "forgekit.store") or within(m, "duckdb")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_in_its_first_line_which_subject_it_has(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_every_data_file_of_the_package_is_installed_with_it():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    installed = {path for pattern in settings["forgekit"] for path in PACKAGE.glob(pattern)}
    there = {p for p in PACKAGE.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")}
    assert there - installed == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.parent.glob("benchmarks/*.py")), ids=lambda path: path.stem)
def test_benchmarks_import_only_what_there_is(path):
    """They run in no test, and many imports stand inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and within(node.module, "forgekit"):
            module = importlib.import_module(node.module)
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}"), (
                    alias.name
                )
