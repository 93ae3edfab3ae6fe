"""Preference scores (PickScore, HPSv2): how people would like an image for its text. They watch as guard-rails, never steer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from forgekit.errors import ItemError
from forgekit.ids import content_hash
from forgekit.models.memory import placement, weights
from forgekit.models.naming import PREFERENCE
from forgekit.models.roles import Judgement
from forgekit.models.towers import TRANSFORMERS, Towers, encoded, load_towers
from forgekit.models.weights import hub_file, load_weights, weights_of
from forgekit.scene import Scene

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

OPEN_CLIP = "open_clip:"
SETTINGS, ANY = "config.json", ".gitattributes"  # files that every repository of transformers, and any repository, has


@dataclass(frozen=True)
class PreferenceJudge:
    """Two towers trained on which of two images people like better for a text. Its fields are its settings.

    It says nothing of a scene's elements, so it has no adherence, no pass mark, and cannot steer. Its one figure stands in
    `metrics` under the name `measure`: the similarity of image and scene text, times the model's own scale where `scaled`
    (PickScore, Kirstain et al. 2023; HPSv2, Wu et al. 2023, is not). It is no probability, and compares with its like alone.
    """

    half: ClassVar[str] = "float16"
    scores_elements: ClassVar[bool] = False

    name: str
    model: str  # "transformers:FOLDER or id", or a name of open_clip
    pretrained: str | None = None  # of open_clip: a tag, a file of weights, or "owner/repository/file" on the hub
    processor: str | None = None  # of transformers: where the processor is, if not with the weights
    measure: str = "preference"
    scaled: bool = True
    resize: str | None = None  # of open_clip: "longest" pads an image to a square instead of cutting it
    device: str = "auto"
    dtype: str = "auto"
    batch_size: int = 64  # images, and texts, at a time
    adhering_at: float = 0.5  # every judge has one; there is nothing here that it could apply to

    @classmethod
    def from_address(cls, address: str) -> PreferenceJudge | None:
        """Return the judge for "preference:FOLDER or hub id" or "preference:open_clip:NAME/WEIGHTS"; else None."""
        if not address.startswith(PREFERENCE):
            return None
        address = address.removeprefix(PREFERENCE)
        if address.startswith(OPEN_CLIP):
            name, _, weights_at = address.removeprefix(OPEN_CLIP).partition("/")
            return cls(name, name, weights_at or None)
        return cls(Path(address).name, f"{TRANSFORMERS}{address}")

    @property
    def _place(self) -> tuple[str, str]:
        """The folder or repository of the weights, and the file in it where one is named."""
        if not self.pretrained:
            return self.model.removeprefix(TRANSFORMERS), ""
        folder, _, file = self.pretrained.rpartition("/")
        named = Path(self.pretrained).is_file() or folder.count("/") == 1
        return (folder, file) if named and folder else (self.pretrained, "")

    @property
    def judge_key(self) -> str:
        """Hash of weights and of how the figure is made; not of device and batch size, which do not change it."""
        identity = weights_of(self, self._place[0], ANY if self.pretrained else SETTINGS)
        settings = [self.model, self.pretrained, self.processor, self.measure, self.scaled, self.resize]
        return content_hash({"family": "preference", "weights": identity, "settings": settings})

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Measure `images[i]` against the text of `scenes[i]`, as every `VisionModel`."""
        texts = [scene.text for scene in scenes]
        seen = encoded(self, images, self._towers.encode_images, "image")
        read = encoded(self, texts, self._towers.encode_texts, "text")
        return [self._measured(*each) for each in zip(seen, read, texts, strict=True)]

    def _measured(self, image: np.ndarray | ItemError, row: np.ndarray | ItemError, text: str) -> Judgement | ItemError:
        if isinstance(image, ItemError):
            return image
        if isinstance(row, ItemError):
            return row
        figure = float(image @ row) * (self._towers.scale if self.scaled else 1.0)
        cut = len(self._towers.cut_off(text).split())
        return Judgement({}, None, metrics={self.measure: figure, "truncated_words": cut})

    @weights
    def _towers(self) -> Towers:
        place = " ".join(self._place).strip()
        advice = f"Fetch it once with `hf download {place}`, or give the path of a local file."
        return load_weights(self, place, self._load, advice if self._place[1] else "")

    def _load(self) -> Towers:
        (folder, file), pretrained = self._place, self.pretrained
        if file and not Path(self.pretrained or "").is_file():
            pretrained = str(hub_file(folder, file, fetch=True) or pretrained)  # open_clip says what it does not find
        return load_towers(self.model, pretrained, *placement(self), self.processor, self.resize)
