"""The mini world: scenes, their pictures, their captions and their one-thing-changed variants."""

import random

import pytest
import torch
from study import elements

from forgekit.mini.captions import CANONICAL, GENERATOR, JUDGE, RARE, SYNONYMS, UNKNOWN_WORD, Grammar, caption
from forgekit.mini.changes import CHANGES, changed
from forgekit.mini.render import PALETTE, render
from forgekit.mini.world import COLORS, SHAPES, WorldObject, WorldScene, sample_scene
from training.cells import cell_labels

RED_CIRCLE = WorldObject("circle", "red", "", 20, 32, 10)
BLUE_STAR = WorldObject("star", "blue", "", 46, 32, 10)
PAIR = WorldScene((RED_CIRCLE, BLUE_STAR), "yellow", "flat", "left")


def scenes(n: int, seed: int = 0, **options) -> list[WorldScene]:
    rng = random.Random(seed)
    return [sample_scene(rng, **options) for _ in range(n)]


def differences(a: WorldScene, b: WorldScene) -> dict[str, int]:
    """Count by hand what differs between two scenes, without the code under test."""
    looks_a, looks_b = [[(o.shape, o.color, o.size) for o in s.objects] for s in (a, b)]
    fields = {f: int(getattr(a, f) != getattr(b, f)) for f in ("background", "style", "relation")}
    return fields | {"looks": int(sorted(looks_a) != sorted(looks_b)), "n": len(looks_b) - len(looks_a)}


def test_the_same_seed_gives_the_same_scene_caption_and_picture():
    first, second = (sample_scene(random.Random(7)) for _ in range(2))
    assert first == second
    assert caption(first, random.Random(3)) == caption(second, random.Random(3))
    pictures = [render([first], torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*pictures)


def test_objects_lie_inside_the_canvas_apart_from_each_other_and_differ_from_the_background():
    for scene in scenes(300) + scenes(300, grid=True):
        for i, o in enumerate(scene.objects):
            assert min(o.cx, o.cy) - o.r >= 0 and max(o.cx, o.cy) + o.r <= 64
            assert o.color != scene.background
            assert all((o.cx - b.cx) ** 2 + (o.cy - b.cy) ** 2 > (o.r + b.r) ** 2 for b in scene.objects[:i])


def test_a_relation_says_where_the_first_object_lies():
    related = [s for s in scenes(600) if s.relation]
    assert {s.relation for s in related} == {"left", "right", "above", "below"}
    for scene in related:
        a, b = scene.objects
        dx, dy = a.cx - b.cx, a.cy - b.cy
        across, sign = (abs(dx) > abs(dy), dx) if scene.relation in ("left", "right") else (abs(dy) > abs(dx), dy)
        assert across and (sign < 0) == (scene.relation in ("left", "above"))


def test_grid_scenes_keep_centres_on_nine_places_and_few_radii():
    objects = [o for s in scenes(300, grid=True) for o in s.objects]
    assert {(o.cx, o.cy) for o in objects} == {(x, y) for x in (16, 32, 48) for y in (16, 32, 48)}
    assert len({round(o.r, 3) for o in objects}) == 7  # three sizes alone or in pairs, one size in threes


def test_a_flat_scene_shows_its_exact_colours():
    picture = render([PAIR])[0]
    red, blue, yellow = (PALETTE[list(COLORS).index(c)] for c in ("red", "blue", "yellow"))
    assert torch.allclose(picture[:, 32, 20], red)
    assert torch.allclose(picture[:, 32, 46], blue)
    assert torch.allclose(picture[:, 2, 2], yellow)


def test_line_art_is_hollow_and_watercolor_is_paler():
    line, water = (render([WorldScene((RED_CIRCLE,), "white", style)])[0] for style in ("line art", "watercolor"))
    white, red = PALETTE[list(COLORS).index("white")], PALETTE[list(COLORS).index("red")]
    assert torch.allclose(line[:, 32, 20], white)
    assert red[1] + 0.05 < water[1, 32, 20] < white[1] - 0.3


def test_every_shape_covers_its_own_cells_and_no_others():
    batch = [WorldScene((WorldObject(s, "red", "", 32, 32, 14),)) for s in SHAPES]
    shapes, colors = cell_labels(batch)
    for i, scene in enumerate(batch):
        assert set(shapes[i].unique().tolist()) == {0, 1 + SHAPES.index(scene.objects[0].shape)}
        assert torch.equal(colors[i] > 0, shapes[i] > 0)
        painted = (render([scene])[0] - PALETTE[list(COLORS).index("white")][:, None, None]).abs().amax(0) > 0.3
        covered = painted.view(16, 4, 16, 4).float().mean((1, 3))
        assert (shapes[i][covered > 0.8] > 0).all() and (shapes[i][covered == 0] == 0).float().mean() > 0.9


def test_elements_count_objects_that_look_alike():
    two = WorldScene((RED_CIRCLE, WorldObject("circle", "red", "", 46, 32, 9), BLUE_STAR), "black")
    document = elements(two)
    assert [(o["name"], o["count"]) for o in document["objects"]] == [("circle", 2), ("star", 1)]
    assert document["background"] == "black" and document["relations"] == []
    assert elements(PAIR)["relations"] == [{"subject": 0, "predicate": "left of", "object": 1}]


def test_a_canonical_caption_names_everything():
    both = {
        "a red circle to the left of a blue star on a yellow background",
        "a blue star to the right of a red circle on a yellow background",
    }
    assert {caption(PAIR, random.Random(i), CANONICAL) for i in range(30)} == both


def test_the_generators_captions_hold_rare_words_seldom_and_the_judges_often():
    rare = {w for words in RARE.values() for w in words}
    batch = scenes(800)

    def share(grammar: Grammar) -> float:
        texts = [caption(s, random.Random(i), grammar) for i, s in enumerate(batch)]
        return sum(bool(rare & set(t.split())) for t in texts) / len(texts)

    assert share(GENERATOR) < 0.15 < 0.4 < share(JUDGE)


def test_the_grammar_uses_every_form_the_refiner_writes():
    texts = [caption(s, random.Random(i)) for i, s in enumerate(scenes(3000))]
    for form in (" that is ", " that are ", "there is ", "there are ", "on a black background, ", ". ", " is above "):
        assert any(form in t for t in texts), form
    for form in ("in the style of watercolor", ", flat design", "line art of a", UNKNOWN_WORD):
        assert any(form in t for t in texts), form


def test_a_negation_names_a_shape_that_is_absent():
    always = Grammar(synonyms=0, unknown=0, negation=1)
    texts = [caption(PAIR, random.Random(i), always) for i in range(40)]
    assert all(" no " in t or " without " in t for t in texts)
    negated = {t.replace(" without a ", " no ").replace(" without ", " no ").split(" no ")[1] for t in texts}
    assert not any(word.startswith(("circle", "star")) for word in negated)


@pytest.mark.parametrize("kind", CHANGES)
def test_a_changed_scene_differs_in_that_one_thing(kind):
    rng = random.Random(1)
    pairs = [(s, changed(s, kind, rng)) for s in scenes(300)]
    found = [(s, c) for s, c in pairs if c is not None]
    assert len(found) > 50
    wanted = {
        "object": {"looks": 1},
        "color": {"looks": 1},
        "relation": {"relation": 1},
        "style": {"style": 1},
        "background": {"background": 1},
        "size": {"looks": 1},
        "extra": {"looks": 1, "n": 1},
        "swapped": {"looks": 1},
    }
    for scene, new in found:
        seen = {k: v for k, v in differences(scene, new).items() if v}
        if kind == "count":
            assert abs(seen["n"]) == 1 and set(seen) == {"looks", "n"} and len(set(o.look for o in new.objects)) == 1
        elif kind == "dropped":
            assert seen["n"] == -1 and set(seen) <= {"looks", "n", "relation"}
        else:
            assert seen == wanted[kind]
        assert all(o.color != new.background for o in new.objects)


def test_swapping_colours_keeps_shapes_in_place():
    new = changed(PAIR, "swapped", random.Random(0))
    assert [(o.shape, o.color, o.cx) for o in new.objects] == [("circle", "blue", 20), ("star", "red", 46)]


def test_a_reversed_relation_moves_the_objects_too():
    new = changed(PAIR, "relation", random.Random(0))
    assert new.relation == "right" and new.objects[0].cx > new.objects[1].cx


def test_a_change_that_the_scene_has_no_room_for_is_none():
    alone = WorldScene((RED_CIRCLE,))
    assert changed(alone, "relation", random.Random(0)) is None
    assert changed(alone, "dropped", random.Random(0)) is None


def test_every_word_of_a_synonym_table_belongs_to_one_concept():
    words = [w for concept in SYNONYMS for w in (*SYNONYMS[concept], *RARE.get(concept, ()))]
    assert len(words) == len(set(words))
