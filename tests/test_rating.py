"""Rating by people: what is asked and in which order, what the page gets, what is kept, and what comes of it."""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import SCENES, FakeGenerator, FakeJudge, copied
from scipy.stats import binom, binomtest

import forgekit as fk
from forgekit import judge_tests as judging
from forgekit.errors import ParameterError
from forgekit.judge_tests.rating_plan import Item, draw
from forgekit.judge_tests.ratings import keep_rating
from forgekit.models import Judgement
from forgekit.scene import list_elements
from forgekit.show.rating import build, calibrated, pixels
from forgekit.store import Store, open_store

RATED = "select rating, reason, rater, replaces from human_ratings order by created_at"
CHOICES = [(f"scene {i % 40}", (f"a{i:04}", f"b{i:04}")) for i in range(400)]


@dataclass
class Bright:
    """Says of every element how green the picture is."""

    name: str = "test_rating:Bright"
    adhering_at: float = 0.5
    judge_key: str = "bright"

    def judge(self, images, scenes):
        green = [image.getpixel((0, 0))[1] / 255 for image in images]
        return [
            Judgement({e.key: share for e in list_elements(scene.elements)}, share, "")
            for share, scene in zip(green, scenes, strict=True)
        ]


def arm(store: Store, name: str, guidance: float, texts: list[str] = SCENES) -> None:
    model = FakeGenerator().name
    table, settings = pd.DataFrame({"text": texts}), {"guidance_scale": guidance}
    fk.import_prompts(store, table, model=model, experiment=name, parameters=settings)
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator())


@pytest.fixture(scope="module")
def two_arms_once(tmp_path_factory) -> Path:
    """Three scenes in two arms, two images each; another guidance paints another colour."""
    store = fk.open_store(tmp_path_factory.mktemp("arms") / "forge.duckdb")
    arm(store, "study/refine", 2.0)
    arm(store, "study/resample", 5.0)
    fk.evaluate_images(store, vision_models=[Bright()])
    return store.folder


@pytest.fixture
def two_arms(two_arms_once: Path, tmp_path: Path) -> Store:
    return copied(two_arms_once, tmp_path)


def said_by(store: Store, rater: str, kind: str, say, **about) -> None:
    """Answer everything; `say` takes an item and gives a rating."""
    rating = fk.rate(store, rater=rater, kind=kind, **about)
    while rating.item:
        rating.answer(say(rating.item))


def chunks(png: bytes) -> set[bytes]:
    found, place = set(), 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        found.add(png[place + 4 : place + 8])
        place += length + 12
    return found


# --- what is asked ---


def test_which_arm_is_on_the_left_and_who_comes_first_is_a_matter_of_lots() -> None:
    drawn = draw(CHOICES, 400, seed=0, rater="ann")
    left = sum(images[0].startswith("a") for images in drawn)
    assert 160 < left < 240  # of 400; four standard deviations of a fair coin
    images = draw([(scene, (image,)) for scene, pair in CHOICES for image in pair], 800, seed=0, rater="ann")
    early = sum(image.startswith("a") for (image,) in images[:400])
    assert 160 < early < 240


def test_no_scene_has_a_second_before_every_scene_has_one() -> None:
    known = [*CHOICES[:3], *(("scene 0", (f"c{i}",)) for i in range(50))]
    assert {images[0][1:] for images in draw(known, 3, seed=0, rater="ann")} >= {"0001", "0002"}
    drawn = {frozenset(images) for images in draw(CHOICES, 60, seed=0, rater="ann")}
    times = Counter(scene for scene, images in CHOICES if frozenset(images) in drawn)
    assert set(times.values()) == {1, 2}
    assert len(times) == 40


def test_the_same_seed_asks_the_same_and_raters_get_the_same_in_orders_of_their_own() -> None:
    ann, again = (draw(CHOICES, 20, seed=0, rater="ann") for _ in range(2))
    bob = draw(CHOICES, 20, seed=0, rater="bob")
    assert ann == again
    assert {frozenset(pair) for pair in ann} == {frozenset(pair) for pair in bob}
    assert [frozenset(pair) for pair in ann] != [frozenset(pair) for pair in bob]
    assert draw(CHOICES, 20, seed=1, rater="ann") != ann
    assert draw(CHOICES[::-1], 20, seed=0, rater="ann") == ann


def test_with_half_an_overlap_at_least_half_is_asked_of_everybody_and_the_rest_is_mostly_of_one() -> None:
    ann, bob = ({*map(frozenset, draw(CHOICES, 20, seed=0, rater=name, overlap=0.5))} for name in ("ann", "bob"))
    assert len(ann) == len(bob) == 20
    assert 10 <= len(ann & bob) <= 14


def test_a_pair_is_of_one_scene_and_seed_from_both_arms(two_arms: Store) -> None:
    about = {
        row["id"]: (row["scene_hash"], row["seed"], row["experiment"])
        for row in two_arms.rows(
            "select i.id, p.scene_hash, p.experiment, generation_metadata ->> '$.seed' as seed "
            "from generated_images i join prompts p on p.id = i.prompt_id"
        )
    }
    assert len(judging.rating_plan(two_arms, rater="ann", kind="pair")) == 6
    first = min(about, key=lambda image: (about[image][0], about[image][1], about[image][2]))
    for sql in ("image_evaluations where image_id", "generated_images where id"):
        with two_arms.transaction() as con:  # now the first image of that scene has another seed in each arm
            con.execute(f"delete from {sql} = $id", {"id": first})
    pairs = judging.rating_plan(two_arms, rater="ann", kind="pair")
    assert len(pairs) == 5
    for pair in pairs:
        (scene, seed, one), (other_scene, other_seed, two) = (about[image] for image in pair.images)
        assert (scene, seed) == (other_scene, other_seed)
        assert {one, two} == {"study/refine", "study/resample"}


def test_pictures_that_are_equal_are_no_pair(store: Store) -> None:
    arm(store, "one", 2.0)
    arm(store, "two", 2.0)
    fk.evaluate_images(store, vision_models=[FakeJudge()])
    with pytest.raises(
        ParameterError, match="nothing to rate in one, two: no scene has different images, judged, of two"
    ):
        fk.rate(store, rater="ann", kind="pair")


def test_of_a_single_arm_first_drawings_stand_against_what_its_scenes_came_to(store: Store) -> None:
    arm(store, "main", 2.0)
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.3)])
    fk.refine_prompts(store)
    fk.generate_images(store, images_per_prompt=2, image_generator=FakeGenerator())
    fk.evaluate_images(store, vision_models=[FakeJudge(score=0.9)])
    pairs = judging.rating_plan(store, rater="ann", kind="pair")
    versions = {row["id"]: row["generation_iteration"] for row in store.rows(
        "select i.id, generation_iteration from generated_images i join prompts p on p.id = i.prompt_id"
    )}  # fmt: skip
    assert pairs
    assert {tuple(sorted(versions[image] for image in pair.images)) for pair in pairs} == {(0, 1)}


def test_elements_of_an_image_come_together_and_yes_is_no_merit_where_the_scene_rules_a_thing_out(store: Store) -> None:
    arm(store, "main", 2.0, ["a red circle, no stars", "a blue ring"])
    items = judging.rating_plan(store, rater="ann", kind="element")
    images = [item.images for item in items]
    assert sorted(images) != images
    assert len([1 for one, two in pairwise(images) if one != two]) == 3  # four images in a row
    asked = {item.question: {answer.label: answer.rating for answer in item.answers} for item in items}
    assert asked["Is the circle red?"] == {"yes": 1, "no": 0}
    assert asked["Is there a star?"] == {"yes": 0, "no": 1}


def test_what_cannot_be_rated_is_refused_with_what_would_work(two_arms: Store, tmp_path) -> None:
    for about, told in (
        ({"kind": "stars"}, "give one of image, element, pair"),
        ({"rater": " "}, "give a name"),
        ({"arms": ["study/refin"]}, "Did you mean 'study/refine'"),
        ({"arms": "study/refine"}, "give a list"),
        ({"n": 0}, "it must be 1 or more"),
        ({"overlap": 2}, "must lie in"),
    ):
        with pytest.raises(ParameterError, match=told):
            fk.rate(two_arms, **{"rater": "ann", **about})
    with pytest.raises(ParameterError, match="there are no images"):
        fk.rate(open_store(tmp_path / "new.duckdb"), rater="ann")


# --- what the page gets ---


def test_the_page_gets_pixels_the_text_and_buttons_and_nothing_that_tells_whose_picture_it_is(two_arms: Store) -> None:
    from ipywidgets import Widget

    secret = [value for sql in (
        "select experiment, prompt_id, i.id, image_path, generation_metadata ->> '$.seed' from generated_images i "
        "join prompts p on p.id = i.prompt_id",
        "select vision_model, judge_key, round(soft_tifa_gm, 4) from image_evaluations where soft_tifa_gm < 1",
    ) for row in two_arms.rows(sql) for value in map(str, row.values())]  # fmt: skip
    for kind in ("image", "element", "pair"):
        before = set(Widget._active_widgets if hasattr(Widget, "_active_widgets") else Widget.widgets)
        rating = fk.rate(two_arms, rater="ann", kind=kind, interactive=True)
        box = build(rating)
        every = Widget._active_widgets if hasattr(Widget, "_active_widgets") else Widget.widgets
        states = [widget.get_state() for name, widget in every.items() if name not in before]
        pictures = [state["value"] for state in states if state["_model_name"] == "ImageModel"]
        assert len(pictures) == (2 if kind == "pair" else 1)
        for png in pictures:
            assert chunks(png) == {b"IHDR", b"IDAT", b"IEND"}
            assert struct.unpack(">II", png[16:24]) == (448, 448)
        told = json.dumps(states, default=lambda value: base64.b64encode(value).decode())
        told += json.dumps(box._repr_mimebundle_(), default=str) + repr(rating)
        assert [value for value in secret if value in told] == []


def test_a_picture_that_cannot_be_read_is_grey_and_its_file_is_not_named(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", interactive=True)
    file = two_arms.folder / rating.item.paths[0]
    file.unlink()
    box = build(rating)
    assert chunks(pixels(two_arms, rating.items[0].paths[0])) == {b"IHDR", b"IDAT", b"IEND"}
    assert file.stem not in "".join(child.value for child in box.children if hasattr(child, "value"))


def test_without_a_browser_it_says_in_a_line_what_is_left_and_waits_for_nothing(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", n=5)
    rating.answer(3)
    assert rating._repr_mimebundle_() == {
        "text/plain": "Rating by 'ann', image by image, of 3 scenes: 1 done, 4 left; run this cell in JupyterLab to go on"
    }


# --- what is kept ---


def test_it_goes_on_where_the_rater_left_off_and_another_rater_begins_at_the_beginning(two_arms: Store) -> None:
    first = fk.rate(two_arms, rater="ann", n=6)
    second = first.items[1]
    first.answer(4)
    again = fk.rate(open_store(two_arms.path), rater="ann", n=6)
    assert again.item == second
    assert len(again.left) == 5
    assert len(fk.rate(two_arms, rater="bob", n=6).left) == 6


def test_a_corrected_rating_counts_and_what_it_corrects_is_kept(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", n=6)
    for points in (5, 5, 1):
        rating.answer(points)
        rating.back()
    rows = two_arms.rows(RATED)
    assert [row["rating"] for row in rows] == [5, 1]  # saying the same again adds nothing
    assert [row["replaces"] is None for row in rows] == [True, False]
    assert two_arms.rows("select rating from image_ratings") == [{"rating": 0}]
    assert "You said: 1." in rating.html()


def test_what_is_skipped_has_a_reason_counts_for_nothing_and_is_not_asked_again(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", n=2)
    skipped = rating.item
    rating.answer(None, "I cannot tell")
    assert two_arms.rows(RATED) == [{"rating": None, "reason": "I cannot tell", "rater": "ann", "replaces": None}]
    assert two_arms.df("from people_say").empty
    assert fk.rate(two_arms, rater="ann", n=2).item != skipped
    rating.back()
    rating.answer(2)
    assert two_arms.rows("select rating from image_ratings") == [{"rating": 0.25}]


def test_a_click_on_a_button_that_is_gone_is_no_answer_and_keys_are_one_at_a_time(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", n=4, interactive=True)
    box = build(rating)
    head, answers, controls = box.children[:3]
    gone, skip, keys = answers.children[4], controls.children[2], controls.children[1]
    gone.click()
    gone.click()
    skip.click()
    keys.value = "45"
    keys.value = "9"
    assert [row["rating"] for row in two_arms.rows(RATED)] == [5]
    keys.value = "2"
    assert keys.value == ""
    assert [row["rating"] for row in two_arms.rows(RATED)] == [5, 2]
    assert "2 of 4" in head.value


def test_a_busy_store_is_a_message_and_an_answer_that_is_given_again_counts_once(two_arms: Store) -> None:
    impatient = open_store(two_arms.path, timeout_s=0.2)
    rating = fk.rate(impatient, rater="ann", n=1, interactive=True)
    box = build(rating)
    with two_arms.transaction():
        box.children[1].children[0].click()
    assert "has been held by" in box.children[3].value
    assert "0 of 1" in box.children[0].value
    box.children[1].children[0].click()
    assert box.children[3].value == ""
    assert len(two_arms.rows(RATED)) == 1


# --- what comes of it ---


def test_alpha_is_that_of_the_worked_example_of_krippendorff() -> None:
    # Krippendorff 2011, B: two observers, ten units, two values: alpha = 0.095.
    said = ["0100000010", "1110010000"]
    table = pd.DataFrame([(i, i, float(value)) for row in said for i, value in enumerate(row)])
    n, scenes, alpha, low, high = judging.krippendorff_alpha(table.set_axis(["scene", "thing", "rating"], axis=1))
    assert (n, scenes, round(alpha, 3)) == (10, 10, 0.095)
    assert low < alpha < high


def test_things_that_one_rater_has_seen_do_not_count_and_full_agreement_is_one() -> None:
    table = pd.DataFrame({"scene": [1, 1, 2, 2, 3], "thing": [1, 1, 2, 2, 3], "rating": [0, 0, 1, 1, 0.5]})
    assert judging.krippendorff_alpha(table)[:3] == (2, 2, 1.0)
    assert pd.isna(judging.krippendorff_alpha(table[:2])[2])  # nobody knows what chance would have done


def green(store: Store) -> dict[str, float]:
    return {
        row["image_id"]: row["soft_tifa_gm"] for row in store.rows("select image_id, soft_tifa_gm from image_scores")
    }


def test_a_judge_whose_order_people_share_in_two_pairs_of_three_has_two_thirds(two_arms: Store) -> None:
    score, seen = green(two_arms), []

    def like_the_judge_but_once(item: Item) -> float:
        seen.append(item)
        left = score[item.images[0]] > score[item.images[1]]
        return float(left) if len(seen) > 1 else float(not left)

    said_by(two_arms, "ann", "pair", like_the_judge_but_once, n=3)
    said_by(two_arms, "bob", "pair", lambda item: 0.5, n=3)  # no difference: it stands with the other's
    found = judging.people(two_arms).set_index("measure")
    assert found.loc["same order", ["kind", "who", "n", "scenes"]].tolist() == ["pair", Bright.name, 3, 3]
    assert found.loc["same order", "value"] == pytest.approx(2 / 3)
    assert found.loc["alpha", ["who", "n"]].tolist() == ["2 raters", 3]


def test_an_arm_wins_the_scenes_in_which_people_prefer_it_more_often_whatever_the_side(two_arms: Store) -> None:
    arms = {row["id"]: row["experiment"] for row in two_arms.rows(
        "select i.id, experiment from generated_images i join prompts p on p.id = i.prompt_id"
    )}  # fmt: skip

    def prefers_refine(item: Item) -> float:
        return float(arms[item.images[0]] == "study/refine")

    said_by(two_arms, "ann", "pair", prefers_refine)
    said_by(two_arms, "bob", "pair", lambda item: 0.5 if item.scene_text == SCENES[0] else prefers_refine(item))
    said_by(two_arms, "eve", "pair", lambda item: 1 - prefers_refine(item))
    found = judging.win_rates(two_arms).iloc[0]
    # Of the first scene ann and eve say the opposite and bob sees no difference; of the others refine has two of three.
    assert found[["arm", "against"]].tolist() == ["study/refine", "study/resample"]
    assert found[["answers", "pairs", "scenes", "wins", "ties"]].tolist() == [18, 6, 3, 2, 1]
    assert (found["win_rate"], found["p"]) == (1, 0.5)  # two heads in a row, on either side
    assert found["low"] == pytest.approx(0.025**0.5)  # Clopper-Pearson of 2 of 2


def test_of_elements_it_is_told_whether_a_judge_passes_what_people_see(two_arms: Store) -> None:
    score = green(two_arms)
    said_by(two_arms, "ann", "element", lambda item: float(score[item.images[0]] >= 0.5), n=12)
    found = judging.people(two_arms).set_index("measure")
    assert found.loc["same answer", "value"] == 1
    assert found.loc["same answer", "high"] == 1
    assert found.loc["same answer", "low"] == pytest.approx(0.025 ** (1 / 3))  # three scenes are three tries, not more
    # Evenly split: nothing decided.
    said_by(two_arms, "bob", "element", lambda item: float(score[item.images[0]] < 0.5), n=12)
    assert "same answer" not in set(judging.people(two_arms)["measure"])


def test_an_image_whose_elements_were_not_all_asked_about_calibrates_only_where_one_is_missing(
    two_arms: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_image: dict[str, list[Item]] = {}
    for item in judging.rating_plan(two_arms, rater="ann", kind="element"):
        by_image.setdefault(item.images[0], []).append(item)
    whole, broken, seen, *_ = (items for items in by_image.values() if len(items) > 1)
    for item in whole:
        keep_rating(two_arms, item, rater="ann", rating=1)
    keep_rating(two_arms, broken[0], rater="ann", rating=0)
    keep_rating(two_arms, seen[0], rater="ann", rating=1)  # its other elements may be missing, for all that is known
    rated = {row["image_id"]: row["rating"] for row in two_arms.rows(
        "from rated_scores_of($judge, 'bright')", judge=Bright.name
    )}  # fmt: skip
    assert rated == {whole[0].images[0]: 1, broken[0].images[0]: 0}


def test_one_click_calibrates_every_judge_and_says_what_it_made(two_arms: Store) -> None:
    assert Bright.name not in calibrated(two_arms)
    score = green(two_arms)
    for rater in ("ann", "bob"):
        said_by(two_arms, rater, "image", lambda item: 5 if score[item.images[0]] > 0.5 else 1)
    told = calibrated(two_arms)
    assert f">{Bright.name}<" in told
    assert two_arms.rows("select vision_model, truth, images from judge_calibrations") == [
        {"vision_model": Bright.name, "truth": "human ratings", "images": 12}
    ]


def test_what_the_page_shows_at_the_end_has_the_judges_and_the_button(two_arms: Store) -> None:
    rating = fk.rate(two_arms, rater="ann", n=2, interactive=True)
    box = build(rating)
    assert box.children[5].children == ()
    while rating.item:
        box.children[1].children[0].click()
    shown = box.children[5].children
    assert shown[1].description == "Calibrate the judges by these ratings"
    assert "all done" in box.children[0].value
    shown[1].click()
    assert Bright.name in shown[2].value


def power(share: float, scenes: int) -> float:
    """The chance that the exact sign test over so many scenes has p < 0.05 where the win rate is `share`."""
    wins = np.arange(scenes + 1)
    p = 2 * binom.cdf(np.minimum(wins, scenes - wins), scenes, 0.5)  # both tails are alike
    assert p[scenes // 3] == pytest.approx(binomtest(scenes // 3, scenes).pvalue)
    return binom.pmf(wins, scenes, share)[p < 0.05].sum()


@pytest.mark.parametrize(("share", "scenes"), [(0.6, 210), (0.7, 54), (0.75, 35)])
def test_a_claim_takes_as_many_scenes_as_the_page_about_judges_says(share: float, scenes: int) -> None:
    assert min(power(share, n) for n in range(scenes, scenes + 10)) >= 0.8 > power(share, scenes - 1)


def test_two_raters_of_246_things_know_their_alpha_to_a_tenth() -> None:
    rng, widths = np.random.default_rng(0), []
    for _ in range(10):
        truth = rng.random(246) < 0.5
        # Each says what is so with a chance of 0.6 ** 0.5, else flips a coin: alpha is 0.6.
        told = [np.where(rng.random(246) < 0.6**0.5, truth, rng.random(246) < 0.5) for _ in range(2)]
        things = np.tile(np.arange(246), 2)
        table = pd.DataFrame({"scene": things, "thing": things, "rating": np.concatenate(told).astype(float)})
        _, _, _, low, high = judging.krippendorff_alpha(table)
        widths.append((high - low) / 2)
    assert np.mean(widths) == pytest.approx(0.1, abs=0.004)


def test_fifteen_adhering_images_are_the_fewest_that_make_a_pass_mark() -> None:
    scores = np.linspace(0.6, 0.9, 15)
    assert judging.threshold_for(scores, [True] * 15, 0.9).threshold == pytest.approx(0.6)
    assert judging.threshold_for(scores[1:], [True] * 14, 0.9).threshold is None
    of_32 = np.linspace(0.6, 0.9, 32)
    assert judging.threshold_for(of_32, [True] * 5 + [False] + [True] * 26, 0.9).threshold == pytest.approx(0.6)
