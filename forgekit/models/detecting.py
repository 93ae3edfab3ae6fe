"""Runs an open-vocabulary detector of transformers: every box it proposes on an image, with a score for each phrase.

Two kinds of architecture differ in when they read the phrases. OWL-ViT and OWLv2 compare finished image tokens with
phrases, so each image and each distinct phrase is encoded once. Grounding DINO reads both together, so an image is
passed once for all its phrases, or for as many as the text encoder takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from forgekit.errors import ParameterError
from forgekit.models.batches import RecentlyUsed, as_rgb, distinct_images
from forgekit.models.loading import quiet

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

OWL = ("owlvit", "owlv2")
GROUNDING = ("grounding-dino", "mm-grounding-dino")
REMEMBERED = 20_000  # phrases whose features are kept
CANDIDATES = 48  # boxes kept for each phrase, more than any rule looks at


@dataclass(frozen=True)
class Proposals:
    """The boxes on one image. `boxes` (m, 4) are x0, y0, x1, y1 in pixels; `scores` (m, phrases) lie in [0, 1]."""

    boxes: np.ndarray
    scores: np.ndarray


class Detector:
    """A loaded detector with its processor."""

    def __init__(self, repo: str, revision: str | None, device: str, dtype: str, template: str) -> None:
        """Load from a hub id or local folder. `template` holds {} where a phrase belongs.

        Raises:
            ParameterError: the architecture is none of OWL-ViT, OWLv2 and Grounding DINO.
        """
        import torch
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        with quiet():
            self.processor = AutoProcessor.from_pretrained(repo, revision=revision, trust_remote_code=False)
            self.model = AutoModelForZeroShotObjectDetection.from_pretrained(
                repo, revision=revision, dtype=getattr(torch, dtype), trust_remote_code=False
            )
        kind = self.model.config.model_type
        if kind not in OWL + GROUNDING:
            raise ParameterError(f"{repo!r} is a {kind}: detectors can be of {', '.join(OWL + GROUNDING)}")
        self.model.to(device).eval()
        self.device, self.dtype, self.template, self.kind = device, getattr(torch, dtype), template, kind
        self.tokenizer = self.processor.tokenizer
        text = self.model.config.text_config
        self.context = text.max_position_embeddings if kind in OWL else self.model.config.max_text_len
        self._queries = RecentlyUsed(REMEMBERED)

    def fits(self, phrase: str) -> bool:
        """Whether the text encoder reads the phrase to its end."""
        return len(self.tokenizer(self.template.format(phrase)).input_ids) <= self.context

    def propose(self, images: Sequence[Image], phrases: Sequence[Sequence[str]]) -> list[Proposals]:
        """Return the boxes of each image with scores for each of its own phrases, in order.

        Raises:
            OSError: an image is cut short or damaged.
            ValueError: the model gave no numbers.
        """
        import torch

        with torch.inference_mode():
            found = (self._compare if self.kind in OWL else self._ground)(images, phrases)
        for proposals in found:
            if not (np.isfinite(proposals.scores).all() and np.isfinite(proposals.boxes).all()):
                raise ValueError("the detector gave no number (nan) for this image")
        return [_best(proposals) for proposals in found]

    # OWL-ViT and OWLv2

    def _compare(self, images: Sequence[Image], phrases: Sequence[Sequence[str]]) -> list[Proposals]:
        import torch

        queries = self._queries.fetch([p for asked in phrases for p in asked], self._encode_phrases)
        pictures, places = distinct_images(images)
        pixels = self._pixels(pictures)["pixel_values"]
        features, _ = self.model.image_embedder(pixel_values=pixels)
        tokens = features.flatten(1, 2)
        boxes = self.model.box_predictor(tokens, features).float().cpu().numpy()
        found = []
        for image, place, asked in zip(images, places, phrases, strict=True):
            wanted = torch.stack([queries[p] for p in asked]).to(self.device)
            logits, _ = self.model.class_predictor(tokens[place : place + 1], wanted[None])
            width, height = image.size
            if self.kind == "owlv2":  # its pictures are filled up to squares, at the right and the bottom
                width = height = max(image.size)
            found.append(Proposals(_corners(boxes[place], width, height), _numbers(logits[0].float().sigmoid())))
        return found

    def _encode_phrases(self, phrases: Sequence[str]) -> Mapping[str, Tensor]:
        texts = [self.template.format(phrase) for phrase in phrases]
        words = self.tokenizer(texts, padding=True, truncation=True, max_length=self.context, return_tensors="pt")
        words = words.to(self.device)
        base = getattr(self.model, self.kind)
        features = base.get_text_features(words.input_ids, words.attention_mask).pooler_output
        return dict(zip(phrases, features.cpu(), strict=True))

    # Grounding DINO

    def _ground(self, images: Sequence[Image], phrases: Sequence[Sequence[str]]) -> list[Proposals]:
        parts = [(i, part) for i, asked in enumerate(phrases) for part in self._parts(asked)]
        tokens = [self._join(part) for _, part in parts]
        inputs = self._pixels([images[i] for i, _ in parts])
        longest = max(len(ids) for ids, _ in tokens)
        words = self.tokenizer.pad(
            {"input_ids": [ids for ids, _ in tokens]}, padding="max_length", max_length=longest, return_tensors="pt"
        ).to(self.device)
        words["token_type_ids"] = words["input_ids"] * 0
        inputs |= {key: words[key] for key in ("input_ids", "attention_mask", "token_type_ids")}
        output = self.model(**inputs)
        chances = _numbers(output.logits.float().sigmoid())
        boxes = output.pred_boxes.float().cpu().numpy()
        found: list[list[Proposals]] = [[] for _ in images]
        for row, ((i, _), (_, spans)) in enumerate(zip(parts, tokens, strict=True)):
            scores = np.stack([chances[row][:, start:end].mean(1) for start, end in spans], 1)
            found[i].append(Proposals(_corners(boxes[row], *images[i].size), scores))
        return [_side_by_side(passes) for passes in found]

    def _parts(self, phrases: Sequence[str]) -> list[list[str]]:
        """Split the phrases of one image into as few texts as the encoder takes."""
        parts: list[list[str]] = [[]]
        room = self.context - 2
        for phrase in phrases:
            length = len(self._phrase_ids(phrase)) + 1
            if parts[-1] and room < length:
                parts.append([])
                room = self.context - 2
            parts[-1].append(phrase)
            room -= length
        return parts

    def _join(self, phrases: Sequence[str]) -> tuple[list[int], list[tuple[int, int]]]:
        """Return the token ids of "red circle. blue square." and where in them each phrase lies."""
        stop = self.tokenizer.convert_tokens_to_ids(".")
        ids, spans = [self.tokenizer.cls_token_id], []
        for phrase in phrases:
            words = self._phrase_ids(phrase)[: self.context - 3]
            spans.append((len(ids), len(ids) + len(words)))
            ids += [*words, stop]
        return [*ids, self.tokenizer.sep_token_id], spans

    def _phrase_ids(self, phrase: str) -> list[int]:
        bare = phrase.lower().removeprefix("an ").removeprefix("a ")  # an article is found nowhere in a picture
        return self.tokenizer(self.template.format(bare), add_special_tokens=False).input_ids

    def _pixels(self, images: Sequence[Image]) -> dict[str, Tensor]:
        with quiet():
            inputs = self.processor.image_processor([as_rgb(image) for image in images], return_tensors="pt")
        moved = {name: value.to(self.device) for name, value in inputs.items()}
        return {name: v.to(self.dtype) if v.is_floating_point() else v for name, v in moved.items()}


def _numbers(values: Tensor) -> np.ndarray:
    return values.cpu().numpy().astype(np.float64)


def _corners(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Turn centre and size, as shares, into corners in pixels."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], 1) * np.array([width, height, width, height])


def _side_by_side(passes: Sequence[Proposals]) -> Proposals:
    """Join passes over one image; a box of one pass says nothing of the phrases of another."""
    boxes = np.concatenate([each.boxes for each in passes])
    scores = np.zeros((len(boxes), sum(each.scores.shape[1] for each in passes)))
    row = column = 0
    for each in passes:
        rows, columns = each.scores.shape
        scores[row : row + rows, column : column + columns] = each.scores
        row, column = row + rows, column + columns
    return Proposals(boxes, scores)


def _best(proposals: Proposals) -> Proposals:
    """Keep the boxes that are among the best of some phrase."""
    if len(proposals.boxes) <= CANDIDATES:
        return proposals
    best = np.argpartition(-proposals.scores, CANDIDATES, axis=0)[:CANDIDATES]
    rows = np.unique(best)
    return Proposals(proposals.boxes[rows], proposals.scores[rows])
