"""Detecting judges (transformers): which objects are where, by GenEval's rules, with reasons in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forgekit.errors import ItemError, ParameterError
from forgekit.ids import content_hash
from forgekit.models import Judgement
from forgekit.models.batches import MINI_WEIGHTS, in_batches, known_identity, load_transformers, present, shown
from forgekit.models.sighting import POSITION_RULES, Rules, Sighting
from forgekit.models.sought import Sought
from forgekit.scene import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

    from forgekit.models.detecting import Detector, Proposals


@dataclass(frozen=True)
class DetectorJudge:
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
    `metrics` holds `geneval` = 1.0 where all rules hold at their thresholds, else 0.0.
    """

    name: str
    repo: str  # Hugging Face id or local folder
    revision: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 8  # images at a time
    template: str = "{}"
    threshold: float = 0.3  # GenEval's, of a detection
    count_threshold: float = 0.9  # GenEval's, of a detection that is counted
    most: int = 16  # objects of one phrase; GenEval's limit
    overlap: float = 0.5  # intersection over union from which two boxes are the same thing
    position_rule: str = "geneval"  # or "t2i-compbench"
    shrink: float = 0.1  # share of the two sizes by which objects must be apart to have a direction
    attributes: tuple[str, ...] = ("color",)  # kinds of attribute put into phrases
    rivals: bool = True
    unwanted_at: float = 0.6  # chance from which something that should not be there counts as seen
    adhering_at: float = 0.5  # image score (geometric mean of the elements) from which on an image adheres

    def __post_init__(self) -> None:
        """Refuse settings that no detector can have."""
        if "{}" not in self.template:
            raise ParameterError(f"template={self.template!r} of {self.name}: put {{}} where the phrase belongs")
        if self.position_rule not in POSITION_RULES:
            raise ParameterError(f"position_rule={self.position_rule!r} of {self.name}: one of {list(POSITION_RULES)}")
        for field in ("threshold", "count_threshold"):
            if not 0 < getattr(self, field) < 1:
                raise ParameterError(f"{field}={getattr(self, field)} of {self.name}: a score between 0 and 1")

    @property
    def judge_key(self) -> str:
        """Hash of weights, template, rules and thresholds; not of device and batch size, which change no verdict."""
        return content_hash(
            {
                "family": "detector",
                "weights": [shown(self.repo), known_identity(self, self.repo, self.revision, "config.json")],
                "asking": [self.template, list(self.attributes), self.rivals],
                "rules": vars(self._rules),
                "thresholds": [self.adhering_at],
            }
        )

    @cached_property
    def _rules(self) -> Rules:
        return Rules(
            threshold=self.threshold,
            count_threshold=self.count_threshold,
            most=self.most,
            overlap=self.overlap,
            position=self.position_rule,
            shrink=self.shrink,
            unwanted_at=self.unwanted_at,
        )

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Judge `images[i]` against `scenes[i]`, in order. An image that cannot be read becomes an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
            ParameterError: the weights are of no architecture this family runs.
        """
        plans = {id(scene): Sought.of(scene, self.attributes, rivals=self.rivals) for scene in scenes}
        detector = self._detector

        def work(items: Sequence[tuple[Image, Sought]]) -> list[Judgement]:
            found = detector.propose([image for image, _ in items], [sought.phrases for _, sought in items])
            return [self._verdict(sought, each) for (_, sought), each in zip(items, found, strict=True)]

        return in_batches(
            [(image, plans[id(scene)]) for image, scene in zip(images, scenes, strict=True)], self.batch_size, work
        )

    def _verdict(self, sought: Sought, proposals: Proposals) -> Judgement:
        sighting = Sighting(sought, proposals, self._rules)
        for check in sought.checks:
            cut = next((phrase for phrase in check.phrases if not self._detector.fits(phrase)), None)
            if cut is None:
                sighting.judge(check)
            else:
                sighting.refuse(check, f"the model cannot read all of {cut!r}")
        scores = list(sighting.scores.values())
        whole = 1.0
        for score in scores:
            whole = None if whole is None or score is None else whole * score
        return Judgement(
            element_scores=sighting.scores,
            text_match_score=whole if scores else None,
            description=sighting.description(),
            unwanted_elements=sighting.unwanted(),
            reasons=sighting.reasons,
            metrics={"geneval": float(not sighting.reasons) if whole is not None and scores else None},
        )

    @cached_property
    def _detector(self) -> Detector:
        from forgekit.models.detecting import Detector

        return load_transformers(Detector, self, self.template)


KNOWN: Mapping[str, DetectorJudge] = {
    judge.name: judge
    for judge in (
        DetectorJudge(
            "mini-owl",
            str(MINI_WEIGHTS / "owl"),
            device="cpu",  # small enough, and its verdicts are then the same with and without a GPU
            batch_size=64,
            threshold=0.5,
            overlap=0.05,  # its boxes are off by some pixels, and nothing overlaps in the mini world
        ),
        # The scores of these are lower than those of the closed-vocabulary detector GenEval's thresholds are for.
        DetectorJudge(
            "OWL-ViT", "google/owlvit-large-patch14", template="a photo of {}", threshold=0.1, count_threshold=0.2
        ),
        DetectorJudge(
            "OWLv2", "google/owlv2-large-patch14-ensemble", template="a photo of {}", threshold=0.2, count_threshold=0.3
        ),
        DetectorJudge("Grounding-DINO-tiny", "IDEA-Research/grounding-dino-tiny", threshold=0.3, count_threshold=0.4),
        DetectorJudge("Grounding-DINO", "IDEA-Research/grounding-dino-base", threshold=0.3, count_threshold=0.4),
    )
    if present(judge.repo)
}
_MARKS = ("owlvit", "owl-vit", "owlv2", "grounding-dino", "grounding_dino", "groundingdino")


def is_detector(address: str) -> bool:
    """Whether `address` is a folder with such a detector's weights, or a Hugging Face id that is named like one."""
    config = Path(address) / "config.json"
    if config.is_file():
        import json

        from forgekit.models.detecting import GROUNDING, OWL

        try:
            return json.loads(config.read_text()).get("model_type") in OWL + GROUNDING
        except (OSError, ValueError, AttributeError):
            return False
    owner, _, model = address.partition("/")
    return owner not in ("", ".", "..", "~") and "/" not in model and any(mark in model.lower() for mark in _MARKS)


def from_address(address: str) -> DetectorJudge | None:
    """Return the judge for a transformers folder or Hugging Face id of OWL-ViT, OWLv2 or Grounding DINO; else None."""
    if not is_detector(address):
        return None
    folder = Path(address)
    return DetectorJudge(folder.resolve().name if folder.is_dir() else address.partition("/")[2], address)
