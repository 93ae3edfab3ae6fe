"""Pictures as other programs write them, for the tests: text in PNG chunks, EXIF fields or XMP."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

USER_COMMENT = 0x9286
SETTINGS = "Steps: 4, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64, Model: v1-5-pruned"


def png(path: Path, how: str = "iTXt", **chunks: Any) -> Path:
    """A PNG with these chunks, what is no text as JSON."""
    info = PngInfo()
    for key, value in chunks.items():
        text = value if isinstance(value, str) else json.dumps(value)
        if how == "iTXt":
            info.add_itxt(key, text)
        else:
            info.add_text(key, text.encode("utf-8"), zip=how == "zTXt")
    Image.new("RGB", (64, 64)).save(path, "PNG", pnginfo=info)
    return path


def with_exif(path: Path, raw: bytes | str, tag: int = USER_COMMENT) -> Path:
    """A picture in the format that its name says, with one EXIF field."""
    exif = Image.Exif()
    (exif.get_ifd(0x8769) if tag == USER_COMMENT else exif)[tag] = raw
    Image.new("RGB", (64, 64)).save(path, exif=exif.tobytes())
    return path


def xmp(comment: Any) -> str:
    """An XMP packet as Draw Things writes it."""
    text = json.dumps(comment).replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        "<xmp:CreatorTool>Draw Things</xmp:CreatorTool><exif:UserComment><rdf:Alt>"
        f'<rdf:li xml:lang="x-default">{text}</rdf:li></rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>'
    )


def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """A node of ComfyUI."""
    return {"class_type": kind, "inputs": inputs}


def graph(**more: Any) -> dict[str, Any]:
    """A graph of ComfyUI with a sampler "3", texts "6" and "7"; `more` are nodes in place of these or besides, "n20" for "20"."""
    nodes = {
        "3": node(
            "KSampler", seed=5, steps=4, cfg=8.0, sampler_name="euler", scheduler="karras", denoise=1.0,
            model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0],
        ),
        "4": node("CheckpointLoaderSimple", ckpt_name="sdxl.safetensors"),
        "5": node("EmptyLatentImage", width=64, height=96, batch_size=1),
        "6": node("CLIPTextEncode", text="a red circle", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="x"),
    }  # fmt: skip
    return nodes | {key.removeprefix("n"): value for key, value in more.items()}


def sampler(**inputs: Any) -> dict[str, Any]:
    """The sampler of `graph` with some other inputs."""
    return node("KSampler", **{**graph()["3"]["inputs"], **inputs})
