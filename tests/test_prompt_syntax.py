"""Prompt syntax: what is drawn keeps it to the last character, what is asked for has none of it, what it directs is kept beside."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

import pandas as pd
import pytest

import forgekit as fk
from forgekit.models import Judgement
from forgekit.scene import carry, list_elements, not_applied, parse, split_prompt
from forgekit.scene.syntax.weighing import weigh

ASKED = {  # a prompt, and what it asks for; relatives stand together
    # weights
    "a (red:1.3) circle left of a ((blue)) square": "a red circle left of a blue square",
    "a (red : .5) circle, ((a (blue:1.2) square:1.1))": "a red circle, a blue square",
    "(((masterpiece))), a [red] circle, [[blue]] square": "a red circle, blue square",
    "a red+++ circle left of a blue-- square": "a red circle left of a blue square",
    "(a red circle)1.2 and (a blue square)+": "a red circle and a blue square",
    '("a red circle", "a blue square").and()': "a red circle, a blue square",
    "a red circle::2 blue square::1": "a red circle, blue square",
    "a field:: flowers::-0.5": "a field",
    "1.3::red :: circle": "red circle",
    "a cat, (dog:-1), (bird:0)": "a cat",
    "(red circle), (blue square), night": "red circle, blue square, night",
    "a (red) circle": "a red circle",
    "a (red circle:1.2) next to a (blue) square (left)": "a red circle next to a blue square left",
    "(red:1.3) circle": "red circle",
    "((a red circle))((a blue square))": "a red circle a blue square",
    "a (small) (red) ball": "a small red ball",
    "a (red:1.3 circle": "a (red:1.3 circle",  # no other half: nobody knows how far it goes
    # prompt editing: what it ends as; of alternatives the first
    "a [cat:dog:0.5] on a mat": "a dog on a mat",
    "a house [with a red door:10]": "a house with a red door",
    "a house [with a red door::10]": "a house",
    "a [[red:blue:0.3]:green:0.7] ball": "a green ball",
    "a [cow|horse] in a field": "a cow in a field",
    "a cat.swap(dog) on a mat": "a dog on a mat",
    # escapes
    r"a cup \(broken\) on a table": "a cup (broken) on a table",
    r"hatsune_miku_\(vocaloid\), 1girl": "hatsune miku, a girl",
    # networks
    "a red circle left of a blue square <lora:flat_style:0.8>": "a red circle left of a blue square",
    "<lyco:a:1><hypernet:b:0.5> a red circle <embedding:c>": "a red circle",
    "embedding:easynegative, a red circle": "a red circle",
    "(embedding:bad_hands.pt:1.2), a red circle": "a red circle",
    "a photo of <new1> cat": "a photo of cat",
    "a photo of <cat-toy> on a beach": "a photo of cat toy on a beach",
    "a [V] dog": "a dog",
    # separators
    "a red circle BREAK a blue square": "a red circle, a blue square",
    "BREAK a red fox\nBREAK\na snowy forest": "a red fox, a snowy forest",
    "a cat :1.2 AND a dog :0.8": "a cat, a dog",
    # tags
    "score_9, score_8_up, rating:safe, a red circle": "a red circle",
    "a red circle, 8k, highly detailed.": "a red circle",
    "Masterpiece,best quality,1girl,solo,absurdres": "a girl",
    "2girls, 1boy, long_hair, blue_eyes": "two girls, a boy, long hair, blue eyes",
    "masterpiece, best quality": "masterpiece, best quality",  # nothing else is left to ask for
    # flags
    "a red circle --ar 16:9 --no text, people --v 6 --style raw --seed 5 --iw 2": "a red circle",
    "/imagine prompt: https://a.b/c.png <https://s.mj.run/d> a red circle --tile": "a red circle",
    "a red circle —ar 16:9 —v 6": "a red circle",
    "**a red circle --ar 3:2** - @somebody (fast)": "a red circle",
    '"a (red:1.2) circle" --ar 1:1': "a red circle",
    "a red circle\nNegative prompt: (ugly:1.4), text\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 1, Size: 512x768": "a red circle",
    "a red circle Negative prompt: ugly Steps: 20, Sampler: Euler a, Seed: 1": "a red circle",
    "Prompt: a red circle": "a red circle",
    "a red circle --n ugly, bad hands --w 512 --h 768 --d 5 --l 7.5 --s 28": "a red circle",
    # NovelAI's
    "a {red} circle, {{{big}}}": "a red circle, big",
    "{a red circle}, blue square": "a red circle, blue square",
    # markup
    "• a red circle": "a red circle",
    "> a red circle": "a red circle",
    "**a red ball** on a *blue* table": "a red ball on a blue table",
    "# Scene\n\n- a red circle\n- a __blue__ square": "Scene, a red circle, a blue square",
    "1. a red circle": "a red circle",
    "### Prompt:\n```\na red circle\n```": "a red circle",
    "a `red` circle, ~~not~~ [see here](https://a.b/c)": "a red circle, not see here",
    "a <b>red</b> circle<br>a blue square": "a red circle, a blue square",
    "a red circle ✨✨ :sparkles: #art #nofilter": "a red circle",
    "a 🐱 next to a red 🚗": "a cat next to a red car",
    "a sign saying &quot;STOP&quot; &amp; a cat": 'a sign saying "STOP" & a cat',
    "&lt;lora:a:1&gt; a red circle": "a red circle",
    # what is to be shown stands as it is
    'a sign that says "(OPEN:1.2) **now**" in (red:1.3)': 'a sign that says "(OPEN:1.2) **now**" in red',
    "a sign that says “BREAK [a|b]” BREAK a cat": "a sign that says “BREAK [a|b]”, a cat",
}  # fmt: skip

PROSE = [
    "a sign that says (OPEN)", "a cat (sitting)", "a cat (sitting) on a mat", "a 3:1 aspect", "a C++ book", "a grade A++ sticker",
    "a rock-and-roll band", "a man -- tall and thin -- walks", "a woman — old — reads", "the time is 10:30", "a clock (at 10:30)",
    "a plate (John 3:16) on a wall", "he said so [sic]", "see [1] and [2]", "A+B", "18+ sign, Disney+ logo", "AT&T; R&D", "2 * 3 * 4",
    "a 5* hotel", "#1 dad mug", "a C# book", "a heart <3 you", "x < y > z", "SALT AND PEPPER shakers", "A CAT AND A DOG",
    "a sign saying BREAK", "a chance to BREAK free", "a terminal showing git log --oneline", 'a screen with "npm i --save"',
    "a “smart” cat’s hat", "{red|blue} circle", "{2$$a$$b} circle", "a set {1, 2, 3}", "{color:1} circle", "a semi-automatic door", "file_name.txt", "10,000 balloons", "a\nred\ncircle",
    " a cat  with  blanks ", "一只红色的猫（坐着）", "3.5 inch disk", "ratio 16:9, f/1.8", "a cat :)", "a photo negative: strips of film",
    "'a red circle'", "a - b - c", "", " ", ":", "((", "))a((", "::", "\\", "--", "<>", "[]",
]  # fmt: skip


@pytest.mark.parametrize("prompt", ASKED)
def test_what_a_prompt_asks_for_has_no_syntax(prompt):
    assert split_prompt(prompt).asked == ASKED[prompt]


WEIGHED = {  # a prompt, its parts with their weights, and what of it is not followed
    "a (red:1.3) circle left of a ((blue)) square": (
        [("a ", 1), ("red", 1.3), (" circle left of a ", 1), ("blue", 1.21), (" square", 1)],
        [],
    ),
    "(a (red:1.2) ball with (ball:1) games:1.1)": (
        [("a ", 1.1), ("red", 1.32), (" ball with ball games", 1.1)],
        [],
    ),
    "a red++ circle, (a small ball)0.8, [blue], (cat:0)": (
        [("a ", 1), ("red", 1.21), (" circle, ", 1), ("a small ball", 0.8), (", ", 1), ("blue", 0.9091), (", ", 1), ("cat", 0)],
        [],
    ),
    'a sign "(red:1.3)", a (red:1.3) ball': ([('a sign "(red:1.3)", a ', 1), ("red", 1.3), (" ball", 1)], []),
    "(red:1) cat": ([("red cat", 1)], []),
    "a [cat:dog:0.5], (big:1.2) \\(fate\\) <lora:x:0.8> [V] dog": (
        [("a [cat:dog:0.5], ", 1), ("big", 1.2), (" (fate) <lora:x:0.8> [V] dog", 1)],
        [],
    ),
    "a red circle::2 (blue:1.2) square::1": (
        [("a red circle::2 ", 1), ("blue", 1.2), (" square::1", 1)],
        ["a red circle::2", "blue square::1"],
    ),
    "1.3::red :: circle": ([("1.3::red :: circle", 1)], ["1.3::red ::"]),
}  # fmt: skip


@pytest.mark.parametrize("prompt", WEIGHED)
def test_a_prompt_is_weighed_by_its_brackets_and_signs_and_keeps_all_else(prompt):
    parts, left = WEIGHED[prompt]
    weighed, split = weigh(prompt), split_prompt(prompt)
    assert [(text, pytest.approx(weight, abs=1e-4)) for text, weight in weighed.parts] == parts
    assert not_applied(split.directives, weighed.marks).get("weights", []) == left


@pytest.mark.parametrize("text", PROSE)
def test_prose_weighs_nothing(text):
    assert (weigh(text).text, weigh(text).marks, weigh(text).is_plain) == (text, [], True)


def test_a_word_with_ever_so_many_signs_has_a_weight():
    assert [mark["weight"] > 100 for mark in split_prompt(f"a red{'+' * 9_000} ball").directives["weights"]] == [True]


@pytest.mark.parametrize("text", PROSE)
def test_brackets_dashes_and_signs_of_prose_stay_as_they_are(text):
    assert split_prompt(text)[:3] == (text, text, {})


@pytest.mark.parametrize("prompt", [*ASKED, *PROSE])
def test_what_is_drawn_is_the_prompt_and_what_is_asked_has_nothing_left_to_split(prompt):
    parts = split_prompt(prompt)
    assert parts.drawn == prompt
    assert split_prompt(parts.asked).asked == parts.asked
    assert parse(prompt) == parse(parts.asked)


def test_any_heap_of_marks_is_split_into_something_that_is_not_split_again():
    rng = random.Random(5)
    pieces = [
        *"()[]{}<>*_:|,+-\\`#&;.\"' \n🐱“”", "a", "red", "cat", "1.2", "::", "--ar ", "--no ", "BREAK", "AND", "<lora:x:1>", "8k",
        "&lt;", "&amp;", "score_9", "Negative prompt:", "Steps: 1, S", "/imagine ", ".swap(", "embedding:a",
    ]  # fmt: skip
    for _ in range(3000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 14)))
        parts = split_prompt(text)
        assert parts.drawn == text
        assert split_prompt(parts.asked).asked == parts.asked, text


@pytest.mark.parametrize(
    "piece", ["(", "(a", "[a|", "a::", "**a ", "__a ", "_a", "`", "<a", "“a", "--ar ", "&a", "\n", " ", "a-- ", "1"]
)
def test_a_long_heap_of_one_mark_takes_no_time(piece):
    started = time.process_time()
    split_prompt(piece * 3000 + ":(")
    assert time.process_time() - started < 2


def test_what_is_directed_is_kept_with_its_words_and_as_it_is_written():
    parts = split_prompt("score_9, a (red:1.3) cat++ [sits:sleeps:0.5] BREAK a mat <lora:flat:0.8>")
    assert parts.directives == {
        "weights": [
            {"words": "red", "written": "(red:1.3)", "weight": 1.3},
            {"words": "cat", "written": "cat++", "weight": 1.21},
        ],
        "edits": [{"words": "sleeps", "written": "[sits:sleeps:0.5]"}],
        "networks": [{"kind": "lora", "name": "flat", "written": "<lora:flat:0.8>", "weight": 0.8}],
        "separators": ["BREAK"],
        "tags": ["score_9"],
    }


def test_flags_and_pasted_settings_become_parameters_under_their_diffusers_names():
    flags = split_prompt("a cat --ar 16:9 --no text, people --seed 5 --steps 8 --cfg 4.5 --width 512 --v 6.1")
    assert flags.parameters == {
        "negative_prompt": "text, people", "seed": 5, "num_inference_steps": 8, "guidance_scale": 4.5, "width": 512
    }  # fmt: skip
    assert flags.directives["flags"] == {"--ar": "16:9", "--v": "6.1"}
    pasted = split_prompt(
        'a cat\nNegative prompt: dog\nSteps: 20, Sampler: "DPM++ 2M", CFG scale: 7, Seed: 9, Size: 512x768'
    )
    assert pasted.parameters == {
        "negative_prompt": "dog", "num_inference_steps": 20, "guidance_scale": 7, "seed": 9, "width": 512, "height": 768
    }  # fmt: skip
    assert pasted.directives["settings"] == {"Sampler": "DPM++ 2M"}
    assert (flags.words, pasted.words) == ("a cat", "a cat")


@pytest.mark.parametrize(
    ("prompt", "reworded", "drawn", "lost"),
    [
        (
            "a (red:1.3) circle left of a ((blue)) square <lora:x:0.8>",
            "a blue square right of a red circle",
            "a ((blue)) square right of a (red:1.3) circle <lora:x:0.8>",
            [],
        ),
        ("score_9, a red++ cat --ar 3:2", "a scarlet cat", "score_9, a scarlet cat --ar 3:2", ["red++"]),
        ("a dog BREAK a cat", "a cat and a dog", "a cat and a dog", ["BREAK"]),
        ("((red:1.2) dress:1.1), night", "night, red dress", "night, ((red:1.2) dress:1.1)", []),
        ("a field:: flowers::-.5", "a field at dawn", "a field:: at dawn:: flowers::-.5", []),
        ("a <cat-toy> bag on a bed", "the bed under a bag", "the bed under a <cat-toy> bag", []),
        ("a cat", "a dog", "a dog", []),
    ],
)
def test_a_rewording_carries_the_syntax_and_says_what_of_it_has_no_place(prompt, reworded, drawn, lost):
    assert carry(reworded, split_prompt(prompt)) == (drawn, lost)
    assert carry(split_prompt(prompt).asked, split_prompt(prompt)) == (prompt, [])


PROMPT = "a (red:1.3) circle left of a blue square <lora:flat:0.8> --ar 16:9 --no text --seed 5"


@dataclass
class Watching:
    """A judge that keeps what it was asked about."""

    name: str = "watching"
    adhering_at: float = 0.5
    judge_key: str = "1"
    asked: list[str] = field(default_factory=list)

    def judge(self, images, scenes):
        self.asked += [scene.text for scene in scenes]
        return [Judgement({e.key: 0.2 for e in list_elements(s.elements)}, text_match_score=0.2) for s in scenes]


@pytest.fixture
def drawn(store, fake_generator):
    rows = [{"text": PROMPT, "parameters": {"seed": 7}}, {"text": "A red circle left of a blue square."}]
    report = fk.import_prompts(
        store, pd.DataFrame(rows), model=fake_generator.name, parameters={"negative_prompt": "dogs"}
    )
    assert (report.done, report.details["with prompt syntax"]) == (2, 1)
    fk.complete_prompts(store)
    return store, fk.generate_images(store, images_per_prompt=1, image_generator=fake_generator)


FIRST = "select * from prompts where directives is not null order by generation_iteration"


def test_prompts_that_differ_in_syntax_alone_are_two_of_one_scene_and_a_row_goes_before_its_text(drawn):
    store, _ = drawn
    assert store.rows("select scene_text from scenes") == [{"scene_text": "a red circle left of a blue square"}]
    [prompt] = store.rows(FIRST)
    assert store.rows("select count(*) as n from prompts") == [{"n": 2}]
    assert prompt["base_parameters"]["seed"] == 7 and prompt["base_parameters"]["negative_prompt"] == "text"
    assert prompt["prompt_text"] == (
        "a (red:1.3) circle left of a blue square <lora:flat:0.8>, photograph, sharp focus, natural light --ar 16:9 --no text --seed 5"
    )


def test_the_negative_is_not_drawn_and_what_no_generator_follows_is_said(drawn, fake_generator):
    store, report = drawn
    [image] = store.rows(
        "select generation_metadata as m from generated_images where generation_metadata ->> '$.directives_not_applied' is not null"
    )
    assert (
        image["m"]["prompt"]
        == "a (red:1.3) circle left of a blue square <lora:flat:0.8>, photograph, sharp focus, natural light"
    )
    assert image["m"]["directives_not_applied"] == {
        "weights": ["(red:1.3)"], "networks": ["<lora:flat:0.8>"], "flags": ["--ar 16:9"]
    }  # fmt: skip
    assert {name: n for name, n in report.details.items() if "not applied" in name} == {
        "weights not applied": 1, "networks not applied": 1, "flags not applied": 1
    }  # fmt: skip


def test_judges_see_the_scene_and_a_rewrite_keeps_the_syntax(drawn, fake_generator):
    store, _ = drawn
    judge = Watching()
    fk.evaluate_images(store, vision_models=[judge])
    assert set(judge.asked) == {"a red circle left of a blue square"}
    fk.refine_prompts(store, target=0.9, policy="paraphrase")
    child = store.rows(FIRST)[-1]
    assert child["generation_iteration"] == 1
    assert "<lora:flat:0.8>" in child["prompt_text"] and child["prompt_text"].endswith(" --ar 16:9 --no text --seed 5")
    assert child["directives"] == split_prompt(child["prompt_text"]).directives


@dataclass
class Scripted:
    """A language model that gives its answers in turn."""

    answers: list[str]
    name: str = "scripted"
    requests: list[str] = field(default_factory=list)

    def generate(self, requests):
        self.requests += requests
        return [self.answers.pop(0) for _ in requests]


def test_a_language_model_sees_the_scene_alone_and_is_refused_where_it_loses_a_mark(store, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a (red:1.3) circle <lora:flat:0.8>"]}), model=fake_generator.name)
    model = Scripted(["<PROMPT>a scarlet circle, watercolor</PROMPT>", "<PROMPT>a red circle, watercolor</PROMPT>"])
    fk.complete_prompts(store, language_model=model)
    assert "Scene: a red circle\n" in model.requests[0] and "(red:1.3) marks is lost" in model.requests[1]
    assert store.rows("select prompt_text from prompts") == [
        {"prompt_text": "a (red:1.3) circle, watercolor <lora:flat:0.8>"}
    ]


def test_a_template_surrounds_the_words_and_leaves_the_flags_at_the_end(store, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a (red:1.3) circle --ar 1:1"]}), model=fake_generator.name)
    fk.complete_prompts(store, template="{scene}, watercolor")
    assert store.rows("select prompt_text from prompts") == [{"prompt_text": "a (red:1.3) circle, watercolor --ar 1:1"}]


def test_a_picture_drawn_for_another_prompt_says_what_its_own_prompt_directs(store, fake_generator):
    for text in ("a red cat --ar 16:9", "a red cat", "a red cat --v 6"):
        fk.import_prompts(store, pd.DataFrame({"text": [text]}), model=fake_generator.name)
        fk.complete_prompts(store)
        fk.generate_images(store, images_per_prompt=1, image_generator=fake_generator)
    told = store.rows(
        """
        select p.directives ->> '$.flags' as flags, i.generation_metadata ->> '$.directives_not_applied.flags' as left_out
        from generated_images i join prompts p on p.id = i.prompt_id order by p.created_at
        """
    )
    assert [(row["flags"], row["left_out"]) for row in told] == [
        ('{"--ar":"16:9"}', '["--ar 16:9"]'), (None, None), ('{"--v":"6"}', '["--v 6"]')
    ]  # fmt: skip
    assert len(fake_generator.drawn) == 1


def test_flags_and_pasted_settings_are_read_as_those_of_pictures_and_tables_are():
    pasted = 'a cat\nSteps: 20, Sampler: "DPM++ 2M, Karras", CFG scale: 1, Distilled CFG Scale: 3.5, Size: 512x768, Clip skip: 2'
    directives = split_prompt(pasted).directives
    assert directives["settings"] == {"Sampler": "DPM++ 2M, Karras", "Clip skip": "2"}
    assert directives["parameters"] == {"num_inference_steps": 20, "guidance_scale": 3.5, "width": 512, "height": 768}
    flagged = split_prompt("a cat --size 512x768 --cfg-scale 7.5 --sampler euler --steps nan").directives
    assert flagged["parameters"] == {"width": 512, "height": 768, "guidance_scale": 7.5}
    assert flagged["flags"] == {"--sampler": "euler", "--steps": "nan"}
