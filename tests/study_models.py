"""A generator that knows plain words only and two judges that see exactly what it drew, for tests of studies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from forgekit.errors import ItemError
from forgekit.models import Drawing, DrawRequest, Judgement
from forgekit.scene import Scene, default_lexicon, list_elements, parse

COLORS = {"red": 40, "blue": 80, "green": 120, "yellow": 160}  # grey value of the picture: how a colour is drawn
UNKNOWN = 240


@dataclass
class Generator:
    """Paints the colour of the prompt's first object where the word is a plain one, else grey; refuses hearts."""

    name: str = "study_models:Generator"

    def default_parameters(self) -> dict[str, Any]:
        return {"num_inference_steps": 4}

    def describe(self) -> dict[str, Any]:
        return {"repo": "fake"}

    def fits(self, prompt: str) -> bool:
        return len(prompt.split()) <= 40

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        return [self._draw(request) for request in requests]

    def _draw(self, request: DrawRequest) -> Drawing | ItemError:
        first = parse(request.prompt)["objects"][0]
        if first["name"] in ("heart", "valentine"):
            return ItemError("no hearts")
        color = next((a["value"] for a in first["attributes"] if a["kind"] == "color"), "")
        return Drawing(Image.new("L", (8, 8), COLORS.get(color, UNKNOWN)), {"seed": request.seed})


refusals = 0  # how many more calls `Flaky` refuses


@dataclass
class Flaky(Generator):
    """Refuses the first `refusals` pictures, then draws like the other."""

    name: str = "study_models:Flaky"

    def _draw(self, request: DrawRequest) -> Drawing | ItemError:
        global refusals
        if refusals > 0:
            refusals -= 1
            return ItemError("busy")
        return super()._draw(request)


@dataclass
class Steering:
    """Gives 0.95 to what is right and 0.05 to what is wrong; only a colour can be wrong."""

    name: str = "study_models:Steering"
    right: float = 0.95
    adhering_at: float = 0.5
    judge_key: str = "key-1"

    def judge(self, images: Sequence[Image.Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        return [
            Judgement(
                {e.key: self._score(e.kind, e.term, image) for e in list_elements(scene.elements)}, None, "a picture"
            )
            for image, scene in zip(images, scenes, strict=True)
        ]

    def _score(self, kind: str, term: str, image: Image.Image) -> float:
        wanted = COLORS.get(default_lexicon().concept(term, "color"), UNKNOWN)
        return self.right if kind != "color" or image.convert("L").getpixel((0, 0)) == wanted else 0.05


def Watching() -> Steering:  # noqa: N802 - stands for a class
    """Return another judge, less sure of itself."""
    return Steering("study_models:Watching", right=0.8, judge_key="key-2")
