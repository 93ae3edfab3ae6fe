"""The loader of diffusers pipelines: the embedded mini, and tiny random models of the big ones' classes."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import GENERATORS, build_generator

from forgekit.errors import ItemError, UnknownModelError
from forgekit.models import Drawing, DrawRequest, ImageGenerator, load_model, memory
from forgekit.models.generator import DiffusionGenerator

SMALL = {"height": 32, "width": 32, "num_inference_steps": 2}
QUICK = {"num_inference_steps": 2}


def pixels(drawing: Drawing) -> np.ndarray:
    return np.asarray(drawing.image).astype(int)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("generators")
    return {kind: build_generator(kind, place / kind) for kind in GENERATORS}


@pytest.fixture(scope="module")
def flux_folder(folders) -> Path:
    return folders["flux"]


@pytest.fixture(scope="module")
def mini() -> DiffusionGenerator:
    return load_model("image_generator", "mini")


def test_the_embedded_mini_draws_through_the_real_flux_pipeline(mini):
    (drawing,) = mini.draw([DrawRequest("a red circle", 1)])
    assert isinstance(mini, ImageGenerator)
    assert drawing.image.size == (64, 64)
    assert drawing.metadata["pipeline"] == "FluxPipeline" and drawing.metadata["repo"] == "embedded"


def test_the_embedded_mini_draws_red_where_the_caption_asks_for_red(mini):
    drawn = mini.draw([DrawRequest("a large red square on a black background", seed) for seed in range(4)])
    for picture in map(pixels, drawn):
        red = (picture[..., 0] > 150) & (picture[..., 1] < 110) & (picture[..., 2] < 110)
        assert red.sum() > 200
        assert (picture[:3].max() < 80).all()


def test_a_picture_does_not_depend_on_its_neighbours_but_for_rounding(mini):
    requests = [
        DrawRequest(text, seed, QUICK) for seed, text in enumerate(("a red star", "two blue rings", "a heart", "x"))
    ]
    together = mini.draw(requests)
    reversed_order = mini.draw(requests[::-1])[::-1]
    alone = [mini.draw([r])[0] for r in requests]
    for a, b, c in zip(together, reversed_order, alone, strict=True):
        assert abs(pixels(a) - pixels(b)).max() <= 1
        assert abs(pixels(a) - pixels(c)).max() <= 1
    assert abs(pixels(together[0]) - pixels(together[1])).max() > 50


def test_requests_with_different_parameters_share_a_call_and_keep_their_order(mini):
    requests = [DrawRequest("a red star", 1, {"num_inference_steps": steps}) for steps in (2, 3, 2)]
    first, second, third = mini.draw(requests)
    assert [d.metadata["parameters"]["num_inference_steps"] for d in (first, second, third)] == [2, 3, 2]
    assert abs(pixels(first) - pixels(third)).max() <= 1
    assert abs(pixels(first) - pixels(second)).max() > 1


@pytest.mark.parametrize("kind", list(GENERATORS))
def test_other_pipelines_go_through_the_same_loader(kind, folders):
    generator = DiffusionGenerator.from_address(str(folders[kind]))
    a, b = generator.draw([DrawRequest("a cat", 5, SMALL), DrawRequest("a dog", 6, SMALL)])
    (again,) = generator.draw([DrawRequest("a cat", 5, SMALL)])
    assert a.image.size == (32, 32) and b.metadata["seed"] == 6
    assert abs(pixels(a) - pixels(again)).max() <= 1
    assert a.metadata["pipeline"] == type(generator.pipeline).__name__


@pytest.mark.parametrize("kind", list(GENERATORS))
def test_pixels_are_those_that_the_pipeline_makes_an_image_of_itself(kind, folders):
    generator = DiffusionGenerator.from_address(str(folders[kind]))
    (ours,) = generator.draw([DrawRequest("a cat", 5, SMALL)])
    generators = [torch.Generator("cpu").manual_seed(5)]
    (theirs,) = generator.pipeline(prompt=["a cat"], generator=generators, **SMALL).images
    assert ours.image.mode == theirs.mode and (pixels(ours) == np.asarray(theirs).astype(int)).all()


@pytest.mark.parametrize("kind", list(GENERATORS))
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_pixels_that_are_no_numbers_are_a_failure_and_no_black_picture(kind, number, folders):
    generator = DiffusionGenerator.from_address(str(folders[kind]))
    with torch.no_grad():
        generator.pipeline.vae.decoder.conv_out.bias.fill_(number)
    if number == float("inf"):  # before the pipeline cuts it off at white
        generator.pipeline.vae.decoder.conv_norm_out.bias.data.fill_(number)
    results = generator.draw([DrawRequest("a cat", 5, SMALL), DrawRequest("a dog", 6, SMALL)])
    assert [isinstance(result, ItemError) for result in results] == [True, True]
    assert all("no numbers (nan or inf)" in result.reason for result in results)


def test_one_picture_without_numbers_does_not_take_its_batch_with_it(crowded):
    from types import SimpleNamespace

    images = np.full((2, 8, 8, 3), 0.5, dtype=np.float32)
    images[1, 3, 3, 0] = np.nan
    vars(crowded)["pipeline"] = lambda prompt, generator, **_: SimpleNamespace(images=images)
    vars(crowded)["_signature"] = {}
    good, bad = crowded.draw([DrawRequest("a", 1), DrawRequest("b", 2)])
    assert good.image.getpixel((0, 0)) == (128, 128, 128)
    assert "no numbers" in bad.reason


@pytest.mark.parametrize("parameters", [{"true_cfg_scale": "2.5"}, {"guidance_scale": float("nan")}])
def test_a_parameter_that_is_no_number_fails_only_its_own_requests(mini, parameters):
    bad, good = mini.draw([DrawRequest("a", 1, {**QUICK, **parameters}), DrawRequest("a red star", 1, QUICK)])
    assert next(iter(parameters)) in bad.reason or "TypeError" in bad.reason
    assert isinstance(good, Drawing)


def test_weights_that_come_late_are_told_apart_from_none(flux_folder, tmp_path):
    generator = DiffusionGenerator("late", str(tmp_path / "weights"))
    assert generator.describe()["revision"] is None
    (tmp_path / "weights").symlink_to(flux_folder)
    assert generator.describe()["revision"] is not None


def test_metadata_is_json_and_says_how_the_picture_was_made(flux_folder):
    generator = DiffusionGenerator.from_address(str(flux_folder))
    (drawing,) = generator.draw([DrawRequest("a cat", 5, {**SMALL, "guidance_scale": 2.0, "max_sequence_length": 16})])
    metadata = json.loads(json.dumps(drawing.metadata))
    assert metadata["parameters"] == {**SMALL, "guidance_scale": 2.0, "max_sequence_length": 16}
    assert set(metadata["versions"]) == {"torch", "diffusers", "transformers"}
    assert metadata["seed"] == 5 and metadata["duration_s"] > 0 and metadata["truncated"] is None
    assert (metadata["dtype"], metadata["device"]) in {("float32", "cpu"), ("bfloat16", "cuda"), ("bfloat16", "mps")}


def test_an_unknown_parameter_fails_its_own_request_and_names_the_known_ones(mini):
    good, bad = mini.draw(
        [DrawRequest("a red star", 1, QUICK), DrawRequest("a red star", 1, {"num_inference_step": 2})]
    )
    assert isinstance(good, Drawing)
    assert "Did you mean 'num_inference_steps'?" in bad.reason and "guidance_scale" in bad.reason


@pytest.mark.parametrize("reserved", ["prompt", "generator", "latents", "output_type", "prompt_embeds"])
def test_arguments_that_are_ours_to_set_are_refused(mini, reserved):
    (result,) = mini.draw([DrawRequest("a red star", 1, {reserved: "x"})])
    assert reserved in result.reason


def test_a_parameter_value_that_the_pipeline_refuses_fails_only_its_own_requests(mini):
    results = mini.draw([DrawRequest("a", 1, {"num_inference_steps": "many"}), DrawRequest("a red star", 1, QUICK)])
    assert isinstance(results[0], ItemError) and "TypeError" in results[0].reason
    assert isinstance(results[1], Drawing)


def test_a_negative_prompt_that_flux_would_ignore_is_refused(flux_folder):
    generator = DiffusionGenerator.from_address(str(flux_folder))
    ignored, used = generator.draw(
        [
            DrawRequest("a cat", 1, {**SMALL, "negative_prompt": "dog"}),
            DrawRequest("a cat", 1, {**SMALL, "negative_prompt": "dog", "true_cfg_scale": 3.0}),
        ]
    )
    assert "true_cfg_scale > 1" in ignored.reason
    assert used.metadata["parameters"]["negative_prompt"] == "dog"


def test_a_negative_prompt_changes_the_picture(mini):
    plain, without = mini.draw(
        [
            DrawRequest("a blue star", 1, QUICK),
            DrawRequest("a blue star", 1, {**QUICK, "negative_prompt": "a red circle"}),
        ]
    )
    assert abs(pixels(plain) - pixels(without)).max() > 50


def test_what_the_encoders_cut_off_is_recorded(mini):
    long = "a red circle " * 12  # 36 words, of which 31 fit beside the end token
    (drawing,) = mini.draw([DrawRequest(long, 1, QUICK)])
    cut = "red circle a red circle "
    assert drawing.metadata["truncated"] == {"tokenizer": cut, "tokenizer_2": cut}


def test_a_shorter_sequence_length_cuts_the_t5_text_only(mini):
    (drawing,) = mini.draw([DrawRequest("a red circle and a blue star", 1, {**QUICK, "max_sequence_length": 4})])
    assert drawing.metadata["truncated"] == {"tokenizer_2": "and a blue star"}


def test_flux_2_cuts_long_prompts_and_has_no_negative_prompt(folders):
    generator = DiffusionGenerator.from_address(str(folders["flux-2-klein"]))
    cut, refused = generator.draw(
        [
            DrawRequest("a red circle and a blue star", 1, {**SMALL, "max_sequence_length": 10}),
            DrawRequest("a cat", 1, {**SMALL, "negative_prompt": "dog"}),
        ]
    )
    assert cut.metadata["truncated"] == {"tokenizer": "a blue star"}  # 6 of 10 tokens are the chat template's
    assert "no parameter 'negative_prompt'" in refused.reason


def test_a_prompt_fits_where_the_encoder_that_reads_most_reads_all_of_it_and_no_weights_are_loaded(flux_folder):
    generator = DiffusionGenerator("tiny", str(flux_folder), defaults={"max_sequence_length": 24})
    assert generator.fits("red " * 31)  # the CLIP encoder's 32 but for the end token; the T5 encoder's are 23
    assert not generator.fits("red " * 32)
    longer = DiffusionGenerator("tiny", str(flux_folder), defaults={"max_sequence_length": 40})
    assert longer.fits("red " * 39) and not longer.fits("red " * 40)
    assert "pipeline" not in vars(generator)


def test_describing_a_model_loads_no_weights_and_tells_weights_apart(flux_folder, mini):
    generator = DiffusionGenerator.from_address(str(flux_folder))
    before = generator.describe()
    assert "pipeline" not in vars(generator)
    assert before == DiffusionGenerator.from_address(str(flux_folder)).describe()
    assert before["revision"] != mini.describe()["revision"]


def test_the_description_of_the_embedded_mini_is_the_same_wherever_it_is_installed(mini):
    assert str(Path(__file__).parents[1]) not in json.dumps(mini.describe())


class Crowded:
    """A pipeline whose memory holds two pictures, and which cannot draw "poison"."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, prompt, generator, num_inference_steps=1):
        from types import SimpleNamespace

        from PIL.Image import new

        self.sizes.append(len(prompt))
        if len(prompt) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        if "poison" in prompt:
            raise ValueError("cannot draw poison")
        return SimpleNamespace(images=[new("RGB", (8, 8)) for _ in prompt])


@pytest.fixture
def crowded(flux_folder) -> DiffusionGenerator:
    generator = DiffusionGenerator("crowded", str(flux_folder), batch_size=8)
    memory.let_others_go(generator)  # or they would be, before a batch is halved
    vars(generator)["pipeline"] = Crowded()
    return generator


def test_when_memory_runs_out_the_batch_is_halved_and_the_work_goes_on(crowded):
    drawn = crowded.draw([DrawRequest("a", seed) for seed in range(7)])
    assert [d.metadata["seed"] for d in drawn] == list(range(7))
    assert crowded.pipeline.sizes == [7, 3, 1, 1, 1, 1, 1, 1, 1]


def test_one_failing_prompt_does_not_take_its_batch_with_it(crowded):
    drawn = crowded.draw([DrawRequest(text, 1) for text in ("a", "poison", "b", "c")])
    assert [isinstance(d, ItemError) for d in drawn] == [False, True, False, False]
    assert "cannot draw poison" in drawn[1].reason


def test_a_name_that_is_no_address_is_left_to_others(tmp_path):
    assert DiffusionGenerator.from_address("flux-schnel") is None
    assert DiffusionGenerator.from_address(str(tmp_path)) is None  # a folder without model_index.json
    assert DiffusionGenerator.from_address("./here/nothing") is None
    assert DiffusionGenerator.from_address("black-forest-labs/FLUX.1-dev").name == "FLUX.1-dev"


def test_missing_weights_say_how_to_get_them(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"]}')
    with pytest.raises(UnknownModelError, match=f"forgekit doctor {tmp_path}"):
        DiffusionGenerator.from_address(str(tmp_path)).draw([DrawRequest("a", 1)])


@pytest.mark.parametrize("all_parts", [True, False])
def test_weights_in_one_variant_only_are_the_weights(flux_folder, tmp_path, all_parts):
    folder = shutil.copytree(flux_folder, tmp_path / "half")
    for file in list(folder.rglob("*.safetensors")):
        if all_parts or file.parent.name == "transformer":
            file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
    one, other = (
        load_model("image_generator", str(each)).draw([DrawRequest("a cat", 5, SMALL)])[0]
        for each in (flux_folder, folder)
    )
    assert (pixels(one) == pixels(other)).all()


@pytest.mark.parametrize("kind", ["int8", "float8"])
def test_quantised_weights_draw_nearly_the_same_under_a_key_of_their_own(flux_folder, kind):
    pytest.importorskip("torchao")  # transformers imports it where it is, and it warns: so it is in no set-up of ours
    whole, small = (load_model("image_generator", f"{flux_folder}{how}") for how in ("", f"?quantisation={kind}"))
    (one,), (other,) = (model.draw([DrawRequest("a cat", 5, SMALL)]) for model in (whole, small))
    assert {type(each).__name__ for each in small.pipeline.transformer.parameters()} > {"Parameter"}
    assert 0 < abs(pixels(one) - pixels(other)).max() <= 8
    assert other.metadata["quantisation"] == kind and "quantisation" not in one.metadata
    assert small.describe() != whole.describe()


def test_quantisation_without_its_package_says_how_to_get_it(flux_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(UnknownModelError, match=r"torchao.*pip install 'forgekit\[quantised\]'"):
        load_model("image_generator", f"{flux_folder}?quantisation=int8&batch_size=3").draw(
            [DrawRequest("a cat", 5, SMALL)]
        )


@pytest.mark.parametrize(("field", "variable", "offloaded"), [("", "0", 0), ("model", "0", 1), ("", "1", 1)])
def test_a_gpu_that_is_too_small_gets_only_the_part_at_work(flux_folder, monkeypatch, field, variable, offloaded):
    """No GPU is needed for it: the meta device stands for one, and what is asked of the pipeline is written down."""
    from diffusers import FluxPipeline

    asked = []
    monkeypatch.setenv("FORGEKIT_OFFLOAD", variable)
    monkeypatch.setattr(FluxPipeline, "enable_model_cpu_offload", lambda self, device: asked.append(device))
    generator = DiffusionGenerator("small", str(flux_folder), device="meta", offload=field)
    assert generator.pipeline and asked == ["meta"] * offloaded
    assert "offload" not in json.dumps(generator.describe())


def test_a_scheduler_that_the_parameters_name_draws_another_picture_and_the_pipelines_own_one_the_same_again(folders):
    generator = DiffusionGenerator.from_address(str(folders["sdxl"]))
    requests = [
        DrawRequest("a cat", 5, SMALL | named) for named in ({}, {"scheduler": "EulerAncestralDiscreteScheduler"}, {})
    ]
    own, other, again = generator.draw(requests)
    assert other.metadata["parameters"]["scheduler"] == "EulerAncestralDiscreteScheduler"
    assert (pixels(own) != pixels(other)).any() and abs(pixels(own) - pixels(again)).max() <= 1


def test_a_scheduler_that_does_not_go_with_the_pipeline_fails_its_own_request_and_names_those_that_do(mini):
    good, bad = mini.draw([DrawRequest("x", 0, QUICK), DrawRequest("x", 0, QUICK | {"scheduler": "DDIMScheduler"})])
    assert isinstance(good, Drawing)
    assert isinstance(bad, ItemError) and "Known: FlowMatchEulerDiscreteScheduler" in bad.reason
