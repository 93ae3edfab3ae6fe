"""Tables as people have them: any delimiter, any text column, and columns that say how to draw."""

from __future__ import annotations

import json

import openpyxl
import pandas as pd
import pytest
from test_sources import texts, write

from forgekit.errors import SourceError
from forgekit.sources import Notes, read
from forgekit.sources.parameters import scheduler_of, settings


def row(source, **options) -> dict:
    return read(source, **options).frame.iloc[0].to_dict()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("p.csv", "id;prompt;category\n1;a red circle, big;shapes\n2;a star;shapes\n", "semicolons"),
        ("p.csv", "id\tprompt\n1\ta red circle, big\n2\ta star\n", "tabs"),
        ("p.csv", "id|prompt\n1|a red circle, big\n2|a star\n", "pipes"),
        ("p.txt", "prompt\tseed\na red circle, big\t3\na star\t4\n", "tabs"),
        ("p.txt", "Nr;Prompt\n1;a red circle, big\n2;a star\n", "semicolons"),
        ("p.tsv", 'id,prompt\n1,"a red circle, big"\n2,a star\n', "commas"),
        ("p.csv", "| id | prompt |\n|----|:------|\n| 1 | a red circle, big |\n| 2 | a star |\n", "pipes"),
        ("p.csv", "sep=;\r\nid;prompt\r\n1;a red circle, big\r\n2;a star\r\n", "semicolons"),
        ("p.csv", '1;"a red circle, big"\n2;a star\n', "semicolons"),
    ],
)
def test_the_delimiter_is_told_from_the_lines_and_said(tmp_path, name, content, said):
    rows = read(write(tmp_path / name, content), **({"text_column": 1} if content[0] == "1" else {}))
    assert rows.frame["text"].tolist() == ["a red circle, big", "a star"]
    assert f"{name}: columns are separated by {said}" in rows.notes.lines()


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("p.txt", ["a cat; a dog; a bird", "a fish | a cow", "one; two; three"]),
        ("p.txt", ["a cat, a dog", "a fish, a cow"]),
        ("p.csv", ["a cat; a dog", "a fish; a cow"]),
        ("p.csv", ["a cat, sitting", "a dog, running"]),
        ("p.csv", ["a {red|blue} cat", "a {big|small} dog"]),
        ("p.csv", ["a cat | by night", "a dog | by day"]),
    ],
)
def test_prose_with_commas_semicolons_or_pipes_is_not_split(tmp_path, name, lines):
    assert texts(write(tmp_path / name, "\n".join(lines))) == lines


def test_commas_in_the_one_column_of_a_table_are_part_of_the_text(tmp_path):
    path = write(tmp_path / "p.csv", 'prompt\na cat, sitting; black\n"a ""big"" dog"\n')
    assert texts(path) == ["a cat, sitting; black", 'a "big" dog']


@pytest.mark.parametrize(
    "header", ["Beschreibung", "提示词", "My prompts", "Prompt text", "プロンプト", "Zielsatz", "описание"]
)
def test_the_header_of_a_lone_column_is_no_prompt(tmp_path, header):
    sentences = ["ein roter Kreis am See", "ein Stern im tiefen Schnee"]
    assert texts(write(tmp_path / "p.csv", "\n".join([header, *sentences]))) == sentences


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "prompt\na red cat\na blue dog\n"),
        ("p.txt", "Prompts:\na red cat\na blue dog\n"),
        ("p.txt", '"a red cat",\n"a blue dog",\n'),
        ("p.txt", "“a red cat”\n“a blue dog”\n"),
        ("p.txt", "'a red cat'\n\n'a blue dog'"),
        ("p.txt", '["a red cat", "a blue dog"]'),
        ("p.txt", '[\n  {"prompt": "a red cat"},\n  {"prompt": "a blue dog"}\n]\n'),
        ("p.txt", '{"prompt": "a red cat"}\n{"prompt": "a blue dog"}\n'),
        ("p.csv", "1,a red cat\n2,a blue dog\n"),
        ("p.json", '{"prompt":{"0":"a red cat","1":"a blue dog"},"seed":{"0":1,"1":2}}'),
        ("p.json", '{"columns":["prompt","seed"],"index":[0,1],"data":[["a red cat",1],["a blue dog",2]]}'),
    ],
)
def test_what_a_list_has_around_its_texts_is_none_of_them_and_no_text_is_lost_as_a_header(tmp_path, name, content):
    assert texts(write(tmp_path / name, content)) == ["a red cat", "a blue dog"]


@pytest.mark.parametrize(
    "lines",
    [
        ["prompt"],
        ['"a red cat" on a mat', '"a blue dog"'],
        ["[red] cat", "[a cat|a dog]"],
        ["{red|blue} cat", "{2$$a|b}"],
    ],
)
def test_texts_that_only_look_like_a_header_a_quotation_or_json_stay_whole(tmp_path, lines):
    assert texts(write(tmp_path / "p.txt", "\n".join(lines))) == lines


def test_a_text_column_of_an_unknown_name_is_taken_where_it_is_the_only_one_and_that_is_said(tmp_path):
    rows = read(write(tmp_path / "p.csv", "Nr;Zielsatz;Art\n1;ein Kreis am See;Form\n2;ein Stern im Meer;Form\n"))
    assert rows.frame["text"].tolist() == ["ein Kreis am See", "ein Stern im Meer"]
    assert any("'Zielsatz'" in line and "text_column" in line for line in rows.notes.lines())


def test_where_several_columns_have_texts_the_error_names_them(tmp_path):
    lines = "Nr;Satz A;Satz B\n1;ein Kreis am See;ein Hund im Wald\n2;ein Stern;ein Bär im Haus\n"
    path = write(tmp_path / "p.csv", lines)
    with pytest.raises(SourceError, match="'Satz A' or 'Satz B'.*semicolons.*text_column="):
        read(path)
    assert texts(path, text_column="Satz B")[0] == "ein Hund im Wald"


def test_of_two_columns_of_known_names_the_prompt_is_taken_and_said_and_of_two_weaker_ones_none(tmp_path):
    rows = read(write(tmp_path / "p.csv", "prompt,caption\na cat on a mat,a dog in a house\na fish,a bird at night\n"))
    assert rows.frame["text"].tolist() == ["a cat on a mat", "a fish"]
    assert any("'prompt', not from 'caption'" in line for line in rows.notes.lines())
    lines = "Beschreibung;Description\nein Haus am See;a house by a lake\nein Baum;a tall tree\n"
    path = write(tmp_path / "q.csv", lines)
    with pytest.raises(SourceError, match="'Description' or 'Beschreibung'"):
        read(path)


def test_blanks_after_the_delimiters_are_no_part_of_the_cells(tmp_path):
    assert row(write(tmp_path / "p.csv", 'id, prompt, steps\n1, "a cat, big", 5\n'))["text"] == "a cat, big"


def test_columns_become_parameters_under_their_names_in_diffusers_and_the_rest_is_kept_and_named(tmp_path):
    path = write(
        tmp_path / "p.csv",
        "Prompt;Negative Prompt;Steps;CFG scale;Seed;Size;Sampler;mood\na cat;blurry;20;7,5;42;512x768;Euler a;happy\n",
    )
    found = row(path)
    assert found["parameters"] == {
        "negative_prompt": "blurry", "num_inference_steps": 20, "guidance_scale": 7.5, "seed": 42, "width": 512, "height": 768,
    }  # fmt: skip
    assert found["source"] == {"scheduler": "EulerAncestralDiscreteScheduler", "mood": "happy"}
    assert any("'mood'" in line for line in read(path).notes.lines())


@pytest.mark.parametrize(
    ("said", "parameters", "rest"),
    [
        ({"steps": 20.0, "guidance": "3", "width": "1,024"}, {"num_inference_steps": 20, "guidance_scale": 3, "width": 1024}, {}),
        ({"cfg_scale": None, "seed": float("nan"), "negative": " "}, {}, {}),
        ({"seed": -1}, {}, {}),
        ({"num_inference_steps": 4, "steps": 20}, {"num_inference_steps": 4}, {"steps": 20}),
        ({"steps": "many", "size": "16:9"}, {}, {"steps": "many", "size": "16:9"}),
        ({"sampler_name": "dpmpp_2m", "scheduler": "karras"}, {"scheduler": "DPMSolverMultistepScheduler", "scheduler_options": {"use_karras_sigmas": True}}, {}),
        ({"sampler": "DPM fast", "ckpt_name": "sd.ckpt"}, {}, {"sampler": "DPM fast", "model": "sd.ckpt"}),
    ],
)  # fmt: skip
def test_settings_of_others_are_read_as_numbers_and_schedulers_or_kept_as_they_stand(said, parameters, rest):
    assert settings(said, Notes()) == (parameters, rest)


def test_what_cannot_be_read_of_the_settings_is_noted():
    notes = Notes()
    settings({"steps": "many", "sampler": "Restart"}, notes)
    assert [line.split(" (")[1] for line in notes.lines()] == ["steps 'many')", "'Restart')"]
    assert scheduler_of("DPM++ 2M SDE Karras")["scheduler_options"]["algorithm_type"] == "sde-dpmsolver++"
    assert scheduler_of("DPM++ 2M SDE Karras", "karras") == scheduler_of("k_dpmpp_2m_sde", "karras")
    assert scheduler_of("DDIM Trailing")["scheduler_options"] == {"timestep_spacing": "trailing"}


def test_comment_lines_of_a_table_are_skipped_and_its_rows_are_not(tmp_path):
    rows = read(write(tmp_path / "p.csv", "# exported, 2024\nid,prompt\n1,# a hash\n# end\n// x\n2,a cat\n"))
    assert rows.frame["text"].tolist() == ["# a hash", "a cat"]
    assert rows.notes.counts["comment lines skipped (# or //)"] == 3
    assert texts(write(tmp_path / "q.csv", "#;Prompt\n1;a cat\n")) == ["a cat"]


def test_a_workbook_may_begin_with_blank_rows_and_its_other_sheets_are_named(tmp_path):
    book = openpyxl.Workbook()
    for cells in [[None, None], ["Nr", "Beschreibung", "Steps"], [1, "ein Kreis", 20]]:
        book.active.append(cells)
    for cells in [["x"], ["y"]]:
        book["Zwei"].append(cells) if "Zwei" in book.sheetnames else book.create_sheet("Zwei").append(cells)
    book.save(tmp_path / "p.xlsx")
    rows = read(tmp_path / "p.xlsx")
    assert rows.frame[["text", "row", "parameters"]].values.tolist() == [["ein Kreis", 3, {"num_inference_steps": 20}]]
    assert any("'Zwei'" in line for line in rows.notes.lines())


def test_a_data_frames_own_kinds_of_values_are_plain_ones_and_pictures_stay_out(tmp_path):
    import numpy as np

    frame = pd.DataFrame(
        {
            "prompt": ["a cat", "a dog"],
            "steps": [20, np.nan],
            "cfg": np.array([0.1, 3], dtype="float32"),
            "when": pd.to_datetime(["2026-01-02", None]),
            "image": [b"\0" * 9, object()],
        }
    )
    rows = read(frame)
    first, second = rows.frame["parameters"]
    assert (first, second) == ({"num_inference_steps": 20, "guidance_scale": 0.1}, {"guidance_scale": 3.0})
    assert rows.frame["source"].tolist() == [{"when": "2026-01-02T00:00:00"}, None]
    assert json.dumps(rows.frame["parameters"].tolist()) and any("'image' ×2" in line for line in rows.notes.lines())
