"""Pictures that carry the prompt they were drawn from, as each program writes it."""

from __future__ import annotations

import json
import time
import zlib

import pytest
from picture_files import SETTINGS, graph, node, png, with_exif, xmp

import forgekit as fk
from forgekit.sources.pictures import prompt_of

A1111 = f"a red circle\nNegative prompt: blurry\n{SETTINGS}"
RED = {"text": "a red circle", "negative": "blurry", "seed": 42, "steps": 4}
STAR = {"steps": 4, "seed": 42, "width": 64, "height": 64}
SWARM = {
    "sui_image_params": STAR
    | {"prompt": "a red circle", "negativeprompt": "blurry", "cfgscale": 7.0, "model": "OfficialStableDiffusion/sd_xl"}
    | {"sampler": "dpmpp_2m", "scheduler": "karras", "loras": ["pixel", "neon"], "loraweights": ["0.5", "1"]},
    "sui_extra_data": {"date": "2025-01-01"},
}
FOOOCUS = {
    "prompt": "a red circle", "negative_prompt": "blurry", "full_prompt": ["a red circle", "cinematic still"], "steps": 4,
    "seed": "42", "resolution": "(64, 64)", "guidance_scale": 7, "sampler": "dpmpp_2m_sde_gpu", "scheduler": "karras",
    "base_model": "juggernautXL", "loras": [["offset", 0.1, "hash"]], "version": "Fooocus v2.5.5",
}  # fmt: skip
INVOKE = STAR | {
    "app_version": "5.4.0", "positive_prompt": "a red circle", "negative_prompt": "blurry", "cfg_scale": 7, "scheduler": "euler_a",
    "cfg_rescale_multiplier": 0, "model": {"key": "k", "name": "sdxl"}, "loras": [{"model": {"name": "pixel"}, "weight": 0.75}],
}  # fmt: skip
NOVELAI = STAR | {
    "prompt": "a red circle",
    "uc": "blurry",
    "scale": 7,
    "sampler": "k_euler",
    "noise_schedule": "native",
}
DRAW_THINGS = {
    "c": "a red circle", "uc": "blurry", "steps": 4, "seed": 42, "scale": 7, "size": "64x64", "sampler": "Euler a",
    "model": "sd_v1.5_f16.ckpt", "lora": [{"model": "pixel.ckpt", "weight": 0.6}],
}  # fmt: skip
COMFY = graph(n3=node("KSampler", **{**graph()["3"]["inputs"], "seed": 42}))
EASY = {name: str(value) for name, value in STAR.items() if name != "steps"} | {"num_inference_steps": "4"}
OURS = {"num_inference_steps": 4, "true_cfg_scale": 3.0, "negative_prompt": "blurry", "height": 64, "width": 64}
DIALECTS = {
    "a1111": lambda path: png(path, parameters=A1111),
    "swarmui": lambda path: png(path, parameters=SWARM),
    "fooocus": lambda path: png(path, parameters=FOOOCUS, fooocus_scheme="fooocus"),
    "invokeai": lambda path: png(path, invokeai_metadata=INVOKE, invokeai_graph={"nodes": {}}),
    "fooocus-a1111": lambda path: png(
        path,
        parameters=A1111.replace("a red circle", "cinematic still a red circle").replace("blurry", "anime")
        + ", Scheduler: karras, Raw prompt: a red circle, Raw negative prompt: blurry, Version: Fooocus v2.5.5",
    ),
    "novelai": lambda path: png(path, Software="NovelAI", Description="a red circle", Comment=NOVELAI, Source="NAI V3"),
    "draw-things": lambda path: png(path, **{"XML:com.adobe.xmp": xmp(DRAW_THINGS)}),
    "comfyui": lambda path: png(path, prompt=COMFY, workflow={"nodes": [], "links": []}),
    "easy-diffusion": lambda path: png(path, prompt="a red circle", negative_prompt="blurry", **EASY),
    "jpeg": lambda path: with_exif(path.with_suffix(".JPG"), b"UNICODE\0" + A1111.encode("utf-16-be")),
    "webp": lambda path: with_exif(path.with_suffix(".WEBP"), b"UNICODE\0" + json.dumps(SWARM).encode("utf-16-le")),
    "comfyui-webp": lambda path: with_exif(path.with_suffix(".webp"), f"prompt:{json.dumps(COMFY)}", 0x0110),
    "ours": lambda path: png(path, forgekit={"prompt": "a red circle", "model": "mini", "parameters": OURS}),
}


def told(path):
    """What a picture says, by short names."""
    found = prompt_of(path)
    assert isinstance(found, dict), found
    parameters = found["parameters"]
    return {
        "text": found["text"],
        "negative": parameters.get("negative_prompt"),
        "seed": parameters.get("seed"),
        "steps": parameters.get("num_inference_steps"),
    }


def infotext(tmp_path, text):
    return told(png(tmp_path / "p.png", parameters=text))


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "ours"])
def test_each_dialect_says_prompt_negative_seed_steps_and_size(tmp_path, dialect):
    path = DIALECTS[dialect](tmp_path / "p.PNG")
    assert told(path) == RED
    parameters = prompt_of(path)["parameters"]
    height = 96 if dialect.startswith("comfy") else 64
    assert (parameters["width"], parameters["height"]) == (64, height)
    assert set(parameters) <= {
        "negative_prompt", "seed", "num_inference_steps", "guidance_scale", "width", "height",
    }  # fmt: skip


def test_a_folder_with_one_picture_of_each_dialect_comes_in_whole_and_is_drawn_by_the_model_that_the_user_named(
    store, tmp_path
):
    (tmp_path / "folder").mkdir()
    for dialect, write in DIALECTS.items():
        write(tmp_path / "folder" / f"{dialect}.png")
    report = fk.import_prompts(store, tmp_path / "folder", model="mini")
    assert (report.failed, report.skipped + report.done) == (0, len(DIALECTS))
    assert {row["model"] for row in store.rows("select model from prompts")} == {"mini"}
    assert fk.complete_prompts(store).failed == 0
    assert fk.generate_images(store, images_per_prompt=1).failed == 0
    (scene,) = store.rows("select source ->> '$.model' as model, source ->> '$.file' as file from scenes")
    assert scene == {"model": "v1-5-pruned", "file": "a1111.png"}


def test_checkpoint_loras_and_sampler_are_kept_beside_the_prompt_and_the_sampler_by_its_scheduler(tmp_path):
    source = prompt_of(png(tmp_path / "p.png", parameters=SWARM))["source"]
    assert source == {
        "model": "OfficialStableDiffusion/sd_xl", "sampler": "dpmpp_2m karras", "scheduler": "DPMSolverMultistepScheduler",
        "scheduler_options": {"use_karras_sigmas": True},
        "loras": [{"name": "pixel", "weight": 0.5}, {"name": "neon", "weight": 1.0}],
    }  # fmt: skip
    assert prompt_of(png(tmp_path / "p.png", invokeai_metadata=INVOKE))["source"]["loras"] == [
        {"name": "pixel", "weight": 0.75}
    ]


@pytest.mark.parametrize(
    "chunks",
    [
        {"prompt": "a red circle", "use_lora_model": "['pixel', 'neon']", "lora_alpha": "[0.5, 1]"},
        {"generation_data": {"prompt": "a red circle", "models": [
            {"type": "LORA", "modelFileName": "pixel", "weight": 0.5}, {"type": "EMBEDDING", "modelFileName": "x"},
            {"type": "LORA", "modelFileName": "neon", "weight": 1}]}},
        {"parameters": {"sui_image_params": {"prompt": "a red circle", "loras": "pixel,neon", "loraweights": "0.5,1"}}},
    ],
    ids=["Easy Diffusion", "Tensor.Art", "SwarmUI"],
)  # fmt: skip
def test_loras_are_listed_however_their_names_and_weights_stand(tmp_path, chunks):
    assert prompt_of(png(tmp_path / "p.png", **chunks))["source"]["loras"] == [
        {"name": "pixel", "weight": 0.5}, {"name": "neon", "weight": 1.0},
    ]  # fmt: skip


@pytest.mark.parametrize("listed", ["['pixel', 'neon'", "[" * 5000, "[f(1)]", "['pixel': 1]"])
def test_a_list_of_loras_that_is_no_list_costs_no_prompt(tmp_path, listed):
    assert (
        told(png(tmp_path / "p.png", prompt="a red circle", use_lora_model=listed, lora_alpha="[1"))["text"]
        == "a red circle"
    )


def test_a_sampler_that_diffusers_has_not_is_said_and_draws_nothing(tmp_path):
    text = A1111.replace("Euler a", "Restart of mine")
    found = prompt_of(png(tmp_path / "p.png", parameters=text))
    assert found["source"]["sampler"] == "Restart of mine"
    assert "scheduler" not in found["source"] and "sampler" not in found["parameters"]


@pytest.mark.parametrize("how", ["iTXt", "tEXt", "zTXt"])
def test_png_text_of_every_kind_is_read_also_utf_8_where_the_standard_has_latin_1(tmp_path, how):
    path = png(tmp_path / "p.png", how, parameters=A1111.replace("red", "röten 红"))
    assert told(path)["text"] == "a röten 红 circle"


@pytest.mark.parametrize("ending", ["jpg", "webp", "png", "avif"])
@pytest.mark.parametrize(
    ("charset", "encoding"),
    [
        (b"UNICODE\0", "utf-16-be"), (b"UNICODE\0", "utf-16-le"), (b"UNICODE\0", "utf-16"), (b"UNICODE\0", "utf-8"),
        (b"ASCII\0\0\0", "utf-8"), (b"\0" * 8, "utf-8"), (b"", "utf-8"), (b"ASCII\0\0\0", "latin-1"),
    ],
)  # fmt: skip
def test_a_user_comment_is_read_in_whatever_encoding_it_stands(tmp_path, ending, charset, encoding):
    text = A1111.replace("red", "röten")
    path = with_exif(tmp_path / f"p.{ending}", charset + text.encode(encoding))
    assert told(path) == {**RED, "text": "a röten circle"}


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("text", ["一只猫，坐着", "красный круг\nNegative prompt: x", "赤い丸"])
def test_utf_16_is_told_from_its_bytes_alone(tmp_path, encoding, text):
    path = with_exif(tmp_path / "p.jpg", b"UNICODE\0" + text.encode(encoding))
    assert told(path)["text"] == text.split("\n")[0]


def test_the_remark_of_a_camera_is_no_prompt(tmp_path):
    assert "UserComment" in prompt_of(with_exif(tmp_path / "a.jpg", b"ASCII\0\0\0Screenshot"))
    assert "UserComment" in prompt_of(with_exif(tmp_path / "d.webp", b"ASCII\0\0\0Created with GIMP"))
    assert "ImageDescription" in prompt_of(with_exif(tmp_path / "b.jpg", "OLYMPUS DIGITAL CAMERA", 0x010E))
    assert told(with_exif(tmp_path / "c.jpg", A1111, 0x010E)) == RED


def test_a_picture_saved_twice_says_it_still_in_the_chunk_behind_its_pixels(tmp_path):
    whole = png(tmp_path / "p.png", parameters=A1111).read_bytes()
    start = whole.index(b"iTXt") - 4
    end = start + 12 + int.from_bytes(whole[start : start + 4], "big")
    iend = whole.index(b"IEND") - 4
    (tmp_path / "q.png").write_bytes(whole[:start] + whole[end:iend] + whole[start:end] + whole[iend:])
    assert told(tmp_path / "q.png") == RED


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a green star", {"text": "a green star", "negative": None, "seed": None, "steps": None}),
        ("a green star\nNegative prompt: bad,\nworse", {"text": "a green star", "negative": "bad,\nworse", "seed": None, "steps": None}),
        (A1111 + "\nTemplate: a {red|blue} circle\nNegative Template: blurry", RED),
        (A1111.replace("\nSteps", "\nTemplate:a {red|blue} circle\nSteps"), RED),
        (A1111 + ', ADetailer prompt: "face,\n \\"sharp\\"\nSteps: 9, Seed: 1, Sampler: x", Version: v1.9.4', RED),
        (A1111.replace("\n", "\r\n"), RED),
        (A1111[:12] + A1111[12:].lower(), RED),
        (A1111.replace("\n", " "), RED),
        (A1111.replace("Model: v1-5-pruned", 'Model: "odd, Hires prompt: [face'), RED),
        (f"a wall\nSteps: 3, careful\nNegative prompt: blurry\n{SETTINGS}", {**RED, "text": "a wall\nSteps: 3, careful"}),
        (f'a sign "Negative prompt: no"\nNegative prompt: blurry\n{SETTINGS}', {**RED, "text": 'a sign "Negative prompt: no"'}),
        ("a cat\nNegative prompt: blurry\nSteps: 4, Seed: 42", {**RED, "text": "a cat"}),
        (A1111.replace("Steps: 4, Sampler: Euler a, ", "Steps: 4, Size: 64x64, Sampler: UniPC, ").replace("Model", "App: SD.Next, Model"), RED),
    ],
    ids=["no settings", "no settings, two lines", "template", "template before", "lines in a value", "crlf", "small letters", "one line",
         "open quotation mark", "steps in the prompt", "negative in the prompt", "few settings", "sd.next"],
)  # fmt: skip
def test_a_text_of_a1111_is_told_apart_into_its_parts(tmp_path, text, right):
    assert infotext(tmp_path, text) == right


def test_forge_says_distilled_guidance_beside_cfg(tmp_path):
    path = png(tmp_path / "p.png", parameters=A1111.replace("CFG scale: 7", "CFG scale: 1, Distilled CFG Scale: 3.5"))
    assert prompt_of(path)["parameters"]["guidance_scale"] == 3.5
    both = png(tmp_path / "p.png", parameters=A1111.replace("CFG scale: 7", "CFG scale: 2, Distilled CFG Scale: 3.5"))
    assert prompt_of(both)["parameters"]["true_cfg_scale"] == 2


def test_civitai_lists_models_apart(tmp_path):
    listed = '[{"type":"checkpoint","modelName":"Pony, XL"},{"type":"lora","weight":0.8,"modelName":"pixel"}]'
    text = A1111.replace("Model: v1-5-pruned", f"Civitai resources: {listed}, Civitai metadata: {{}}")
    source = prompt_of(png(tmp_path / "p.png", parameters=text))["source"]
    assert (source["model"], source["loras"]) == ("Pony, XL", [{"name": "pixel", "weight": 0.8}])


def test_novelai_says_each_character_apart_since_its_fourth_model(tmp_path):
    captions = {
        "base_caption": "two girls",
        "char_captions": [{"char_caption": "red hair"}, {"char_caption": "blue hair"}],
    }
    comment = {**NOVELAI, "prompt": "two girls", "v4_prompt": {"caption": captions}}
    path = png(tmp_path / "p.png", Software="NovelAI", Comment=comment)
    assert told(path) == {**RED, "text": "two girls, red hair, blue hair"}
    first = png(tmp_path / "q.png", Software="NovelAI", Description="a red circle", Comment={**NOVELAI, "prompt": None})
    assert told(first) == RED


def test_the_comment_of_a_picture_editor_hides_no_prompt(tmp_path):
    plain = with_exif(tmp_path / "p.png", b"UNICODE\0" + A1111.encode("utf-16-be"))
    chunk = b"tEXtComment\0Created with GIMP"
    piece = (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    data = plain.read_bytes()
    plain.write_bytes(data[:33] + piece + data[33:])
    assert told(plain) == RED


def test_midjourney_ends_its_description_with_a_job(tmp_path):
    path = png(tmp_path / "p.png", Description="a red circle --ar 16:9 Job ID: 0f2b1e5c-1111-2222-3333-444455556666")
    assert told(path)["text"] == "a red circle --ar 16:9"
    job = "a red circle --ar 16:9 Job ID: 0f2b1e5c-1111-2222-3333-444455556666"
    assert told(with_exif(tmp_path / "p.jpg", job, 0x010E))["text"] == "a red circle --ar 16:9"


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        ({}, "it carries no prompt (metadata: none)"),
        ({"Title": "x"}, "it carries no prompt (metadata: Title)"),
        ({f"k{n:03}{'x' * 70}": "y" for n in range(100)}, f"k029{'x' * 56}… and 70 more)"),
        ({"parameters": '{"sui_image_params": {"prompt": "a cat", "neg'}, "'parameters' metadata cannot be read"),
        ({"prompt": "{broken"}, "'prompt' metadata cannot be read"),
        ({"parameters": f"Negative prompt: x\n{SETTINGS}"}, "and no prompt"),
        ({"XML:com.adobe.xmp": '<!DOCTYPE a [<!ENTITY b "c">]>' + xmp(DRAW_THINGS)}, "no prompt"),
        ({"invokeai_metadata": '{"a":' * 100_000}, "cannot be read"),
    ],
)
def test_a_picture_that_says_nothing_usable_is_a_bad_row_with_the_reason(tmp_path, chunks, reason):
    path = png(tmp_path / "p.png", **chunks)
    if chunks.get("prompt"):
        path = png(tmp_path / "p.png", prompt='{"1": {"class_type"')
    assert reason in prompt_of(path)


def test_bombs_and_ramblings_end_at_a_limit(tmp_path):
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG no")
    wide = bytearray(png(tmp_path / "wide.png").read_bytes())
    wide[16:24] = (60_000).to_bytes(4, "big") * 2
    wide[29:33] = zlib.crc32(wide[12:29]).to_bytes(4, "big")
    (tmp_path / "wide.png").write_bytes(wide)
    zipped = png(tmp_path / "zipped.png", "zTXt", parameters="a" * 30_000_000)
    for path in (tmp_path / "damaged.png", tmp_path / "wide.png", zipped):
        assert "not a picture that can be read" in prompt_of(path)
    texts = [
        "a cat\nSteps: 20, " + 'a: "' * 15_000, "a cat\n" + 'a: "\\\n' * 10_000, "Steps: 1, " * 6_000, "\n" * 60_000 + "x",
        "Steps: 1,\n" * 6_000, 'Seed: "\\"\n' * 6_000, "Steps: [,\n" * 6_000, "Negative prompt:" * 4_000, ("A" * 59 + " ") * 1_000,
        'Steps: 1, a: "\\\n' * 4_000,
    ]  # fmt: skip
    started = time.process_time()
    for text in texts:
        prompt_of(png(tmp_path / "long.png", parameters=text))
    assert time.process_time() - started < 10


def test_the_size_that_a_picture_claims_is_bounded(tmp_path):
    path = png(tmp_path / "p.png", parameters=A1111.replace("64x64", "90000x64").replace("Steps: 4", "Steps: 4000000"))
    parameters = prompt_of(path)["parameters"]
    assert "width" not in parameters and "num_inference_steps" not in parameters and parameters["height"] == 64
