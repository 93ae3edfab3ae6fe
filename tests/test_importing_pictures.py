"""import_pictures: what others drew is judged as if it had been drawn here, and its generator stays a name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from conftest import FakeJudge
from picture_files import png
from PIL import Image

import forgekit as fk
from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show.selection import Selection, show_pictures
from forgekit.show.sheets import contact_sheet
from forgekit.store.images import read_image
from forgekit.tracking.run_contents import due_runs, read_runs
from forgekit.trends.cards import Choice, find_cards

IMAGES = """
select p.model, p.experiment, p.prompt_text, p.status, i.image_index, i.round, i.image_path, i.generation_metadata as made
from generated_images i join prompts p on p.id = i.prompt_id
order by p.experiment, p.model, p.prompt_text, i.image_index
"""
TEXTS = ("a red circle", "two green triangles")


def paint(file: Path, shade: int, **options) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 12), (shade, 90, 90)).save(file, **options)
    return file


@pytest.fixture
def table(tmp_path) -> Path:
    """Two scenes by two generators, two pictures each; only one generator tells its seeds."""
    rows = []
    for number, (text, model, image) in enumerate(
        (t, m, i) for t in TEXTS for m in ("dall-e-3", "midjourney-7") for i in range(2)
    ):
        file = paint(tmp_path / "drawn" / "pics" / f"{number}.{'jpg' if image else 'png'}", number * 20)
        seed = {"seed": 100 + image} if model == "dall-e-3" else {}
        rows.append({"image": f"pics/{file.name}", "prompt": text, "model": model, **seed})
    file = tmp_path / "drawn" / "table.csv"
    pd.DataFrame(rows).astype({"seed": "Int64"}).to_csv(file, index=False)
    return file


@pytest.mark.parametrize("column", ["Bild", "image_url", "图片", "filename"])
def test_a_picture_is_found_by_columns_in_other_languages_and_by_paths_of_windows(store, tmp_path, column):
    paint(tmp_path / "pics" / "1.png", 0)
    table = pd.DataFrame({column: ["pics\\1.png", "pics/1.gif", "https://a.b/1.png"], "prompt": (*TEXTS, "a star")})
    Image.new("P", (4, 4)).save(tmp_path / "pics" / "1.gif")
    report = fk.import_pictures(store, table, folder=tmp_path)
    assert (report.done, report.failed) == (1, 2)
    gif, address = report.failures.values()
    assert "its picture is none of PNG, JPEG, WEBP, AVIF; save it as PNG" in gif
    assert "fetch it first" in address


def test_a_table_of_pictures_becomes_prompts_with_images_and_scenes_that_are_read(store, table):
    report = fk.import_pictures(store, table)
    assert (report.done, report.failed, report.details["prompts"]) == (8, 0, 4)
    rows = store.rows(IMAGES)
    assert {row["status"] for row in rows} == {"generated"} and {row["round"] for row in rows} == {0}
    assert [row["image_index"] for row in rows] == [0, 1] * 4
    first, second = rows[:2]
    assert first["made"]["seed"] == 100 and (first["made"]["width"], first["made"]["height"]) == (16, 12)
    assert first["made"]["model"] == "dall-e-3" and first["made"]["outside"]["file"] == "pics/0.png"
    assert [row["made"].get("seed") for row in rows] == [100, 101] * 2 + [None] * 4
    assert second["image_path"].endswith(".jpeg")
    kept = (store.folder / second["image_path"]).read_bytes()
    assert kept == (table.parent / "pics" / "1.jpg").read_bytes()
    scenes = store.rows(
        "select scene_text, elements ->> '$.objects[0].name' as thing, read_by from scenes order by all"
    )
    assert [(s["scene_text"], s["thing"]) for s in scenes] == [("a red circle", "circle"), (TEXTS[1], "triangle")]
    assert {s["read_by"]["reader"] for s in scenes} == {"rules"}


def test_the_same_pictures_again_change_nothing(store, table):
    fk.import_pictures(store, table)
    before = store.rows(IMAGES), sorted(store.folder.rglob("images/*/*"))
    report = fk.import_pictures(store, table)
    assert (report.done, report.details) == (0, {"the same picture again": 8})
    assert (store.rows(IMAGES), sorted(store.folder.rglob("images/*/*"))) == before


def test_pictures_from_outside_are_judged_compared_and_shown_beside_those_drawn_here(
    store, table, fake_generator, tmp_path
):
    fk.import_pictures(store, table)
    fk.import_prompts(store, pd.DataFrame({"text": TEXTS}), model=fake_generator.name)
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2, image_generator=fake_generator)
    fk.evaluate_images(store, vision_models=[FakeJudge()])
    curves = trends.adherence(store)
    assert sorted(curves["model"]) == ["conftest:FakeGenerator", "dall-e-3", "midjourney-7"]
    assert set(curves["scenes"]) == {2} and set(curves["images"]) == {4}
    assert fk.check(store).failed == 0
    assert fk.export_store(store, tmp_path / "out", format="imagefolder").done == 12
    for run in read_runs(store, due_runs(store)):
        assert [image["step"] for image in run.shown] in ([0, 1], [2, 3], [4, 5]), "each picture has a place of its own"
    assert contact_sheet(trends.pictures(store)).width > 0
    chosen = Selection.first(store, None, TEXTS[0], None)
    cards, total = find_cards(store, Choice(chosen.experiment, chosen.vision_model))
    assert (total, [card["seed"] for card in cards].count(None)) == (12, 4)
    unknown = next(card["version"] for card in cards if card["seed"] is None and card["scene"] == TEXTS[0])
    told = show_pictures(replace(chosen, prompt_id=unknown))
    assert told.count("no seed") == 2 * 2  # each in its caption and as alternative text


def test_the_refiner_leaves_them_alone_and_says_how_to_go_on(store, table):
    fk.import_pictures(store, table)
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.2)])
    report = fk.refine_prompts(store)
    assert (report.done, report.failed) == (0, 0)
    assert [note.split(",")[0] for note in report.notes] == [
        f"2 prompts have pictures from outside by '{name}'" for name in ("dall-e-3", "midjourney-7")
    ]
    assert all("import_prompts(…, model=NAME)" in note and "image_generator=NAME" in note for note in report.notes)
    assert {row["status"] for row in store.rows(IMAGES)} == {"evaluated"}


def test_a_picture_that_comes_later_has_its_prompt_judged_again(store, tmp_path):
    for shade in (1, 2):
        paint(tmp_path / "mj" / f"{shade}.png", shade)
        frame = pd.DataFrame({"picture": [f"{shade}.png"], "text": ["a red circle"]})
        fk.import_pictures(store, frame, model="midjourney-7", folder=tmp_path / "mj")
        assert fk.evaluate_images(store, vision_models=[FakeJudge()]).done == 1
    assert [row["image_index"] for row in store.rows(IMAGES)] == [0, 1]
    assert store.rows("select count(*) as n from image_evaluations")[0]["n"] == 2


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_tables_of_any_kind_name_pictures(store, tmp_path, kind):
    paint(tmp_path / "a.webp", 3, format="WEBP")
    frame = pd.DataFrame(
        {"id": ["x"], "file_name": ["a.webp"], "caption": ["a red circle"], "arm": ["study/a"], "steps": [9]}
    )
    file = tmp_path / f"table.{kind}"
    if kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_json(file, orient="records", lines=kind == "jsonl")
    assert fk.import_pictures(store, file, model="sd-3").done == 1
    [row] = store.rows(IMAGES)
    assert (row["model"], row["experiment"]) == ("sd-3", "study/a")
    assert row["image_path"].endswith(".webp") and row["made"]["parameters"] == {"num_inference_steps": 9}


def test_a_folder_has_captions_beside_its_pictures_or_prompts_within_them(store, tmp_path):
    folder = tmp_path / "pictures"
    paint(folder / "001.png", 1).with_suffix(".txt").write_text("two green triangles")
    text = "a red circle\nNegative prompt: blurry\nSteps: 4, CFG scale: 7, Seed: 42, Size: 64x64, Model: dreamshaper"
    png(folder / "002.png", parameters=text)
    png(folder / "003.png")
    report = fk.import_pictures(store, folder, model="midjourney-7")
    assert report.done == 2 and list(report.failures) == ["003.png 2"]
    own, told = sorted(store.rows(IMAGES), key=lambda row: row["model"])
    assert (own["model"], own["made"]["seed"]) == ("dreamshaper", 42)
    assert own["made"]["parameters"]["num_inference_steps"] == 4
    assert (told["model"], told["prompt_text"]) == ("midjourney-7", TEXTS[1])


def test_pictures_that_differ_in_their_seeds_only_are_of_one_prompt(store, tmp_path):
    (tmp_path / "p").mkdir()
    for seed in (7, 8):
        png(tmp_path / "p" / f"{seed}.png", parameters=f"a red circle\nSteps: 4, Seed: {seed}, Size: 64x64")
    fk.import_pictures(store, tmp_path / "p")
    assert [row["made"]["seed"] for row in store.rows(IMAGES)] == [7, 8]
    assert store.rows("select count(*) as n from prompts")[0]["n"] == 1


def test_a_picture_that_says_which_side_is_up_is_judged_that_way_round(store, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    paint(tmp_path / "a.jpg", 1, exif=exif)
    (tmp_path / "a.txt").write_text("a red circle")
    fk.import_pictures(store, tmp_path)
    [row] = store.rows(IMAGES)
    assert read_image(store.folder, row["image_path"]).size == (12, 16)


def test_our_own_pictures_come_back_with_their_model_and_seed(store, generated, tmp_path):
    fk.export_store(generated, tmp_path / "out", format="imagefolder")
    other = fk.open_store(tmp_path / "other" / "forge.duckdb")
    assert fk.import_pictures(other, tmp_path / "out", experiment="theirs").done == 6
    select = "select generation_metadata ->> '$.seed' as seed from generated_images order by all"
    assert other.rows(select) == generated.rows(select)
    assert {row["model"] for row in other.rows(IMAGES)} == {"conftest:FakeGenerator"}
    pictures = fk.import_pictures(other, tmp_path / "out" / "images", experiment="alone")
    assert pictures.done == 6


def bad_rows(folder: Path, elsewhere: Path) -> dict[str, str]:
    """Names of pictures that cannot be used, each with what its reason says."""
    good = paint(folder / "good.png", 1)
    (folder / "cut.png").write_bytes(good.read_bytes()[:-30])
    (folder / "page.png").write_text("<html>not found</html>")
    (folder / "link.png").symlink_to(elsewhere)
    Image.new("1", (9000, 9000)).save(folder / "huge.png")
    Image.new("I;16", (8, 8), 3000).save(folder / "deep.png")
    with (folder / "long.png").open("wb") as file:
        file.truncate((1 << 26) + 1)
    return {
        "cut.png": "cannot be read",
        "page.png": "its picture is none of",
        "link.png": "outside",
        "../elsewhere.png": "outside",
        str(elsewhere): "outside",
        "gone.png": "there is no picture",
        "https://example.org/a.png": "an address on a network",
        "huge.png": "9000×9000 pixels",
        "deep.png": "8 bits",
        "long.png": "bytes, more than",
        "": "names no picture",
        "a\0b.png": "cannot be read",
        "x" * 300: "cannot be read",
    }


def test_a_bad_picture_fails_alone_with_its_reason(store, tmp_path):
    bad = bad_rows(tmp_path / "in", paint(tmp_path / "elsewhere.png", 2))
    names = [*bad, "good.png"]
    frame = pd.DataFrame({"image": names, "prompt": ["a red circle"] * len(names)})
    report = fk.import_pictures(store, frame, folder=tmp_path / "in")
    assert report.done == 1
    assert {
        place: reason in report.failures[place]
        for place, reason in zip([f"row {n}" for n in range(1, 14)], bad.values(), strict=True)
    } == {f"row {n}": True for n in range(1, 14)}
    [log] = store.rows("select response, error_context from api_logs")
    assert log["response"]["images"] == 1 and len(log["error_context"]["errors"]) == len(bad)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model", "x" * 201),
        ("model", "a\nb"),
        ("experiment", "../up"),
        ("experiment", 7),
        ("parameters", "[1]"),
        ("prompt", ""),
    ],
)
def test_a_row_that_cannot_be_used_fails_alone(store, tmp_path, column, value):
    paint(tmp_path / "a.png", 1)
    rows = [
        {"image": "a.png", "prompt": "a red circle", "experiment": "x"},
        {"image": "a.png", "prompt": "a red circle"},
    ]
    rows[1][column] = value
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    report = fk.import_pictures(store, file)
    assert (report.done, report.failed) == (1, 1)


def test_what_drew_a_picture_is_a_name_and_never_loaded(store, tmp_path, monkeypatch):
    def loaded(*_):
        raise AssertionError("a model was looked for")

    monkeypatch.setattr("forgekit.models.loading._found", loaded)
    names = ["mini", "os:system", "http://localhost:1/v1#x", "owner/model", "/etc", "flux-1"]
    images = [str(paint(tmp_path / f"{number}.png", number)) for number in range(len(names))]
    frame = pd.DataFrame({"image": images, "prompt": "a red circle", "model": names})
    fk.import_pictures(store, frame, folder=tmp_path)
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.1)])
    fk.refine_prompts(store)
    fk.generate_images(store)
    assert sorted(row["model"] for row in store.rows(IMAGES)) == sorted(names)


def test_a_prompt_drawn_here_and_pictures_from_outside_never_share_a_row(completed, fake_generator, tmp_path):
    paint(tmp_path / "a.png", 1)
    frame = pd.DataFrame({"image": ["a.png"], "prompt": ["a red circle"], "model": [fake_generator.name]})
    fk.import_pictures(completed, frame, folder=tmp_path)
    assert fk.generate_images(completed, images_per_prompt=1, image_generator=fake_generator).done == 3
    rows = completed.rows(
        "select count(*) as n from prompts p join generated_images i on i.prompt_id = p.id group by p.id"
    )
    assert [row["n"] for row in rows] == [1] * 4


@pytest.mark.parametrize(
    "wrong", [{"model": " "}, {"experiment": "../x"}, {"folder": "/nowhere"}, {"columns": {"imag": "x"}}]
)
def test_a_wrong_argument_is_refused_before_anything_is_stored(store, table, wrong):
    with pytest.raises(ParameterError):
        fk.import_pictures(store, table, **wrong)
    assert store.rows("select count(*) as n from prompts")[0]["n"] == 0
