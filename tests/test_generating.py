"""generate_images: what is due, seeds, nothing drawn twice, failures."""

from __future__ import annotations

import pytest

import forgekit as fk
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.rows import insert_rows, update_rows
from forgekit.stages.generating import image_seed


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
    assert report.done == 3
    assert not fake_generator.drawn
    assert completed.rows("select id, created_at from generated_images order by id") == kept


def test_a_picture_that_another_prompt_already_has_is_linked_and_not_drawn(generated, fake_generator):
    twin = generated.rows("select * exclude (status, best_image_id, current_score) from prompts order by id limit 1")[0]
    with generated.transaction() as con:
        insert_rows(
            con, "prompts", [{**twin, "id": fk.ids.content_id("twin"), "experiment": "b", "status": "completed"}]
        )
    fake_generator.drawn.clear()
    report = fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator, experiment="b")
    assert report.done == 1
    assert not fake_generator.drawn
    rows = generated.rows(
        "select count(*) as n, count(distinct image_path) as paths, count(distinct generation_metadata ->> '$.draw_key') as keys"
        " from generated_images where prompt_id in ($a, $b)",
        a=twin["id"],
        b=fk.ids.content_id("twin"),
    )
    assert rows == [{"n": 4, "paths": 4, "keys": 2}]


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
