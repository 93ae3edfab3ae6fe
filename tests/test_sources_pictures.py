"""Pictures that carry the prompt they were drawn from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from forgekit.sources import read


def picture(path: Path, **chunks: str) -> Path:
    info = PngInfo()
    for key, value in chunks.items():
        info.add_itxt(key, value)
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)
    return path


def test_a_picture_of_a1111_gives_prompt_negative_and_settings(tmp_path):
    chunk = "a cat,\non a mat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7.5, Seed: 5, Size: 64x32, Model: sd"
    row = read(picture(tmp_path / "p.png", parameters=chunk)).frame.iloc[0]
    assert (row["text"], row["model"], row["id"]) == ("a cat,\non a mat", "sd", "p")
    assert row["parameters"] == {
        "num_inference_steps": 20, "guidance_scale": 7.5, "seed": 5, "sampler": "Euler a", "width": 64, "height": 32,
        "negative_prompt": "blurry",
    }  # fmt: skip


def test_a_picture_of_comfyui_is_followed_from_the_sampler_to_its_text(tmp_path):
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd.ckpt"}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["6", 0], "clip": ["1", 1]}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "ugly", "clip": ["1", 1]}},
        "4": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["2", 0]}},
        "5": {
            "class_type": "KSampler",
            "inputs": {"positive": ["4", 0], "negative": ["3", 0], "seed": 3, "steps": 4, "cfg": 1},
        },
        "6": {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}},
    }
    row = read(picture(tmp_path / "p.png", prompt=json.dumps(graph))).frame.iloc[0]
    assert (row["text"], row["model"]) == ("a cat", "sd.ckpt")
    assert row["parameters"] == {"num_inference_steps": 4, "guidance_scale": 1, "seed": 3, "negative_prompt": "ugly"}


@pytest.mark.parametrize(
    ("key", "chunk"),
    [
        ("invokeai_metadata", {"positive_prompt": "a cat", "seed": 1, "model": {"name": "sdxl"}}),
        ("sd-metadata", {"model_weights": "sdxl", "image": {"prompt": [{"prompt": "a cat", "weight": 1}], "seed": 1}}),
        ("forgekit", {"prompt": "a cat", "model": "sdxl", "base_parameters": {"seed": 1}}),
    ],
)
def test_pictures_of_invokeai_and_our_own_give_their_prompt(tmp_path, key, chunk):
    row = read(picture(tmp_path / "p.png", **{key: json.dumps(chunk)})).frame.iloc[0]
    assert (row["text"], row["model"], row["parameters"]["seed"]) == ("a cat", "sdxl", 1)


def test_pictures_without_prompt_or_damaged_are_bad_rows_of_their_folder(tmp_path):
    (
        picture(tmp_path / "a.png"),
        picture(tmp_path / "b.png", parameters="a cat"),
        (tmp_path / "c.png").write_bytes(b"\x89PNG no"),
    )
    picture(tmp_path / "d.png", prompt="{broken")
    rows = read(tmp_path)
    assert rows.frame["text"].tolist() == ["a cat"]
    assert [bad.file for bad in rows.bad] == ["a.png", "c.png", "d.png"]
