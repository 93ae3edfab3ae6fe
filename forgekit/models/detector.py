"""Detecting judges (transformers): which objects are where, by GenEval's rules, with reasons in words.

Two kinds of architecture differ in when they read the phrases. OWL-ViT and OWLv2 compare finished image tokens with
phrases, so each image and each distinct phrase is encoded once. Grounding DINO reads both together, so an image is
passed once for all its phrases, or for as many as the text encoder takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import content_hash
from forgekit.models.detector_checks import Sought
from forgekit.models.geneval import Proposals, Sighting
from forgekit.models.judgements import check_templates
from forgekit.models.memory import placement, weights
from forgekit.models.naming import plain_name
from forgekit.models.roles import Judgement
from forgekit.models.running import (
    Remembered,
    RunHere,
    as_rgb,
    distinct,
    in_batches,
    load_transformers,
    on_device,
    quiet,
    words_behind,
)
from forgekit.models.weights import load_weights, settings_at, weights_of
from forgekit.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

OWL = ("owlvit", "owlv2")
GROUNDING = ("grounding-dino", "mm-grounding-dino")
MARKS = ("owlvit", "owl-vit", "owlv2", "grounding-dino", "grounding_dino", "groundingdino")  # in names of repositories
ENTRY = "config.json"  # a file that every repository of transformers has
RULES = ("threshold", "count_threshold", "most", "overlap", "shrink", "unwanted_at")  # settings that verdicts depend on


@dataclass(frozen=True)
class DetectorJudge(RunHere):
    """An open-vocabulary detector of transformers. Its fields are its settings; weights load on the first judgement.

    Judged are objects, counts, attributes of the kinds in `attributes`, the relations left of, right of, above and
    below, and negations; other elements (style, background …) are beyond a detector and get no entry.

    The rules are GenEval's (Ghosh et al. 2023), made gradual. A box stands for a phrase with the chance
    odds / (odds + odds of the threshold + odds of the best rival), so that a score at the threshold gives one half and
    a red circle is no blue one, however willingly the model calls it so; rivals are the phrase with one thing changed
    and the other objects of the scene, at the same place. An object has the chance of its best box; several of a colour
    that of the last one needed; a count of n that of the n-th best box times that of there being no further one, with
    `count_threshold`. A relation multiplies the chances of its two objects with that of their positions: one half where
    GenEval's direction lies at its limit. A negation is 1 minus the chance of the thing.

    `text_match_score` is the product over all elements, since GenEval's images are right only where everything is;
    `metrics` holds `geneval` = 1.0 where all rules hold at their thresholds, else 0.0, and `truncated_words`, words of
    phrases that the text encoder cuts off: what they are of has no score.
    """

    half: ClassVar[str] = "float16"  # boxes need more digits than bfloat16 has

    batch_size: int = 8  # images at a time
    template: str = "{}"
    threshold: float = 0.3  # GenEval's, of a detection
    count_threshold: float = 0.9  # GenEval's, of a detection that is counted
    most: int = 16  # objects of one phrase; GenEval's limit
    overlap: float = 0.5  # intersection over union from which two boxes are the same thing
    shrink: float = 0.1  # share of the two sizes by which objects must be apart to have a direction
    attributes: tuple[str, ...] = ("color",)  # kinds of attribute put into phrases
    rivals: bool = True
    unwanted_at: float = 0.6  # chance from which something that should not be there counts as seen
    adhering_at: float = 0.5  # the probability from which on an element is there, and an image adheres

    def __post_init__(self) -> None:
        """Refuse settings that no detector can have."""
        check_templates(self, "template")
        for field in ("threshold", "count_threshold"):
            if not 0 < getattr(self, field) < 1:
                raise ParameterError(f"{field}={getattr(self, field)} of {self.name}: a score between 0 and 1")

    @classmethod
    def from_address(cls, address: str) -> DetectorJudge | None:
        """Return the judge for a folder or Hugging Face id of OWL-ViT, OWLv2 or Grounding DINO; else None."""
        name, settings = plain_name(address, ENTRY), settings_at(address, ENTRY)
        if settings:
            known = settings.get("model_type") in OWL + GROUNDING
        else:  # they are not at hand; it may be named like one
            known = not Path(address).is_dir() and any(mark in (name or "").lower() for mark in MARKS)
        return cls(name, address) if name and known else None

    @property
    def judge_key(self) -> str:
        """Hash of weights, template, rules and thresholds; not of device and batch size, which change no verdict."""
        return content_hash(
            {
                "family": "detector",
                "weights": weights_of(self, self.repo, ENTRY),
                "asking": [self.template, list(self.attributes), self.rivals],
                "rules": {**{name: getattr(self, name) for name in RULES}, "position": "geneval"},
                "thresholds": [self.adhering_at],
            }
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, as every `VisionModel`.

        Raises:
            ParameterError: the architecture is none of OWL-ViT, OWLv2 and Grounding DINO.
        """
        detector = self._detector
        plans = {id(scene): Sought.of(scene, self.attributes, rivals=self.rivals) for scene in scenes}
        items = [(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)]

        def work(batch: Sequence[tuple[Image, Sought]]) -> list[Judgement]:
            looked_at = [(image, sought.phrases) for image, sought in batch if sought.phrases]
            found = iter(detector.propose(*map(list, zip(*looked_at, strict=True))) if looked_at else ())
            nothing = Judgement({}, None)
            return [self._verdict(sought, next(found)) if sought.phrases else nothing for _, sought in batch]

        return in_batches(items, self.batch_size, work, self)

    def _verdict(self, sought: Sought, proposals: Proposals) -> Judgement:
        sighting = Sighting(sought, proposals, self)
        cut = {phrase: words for phrase in sought.asked if (words := self._detector.cut_off(phrase))}
        for check in sought.checks:
            if lost := next((phrase for phrase in check.phrases if phrase in cut), None):
                sighting.scores[check.element.key] = None
                sighting.reasons[check.element.key] = f"the model cannot read all of {lost!r}, not {cut[lost]!r}"
            else:
                sighting.judge(check)
        known = [score for score in sighting.scores.values() if score is not None]
        whole = math.prod(known) if known and len(known) == len(sighting.scores) else None
        return Judgement(
            element_scores=sighting.scores,
            text_match_score=whole,
            description=sighting.description(),
            unwanted_elements=sighting.unwanted(),
            reasons=sighting.reasons,
            metrics={
                "geneval": float(not sighting.reasons) if whole is not None else None,
                "truncated_words": sum(len(words.split()) for words in cut.values()),
            },
        )

    @weights
    def _detector(self) -> Detector:
        return load_weights(
            self, self.repo, lambda: Detector(self.repo, self.revision, *placement(self), self.template)
        )


class Detector:
    """A loaded detector with its processor."""

    def __init__(self, repo: str, revision: str | None, device: str, dtype: str, template: str) -> None:
        """Load from a hub id or local folder. `template` holds {} where a phrase belongs."""
        auto = "AutoModelForZeroShotObjectDetection"
        self.model, self.processor = load_transformers(auto, repo, revision, device, dtype)
        kind = self.model.config.model_type
        if kind not in OWL + GROUNDING:
            raise ParameterError(f"{repo!r} is a {kind}: detectors can be of {', '.join(OWL + GROUNDING)}")
        self.template, self.kind = template, kind
        self.tokenizer = self.processor.tokenizer
        text = self.model.config.text_config
        self.context = text.max_position_embeddings if kind in OWL else self.model.config.max_text_len
        # Tokens that a phrase may have, without a text's beginning and end and, for Grounding DINO, a stop.
        self.room = self.context - self.tokenizer.num_special_tokens_to_add() - (kind in GROUNDING)
        self._queries = Remembered()

    def cut_off(self, phrase: str) -> str:
        """Return the words at the end of the phrase, in its template, that the text encoder does not read."""
        return words_behind(self._written(phrase), lambda words: len(self._ids(words)) <= self.room)

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
        return [proposals.best() for proposals in found]

    def _compare(self, images: Sequence[Image], phrases: Sequence[Sequence[str]]) -> list[Proposals]:
        """Do it with OWL-ViT or OWLv2."""
        import torch

        queries = self._queries.of([p for asked in phrases for p in asked], self._encode_phrases)
        pictures, places = distinct(images)
        pixels = self._pixels(pictures)["pixel_values"]
        features, _ = self.model.image_embedder(pixel_values=pixels)
        tokens = features.flatten(1, 2)
        boxes = self.model.box_predictor(tokens, features)
        found = []
        for image, place, asked in zip(images, places, phrases, strict=True):
            wanted = torch.stack([queries[p] for p in asked]).to(tokens.device)
            logits, _ = self.model.class_predictor(tokens[place : place + 1], wanted[None])
            # The pictures of OWLv2 are filled up to squares, at the right and the bottom.
            size = (max(image.size),) * 2 if self.kind == "owlv2" else image.size
            found.append(Proposals.from_centres(boxes[place], logits[0].float().sigmoid(), size))
        return found

    def _encode_phrases(self, phrases: Sequence[str]) -> Mapping[str, Tensor]:
        texts = [self._written(phrase) for phrase in phrases]
        words = self.tokenizer(texts, padding=True, truncation=True, max_length=self.context, return_tensors="pt")
        words = words.to(self.model.device)
        base = getattr(self.model, self.kind)
        features = base.get_text_features(words.input_ids, words.attention_mask).pooler_output
        if not features.isfinite().all():  # or they would be remembered
            raise ValueError("the detector gave no number (nan) for these phrases")
        return dict(zip(phrases, features.cpu(), strict=True))

    def _ground(self, images: Sequence[Image], phrases: Sequence[Sequence[str]]) -> list[Proposals]:
        """Do it with Grounding DINO."""
        import torch

        texts = [(i, *text) for i, asked in enumerate(phrases) for text in self._texts(asked)]
        words = self.tokenizer.pad({"input_ids": [ids for _, ids, _ in texts]}, return_tensors="pt")
        words = words.to(self.model.device)
        words["token_type_ids"] = words["input_ids"] * 0
        output = self.model(**self._pixels([images[i] for i, _, _ in texts]), **words)
        found: list[list[Proposals]] = [[] for _ in images]
        for (i, _, spans), logits, boxes in zip(texts, output.logits, output.pred_boxes, strict=True):
            chances = logits.float().sigmoid()
            scores = torch.stack([chances[:, start:end].mean(1) for start, end in spans], 1)
            found[i].append(Proposals.from_centres(boxes, scores, images[i].size))
        return [Proposals.side_by_side(passes) for passes in found]

    def _texts(self, phrases: Sequence[str]) -> list[tuple[list[int], list[tuple[int, int]]]]:
        """Write phrases as "red circle. blue square.", in as few texts as the encoder takes.

        Each text is its token ids, and where in them each phrase lies.
        """
        stop, end = self.tokenizer.convert_tokens_to_ids("."), self.tokenizer.sep_token_id
        texts: list[tuple[list[int], list[tuple[int, int]]]] = []
        for phrase in phrases:
            words = self._ids(self._written(phrase))[: self.room]
            if not texts or len(texts[-1][0]) + len(words) + 2 > self.context:  # its stop, and the end
                texts.append(([self.tokenizer.cls_token_id], []))
            ids, spans = texts[-1]
            spans.append((len(ids), len(ids) + len(words)))
            ids += [*words, stop]
        return [([*ids, end], spans) for ids, spans in texts]

    def _written(self, phrase: str) -> str:
        if self.kind in GROUNDING:
            phrase = phrase.lower().removeprefix("an ").removeprefix("a ")  # an article is found nowhere in a picture
        return self.template.format(phrase)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids

    def _pixels(self, images: Sequence[Image]) -> dict[str, Tensor]:
        with quiet("transformers"):
            inputs = self.processor.image_processor([as_rgb(image) for image in images], return_tensors="pt")
        return on_device(inputs, self.model)
