"""The gallery: a page of it is what was chosen, what it asks is answered, and written as a folder it is whole and harmless."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import study
from PIL import Image

from forgekit import trends
from forgekit.cli import main
from forgekit.errors import ParameterError
from forgekit.show.explorer import explore
from forgekit.show.gallery import SHOWN_AS_IT_IS, Answers, begin, write_gallery
from forgekit.show.selection import Selection
from forgekit.store import Store, open_store
from forgekit.store.rows import insert_rows
from forgekit.trends.cards import ORDERS, Choice, find_cards

ALL = Choice("main", "mini-clip")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def smaller(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("smaller"), scenes=2)


@pytest.fixture
def own(smaller: Store, tmp_path: Path) -> Store:
    """A store to write into."""
    return open_store(shutil.copytree(smaller.folder, tmp_path / "own") / smaller.path.name)


class Page:
    """What a widget is to `Answers`: it keeps what was sent to the page."""

    def __init__(self, store: Store) -> None:
        self.answers, self.sent = Answers(store), []

    def send(self, content, buffers=None) -> None:
        self.sent.append((json.loads(json.dumps(content)), buffers))

    def ask(self, kind: str, **about):
        self.answers.answer(self, {"kind": kind, "about": about, "n": len(self.sent)})
        content, buffers = self.sent[-1]
        assert content.pop("n") == len(self.sent) - 1
        return content.get("answer", content) if buffers is None else buffers


def ids(store: Store, **changed) -> set[str]:
    return {card["id"] for card in find_cards(store, replace(ALL, **changed))[0]}


def pixels(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


def data_of(folder: Path) -> dict:
    return json.loads(re.search(r'id="data">(.*)</script>', (folder / "index.html").read_text())[1])


def test_pages_follow_one_another_and_together_are_all_images(store: Store) -> None:
    everything, total = find_cards(store, ALL)
    assert total == len(everything) == len(trends.pictures(store)) == 28
    pages = [find_cards(store, ALL, limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [card for cards, _ in pages for card in cards] == everything
    assert [(len(cards), told) for cards, told in pages] == [(10, 28), (10, 28), (8, 28), (0, 0)]


def test_a_card_says_of_its_image_what_every_judge_says(store: Store) -> None:
    card = find_cards(store, replace(ALL, order="highest score"), limit=1)[0][0]
    said = {judge: trends.pictures(store, vision_model=judge).set_index("image_id") for judge in study.JUDGES}
    assert list(card["verdicts"]) == ["mini-clip", "mini-fuyu"]  # the one that steers first
    for judge, verdict in card["verdicts"].items():
        row = said[judge].loc[card["id"]]
        assert verdict == {"score": row["score"], "mark": 0.5, "said": json.loads(row["element_scores"])}
        assert (card["seed"], card["prompt"], card["scene"]) == (
            str(row["seed"]),
            row["prompt_text"],
            row["scene_text"],
        )
    assert (
        dict(card["elements"])["color:0"].split()[-1].rstrip("s") in card["scene"] + dict(card["elements"])["object:0"]
    )


def test_a_seed_of_nineteen_digits_stays_itself(own: Store) -> None:
    with own.transaction() as con:  # a number of JavaScript would end in 800
        con.execute("update generated_images set generation_metadata = '{\"seed\": 9007199254740993777}'")
    assert {card["seed"] for card in find_cards(own, ALL)[0]} == {"9007199254740993777"}


@pytest.mark.parametrize("order", ORDERS)
def test_each_order_is_that_of_its_figure(store: Store, order: str) -> None:
    cards, _ = find_cards(store, replace(ALL, order=order))
    pairs = trends.disagreements(store, *study.JUDGES).set_index("image_id")["gap"]
    by = {
        "lowest score": lambda card: card["verdicts"]["mini-clip"]["score"],
        "highest score": lambda card: -card["verdicts"]["mini-clip"]["score"],
        "widest gap": lambda card: -pairs[card["id"]],
        "newest": lambda card: -card["drawn_at"],
        "by scene": lambda card: 0,
    }[order]
    figures = [by(card) for card in cards]
    assert figures == sorted(figures)
    assert order == "by scene" or len(set(figures)) > 1
    scenes = [card["scene_hash"] for card in find_cards(store, replace(ALL, order="by scene"))[0]]
    assert sum(a != b for a, b in pairwise(scenes)) == len(set(scenes)) - 1


def test_an_order_that_there_is_not_is_refused_with_those_there_are(store: Store) -> None:
    with pytest.raises(ParameterError, match="no order 'worst'; there are lowest score, highest score"):
        find_cards(store, replace(ALL, order="worst"))


def test_missing_is_a_kind_or_words_of_a_phrase_and_goes_by_the_judge_s_pass_mark(own: Store) -> None:
    pictures = trends.pictures(own)
    failed = {row.image_id: row.failed for row in pictures.itertuples() if len(row.failed)}
    assert ids(own, failed="color") == set(failed)  # nothing else fails in the study
    assert ids(own, failed="object") == set()
    phrase = next(iter(failed.values()))[0]
    assert ids(own, failed=phrase.upper()) == {image for image, phrases in failed.items() if phrase in phrases}
    assert 0 < len(failed) < len(pictures)
    mark = {"vision_model": "mini-clip", "judge_key": "key of mini-clip", "pass_mark": 1.0, "source": "human ratings"}
    with own.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    assert ids(own, failed="object") == set(pictures["image_id"])
    assert ids(own, failed="object", vision_model="mini-fuyu") == set()


def test_words_are_looked_for_in_scene_and_prompt_as_they_stand(store: Store) -> None:
    cards, _ = find_cards(store, ALL)
    word = cards[0]["scene"].split()[1]
    assert ids(store, words=word.upper()) == {card["id"] for card in cards if word in card["scene"]}
    assert ids(store, words="VIVID") == {card["id"] for card in cards if card["iteration"]}
    assert ids(store, words="%") == ids(store, words="_") == set()


def test_a_range_has_its_ends_and_what_has_no_score_belongs_to_0(own: Store) -> None:
    cards, total = find_cards(own, ALL)
    score = cards[3]["verdicts"]["mini-clip"]["score"]
    assert cards[3]["id"] in ids(own, low=score, high=score)
    assert ids(own, low=score) == {card["id"] for card in cards if card["verdicts"]["mini-clip"]["score"] >= score}
    with own.transaction() as con:
        con.execute(
            "delete from image_evaluations where image_id = $id and vision_model = 'mini-clip'", {"id": cards[3]["id"]}
        )
    assert find_cards(own, ALL)[0][0]["id"] == cards[3]["id"]  # the lowest: it comes first, and is not left out
    assert ids(own, low=0.01) == {card["id"] for card in cards} - {cards[3]["id"]}
    assert len(ids(own)) == total


def test_a_gap_is_from_the_judge_that_is_named_or_from_the_one_furthest_away(own: Store) -> None:
    with own.transaction() as con:
        con.execute("create temp table copied as from image_evaluations where vision_model = 'mini-fuyu'")
        con.execute(
            "update copied set id = uuid(), vision_model = 'mini-owl', judge_key = 'o', soft_tifa_gm = null, "
            "element_scores = '{\"object:0\": 0.02}'"
        )
        con.execute("insert into image_evaluations from copied")
    score = {card["id"]: card["verdicts"]["mini-clip"]["score"] for card in find_cards(own, ALL)[0]}
    assert ids(own, gap=0.5) == {image for image, mine in score.items() if mine - 0.02 >= 0.5} != set()
    assert ids(own, gap=0.5, other="mini-owl") == ids(own, gap=0.5)
    assert ids(own, gap=0.5, other="mini-fuyu") == set()  # it says 0.9 times the same, and a little more


def test_the_page_begins_with_all_scenes_or_the_one_that_is_named(store: Store) -> None:
    start = begin(Selection.first(store, None, None, None))
    assert start["choice"] == {"experiment": "main", "vision_model": "mini-clip", "other": "", "scene": "", "words": "", "failed": "", "low": 0.0, "high": 1.0, "gap": 0.0, "order": "lowest score"}  # fmt: skip
    scenes = trends.scenes(store)
    assert [scene for scene, _ in start["about"]["scenes"]] == scenes["scene_hash"].tolist()
    assert start["about"]["scenes"][0][1] == f"{scenes['gain'][0]:+.2f}  {scenes['scene_text'][0]}"
    text, scene = scenes.iloc[2][["scene_text", "scene_hash"]]
    widget = explore(store, scene=text, interactive=True).widget
    assert widget.start["choice"]["scene"] == scene
    assert "application/vnd.jupyter.widget-view+json" in str(explore(store, interactive=True)._repr_mimebundle_())


def test_without_anywidget_it_says_what_to_install(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(ParameterError, match=r"pip install 'forgekit\[lab\]', or explore\(…, interactive=False\)"):
        explore(store, interactive=True)


def test_a_page_of_sixty_cards_carries_no_picture_and_thumbnails_come_as_small_jpegs(store: Store) -> None:
    page = Page(store)
    answer = page.ask("page", choice=vars(ALL), offset=0, limit=60)
    assert (answer["cards"], answer["total"]) == find_cards(store, ALL)
    assert page.sent[-1][1] is None
    shown = page.ask("thumbnails", ids=[card["id"] for card in answer["cards"][:3]])
    assert [(pixels(image).format, max(pixels(image).size)) for image in shown] == [("JPEG", 256)] * 3
    [whole] = page.ask("picture", id=answer["cards"][1]["id"])
    assert whole == (store.folder / answer["cards"][1]["file"]).read_bytes()


def test_a_scene_is_answered_with_the_images_of_every_arm(own: Store) -> None:
    study.fill(own, experiment="other", scenes=2)
    page, scene = Page(own), find_cards(own, ALL)[0][0]["scene_hash"]
    cards = page.ask("scene", scene=scene, vision_model="mini-clip")
    assert {card["experiment"] for card in cards} == {"main", "other"}
    assert {card["scene_hash"] for card in cards} == {scene}
    assert len(page.ask("thumbnails", ids=[cards[-1]["id"]])) == 1


def test_pictures_are_only_those_of_cards_that_the_page_was_given(store: Store) -> None:
    card = find_cards(store, ALL)[0][0]
    for unknown in (card["id"], card["file"], "../forge.duckdb", ""):
        [shown] = Page(store).ask("picture", id=unknown)
        assert pixels(shown).getpixel((250, 250)) == (232, 232, 232)  # the grey field


def test_a_very_large_picture_is_sent_small(own: Store) -> None:
    page = Page(own)
    card = page.ask("page", choice=vars(ALL), offset=0, limit=60)["cards"][0]
    with (own.folder / card["file"]).open("ab") as file:
        file.truncate(SHOWN_AS_IT_IS + 1)
    [shown] = page.ask("picture", id=card["id"])
    assert pixels(shown).size == (256, 256)


WRITER = """
import sys
from forgekit import open_store
with open_store(sys.argv[1]).transaction() as con:
    con.execute("update prompts set experiment = 'other' where scene_hash = (select max(scene_hash) from scenes)")
"""


def test_what_another_process_writes_is_there_when_read_again(own: Store) -> None:
    page = Page(own)
    assert page.ask("read", experiment="main")["experiments"] == ["main"]
    subprocess.run([sys.executable, "-c", WRITER, str(own.path)], check=True)
    assert page.ask("read", experiment="main")["experiments"] == ["main", "other"]
    about = page.ask("read", experiment="other")
    assert (about["experiment"], about["judges"], len(about["scenes"])) == ("other", ["mini-clip", "mini-fuyu"], 1)


def test_what_fails_is_said_in_the_page_and_the_next_question_is_answered(own: Store) -> None:
    page = Page(open_store(own.path, timeout_s=0.2))
    with own.transaction():
        assert "forge.duckdb has been held by" in page.ask("page", choice=vars(ALL), offset=0, limit=60)["trouble"]
    assert "no judged experiment 'gone'" in page.ask("read", experiment="gone")["trouble"]
    with pytest.raises(TypeError):  # a mistake of ours stands in Jupyter's log as well
        page.ask("page", choice={"experiment": "main"}, offset=0, limit=60)
    assert page.sent[-1][0]["trouble"].startswith("TypeError: ")
    assert page.ask("page", choice=vars(ALL), offset=0, limit=60)["total"] == 12


def test_as_a_folder_it_has_every_image_small_and_in_full_and_needs_no_network(own: Store, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "gallery"
    assert main(["explore", "--store", str(own.path), "--output", str(folder)]) == 0
    told = data_of(folder)
    assert [card["id"] for card in told["cards"]] == [
        c["id"] for c in find_cards(own, replace(ALL, order="by scene"))[0]
    ]
    assert list(told["about"]) == told["about"]["main"]["experiments"] == ["main"]
    for card in told["cards"]:
        assert (folder / card["picture"]).samefile(own.folder / card["file"])  # linked
        assert pixels((folder / card["thumbnail"]).read_bytes()).size == (256, 256)
    assert "http" not in (folder / "index.html").read_text()


def test_written_again_it_is_brought_up_to_date_and_another_s_page_is_left_alone(own: Store, tmp_path: Path) -> None:
    folder = tmp_path / "gallery"
    write_gallery(own, output=str(folder))
    made = {file: file.stat().st_mtime_ns for file in folder.rglob("*.jpg")}
    study.fill(own, experiment="other", scenes=1)
    assert write_gallery(own, output=str(folder)).done == 16
    assert {file: file.stat().st_mtime_ns for file in made} == made
    assert list(data_of(folder)["about"]) == ["main", "other"]
    assert write_gallery(own, output=str(folder), experiment="other").done == 4
    (folder / "index.html").write_text("<title>mine</title>")
    with pytest.raises(ParameterError, match="is another page; give a new folder"):
        write_gallery(own, output=str(folder))
    assert (folder / "index.html").read_text() == "<title>mine</title>"


def test_no_text_of_the_store_ends_the_data_of_the_page(own: Store, tmp_path: Path) -> None:
    with own.transaction() as con:
        con.execute("update scenes set scene_text = scene_text || '</script><script>a</script><!--'")
    write_gallery(own, output=str(tmp_path / "gallery"))
    text = (tmp_path / "gallery" / "index.html").read_text()
    assert (text.count("<script"), text.count("</script"), text.count("<!--")) == (2, 2, 0)
    assert data_of(tmp_path / "gallery")["cards"][0]["scene"].endswith("</script><script>a</script><!--")


def test_an_image_that_is_missing_is_counted_and_shown_as_a_grey_field(own: Store, tmp_path: Path) -> None:
    gone = find_cards(own, ALL)[0][0]["file"]
    (own.folder / gone).unlink()
    report = write_gallery(own, output=str(tmp_path / "gallery"))
    assert report.failures == {
        gone: f"the image file {gone} is missing; restore it from a copy, or give the address of its copies (images=)"
    }
    card = next(card for card in data_of(tmp_path / "gallery")["cards"] if card["file"] == gone)
    assert card["picture"] == card["thumbnail"]
    assert pixels((tmp_path / "gallery" / card["thumbnail"]).read_bytes()).getpixel((250, 250)) == (232, 232, 232)


def test_a_file_that_is_called_a_page_is_written_as_a_picture(own: Store, tmp_path: Path) -> None:
    card = find_cards(own, ALL)[0][0]
    (own.folder / card["file"]).rename(own.folder / "images/trap.html")
    for statement in (  # nothing may point to a row that is changed
        "update prompts set best_image_id = null where best_image_id = $id",
        "delete from image_evaluations where image_id = $id",
        "update generated_images set image_path = 'images/trap.html' where id = $id",
    ):
        with own.transaction() as con:
            con.execute(statement, {"id": card["id"]})
    write_gallery(own, output=str(tmp_path / "gallery"))
    assert {path.suffix for path in (tmp_path / "gallery" / "pictures").iterdir()} == {".png"}


def test_an_experiment_without_verdicts_is_refused_with_what_to_do(own: Store, tmp_path: Path) -> None:
    with own.transaction() as con:
        con.execute("create temp table copied as from prompts where parent_prompt_id is null")
        con.execute("update copied set id = uuid(), experiment = 'new', best_image_id = null, current_score = null")
        con.execute("insert into prompts from copied")
    with pytest.raises(ParameterError, match="nothing of 'new' is judged yet; run `forgekit evaluate` first"):
        write_gallery(own, output=str(tmp_path / "gallery"), experiment="new")
