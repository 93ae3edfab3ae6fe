"""A study end to end on models whose behaviour is known: who wins, and by how much."""

from __future__ import annotations

import json
from dataclasses import replace
from shutil import copy

import pandas as pd
import pytest
import study_models

import forgekit as fk
from forgekit.errors import ParameterError
from forgekit.refiner.actions import ACTIONS
from forgekit.study import Comparison, Study, load_plan, read_scenes, run_study
from forgekit.study.report import verdicts, write_report
from forgekit.study.results import results

WATCHING = "study_models:Watching"
COLORS = ("scarlet", "cobalt")  # words the generator draws wrong; "red", "blue", … it knows
SHAPES = ("circle", "square")
SCENES = [f"a {color} {shape}" for shape in SHAPES for color in COLORS]
PLAN = Study(
    "words",
    arms=("resample", "paraphrase", "refine-without-memory", "refine"),
    model="study_models:Generator",
    vision_models=("study_models:Steering", "study_models:Watching"),
    images_per_prompt=2,
    images_per_scene=6,
    scenes_per_block=4,
    without_actions=tuple(name for name in ACTIONS if name != "use_plain_word"),  # the one that helps here
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A store in which the study has run, and what it shows."""
    store = fk.open_store(tmp_path_factory.mktemp("study") / "forge.duckdb")
    run_study(store, pd.DataFrame({"text": SCENES, "category": ["one object"] * len(SCENES)}), PLAN)
    return store, results(store, PLAN)


def difference(result, arm, against, judge, part="all"):
    [row] = [
        row
        for row in result["differences"]
        if (row["arm"], row["against"], row["vision_model"], row["scenes"]) == (arm, against, judge, part)
    ]
    return row


def test_every_arm_is_confirmed_on_every_scene_within_its_budget(finished):
    _, result = finished
    for arm in result["arms"]:
        assert arm["scenes"] == len(SCENES)
        assert arm["images"] <= PLAN.images_per_scene * len(SCENES)
        assert arm["confirming_images"] == PLAN.images_per_prompt * len(SCENES)


def test_resampling_cannot_help_where_the_word_is_the_trouble_and_refining_can(finished):
    _, result = finished
    for judge in PLAN.vision_models:
        against_resample = difference(result, "refine", "resample", judge)
        assert against_resample["low"] > 0
        assert against_resample["n"] == len(SCENES)
    means = {arm["arm"]: arm["means"] for arm in result["arms"]}
    assert means["resample"][PLAN.vision_models[0]] == pytest.approx((0.05 * 0.95) ** 0.5)  # colour wrong, shape right


def test_the_pairs_are_all_arms_by_all_judges_on_all_and_on_the_second_half(finished):
    _, result = finished
    assert len(result["differences"]) == 6 * 2 * 2
    assert {row["n"] for row in result["differences"] if row["scenes"] == "second half"} == {len(SCENES) // 2}


def test_the_noise_floor_of_a_generator_without_noise_is_nought(finished):
    _, result = finished
    for floor in result["noise_floor"].values():
        assert (floor["mean"], floor["low"], floor["high"]) == pytest.approx((0, 0, 0))


def test_the_transfer_ratio_is_what_the_held_out_judge_keeps_of_the_gain(finished):
    _, result = finished
    [row] = [row for row in result["transfer"] if row["against"] == "resample"]
    steering = difference(result, "refine", "resample", PLAN.vision_models[0])["mean"]
    watching = difference(result, "refine", "resample", PLAN.vision_models[1])["mean"]
    assert row["ratio"] == pytest.approx(watching / steering)
    heldout = difference(result, "refine", "resample", PLAN.vision_models[1])
    assert (row["warning"] is None) == (heldout["low"] > 0)


def test_no_prompt_of_the_study_lost_an_element(finished):
    assert finished[1]["unfaithful_prompts"] == 0


def test_the_same_picture_is_drawn_once_for_all_arms(finished):
    cost = finished[1]["cost"]
    assert cost["drawn"] < cost["images"] - 3 * PLAN.images_per_prompt * len(SCENES) + 1  # first versions at the least


def test_running_a_finished_study_again_changes_nothing(finished):
    store, result = finished
    run_study(store, pd.DataFrame({"text": SCENES, "category": ["one object"] * len(SCENES)}), PLAN)
    assert results(store, PLAN) == result


def test_the_report_has_tables_plots_and_numbers_and_says_what_is_not_shown(finished, tmp_path):
    store, result = finished
    report = write_report(store, PLAN, result, tmp_path)
    assert {path.name for path in report.folder.iterdir()} == {
        "README.md",
        "result.json",
        "best_image.png",
        "blocks.png",
        "kinds.png",
    }
    assert json.loads((report.folder / "result.json").read_text()) == json.loads(json.dumps(result))
    readme = (report.folder / "README.md").read_text()
    assert all(verdict in readme for verdict in verdicts(result))
    assert [verdict.split(":")[0] for verdict in verdicts(result)][:2] == ["NOT shown"] * 2  # four scenes: p is 0.125
    assert "n = 4 scenes" not in readme  # the figures say it
    assert readme.count("exploratory") > 22  # 22 of the 24 differences, and the sections


def claims(result, **changes):
    """What the report says of the primary comparisons where their rows have other figures."""
    rows = [{**row, **changes} if row["role"] == "primary" else row for row in result["differences"]]
    return [verdict.split(":")[0] for verdict in verdicts({**result, "differences": rows})[:2]]


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"low": 0.01, "p_holm": 0.04}, "shown"),
        ({"low": 0.01, "p_holm": 0.05}, "NOT shown"),
        ({"low": 0.01, "p_holm": 0.27}, "NOT shown"),  # an interval alone is no proof
        ({"low": 0.0, "p_holm": 0.001}, "NOT shown"),
        ({"low": -0.01, "p_holm": 0.001}, "NOT shown"),
        ({"low": None, "p_holm": 0.001}, "NOT shown"),
    ],
)
def test_shown_takes_an_interval_above_0_and_a_small_p_after_correction(finished, figures, said):
    assert claims(finished[1], **figures) == [said] * 2


def test_without_a_word_in_the_plan_the_claims_are_the_last_arm_against_each_control(finished):
    primary = [row for row in finished[1]["differences"] if row["role"] == "primary"]
    named = [(row["arm"], row["against"], row["vision_model"], row["scenes"]) for row in primary]
    assert named == [("refine", control, WATCHING, "all") for control in ("resample", "paraphrase")]
    assert [list(each.values()) for each in finished[1]["study"]["primary"]] == [list(each) for each in named]
    for row in finished[1]["differences"][2:]:
        assert (row["role"], row["p_holm"], row["shown"]) == ("exploratory", None, None)


def test_the_p_values_of_the_claims_are_corrected_for_each_other(finished):
    store, result = finished
    assert [row["p"] for row in result["differences"][:2]] == [0.125, 1.0]  # paraphrases find the plain word too
    assert [row["p_holm"] for row in result["differences"][:2]] == [0.25, 1.0]
    alone = results(store, replace(PLAN, primary=[{"arm": "refine", "against": "resample"}]))["differences"]
    assert [row["role"] for row in alone].count("primary") == 1
    assert alone[0]["p_holm"] == alone[0]["p"]


def test_a_claim_may_be_named_the_other_way_round_and_on_the_second_half(finished):
    store, result = finished
    claim = {"arm": "resample", "against": "refine", "vision_model": WATCHING, "scenes": "second half"}
    found = results(store, replace(PLAN, primary=[claim]))["differences"]
    assert found[0]["mean"] == pytest.approx(-difference(result, "refine", "resample", WATCHING, "second half")["mean"])
    assert not found[0]["shown"]
    assert len(found) == len(result["differences"])  # in the place of the pair the usual way round


def test_only_verdicts_under_the_current_key_of_a_judge_count(finished, tmp_path):
    store, result = finished
    copied = fk.open_store(copy(store.path, tmp_path / "forge.duckdb"))
    with copied.transaction() as con:  # verdicts of the held-out judge under an older key, all of them worse
        con.execute(
            """
            insert into image_evaluations by name
            select * replace (
                md5('old' || id)::uuid as id, 'old key' as judge_key, 0.02 as soft_tifa_gm,
                created_at - interval 1 hour as created_at
            )
            from image_evaluations
            where vision_model = $judge
            """,
            {"judge": WATCHING},
        )
    assert results(copied, PLAN) == result


def test_a_scene_that_an_arm_has_not_finished_is_left_out_and_counted(finished, tmp_path):
    store, _ = finished
    copied = fk.open_store(copy(store.path, tmp_path / "forge.duckdb"))
    with copied.transaction() as con:  # one of two confirming images of `refine` was never judged by who watches
        con.execute(
            """
            delete from image_evaluations
            where vision_model = $judge and image_id = (
                select min(i.id)
                from generated_images i
                join prompt_learnings l on cast(l.actions ->> '$.child_prompt_id' as uuid) = i.prompt_id
                join prompts p on p.id = i.prompt_id
                where l.actions ->> '$.decision' = 'confirm' and p.experiment = 'words/refine'
            )
            """,
            {"judge": WATCHING},
        )
    result = results(copied, PLAN)
    row = difference(result, "refine", "resample", WATCHING)
    assert (row["n"], row["left_out"]) == (3, 1)
    assert difference(result, "refine", "resample", PLAN.vision_models[0])["left_out"] == 0
    assert "n = 3 (1 left out, unfinished)" in verdicts(result)[0]
    assert [arm["finished"] for arm in result["arms"]] == [4, 4, 4, 3]


def test_where_the_gain_itself_is_not_shown_there_is_no_transfer_ratio(finished):
    store, _ = finished
    rows = results(store, replace(PLAN, arms=("paraphrase", "refine", "resample")))[
        "transfer"
    ]  # resample gains nothing
    assert {row["ratio"] for row in rows} == {None}
    assert all("no ratio" in row["warning"] and PLAN.vision_models[0] in row["warning"] for row in rows)


def test_a_plan_with_a_misspelt_key_is_refused(tmp_path):
    (tmp_path / "plan.toml").write_text("image_per_scene = 8\n")
    with pytest.raises(ParameterError, match="Did you mean 'images_per_scene'"):
        load_plan(tmp_path / "plan.toml")
    (tmp_path / "plan.toml").write_text('scenes = "8"\narms = "refine"\n[primary]\narm = "refine"\n')
    with pytest.raises(ParameterError, match=r"scenes = '8' .*integer; arms = 'refine': .* Sequence value; primary = "):
        load_plan(tmp_path / "plan.toml")
    with pytest.raises(ParameterError, match="cannot be read"):
        load_plan(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vision_models": ("study_models:Steering",)}, "held out"),
        ({"images_per_scene": 7}, "no multiple"),
        ({"arms": ("refine", "resampel")}, "Did you mean 'resample'"),
        ({"without_actions": ("more_step",)}, "Did you mean 'more_steps'"),
        ({"arms": ("refine",)}, "at least two arms"),
        ({"arms": ("refine", "refine")}, "nothing is twice"),
        ({"arms": "refine"}, "must be a list"),
        ({"primary": [{"arm": "refine", "against": "resampel"}]}, "Did you mean 'resample'"),
        ({"primary": [{"arm": "refine", "against": "refine"}]}, "with itself"),
        ({"primary": [{"arm": "refine"}]}, "lacks 'against'"),
        ({"primary": [{"arm": "refine", "against": "resample", "judge": "x"}]}, "unknown key 'judge'"),
        ({"primary": [Comparison("refine", "resample", "study_models:Steering")]}, "it steers"),
        (
            {"primary": [Comparison("refine", "resample", "study_models:Watchign")]},
            "Did you mean 'study_models:Watching'",
        ),
        ({"primary": [Comparison("refine", "resample", WATCHING, "second")]}, "'all' or 'second half'"),
        ({"primary": ["refine"]}, "'refine' should be a dictionary.*known: arm, against"),
        (
            {"primary": [{"arm": "refine", "against": "resample"}, Comparison("resample", "refine", WATCHING)]},
            "is there twice",
        ),
    ],
)
def test_a_study_that_cannot_be_run_is_refused_before_anything_is_written(store, change, message):
    with pytest.raises(ParameterError, match=message):
        run_study(store, pd.DataFrame({"text": SCENES}), Study(**{**vars(PLAN), **change}))
    assert store.rows("select count(*) as n from prompts") == [{"n": 0}]


def test_more_scenes_than_the_file_has_are_refused(tmp_path):
    (tmp_path / "scenes.csv").write_text("text\na red circle\n")
    with pytest.raises(ParameterError, match="fewer than scenes=2"):
        read_scenes(Study("x", prompts=str(tmp_path / "scenes.csv"), scenes=2))


def test_the_fakes_are_found_by_address():
    assert fk.load_model("image_generator", PLAN.model).name == study_models.Generator().name
