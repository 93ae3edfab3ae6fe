"""Worlds whose truth is known: every picture is a fair draw around what its version is worth. Rows only, no models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from forgekit.ids import content_hash
from forgekit.rows import insert_rows
from forgekit.store import Store

JUDGES = ("steering", "watching")  # the second sees the same pictures with errors of its own
ARMS = ("rewrite", "redraw")
TABLES = ("scenes", "prompts", "generated_images", "image_evaluations", "prompt_learnings")


@dataclass
class World:
    """How pictures come out. `effect` is what every rewrite adds to the worth of its scene's first version, in [0, 1].

    A scene stops when the best version has a mean of `target`, and is then carried forward; None: all go on. With
    `confirm` each scene's chosen version is drawn once more, a fair draw too, or images that all score `confirmed`.
    """

    scenes: int = 600
    images: int = 4
    rounds: int = 6
    effect: float = 0.0
    target: float | None = None
    confirm: bool = False
    confirmed: float | None = None
    seed: int = 0
    names: Mapping[str, str] = field(default_factory=dict)  # of experiments, by arm, where not those of the arms
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {table: [] for table in TABLES})
    ids: int = 0

    def fill(self, store: Store) -> Store:
        """Write both arms of the world into an empty store and return it."""
        rng = np.random.default_rng(self.seed)
        worth = rng.uniform(0.35, 0.65, self.scenes)
        for number in range(self.scenes):
            scene = content_hash(f"scene {number}")
            self.rows["scenes"].append({"scene_hash": scene, "scene_text": f"scene {number}"})
            for arm in ARMS:
                self._refine(rng, scene, arm, worth[number])
        with store.transaction() as con:
            for iteration in range(self.rounds + 1):  # parents before their children
                rows = [row for row in self.rows["prompts"] if row["generation_iteration"] == iteration]
                insert_rows(con, "scenes", self.rows["scenes"])
                insert_rows(con, "prompts", rows)
            for table in TABLES[2:]:
                insert_rows(con, table, self.rows[table])
        return store

    def _refine(self, rng: np.random.Generator, scene: str, arm: str, worth: float) -> None:
        """Draw a scene round by round; its base is the version that real comparisons leave."""
        first = best = self._version(scene, arm, None, 0)
        scores = {best: self._draw(rng, best, scene, arm, 0, worth)}
        for round_ in range(1, self.rounds):
            if self.target is not None and np.mean(scores[best]) >= self.target:
                break
            if arm == "redraw":
                scores[best] += self._draw(rng, best, scene, arm, round_, worth)
                continue
            child = self._version(scene, arm, best, round_)
            scores[child] = self._draw(rng, child, scene, arm, round_, worth + self.effect)
            best = max(best, child, key=lambda version: np.mean(scores[version]))
        if self.confirm:
            child = self._version(scene, arm, best, self.rounds)
            worth = worth + self.effect * (best != first) if self.confirmed is None else self.confirmed
            self._draw(rng, child, scene, arm, self.rounds, worth, spread=0.2 if self.confirmed is None else 0.0)
            actions = {"decision": "confirm", "child_prompt_id": child}
            self.rows["prompt_learnings"].append({"id": self._id(), "prompt_id": best, "actions": actions})

    def _version(self, scene: str, arm: str, parent: str | None, iteration: int) -> str:
        row = {"id": self._id(), "scene_hash": scene, "parent_prompt_id": parent, "model": "fair"}
        row["experiment"] = self.names.get(arm, arm)
        row |= {"prompt_text": "a prompt", "base_parameters": {}, "generation_iteration": iteration}
        self.rows["prompts"].append(row | {"status": "archived", "best_image_id": None})
        return row["id"]

    def _draw(
        self,
        rng: np.random.Generator,
        version: str,
        scene: str,
        arm: str,
        round_: int,
        worth: float,
        spread: float = 0.2,
    ) -> list[float]:
        """Add a drawing's images and both judges' verdicts; return what the steering judge says."""
        seen = worth + rng.normal(0.0, spread, self.images)
        said = {judge: np.clip(seen + rng.normal(0.0, spread / 4, self.images), 0.0, 1.0) for judge in JUDGES}
        for index in range(self.images):
            image = self._id()
            seed = index + 1000 * round_ * (arm == "redraw")
            score = float(said[JUDGES[0]][index])
            row = {"id": image, "prompt_id": version, "image_path": image, "generation_metadata": {"seed": seed}}
            row |= {"adherence_score": score, "evaluation_details": {"vision_model": JUDGES[0]}}
            self.rows["generated_images"].append(row | {"round": round_, "image_index": index})
            for judge in JUDGES:
                verdict = {"id": self._id(), "image_id": image, "prompt_id": version, "scene_hash": scene}
                score = float(said[judge][index])
                verdict |= {"vision_model": judge, "judge_key": "k", "element_scores": {"object:0": score}}
                self.rows["image_evaluations"].append(verdict | {"soft_tifa_am": score, "soft_tifa_gm": score})
        next(row for row in reversed(self.rows["prompts"]) if row["id"] == version)["best_image_id"] = image
        return said[JUDGES[0]].tolist()

    def _id(self) -> str:
        self.ids += 1
        return str(UUID(int=self.ids))
