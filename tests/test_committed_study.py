"""The committed study: its pages claim what its result says, and the result follows from the plan that was there before."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from forgekit.study import Study
from forgekit.study.report import verdicts

ROOT = Path(__file__).parents[1]
STUDIES = sorted(path.parent for path in ROOT.glob("experiments/????-??-??-*/result.json"))
FIGURE = re.compile(r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]")  # a difference with its interval
CLAIM = re.compile(r"\bp = ")


@pytest.fixture(scope="module")
def study() -> Path:
    assert len(STUDIES) == 1, "one study stays, with its history in a few lines"
    return STUDIES[0]


@pytest.fixture(scope="module")
def result(study: Path) -> dict:
    return json.loads((study / "result.json").read_text())


def figure(row: dict) -> str:
    return f"{row['mean']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"


def told(page: Path) -> list[str]:
    """Every difference with its interval that a page tells, lines joined."""
    return FIGURE.findall(" ".join(page.read_text().split()))


def test_the_studys_own_page_says_what_its_numbers_say(study: Path, result: dict) -> None:
    page = (study / "README.md").read_text()
    assert [line[2:] for line in page.partition("## What it shows")[2].partition("## ")[0].split("\n") if line] == (
        verdicts(result)
    )


def test_the_study_is_the_one_that_the_plan_planned(study: Path, result: dict) -> None:
    plan = tomllib.loads((ROOT / "experiments/words.toml").read_text())
    told = result["study"]
    comparisons = [{"scenes": "all", **each} for each in plan.pop("primary")]
    assert {key: told[key] for key in plan} == plan
    assert [dict(each) for each in told["primary"]] == comparisons
    assert Study(**{"name": "words", **plan}).images_per_scene == told["images_per_scene"]
    primary = [row for row in result["differences"] if row["role"] == "primary"]
    assert [{key: row[key] for key in ("arm", "against", "vision_model", "scenes")} for row in primary] == comparisons


@pytest.mark.parametrize("page", ["README.md", "docs/refinement.md"])
def test_every_difference_that_a_page_tells_is_one_of_the_result(page: str, result: dict) -> None:
    rows = [*result["differences"], *result["noise_floor"].values()]
    known = {figure(row) for row in rows if row["mean"] is not None and row["low"] is not None}
    found = told(ROOT / page)
    assert set(found) <= known
    primary = {figure(row) for row in result["differences"] if row["role"] == "primary"}
    assert primary <= set(found), "a page that tells of the study tells all of its primary comparisons"
