"""Parameters that came with the data: what a generator cannot take of them is left out and said, what the caller says is refused."""

import pandas as pd
import pytest
from picture_files import png
from PIL import Image
from served_models import answered, drawing_server, picture, serving
from tiny_models import build_generator

import forgekit as fk
from forgekit.models import DrawRequest, load_model
from forgekit.models.generator import DiffusionGenerator
from forgekit.models.served_generator import ServedGenerator
from forgekit.stages.wanted import Seeds, wanted_images

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
A1111 = "a red circle\nNegative prompt: blurry\nSteps: 2, Sampler: Euler a, CFG scale: 3.5, Seed: 42, Size: 32x32"
WITHOUT = "a red circle\nSteps: 2, Sampler: Euler a, CFG scale: 3.5, Seed: 42, Size: 32x32"
IMAGES = "select generation_metadata as m, image_path from generated_images i join prompts p on p.id = i.prompt_id"


@pytest.fixture(scope="module")
def flux(tmp_path_factory) -> str:
    return str(build_generator("flux", tmp_path_factory.mktemp("generators") / "flux"))


@pytest.fixture(scope="module")
def klein(tmp_path_factory) -> str:
    return str(build_generator("flux-2-klein", tmp_path_factory.mktemp("generators") / "klein"))


def drawn(store, source, model, experiment="main", template="{scene}", **parameters):
    """Import, complete and draw one image a prompt; the report of the drawing, and the images."""
    fk.import_prompts(store, source, model=model, experiment=experiment, parameters=parameters)
    fk.complete_prompts(store, template=template)
    report = fk.generate_images(store, images_per_prompt=1, experiment=experiment)
    return report, store.rows(f"{IMAGES} where p.experiment = $experiment", experiment=experiment)


def left_out(report) -> dict[str, int]:
    return {name: n for name, n in report.details.items() if "not applied" in name}


def test_a_pictures_negative_that_flux_ignores_is_left_out_and_said_and_changes_no_pixel(store, flux, tmp_path):
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    png(tmp_path / "with" / "a.png", parameters=A1111)
    png(tmp_path / "without" / "a.png", parameters=WITHOUT)
    report, [image] = drawn(store, tmp_path / "with", flux, "with")
    plain, [other] = drawn(store, tmp_path / "without", flux, "without")
    reason = "flux ignores it unless true_cfg_scale > 1"
    assert (report.done, report.failures) == (1, {})
    assert left_out(report) == {f"negative_prompt not applied ({reason}): images": 1}
    assert image["m"]["parameters_not_applied"] == {"negative_prompt": reason}
    assert "negative_prompt" not in image["m"]["parameters"]
    assert image["m"]["draw_key"] == other["m"]["draw_key"]
    assert (plain.done, left_out(plain), "parameters_not_applied" in other["m"]) == (1, {}, False)
    pixels = [Image.open(store.folder / row["image_path"]).tobytes() for row in (image, other)]
    alone = load_model("image_generator", flux).draw(
        [DrawRequest("a red circle", image["m"]["seed"], {**SMALL, "guidance_scale": 3.5})]
    )
    assert pixels[0] == pixels[1] == alone[0].image.tobytes()


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": "a red circle --no blurry"}],
        [{"text": "a red circle\nNegative prompt: blurry\nSteps: 2"}],
        [{"text": "a red circle", "negative_prompt": "blurry"}],
        [{"text": "a red circle", "parameters": {"negative_prompt": "blurry"}}],
    ],
    ids=["flag", "pasted", "column", "cell"],
)
@pytest.mark.parametrize("template", ["{scene}", None])
def test_whichever_way_data_brings_a_negative_it_does_not_stop_flux(store, flux, rows, template):
    report, [image] = drawn(store, pd.DataFrame(rows), flux, template=template, **SMALL)
    assert (report.done, report.failures) == (1, {})
    assert list(image["m"]["parameters_not_applied"]) == ["negative_prompt"]


def test_a_negative_of_the_data_is_applied_where_true_guidance_is_on(store, flux):
    data = pd.DataFrame([{"text": "a red circle", "negative_prompt": "blurry"}])
    report, [image] = drawn(store, data, flux, true_cfg_scale=3.0, **SMALL)
    assert image["m"]["parameters"]["negative_prompt"] == "blurry"
    assert (left_out(report), "parameters_not_applied" in image["m"]) == ({}, False)


def test_what_the_caller_says_is_refused_as_before(store, flux, klein):
    texts = pd.DataFrame({"text": ["a red circle"]})
    for number, (model, parameters, reason) in enumerate(
        [
            (flux, {"negative_prompt": "blurry"}, "true_cfg_scale > 1; set true_cfg_scale, or drop it"),
            (klein, {"negative_prompt": "blurry"}, "no parameter 'negative_prompt'"),
            (flux, {"clip_skip": 2}, "no parameter 'clip_skip'"),
        ]
    ):
        report, images = drawn(store, texts, model, f"explicit-{number}", **SMALL, **parameters)
        assert (report.done, images) == (0, []) and reason in next(iter(report.failures.values()))


def test_what_both_the_caller_and_a_row_say_is_the_callers(store, flux):
    data = pd.DataFrame([{"text": "a red circle", "negative_prompt": "blurry"}])
    report, _ = drawn(store, data, flux, negative_prompt="blurry", **SMALL)
    assert "true_cfg_scale > 1" in next(iter(report.failures.values()))


def test_a_negative_that_was_left_out_is_no_picture_for_a_caller_who_asks_for_it(store, flux):
    data = pd.DataFrame([{"text": "a red circle", "negative_prompt": "blurry"}])
    report, _ = drawn(store, data, flux, "data", **SMALL)
    asked, images = drawn(
        store, pd.DataFrame({"text": ["a red circle"]}), flux, "asked", negative_prompt="blurry", **SMALL
    )
    assert report.done == 1
    assert (asked.done, asked.failed, images) == (0, 1, [])


def test_other_parameters_of_data_that_a_pipeline_lacks_are_left_out_by_name(store, klein):
    said = {"negative_prompt": "blurry", "clip_skip": 2, "true_cfg_scale": 3.0, "guidance_scale": 2.0}
    report, [image] = drawn(store, pd.DataFrame([{"text": "a red circle", "parameters": said}]), klein, **SMALL)
    assert report.failures == {}
    assert list(image["m"]["parameters_not_applied"]) == ["clip_skip", "negative_prompt", "true_cfg_scale"]
    assert image["m"]["parameters"] == {**SMALL, "guidance_scale": 2.0}


def test_clip_skip_that_the_installed_libraries_cannot_is_left_out_of_data_and_refused_from_the_caller(store, tmp_path):
    sd, text = str(build_generator("stable-diffusion", tmp_path / "sd")), "a red circle"
    with pytest.raises(AttributeError, match="text_model"):  # where this passes, `broken` can go
        load_model("image_generator", sd).pipeline(text, clip_skip=1, **SMALL)
    report, [image] = drawn(store, pd.DataFrame([{"text": text, "parameters": {"clip_skip": 1}}]), sd, **SMALL)
    assert report.failures == {} and "fail on it" in image["m"]["parameters_not_applied"]["clip_skip"]
    report, images = drawn(store, pd.DataFrame([{"text": text}]), sd, "asked", clip_skip=1, **SMALL)
    assert images == [] and "diffusers' pipelines of one text encoder fail" in next(iter(report.failures.values()))


def test_data_draws_mini_no_larger_than_it_was_trained_for_and_the_caller_may(store):
    data = pd.DataFrame(
        [{"text": "a red circle", "size": "512x768", "steps": 2}, {"text": "a blue star", "size": "32x48", "steps": 2}]
    )
    report, images = drawn(store, data, "mini")
    assert {(each["m"]["width"], each["m"]["height"]) for each in images} == {(64, 64), (32, 48)}
    assert left_out(report) == {
        f"{side} not applied (mini draws 4096 pixels at most): images": 1 for side in ("width", "height")
    }
    _, [asked] = drawn(
        store, pd.DataFrame({"text": ["a red circle"]}), "mini", "b", width=80, height=80, num_inference_steps=1
    )
    assert asked["m"]["width"] == 80


def test_draw_keys_of_prompts_without_such_data_are_what_they_were(flux):
    generator = DiffusionGenerator("tiny", flux, defaults=SMALL)
    prompt = {
        "prompt_text": "a red circle", "base_parameters": {"guidance_scale": 2.0, "seed": 3}, "scene_hash": "a" * 64, "directives": None,
    }  # fmt: skip
    [wanted] = wanted_images(generator, prompt, Seeds.of(1, None))
    said = ["tiny", generator.describe(), "a red circle", wanted.request.seed, {**SMALL, "guidance_scale": 2.0}]
    assert wanted.draw_key == fk.ids.content_hash(said)
    brought = {"from_data": {"guidance_scale": 2.0}}
    [applied] = wanted_images(generator, {**prompt, "directives": brought}, Seeds.of(1, None))
    assert applied.draw_key == wanted.draw_key  # it is drawn with all that data brings
    assert "pipeline" not in vars(generator)


def test_a_rewrite_has_the_parameters_that_its_parent_was_drawn_with(store, flux, fake_judge):
    data = pd.DataFrame([{"text": "a red circle left of a blue square", "negative_prompt": "blurry"}])
    drawn(store, data, flux, **SMALL)
    fk.evaluate_images(store, vision_models=[fake_judge])
    fk.refine_prompts(store, target=0.9, policy="paraphrase")
    [child] = store.rows("select base_parameters from prompts where generation_iteration = 1")
    assert "negative_prompt" not in child["base_parameters"]  # an action on it would be refused when it is drawn
    report = fk.generate_images(store, images_per_prompt=1)
    assert (report.done, report.failures, left_out(report)) == (1, {}, {})


def test_a_rewrite_may_do_without_what_data_brought_and_its_parent_was_drawn_with(store, flux, fake_judge):
    data = pd.DataFrame([{"text": "a red circle left of a blue square", "negative_prompt": "blurry"}])
    drawn(store, data, flux, true_cfg_scale=1.1, **SMALL)
    fk.evaluate_images(store, vision_models=[fake_judge])
    fk.refine_prompts(store, target=0.9, policy="paraphrase")
    with store.transaction() as con:  # as an action that lowers the guidance would
        con.execute(
            """update prompts set base_parameters = json_merge_patch(base_parameters, '{"true_cfg_scale": 1.0}')
            where generation_iteration = 1"""
        )
    report = fk.generate_images(store, images_per_prompt=1)
    assert (report.done, report.failures, len(left_out(report))) == (1, {}, 1)


def test_a_server_is_asked_again_without_what_it_refuses_of_the_data():
    with serving(drawing_server()) as url:
        served = ServedGenerator("served", url, "mini")
        said = {"num_inference_steps": 2, "clip_skip": 2, "sharpness": 3, "negative_prompt": "a blue star"}
        optional = frozenset(said) - {"sharpness"}
        [drawn, refused, plain] = served.draw(
            [
                DrawRequest("a red circle", 1, {n: v for n, v in said.items() if n != "sharpness"}, optional),
                DrawRequest("a red circle", 1, said, optional),
                DrawRequest("a red circle", 1, {"num_inference_steps": 2, "negative_prompt": "a blue star"}),
            ]
        )
    assert list(drawn.metadata["parameters_not_applied"]) == ["clip_skip"]
    assert "no parameter 'clip_skip'" in drawn.metadata["parameters_not_applied"]["clip_skip"]
    assert drawn.metadata["parameters"] == plain.metadata["parameters"]
    assert drawn.image.tobytes() == plain.image.tobytes() and "parameters_not_applied" not in plain.metadata
    assert "sharpness" in refused.reason


@pytest.mark.parametrize("status", [400, 422])
def test_what_a_server_refuses_of_the_data_is_counted_and_of_the_caller_is_a_failure(store, status):
    def answer(path, body):
        if "negative_prompt" in body:
            return answered({"error": {"message": "Unknown parameter.", "param": "negative_prompt"}}, status)
        if "size" in body:
            return answered({"error": {"message": "size must be one of 1024x1024"}}, status)
        return picture(Image.new("RGB", (8, 8), "red"))

    data = pd.DataFrame([{"text": "a red circle", "negative_prompt": "blurry", "size": "96x32"}])
    with serving(answer) as url:
        report, [image] = drawn(store, data, f"{url}#tiny", "data")
        asked, none = drawn(
            store, pd.DataFrame({"text": ["a red circle"]}), f"{url}#tiny", "asked", negative_prompt="blurry"
        )
    assert set(image["m"]["parameters_not_applied"]) == {"negative_prompt", "width", "height"}
    assert sum(left_out(report).values()) == 3 and report.done == 1
    assert (asked.failed, none) == (1, [])


def test_a_picture_that_a_server_drew_without_it_is_not_given_to_a_caller_who_asks_for_it(store):
    def answer(path, body):
        refused = answered({"error": {"message": "no negative_prompt here"}}, 400)
        return refused if "negative_prompt" in body else picture(Image.new("RGB", (8, 8), "red"))

    with serving(answer) as url:
        drawn(store, pd.DataFrame([{"text": "a red circle", "negative_prompt": "dog"}]), f"{url}#tiny", "data")
        asked, none = drawn(
            store, pd.DataFrame({"text": ["a red circle"]}), f"{url}#tiny", "asked", negative_prompt="dog"
        )
    assert (asked.failed, none) == (1, [])
