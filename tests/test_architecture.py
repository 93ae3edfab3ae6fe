"""Who may import whom: the layers of the design, checked on the source."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
import tomllib

import pytest
from architecture import (
    DRAWING,
    FLOOR,
    PACKAGE,
    PAGE,
    circles,
    drawing,
    graph,
    imports,
    modules,
    parsed,
    upward,
    within,
)

MODULES = sorted(path for path in PACKAGE.rglob("*.py"))

# A third-party library and the only places that may import it, as path prefixes inside forgekit/.
HOMES = {
    "duckdb": ("store/",),
    "filelock": ("store/", "tracking/", "batches/", "upkeep/"),
    "mlflow": ("tracking/",),
    "papermill": ("batches/", "show/report.py"),
    "torch": ("models/", "mini/"),
    "torchvision": ("models/", "mini/"),
    "diffusers": ("models/", "mini/"),
    "transformers": ("models/", "mini/"),
    "open_clip": ("models/", "mini/"),
    "ray": ("models/ray_pool.py",),
    "matplotlib": ("show/", "study/pictures.py", "tracking/summary.py"),
}


def test_every_part_of_the_house_has_a_floor():
    parts = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert parts - {"__init__"} == set(FLOOR)
    assert len(list(PACKAGE.glob("*.py"))) <= 6


def test_imports_lead_downwards_only():
    assert upward(graph(modules())) == []


def test_the_drawing_is_that_of_the_code():
    """`python tests/architecture.py` draws it anew."""
    assert DRAWING.search(PAGE.read_text()).group() == drawing(graph(modules()))


def test_no_modules_import_one_another():
    assert circles(graph(modules())) == []


@pytest.mark.parametrize(
    ("module", "line", "found"),
    [
        ("forgekit.stages.calls", "from forgekit import trends", upward),
        ("forgekit.scene.text", "def f():\n    from forgekit.store.rows import insert_rows", upward),
        ("forgekit.models.naming", "import forgekit.store.file", upward),
        ("forgekit.stages.calls", "def f():\n    import forgekit.stages.completing", circles),
        ("forgekit.refiner.case", "from forgekit.refiner.policies import load_policy", circles),
    ],
)
def test_a_planted_upward_import_or_circle_is_found(module, line, found):
    sources = modules()
    assert not found(graph(sources))
    sources[module] = ast.parse(f"{ast.unparse(sources[module])}\n{line}")
    assert found(graph(sources))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_is_imported_only_in_its_home(path):
    place = str(path.relative_to(PACKAGE))
    for library, homes in HOMES.items():
        if not place.startswith(homes):
            assert not [m for m in imports(parsed(path)) if within(m, library)], f"{place} imports {library}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "stages").glob("*ing.py")), ids=lambda path: path.stem)
def test_stages_never_import_each_other(path):
    stages = {f"forgekit.stages.{name}" for name in ("importing", "completing", "generating", "evaluating", "refining")}
    assert not imports(parsed(path)) & (stages - {f"forgekit.stages.{path.stem}"})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_file_is_longer_than_a_reader_can_hold(path):
    assert len(path.read_text().splitlines()) <= 300


def test_importing_forgekit_loads_no_heavy_library():
    heavy = "duckdb", "pandas", "numpy", "torch", "mlflow", "diffusers", "transformers", "matplotlib", "papermill"
    code = f"import forgekit, sys; dir(forgekit); print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_whether_a_prompt_fits_a_generator_is_told_without_torch():
    """Completing and refining ask it of every prompt, and neither computes anything: torch and diffusers take ten seconds."""
    code = (
        "import sys; from forgekit.models import load_model; mini = load_model('image_generator', 'mini');"
        "print(mini.fits('a red circle'), mini.fits('a red circle, ' * 40));"
        "print([name for name in ('torch', 'diffusers', 'torchvision', 'scipy.stats') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines() == ["True False", "[]"]


def test_plots_know_no_store():
    for path in (PACKAGE / "show").glob("plot*.py"):
        assert not [
            m for m in imports(parsed(path), at_top=True) if m in ("forgekit.store", "forgekit.store.file", "duckdb")
        ], path


def test_a_signed_number_that_rounds_to_nothing_has_no_minus():
    """Of -0.001 the format ":+.2f" makes -0.00, which reads as a loss."""
    found = [f"{path}: {line}" for path in MODULES for line in path.read_text().splitlines() if ":+." in line]
    assert found == []
    assert f"{-0.001:+z.2f}" == "+0.00"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_module_says_in_its_first_line_which_subject_it_has(path):
    assert ast.get_docstring(parsed(path))


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
