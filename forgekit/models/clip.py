"""Contrastive judges (CLIP, SigLIP): is each element's phrase nearer to the image than its changed versions?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from scipy.special import expit, softmax

from forgekit.errors import ItemError
from forgekit.ids import content_hash
from forgekit.models.judgements import check_templates
from forgekit.models.memory import placement, weights
from forgekit.models.roles import Judgement
from forgekit.models.running import Remembered
from forgekit.models.synonyms import meaning
from forgekit.models.towers import HUB, KINDS, LOCAL, TRANSFORMERS, Towers, encoded, load_towers
from forgekit.models.weights import hub_file, load_weights, settings_at, weights_of
from forgekit.scene import Element, Scene, default_lexicon, list_elements
from forgekit.scene.elements import NOTHING

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    Row = np.ndarray | ItemError

CLIPSCORE_WEIGHT = 2.5  # Hessel et al. 2021, CLIPScore
ENTRY = "open_clip_config.json"  # a file that every repository of open_clip has
SETTINGS = "config.json"  # and of transformers


@dataclass(frozen=True)
class ContrastiveJudge:
    """A CLIP-like model of open_clip or transformers. Its fields are its settings; weights load on the first judgement.

    An element's score is the softmax, at the model's own temperature, of its phrase against its contrasts: the phrase
    with one thing changed. Contrasts that the scene asks for elsewhere are left out. With `none_of_these`, logit 0 is
    one more option: right for models whose sigmoid loss taught them what is there at all, such as mini-clip.

    `text_match_score` is the sigmoid of the whole text's logit where the model has a logit bias (SigLIP), else its
    CLIPScore cut at 1. `metrics` holds `clip_score` = 2.5·max(cos, 0) of the whole text and `decomposed_clip_score`,
    its mean over the phrases of what should be there (Mañas et al. 2024); nothing is put before texts unless
    `template` does (Hessel et al. used "A photo depicts {}"), and `truncated_words`, words of the text that were cut.
    """

    half: ClassVar[str] = "float16"  # its similarities need more digits than bfloat16 has

    name: str
    model: str  # open_clip name, "local-dir:/path", "hf-hub:owner/name" or, of transformers, "transformers:path or id"
    pretrained: str | None = None  # open_clip tag, or a weights file
    hub: str = ""  # the repository of that tag's weights; else open_clip says which
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 64  # images, and texts, at a time
    template: str = "{}"
    none_of_these: bool = False
    artifacts: Mapping[str, str] = field(default_factory=dict)  # a flaw in words → the same picture without it
    unwanted_at: float = 0.6  # probability from which a contrast counts as seen instead of its phrase
    adhering_at: float = 0.5  # score from which on an image adheres, or an element is there; no reason is given above

    def __post_init__(self) -> None:
        """Refuse a template that holds no place for the phrase."""
        check_templates(self, "template")

    @classmethod
    def from_address(cls, address: str) -> ContrastiveJudge | None:
        """Return the judge for "open_clip:NAME/TAG", "local-dir:PATH", "hf-hub:OWNER/NAME", a folder or a hub id.

        None where the address is of no such form, so that another family may take it.
        """
        if address.startswith("open_clip:"):
            model, _, tag = address.removeprefix("open_clip:").partition("/")
            return cls(address.removeprefix("open_clip:"), model, tag or None)
        folder = Path(address.removeprefix(LOCAL))
        if address.startswith(LOCAL) or (folder / ENTRY).is_file():
            return cls(folder.resolve().name, f"{LOCAL}{folder}")
        hub = address.removeprefix(HUB)
        if address.startswith(HUB) or (hub.count("/") == 1 and not folder.exists() and _is_open_clip(hub)):
            return cls(hub.split("/")[-1], f"{HUB}{hub}")
        two_towers = (settings_at(address, SETTINGS) or {}).get("model_type") in KINDS
        return cls(folder.name, f"{TRANSFORMERS}{address}") if two_towers else None

    @property
    def _address(self) -> str:
        return self.model.removeprefix(LOCAL).removeprefix(HUB).removeprefix(TRANSFORMERS)

    @property
    def judge_key(self) -> str:
        """Hash of weights, templates and thresholds; not of device and batch size, which change no verdict."""
        entry = SETTINGS if self.model.startswith(TRANSFORMERS) else ENTRY
        address, identity = weights_of(self, self._address, entry)
        return content_hash(
            {
                "family": "contrastive",
                "weights": [address, self.pretrained, identity],
                "template": self.template,
                "none_of_these": self.none_of_these,
                "artifacts": dict(self.artifacts),
                "thresholds": [self.unwanted_at, self.adhering_at],
            }
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, as every `VisionModel`."""
        seen = encoded(self, images, self._towers.encode_images, "image")
        plans = {id(scene): Plan.of(scene, self.artifacts) for scene in scenes}
        texts = [text for plan in plans.values() for text in plan.texts]
        features = self._features.of(texts, self._encode_texts)
        return [self._verdict(image, plans[id(s)], features) for image, s in zip(seen, scenes, strict=True)]

    def _encode_texts(self, texts: Sequence[str]) -> dict[str, Row]:
        written = [self.template.format(text) for text in texts]
        return dict(zip(texts, encoded(self, written, self._towers.encode_texts, "text"), strict=True))

    def _verdict(self, image: Row, plan: Plan, features: Mapping[str, Row]) -> Judgement | ItemError:
        towers, read = self._towers, {text: features[text] for text in plan.texts}
        if failed := next((row for row in (image, *read.values()) if isinstance(row, ItemError)), None):
            return failed
        similarity = {text: float(image @ row) for text, row in read.items()}  # type: ignore[operator]
        logits = {text: towers.scale * value + towers.bias for text, value in similarity.items()}
        clip_score = {text: CLIPSCORE_WEIGHT * max(value, 0.0) for text, value in similarity.items()}
        reading = _Reading(logits, self)
        for element, contrasts in plan.options:
            reading.read(element, contrasts)
        cut = towers.cut_off(self.template.format(plan.text))
        asked = [clip_score[e.phrase] for e, _ in plan.options if e.expected == "yes"]
        return Judgement(
            element_scores=reading.scores,
            text_match_score=float(expit(logits[plan.text])) if towers.biased else min(clip_score[plan.text], 1.0),
            description=", ".join(dict.fromkeys(reading.winners)),
            unwanted_elements=list(dict.fromkeys(reading.unwanted)),
            detected_artifacts=[flaw for flaw, clean in self.artifacts.items() if logits[flaw] > logits[clean]],
            style_deviation=1 - reading.scores["style"] if "style" in reading.scores else None,
            reasons=reading.reasons | ({"text": f"the model did not read: {cut}"} if cut else {}),
            metrics={
                "clip_score": clip_score[plan.text],
                "decomposed_clip_score": sum(asked) / len(asked) if asked else None,
                "truncated_words": len(cut.split()),
            },
        )

    @weights
    def _towers(self) -> Towers:
        advice = (
            f"Fetch them once where there is a network (open_clip.create_model({self.model!r}, {self.pretrained!r})), "
            "or give a folder as local-dir:/path (open_clip_config.json and open_clip_model.safetensors)."
        )
        address = f"{self._address}/{self.pretrained or ''}".rstrip("/")
        return load_weights(self, address, lambda: load_towers(self.model, self.pretrained, *placement(self)), advice)

    @cached_property
    def _features(self) -> Remembered:
        return Remembered()


def _is_open_clip(repo: str) -> bool:
    """Say whether a hub repository is one of open_clip: by its files or, where none is at hand, named like a CLIP."""
    if hub_file(repo, ENTRY):
        return True
    return settings_at(repo, SETTINGS) is None and "clip" in repo.lower()


@dataclass(frozen=True)
class Plan:
    """What to compare for one scene: its elements with their usable contrasts, and all texts that needs."""

    text: str
    options: list[tuple[Element, tuple[str, ...]]]
    texts: list[str]

    @classmethod
    def of(cls, scene: Scene, artifacts: Mapping[str, str]) -> Plan:
        """Return the plan for a scene and flaws in words."""
        elements = [element for element in list_elements(scene.elements) if element.phrase]
        same = partial(meaning, figures=default_lexicon().all_figures(scene.elements))
        asked = {same(e.phrase) for e in elements if e.expected == "yes"}
        options = []
        for element in elements:
            contrasts = tuple(c for c in element.contrasts if same(c) not in asked)
            options.append((element, contrasts or (NOTHING,)))
        texts = [scene.text, *artifacts, *artifacts.values()]
        texts += [text for element, contrasts in options for text in (element.phrase, *contrasts)]
        return cls(scene.text, options, list(dict.fromkeys(texts)))


class _Reading:
    """Reads element scores off the logits of phrases and contrasts."""

    def __init__(self, logits: Mapping[str, float], judge: ContrastiveJudge) -> None:
        self.logits, self.judge = logits, judge
        self.scores: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self.winners: list[str] = []
        self.unwanted: list[str] = []

    def read(self, element: Element, contrasts: Sequence[str]) -> None:
        judge, options = self.judge, [element.phrase, *contrasts]
        chances = softmax([self.logits[o] for o in options] + [0.0] * judge.none_of_these).tolist()
        best = max(range(len(options)), key=chances.__getitem__)
        chance, rival = chances[0], chances[best]
        if element.expected == "no":
            self.scores[element.key] = 1 - chance
            if chance >= judge.unwanted_at:
                self.unwanted.append(element.phrase)
            return
        self.scores[element.key] = chance
        nothing = judge.none_of_these and chances[-1] > rival
        if options[best] != NOTHING and not nothing:
            self.winners.append(options[best])
        if chance < judge.adhering_at:
            instead = "nothing of the kind" if nothing else f"rather {options[best]} ({rival:.2f})"
            self.reasons[element.key] = f"{element.phrase} ({chance:.2f}): {instead}"
        if best and rival >= judge.unwanted_at and options[best] != NOTHING:
            self.unwanted.append(f"{options[best]} instead of {element.phrase}")
