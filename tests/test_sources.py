"""Prompt sources: each oddity that real sets have, and files that are broken on purpose."""

from __future__ import annotations

import json
import random
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from forgekit.errors import ParameterError, SourceError
from forgekit.sources import BENCHMARK_NAMES, read, read_chunks

SHARED = Path(__file__).parents[2] / "shared" / "prompts"  # the public sets, where they lie beside the checkout


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(source, **options) -> list[str]:
    return read(source, **options).frame["text"].tolist()


# text files


def test_mixed_line_ends_and_a_missing_last_one_give_the_same_lines(tmp_path):
    path = write(tmp_path / "p.txt", b"a cat\r\na dog\na bird\ra fish")
    assert texts(path) == ["a cat", "a dog", "a bird", "a fish"]


def test_texts_stay_as_they_stand_with_edge_blanks_tabs_nbsp_quotes_and_emoji(tmp_path):
    lines = [
        "  a cat ",
        "a\tdog",
        "a\u00a0bird",
        "a “curly” fish",
        "a 🐸 frog\u2028here",
        '"quoted',
        "a cow --ar 16:9::2",
    ]
    assert texts(write(tmp_path / "p.txt", "\n".join(lines))) == lines


def test_blank_lines_are_counted_and_rows_keep_their_line_numbers(tmp_path):
    rows = read(write(tmp_path / "p.txt", "a\n\n  \nb\n"))
    assert (rows.frame["row"].tolist(), rows.blank, rows.total) == ([1, 4], 2, 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    assert texts(write(tmp_path / "p.txt", "ein Bär\nein Hund".encode(encoding))) == ["ein Bär", "ein Hund"]


def test_a_wrong_encoding_is_refused_with_the_way_out(tmp_path):
    with pytest.raises(SourceError, match="iconv"):
        read(write(tmp_path / "p.txt", "un café noir\n".encode("cp1252")))


def test_a_folder_of_one_line_files_is_one_text_a_file_named_by_it(tmp_path):
    write(tmp_path / "b.txt", "a dog\n"), write(tmp_path / "a.txt", "a cat")
    frame = read(tmp_path).frame
    assert frame[["id", "text"]].values.tolist() == [["a", "a cat"], ["b", "a dog"]]


def test_a_folder_of_lists_is_one_text_a_line_with_the_file_as_category(tmp_path):
    write(tmp_path / "pets.txt", "a dog\na cat\n")
    assert read(tmp_path).frame[["category", "text", "file"]].values.tolist() == [
        ["pets", "a dog", "pets.txt"], ["pets", "a cat", "pets.txt"],
    ]  # fmt: skip


# tables


def test_quotation_marks_in_a_tsv_are_text_where_the_rows_fit_that_way(tmp_path):
    path = write(
        tmp_path / "p.tsv", 'Prompt\tCategory\n"G I G G L E" in paint\tArt\na 5" nail\tThings\n"open\tThings\n'
    )
    assert texts(path) == ['"G I G G L E" in paint', 'a 5" nail', '"open']


def test_a_quoted_tsv_is_unquoted(tmp_path):
    assert texts(write(tmp_path / "p.tsv", 'prompt\tid\n"a ""big"" cat"\t1\na dog\t2\n')) == ['a "big" cat', "a dog"]


def test_a_csv_cell_over_two_lines_is_one_text_and_has_its_first_line_number(tmp_path):
    frame = read(write(tmp_path / "p.csv", 'text,id\n"a cat\non a mat",007\na dog,8\n')).frame
    assert frame[["text", "row", "id"]].values.tolist() == [["a cat\non a mat", 2, "007"], ["a dog", 4, "8"]]


def test_rows_with_too_many_cells_or_open_quotes_are_bad_and_the_rest_is_read(tmp_path):
    rows = read(write(tmp_path / "p.csv", 'text,id\na cat, sitting,1\na dog,2\n"a bird,3\n'))
    assert rows.frame["text"].tolist() == ["a dog"]
    assert [(bad.row, bad.reason) for bad in rows.bad] == [
        (2, "3 cells where the header has 2"), (4, "a quotation mark opens here and never closes"),
    ]  # fmt: skip


def test_empty_texts_and_spreadsheet_errors_are_bad_rows(tmp_path):
    rows = read(write(tmp_path / "p.csv", "prompt,id\n#NAME?,1\n,2\n   ,3\n3:01,4\na cat,5\n"))
    assert rows.frame["text"].tolist() == ["3:01", "a cat"]
    assert [(bad.row, bad.reason) for bad in rows.bad] == [
        (2, "a spreadsheet error value, #NAME?"), (3, "the text is empty"), (4, "the text is empty"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "Prompt",
        "Prompts",
        "prompt",
        "prompt_en",
        "text",
        "caption",
        "short_description",
        "meta_prompt",
        "Input.caption",
    ],
)
def test_each_known_name_of_the_text_column_is_found(tmp_path, name):
    assert texts(write(tmp_path / "p.csv", f",{name},score\n0,a cat,99\n")) == ["a cat"]


def test_one_column_without_header_is_all_texts(tmp_path):
    assert texts(write(tmp_path / "p.csv", 'a cat\n"a dog, running"\n')) == ["a cat", "a dog, running"]


def test_a_table_without_header_is_read_by_column_number(tmp_path):
    assert texts(write(tmp_path / "p.csv", "1,a cat\n2,a dog\n"), text_column=1) == ["a cat", "a dog"]


def test_an_unknown_text_column_is_refused_with_the_names_there_are(tmp_path):
    path = write(tmp_path / "p.csv", "sentence_a,b\nx,y\n")
    with pytest.raises(SourceError, match="sentence_a, b"):
        read(path)
    with pytest.raises(SourceError, match="Did you mean 'sentence_a'"):
        read(path, text_column="sentence_b")


def test_other_columns_are_mapped_by_role_and_parameters_are_read_as_json(tmp_path):
    path = write(tmp_path / "p.csv", 'text,nr,kind,parameters\na cat,01,pets,"{""seed"": 1}"\na dog,02,pets,{oops\n')
    rows = read(path, columns={"id": "nr", "category": "kind"})
    assert rows.frame[["id", "category", "parameters"]].values.tolist() == [["01", "pets", {"seed": 1}]]
    assert "not valid JSON" in rows.bad[0].reason
    with pytest.raises(ParameterError, match="Did you mean 'category'"):
        read(path, columns={"categry": "kind"})


def test_excel_keeps_text_reports_errors_and_values_that_are_no_text(tmp_path):
    book = openpyxl.Workbook()
    for row in [["prompt", "id"], ["a cat", 1], ["#NAME?", 2], [5, 3], [None, None], ["=1+1", 4], ["a dog", 5]]:
        book.active.append(row)
    book.save(tmp_path / "p.xlsx")
    rows = read(tmp_path / "p.xlsx")
    assert rows.frame[["text", "row"]].values.tolist() == [["a cat", 2], ["a dog", 7]]
    assert [(bad.row, bad.reason) for bad in rows.bad] == [
        (3, "a spreadsheet error value, #NAME?"), (4, "the text is a int, not text"), (6, "the text is empty"),
    ]  # fmt: skip


def test_parquet_and_data_frames_are_read_as_they_are(tmp_path):
    frame = pd.DataFrame({"caption": ["a cat", None, "a dog"], "id": [1, 2, 3]})
    frame.to_parquet(tmp_path / "p.parquet")
    for source in (frame, tmp_path / "p.parquet"):
        rows = read(source)
        assert rows.frame[["text", "id", "row"]].values.tolist() == [["a cat", 1, 1], ["a dog", 3, 3]]
        assert [bad.row for bad in rows.bad] == [2]


# JSON


@pytest.mark.parametrize(
    "root",
    [
        [{"prompt": "a cat"}, {"prompt": "a dog"}], ["a cat", "a dog"], {"prompt": ["a cat", "a dog"], "id": [1, 2]},
        {"data": [{"prompt": "a cat"}, {"prompt": "a dog"}]}, {"1": {"prompt": "a cat"}, "2": {"prompt": "a dog"}},
        {"1": "a cat", "2": "a dog"},
    ],
)  # fmt: skip
def test_every_kind_of_json_root_gives_its_texts(tmp_path, root):
    assert texts(write(tmp_path / "p.json", json.dumps(root))) == ["a cat", "a dog"]


def test_json_lines_named_json_are_read_and_broken_lines_are_bad(tmp_path):
    rows = read(
        write(tmp_path / "p.json", '{"text": "a cat"}\n{"text": "a d\n[1]\n\n{"text": ["a"]}\n{"text": "a \\ud800"}\n')
    )
    assert rows.frame[["text", "row"]].values.tolist() == [["a cat", 1]]
    assert [bad.row for bad in rows.bad] == [2, 3, 5, 6] and rows.blank == 1


def test_large_files_come_in_chunks(tmp_path):
    write(tmp_path / "p.jsonl", "".join(json.dumps({"text": f"cat {i}"}) + "\n" for i in range(120_000)))
    chunks = list(read_chunks(tmp_path / "p.jsonl"))
    assert [len(chunk.frame) for chunk in chunks] == [50_000, 50_000, 20_000]
    assert chunks[2].frame.iloc[-1].tolist() == ["cat 119999", 120_000]


# pictures


def picture(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for key, value in chunks.items():
        info.add_itxt(key, value)
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)
    return path


def test_a_picture_of_a1111_gives_prompt_negative_and_settings(tmp_path):
    chunk = "a cat,\non a mat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 5, Size: 64x32, Model: sd"
    row = read(picture(tmp_path / "p.png", parameters=chunk)).frame.iloc[0]
    assert (row["text"], row["model"], row["id"]) == ("a cat,\non a mat", "sd", "p")
    assert row["parameters"] == {
        "num_inference_steps": 20, "guidance_scale": 7.5, "seed": 5, "sampler": "Euler a", "width": 64, "height": 32,
        "negative_prompt": "blurry",
    }  # fmt: skip


def test_a_picture_of_comfyui_is_followed_from_the_sampler_to_its_text(tmp_path):
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.ckpt"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0], "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly", "clip": ["1", 1]}},
        "4": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["2", 0]}},
        "5": {
            "class_type": "KSampler",
            "inputs": {"positive": ["4", 0], "negative": ["3", 0], "seed": 3, "steps": 4, "cfg": 1},
        },
        "6": {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}},
    }
    row = read(picture(tmp_path / "p.png", prompt=json.dumps(graph))).frame.iloc[0]
    assert (row["text"], row["model"]) == ("a cat", "sd.ckpt")
    assert row["parameters"] == {"num_inference_steps": 4, "guidance_scale": 1, "seed": 3, "negative_prompt": "ugly"}


@pytest.mark.parametrize(
    ("key", "chunk"),
    [
        ("invokeai_metadata", {"positive_prompt": "a cat", "seed": 1, "model": {"name": "sdxl"}}),
        ("sd-metadata", {"model_weights": "sdxl", "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "seed": 1}}),
        ("forgekit", {"prompt": "a cat", "model": "sdxl", "base_parameters": {"seed": 1}}),
    ],
)
def test_pictures_of_invokeai_and_our_own_give_their_prompt(tmp_path, key, chunk):
    row = read(picture(tmp_path / "p.png", **{key: json.dumps(chunk)})).frame.iloc[0]
    assert (row["text"], row["model"], row["parameters"]["seed"]) == ("a cat", "sdxl", 1)


def test_pictures_without_prompt_or_damaged_are_bad_rows_of_their_folder(tmp_path):
    (
        picture(tmp_path / "a.png"),
        picture(tmp_path / "b.png", parameters="a cat"),
        write(tmp_path / "c.png", b"\x89PNG no"),
    )
    picture(tmp_path / "d.png", prompt="{broken")
    rows = read(tmp_path)
    assert rows.frame["text"].tolist() == ["a cat"]
    assert [bad.file for bad in rows.bad] == ["a.png", "c.png", "d.png"]


# broken files


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", b"\x00\x01\x02binary"), ("p.csv", b""), ("p.csv", b"text," * 1_000_000), ("p.xlsx", b"no zip"),
        ("p.parquet", b"PAR1 cut"), ("p.json", b"{"), ("p.json", b"[" * 100_000), ("p.json", b"3"), ("p.tsv", b"\xff\xfe\x00"),
        ("p.jsonl", b"oops\n"), ("p.csv", b'text\n"' + b"x" * 200_000),
    ],
)  # fmt: skip
def test_a_broken_file_ends_in_a_clear_error_or_a_listed_row(tmp_path, name, content):
    try:
        rows = read(write(tmp_path / name, content))
    except SourceError as error:
        assert "p." in str(error)
    else:
        assert len(rows.frame) == 0 and rows.bad


def test_fuzzed_files_give_rows_or_a_source_error(tmp_path):
    rng = random.Random(0)
    frame = pd.DataFrame({"text": ["a cat", 'a "big" dog', "ein Bär"], "id": [1, 2, 3]})
    frame.to_csv(tmp_path / "p.csv"), frame.to_parquet(tmp_path / "p.parquet"), frame.to_excel(tmp_path / "p.xlsx")
    frame.to_json(tmp_path / "p.json"), frame.to_json(tmp_path / "p.jsonl", orient="records", lines=True)
    picture(tmp_path / "p.png", parameters="a cat")
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for _ in range(40):
            damaged = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.5 else whole)
            for _ in range(rng.randrange(6)):
                if damaged:
                    damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged)
            try:
                rows = read(path)
            except SourceError:
                continue
            assert all(isinstance(text, str) and text.strip() for text in rows.frame["text"])


def test_nul_characters_make_a_row_bad(tmp_path):
    rows = read(write(tmp_path / "p.csv", b"text,id\n" + b"a cat,1\n" * 200 + b"a\x00dog,2\n"))
    assert (len(rows.frame), rows.bad[0].row, rows.bad[0].reason) == (200, 202, "the text has a NUL character in it")


def test_a_missing_file_and_an_unknown_format_say_what_would_work(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "nope.csv")
    with pytest.raises(ParameterError, match="Did you mean 'partiprompts'"):
        read(write(tmp_path / "p.tsv", "Prompt\tb\n"), format="partiprompt")


# benchmarks


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
    assert [question["after"] for question in elements["questions"]] == [[], [1], [1], [], [1, 4]]


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
    assert [q["answer"] for q in frame["elements"][0]["questions"]] == ["yes", "cat"] and len(frame) == 1
    record = {"prompt": "two cats", "atom_count": 2, "vqa_list": [["How many cats?", "two"]], "skills": ["count"]}
    frame = read(write(tmp_path / "geneval2_data.jsonl", json.dumps(record)), format="geneval2").frame
    assert frame["elements"][0]["questions"][0]["kind"] == "count" and frame["elements"][0]["objects"][0]["count"] == 2


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


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public sets do not ship with forgekit")
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
    found = read(SHARED / source, format=name)
    assert (len(found.frame), found.bad) == (rows, [])


def test_all_benchmarks_of_the_plan_are_known():
    plan = "partiprompts drawbench geneval geneval2 t2i-compbench dsg-1k tifa genai-bench hpsv2 gecko unigenbench t2i-r1 diffusiondb"
    assert set(BENCHMARK_NAMES) == set(plan.split())
