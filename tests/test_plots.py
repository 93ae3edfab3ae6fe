"""Plots and contact sheets: what is on them, not how they look."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import fair_world
import matplotlib
import pandas as pd
import pytest
import study

matplotlib.use("agg")

import matplotlib.pyplot as plt
from PIL import Image

from forgekit import trends
from forgekit.errors import ParameterError
from forgekit.show import plots
from forgekit.show.sheets import BAD, CELL, GOOD
from forgekit.store import Store, open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study.make(tmp_path_factory.mktemp("study"))


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def pixels(image, color: str) -> int:
    wanted = tuple(bytes.fromhex(color[1:]))
    return sum(n for n, found in image.getcolors(image.width * image.height) if found == wanted)


def test_the_trend_names_who_steers_and_who_is_held_out(store: Store) -> None:
    ax = plots.adherence(trends.adherence(store))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["mini-clip (steers)", "mini-fuyu (held out)"]
    assert " ".join(ax.get_xlabel().split()) == "round of drawing n = 4 scenes; bands: 95 % intervals over scenes"
    assert [line.get_linestyle() for line in ax.get_lines()] == ["-", "--"]


def test_the_score_on_fresh_seeds_stands_right_of_the_curve_with_its_interval(tmp_path: Path) -> None:
    world = fair_world.World(scenes=12, rounds=3, confirm=True, confirmed=0.9).fill(
        open_store(tmp_path / "forge.duckdb")
    )
    table = trends.adherence(world, experiment="rewrite", vision_model="steering")
    ax = plots.adherence(table, confirmed=trends.confirmed(world))
    marker = ax.containers[0].lines[0]
    assert marker.get_xdata()[0] > table["round"].max()
    assert marker.get_ydata()[0] == pytest.approx(0.9)
    assert "n = 12 scenes; bands: 95 % intervals over scenes; open: fresh seeds" in " ".join(ax.get_xlabel().split())
    assert len(plots.adherence(table).containers) == 0


def test_a_maximum_that_is_drawn_for_want_of_halves_says_that_it_is_selected(tmp_path: Path) -> None:
    store = study.make(tmp_path, seeds=1)
    ax = plots.adherence(trends.adherence(store))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "mini-clip (steers), selected",
        "mini-fuyu (held out), selected",
    ]
    assert ax.get_lines()[0].get_ydata().tolist() == trends.adherence(store)["selected"].tolist()[:3]


def test_every_plot_says_of_how_many_scenes_or_images_it_is(store: Store) -> None:
    scene = trends.scenes(store)["scene_hash"][0]
    drawn = [
        plots.adherence(trends.adherence(store)),
        plots.pareto(trends.adherence(store)),
        plots.distribution(trends.distributions(store)),
        plots.deltas(trends.version_deltas(store)),
        plots.judges(trends.judge_pairs(store, *study.JUDGES)),
        plots.lineage(trends.lineage(store, scene)),
    ]
    for ax in drawn:
        assert re.search(r"n = \d+( to \d+)? (scene|image)", ax.get_xlabel()), ax.get_xlabel()


def test_a_plot_can_be_drawn_into_axes_that_are_there(store: Store) -> None:
    _, ax = plt.subplots()
    for plot, question in (
        (plots.adherence, trends.adherence),
        (plots.pareto, trends.adherence),
        (plots.distribution, trends.distributions),
        (plots.deltas, trends.version_deltas),
    ):
        assert plot(question(store), ax=ax) is ax
    assert plots.elements(trends.by_element_kind(store, vision_model="mini-clip"), ax=ax) is ax


def test_the_heat_map_has_the_hardest_kind_on_top(store: Store) -> None:
    ax = plots.elements(trends.by_element_kind(store, vision_model="mini-clip"))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["color", "object"]


def judged(vision_model: str, score: float, **other: object) -> dict[str, object]:
    row = {
        "experiment": "main",
        "model": "mini",
        "vision_model": vision_model,
        "kind": "count",
        "round": 0,
        "scenes": 5,
    }
    return {**row, "score": score, **other}


def test_judges_that_disagree_are_shown_side_by_side_and_not_averaged() -> None:
    table = pd.DataFrame([judged("severe", 0.15), judged("mild", 0.73), judged("mild", 0.8, kind="color")])
    panels = plots.elements(table.assign(scenes=[5, 5, 9])).figure.axes
    shown = {panel.get_title().split(",")[0]: [text.get_text() for text in panel.texts] for panel in panels}
    assert shown == {"main · mild": ["0.73", "0.80"], "main · severe": ["0.15"]}
    assert [panel.get_title().split("n = ")[1].split("\n")[0] for panel in panels] == ["5 to 9 scenes", "5 scenes"]
    assert panels[0].get_xlabel() == "round of drawing"


@pytest.mark.parametrize("apart", ["experiment", "model", "vision_model"])
def test_arms_generators_and_judges_each_have_a_panel_of_their_own(apart: str) -> None:
    table = pd.DataFrame([judged("mild", 0.1), {**judged("mild", 0.9), apart: "other"}])
    assert len(plots.elements(table).figure.axes) == 2
    with pytest.raises(ParameterError, match=r"one Axes cannot take 2 panels \(main"):
        plots.elements(table, ax=plt.subplots()[1])


def test_a_store_is_asked_for_the_table_of_a_plot(store: Store) -> None:
    asked, given = plots.adherence(store), plots.adherence(trends.adherence(store), confirmed=trends.confirmed(store))
    assert [line.get_xydata().tolist() for line in asked.lines] == [line.get_xydata().tolist() for line in given.lines]
    for plot in (
        plots.pareto,
        plots.gains,
        plots.distribution,
        plots.elements,
        plots.deltas,
        plots.lineage,
        plots.judges,
    ):
        assert plot(store).get_title()
    with pytest.raises(ParameterError, match="nobody has rated"):
        plots.reliability(store)


def test_nothing_judged_is_an_empty_panel(store: Store) -> None:
    assert plots.elements(trends.by_element_kind(store, experiment="none")).get_title() == ""


def test_the_distribution_can_show_one_judge(store: Store) -> None:
    both = ["mini-clip", "mini-fuyu"]
    spread = trends.distributions(store)
    assert plots.distribution(spread).get_legend_handles_labels()[1] == both
    assert plots.distribution(spread, vision_model="mini-fuyu").get_legend_handles_labels()[1] == both[1:]


def test_an_arm_has_its_colour_and_a_judge_its_stroke_in_every_plot(store: Store) -> None:
    steering_second = trends.adherence(store).sort_values("vision_model", ascending=False)
    for plot, table in ((plots.adherence, steering_second), (plots.distribution, trends.distributions(store))):
        handles, labels = plot(table).get_legend_handles_labels()
        look = {
            re.split("[ ,]", label)[0]: (handle.get_color(), handle.get_linestyle())
            for label, handle in zip(labels, handles, strict=True)
        }
        assert look == {"mini-clip": ("#0072B2", "-"), "mini-fuyu": ("#0072B2", "--")}


def many(arms: int, judges: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "experiment": f"words/arm-{arm}",
            "model": "mini",
            "vision_model": f"judge-{judge}",
            "steers": judge == 0,
            "round": round_,
            "scenes": 3,
            "images": 12,
            "adherence": 0.5,
            "low": 0.4,
            "high": 0.6,
            "selected": 0.6,
        }
        for arm in range(arms)
        for judge in range(judges)
        for round_ in range(2)
    )


@pytest.mark.parametrize(("arms", "judges"), [(1, 1), (1, 4), (8, 1), (8, 4), (12, 2)])
def test_no_two_lines_look_alike_and_shared_folders_are_left_out(arms: int, judges: int) -> None:
    ax = plots.adherence(many(arms, judges))
    panels = ax.figure.axes
    assert len(panels) == (judges if arms > 1 and judges > 1 else 1)
    looks = [
        (panel, str(line.get_color()), str(line.get_linestyle()), line.get_marker())
        for panel in panels
        for line in panel.get_lines()
    ]
    assert len(set(looks)) == len(looks) == arms * judges
    (legend,) = [panel.get_legend() for panel in panels if panel.get_legend()]
    names = [text.get_text() for text in legend.get_texts()]
    assert len(set(names)) == len(names) == (judges if arms == 1 else arms)
    assert not any("words/" in name for name in names)
    ax.figure.draw_without_rendering()
    right = max(panel.get_window_extent().x1 for panel in panels[:2])
    assert legend.get_window_extent().x0 >= right  # beside the axes, over no line


def test_gains_stand_in_a_row_an_arm_with_their_intervals(tmp_path: Path) -> None:
    store = fair_world.World(scenes=12, rounds=3).fill(open_store(tmp_path / "forge.duckdb"))
    told, ax = trends.gain(store), plots.gains(store)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["redraw", "rewrite"]
    drawn = {round(x, 12) for bars in ax.containers for x in bars.lines[0].get_xdata()}
    assert drawn == {round(gain, 12) for gain in told["gain"]}
    assert [bars.get_label() for bars in ax.containers] == ["steering (steers)", "watching (held out)"]
    assert "n = 12 scenes" in ax.get_xlabel()


def test_panels_of_judges_begin_with_the_one_that_steers() -> None:
    panels = plots.adherence(many(3, 2).replace({"vision_model": {"judge-0": "z", "judge-1": "a"}})).figure.axes
    assert [panel.get_title() for panel in panels] == ["z (steers)", "a (held out)"]


def test_of_many_words_the_heat_map_has_the_hardest_and_says_so() -> None:
    table = pd.DataFrame([judged("mild", n / 100, kind=f"word {n:02}") for n in range(40)])
    ax = plots.elements(table.rename(columns={"kind": "term"}), most=10)
    assert [text.get_text() for text in ax.get_yticklabels()] == [f"word {n:02}" for n in range(10)]
    assert "10 of 40" in ax.get_title()


LONG = {"judge-1": "Qwen/Qwen3-VL-8B-Instruct", "judge-2": "http://localhost:8000/v1#InternVL3-8B"}


@pytest.mark.filterwarnings("error")  # "layout not applied"
@pytest.mark.parametrize(("arms", "judges", "width"), [(8, 1, "column"), (1, 4, "column"), (8, 4, "text")])
def test_a_paper_gets_whole_captions_names_beside_no_axes_and_room_for_the_curves(
    tmp_path, arms, judges, width
) -> None:
    figure = plots.adherence(many(arms, judges).replace({"vision_model": LONG})).get_figure(root=True)
    before, save = figure.axes[0].get_legend(), figure.savefig

    def look(*given, **options) -> None:
        figure.draw_without_rendering()
        page, panels = figure.bbox, [axes for axes in figure.axes if axes.get_lines()]
        captions = [axes.xaxis.label.get_window_extent() for axes in panels]
        assert all(page.x0 <= caption.x0 and caption.x1 <= page.x1 for caption in captions)
        assert not any(one.overlaps(other) for one in captions for other in captions if one is not other)
        assert sum(axes.get_window_extent().width for axes in panels[:2]) > 0.6 * page.width
        assert {label.get_fontsize() for axes in panels for label in axes.get_xticklabels()} == {7.0}
        looks = [legend.get_texts() for legend in figure.legends or [axes.get_legend() for axes in panels] if legend]
        assert len(looks[0]) == (judges if arms == 1 else arms)
        save(*given, **options)

    figure.savefig = look
    plots.save(figure, tmp_path / "figure.pdf", width=width)
    assert (figure.axes[0].get_legend(), figure.legends) == (before, [])


def test_names_of_judges_leave_the_curves_their_room_and_late_ticks_are_as_small_as_the_others(tmp_path) -> None:
    rows = [
        {"said": x, "so": x, "so_low": x / 2, "so_high": 1, "n": 99, "judge": j} for j in LONG.values() for x in (0, 1)
    ]
    ax = plots.reliability(pd.DataFrame(rows))
    ax.figure.draw_without_rendering()
    assert ax.get_window_extent().width > 0.4 * ax.figure.bbox.width
    sizes, save = set(), ax.figure.savefig

    def look(*given, **options) -> None:
        save(*given, **options)
        sizes.update(label.get_fontsize() for label in ax.get_xticklabels())

    ax.figure.savefig = look
    plots.save(ax, tmp_path / "figure.pdf")
    assert sizes == {7.0}


def test_titles_of_heat_maps_lie_beside_each_other(tmp_path) -> None:
    table = pd.DataFrame(
        [judged(name, 0.1, round=number) for name in (*LONG.values(), "mini-owl") for number in range(3)]
    )
    figure = plots.elements(table).figure
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes]
    assert not any(one.overlaps(other) for one in titles for other in titles if one is not other)


def test_of_a_scene_in_several_arms_no_thumbnail_hides_another_and_a_store_is_asked_for_the_best_arm(tmp_path) -> None:
    store = fair_world.World(scenes=3, rounds=3, names={"rewrite": "words/a", "redraw": "words/b"}).fill(
        open_store(tmp_path / "forge.duckdb")
    )
    best = trends.scenes(store).iloc[0]
    table = trends.lineage(store, best["scene_hash"])
    both = plots.lineage(table, folder=str(store.folder))
    assert list(both.artists) == []
    assert [text.get_text() for text in both.get_legend().get_texts()] == ["a", "b"]
    one = plots.lineage(store)
    assert len(one.artists) == len(table[table["experiment"] == best["experiment"]])


def test_small_differences_can_be_seen() -> None:
    low, high = plots.adherence(many(2, 1)).get_ylim()
    assert 0.3 < low < 0.4 < 0.6 < high < 0.7  # bands from 0.4 to 0.6


@pytest.mark.parametrize(("width", "inches"), [("column", 3.25), ("text", 6.75), (5.0, 5.0)])
def test_a_figure_is_saved_as_wide_as_a_paper_wants_it_and_stays_as_it_was(
    store: Store, tmp_path, width, inches
) -> None:
    ax = plots.adherence(store)
    before = ax.figure.get_size_inches().tolist(), ax.title.get_fontsize()
    file = plots.save(ax, tmp_path / "figure.png", width=width)
    with Image.open(file) as image:
        assert image.width == pytest.approx(inches * 300, abs=2)
    assert (ax.figure.get_size_inches().tolist(), ax.title.get_fontsize()) == before
    page = plots.save(ax.figure, tmp_path / "figure.pdf", width=width).read_bytes()
    assert b"/Type3" not in page.replace(b" ", b"")  # fonts that a publisher's checks refuse


@pytest.mark.parametrize("width", ["page", 0, -1.0, True, None, float("nan")])
def test_a_width_that_no_paper_has_is_refused(store: Store, tmp_path, width) -> None:
    with pytest.raises(ParameterError, match="'column' or 'text', or inches"):
        plots.save(plots.adherence(store), tmp_path / "figure.png", width=width)
    assert list(tmp_path.iterdir()) == []


def test_scores_in_the_outermost_bar_are_drawn_at_their_full_height() -> None:
    bars = [0] * 19 + [8]  # all eight images between 0.95 and 1
    row = {"experiment": "a", "model": "mini", "vision_model": "judge", "round": 0, "images": 8, "q50": 0.97}
    ax = plots.distribution(pd.DataFrame([{**row, "histogram": bars}]))
    assert ax.get_lines()[0].get_ydata()[-1] == pytest.approx(0.9 * 0.75)  # 1/4 goes to the bar beside it


def test_what_a_version_changed_stands_at_whole_rounds(store: Store) -> None:
    ax = plots.deltas(trends.version_deltas(store))
    assert ax.get_xticks().tolist() == [1, 2]
    drawn = sorted(x for bars in ax.containers for x in bars.lines[0].get_xdata())
    assert drawn == pytest.approx([0.96, 1.04, 1.96, 2.04])  # two judges, side by side


def test_the_thumbnails_of_two_judges_lie_beside_the_points(store: Store) -> None:
    ax = plots.judges(trends.judge_pairs(store, "mini-clip", "mini-fuyu"), folder=str(store.folder), thumbnails=3)
    places = [artist.xybox[0] for artist in ax.artists]
    assert len(places) == 3
    assert min(places) > 1


def test_the_lineage_writes_what_was_done_on_its_edges(store: Store) -> None:
    scene = store.rows("select scene_hash from prompts where generation_iteration = 2")[0]["scene_hash"]
    ax = plots.lineage(trends.lineage(store, scene), folder=str(store.folder))
    assert [text.get_text() for text in ax.texts].count("repeat_color") == 2


def test_the_judge_scatter_has_a_point_per_image_and_the_names_of_both(store: Store) -> None:
    pairs = trends.judge_pairs(store, "mini-clip", "mini-fuyu")
    ax = plots.judges(pairs, folder=str(store.folder))
    assert len(ax.collections[0].get_offsets()) == len(pairs)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("mini-clip\nn = 28 images", "mini-fuyu")


def test_the_pareto_front_is_the_best_that_so_many_images_have_bought() -> None:
    table = pd.DataFrame(
        {
            "experiment": ["a", "a", "b"],
            "model": "mini",
            "vision_model": "judge",
            "steers": True,
            "round": [0, 1, 0],
            "scenes": [2, 2, 2],
            "images": [4, 12, 8],
            "adherence": [0.5, 0.6, 0.8],
            "low": [0.2, 0.3, 0.5],
            "high": [0.8, 0.9, 0.95],
        }
    )
    ax = plots.pareto(table)
    front = ax.get_lines()[0]
    assert front.get_xdata().tolist() == [4, 8, 12]
    assert front.get_ydata().tolist() == [0.5, 0.8, 0.8]
    assert len(ax.collections) == 2  # each arm's interval: a rise without one is no evidence


def test_six_images_are_two_lines_of_three_rather_than_five_and_one(store: Store) -> None:
    six = trends.pictures(store).head(6).assign(prompt_id="x", moment=["before", "after"] * 3)
    wide = plots.contact_sheet(pd.concat([six, six]), block="moment")
    assert 6 * CELL < wide.width < 7 * CELL


def test_a_contact_sheet_has_room_for_every_image_side_by_side(store: Store) -> None:
    table = trends.before_after(store)
    sheet = plots.contact_sheet(table, row="scene_hash", block="moment")
    assert sheet.width >= 8 * CELL
    assert sheet.height >= 4 * CELL
    assert pixels(sheet, GOOD) > 0
    assert pixels(sheet, BAD) > 0


def test_a_missing_image_file_leaves_a_grey_field_and_the_others_are_shown(store: Store, tmp_path: Path) -> None:
    table = trends.pictures(store).head(4)
    table.loc[0, "file"] = str(tmp_path / "gone.png")
    whole, broken = plots.contact_sheet(trends.pictures(store).head(4)), plots.contact_sheet(table)
    assert pixels(broken, "#E8E8E8") > pixels(whole, "#E8E8E8") + CELL * CELL // 2
    assert whole.size == broken.size


def test_a_contact_sheet_of_nothing_is_refused(store: Store) -> None:
    with pytest.raises(ParameterError, match="at least one picture"):
        plots.contact_sheet(trends.pictures(store, experiment="none such"))


def test_a_picture_that_was_replaced_is_shown_anew(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "picture.png"
    row = trends.pictures(store).head(1).assign(file=str(file))
    for color in ("#FF0000", "#00FF00"):
        Image.new("RGB", (8, 8), color).save(file)
        os.utime(file, ns=(0, int(color[1:], 16)))  # a clock may be too coarse for two writes
        assert pixels(plots.contact_sheet(row), color) == CELL * CELL
