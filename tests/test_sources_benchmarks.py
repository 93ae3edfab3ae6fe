"""Known benchmarks: their columns, their annotation, and the public sets where they are there."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.public_sets import ABSENT, public_sets
from forgekit.errors import SourceError
from forgekit.sources import BENCHMARK_NAMES, read

PUBLIC = public_sets()


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_geneval_annotation_becomes_elements(tmp_path):
    record = {
        "tag": "position", "prompt": "a photo of a red cat left of two dogs",
        "include": [{"class": "dog", "count": 2}, {"class": "cat", "count": 1, "color": "red", "position": ["left of", 0]}],
        "exclude": [{"class": "dog", "count": 3}, {"class": "bird", "count": 1}],
    }  # fmt: skip
    row = read(write(tmp_path / "evaluation_metadata.jsonl", json.dumps(record)), format="geneval").frame.iloc[0]
    elements = row["elements"]
    assert [(o["name"], o["count"], o["attributes"]) for o in elements["objects"]] == [
        ("dog", 2, []), ("cat", 1, [{"kind": "color", "value": "red"}]),
    ]  # fmt: skip
    assert elements["relations"] == [{"subject": 1, "predicate": "left of", "object": 0}]
    assert [item["name"] for item in elements["negations"]] == ["bird"] and row["category"] == "position"


def test_dsg_rows_become_one_prompt_with_its_question_graph(tmp_path):
    head = "item_id,text,keywords,proposition_id,dependency,category_broad,category_detailed,tuple,question_natural_language\n"
    rows = [
        "vrd_1,two red cats on a mat,cats,1,0,entity,whole,entity - whole (cats),Are there cats?",
        'vrd_1,two red cats on a mat,"cats, red",2,1,attribute,color,"attribute - color (cats, red)",Are the cats red?',
        'vrd_1,two red cats on a mat,"cats, ==2",3,1,other,count,"other - count (cats, ==2)",Are there two cats?',
        "vrd_1,two red cats on a mat,mat,4,0,entity,whole,entity - whole (mat),Is there a mat?",
        'vrd_1,two red cats on a mat,"cats, mat, on",5,"1,4",relation,spatial,"relation - spatial (cats, mat, on)",On it?',
    ]
    frame = read(write(tmp_path / "dsg-1k-anns.csv", head + "\n".join(rows)), format="dsg-1k").frame
    elements = frame["elements"][0]
    assert (len(frame), frame["id"][0], frame["category"][0]) == (1, "vrd_1", "vrd")
    assert elements["objects"][0]["count"] == 2 and elements["objects"][0]["attributes"][0]["value"] == "red"
    assert elements["relations"] == [{"subject": 0, "predicate": "on", "object": 1}]
    assert [question["question"] for question in elements["questions"]][:2] == ["Are there cats?", "Are the cats red?"]
    first, mat = "object:0", "object:1"
    assert [question["parents"] for question in elements["questions"]] == [[], [first], [first], [], [first, mat]]


def test_tifa_and_geneval2_keep_their_questions(tmp_path):
    tifa = [
        {
            "id": "d_1",
            "caption": "a cat",
            "question": "is this a cat?",
            "choices": ["yes", "no"],
            "answer": "yes",
            "element_type": "animal",
        },
        {
            "id": "d_1",
            "caption": "a cat",
            "question": "what is it?",
            "choices": ["cat", "dog"],
            "answer": "cat",
            "element_type": "animal",
        },
    ]
    frame = read(write(tmp_path / "tifa_v1.0_question_answers.json", json.dumps(tifa)), format="tifa").frame
    assert [q["expected"] for q in frame["elements"][0]["questions"]] == ["yes", "cat"] and len(frame) == 1
    record = {"prompt": "two cats", "atom_count": 2, "vqa_list": [["How many cats?", "two"]], "skills": ["count"]}
    frame = read(write(tmp_path / "geneval2_data.jsonl", json.dumps(record)), format="geneval2").frame
    question = frame["elements"][0]["questions"][0]
    assert (question["question"], question["expected"], question["type"]) == ("How many cats?", "two", "count")
    assert frame["elements"][0]["objects"][0]["count"] == 2


def test_genai_bench_takes_its_skills_from_the_file_beside(tmp_path):
    write(
        tmp_path / "genai_image.json",
        json.dumps({"00000": {"id": "00000", "prompt": "a cat", "prompt in Chinese": "猫"}}),
    )
    write(tmp_path / "genai_skills.json", json.dumps({"basic": {"scene": ["00000"]}, "advanced": {"counting": []}}))
    row = read(tmp_path, format="genai-bench").frame.iloc[0]
    assert (row["text"], row["id"], row["category"]) == ("a cat", "00000", "scene")


def test_hpsv2_diffusiondb_and_drawbench_are_read_in_their_shapes(tmp_path):
    (tmp_path / "hps").mkdir()
    write(tmp_path / "hps" / "anime.json", '["a cat"]'), write(tmp_path / "hps" / "photo.json", '["a dog"]')
    assert read(tmp_path / "hps", format="hpsv2").frame["category"].tolist() == ["anime", "photo"]
    frame = pd.DataFrame({"image_name": ["a.png"], "prompt": ["a cat"], "seed": [1], "step": [50], "cfg": [7.0]})
    frame.to_parquet(tmp_path / "metadata.parquet")
    row = read(tmp_path, format="diffusiondb").frame.iloc[0]
    assert (row["id"], row["parameters"]) == ("a.png", {"seed": 1, "num_inference_steps": 50, "guidance_scale": 7.0})
    drawbench = write(tmp_path / "drawbench.csv", "Prompts,Category,,\nA red colored car.,Colors,,\n")
    assert read(drawbench, format="drawbench").frame["category"].tolist() == ["Colors"]


def test_a_folder_without_the_benchmark_says_what_it_looks_for(tmp_path):
    with pytest.raises(SourceError, match="evaluation_metadata.jsonl"):
        read(tmp_path, format="geneval")


@pytest.mark.skipif(PUBLIC is None, reason=ABSENT)
@pytest.mark.parametrize(
    ("source", "name", "rows"),
    [
        ("partiprompts", "partiprompts", 1632), ("t2i_compbench", "t2i-compbench", 2400), ("t2i_r1", "t2i-r1", 7223),
        ("abc6k/ABC-6K.txt", None, 6434), ("abc6k/CC-500.txt", None, 602), ("agiqa3k/data.csv", None, 2982),
        ("unigenbench/test_prompts_en.csv", "unigenbench", 600), ("unigenbench/test_prompts_zh.csv", "unigenbench", 600),
        ("gecko", "gecko", 1546), ("load_test/load_prompts.jsonl", None, 58722),
    ],
)  # fmt: skip
def test_the_public_sets_come_in_to_the_last_row(source, name, rows):
    found = read(PUBLIC / source, format=name)
    assert (len(found.frame), found.bad) == (rows, [])


def test_all_benchmarks_of_the_plan_are_known():
    plan = "partiprompts drawbench geneval geneval2 t2i-compbench dsg-1k tifa genai-bench hpsv2 gecko unigenbench t2i-r1 diffusiondb"
    assert set(BENCHMARK_NAMES) == set(plan.split())
