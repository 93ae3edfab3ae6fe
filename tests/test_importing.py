"""import_prompts: every row accounted for, once, in one transaction, under ids that never change."""

from __future__ import annotations

import hashlib
import json
import random
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import forgekit as fk
from forgekit.errors import ForgekitError, ParameterError, SourceError
from forgekit.ids import content_id
from forgekit.scene import normalise, scene_hash

ROOT = Path(__file__).parents[1]
PROMPTS = "select * exclude (created_at, last_updated) from prompts order by id"
SCENES = "select * exclude (created_at) from scenes order by scene_hash"
SAME_SCENE = ["A red  cat.", "a red cat", " a RED\u00a0cat !", "a red cat…", "ａ red cat", "a\tred cat\r"]
HARD_TEXTS = [
    *SAME_SCENE, "...", "!", "straße", "STRASSE", "İstanbul", "ﬁne ½ cup", "e\u0301", "é", "~", "a\x1cb", "tab\tand\vfeed\f", "Ǆ ͅ",
    "a 'quoted' \"text\"", "back\\slash", "100% {a|b}", "猫。", "a cat ;", "a cat ; ,", "x" * 5000, "\u200b", "a\u2028b", "🐸 frog",
]  # fmt: skip

UNSEEN = "\u200b"  # it has an id, and is a bad row now
SYNTAX = re.compile("^- |^-\t|::|🐸")
# Of the ids that the texts of the first test (none has prompt syntax) had when no id knew of syntax, on 2026-11-29, a line each.
IDS_OF_2026 = "b86d0891042c3090d44139e4e75e565aad84573f8b0cc8ef33e50bd9d971e46a"


def lines(path: Path, records: list) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
    return path


def record(store) -> tuple[list, list]:
    return store.rows(PROMPTS), store.rows(SCENES)


def test_hashes_and_ids_are_made_of_content_alone_and_stay_what_they_were(store):
    rng = random.Random(3)
    alphabet = "aB cÄ.,;:! ?\t'\"\\ßé…　Ａ1/-\x1f"
    texts = HARD_TEXTS + ["".join(rng.choices(alphabet, k=rng.randint(1, 12))) for _ in range(3000)]
    texts = [text for text in texts if not text.isspace() and not SYNTAX.search(text)]
    parameters = [{"seed": 1, "note": 'ü"'} if i % 3 == 0 else {} for i in range(len(texts))]
    frame = pd.DataFrame({"text": texts, "parameters": parameters})
    report = fk.import_prompts(store, frame, experiment='an "arm"')
    wanted = {
        content_id("prompt", scene_hash=scene_hash(t), model="mini", experiment='an "arm"', base_parameters=p): t
        for t, p in zip(texts, parameters, strict=True)
    }
    stored = {id for id, text in wanted.items() if text != UNSEEN}
    assert {row["id"] for row in store.rows("select id from prompts")} == stored and len(stored) == len(wanted) - 1
    assert hashlib.sha256("\n".join(sorted(wanted)).encode()).hexdigest() == IDS_OF_2026
    assert {row["scene_hash"] for row in store.rows("select scene_hash from scenes")} == {
        scene_hash(t) for t in texts if t != UNSEEN
    }
    assert (report.done, report.details["duplicates in the source"]) == (len(stored), len(texts) - len(wanted))
    assert fk.check(store).findings == []


def test_a_text_without_a_character_that_can_be_seen_is_a_bad_row(store):
    report = fk.import_prompts(store, pd.DataFrame({"text": ["\u200b", "\x1c\u200d", "\ufeff", "a cat"]}))
    assert (report.done, report.failed) == (1, 3)
    assert all(reason.startswith("the text has no character that can be seen") for reason in report.failures.values())


def test_every_odd_text_of_a_json_lines_file_is_stored_as_it_stands(store, tmp_path):
    records = [{"id": i, "prompt": t, "category": ["x", i]} for i, t in enumerate(HARD_TEXTS)]
    report = fk.import_prompts(store, lines(tmp_path / "p.jsonl", records))
    stored = {row["prompt_text"] for row in store.rows("select prompt_text from prompts")}
    assert (
        stored <= set(HARD_TEXTS)
        and len(stored) == len({normalise(t) for t in HARD_TEXTS if t != UNSEEN}) == report.done
    )
    [scene] = store.rows("select source from scenes where scene_text = 'frog'")  # an emoji is no word of it
    place = HARD_TEXTS.index("🐸 frog")
    assert scene["source"] == {"category": ["x", place], "file": "p.jsonl", "id": place, "row": place + 1}


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": 5}', '{"prompt": null}', '{"id": 1}', '["a"]', "{bad", '{"prompt": " "}', '{"prompt": "#NAME?"}',
        '{"prompt": "a\\u0000b"}', '{"prompt": "\\ud800"}', '{"prompt": "\\u00a0"}', "5", '{"prompt": "a", "parameters": 3}',
        '{"prompt": "a", "parameters": {"a": "\\ud800"}}', '{"prompt": "a", "parameters": "{oops"}',
    ],
)  # fmt: skip
def test_one_bad_line_is_listed_with_its_number_and_the_others_come_in(store, tmp_path, line):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "a cat"}\n' + line + '\n{"prompt": "a dog"}\n')
    report = fk.import_prompts(store, path)
    assert (report.done, list(report.failures)) == (2, ["row 2"])
    [log] = store.rows("select ok, error_context, request from api_logs")
    assert not log["ok"] and log["error_context"]["errors"][0].startswith("row 2: ") and log["request"]["rows"] == 3


def test_texts_with_one_normal_form_are_one_scene_whose_first_text_stands(store):
    assert len({normalise(text) for text in SAME_SCENE}) == 1
    report = fk.import_prompts(store, pd.DataFrame({"text": SAME_SCENE}))
    assert (report.done, report.details["duplicates in the source"]) == (1, 5)
    assert store.rows("select scene_text from scenes") == [{"scene_text": SAME_SCENE[0]}]


def test_importing_again_adds_nothing_and_says_so(store):
    frame = pd.DataFrame({"text": ["a cat", "a dog"]})
    fk.import_prompts(store, frame)
    before = record(store)
    report = fk.import_prompts(store, frame)
    assert (report.done, report.skipped, report.details) == (0, 2, {"already stored": 2})
    assert record(store) == before


def test_rows_keep_their_own_model_parameters_and_what_the_source_says_of_them(store, tmp_path):
    (tmp_path / "p.csv").write_text(
        'key,prompt,model,parameters,kind\n007,a cat,flux,"{""seed"": 3}",animal\n008,a dog,,,\n'
    )
    fk.import_prompts(store, tmp_path / "p.csv", columns={"id": "key", "category": "kind"})
    cat, dog = store.rows("select p.*, s.source from prompts p join scenes s using (scene_hash) order by prompt_text")
    assert (cat["model"], cat["base_parameters"], dog["model"], dog["base_parameters"]) == (
        "flux-1",  # the one name of the two that this model has
        {"seed": 3},
        "mini",
        {},
    )
    assert cat["source"] == {"category": "animal", "file": "p.csv", "id": "007", "row": 2}


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_the_parameters_of_an_import_are_those_of_every_row_that_says_nothing_else(store, tmp_path, name):
    frame = pd.DataFrame({"text": ["a cat", "a dog"], "parameters": ['{"seed": 3}', None]})
    if name == "p.csv":
        frame.to_csv(tmp_path / name, index=False)
    else:
        lines(tmp_path / name, [{"text": "a cat", "parameters": {"seed": 3}}, {"text": "a dog"}])
    fk.import_prompts(store, tmp_path / name, parameters={"seed": 1, "guidance_scale": 2.5})
    rows = store.rows("select id, scene_hash, base_parameters from prompts order by prompt_text")
    assert [row["base_parameters"]["seed"] for row in rows] == [3, 1]
    assert [row["base_parameters"]["guidance_scale"] for row in rows] == [2.5, 2.5]
    for row in rows:
        named = {name: row[name] for name in ("scene_hash", "base_parameters")}
        assert row["id"] == content_id("prompt", **named, model="mini", experiment="main")


def test_numpys_values_are_stored_as_numbers_and_what_is_no_value_is_left_out(store):
    said = [
        {
            "num_inference_steps": np.int64(4),
            "true_cfg_scale": np.float32(2.5),
            "more": {"a": [np.bool_(True), Decimal("1.5")]},
        },
        {"true_cfg_scale": float("nan"), "seed": pd.NA, "width": None},
        '{"true_cfg_scale": NaN, "seed": 3}',
        {"true_cfg_scale": float("inf")},
        {"callback": print},
    ]
    report = fk.import_prompts(
        store, pd.DataFrame({"prompt": list("abcde"), "parameters": said}), parameters={"seed": np.int64(7)}
    )
    stored = store.rows("select base_parameters as p from prompts order by prompt_text")
    assert [row["p"] for row in stored] == [
        {"num_inference_steps": 4, "true_cfg_scale": 2.5, "more": {"a": [True, 1.5]}, "seed": 7}, {"seed": 7}, {"seed": 3},
    ]  # fmt: skip
    assert "true_cfg_scale is inf" in report.failures["row 4"] and "callback" in report.failures["row 5"]
    for value in (np.nan, float("inf"), pd.NA):
        with pytest.raises(ParameterError, match="cfg"):
            fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), parameters={"cfg": value})


def test_what_was_assumed_skipped_and_not_understood_is_in_the_report_and_the_log(store, tmp_path):
    (tmp_path / "p.csv").write_bytes(
        "# mine\nBeschreibung;steps;sampler;mood\nein Bär;4;Restart;grün\n".encode("cp1252")
    )
    report = fk.import_prompts(store, tmp_path / "p.csv")
    for words in ("cp1252", "semicolons", "comment lines skipped (# or //): 1", "'mood'", "'Restart'"):
        assert words in str(report)
    [log] = store.rows("select response from api_logs")
    assert log["response"]["notes"] == report.notes
    [row] = store.rows("select source, base_parameters from prompts join scenes using (scene_hash)")
    assert row["base_parameters"] == {"num_inference_steps": 4}
    assert row["source"] == {"file": "p.csv", "row": 3, "mood": "grün", "sampler": "Restart"}


def test_a_checkpoint_that_is_no_model_here_is_kept_as_a_note_and_the_model_named_draws(store, tmp_path):
    (tmp_path / "p.csv").write_text(
        "prompt,model\na cat,v1-5-pruned.safetensors\na dog,DreamShaper 8\na fish,flux\na bird,\n"
    )
    report = fk.import_prompts(store, tmp_path / "p.csv", model="mini")
    rows = store.rows(
        "select model, source ->> 'model' as said from prompts join scenes using (scene_hash) order by prompt_text"
    )
    assert [(row["model"], row["said"]) for row in rows] == [
        ("mini", None), ("mini", "v1-5-pruned.safetensors"), ("mini", "DreamShaper 8"), ("flux-1", None),
    ]  # fmt: skip
    assert "'DreamShaper 8'" in str(report) and "mini draws" in str(report)


def test_a_column_named_like_one_of_ours_is_kept_beside_it(store):
    fk.import_prompts(
        store, pd.DataFrame({"text": ["a cat"], "template": ["T1"], "source": ["web"], "benchmark": ["B"]})
    )
    [scene] = store.rows("select source from scenes")
    assert scene["source"] == {"row": 1, "template": "T1", "source": "web", "benchmark": "B"}


def test_a_dry_run_shows_the_first_rows_and_stores_nothing(store):
    fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}))
    report = fk.import_prompts(store, pd.DataFrame({"text": ["a dog", "a Cat", "a dog", None]}), dry_run=True)
    assert report.details == {"would be new": 1, "already stored": 1, "duplicates in the source": 1}
    assert report.notes == ["mini: 'a dog'", "mini: 'a Cat'"] and report.failed == 1
    assert store.rows("select count(*) as n from prompts") == [{"n": 1}]


def test_templates_are_expanded_by_seed_and_kept_beside_the_text(store):
    frame = pd.DataFrame({"text": ["a {red|blue|green} cat", "a {big|small} dog"]})
    report = fk.import_prompts(store, frame, expand=2, seed=4)
    assert report.done == 4
    sources = store.rows("select scene_text, source from scenes order by scene_text")
    assert {row["source"]["template"] for row in sources} == set(frame["text"])
    assert all("{" not in row["scene_text"] for row in sources)
    other = fk.import_prompts(store, frame.iloc[::-1], expand=2, seed=4)
    assert other.done == 0


def test_a_benchmarks_annotation_is_the_scenes_elements(store, tmp_path):
    entry = {"tag": "counting", "include": [{"class": "bench", "count": 2}], "prompt": "a photo of two benches"}
    fk.import_prompts(store, lines(tmp_path / "m.jsonl", [entry]), format="geneval")
    [scene] = store.rows("select elements, source from scenes")
    assert scene["elements"]["objects"][0]["count"] == 2
    assert (scene["source"]["benchmark"], scene["source"]["category"]) == ("geneval", "counting")


def fuzzed(rng: random.Random) -> dict[str, bytes]:
    """Files broken on purpose, name → content."""
    csv = "id,prompt\n" + "".join(f"{i},a cat number {i}\n" for i in range(50))
    jsonl = "".join(json.dumps({"prompt": f"a dog {i}"}) + "\n" for i in range(50))
    noise = bytes(rng.randrange(256) for _ in range(4000))
    return {
        "noise.csv": noise, "noise.json": noise, "noise.jsonl": noise, "noise.txt": noise, "noise.xlsx": noise,
        "noise.parquet": noise, "noise.png": noise, "noise": noise, "empty.csv": b"", "empty.jsonl": b"", "empty.txt": b"",
        "nul.csv": csv.replace("number 7", "\0").encode(), "nul.txt": b"a cat\n" + b"b\0c\n" * 3,
        "latin.csv": csv.replace("cat", "caf\u00e9").encode("latin-1"),
        "cut.csv": csv.encode()[:-9] + b'"', "cut.jsonl": jsonl.encode()[:-9], "cut.json": json.dumps([{"prompt": "a"}] * 9).encode()[:-5],
        "huge.csv": b'id,prompt\n1,"' + b"x" * 300_000 + b'"\n2,a cat\n', "huge.jsonl": b'{"prompt": "' + b"y" * 9_000_000 + b'"}\n',
        "wide.csv": b",".join(b"c%d" % i for i in range(1_000_000)) + b"\n", "deep.json": b"[" * 100_000,
        "deep.jsonl": b'{"prompt": "a", "x": ' + b"[" * 100_000 + b"\n",
        "formula.csv": b"id,prompt\n1,=1+1\n2,#REF!\n3,a cat\n", "cut.parquet": b"PAR1" + noise, "cut.png": b"\x89PNG\r\n\x1a\n" + noise,
        "cut.xlsx": b"PK\x03\x04" + noise,
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(fuzzed(random.Random(5))))
def test_a_broken_file_is_a_clear_error_or_its_good_rows_and_never_half_an_import(store, tmp_path, name):
    content = fuzzed(random.Random(5))[name]
    (tmp_path / name).write_bytes(content)
    try:
        report = fk.import_prompts(store, tmp_path / name)
    except ForgekitError as error:
        assert name in str(error) or "binary" in str(error)
        assert store.rows("select count(*) as n from prompts") == [{"n": 0}]
        return
    assert store.rows("select count(*) as n from prompts") == [{"n": report.done}]
    assert report.done + report.skipped + report.failed == content.count(b"\n") - name.endswith("csv") + (
        not content.endswith(b"\n") and bool(content)
    )


def test_a_formula_counts_as_text_and_a_spreadsheet_error_is_a_bad_row(store, tmp_path):
    (tmp_path / "f.csv").write_bytes(fuzzed(random.Random(5))["formula.csv"])
    report = fk.import_prompts(store, tmp_path / "f.csv")
    assert list(report.failures) == ["row 3"] and report.done == 2


def test_a_million_columns_are_refused_by_name(store, tmp_path):
    (tmp_path / "wide.csv").write_bytes(fuzzed(random.Random(5))["wide.csv"])
    with pytest.raises(SourceError, match=r"1,000,000 columns"):
        fk.import_prompts(store, tmp_path / "wide.csv")


@pytest.mark.parametrize(
    ("options", "words"), [({"expand": -1}, "expand=-1"), ({"experiment": ""}, "experiment is empty")]
)
def test_bad_options_are_refused_before_anything_is_read(store, options, words):
    with pytest.raises(ParameterError, match=words):
        fk.import_prompts(store, "no-such-file.csv", **options)


def test_the_command_line_takes_columns_benchmarks_templates_and_a_dry_run(tmp_path):
    def forgekit(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "forgekit.cli", "import", *arguments, "--store", str(tmp_path / "s.duckdb")]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "colors.txt").write_text("red\nblue\n")
    (tmp_path / "p.csv").write_text("key,words,kind\n1,a __colors__ cat,pet\n")
    common = [str(tmp_path / "p.csv"), "--text-column", "words", "--columns", "id=key,category=kind"]
    dry = forgekit(*common, "--wildcards", str(tmp_path / "wild"), "--dry-run")
    assert dry.returncode == 0 and "2 would be new" in dry.stdout and "a red cat" in dry.stdout
    done = forgekit(*common, "--wildcards", str(tmp_path / "wild"), "--expand", "1", "--seed", "3")
    assert "import: 1 done" in done.stdout, done.stderr
    [scene] = fk.open_store(tmp_path / "s.duckdb").rows("select source from scenes")
    assert (scene["source"]["id"], scene["source"]["category"]) == ("1", "pet")
    wrong = forgekit(*common[:3], "--columns", "id")
    assert wrong.returncode == 2 and "NAME=VALUE" in wrong.stderr
