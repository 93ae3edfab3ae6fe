"""Files and folders as they are: encodings, comments, flags, YAML, captions, shards, pictures in tables; what is none is named."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from picture_files import png as picture
from test_sources import texts, write

from forgekit.errors import ParameterError, SourceError
from forgekit.sources import expand_rows, read
from forgekit.sources.rows import Reading

INFOTEXT = (
    "a cat,\non a mat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64\n"
)


def notes(source, **options) -> str:
    return "\n".join(read(source, **options).notes.lines())


# encodings


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("cp1252", ["un café noir", "ein grüner Bär – “groß”"]), ("utf-16-le", ["a red circle", "ein Bär"]),
        ("utf-16-be", ["一只红色的猫坐在桌子上", "两只狗"]), ("gb18030", ["一只红色的猫坐在桌子上", "两只狗在草地上奔跑"]),
        ("cp932", ["赤い丸", "緑の星がテーブルの上にある"]), ("cp1251", ["красный круг слева от синего квадрата", "зелёная звезда"]),
        ("cp932", ["赤い猫", "青い犬がいる"]), ("euc_jp", ["赤い猫", "青い犬がいる"]), ("cp949", ["빨간 고양이", "파란 개가 풀밭에서 달린다"]),
        ("cp1250", ["czerwone koło", "żółta gwiazda na niebie"]), ("big5", ["一隻紅色的貓坐在桌子上", "兩隻狗"]),
    ],
)  # fmt: skip
def test_an_encoding_without_a_mark_is_told_from_the_bytes_and_said(tmp_path, encoding, lines):
    path = write(tmp_path / "p.txt", "\n".join(lines).encode(encoding))
    assert texts(path) == lines
    assert f"read as {encoding}" in notes(path)


def test_an_encoding_that_is_named_is_taken_and_one_that_cannot_be_told_is_asked_for(tmp_path):
    path = write(tmp_path / "p.txt", "un café noir à l'été\n".encode("cp850"))
    with pytest.raises(SourceError, match="encoding='cp1252'"):
        read(path)
    assert texts(path, encoding="cp850") == ["un café noir à l'été"]
    with pytest.raises(ParameterError, match="klingon"):
        read(path, encoding="klingon")


def test_utf8_with_some_damage_is_not_taken_for_another_encoding(tmp_path):
    with pytest.raises(SourceError, match="not valid utf-8"):
        read(write(tmp_path / "p.txt", "ein Bär\n".encode() * 50 + b"\xff\n"))


@pytest.mark.parametrize(
    ("name", "content"), [("c.txt", "weiß\n# nein\nblau\n"), ("c.yaml", "c: [weiß, blau]\n"), ("c.json", '{"c": ["weiß", "blau"]}')]
)  # fmt: skip
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_wildcard_files_are_read_in_their_encoding_too(tmp_path, name, content, encoding):
    write(tmp_path / name, content.encode(encoding))
    reading = Reading()
    frame = expand_rows(pd.DataFrame({"text": ["__c__"], "row": [1]}), wildcards=tmp_path, reading=reading)
    assert frame["text"].tolist() == ["weiß", "blau"]
    assert ("cp1252" in "".join(reading.notes.lines())) == (encoding == "cp1252")


# lines


def test_comment_lines_are_skipped_counted_and_named(tmp_path):
    path = write(
        tmp_path / "p.txt", "# my prompts, version 2\na red circle\n// night\n#sunset\n\\#1 cat\na #tag // x\n"
    )
    assert texts(path) == ["a red circle", "#1 cat", "a #tag // x"]
    assert "skipped (# or //): 3 (p.txt line 1 '# my prompts, version 2'" in notes(path)


def test_lines_of_flags_are_records_and_other_lines_stay_as_they_stand(tmp_path):
    path = write(
        tmp_path / "p.txt",
        """--prompt "a \\"big\\" cat" --negative_prompt "blurry" --steps 20
        --steps=5 --prompt='a dog, --ar 16:9' --cfg_scale 7.5 --hires
        --prompt the cat's hat --seed 3
        a moon --ar 16:9
        --ar 16:9 a sun
        --steps 4
        """.replace("\n        ", "\n"),
    )
    rows = read(path)
    assert rows.frame["text"].tolist() == [
        'a "big" cat', "a dog, --ar 16:9", "the cat's hat", "a moon --ar 16:9", "--ar 16:9 a sun",
    ]  # fmt: skip
    assert rows.frame["parameters"].tolist()[:3] == [
        {"negative_prompt": "blurry", "num_inference_steps": 20}, {"num_inference_steps": 5, "guidance_scale": 7.5}, {"seed": 3},
    ]  # fmt: skip
    assert rows.frame["source"][1] == {"hires": True} and [bad.row for bad in rows.bad] == [6]


def test_a_text_of_a1111s_settings_is_prompts_with_settings_not_prose(tmp_path):
    path = write(tmp_path / "p.txt", INFOTEXT + "\n" + INFOTEXT.replace("cat", "dog"))
    rows = read(path)
    assert rows.frame["text"].tolist() == ["a cat,\non a mat", "a dog,\non a mat"]
    assert rows.frame["parameters"][0]["negative_prompt"] == "blurry" and not rows.bad


# documents


@pytest.mark.parametrize(
    "root",
    [
        [{"prompt": "a cat"}, {"prompt": "a dog"}], ["a cat", "a dog"], {"prompt": ["a cat", "a dog"], "id": [1, 2]},
        {"data": [{"prompt": "a cat"}, {"prompt": "a dog"}]}, {"1": {"prompt": "a cat"}, "2": {"prompt": "a dog"}},
        {"1": "a cat", "2": "a dog"}, {"prompts": ["a cat", "a dog"], "version": 2}, {"prompts": [{"text": "a cat"}, {"prompt": "a dog"}], "name": "set"},
        {"prompts": {"text": ["a cat", "a dog"], "id": [1, 2]}}, {"prompts": {"p1": "a cat", "p2": "a dog"}},
        {"data": {"prompts": ["a cat", "a dog"]}}, {"pets": ["a cat"], "others": ["a dog"]}, [["id", "prompt"], [1, "a cat"], [2, "a dog"]],
        {"train": [{"prompt": "a cat"}], "test": [{"prompt": "a dog"}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["p.json", "p.yaml"])
def test_every_way_to_write_down_a_set_gives_its_texts(tmp_path, root, name):
    assert texts(write(tmp_path / name, json.dumps(root))) == ["a cat", "a dog"]


def test_what_a_document_says_beside_its_prompts_holds_for_all_of_them_or_is_named(tmp_path):
    path = write(
        tmp_path / "p.yml",
        "version: 2\nsteps: 12\ndefaults: {cfg: 2.5}\nprompts:\n  - a cat\n  - {text: a dog, seed: 5, steps: 3}\n",
    )
    assert read(path).frame["parameters"].tolist() == [
        {"num_inference_steps": 12, "guidance_scale": 2.5}, {"seed": 5, "num_inference_steps": 3, "guidance_scale": 2.5},
    ]  # fmt: skip
    assert "'version'" in notes(path)


def test_a_row_says_more_than_its_file(tmp_path):
    path = write(
        tmp_path / "p.json", json.dumps({"model": "flux-1", "prompts": [{"text": "a cat", "model": "mini"}, "a dog"]})
    )
    assert read(path).frame["model"].tolist() == ["mini", "flux-1"]


def test_yaml_has_documents_and_words_stay_words(tmp_path):
    path = write(
        tmp_path / "p.yaml", "---\nprompt: a cat\n---\n- yes\n- 3:01\n- 2001-01-01\n- |\n  a dog\n  on a mat\n"
    )
    assert texts(path) == ["a cat", "yes", "3:01", "2001-01-01", "a dog\non a mat\n"]


def test_a_yaml_bomb_is_refused(tmp_path):
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    lines += [f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]" for before, name in pairs]
    with pytest.raises(SourceError, match="aliases"):
        read(write(tmp_path / "p.yaml", "\n".join(lines)))


def test_no_graph_of_nodes_is_taken_for_prompts(tmp_path):
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"steps": 2}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "x"}},
    }
    with pytest.raises(SourceError, match="class_type"):
        read(write(tmp_path / "p.json", json.dumps(graph)))


# what is no file of prompts


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("p.docx", b"PK\x03\x04", "text document.*plain text"), ("p.pdf", b"%PDF-1.4", "PDF"), ("p.html", b"<html>", "markup"),
        ("p.txt", b"<!DOCTYPE html>\n<p>a cat</p>", "markup"), ("p.csv", b"%PDF-1.4 x", "PDF"), ("p.py", b"x = 1", "program code"),
        ("p.safetensors", b"\0", "model weights"), ("p.toml", b"x = 1", "settings file"), ("p.md", b"# x\n- a cat", "Markdown"),
        ("p.csv", b"PK\x03\x04xl/", "packed"), ("p.csv.gz", b"\x1f\x8b", "packed"), ("p.xls", b"\xd0\xcf\x11\xe0", "save it as .xlsx"),
        ("p.parquet", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), ("p.foo", b"a cat\n", "format='txt'"),
        ("p.dat", b"\x01\x02\0\x03", "binary"), ("p", b"<?xml version='1.0'?>", "markup"), ("p.txt", b"{\\rtf1 a cat}", "text document"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind_is_named_with_what_would_work_and_never_read_as_prose(tmp_path, name, content, what):
    with pytest.raises(SourceError, match=what):
        read(write(tmp_path / name, content))


def test_a_named_format_goes_before_the_end_of_a_name(tmp_path):
    assert texts(write(tmp_path / "p.foo", "a cat\n"), format="txt") == ["a cat"]


# folders


def test_captions_beside_pictures_are_texts_named_by_their_stems(tmp_path):
    for name in ("001.png", "002.PNG", "sub/003.png", "004.png", "005.png", "006.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture(tmp_path / name, **({"parameters": INFOTEXT} if name == "004.png" else {}))
    captions = {"001.txt": "a red circle\n", "002.caption": "a star\nat night", "sub/003.png.txt": "a bird"}
    for name, caption in {**captions, "006.txt": INFOTEXT, "readme.txt": "x"}.items():
        write(tmp_path / name, caption)
    rows = read(tmp_path)
    assert dict(zip(rows.frame["id"], rows.frame["text"], strict=True)) == {
        "001": "a red circle", "002": "a star\nat night", "003": "a bird", "004": "a cat,\non a mat", "006": "a cat,\non a mat",
    }  # fmt: skip
    assert [bad.file for bad in rows.bad] == ["005.png"] and "not read: 1 (readme.txt)" in notes(tmp_path)


def pictures_and_texts(rows: int, bytes_each: int = 9) -> pa.Table:
    image = [{"bytes": b"x" * bytes_each, "path": "p"}] * rows
    return pa.table(
        {"image": image, "text": [f"cat {i}" for i in range(rows)], "emb": [[0.1, 0.2]] * rows, "steps": [4] * rows}
    )


def test_shards_of_parquet_are_read_without_their_pictures(tmp_path):
    (tmp_path / "data").mkdir()
    for shard in range(2):
        pq.write_table(pictures_and_texts(2), tmp_path / "data" / f"train-0000{shard}-of-00002.parquet")
    write(tmp_path / "README.md", "# x")
    rows = read(tmp_path)
    assert rows.frame["text"].tolist() == ["cat 0", "cat 1"] * 2
    assert rows.frame["parameters"][0] == {"num_inference_steps": 4}
    assert "'image' ×2" in notes(tmp_path) and "README.md" in notes(tmp_path)


@pytest.mark.parametrize("kind", ["stream", "file"])
def test_a_folder_that_datasets_saved_is_read(tmp_path, kind):
    table = pictures_and_texts(3)
    (tmp_path / "train").mkdir()
    new = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
    with new(str(tmp_path / "train" / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name in ("dataset_dict.json", "train/state.json", "train/dataset_info.json"):
        write(tmp_path / name, "{}")
    assert texts(tmp_path) == ["cat 0", "cat 1", "cat 2"] and "'image'" in notes(tmp_path)


def test_metadata_of_a_folder_of_pictures_names_them_and_others_are_named(tmp_path):
    (tmp_path / "train").mkdir()
    picture(tmp_path / "train" / "1.png"), picture(tmp_path / "train" / "2.png")
    write(tmp_path / "train" / "metadata.jsonl", '{"file_name": "1.png", "text": "a cat"}\n')
    assert read(tmp_path).frame[["id", "text", "file"]].values.tolist() == [["1", "a cat", "train/1.png"]]
    assert "not read: 1 (train/2.png)" in notes(tmp_path)


def test_a_folder_of_nothing_that_is_read_says_what_is_in_it(tmp_path):
    write(tmp_path / "a.docx", "x"), write(tmp_path / "b.py", "x")
    with pytest.raises(SourceError, match=r"1 \.docx, 1 \.py"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["p.parquet", "p.arrow"])
def test_pictures_in_a_table_are_not_loaded(tmp_path, name):
    table = pictures_and_texts(400, 1 << 20)  # 400 MiB
    if name == "p.parquet":
        pq.write_table(table, tmp_path / name, row_group_size=100, compression="none", use_dictionary=False)
    else:
        with pa.ipc.new_stream(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table, max_chunksize=100)
    code = f"""
import resource, pandas, pyarrow.parquet
from forgekit.sources import read
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert len(read({str(tmp_path / name)!r}).frame) == 400
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 60 * 1024, resource.RUSAGE_SELF  # KiB
