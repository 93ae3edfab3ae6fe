"""A drawing that fails is no picture: the prompt says why, keeps what it has, and comes up again."""

from __future__ import annotations

import pytest
from conftest import FakeGenerator
from PIL import Image

import forgekit as fk
from forgekit.errors import ItemError, UnknownModelError
from forgekit.models import Drawing

STATUSES = "select status, count(*) as n from prompts group by all order by all"
POISON = "triangles"  # in one of the three prompts


class Painter(FakeGenerator):
    """A fake generator whose `draw` is whatever `answer` makes of requests and drawings."""

    answer = staticmethod(lambda requests, drawings: drawings)

    def draw(self, requests):
        return self.answer(requests, super().draw(requests))


def painter(answer) -> Painter:
    generator = Painter()
    generator.answer = answer
    return generator


def poisoned(requests) -> bool:
    return any(POISON in request.prompt for request in requests)


def raising(error):
    def answer(requests, drawings):
        if poisoned(requests):
            raise error
        return drawings

    return answer


def wrong_where_poisoned(wrong):
    return lambda requests, drawings: wrong(drawings) if poisoned(requests) else drawings


def each(image):
    """The poisoned drawings replaced by what `image` returns."""
    return lambda requests, drawings: [
        image(drawing) if POISON in request.prompt else drawing
        for request, drawing in zip(requests, drawings, strict=True)
    ]


WRONG = {
    "any error": raising(ZeroDivisionError("by zero")),
    "too few": wrong_where_poisoned(lambda drawings: drawings[1:]),
    "too many": wrong_where_poisoned(lambda drawings: [*drawings, drawings[0]]),
    "nothing": wrong_where_poisoned(lambda _: None),
    "a dict": wrong_where_poisoned(lambda drawings: dict(enumerate(drawings))),
    "a generator": wrong_where_poisoned(lambda drawings: (d for d in drawings)),
    "no drawing": each(lambda d: d.image),
    "an array": each(lambda d: Drawing([[0.0]], d.metadata)),
    "no size": each(lambda d: Drawing(Image.new("RGB", (0, 8)), d.metadata)),
    "nan pixels": each(lambda d: Drawing(Image.new("F", (8, 8), float("nan")), d.metadata)),
    "nan in metadata": each(lambda d: Drawing(d.image, {**d.metadata, "scale": float("nan")})),
    "a mode that PNG lacks": each(lambda d: Drawing(d.image.convert("CMYK"), d.metadata)),
    "an item error": each(lambda _: ItemError("refused")),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
def test_whatever_a_generator_does_costs_only_the_prompt_it_was_asked_about_and_the_next_run_finishes(
    completed, answer
):
    bad = completed.rows(f"select id from prompts where prompt_text like '%{POISON}%'")[0]["id"]
    report = fk.generate_images(completed, images_per_prompt=2, image_generator=painter(answer))
    assert (report.done, list(report.failures)) == (2, [bad])
    assert report.failures[bad]
    assert completed.rows(STATUSES) == [{"status": "generating", "n": 1}, {"status": "generated", "n": 2}]
    assert completed.rows("select count(*) as n from generated_images") == [{"n": 4}]
    assert completed.rows("select count(*) as n from claims") == [{"n": 0}]
    again = FakeGenerator()
    assert fk.generate_images(completed, images_per_prompt=2, image_generator=again).done == 1
    assert len(again.drawn) == 2
    assert fk.check(completed).findings == []


def test_a_drawing_that_is_no_picture_says_what_it_is(completed):
    for wrong, reason in {"nan pixels": "pixels that are no numbers", "no size": "an image of 0×8 pixels"}.items():
        report = fk.generate_images(completed, images_per_prompt=1, image_generator=painter(WRONG[wrong]))
        assert [reason in told for told in report.failures.values()] == [True]


def test_a_prompt_is_generated_only_when_it_has_all_its_images_and_the_drawn_ones_are_kept(completed):
    refuse = []
    answer = lambda requests, drawings: [  # noqa: E731
        ItemError("not this seed") if request.seed in refuse else drawing
        for request, drawing in zip(requests, drawings, strict=True)
    ]
    generator = painter(answer)
    from forgekit.stages.wanted import image_seed

    scene = completed.rows("select id, scene_hash from prompts order by id limit 1")[0]
    refuse.append(image_seed(scene["scene_hash"], 0, 2))
    report = fk.generate_images(completed, images_per_prompt=4, image_generator=generator, images_per_batch=4)
    assert (report.done, report.failures) == (2, {scene["id"]: "not this seed"})
    assert completed.rows(STATUSES) == [{"status": "generating", "n": 1}, {"status": "generated", "n": 2}]
    assert len(generator.drawn) == 12  # once in a call
    refuse.clear()
    generator.drawn.clear()
    assert fk.generate_images(completed, images_per_prompt=4, image_generator=generator).done == 1
    assert [request.seed for request in generator.drawn] == [image_seed(scene["scene_hash"], 0, 2)]
    places = "select list(image_index order by image_index) as i from generated_images group by prompt_id"
    assert completed.rows(places) == [{"i": [0, 1, 2, 3]}] * 3


def test_a_model_without_weights_is_asked_once_per_batch_and_its_prompts_stay(completed):
    calls = []

    def answer(requests, drawings):
        calls.append(len(requests))
        raise UnknownModelError("no weights could be loaded")

    report = fk.generate_images(completed, images_per_prompt=2, image_generator=painter(answer))
    assert set(report.failures.values()) == {"no weights could be loaded"}
    assert calls == [6]


def test_an_unexpected_error_of_a_generator_leaves_its_traceback_in_the_log(completed):
    fk.generate_images(completed, image_generator=painter(raising(ZeroDivisionError("by zero"))))
    failed = completed.rows("select error_context as c from api_logs where stage = 'generate' and not ok")
    assert len(failed) == 2  # all together, then the poisoned prompt alone
    assert all("ZeroDivisionError" in row["c"]["traceback"] for row in failed)


def test_a_model_that_cannot_even_describe_itself_fails_its_prompts_and_not_the_stage(completed):
    class Mute(FakeGenerator):
        def describe(self):
            raise AttributeError("nothing to say")

    report = fk.generate_images(completed, image_generator=Mute())
    assert set(report.failures.values()) == {"AttributeError: nothing to say"}
    assert (
        completed.rows("select count(*) as n from api_logs where error_context ->> '$.traceback' is not null")[0]["n"]
        == 3
    )


def test_the_log_row_of_a_call_is_written_when_the_stage_is_interrupted(completed):
    with pytest.raises(KeyboardInterrupt):
        fk.generate_images(completed, image_generator=painter(raising(KeyboardInterrupt())))
    assert completed.rows("select count(*) as n from api_logs where stage = 'generate'") == [{"n": 1}]


def test_a_late_generator_stores_and_moves_only_what_it_still_holds(completed):
    ids = [row["id"] for row in completed.rows("select id from prompts order by id")]

    def answer(_, drawings):
        with completed.transaction() as con:  # another worker has drawn it, and an evaluator has it in hand
            con.execute("delete from claims where prompt_id = $id", {"id": ids[0]})
            con.execute("update prompts set status = 'evaluating' where id = $id", {"id": ids[0]})
        return drawings

    report = fk.generate_images(completed, images_per_prompt=2, image_generator=painter(answer))
    assert (report.done, report.failures) == (2, {})
    assert completed.rows("select status from prompts where id = $id", id=ids[0]) == [{"status": "evaluating"}]
    assert completed.rows("select count(*) as n from generated_images where prompt_id = $id", id=ids[0]) == [{"n": 0}]
