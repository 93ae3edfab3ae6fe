"""Prompt sources: each oddity that real sets have, and files that are broken on purpose."""

from __future__ import annotations

import json
import random
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from picture_files import png as picture

from forgekit.errors import ParameterError, SourceError
from forgekit.sources import read, read_chunks


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


def test_blank_lines_are_no_rows_and_rows_keep_their_line_numbers(tmp_path):
    rows = read(write(tmp_path / "p.txt", "a\n\n  \nb\n"))
    assert (rows.frame["row"].tolist(), rows.total) == ([1, 4], 2)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path, encoding):
    assert texts(write(tmp_path / "p.txt", "ein Bär\nein Hund".encode(encoding))) == ["ein Bär", "ein Hund"]


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
    lines = 'Prompt\tCategory\n"G I G G L E" in paint\tArt\na 5" nail\tThings\n"open\tThings\n'
    path = write(tmp_path / "p.tsv", lines)
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
    "name", ["Prompt", "Prompts", "prompt", "prompt_en", "text", "caption", "short_description", "meta_prompt", "Input.caption"]
)  # fmt: skip
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
        (3, "a spreadsheet error value, #NAME?"), (4, "the text is a int, not text"), (6, "a formula without a stored value; open the workbook and save it, or store the texts themselves"),
    ]  # fmt: skip


def test_parquet_and_data_frames_are_read_as_they_are(tmp_path):
    frame = pd.DataFrame({"caption": ["a cat", None, "a dog"], "id": [1, 2, 3]})
    frame.to_parquet(tmp_path / "p.parquet")
    for source in (frame, tmp_path / "p.parquet"):
        rows = read(source)
        assert rows.frame[["text", "id", "row"]].values.tolist() == [["a cat", 1, 1], ["a dog", 3, 3]]
        assert [bad.row for bad in rows.bad] == [2]


# JSON


def test_json_lines_named_json_are_read_and_broken_lines_are_bad(tmp_path):
    lines = '{"text": "a cat"}\n{"text": "a d\n[1]\n\n{"text": ["a"]}\n{"text": "a \\ud800"}\n'
    rows = read(write(tmp_path / "p.json", lines))
    assert rows.frame[["text", "row"]].values.tolist() == [["a cat", 1]]
    assert [bad.row for bad in rows.bad] == [2, 3, 5, 6]


def test_large_files_come_in_chunks(tmp_path):
    write(tmp_path / "p.jsonl", "".join(json.dumps({"text": f"cat {i}"}) + "\n" for i in range(120_000)))
    chunks = list(read_chunks(tmp_path / "p.jsonl"))
    assert [len(chunk.frame) for chunk in chunks] == [50_000, 50_000, 20_000]
    assert chunks[2].frame.iloc[-1].tolist() == ["cat 119999", 120_000]


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


@pytest.mark.parametrize(
    "texts",
    [["a cat", "two dogs"], ("a cat", "two dogs"), pd.Series(["a cat", "two dogs"]), [{"prompt": "a cat"}, {"prompt": "two dogs"}]],
    ids=["list", "tuple", "Series", "rows"],
)  # fmt: skip
def test_texts_at_hand_are_a_source(texts):
    assert list(read(texts).frame["text"]) == ["a cat", "two dogs"]


def test_rows_at_hand_say_how_they_are_drawn():
    rows = read([{"prompt": "a cat", "steps": 4, "seed": 7}, {"prompt": "a dog"}]).frame
    assert list(rows["parameters"]) == [{"num_inference_steps": 4, "seed": 7}, {}]


def test_a_text_in_the_place_of_a_file_says_how_it_is_given():
    with pytest.raises(SourceError, match="'?a red circle'? does not exist; a text itself is given in a list"):
        read("a red circle")


def test_a_missing_file_and_an_unknown_format_say_what_would_work(tmp_path):
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "nope.csv")
    with pytest.raises(ParameterError, match="Did you mean 'partiprompts'"):
        read(write(tmp_path / "p.tsv", "Prompt\tb\n"), format="partiprompt")
