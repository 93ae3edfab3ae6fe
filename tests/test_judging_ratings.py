"""Human ratings: what is read, what is refused and why, and how judges' scores go with them."""

from __future__ import annotations

import pandas as pd
import pytest
from conftest import FakeJudge
from PIL import Image

import forgekit as fk
from forgekit import cli
from forgekit import judge_tests as judging
from forgekit.errors import ParameterError, SourceError
from forgekit.judge_tests.graph_scores import score_graphs
from forgekit.mini.error_graphs import error_graphs

AGIQA = """name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align
one.jpg,a red circle,,,,0.96,0.22,0.40,0.61
two.jpg,"a star, baroque style",,,,1.36,0.64,5.20,0.66
three.jpg,a blue ring,,,,1.36,0.64,#NAME?,0.66
"""


@pytest.fixture
def judged(generated):
    fk.evaluate_images(generated, vision_models=[FakeJudge(score=0.9, scores={"relation:0": 0.1})])
    return generated


def images(store) -> pd.DataFrame:
    return store.df(
        "select cast(id as varchar) as image_id, image_path, adherence_score as score from generated_images order by id"
    )


def test_a_table_in_the_form_of_agiqa_is_read_and_its_bad_rows_are_listed(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text(AGIQA)
    ratings, bad = judging.read_ratings(path, scale="0-5")
    assert ratings[["image", "text", "rating", "low", "high"]].values.tolist() == [
        ["one.jpg", "a red circle", 0.4, 0, 5]
    ]
    assert bad == {
        "row 3": "the rating 5.2 lies outside its scale, 0 to 5",
        "row 4": "the rating is '#NAME?', not a number",
    }


def test_a_scale_can_stand_in_each_row():
    table = pd.DataFrame({"image": ["a", "b", "c"], "rating": [3, 3, 3], "scale": ["1-5", "0..3", "ten"]})
    ratings, bad = judging.read_ratings(table)
    assert ratings[["image", "low", "high"]].values.tolist() == [["a", 1, 5], ["b", 0, 3]]
    assert bad == {"row 3": "the scale is 'ten', not of the form 1-5"}


def test_rows_without_a_scale_or_an_image_are_bad():
    table = pd.DataFrame({"image_path": ["a", None], "rating": [3, 3]})
    assert judging.read_ratings(table)[1] == dict.fromkeys(
        ("row 1", "row 2"), "no scale is told: give one, such as 1-5"
    )
    assert judging.read_ratings(table, scale="1-5")[1] == {"row 2": "no image is named"}


def test_what_is_no_table_of_ratings_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no column 'rating"):
        judging.read_ratings(pd.DataFrame({"image_path": ["a"]}))
    with pytest.raises(SourceError, match="does not exist"):
        judging.read_ratings(tmp_path / "none.csv")
    (tmp_path / "ratings.docx").write_bytes(b"PK\3\4")
    with pytest.raises(SourceError, match=r"ratings\.docx is a text document .* as \.csv"):
        judging.read_ratings(tmp_path / "ratings.docx")
    with pytest.raises(ParameterError, match="such as 1-5"):
        judging.read_ratings(pd.DataFrame({"image_path": ["a"], "rating": [1]}), scale="5")


def test_images_are_found_by_id_and_by_path_and_unknown_ones_are_listed(judged):
    known = images(judged)
    named = [known["image_id"][0], known["image_path"][1], str(judged.folder / known["image_path"][2]), "elsewhere.png"]
    report = judging.import_ratings(
        judged, pd.DataFrame({"image": named, "rating": [1, 2, 3, 4]}), scale="1-5", name="x"
    )
    assert (report.done, report.failed) == (3, 1)
    assert report.failures == {"row 4": "no image of this store has the id or path 'elsewhere.png'"}


def test_ratings_of_elements_and_of_pairs_go_in_and_rows_about_nothing_are_listed(judged, tmp_path):
    known = judged.df("select cast(i.id as varchar) as id, i.image_path as path, p.scene_hash as scene from generated_images i"
                      " join prompts p on p.id = i.prompt_id order by scene, id")  # fmt: skip
    (one, two), elsewhere = known[known["scene"] == known["scene"][0]]["id"][:2], known["id"].iloc[-1]
    rows = [
        (one, "object:0", "", 1), (one, "", two, 0), (two, "", known["path"][0], 1), (one, "object:9", "", 1), (one, "", elsewhere, 1),
        (one, "", one, 1), (one, "", "nowhere.png", 1), (one, "object:0", two, 1), (one, "object:0", "", "yes"), (one, "", "", 1),
    ]  # fmt: skip
    path = tmp_path / "ratings.csv"
    pd.DataFrame(rows, columns=["image_id", "element", "other_image", "rating"]).assign(rater="ann").to_csv(
        path, index=False
    )
    report = judging.import_ratings(judged, path, scale="0-1")
    assert (report.done, report.failed) == (4, 6)
    assert [reason.split(".")[0] for reason in report.failures.values()] == [
        "the rating is 'yes', not a number",
        "the scene has no element 'object:9'",
        "its two images are of different scenes",
        "it compares an image with itself",
        "no image of this store has the id or path 'nowhere",
        "it names an element and another image; a rating is about one of them",
    ]
    said = judged.rows("select kind || ' ' || rating as said from people_say order by all")
    assert [row["said"] for row in said] == [
        "element 1.0",
        "image 1.0",
        "pair 0.0",
        "pair 0.0",
    ]  # `two`, which has the higher id
    assert judging.import_ratings(judged, path, scale="0-1").done == 0
    assert fk.check(judged).findings == []


def test_importing_again_adds_nothing_and_raters_without_a_name_are_counted(judged, tmp_path):
    image = images(judged)["image_id"][0]
    path = tmp_path / "ratings.csv"
    path.write_text(f"image_id,rating,scale\n{image},2,1-5\n{image},4,1-5\n{image},9,1-5\n")
    assert cli.main(["import-ratings", str(path), "--store", str(judged.path)]) == 1  # one bad row
    report = judging.import_ratings(judged, path)
    assert (report.done, report.skipped, report.failed) == (0, 2, 1)
    scores = judging.rated_scores(judged)
    assert scores["rating"].tolist() == [pytest.approx(0.5)]  # 2 and 4 of 1 to 5


def test_scores_that_follow_the_ratings_correlate_and_those_that_do_not_do_not():
    scenes = [f"scene {i // 2}" for i in range(20)]
    ratings = [i / 20 for i in range(20)]
    told = {"scene": scenes, "rating": ratings}
    good = pd.DataFrame({"judge": "good", "score": [r**2 for r in ratings], **told})
    flat = pd.DataFrame({"judge": "flat", "score": 0.5, **told})
    found = judging.correlate(pd.concat([good, flat]), resamples=200).set_index("judge")
    assert found.loc["good", ["spearman", "spearman_low", "spearman_high"]].tolist() == pytest.approx([1, 1, 1])
    assert found.loc["good", ["images", "scenes"]].tolist() == [20, 10]
    assert found["spearman"].isna().tolist() == [False, True]


def test_the_interval_holds_the_correlation_and_is_wider_where_images_share_a_scene():
    ratings = [0.1, 0.3, 0.2, 0.5, 0.4, 0.7, 0.9, 0.6, 0.8, 1.0, 0.0, 0.35]
    scores = [0.2, 0.1, 0.4, 0.3, 0.6, 0.5, 0.7, 0.9, 0.6, 0.8, 0.3, 0.2]
    table = pd.DataFrame({"judge": "x", "scene": range(12), "score": scores, "rating": ratings})
    found = judging.correlate(table, resamples=500).iloc[0]
    assert found["spearman_low"] < found["spearman"] < found["spearman_high"]
    one_scene = judging.correlate(table.assign(scene="the only one"), resamples=50).iloc[0]
    assert one_scene["spearman"] == found["spearman"]
    assert pd.isna(one_scene["spearman_low"])


def test_rated_pictures_outside_any_store_are_judged_in_their_folder(tmp_path):
    Image.new("RGB", (8, 8), "red").save(tmp_path / "one.jpg")
    (tmp_path / "data.csv").write_text(AGIQA.replace("5.20", "4.20").replace("#NAME?", "1.0"))
    ratings, _ = judging.read_ratings(tmp_path / "data.csv", scale="0-5")
    found = judging.judge_rated([FakeJudge(score=0.25)], ratings, tmp_path).set_index("image_id")
    assert found.loc["one.jpg", ["score", "rating"]].tolist() == pytest.approx([0.25, 0.08])
    assert pd.isna(found.loc["two.jpg", "score"])
    assert "missing" in found.loc["two.jpg", "reason"]


def test_what_is_no_probability_is_no_score_but_a_reason():
    graphs = error_graphs(2, drawings=1, seed=5)
    table, failures = score_graphs([FakeJudge(score=float("nan"))], graphs)
    assert failures == {}
    assert table["score"].isna().all()
    assert table["reason"].str.contains("no number: nan").all()
