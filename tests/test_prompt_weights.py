"""Weights of words as they are drawn (`prompt_weights`): as compel has them, off unless it is said, and what is not followed is told."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from test_loras import a_lora
from tiny_models import build_generator

import forgekit as fk
from forgekit.errors import ItemError, ParameterError
from forgekit.models import DrawRequest, load_model, prompt_weights
from forgekit.models.pipelines import truncated
from forgekit.store.images import encode_png

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
KINDS = ["stable-diffusion", "sdxl", "flux"]  # each in a folder "tiny-…"
GUIDED = {"stable-diffusion": {}, "sdxl": {}, "flux": {"true_cfg_scale": 4.0}}
ALIKE = 1  # of 255, in batches of different sizes
IMAGES = (
    "select i.id, i.image_path, generation_metadata as m from generated_images i join prompts p on p.id = i.prompt_id"
)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("weights")
    for kind in [*KINDS, "flux-2-klein"]:
        build_generator(kind, place / f"tiny-{kind}")
    return place


@pytest.fixture(autouse=True)
def at_home(home, monkeypatch):
    monkeypatch.chdir(home)


def drawn(model, prompts, **parameters):
    requests = [DrawRequest(prompt, 5, SMALL | parameters) for prompt in prompts]
    drawings = load_model("image_generator", f"tiny-{model}").draw(requests)
    assert not [each for each in drawings if isinstance(each, ItemError)], drawings
    return [np.asarray(each.image).astype(int) for each in drawings], drawings


def apart(one, other):
    return abs(one - other).max()


@pytest.mark.parametrize("kind", KINDS)
def test_words_draw_by_their_weight_in_a_batch_as_alone_and_a_weight_of_1_is_no_weight(kind):
    texts = ["a red cat", "a (red:1) cat", "a (red:4) cat", "a (red:0.2) cat", "a (red:0) cat", "a (red:-2) cat", ""]
    [plain], _ = drawn(kind, texts[:1])
    together, drawings = drawn(kind, texts, prompt_weights=True)
    alone = [drawn(kind, [text], prompt_weights=True)[0][0] for text in texts]
    assert [apart(a, b) <= ALIKE for a, b in zip(together, alone, strict=True)] == [True] * 7
    assert (alone[0] == plain).all() and (alone[1] == plain).all()
    assert len({picture.tobytes() for picture in alone[1:5]}) == 4  # 1, 4, 0.2 and 0 are four pictures
    assert (alone[4] == alone[5]).all()  # below 0 counts as 0
    marks = [each.metadata.get("weights_applied") for each in drawings]
    assert marks == [None, *([text.split()[1]] for text in texts[1:6]), None]


def by_compel(pipeline, kind, prompt, negative):
    """What compel's own wrappers make of a prompt in its own syntax, but for the whole text, in which they leave the marks."""
    import compel

    wrapper = {"stable-diffusion": compel.CompelForSD, "sdxl": compel.CompelForSDXL, "flux": compel.CompelForFlux}[kind]
    with torch.no_grad():
        read = wrapper(pipeline)(prompt, negative_prompt=negative)
        call = {"prompt_embeds": read.embeds, "negative_prompt_embeds": read.negative_embeds}
        if kind == "sdxl":
            _, _, pooled, unwanted = pipeline.encode_prompt("a red cat, blue dog", negative_prompt="a green star")
            call |= {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": unwanted}
        if kind == "flux":
            call |= {
                "pooled_prompt_embeds": read.pooled_embeds,
                "negative_pooled_prompt_embeds": read.negative_pooled_embeds,
            }
    return call


@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_is_the_one_that_is_drawn_with_what_compel_makes_of_prompt_and_negative(kind):
    length = {"max_sequence_length": 32} if kind == "flux" else {}
    more = {**length, **GUIDED[kind], "negative_prompt": "a (green:0.5) star"}
    [ours], _ = drawn(kind, ["a (red:2.5) cat, [blue] dog"], prompt_weights=True, **more)
    pipeline = load_model("image_generator", f"tiny-{kind}").pipeline
    call = by_compel(pipeline, kind, f"a (red)2.5 cat, (blue){1 / 1.1} dog", "a (green)0.5 star")
    generator = [torch.Generator("cpu").manual_seed(5)]
    [theirs] = pipeline(**call, **SMALL, **length, **GUIDED[kind], generator=generator).images
    assert (ours == np.asarray(theirs).astype(int)).all()
    [other], [told] = drawn(
        kind, ["a (red:2.5) cat, [blue] dog"], prompt_weights=True, **more | {"negative_prompt": "a green star"}
    )
    assert apart(ours, other) > 0 and told.metadata["weights_applied"] == ["(red:2.5)", "[blue]"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_too_long_is_cut_where_it_is_cut_without_weights_and_recorded(kind):
    length = {"max_sequence_length": 32} if kind == "flux" else {}
    readers = load_model("image_generator", f"tiny-{kind}")._readers
    words = ["(blue:2)", *["red"] * 40]
    cut = truncated(readers, " ".join(["blue", *words[1:]]), length.get("max_sequence_length"))
    read = len(words) - len(next(iter(cut.values())).split())
    texts = [words, [*words[: read - 1], "star", *words[read:]], [*words[:-1], "star"]]
    told = [drawn(kind, [" ".join(text)], prompt_weights=True, **length) for text in texts]
    base, last_read, last = (pictures[0].tobytes() for pictures, _ in told)
    assert told[0][1][0].metadata["truncated"] == cut and base == last != last_read


def test_weights_go_together_with_a_lora_and_leave_no_trace(home):
    a_lora(home / "tiny-flux", "transformer", home / "a-lora", 0)
    texts, loras = ["a (red:4) cat"], {"loras": {"a-lora": 0.8}}
    ways = [drawn("flux", texts, prompt_weights=on, **more)[0][0] for on in (False, True) for more in ({}, loras)]
    assert len({picture.tobytes() for picture in ways}) == 4
    assert (drawn("flux", texts)[0][0] == ways[0]).all()


def imported(store, text, experiment, model="stable-diffusion", data=None, **parameters):
    row = {"text": text} | ({"parameters": data} if data else {})
    fk.import_prompts(
        store, pd.DataFrame([row]), model=f"tiny-{model}", experiment=experiment, parameters=SMALL | parameters
    )
    fk.complete_prompts(store, keep=True)
    report = fk.generate_images(store, images_per_prompt=2, experiment=experiment)
    rows = store.rows(f"{IMAGES} where p.experiment = $experiment order by i.id", experiment=experiment)
    return {name: n for name, n in report.details.items() if "not applied" in name}, rows, report


def test_weights_are_off_and_said_unless_asked_for_and_no_picture_stands_for_the_other(store):
    text = "a (red:4) cat, blue star::2 <lora:x:0.8>"
    told, off, _ = imported(store, text, "off")
    assert told == {"networks not applied": 1, "weights not applied": 2}
    assert off[0]["m"]["directives_not_applied"]["weights"] == ["(red:4)", "a red cat, blue star::2"]
    told, on, _ = imported(store, text, "on", prompt_weights=True)
    assert told == {"networks not applied": 1, "weights not applied": 1}
    assert on[0]["m"]["weights_applied"] == ["(red:4)"] and on[0]["m"]["compel"] == prompt_weights.compel_version()
    assert on[0]["m"]["directives_not_applied"]["weights"] == ["a red cat, blue star::2"]
    assert on[0]["m"]["prompt"] == off[0]["m"]["prompt"] and on[0]["m"]["seed"] == off[0]["m"]["seed"]
    _, again, _ = imported(store, text, "again", prompt_weights=True)
    keys = [{row["m"]["draw_key"] for row in rows} for rows in (off, on, again)]
    assert keys[0].isdisjoint(keys[1]) and keys[1] == keys[2]
    assert fk.redraw(on[0]["id"], out=store.folder / "again.png", store=store).same
    told = fk.redraw(_from_another_compel(store, on[0]), out=store.folder / "other.png")
    assert told.reasons == [f"compel: 2.0.0 then, {prompt_weights.compel_version()} now"] and not told.same


def _from_another_compel(store, row):
    file = store.folder / "older.png"
    file.write_bytes(encode_png(Image.open(store.folder / row["image_path"]), {**row["m"], "compel": "2.0.0"}))
    return file


NOT_INSTALLED = "it takes compel, which is not installed: pip install 'forgekit[weights]'"
CANNOT = [  # the model, what is asked of it, and why that is refused or left out
    (
        "flux-2-klein",
        {"prompt_weights": True},
        "tiny-flux-2-klein has no such parameter",
        "no parameter 'prompt_weights'",
    ),
    ("stable-diffusion", {"prompt_weights": True}, NOT_INSTALLED, NOT_INSTALLED),
]


@pytest.mark.parametrize(("model", "asked", "left_out", "refused"), CANNOT, ids=["pipeline", "library"])
def test_where_words_cannot_be_weighed_data_does_without_and_the_caller_is_refused(
    store, monkeypatch, model, asked, left_out, refused
):
    if left_out is NOT_INSTALLED:
        monkeypatch.setattr(prompt_weights, "compel_version", lambda: None)
    _, _, report = imported(store, "a (red:4) cat", "caller", model, **asked)
    assert report.done == 0 and refused in next(iter(report.failures.values()))
    told, rows, report = imported(store, "a (red:4) cat", "data", model, data=asked)
    assert report.done == 1 and told == {
        f"prompt_weights not applied ({left_out}): images": 2,
        "weights not applied": 1,
    }
    assert rows[0]["m"]["parameters_not_applied"] == {"prompt_weights": left_out}
    assert rows[0]["m"]["directives_not_applied"] == {"weights": ["(red:4)"]} and "compel" not in rows[0]["m"]


def test_clip_skip_of_which_compel_takes_no_notice_gives_way_where_data_brings_it_and_is_refused_from_the_caller():
    both, reason = {"prompt_weights": True, "clip_skip": 1}, "clip_skip and prompt_weights do not go together"
    generator = load_model("image_generator", "tiny-sdxl")
    assert generator.not_applicable(both, frozenset(both)) == {"clip_skip": reason}
    assert [generator.not_applicable(both, frozenset({name})) for name in both] == [{name: reason} for name in both]
    for asked, said in ((both, reason), ({"prompt_weights": "yes"}, "give true or false")):
        with pytest.raises(ParameterError, match=said):
            generator.call_arguments(asked)
