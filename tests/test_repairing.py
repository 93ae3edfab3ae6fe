"""`forgekit check --repair`: what can be made again is as it was, byte for byte, and nothing is deleted."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
from conftest import FakeGenerator
from test_checking import in_files, planted
from test_checking_files import PLANTED as PLANTED_FILES
from test_checking_files import flipped, image, mirror_file
from whole_store import judges

import forgekit as fk

pytest_plugins = ["whole_store"]
RECORD = {
    table: f"select * from {table} order by all"
    for table in ("scenes", "prompts", "generated_images", "image_evaluations", "prompt_learnings", "pass_marks")
}
# Damages on rows of their own, so that one repair has all of them to do.
TOGETHER = [
    *("schema", "schema: a status change that nobody allows", "first-prompt", "evaluation-of-image"),
    *("evaluation-of-scene", "learning-status", "claim-of-nothing", "verdict-score", "verdict-score: none"),
    *("image-score", "adhering", "roles", "roles: none", "prompt-score", "prompt-score: none", "best-image"),
    "scored-early",
]
ALONE = [
    "best-of-all",
    "best-image: of another",
    "image-score: none",
    "image-score: of nobody",
    "verdict-score: nan",
    "schema: a view that is gone",
]


def record(store) -> dict:
    return {table: store.rows(sql) for table, sql in RECORD.items()}


@pytest.mark.parametrize("names", [TOGETHER, *([name] for name in ALONE)], ids=lambda names: names[0])
def test_what_follows_from_other_rows_is_put_right(whole, names):
    before = record(whole)
    for name in names:
        planted(whole, name)
    report = fk.check(whole, repair=True)
    assert report.findings == [] and len(report.mended) >= len(names)
    assert record(whole) == before


@pytest.mark.parametrize(
    "name", ["image_evaluations.element_scores: text", "silent-verdict", "image_evaluations.model_output"]
)
def test_a_verdict_that_cannot_be_read_is_asked_for_again(whole, name):
    before = record(whole)["image_evaluations"]
    planted(whole, name)
    fk.check(whole, repair=True)
    [error] = whole.rows("select error from image_evaluations where error is not null")
    assert "the verdict was damaged; it read" in error["error"]
    fk.evaluate_images(whole, vision_models=judges())
    assert fk.check(whole, repair=True).findings == []
    kept = ("id", "element_scores", "model_output", "adherence_analysis", "role", "soft_tifa_gm")
    after = {r["id"]: {c: r[c] for c in kept} for r in record(whole)["image_evaluations"]}
    assert after == {r["id"]: {c: r[c] for c in kept} for r in before}


def test_a_prompt_that_lost_its_images_or_scores_is_due_again(whole):
    one, other, *_ = [row["id"] for row in whole.rows("select id from prompts where status = 'evaluated' order by id")]
    for sql in (
        "delete from human_ratings",
        "delete from image_evaluations where prompt_id in ($one, $other)",
        "delete from generated_images where prompt_id = $one and $other is not null",
    ):
        with whole.transaction() as con:
            con.execute(sql, {"one": one, "other": other} if "$" in sql else None)
    assert fk.check(whole, repair=True).findings == []
    rows = whole.rows("select id, status from prompts where id in ($one, $other) order by id", one=one, other=other)
    assert [row["status"] for row in rows] == ["generating", "generated"]


@pytest.mark.parametrize(
    "damage", ["image-missing", "image-bytes", "image-bytes: empty", "image-bytes: another picture"]
)
def test_a_lost_picture_is_drawn_again_to_the_same_bytes(whole, damage):
    before = in_files(whole.folder / "images")
    PLANTED_FILES[damage](whole)
    report = fk.check(whole, repair=True)
    assert (report.findings, len(report.mended), report.notes) == ([], 1, [])
    assert in_files(whole.folder / "images") == before
    if damage != "image-missing":
        assert len(in_files(whole.folder / "lost")) == 1
    assert whole.rows("select count(*) as n from api_logs where stage = 'repair' and ok") == [{"n": 1}]


def test_a_picture_that_the_mirror_has_is_taken_from_there_and_not_drawn(whole):
    file = image(whole)[1]
    shutil.copy(file, mirror_file(whole))
    content = file.read_bytes()
    flipped(whole)
    assert fk.check(whole, repair=True).findings == []
    assert file.read_bytes() == content
    assert whole.rows("select count(*) as n from api_logs where stage = 'repair'") == [{"n": 0}]


def test_a_picture_that_would_be_another_now_is_not_drawn_and_it_is_said_why(whole, monkeypatch):
    PLANTED_FILES["image-missing"](whole)
    monkeypatch.setattr(FakeGenerator, "describe", lambda self: {"repo": "fake", "version": 2})
    report = fk.check(whole, repair=True)
    assert [finding.split(":")[0] for finding in report.findings] == ["image file is missing"]
    assert "would draw another picture now: its weights" in report.notes[0]
    monkeypatch.undo()
    monkeypatch.setattr(FakeGenerator, "draw", lambda self, requests: 1 / 0)
    assert "ZeroDivisionError" in fk.check(whole, repair=True).notes[0]


def test_what_belongs_to_nothing_is_moved_and_none_of_it_is_lost(whole):
    for name in ("orphan", "orphan: half a file", "orphan: a link", "dead-worker", "mirror"):
        PLANTED_FILES[name](whole)
    (whole.folder / "lost" / "images").mkdir(parents=True)
    (whole.folder / "lost" / "images" / "link").write_text("of an earlier repair")
    wanted = image(whole)[1].read_bytes()
    report = fk.check(whole, repair=True)
    assert (report.findings, len(report.mended)) == ([], 5)
    lost = sorted(p.name for p in (whole.folder / "lost").rglob("*") if not p.is_dir() or p.is_symlink())
    assert lost == sorted(
        ["0-1.png", "1-link", "a.png.12.partial", "link", next((whole.folder / "mlartifacts").rglob("*.png")).name]
    )
    assert next((whole.folder / "mlartifacts").rglob("*.png")).read_bytes() == wanted
    assert whole.rows("select count(*) as n from claims") == [{"n": 0}]


def test_what_nothing_else_knows_stays_a_finding(whole):
    planted(whole, "scene-hash")
    planted(whole, "image-id")
    report = fk.check(whole, repair=True)
    assert {finding.split(":")[0] for finding in report.findings} >= {
        "the hash of a scene is not that of its text",
        "the id of a picture is not that of its content",
    }


def test_pictures_of_the_embedded_model_come_out_the_same(tmp_path):
    store = fk.open_store(tmp_path / "forge.duckdb")
    fk.import_prompts(
        store, pd.DataFrame({"text": ["a red circle", "two green triangles"]}), parameters={"num_inference_steps": 2}
    )
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2)
    before = in_files(store.folder / "images")
    files = sorted((store.folder / "images").rglob("*.png"))
    files[0].unlink()
    files[-1].write_bytes(b"")
    report = fk.check(store, repair=True)
    assert (report.findings, report.notes) == ([], [])
    assert in_files(store.folder / "images") == before
