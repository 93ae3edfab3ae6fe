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
from forgekit.models.running import distinct_images
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
    def judge_key(self) -> str:
        """Hash of weights and of how the figure is made; not of device and batch size, which do not change it."""
        address = self.model.removeprefix(TRANSFORMERS)
        if self.pretrained:
            address = str(Path(self.pretrained).parent)
        identity = weights_of(self, address, SETTINGS if address in self.model else ANY)
        settings = [self.model, self.pretrained, self.processor, self.measure, self.scaled, self.resize]
        return content_hash({"family": "preference", "weights": identity, "settings": settings})

    def judge(self, images: Sequence[Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        """Measure `images[i]` against the text of `scenes[i]`, in order. An image that cannot be read becomes an ItemError.

        Raises:
            UnknownModelError: the weights are not there.
        """
        pictures, places = distinct_images(images)
        seen = encoded(self, pictures, self._towers.encode_images, "image")
        texts = list(dict.fromkeys(scene.text for scene in scenes))
        read = dict(zip(texts, encoded(self, texts, self._towers.encode_texts, "text"), strict=True))
        return [
            self._measured(seen[place], read[scene.text], scene.text)
            for place, scene in zip(places, scenes, strict=True)
        ]

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
        return load_weights(self, self.pretrained or self.model.removeprefix(TRANSFORMERS), self._load)

    def _load(self) -> Towers:
        """Load the towers.

        Raises:
            OSError: the weights are neither here nor to be fetched.
        """
        pretrained = self.pretrained
        if pretrained and pretrained.count("/") == 2 and not Path(pretrained).is_file():
            repo, file = str(Path(pretrained).parent), Path(pretrained).name
            if (found := hub_file(repo, file, fetch=True)) is None:
                raise OSError(f"{file} of {repo} is neither here nor to be fetched")
            pretrained = str(found)
        options = {"processor": self.processor, "resize": self.resize}
        return load_towers(self.model, pretrained, *placement(self), **options)
