"""No path of a store, a folder or a plan leads anywhere but into it, and names are fit to be folders (THREATS.md)."""

from __future__ import annotations

import base64
import io
import os
import shutil
from pathlib import Path

import duckdb
import matplotlib
import pandas as pd
import pytest
from conftest import FakeJudge
from PIL import Image

import forgekit as fk
from forgekit import trends
from forgekit.errors import ItemError, ParameterError, SourceError, StoreError
from forgekit.judge_tests import import_ratings
from forgekit.show import plots
from forgekit.show.export import export_store
from forgekit.show.gallery import Answers, write_gallery
from forgekit.show.pages import picture_file
from forgekit.show.report import write_report
from forgekit.show.sheets import contact_sheet
from forgekit.sources import expand, read
from forgekit.store.images import encode_png, read_image, stored_file, write_image
from forgekit.study import Study, run_study
from forgekit.upkeep.checking import check

matplotlib.use("agg")
SECRET = (1, 2, 3)  # the colour of a picture that lies elsewhere


@pytest.fixture
def secret(tmp_path) -> Path:
    """A picture outside the store's images."""
    file = tmp_path / "secret.png"
    Image.new("RGB", (8, 8), SECRET).save(file)
    return file


def lead_out(folder: Path, secret: Path, way: str) -> str:
    """Return an image path that leads from a store's images to the secret."""
    images = folder / "images"
    if way == "absolute":
        return str(secret)
    if way == "dots":
        return f"../{folder.name}/secret.png"
    if way == "dots inside":
        return "images/../secret.png"
    if way == "dots at the end":
        return "images/ab/.."
    if way == "no folder of images":
        return "secret.png"
    if way == "a folder of others":
        (folder / "other").mkdir()
        shutil.copy(secret, folder / "other")
        return "other/secret.png"
    if way == "a link":
        (images / "link.png").symlink_to(secret)
        return "images/link.png"
    if way == "a link among the images":
        (images / "inner.png").symlink_to(next(images.glob("*/*.png")))
        return "images/inner.png"
    if way == "a folder that is a link":
        (images / "xy").symlink_to(secret.parent)
        return f"images/xy/{secret.name}"
    if way == "a link far up":
        (images / "up").symlink_to("/")
        return f"images/up{secret}"
    if way == "a pipe":
        os.mkfifo(images / "pipe.png")
        return "images/pipe.png"
    if way == "a device":
        return "/dev/zero"
    if way == "a folder":
        (images / "folder.png").mkdir()
        return "images/folder.png"
    if way == "two slashes":
        return "images//../secret.png"
    return {"empty": "", "nothing": "images", "a dot": "images/./../secret.png", "a nul": "images/a\nb"}[way]


WAYS = [
    *("absolute", "dots", "dots inside", "dots at the end", "no folder of images", "a link", "a link among the images"),
    *("a folder that is a link", "a link far up", "a pipe", "a device", "a folder", "two slashes", "empty", "nothing"),
    *("a dot", "a nul", "a folder of others"),
]
IMAGES = "select id, image_path, prompt_id from generated_images order by id"


def replaced(store, paths: dict[str, str]) -> None:
    """Give images of the store, by their ids, other paths."""
    with store.transaction() as con:
        for image, path in paths.items():
            con.execute("update generated_images set image_path = $path where id = $id", {"path": path, "id": image})


def test_no_image_path_leads_out_of_the_images(completed, fake_generator, secret, tmp_path):
    store = completed
    fk.generate_images(store, images_per_prompt=7, image_generator=fake_generator)
    wrong, right = {}, store.rows(IMAGES)[len(WAYS) :]
    for way, row in zip(WAYS, store.rows(IMAGES), strict=False):
        wrong[row["id"]] = lead_out(store.folder, secret, way)
        assert isinstance(stored_file(store.folder, wrong[row["id"]]), ItemError), way
        assert isinstance(read_image(store.folder, wrong[row["id"]]), ItemError), way
    replaced(store, wrong)
    findings = check(store).findings
    for way, image in zip(WAYS, wrong, strict=True):
        assert ["image path is refused" in finding for finding in findings if image in finding] == [True], way
    report = export_store(store, tmp_path / "out", format="imagefolder")
    assert (report.done, report.failed) == (len(right), len(WAYS)) == (3, 18)
    exported = {path.stem for path in (tmp_path / "out" / "images").iterdir() if path.suffix == ".png"}
    assert exported == {row["id"] for row in right}
    judge = FakeJudge()
    report = fk.evaluate_images(store, vision_models=[judge])
    assert judge.judged == len(right)
    assert set(report.failures) == {row["prompt_id"] for row in store.rows(IMAGES) if row["id"] in wrong}
    for row in store.rows("select image_id, error, element_scores from image_evaluations"):
        assert bool(row["error"]) == (row["element_scores"] is None) == (row["image_id"] in wrong)


def shown_in_gallery(store, images: list[str], folder: Path) -> list[bytes]:
    """All that the gallery shows of images: in JupyterLab, and written as a folder."""
    answers, chosen = Answers(store), fk.explore(store, interactive=False).selection
    page = answers.page({"experiment": chosen.experiment, "vision_model": chosen.vision_model}, 0, 60)
    assert set(images) <= {card["id"] for card in page["cards"]}
    write_gallery(store, output=str(folder))
    written = [[file.read_bytes() for file in folder.rglob(f"{image}.*")] for image in images]
    assert [len(files) for files in written] == [1] * len(images)  # no full size
    pictures = [each for image in images for each in answers.picture(image)]
    return [*answers.thumbnails(images), *pictures, *(file for [file] in written)]


def test_nothing_that_shows_pictures_shows_one_from_elsewhere(generated, secret, tmp_path):
    other, link, folder, pipe, *_ = images = [row["id"] for row in generated.rows(IMAGES)]
    wrong = images[:4]
    replaced(generated, {other: str(secret)})
    fk.evaluate_images(generated, vision_models=[FakeJudge(), FakeJudge("other", 0.7, judge_key="key-2")])
    files = {row["id"]: generated.folder / row["image_path"] for row in generated.rows(IMAGES)}
    assert len({file.parent for file in files.values()}) == len(files)
    for image in (link, folder, pipe):
        files[image].unlink()
    files[link].symlink_to(secret)
    os.mkfifo(files[pipe])
    files[folder].parent.rename(tmp_path / "elsewhere")
    files[folder].parent.symlink_to(tmp_path / "elsewhere")
    shutil.copy(secret, tmp_path / "elsewhere" / files[folder].name)

    pictures = trends.pictures(generated)
    assert set(pictures["image_id"][pictures["file"].isna()]) == set(wrong)
    sheet = contact_sheet(pictures)
    assert SECRET not in {color for _, color in sheet.getcolors(1 << 24)}
    for file in pictures["file"]:
        picture_file(file)
    pairs = trends.judge_pairs(generated, "fake-judge", "other")
    for image in (link, folder, pipe):
        plots.judges(pairs[pairs["image_id"] == image], folder=str(generated.folder))
    html = fk.explore(generated, interactive=False).html()
    shown = shown_in_gallery(generated, wrong, tmp_path / "gallery")
    assert secret.read_bytes() not in shown
    assert {Image.open(io.BytesIO(each)).getpixel((200, 200)) for each in shown} == {(232, 232, 232)}  # grey fields
    write_report(generated, tmp_path / "report.html")
    html += (tmp_path / "report.html").read_text()
    assert base64.b64encode(secret.read_bytes()).decode() not in html
    assert fk.track(generated).failed == 0
    mirrored = [p for p in (generated.folder / "mlartifacts").rglob("*") if any(image in p.name for image in wrong)]
    assert mirrored == []


def test_what_is_drawn_is_written_through_no_link(generated, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    image = Image.new("RGB", (8, 8), (9, 9, 9))
    png = encode_png(image, {})
    path = write_image(generated.folder, "0" * 8, png)
    (generated.folder / path).unlink()
    (generated.folder / path).parent.rmdir()
    (generated.folder / path).parent.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        write_image(generated.folder, "0" * 8, png)
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (generated.folder / path).parent.unlink()
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (generated.folder / path).parent.mkdir()
    for laid in ((generated.folder / path), generated.folder / f"{path}.{os.getpid()}.partial"):
        laid.symlink_to(victim)
    assert write_image(generated.folder, "0" * 8, png, same_as=str(victim)) == path
    assert victim.read_text() == "mine"
    assert isinstance(stored_file(generated.folder, path), Path)


def test_a_picture_from_elsewhere_is_not_taken_for_one_drawn_before(generated, secret, fake_generator):
    with generated.transaction() as con:
        con.execute("update generated_images set image_path = $path || id", {"path": f"{secret.parent}/"})
    for row in generated.rows("select image_path from generated_images"):
        shutil.copy(secret, row["image_path"])
    fk.import_prompts(generated, pd.DataFrame({"text": ["a red circle"]}), model=fake_generator.name, experiment="two")
    fk.complete_prompts(generated)
    drawn = len(fake_generator.drawn)
    fk.generate_images(generated, images_per_prompt=2, image_generator=fake_generator)
    assert len(fake_generator.drawn) == drawn + 2
    for row in generated.rows("select image_path from generated_images where image_path like 'images/%'"):
        assert read_image(generated.folder, row["image_path"]).getpixel((0, 0)) != SECRET


def test_a_store_that_lies_behind_a_link_is_a_store_as_any_other(generated, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    shutil.move(generated.folder / "images", moved / "images")
    shutil.move(generated.path, moved / "forge.duckdb")
    (tmp_path / "link").symlink_to(moved)
    assert check(fk.open_store(tmp_path / "link" / "forge.duckdb")).findings == []


def test_ratings_of_a_path_from_elsewhere_find_no_image(generated, secret):
    image = generated.rows("select image_path from generated_images order by id")[0]["image_path"]
    frame = pd.DataFrame({"image_path": [image, str(secret), "../secret.png"], "rating": [3, 3, 3]})
    report = import_ratings(generated, frame, scale="1-5", name="r")
    assert (report.done, report.failed) == (1, 2)


@pytest.mark.parametrize("name", ["a.txt", "a.png"])
def test_a_folder_of_prompts_brings_in_nothing_from_elsewhere(tmp_path, name, secret):
    outside = tmp_path / "passwd.txt"
    outside.write_text("a secret\n")
    folder = tmp_path / "mail"
    folder.mkdir()
    if name == "a.png":
        (folder / name).write_bytes(encode_png(Image.new("RGB", (8, 8)), {"prompt": "a cat"}))
        secret.write_bytes(encode_png(Image.new("RGB", (8, 8)), {"prompt": "a secret"}))
        (folder / "b.png").symlink_to(secret)
    else:
        (folder / name).write_text("a cat\n")
        (folder / "b.txt").symlink_to(outside)
    os.mkfifo(folder / f"c{Path(name).suffix}")
    found = read(folder)
    assert found.frame["text"].tolist() == ["a cat"]
    assert [(row.file[0], row.reason[:9]) for row in found.bad] == [("b", "it is a l"), ("c", "it is no ")]
    (folder / name).unlink()
    with pytest.raises(SourceError, match="links that lead out of it|no .txt"):
        read(folder)


@pytest.mark.parametrize("name", ["__../passwd__", "__/etc/passwd__", "__~/passwd__", "__colors/../../passwd__"])
def test_no_wildcard_reads_a_file_outside_its_folder(tmp_path, name):
    (tmp_path / "passwd.txt").write_text("secret\n")
    folder = tmp_path / "wild"
    folder.mkdir()
    (folder / "colors.txt").write_text("red\n")
    try:
        found = expand(f"a {name}", wildcards=folder)
    except ParameterError:
        found = []
    assert "secret" not in "".join(found)


def test_a_wildcard_file_that_leads_elsewhere_is_refused(tmp_path):
    (tmp_path / "passwd.txt").write_text("secret\n")
    (tmp_path / "wild").mkdir()
    (tmp_path / "wild" / "colors.txt").symlink_to(tmp_path / "passwd.txt")
    with pytest.raises(ParameterError, match=r"colors\.txt .* leads out of the folder"):
        expand("a __colors__", wildcards=tmp_path / "wild")


NAMES = [
    *("", " ", "/", "//", "/a", "a/", "a//b", "..", ".", "../a", "a/..", "a/../b", "a/./b", "...", "a/....", ".git"),
    *("a/.git/b", " a", "a ", "a/ b", "a /b", "a\nb", "a\tb", "a\0b", "\x1b[31m", "\u202eb", "\ud800", "a" * 300),
    *("a/" + "b" * 101, "/".join(["abcdefgh"] * 40), "é" * 60, 3, None, ["a"]),
]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_that_cannot_be_a_folder_is_refused_before_anything_is_written(store, tmp_path, name):
    with pytest.raises(ParameterError, match="name"):
        fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), experiment=name)
    assert store.rows("select count(*) as n from prompts") == [{"n": 0}]
    if isinstance(name, str) and name:
        study = Study(name, arms=("resample",), vision_models=("mini-clip", "mini-owl"))
        with pytest.raises(ParameterError, match="name"):
            run_study(store, pd.DataFrame({"text": ["a cat"]}), study)
        assert store.rows("select count(*) as n from prompts") == [{"n": 0}]


@pytest.mark.parametrize(
    "name", ["main", "study/arm", "a/b/c", 'an "arm"', "größer 2", "x" * 100, "s/llm:http://h:1/v1#m", "1.5", "a.b"]
)
def test_a_name_that_can_be_a_folder_is_taken(store, name):
    assert fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), experiment=name).done == 1


def test_a_study_of_which_one_arm_cannot_be_a_folder_writes_nothing(store):
    study = Study("s", arms=("resample", f"llm:owner/{'m' * 101}"), vision_models=("mini-clip", "mini-owl"))
    with pytest.raises(ParameterError, match="101 bytes"):
        run_study(store, pd.DataFrame({"text": ["a cat"]}), study)
    assert store.rows("select count(*) as n from prompts") == [{"n": 0}]


@pytest.mark.parametrize("sql", ["select * from read_text('/etc/hostname')", "select * from read_csv('secret.csv')"])
def test_a_view_of_a_strangers_store_reads_no_file(store, tmp_path, monkeypatch, sql):
    monkeypatch.chdir(tmp_path)
    Path("secret.csv").write_text("a\n1\n")
    with duckdb.connect(str(store.path)) as con:
        con.execute(f"create or replace view current_scores as {sql}")
    for ask in (store.rows, store.df):
        with pytest.raises(duckdb.PermissionException):
            ask("select * from current_scores")
    with pytest.raises(duckdb.PermissionException), store.transaction() as con:
        con.execute("select * from current_scores")


def test_a_store_fetches_no_extension_and_attaches_no_other_database(store, tmp_path):
    for sql in ("load httpfs", "install httpfs", f"attach '{tmp_path}/other.duckdb'"):
        with pytest.raises(duckdb.Error), store.transaction() as con:
            con.execute(sql)
    assert not (tmp_path / "other.duckdb").exists()
