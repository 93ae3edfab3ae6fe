"""What `judging.py` sets the judges against: models of random weights, a store of noise, and the plain loops of a peer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import forgekit as fk
from forgekit.models import Drawing
from forgekit.scene import Scene


@dataclass
class Painter:
    """Draws soft noise, the same for the same seed."""

    size: int
    name: str = "mini"

    def default_parameters(self) -> dict[str, Any]:
        return {}

    def describe(self) -> dict[str, Any]:
        return {"repo": "noise", "size": self.size}

    def fits(self, prompt: str) -> bool:
        return True

    def draw(self, requests: list[Any]) -> list[Drawing]:
        return [Drawing(self._paint(request.seed), {"seed": request.seed}) for request in requests]

    def _paint(self, seed: int) -> Image.Image:
        noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return Image.fromarray(noise).resize((self.size, self.size), Image.Resampling.BICUBIC)


def make_store(folder: Path, scenes: list[str], images: int, size: int) -> fk.Store:
    """Return a store whose prompts are all `generated`, with `images` images each."""
    store = fk.open_store(folder / "bench.duckdb")
    fk.import_prompts(store, pd.DataFrame({"text": scenes}), model="mini")
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=images, image_generator=Painter(size))
    return store


def build_clip(folder: Path, shape: dict[str, Any]) -> str:
    """Write a CLIP of that shape with random weights and return its address."""
    import open_clip
    from safetensors.torch import save_file

    width, layers, head = shape["vision"]
    vision = {"image_size": 224, "patch_size": 14, "width": width, "layers": layers, "head_width": head}
    width, layers, heads = shape["text"]
    text = {"context_length": 77, "vocab_size": 49408, "width": width, "layers": layers, "heads": heads}
    config = {"embed_dim": shape["embed"], "vision_cfg": vision, "text_cfg": text}
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def texts_of(scene: Scene) -> list[str]:
    """Return all texts that the contrastive judge compares with an image of the scene, as it chooses them."""
    from forgekit.models.clip import Plan

    return Plan.of(scene, {}).texts


def open_clip_loop(loaded: tuple[Any, Any, Any], files: list[tuple[Path, Scene]], batch: int = 64) -> list[np.ndarray]:
    """Compare images and texts as one writes it by hand: batches of images, batches of distinct texts, one product."""
    import torch

    model, preprocess, tokenizer = loaded
    texts = list(dict.fromkeys(text for scene in {id(s): s for _, s in files}.values() for text in texts_of(scene)))
    with torch.inference_mode():
        words = [
            model.encode_text(tokenizer(texts[i : i + batch]), normalize=True) for i in range(0, len(texts), batch)
        ]
        words = torch.cat(words)
        scores = []
        for start in range(0, len(files), batch):
            pictures = []
            for file, _ in files[start : start + batch]:
                with Image.open(file) as image:
                    pictures.append(preprocess(image.convert("RGB")))
            features = model.encode_image(torch.stack(pictures), normalize=True)
            scores += list((model.logit_scale.exp() * features @ words.T).numpy())
    return scores


def transformers_clip(shape: dict[str, Any]) -> tuple[Any, Any]:
    """Return a CLIP of that shape and its processor in transformers, as torchmetrics wants them."""
    import open_clip
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    class TensorCLIP(CLIPModel):
        """torchmetrics 1.9 expects vectors, as transformers before 5 returned them."""

        def get_image_features(self, *arguments: Any, **options: Any) -> Any:
            return super().get_image_features(*arguments, **options).pooler_output

        def get_text_features(self, *arguments: Any, **options: Any) -> Any:
            return super().get_text_features(*arguments, **options).pooler_output

    known = open_clip.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {names.get(token, token): i for token, i in known.encoder.items()}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=list(known.bpe_ranks))
    (width, layers, head), (text_width, text_layers, heads) = shape["vision"], shape["text"]
    vision = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": width // head, "patch_size": 14}
    text = {"hidden_size": text_width, "num_hidden_layers": text_layers, "num_attention_heads": heads}
    config = CLIPConfig(
        text_config={**text, "intermediate_size": 4 * text_width},
        vision_config={**vision, "intermediate_size": 4 * width, "image_size": 224},
        projection_dim=shape["embed"],
    )
    return TensorCLIP(config).eval(), CLIPProcessor(image_processor=CLIPImageProcessor(), tokenizer=tokenizer)
