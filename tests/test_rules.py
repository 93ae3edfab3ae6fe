"""docs/rules.md, the tests that it names, and the broken versions of the rules belong together."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmark(name: str):
    """A module of benchmarks/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module


mutants = benchmark("mutants")
RULES, MUTANTS = mutants.load_rules(), mutants.load_mutants()


def functions_of(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("rule", RULES)
def test_every_test_that_the_page_names_is_there(rule):
    assert RULES[rule], "a rule without a test"
    for test in RULES[rule]:
        file, _, name = test.partition("::")
        assert name in functions_of(ROOT / file), test


def test_the_page_lists_every_rule_once():
    page = (ROOT / "docs" / "rules.md").read_text()
    assert page.count("\n- **") == len(RULES) >= 45


def test_every_rule_is_broken_by_some_mutant_and_every_mutant_breaks_a_rule():
    assert {mutant.rule for mutant in MUTANTS} == set(RULES)
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 45


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_mutant_still_applies_to_the_source_exactly_once(mutant):
    source = mutant.break_in(ROOT)
    assert source != (ROOT / mutant.file).read_text()
    if mutant.file.endswith(".py"):
        ast.parse(source)
