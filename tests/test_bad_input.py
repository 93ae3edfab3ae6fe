"""Files by mail (tests/corpus, and larger ones made here): each ends as its table says, none in a raw traceback or after 10 s."""

from __future__ import annotations

import json
import os
import threading
import time
import tomllib
import zipfile
from pathlib import Path

import openpyxl
import pandas as pd
import pytest
from picture_files import png

import forgekit as fk
from forgekit.errors import ForgekitError

CORPUS = Path(__file__).with_name("corpus")
OUTCOMES = tomllib.loads((CORPUS / "outcomes.toml").read_text("utf-8"))
LIMIT_S = 10.0


def outcome(store, source) -> tuple[str, str]:
    """How many went in and how many failed, or "error"; and what was said."""
    started = time.process_time()
    try:
        report = fk.import_prompts(store, source)
        found = f"{report.done} {report.failed}", " ".join([*report.failures.values(), *report.notes])
    except ForgekitError as error:
        found = "error", str(error)
    assert time.process_time() - started < LIMIT_S
    found[1].encode()  # it can be printed
    return found


def test_every_file_of_the_corpus_has_its_outcome():
    assert {path.name for path in CORPUS.iterdir()} == {*OUTCOMES, "outcomes.toml"}


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_file_of_the_corpus_ends_as_the_table_says(store, name):
    expected = OUTCOMES[name]
    found, said = outcome(store, CORPUS / name)
    if "error" in expected:
        assert (found, expected["error"] in said) == ("error", True), said
    else:
        assert found == f"{expected['done']} {expected['failed']}"
        assert expected.get("says", "") in said


def lines(name, *records):
    return lambda folder: _written(folder / name, "".join(f"{each}\n" for each in records))


def _written(path, text):
    path.write_text(text, "utf-8")
    return path


def workbook(*sheets, hidden=()):
    def make(folder):
        book = openpyxl.Workbook()
        book.remove(book.active)
        for number, rows in enumerate(sheets):
            sheet = book.create_sheet(f"S{number}")
            sheet.sheet_state = "hidden" if number in hidden else "visible"
            for row in rows:
                sheet.append(row)
        book.save(folder / "p.xlsx")
        return folder / "p.xlsx"

    return make


def bomb(folder):
    path = workbook([["prompt"], ["a cat"]])(folder)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(folder / "q.xlsx", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
        with target.open("xl/worksheets/more.xml", "w", force_zip64=True) as file:
            for _ in range(300):
                file.write(b" " * (1 << 20))
    return folder / "q.xlsx"


def fifo(folder):
    os.mkfifo(folder / "p.txt")
    return folder / "p.txt"


def picture_text(text):
    return lambda folder: png(folder / "p.png", parameters=text) and folder / "p.png"


def cell(**said):
    return json.dumps({"prompt": "a red circle", **said})


OK = '{"prompt": "a blue star"}'
MADE = {
    "a prompt of 40,000 characters": (lines("p.txt", "a " * 20_000, "a blue star"), "1 1", "40,000 characters"),
    "a line of 10 MB": (lines("p.txt", "a " * 5_000_000, "a blue star"), "1 1", "more than 10,000"),
    "a note of 10 MB": (lines("p.jsonl", cell(note="x" * 10_000_000), OK), "2 0", "left out"),
    "an id of 10 MB": (lines("p.jsonl", cell(id="x" * 10_000_000), OK), "2 0", "left out"),
    "a negative prompt of 10 MB": (lines("p.jsonl", cell(negative_prompt="x" * 10_000_000), OK), "1 1", "negative_prompt"),
    "100,000 columns": (lines("p.jsonl", cell(**{f"k{n}": n for n in range(100_000)}), OK), "1 1", "2,000 names"),
    "JSON a hundred thousand deep": (lines("p.json", "[" * 100_000), "error", "nested too deep"),
    "a record a hundred thousand deep": (lines("p.jsonl", '{"prompt":"a","x":' + "[" * 100_000, OK), "1 1", "JSON"),
    "a column 500 deep": (lines("p.jsonl", '{"prompt":"a red circle","x":' + "[" * 500 + "]" * 500 + "}", OK), "2 0", "left out"),
    "parameters 500 deep": (lines("p.jsonl", '{"prompt":"a","parameters":{"x":' + "[" * 500 + "]" * 500 + "}}", OK), "1 1", "x"),
    "YAML a hundred thousand deep": (lines("p.yaml", "[" * 100_000), "error", "not valid YAML"),
    "a workbook that unpacks to 300 MB": (bomb, "error", "times its size"),
    "formulas without values": (workbook([["prompt"], ['="a "&"cat"'], ["a dog"]]), "1 1", "formula without a stored value"),
    "a hidden sheet before the real one": (workbook([["prompt"], ["old"]], [["prompt"], ["a dog"]], hidden=[0]), "1 0", "'S0' (hidden)"),
    "rows in a hidden sheet alone": (workbook([["prompt"], ["old"]], [], hidden=[0]), "error", "unhide the sheet 'S0'"),
    "sheets of one row behind": (workbook([["prompt"], ["a dog"]], [["a cat"]]), "1 0", "'S1'"),
    "a sheet of notes before": (workbook([["Read me"]], [["prompt"], ["a dog"]]), "1 0", "'S0'"),
    "blank rows on top": (workbook([[None, " "]] * 9 + [["id", "prompt"], [1, "a dog"]]), "1 0", ""),
    "a pipe that nobody writes into": (fifo, "error", "nothing is written into the pipe"),
    "a device": (lambda folder: "/dev/zero", "error", "neither a file nor a folder"),
    "an address with a password": (lambda folder: "https://me:s3cret@host/p.csv?key=s3cret", "error", "https://host/p.csv is an address"),
    "what DOS ends a file with": (lines("p.txt", "a blue star", "\x1a"), "1 1", "no character that can be seen"),
    "no name": (lambda folder: "", "error", "empty text"),
    "a name of 5,000 characters": (lambda folder: "x" * 5_000, "error", "File name too long"),
    "a name with half a character": (lambda folder: "x\ud800", "error", "cannot be read"),
    "a name with a NUL": (lambda folder: "a\0b", "error", "cannot be read"),
    "a list of no text": (lambda folder: ["a cat", 7, None], "1 2", "not text"),
    "a list of lists": (lambda folder: [["a cat"]], "error", "no prompt source"),
    "an empty list": (lambda folder: [], "error", "no prompt source"),
    "a picture with 60 kB of commas": (picture_text("a cat\nSteps: 1" + "," * 60_000), "1 0", ""),
    "a picture with 60 kB of quotes": (picture_text("a cat\nSteps: 2, " + 'Hashes: "' * 7_000), "0 1", "more than 10,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_a_file_too_large_to_keep_in_the_corpus_ends_as_it_should(store, tmp_path, name):
    make, expected, says = MADE[name]
    found, said = outcome(store, make(tmp_path))
    assert (found, says in said) == (expected, True), said


@pytest.mark.parametrize("form", ["txt", "csv", "jsonl"])
def test_a_pipe_is_read_whole(store, form):
    texts = [f"a red circle number {number}" for number in range(10_000)]
    form = {
        "txt": "\n".join(texts),
        "csv": "prompt,steps\n" + "\n".join(f"{text},4" for text in texts),
        "jsonl": "\n".join(json.dumps({"prompt": text}) for text in texts),
    }[form]
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(writing, "w").write(form) and None)
    writer.start()
    assert fk.import_prompts(store, f"/dev/fd/{reading}", dry_run=True).details["would be new"] == 10_000
    writer.join()
    os.close(reading)


def test_a_column_of_texts_alone_is_read_from_a_pipe_as_from_a_file(store):
    reading, writing = os.pipe()
    os.write(writing, b'prompt\n"a red circle, and a ""blue"" star"\ntwo blue squares\n')
    os.close(writing)
    fk.import_prompts(store, f"/dev/fd/{reading}")
    os.close(reading)
    texts = {row["scene_text"] for row in store.rows("select scene_text from scenes")}
    assert texts == {'a red circle, and a "blue" star', "two blue squares"}


@pytest.mark.parametrize(
    "said", [{"num_inference_steps": 10**9}, {"width": 10**5, "height": 10**5}, {"negative_prompt": ["a", "b"]}, {"sigmas": [1.0] * 2000}]
)  # fmt: skip
def test_what_a_caller_says_has_the_same_bounds_and_a_store_from_before_them_too(store, imported, fake_generator, said):
    with pytest.raises(fk.errors.ParameterError, match=next(iter(said)).removesuffix("th") + "|×"):
        fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), parameters=said)
    fk.complete_prompts(imported)
    with store.transaction() as con:
        con.execute(
            "update prompts set base_parameters = $said where prompt_text like '%circle%'", {"said": json.dumps(said)}
        )
    report = fk.generate_images(store, images_per_prompt=1, image_generator=fake_generator)
    assert (report.done, report.failed) == (2, 1)
