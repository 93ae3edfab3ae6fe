"""generate_images: what is due, seeds, nothing drawn twice, failures."""

from __future__ import annotations

import resource

import pytest
from conftest import FakeGenerator
from PIL import Image

import forgekit as fk
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.stages.wanted import image_seed
from forgekit.store.images import encode_png, read_image, write_image
from forgekit.store.rows import insert_rows, update_rows


def a_prompt(store) -> dict:
    """The row of one prompt, without what evaluation adds."""
    return store.rows("select * exclude (status, best_image_id, current_score) from prompts order by id limit 1")[0]


def add_twin(store, prompt, **changes) -> str:
    """Add a completed prompt like another one, but for `changes`; return its id."""
    twin = fk.ids.content_id("twin", of=prompt["id"], changes=changes)
    with store.transaction() as con:
        insert_rows(con, "prompts", [{**prompt, "id": twin, "status": "completed", **changes}])
    return twin


def test_every_completed_prompt_gets_its_images_and_is_generated(completed, fake_generator):
    report = fk.generate_images(completed, images_per_prompt=3, image_generator=fake_generator)
    assert (report.done, report.failed) == (3, 0)
    assert completed.rows("select distinct status from prompts") == [{"status": "generated"}]
    paths = [row["image_path"] for row in completed.rows("select image_path from generated_images")]
    assert len(set(paths)) == 9
    assert all((completed.folder / path).exists() for path in paths)


def test_a_second_call_draws_nothing(generated, fake_generator):
    before = len(fake_generator.drawn)
    report = fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator)
    assert report.done == 0
    assert len(fake_generator.drawn) == before


def test_seeds_depend_on_the_scene_and_the_index_and_not_on_the_batch():
    seeds = [image_seed("a" * 64, 0, index) for index in range(100)]
    assert len(set(seeds)) == 100
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seeds[7] == image_seed("a" * 64, 0, 7)
    assert image_seed("b" * 64, 0, 7) != seeds[7]


def test_versions_of_a_scene_share_their_seeds(generated, fake_generator):
    first = a_prompt(generated)
    add_twin(generated, first, parent_prompt_id=first["id"], prompt_text="a new text", generation_iteration=1)
    fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator)
    seeds = generated.rows(
        "select p.scene_hash, p.id, list(i.generation_metadata ->> '$.seed' order by i.image_index) as seeds "
        "from generated_images i join prompts p on p.id = i.prompt_id group by all"
    )
    own = [row["seeds"] for row in seeds if row["scene_hash"] == first["scene_hash"]]
    others = {seed for row in seeds if row["scene_hash"] != first["scene_hash"] for seed in row["seeds"]}
    assert len(own) == 2 and own[0] == own[1]
    assert len(others) == 4 and not others & set(own[0])


def test_a_refused_prompt_is_named_and_the_others_go_on(completed, fake_generator):
    refused = completed.rows("select id from prompts order by id limit 1")[0]["id"]
    with completed.transaction() as con:
        update_rows(con, "prompts", [{"id": refused, "prompt_text": "please refuse this"}])
    report = fk.generate_images(completed, images_per_prompt=2, image_generator=fake_generator)
    assert report.failures == {refused: "refused"}
    assert report.done == 2
    log = completed.rows("select ok, error_context from api_logs where stage = 'generate'")
    assert log == [{"ok": False, "error_context": {"errors": ["refused"]}}]


def test_a_prompt_left_generating_is_taken_up_and_its_stored_images_are_kept(completed, fake_generator):
    fk.generate_images(completed, images_per_prompt=2, image_generator=fake_generator)
    kept = completed.rows("select id, created_at from generated_images order by id")
    with completed.transaction() as con:  # as if the process had died before the last status change
        con.execute("update prompts set status = 'generating'")
    fake_generator.drawn.clear()
    report = fk.generate_images(completed, images_per_prompt=2, image_generator=fake_generator)
    assert (report.done, report.details) == (3, {})  # and no image is counted as drawn
    assert not fake_generator.drawn
    assert completed.rows("select id, created_at from generated_images order by id") == kept


def test_a_picture_that_another_prompt_already_has_is_linked_and_not_drawn(generated, fake_generator):
    first = a_prompt(generated)
    twin = add_twin(generated, first, experiment="b")
    fake_generator.drawn.clear()
    report = fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator, experiment="b")
    assert report.done == 1
    assert not fake_generator.drawn
    rows = generated.rows(
        "select count(*) as n, count(distinct image_path) as paths, count(distinct generation_metadata ->> '$.draw_key') as keys"
        " from generated_images where prompt_id in ($a, $b)",
        a=first["id"],
        b=twin,
    )
    assert rows == [{"n": 4, "paths": 4, "keys": 2}]


def test_a_picture_under_other_settings_is_another_picture(generated, fake_generator):
    class OtherWeights(FakeGenerator):
        def describe(self):
            return {"repo": "another"}

    first = a_prompt(generated)
    add_twin(generated, first, experiment="b", base_parameters={**first["base_parameters"], "guidance_scale": 9.0})
    fake_generator.drawn.clear()
    fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator)
    assert [request.parameters["guidance_scale"] for request in fake_generator.drawn] == [9.0, 9.0]
    add_twin(generated, first, experiment="c")
    other = OtherWeights()
    fk.generate_images(generated, images_per_prompt=2, image_generator=other)
    assert len(other.drawn) == 2


def test_a_picture_whose_file_is_gone_is_drawn_again_for_another_prompt(generated, fake_generator):
    first = a_prompt(generated)
    for row in generated.rows("select image_path from generated_images where prompt_id = $id", id=first["id"]):
        (generated.folder / row["image_path"]).unlink()
    twin = add_twin(generated, first, experiment="b")
    fake_generator.drawn.clear()
    assert fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator).done == 1
    assert len(fake_generator.drawn) == 2
    paths = generated.rows("select image_path from generated_images where prompt_id = $id", id=twin)
    pictures = [read_image(generated.folder, row["image_path"]) for row in paths]
    assert [picture.size for picture in pictures] == [(8, 8)] * 2


def test_how_long_a_drawing_took_does_not_change_its_bytes():
    image = Image.new("RGB", (8, 8), "red")
    quick, slow, other = (
        encode_png(image, {"seed": seed, "duration_s": taken}) for seed, taken in ((1, 0.1), (1, 9.9), (2, 0.1))
    )
    assert quick == slow != other


def test_an_image_stands_under_its_name_only_when_it_is_whole(tmp_path):
    """The disk is full in the middle of the file: the system refuses to let it grow beyond 100 bytes."""
    png = bytes(100_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_image(tmp_path, "an-image", png)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.rglob("*.png"))
    path = write_image(tmp_path, "an-image", png)  # there is room again
    assert (tmp_path / path).read_bytes() == png
    assert [file.name for file in tmp_path.rglob("*.*")] == [(tmp_path / path).name]


def test_an_unknown_model_of_one_prompt_does_not_stop_the_others(completed, fake_generator):
    stray = completed.rows("select id from prompts order by id limit 1")[0]["id"]
    with completed.transaction() as con:
        update_rows(con, "prompts", [{"id": stray, "model": "flx"}])
    report = fk.generate_images(completed, images_per_prompt=1)
    assert report.done == 2
    assert "Did you mean 'flux'?" in report.failures[stray]


def test_bad_arguments_are_refused_before_anything_is_done(completed):
    with pytest.raises(ParameterError, match="images_per_prompt=0"):
        fk.generate_images(completed, images_per_prompt=0)
    with pytest.raises(UnknownModelError, match="no image_generator is called 'min'"):
        fk.generate_images(completed, image_generator="min")
    assert completed.rows("select distinct status from prompts") == [{"status": "completed"}]
