"""Benchmarks as their papers print them: scores and tables worked out by hand from what a judge said."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd
import pytest
from benchmark_files import DSG, GENEVAL, TIFA, write_dsg, write_lines, write_tifa
from conftest import FakeGenerator

import forgekit as fk
from forgekit.models import Judgement
from forgekit.models.next_word import Answerer
from forgekit.scene import list_elements
from forgekit.scene.annotation import own_questions

FILES = {
    "dsg-1k": lambda folder: write_dsg(folder / "dsg-1k-anns.csv", DSG),
    "tifa": lambda folder: write_tifa(folder / "tifa_v1.0_question_answers.json", TIFA),
    "geneval": lambda folder: write_lines(folder / "evaluation_metadata.jsonl", [*GENEVAL, RING]),
}
RING = {"tag": "single_object", "include": [{"class": "ring", "count": 1}], "prompt": "a ring"}
SAID = {  # what is not answered as the benchmark expects it
    "Is there a square?": "no",
    "Are there hearts?": "no",
    "Are there trees?": "no",
    "Is the star yellow?": "no",
    "is the triangle purple?": "no",
    "how many crosses are there?": "3",
    "is there a dog?": "no",
    "Are there three stars?": "no",  # GenEval's counting, which has no questions of its own
}


@dataclass
class Scripted:
    """A judge that says what `said` has for a question, else what is expected, and is as sure as `chances` tells."""

    said: dict[str, str] = field(default_factory=dict)
    chances: dict[str, float] = field(default_factory=dict)  # of the expected answer; else 0.9 or 0.1
    metrics: dict[str, float] = field(default_factory=dict)
    name: str = "scripted"
    adhering_at: float = 0.5
    judge_key: str = "scripted-1"

    def judge(self, images, scenes):
        return [self._verdict(scene) for scene in scenes]

    def _verdict(self, scene):
        scores, answers = {}, {}
        for e in list_elements(scene.elements):
            answer = self.said.get(e.question, e.expected)
            scores[e.key] = self.chances.get(e.question, 0.9 if answer == e.expected else 0.1)
            if own_questions(scene.elements):
                answers[e.key] = {"answer": answer, "right": answer == e.expected, "plain": scores[e.key] / 2}
        return Judgement(scores, 0.7, metrics=self.metrics, answers=answers)


def drawn(store, generator, folder, *names, files=FILES, images=1):
    """Import benchmarks and draw them as they stand."""
    for name in names:
        fk.import_prompts(store, files[name](folder), format=name, model=generator.name)
    fk.complete_prompts(store, template="{scene}")
    fk.generate_images(store, images_per_prompt=images, image_generator=generator)
    return store


def figures(table, measure, by):
    rows = table[(table["measure"] == measure) & (table["by"] == by)]
    return dict(zip(rows["category"], rows["score"].round(6), strict=True))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Eleven rows of DSG-1k, TIFA and GenEval, judged by a script."""
    folder = tmp_path_factory.mktemp("benchmarks")
    store = drawn(fk.open_store(folder / "forge.duckdb"), FakeGenerator(), folder, *FILES)
    fk.evaluate_images(store, vision_models=[Scripted(SAID)])
    return fk.trends.benchmark(store)


def test_dsg_counts_a_child_of_a_no_with_dependency_as_0_and_without_as_its_own_answer(table):
    """Answered yes: 4 of 5 (the square is not there), 2 of 3 (no hearts), 3 of 5 (no trees, not yellow), 3 of 3.

    With dependency fall away: the blue square and its place; three green hearts; several trees and the star's place.
    """
    without = {"relation": 4 / 5, "count": 2 / 3, "defying": 3 / 5, "real_user": 1.0}
    valid = {"relation": 2 / 5, "count": 0.0, "defying": 1 / 5, "real_user": 1.0}
    assert figures(table, "DSG without dependency", "data") == pytest.approx(without, abs=1e-6)
    assert figures(table, "DSG with dependency", "data") == pytest.approx(valid, abs=1e-6)
    assert figures(table, "DSG without dependency", "all") == pytest.approx(
        {"all": sum(without.values()) / 4}, abs=1e-6
    )
    assert figures(table, "DSG with dependency", "all") == pytest.approx({"all": 1.6 / 4})


def test_dsg_by_question_is_the_share_of_all_questions_of_a_kind(table):
    """Entities: circle, star, rings there; square, hearts, trees not. Counts: two rings; three hearts, several trees."""
    assert figures(table, "DSG with dependency", "question") == pytest.approx(
        {"entity": 3 / 6, "attribute": 1 / 4, "relation": 0.0, "other": 1 / 3, "global": 1.0}, abs=1e-6
    )
    assert figures(table, "DSG without dependency", "question") == pytest.approx(
        {"entity": 3 / 6, "attribute": 3 / 4, "relation": 1.0, "other": 1.0, "global": 1.0}, abs=1e-6
    )
    assert set(figures(table, "DSG with dependency", "question in detail")) == {
        "attribute/color", "entity/whole", "other/count", "relation/spatial",
    }  # fmt: skip


def test_tifa_is_the_mean_over_captions_and_by_type_over_questions(table):
    """Right: 2 of 4 (not purple, three crosses), 2 of 3 (no dog), 2 of 2."""
    assert figures(table, "TIFA", "all") == pytest.approx({"all": (2 / 4 + 2 / 3 + 1) / 3}, abs=1e-6)
    assert figures(table, "TIFA", "data") == pytest.approx({"coco": 0.75, "drawbench": 2 / 3}, abs=1e-6)
    by_type = {"object": 1.0, "color": 0.5, "counting": 0.5, "animal/human": 0.0}
    assert figures(table, "TIFA", "question type") == by_type


def test_geneval_is_the_mean_over_tasks_not_over_images(table):
    """Three of four images are right; two of them are of one task."""
    assert figures(table, "GenEval", "task") == {"counting": 0.0, "position": 1.0, "single_object": 1.0}
    overall = table[(table["measure"] == "GenEval") & (table["by"] == "overall")].iloc[0]
    assert (overall["score"], overall["n"], overall["scenes"]) == (pytest.approx(2 / 3), 4, 4)
    assert overall["low"] <= overall["score"] <= overall["high"]


def test_every_figure_says_of_how_many_values_and_scenes_it_is(table):
    entities = table[(table["by"] == "question") & (table["category"] == "entity")].iloc[0]
    assert (entities["n"], entities["scenes"], entities["unjudged"]) == (7 - 1, 4, 0)
    assert (table["verbatim"] == 1).all() and (table["answered"] == 1).all()


def test_a_detector_tells_by_the_rules_of_geneval_itself(store, fake_generator, tmp_path):
    drawn(store, fake_generator, tmp_path, "geneval")
    fk.evaluate_images(store, vision_models=[Scripted(SAID, metrics={"geneval": 1.0})])
    assert set(figures(fk.trends.benchmark(store), "GenEval", "task").values()) == {1.0}


def test_geneval2_has_both_means_of_the_plain_probabilities_by_atomicity(store, fake_generator, tmp_path):
    """Plain are half of 0.8 and 0.2, and of 0.4: AM 0.25 and 0.2, GM (0.4 · 0.1) ** 0.5 and 0.2."""
    records = [
        {"prompt": "two bells", "atom_count": 3, "skills": ["count", "object"],
         "vqa_list": [["How many bells?", "two"], ["Are there bells?", "Yes"]]},
        {"prompt": "a horn", "atom_count": 10, "skills": ["object"], "vqa_list": [["Is there a horn?", "Yes"]]},
    ]  # fmt: skip
    files = {"geneval2": lambda folder: write_lines(folder / "geneval2_data.jsonl", records)}
    drawn(store, fake_generator, tmp_path, "geneval2", files=files)
    chances = {"How many bells?": 0.8, "Are there bells?": 0.2, "Is there a horn?": 0.4}
    fk.evaluate_images(store, vision_models=[Scripted(chances=chances)])
    table = fk.trends.benchmark(store)
    assert figures(table, "Soft-TIFA AM", "atomicity") == pytest.approx({"3": 0.25, "10": 0.2})
    assert figures(table, "Soft-TIFA GM", "atomicity") == pytest.approx({"3": 0.2, "10": 0.2})
    assert figures(table, "Soft-TIFA AM", "all") == pytest.approx({"all": 0.225})
    assert figures(table, "Soft-TIFA AM", "skill") == pytest.approx({"count": 0.4, "object": (0.1 + 0.2) / 2})
    assert table[table["by"] == "atomicity"]["category"].tolist()[:2] == ["3", "10"]


def test_t2i_compbench_has_a_rule_for_each_category(store, fake_generator, tmp_path):
    """Colours: 0.8 · 0.5, each thing by its attribute. Place: 0.6 of two things, 0.5 of place; below one half nothing."""
    texts = {
        "color_val": "a red bell and a blue horn",
        "spatial_val": "a cat on the left of a dog",
        "numeracy_val": "two boys",
    }

    def write(folder):
        (folder / "compbench").mkdir()
        for name, text in texts.items():
            (folder / "compbench" / f"{name}.txt").write_text(text + "\n")
        return folder / "compbench"

    drawn(store, fake_generator, tmp_path, "t2i-compbench", files={"t2i-compbench": write})
    asked = {e.question for row in store.rows("select elements from scenes") for e in list_elements(row["elements"])}
    chances = {"Is the bell red?": 0.8, "Is the horn blue?": 0.5, "Is there a cat?": 0.7, "Is there a dog?": 0.5}
    chances |= {"Is the cat to the left of the dog?": 0.5, "Are there two boys?": 0.3}
    assert set(chances) <= asked
    fk.evaluate_images(store, vision_models=[Scripted(chances=chances)])
    table = fk.trends.benchmark(store)
    assert figures(table, "BLIP-VQA", "category") == pytest.approx({"color": 0.4})
    assert figures(table, "UniDet", "category") == pytest.approx({"numeracy": 0.5, "spatial": 0.55})


def test_gecko_is_by_prompt_set_and_skill(store, fake_generator, tmp_path):
    head = ",dataset_id,prompt,prompt_type,prompt_id\n"
    rows = "0,att/count:simple_numeric,a bell,Gecko(S),0\n1,tifa_12,a horn,Gecko(R),1\n"
    (tmp_path / "prompts.csv").write_text(head + rows)
    drawn(store, fake_generator, tmp_path, "gecko", files={"gecko": lambda folder: folder / "prompts.csv"})
    fk.evaluate_images(store, vision_models=[Scripted(chances={"Is there a bell?": 0.4, "Is there a horn?": 0.8})])
    table = fk.trends.benchmark(store)
    assert figures(table, "Gecko", "all") == pytest.approx({"all": 0.6})
    assert figures(table, "Gecko", "skill") == pytest.approx({"Gecko(S) att/count": 0.4, "Gecko(R) tifa": 0.8})


def test_judges_and_arms_are_told_apart_and_later_versions_do_not_count(store, fake_generator, tmp_path):
    drawn(store, fake_generator, tmp_path, "geneval")
    other = Scripted(SAID | {"Is there a ring?": "no"}, name="stricter")
    fk.evaluate_images(store, vision_models=[Scripted(SAID), other])
    with store.transaction() as con:
        con.execute("update prompts set generation_iteration = 1 where prompt_text = 'a heart'")
    table = fk.trends.benchmark(store)
    single = table[table["category"] == "single_object"].set_index("vision_model")
    assert single["score"].to_dict() == {"scripted": 1.0, "stricter": 0.0} and set(single["n"]) == {1}
    assert set(fk.trends.benchmark(store, vision_model="stricter")["vision_model"]) == {"stricter"}
    assert fk.trends.benchmark(store, experiment="elsewhere").empty


@dataclass
class Mute(Scripted):
    """A judge that fails to say anything of one scene, or of all."""

    fails: tuple[str, ...] = ()

    def _verdict(self, scene):
        verdict = super()._verdict(scene)
        return Judgement(dict.fromkeys(verdict.element_scores), None) if scene.text in self.fails else verdict


def test_an_image_without_a_complete_verdict_counts_nowhere_and_is_counted(store, fake_generator, tmp_path):
    drawn(store, fake_generator, tmp_path, "geneval")
    prompts = tuple(record["prompt"] for record in [*GENEVAL, RING])
    fk.evaluate_images(
        store, vision_models=[Mute(SAID, name="half", fails=prompts[:1]), Mute(name="none", fails=prompts)]
    )
    table = fk.trends.benchmark(store).set_index("vision_model")
    half = table.loc["half"].set_index("category")
    assert (half.loc["single_object", "n"], half.loc["single_object", "unjudged"]) == (1, 1)
    assert (table.loc["none", "unjudged"], table.loc["none", "n"]) == (4, 0) and pd.isna(table.loc["none", "score"])


def test_a_text_whose_annotation_cannot_be_read_is_no_part_of_the_score(store, fake_generator, tmp_path):
    broken = RING | {"prompt": "a bell", "include": [{"count": 1}]}  # of no class
    files = {"geneval": lambda folder: write_lines(folder / "evaluation_metadata.jsonl", [RING, broken])}
    drawn(store, fake_generator, tmp_path, "geneval", files=files)
    fk.evaluate_images(store, vision_models=[Scripted()])
    task = fk.trends.benchmark(store).set_index("by").loc["task"]
    assert (task["n"], task["unjudged"], task["score"]) == (1, 1, 1.0)


def test_mini_draws_a_benchmark_and_mini_fuyu_is_asked_its_own_questions(store, tmp_path, monkeypatch):
    """Whatever was drawn and said, the scores follow from the stored answers as the benchmarks have it."""
    asked, next_word = set(), Answerer.next_word

    def listen(answerer, images, questions):
        asked.update(question for each in questions for question in each)
        return next_word(answerer, images, questions)

    monkeypatch.setattr(Answerer, "next_word", listen)
    for name, write in FILES.items():
        fk.import_prompts(store, write(tmp_path), format=name, model="mini")
    fk.complete_prompts(store, template="{scene}")
    fk.generate_images(store, images_per_prompt=1)
    report = fk.evaluate_images(store, vision_models=["mini-fuyu"])
    assert (report.done, report.failures) == (11, {})
    own = {q for _, *items in DSG.values() for *_, q in items} | {q[2] for _, *items in TIFA.values() for q in items}
    assert own <= asked and not any("treeses" in question or "a trees" in question for question in asked)
    said = {row["scene_text"]: row["answers"] for row in store.rows(ANSWERS)}
    yes = {text: [answer["right"] for answer in answers.values()] for text, answers in said.items() if answers}
    table = fk.trends.benchmark(store)
    dsg = [yes[text] for text, *_ in DSG.values()]
    tifa = [yes[text] for text, *_ in TIFA.values()]
    assert figures(table, "DSG without dependency", "all")["all"] == pytest.approx(mean_of_means(dsg), abs=1e-6)
    assert figures(table, "TIFA", "all")["all"] == pytest.approx(mean_of_means(tifa), abs=1e-6)
    trees = said["a yellow star under some trees"]  # which mini never saw
    assert trees["object:1"] == {"answer": "no", "right": False, "plain": pytest.approx(0.0, abs=0.01)}
    star = [trees["object:0"]["right"], trees["color:0"]["right"]]  # the only ones that no tree is needed for
    assert figures(table, "DSG with dependency", "data")["defying"] == pytest.approx(sum(star) / 5, abs=1e-6)


ANSWERS = """
select s.scene_text, e.model_output -> '$.answers' as answers
from image_evaluations e
join scenes s using (scene_hash)
"""


def mean_of_means(lists):
    return sum(sum(values) / len(values) for values in lists) / len(lists)
