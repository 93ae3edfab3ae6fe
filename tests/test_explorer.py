"""The explorer: what is chosen is what is shown, as widgets and as plain HTML."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from pathlib import Path

import fair_world
import pandas as pd
import pytest
import study

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show import explorer
from forgekit.show.explorer import build, explore
from forgekit.show.pages import bars, marked_diff, page, table
from forgekit.show.selection import ORDERS, SCOPES, Selection, show_pictures, show_version
from forgekit.show.sheets import BAD
from forgekit.store import Store, open_store
from forgekit.store.rows import insert_rows


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


@pytest.fixture
def longest(store: Store) -> str:
    """The text of the scene with three versions."""
    scenes = trends.scenes(store)
    return scenes.loc[scenes["versions"] == 3, "scene_text"].iloc[0]


def widgets_of(box) -> dict[str, object]:
    """The controls of the explorer by their description."""
    found, todo = {}, [box]
    while todo:
        widget = todo.pop()
        todo += getattr(widget, "children", ())
        if getattr(widget, "description", ""):
            found[widget.description] = widget
    return found


def shown(box) -> str:
    return "".join(child.value for child in box.children if type(child).__name__ == "HTML")


def test_words_that_came_and_went_are_marked_and_text_is_escaped() -> None:
    marked = marked_diff("a red <b> circle", "a vivid red <b> disc")
    assert marked == "a <ins>vivid</ins> red &lt;b&gt; <del>circle</del> <ins>disc</ins>"
    assert marked_diff(None, "a & b") == "a &amp; b"


def test_a_comma_after_a_word_does_not_make_it_another_word() -> None:
    assert marked_diff("a large star", "a large star, vivid") == "a large star<ins>, vivid</ins>"
    assert marked_diff("a star, 3.5 cm", "a star, vivid, 3.5 cm") == "a star, <ins>vivid,</ins> 3.5 cm"


def test_a_bar_without_a_score_says_so_rather_than_0() -> None:
    html = bars(pd.DataFrame({"phrase": ["a disc"], "score": [float("nan")]}, index=[3]), pass_mark=0.5).to_html()
    assert ">no score<" in html
    assert "0.00" not in html
    assert "gradient" not in html


def test_without_a_browser_it_is_plain_html_that_needs_no_network(store: Store, longest: str) -> None:
    html = explore(store, scene=longest, interactive=False)._repr_mimebundle_()["text/html"]
    assert html.count("<img") == 4
    assert re.findall(r'src="(.{10})', html) == ["data:image"] * 4
    assert "http" not in html


def test_it_begins_with_the_best_version_of_the_scene_that_gained_most_by_the_steering_judge(store: Store) -> None:
    chosen = explore(store, interactive=False).selection
    assert chosen.scene_hash == trends.scenes(store)["scene_hash"][0]
    assert chosen.version["current_score"] == chosen.versions["current_score"].max()
    assert (chosen.vision_model, chosen.judges) == ("mini-clip", ["mini-clip", "mini-fuyu"])


def test_a_new_version_shows_the_words_that_were_added(store: Store, longest: str) -> None:
    chosen = explore(store, scene=longest, interactive=False).selection
    chosen.prompt_id = chosen.versions["prompt_id"][1]
    assert "vivid</ins>" in show_version(chosen)
    chosen.prompt_id = chosen.versions["prompt_id"][0]
    assert "<ins>" not in show_version(chosen)


def test_what_is_missing_and_the_colour_of_its_bar_go_by_the_pass_mark_of_the_judge(tmp_path: Path) -> None:
    store = study.make(tmp_path)
    chosen = Selection.first(store, None, None, None)
    before = show_pictures(chosen).count("✗")
    mark = {"vision_model": "mini-clip", "judge_key": "key of mini-clip", "pass_mark": 1.0, "source": "human ratings"}
    with store.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    elements = trends.version_elements(store, chosen.prompt_id)
    elements = elements[elements["vision_model"] == "mini-clip"]
    assert show_pictures(chosen).count("✗") == len(elements) * 4 > before
    filled = re.findall(r"linear-gradient\(90deg, (#\w+)", show_version(chosen))
    assert set(filled) == {BAD}
    chosen.vision_model = "mini-fuyu"  # has no mark of its own
    assert show_pictures(chosen).count("✗") < len(elements) * 4


def test_a_version_tells_the_cross_fitted_score_of_its_scene_apart_from_the_selected_one(store: Store) -> None:
    scene = trends.scenes(store).iloc[0]
    html = show_version(explore(store, scene=scene["scene_text"], interactive=False).selection)
    assert f"last, cross-fitted {scene['last_score']:.2f}" in html
    assert f"best version so far, selected {scene['selected_score']:.2f}" in html


def test_it_does_not_begin_with_a_version_that_only_confirms(tmp_path: Path) -> None:
    world = fair_world.World(scenes=2, rounds=2, confirm=True, confirmed=1.0).fill(
        open_store(tmp_path / "forge.duckdb")
    )
    with world.transaction() as con:
        con.execute(
            "update prompts set current_score = s.mean_score from prompt_scores s "
            "where s.prompt_id = prompts.id and s.vision_model = 'steering'"
        )
    chosen = Selection.first(world, "rewrite", None, None)
    assert chosen.versions["decision"].tolist()[-1] == "confirm"
    assert chosen.version["decision"] != "confirm"
    assert "on fresh seeds 1.00" in show_version(chosen)


def test_a_score_range_shows_the_images_in_it_and_no_others(store: Store) -> None:
    chosen = explore(store, interactive=False).selection
    chosen.scope, chosen.scores = SCOPES[2], (0.0, 0.5)
    scores = trends.pictures(store)["score"]
    html = show_pictures(chosen)
    assert html.count("<img") == (scores <= 0.5).sum()
    assert f"{(scores <= 0.5).sum()} of {len(scores)}" in html


def test_choosing_another_version_changes_what_is_shown(store: Store, longest: str) -> None:
    box = build(explore(store, scene=longest, interactive=True).selection)
    version = widgets_of(box)["version"]
    first, last = version.options[0][1], version.options[2][1]
    version.value = first
    before = shown(box)
    version.value = last
    assert "repeat_color" in version.label
    assert shown(box) != before
    assert shown(box).count("<ins>") > before.count("<ins>")


def test_a_choice_that_comes_from_another_thread_while_one_is_drawn_is_not_lost(
    store: Store, longest: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = build(explore(store, scene=longest, interactive=True).selection)
    version = widgets_of(box)["version"]
    begun, go_on = threading.Event(), threading.Event()

    def slowly(chosen: Selection) -> str:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(60)
        return show_version(chosen)

    monkeypatch.setattr(explorer, "show_version", slowly)
    sent = []
    reading = threading.Thread(target=widgets_of(box)["Read again"].click)
    reading.start()
    assert begun.wait(60)
    monkeypatch.setattr(type(version), "send_state", lambda widget, key=None: sent.append((widget, widget.index)))
    choosing = threading.Thread(target=version.set_state, args=({"index": 0},))  # as the page does it
    choosing.start()
    choosing.join(0.2)  # it waits, or is lost by now
    go_on.set()
    reading.join()
    choosing.join()
    assert version.index == 0
    assert "v0" in shown(box)
    assert sent[-1] == (version, 0)  # the page is told, whatever it was told meanwhile


def test_choosing_another_judge_shows_its_scores(store: Store) -> None:
    box = build(explore(store, interactive=True).selection)
    before = shown(box)
    widgets_of(box)["judge"].value = "mini-fuyu"
    assert shown(box) != before


def test_what_another_process_adds_is_there_when_read_again(tmp_path: Path) -> None:
    store = study.make(tmp_path)
    box = build(explore(store, interactive=True).selection)
    assert widgets_of(box)["experiment"].options == (("main", "main"),)
    code = f"import study; study.make(__import__('pathlib').Path({str(tmp_path)!r}), experiment='other')"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent, check=True, env=None)
    widgets_of(box)["Read again"].click()
    assert [name for name, _ in widgets_of(box)["experiment"].options] == ["main", "other"]
    widgets_of(box)["experiment"].value = "other"
    assert "mini-clip" in shown(box)


def test_a_store_that_stays_busy_is_a_message_in_the_page_and_the_widgets_live(tmp_path: Path) -> None:
    study.make(tmp_path)
    impatient = open_store(tmp_path / "forge.duckdb", timeout_s=0.2)
    box = build(explore(impatient, interactive=True).selection)
    with impatient.transaction():
        widgets_of(box)["judge"].value = "mini-fuyu"
        assert "forge.duckdb has been held by" in shown(box)
    widgets_of(box)["Read again"].click()
    assert "forge.duckdb has been held by" not in shown(box)


def test_unknown_names_and_an_empty_store_are_refused_with_what_would_work(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"experiment 'mian'.*Did you mean 'main'"):
        explore(store, experiment="mian")
    with pytest.raises(ParameterError, match="evaluate_images"):
        explore(open_store(tmp_path / "new.duckdb"))


def test_a_version_that_is_not_judged_yet_can_be_looked_at(tmp_path: Path) -> None:
    store = study.make(tmp_path)
    with store.transaction() as con:
        con.execute(
            "delete from image_evaluations where prompt_id in (select id from prompts where generation_iteration = 2)"
        )
        con.execute("update prompts set current_score = null, best_image_id = null where generation_iteration = 2")
    texts = store.rows("select scene_text from scenes join prompts using (scene_hash) where generation_iteration = 2")
    chosen = Selection.first(store, None, texts[0]["scene_text"], None)
    chosen.prompt_id = chosen.versions["prompt_id"][2]
    assert "none yet" in show_version(chosen)
    assert show_pictures(chosen).count("no score") == 4


def test_a_page_escapes_its_title_and_a_table_its_cells_and_its_heads() -> None:
    assert "<title>a &lt; b</title>" in page("a < b", [])
    rows = {"<a>": ["<i>"], "b": ["<i>"], "n": [0.456], "k": [12000], "list": [["<i>"]], "none": [None]}
    html = table(pd.DataFrame(rows), html=["b"]).to_html()
    assert re.findall(r"<th [^>]*>(.*)</th>", html) == ["&lt;a&gt;", "b", "n", "k", "list", "none"]
    cells = re.findall(r"<td [^>]*>(.*)</td>", html)
    assert cells == ["&lt;i&gt;", "<i>", "0.46", "12,000", "[&#x27;&lt;i&gt;&#x27;]", ""]


def test_no_text_of_the_store_becomes_html_in_the_explorer(tmp_path: Path) -> None:
    store = study.make(tmp_path, scenes=1)
    with store.transaction() as con:
        con.execute("update scenes set scene_text = scene_text || '<script>a</script>'")
        con.execute("update prompts set prompt_text = prompt_text || '<script>b</script>'")
    html = explore(store, interactive=False).html()
    assert "<script" not in html
    assert "&lt;script&gt;a" in html
    assert "&lt;script&gt;b" in html


def test_the_histogram_has_a_bar_per_twentieth_and_those_outside_the_range_are_pale(store: Store) -> None:
    chosen = explore(store, interactive=False).selection
    chosen.scope, chosen.scores = SCOPES[2], (0.0, 0.5)
    counts = [int(n) for n in re.findall(r'title="(\d+) images"', show_pictures(chosen))]
    assert len(counts) == 20
    assert sum(counts) == trends.pictures(store)["score"].notna().sum()
    opacities = re.findall(r"opacity:([\d.]+)", show_pictures(chosen))
    assert opacities == ["1"] * 10 + ["0.25"] * 10


def test_images_can_be_put_in_the_order_of_the_gap_between_judges(store: Store) -> None:
    chosen = Selection.first(store, None, None, None)
    chosen.scope, chosen.order = SCOPES[2], ORDERS[1]
    images, apart = chosen.pictures(), trends.disagreements(store, *study.JUDGES)
    assert images["gap"].tolist() == pytest.approx(apart["gap"].tolist())
    assert images["gap"].iloc[0] == images["gap"].max() > 0
    html = show_pictures(chosen)
    assert "widest gap first" in html
    assert f"gap {images['gap'].max():.2f}" in html
    chosen.order = ORDERS[0]
    assert chosen.pictures()["score"].is_monotonic_increasing
