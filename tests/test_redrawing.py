"""Exact seeds, and pictures drawn again: the same bytes, or why not."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from conftest import FakeJudge
from picture_files import png
from PIL import Image

import forgekit as fk
from forgekit.cli import main
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.store.rows import update_rows

SEEDS = """
select p.prompt_text, list((generation_metadata ->> '$.seed')::bigint order by image_index) as seeds
from generated_images i join prompts p on p.id = i.prompt_id group by all order by all
"""


@pytest.mark.parametrize("seeds", [5, "12", 1.5])
def test_seeds_that_are_no_list_are_refused_with_what_would_be_one(completed, fake_generator, seeds):
    with pytest.raises(ParameterError, match=r"seeds=.*give a list of whole numbers"):
        fk.generate_images(completed, seeds=seeds, image_generator=fake_generator)


def test_prompts_are_drawn_with_exact_seeds_that_are_recorded_and_not_drawn_twice(completed, fake_generator):
    seeds = [3, 2**62, 0]
    assert fk.generate_images(completed, seeds=seeds, image_generator=fake_generator).details == {"images": 9}
    assert [row["seeds"] for row in completed.rows(SEEDS)] == [seeds] * 3
    assert {request.seed for request in fake_generator.drawn} == set(seeds)
    with completed.transaction() as con:
        con.execute("update prompts set status = 'generating'")
    fake_generator.drawn.clear()
    report = fk.generate_images(completed, seeds=seeds, images_per_prompt=3, image_generator=fake_generator)
    assert (report.done, fake_generator.drawn) == (3, [])


@pytest.mark.parametrize(
    "given",
    [{"seeds": [1, 2], "images_per_prompt": 3}, {"seeds": []}, {"seeds": [1, 1]}, {"seeds": [-1]}, {"seeds": [2**63]}, {"seeds": [1.5]},
     {"seeds": [True]}, {"seeds": ["1"]}, {"images_per_prompt": 0}],
)  # fmt: skip
def test_seeds_that_contradict_themselves_are_refused(completed, given):
    with pytest.raises(ParameterError):
        fk.generate_images(completed, **given)
    assert completed.rows("select distinct status from prompts") == [{"status": "completed"}]


def test_a_prompt_that_the_refiner_wants_on_fresh_seeds_is_not_drawn_on_the_same_ones(completed, fake_generator):
    fk.generate_images(completed, seeds=[1, 2], image_generator=fake_generator)
    fk.evaluate_images(completed, vision_models=[FakeJudge(score=0.95)])
    assert fk.refine_prompts(completed, confirm=True).details == {"confirm": 3}
    report = fk.generate_images(completed, seeds=[1, 2], image_generator=fake_generator)
    assert report.done == 0 and set(report.failures.values()) == {
        "the refiner wants it on fresh seeds (confirm); draw it without seeds="
    }
    assert fk.generate_images(completed, images_per_prompt=2, image_generator=fake_generator).done == 3


def test_the_command_line_takes_seeds(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a red circle\n")
    for words in (["import", "p.txt"], ["complete"], ["generate", "--seeds", "5, 6"]):
        assert main([*words, "--store", "s.duckdb"]) == 0
    assert fk.open_store("s.duckdb").rows(SEEDS)[0]["seeds"] == [5, 6]
    assert main(["generate", "--seeds", "5,x", "--store", "s.duckdb"]) == 2
    assert "'5,x' is no list of whole numbers" in capsys.readouterr().err


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A store with six pictures by mini, drawn together."""
    store = fk.open_store(tmp_path_factory.mktemp("drawn") / "forge.duckdb")
    texts = ["a red star", "two blue rings", "a heart"]
    fk.import_prompts(
        store, pd.DataFrame({"text": texts}), parameters={"num_inference_steps": 4, "height": 32, "width": 32}
    )
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2)
    return store


@pytest.fixture
def image(drawn) -> dict:
    return drawn.rows("select * from generated_images order by id limit 1")[0]


def test_every_picture_of_the_store_is_drawn_again_to_the_last_byte_though_a_batch_rounds_otherwise(drawn, tmp_path):
    before = drawn.path.read_bytes(), sorted(drawn.folder.rglob("images/*/*"))
    images = drawn.rows("select id, image_path, generation_metadata ->> '$.batch' as batch from generated_images")
    assert {row["batch"] for row in images} == {"6"}
    for row in images:
        told = fk.redraw(row["id"], out=tmp_path / f"{row['id']}.png", store=drawn)
        assert (told.same, told.reasons, told.failed) == (True, [], 0)
        assert told.out.read_bytes() == (drawn.folder / row["image_path"]).read_bytes()
    assert (drawn.path.read_bytes(), sorted(drawn.folder.rglob("images/*/*"))) == before


@pytest.mark.parametrize("by", ["path", "file", "copy"])
def test_a_picture_is_named_by_its_path_or_file_and_needs_no_store_beside_it(drawn, image, tmp_path, by):
    file = drawn.folder / image["image_path"]
    name = {"path": image["image_path"], "file": file, "copy": tmp_path / "copy.png"}[by]
    (tmp_path / "copy.png").write_bytes(file.read_bytes())
    told = fk.redraw(name, out=tmp_path / "again.png", store=None if by == "copy" else drawn)
    assert told.same or (by == "copy" and "rounded" in told.reasons[0])
    assert Image.open(told.out).size == (32, 32)


def test_what_is_another_now_is_told_and_the_picture_is_drawn_all_the_same(drawn, image, tmp_path):
    made = image["generation_metadata"]
    file = png(
        tmp_path / "old.png",
        forgekit={**made, "versions": {**made["versions"], "diffusers": "0.1"}, "device": "cuda", "dtype": "bfloat16"},
    )
    told = fk.redraw(file, out=tmp_path / "again.png")
    assert not told.same and told.failed == 1
    assert told.reasons[:3] == [
        "dtype: bfloat16 then, float32 now", "device: cuda then, cpu now",
        f"versions of diffusers: 0.1 then, {made['versions']['diffusers']} now",
    ]  # fmt: skip
    assert "a picture of 32×32 pixels" in told.reasons[-1]  # this one has 64×64
    assert Image.open(told.out).size == (32, 32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": None}, "it does not say its seed"),
        ({"prompt": None, "parameters": None}, "its prompt, its parameters"),
        ({"model": None}, "which model drew it; give image_generator="),
        ({"model": "gone"}, "no image_generator is called 'gone'"),
        ({"model": "os:system"}, "names code, which only you may give"),
        ({"parameters": {"no_such": 1}}, "has no parameter 'no_such'"),
    ],
)
def test_what_lacks_is_said_and_nothing_is_written(image, tmp_path, changes, said):
    file = png(tmp_path / "old.png", forgekit={**image["generation_metadata"], **changes})
    with pytest.raises((ParameterError, UnknownModelError), match=said):
        fk.redraw(file, out=tmp_path / "again.png")
    assert not (tmp_path / "again.png").exists()


def test_a_picture_of_another_program_is_drawn_by_the_generator_given(tmp_path):
    text = "a red circle\nSteps: 4, Seed: 42, Size: 32x32, Model: dreamshaper"
    file = png(tmp_path / "a.png", parameters=text)
    with pytest.raises(UnknownModelError, match="was drawn by 'dreamshaper'"):
        fk.redraw(file, out=tmp_path / "again.png")
    told = fk.redraw(file, out=tmp_path / "again.png", image_generator="mini")
    assert not told.same and told.reasons[0].startswith("another program drew it")
    said = json.loads(Image.open(told.out).text["forgekit"])
    assert (said["seed"], said["prompt"], said["parameters"]["num_inference_steps"]) == (42, "a red circle", 4)


@pytest.mark.parametrize("name", ["gone.png", "00000000-0000-0000-0000-000000000000", "../outside.png"])
def test_a_picture_that_is_not_there_is_told(drawn, name):
    with pytest.raises(ParameterError, match="no file, and no image of the store"):
        fk.redraw(name, store=drawn)


def test_a_stored_path_that_leads_out_is_not_followed(generated, tmp_path):
    row = generated.rows("select id from generated_images order by id limit 1")[0]
    with generated.transaction() as con:
        update_rows(con, "generated_images", [{**row, "image_path": "../secret.png"}])
    with pytest.raises(ParameterError, match="leads out of images"):
        fk.redraw(row["id"], store=generated)


def test_no_file_is_written_over(drawn, image, tmp_path):
    (tmp_path / "there.png").write_text("mine")
    for out in (tmp_path / "there.png", drawn.folder / "images" / "new.png"):
        with pytest.raises(ParameterError, match="give a new file"):
            fk.redraw(image["id"], out=out, store=drawn)
    assert (tmp_path / "there.png").read_text() == "mine"


def test_the_command_line_draws_again_and_makes_no_store(drawn, image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["redraw", str(drawn.folder / image["image_path"])]) in (0, 1)
    assert [file.name for file in tmp_path.iterdir()] == [f"{(drawn.folder / image['image_path']).stem}-again.png"]
    assert main(["redraw", image["id"], "--store", str(drawn.path), "--out", "b.png"]) == 0
    assert "the same bytes" in capsys.readouterr().out
