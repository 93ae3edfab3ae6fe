"""Studies in worlds whose truth is known: nothing helps, or something helps by so much. Without torch.

Two ways, by the same rules of chance (`fair_world.World`):

- `write_studies` draws many studies with numpy and writes their evidence into a store's real tables; what is then said
  of it is by forgekit: `results`, `verdicts`, `trends`, `batch.summary`.
- `run_real` runs a study through the real stages and policies; `Generator` and the judges below are its models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import fair_world
import numpy as np
import pandas as pd
from PIL import Image

from forgekit import metrics, trends
from forgekit.batches.index import summary
from forgekit.batches.plan import Execution, Plan
from forgekit.errors import ItemError
from forgekit.models import Drawing, DrawRequest, Judgement
from forgekit.scene import Scene, list_elements
from forgekit.study import Study, run_study
from forgekit.study.report import verdicts
from forgekit.study.results import results

if TYPE_CHECKING:
    from forgekit.store import Store

STEERING, WATCHING, FLATTERING = (f"null_world:{name}" for name in ("steering", "watching", "flattering"))
QUALITY, LUCK, OPINION = (0.35, 0.6), 0.1, 0.08
LINE = ["experiment", "vision_model"]
# What `trends.adherence` takes its means over.
SCENE_CURVES = """
select r.experiment, v.vision_model, r.scene_hash, r.round, v.adherence
from scene_rounds r
join scene_values_in(null, null) v using (experiment, model, scene_hash)
where v.round = r.drawn_round
order by all
"""
COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "white", "black")
SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond")


@dataclass(frozen=True)
class World(fair_world.World):
    """A world in which studies are made. `effect` is what the last arm's wording adds to all its versions."""

    scenes: int = 40
    arms: tuple[str, ...] = ("resample", "paraphrase", "refine")
    judges: tuple[str, ...] = (STEERING, WATCHING)
    quality: tuple[float, float] = QUALITY
    luck: float = LUCK
    opinion: float = OPINION
    helps: tuple[str, ...] = ("refine",)
    helps_from: int = 0
    confirm: bool = True

    def plan(self, name: str) -> Study:
        """Return the plan of one study of this world."""
        return Study(
            name,
            arms=self.arms,
            model="null_world:Generator",
            vision_models=self.judges,
            images_per_prompt=self.images,
            images_per_scene=self.images * self.rounds,
            scenes_per_block=self.scenes,
        )


def write_studies(store: Store, world: World, count: int, *, seed: int = 0) -> list[Study]:
    """Draw `count` studies of a world and write them into the store, as if they had been run; return their plans."""
    rng = np.random.default_rng(seed)
    plans = [world.plan(f"studies/{seed}-{number}") for number in range(count)]
    drawn = [world.draw(plan.name, {arm: plan.prefix + arm for arm in world.arms}, rng) for plan in plans]
    fair_world.write(store, drawn, world.judges)
    return plans


def claims_of(store: Store, plans: Sequence[Study]) -> pd.DataFrame:
    """Return the primary comparisons of studies, with what the report says of each."""
    rows = []
    for plan in plans:
        result = results(store, plan)
        primary = [row for row in result["differences"] if row["role"] == "primary"]
        said = [verdict.startswith("shown") for verdict in verdicts(result)]
        rows += [{**row, "study": plan.name, "said": told} for row, told in zip(primary, said, strict=False)]
    return pd.DataFrame(rows)


def curves_of(store: Store) -> pd.DataFrame:
    """Return what is said of each curve, in a row: its ends, its slope and gain with intervals, and fresh seeds."""
    told = trends.adherence(store).groupby(LINE)[["adherence", "selected"]].agg(["first", "last"])
    rows = []
    for line, curve in store.df(SCENE_CURVES).groupby(LINE):
        scenes = curve.pivot(index="round", columns="scene_hash", values="adherence")
        slopes = np.polyfit(scenes.index.to_numpy(dtype=float), scenes.to_numpy(), 1)[0]
        rise = [told.loc[line, (name, "last")] - told.loc[line, (name, "first")] for name in ("adherence", "selected")]
        rows.append([*line, *rise, slopes.mean(), *metrics.mean_interval(slopes)])
    table = pd.DataFrame(rows, columns=[*LINE, "ends", "selected", "slope", "slope_low", "slope_high"])
    fresh = trends.confirmed(store)[[*LINE, "gain", "gain_low", "gain_high"]]
    fresh.columns = [*LINE, "confirmed", "confirmed_low", "confirmed_high"]
    table = table.merge(trends.gain(store)[[*LINE, "gain", "low", "high"]], on=LINE).merge(fresh, on=LINE)
    parts = table["experiment"].str.rpartition("/")
    return table.assign(study=parts[0], arm=parts[2])


def summary_of(store: Store, plans: Sequence[Study]) -> pd.DataFrame:
    """Return what `batch.summary` says of the arms of studies, an execution each, by the judge that steers."""
    batch, _, _ = plans[0].name.rpartition("/")
    names = [plan.name.removeprefix(f"{batch}/") for plan in plans]
    executions = [Execution(f"{name}/{arm}", {"arm": arm}, {}) for name in names for arm in plans[0].arms]
    return summary(store, Plan(batch, Path("none.ipynb"), tuple(executions)), store.folder)


def texts(count: int) -> list[str]:
    """Return so many different scenes, each a thing or two with a colour."""
    single = [f"a {color} {shape}" for shape in SHAPES for color in COLORS]
    double = [f"{one} and {other}" for one in single for other in single if one[-3:] != other[-3:]]
    return (single + double)[:count]


def run_real(store: Store, world: World, name: str = "real/0") -> Study:
    """Run one study of a null world through the real stages and policies; return its plan."""
    plan = replace(world.plan(name), target=1.0)
    run_study(store, pd.DataFrame({"text": texts(world.scenes), "category": "null"}), plan)
    return plan


@dataclass
class Generator:
    """Draws noise, another for another prompt or seed: no wording is better than another."""

    name: str = "null_world:Generator"

    def default_parameters(self) -> dict[str, Any]:
        return {"num_inference_steps": 4, "guidance_scale": 3.0}

    def describe(self) -> dict[str, Any]:
        return {"repo": "noise"}

    def fits(self, prompt: str) -> bool:
        return len(prompt.split()) <= 60

    def draw(self, requests: Sequence[DrawRequest]) -> list[Drawing | ItemError]:
        return [Drawing(self._noise(request), {"seed": request.seed}) for request in requests]

    def _noise(self, request: DrawRequest) -> Image.Image:
        told = crc32(f"{request.prompt} {request.seed} {sorted(request.parameters.items())}".encode())
        return Image.fromarray(np.random.default_rng(told).integers(0, 256, (4, 4), dtype=np.uint8))


@dataclass
class Judge:
    """Scores a picture by what its scene deserves, its luck, and a view of its own; shares `flattery` of one view."""

    name: str
    flattery: float = 0.0
    adhering_at: float = 0.5

    @property
    def judge_key(self) -> str:
        return f"key of {self.name}"

    def judge(self, images: Sequence[Image.Image], scenes: Sequence[Scene]) -> list[Judgement | ItemError]:
        return [self._judgement(*pair) for pair in zip(images, scenes, strict=True)]

    def _judgement(self, image: Image.Image, scene: Scene) -> Judgement:
        picture = crc32(np.asarray(image.convert("L")).tobytes())
        quality = np.random.default_rng(crc32(scene.text.encode())).uniform(*QUALITY)
        luck, view = np.random.default_rng(picture).normal(0, 1, 2)  # the view is the steering judge's
        own = np.random.default_rng([picture, crc32(self.name.encode())]).normal()
        view = self.flattery * view + np.sqrt(1 - self.flattery**2) * own
        score = float(np.clip(quality + LUCK * luck + OPINION * view, 0.02, 1.0))
        return Judgement({e.key: score for e in list_elements(scene.elements)}, None, "noise")


def steering() -> Judge:
    """Return the judge that steers: what it sees in a picture besides its luck is the view that others may share."""
    return Judge(STEERING, flattery=1.0)


def watching() -> Judge:
    """Return a judge whose view is its own."""
    return Judge(WATCHING)


def flattering() -> Judge:
    """Return a judge that likes what the steering one likes."""
    return Judge(FLATTERING, flattery=fair_world.FLATTERY)
