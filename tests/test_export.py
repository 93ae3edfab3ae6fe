"""What is taken out is what is in the store: Parquet tables and an image folder."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import study

from forgekit.cli import main
from forgekit.errors import ParameterError
from forgekit.show.export import export_store
from forgekit.store.file import RECORD_TABLES, Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = study.make(tmp_path_factory.mktemp("study"), experiment="colours/refine")
    study.fill(made, experiment="other", scenes=2)
    return made


def count(store: Store, sql: str) -> int:
    return store.df(f"select count(*) as n from {sql}")["n"][0]


def test_every_table_and_the_scores_are_parquet_files_with_all_rows(store: Store, tmp_path: Path) -> None:
    report = export_store(store, tmp_path / "out")
    for table in (*RECORD_TABLES, "image_scores", "element_scores", "prompt_scores"):
        assert len(pd.read_parquet(tmp_path / "out" / f"{table}.parquet")) == count(store, table)
    assert report.done == 9
    prompts = pd.read_parquet(tmp_path / "out" / "prompts.parquet").set_index("id")
    [row] = store.rows("select id, status, base_parameters, current_score from prompts order by id limit 1")
    assert prompts.loc[row["id"], "status"] == row["status"]
    assert json.loads(prompts.loc[row["id"], "base_parameters"]) == row["base_parameters"]
    assert prompts.loc[row["id"], "current_score"] == row["current_score"]


def test_a_study_is_exported_with_its_own_rows_only(store: Store, tmp_path: Path) -> None:
    export_store(store, tmp_path / "out", experiment="colours")
    prompts = pd.read_parquet(tmp_path / "out" / "prompts.parquet")
    assert set(prompts["experiment"]) == {"colours/refine"}
    for table in ("generated_images", "image_evaluations", "prompt_learnings", "api_logs", "element_scores"):
        rows = pd.read_parquet(tmp_path / "out" / f"{table}.parquet")
        assert len(rows) == count(
            store, f"{table} where prompt_id in (select id from prompts where experiment = 'colours/refine')"
        )


def test_an_image_folder_has_a_line_per_image_with_the_file_it_is_about(store: Store, tmp_path: Path) -> None:
    report = export_store(store, tmp_path / "out", format="imagefolder")
    lines = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert len(lines) == report.done == count(store, "generated_images")
    assert len({tuple(line) for line in lines}) == 1  # every line has the same keys
    for line in lines:
        [row] = store.rows(
            "select image_path, adherence_score, prompt_text from generated_images i "
            "join prompts p on p.id = i.prompt_id where i.id = $id::uuid",
            id=line["image_id"],
        )
        assert (tmp_path / "out" / line["file_name"]).read_bytes() == (store.folder / row["image_path"]).read_bytes()
        assert line["text"] == row["prompt_text"]
        assert line["score_mini-clip"] == pytest.approx(row["adherence_score"])
        assert 0 <= line["score_mini-fuyu"] <= 1


def test_an_image_file_that_is_gone_is_reported_and_the_others_are_exported(tmp_path: Path) -> None:
    store = study.make(tmp_path / "store", scenes=1)
    gone = next((store.folder / "images").rglob("*.png"))
    gone.unlink()
    report = export_store(store, tmp_path / "out", format="imagefolder")
    assert (report.done, report.failed) == (3, 1)
    assert len((tmp_path / "out" / "metadata.jsonl").read_text().splitlines()) == 3


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(ParameterError, match="not empty"):
        export_store(store, tmp_path / "full")
    with pytest.raises(ParameterError, match="'parquet' or 'imagefolder'"):
        export_store(store, tmp_path / "new", format="csv")
    with pytest.raises(ParameterError, match="no experiment is called 'colors'"):
        export_store(store, tmp_path / "new", experiment="colors")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_the_command_line_exports_too(store: Store, tmp_path: Path) -> None:
    command = ["export", str(tmp_path / "out"), "--store", str(store.path), "--format", "imagefolder"]
    assert main(command) == 0
    assert (tmp_path / "out" / "metadata.jsonl").exists()
    assert main(command) == 2  # the folder is there now
