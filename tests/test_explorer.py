"""The explorer where nobody looks on: one version, chosen well, as plain HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import fair_world
import pandas as pd
import pytest
import study

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show.explorer import explore
from forgekit.show.pages import bars, marked_diff, page, table
from forgekit.show.selection import Selection, show_pictures, show_version
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
    first, second, _ = chosen.versions["prompt_id"]
    assert "vivid</ins>" in show_version(replace(chosen, prompt_id=second))
    assert "<ins>" not in show_version(replace(chosen, prompt_id=first))


def test_what_is_missing_and_the_colour_of_its_bar_go_by_the_pass_mark_of_the_judge(tmp_path: Path) -> None:
    store = study.make(tmp_path)
    chosen = Selection.first(store, None, None, None)
    before = show_pictures(chosen).count("✗")
    mark = {"vision_model": "mini-clip", "judge_key": "key of mini-clip", "pass_mark": 1.0, "source": "human ratings"}
    with store.transaction() as con:
        insert_rows(con, "pass_marks", [mark])
    elements = trends.version_elements(store, chosen.version["prompt_id"])
    elements = elements[elements["vision_model"] == "mini-clip"]
    assert show_pictures(chosen).count("✗") == len(elements) * 4 > before
    filled = re.findall(r"linear-gradient\(90deg, (#\w+)", show_version(chosen))
    assert set(filled) == {BAD}
    other = replace(chosen, vision_model="mini-fuyu")  # has no mark of its own
    assert show_pictures(other).count("✗") < len(elements) * 4


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
    chosen = replace(chosen, prompt_id=chosen.versions["prompt_id"][2])
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
