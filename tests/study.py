"""A small finished study in a real store, for the tests of what reads it: every table filled, pictures on disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from forgekit.ids import content_hash, content_id
from forgekit.mini.captions import caption
from forgekit.mini.changes import changed
from forgekit.mini.render import render
from forgekit.mini.world import PREDICATES, WorldScene, sample_scene
from forgekit.store import Store
from forgekit.store.images import encode_png, write_image
from forgekit.store.rows import insert_rows

START = datetime(2026, 11, 1, 9, 0)
JUDGES = ("mini-clip", "mini-fuyu")  # the first steers


def elements(scene: WorldScene) -> dict[str, Any]:
    """Return what `scene` shows in the form of the `elements` JSON document; spans are null, there being no text."""
    objects = [
        {
            "name": o.shape,
            "count": count,
            "attributes": [{"kind": "color", "value": o.color}] + [{"kind": "size", "value": o.size}] * bool(o.size),
            "span": None,
        }
        for o, count in scene.groups
    ]
    relations = [{"subject": 0, "predicate": PREDICATES[scene.relation], "object": 1}] if scene.relation else []
    return {
        "objects": objects,
        "relations": relations,
        "background": scene.background,
        "style": scene.style,
        "rendered_text": [],
        "negations": [],
    }


def fill(
    store: Store,
    *,
    experiment: str = "main",
    scenes: int = 4,
    iterations: int = 3,
    seeds: int = 4,
    judges: Sequence[str] = JUDGES,
    seed: int = 0,
) -> None:
    """Fill the store with a refinement study: scene i is finished at iteration `i % iterations`.

    The same arguments give the same rows. A picture shows its scene, or the scene with its colour changed where the
    study has the colour fail, which happens less from version to version.
    """
    rng = random.Random(seed)
    rows: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in ("scenes", "prompts", "generated_images", "image_evaluations", "prompt_learnings", "api_logs")
    }
    for number in range(scenes):
        _fill_scene(store, rows, rng, experiment, number, number % iterations, seeds, judges)
    with store.transaction() as con:
        for table, table_rows in rows.items():
            for row in table_rows if table in ("prompts", "prompt_learnings") else []:
                insert_rows(con, table, [row])  # a parent before its children
            insert_rows(con, table, table_rows)


def _fill_scene(
    store: Store,
    rows: dict[str, list[dict[str, Any]]],
    rng: random.Random,
    experiment: str,
    number: int,
    last: int,
    seeds: int,
    judges: Sequence[str],
) -> None:
    scene = sample_scene(rng)
    text = caption(scene, rng)
    scene_hash = content_hash(text)
    asked = elements(scene)
    rows["scenes"].append({"scene_hash": scene_hash, "scene_text": text, "elements": asked, "source": {"row": number}})
    parent, learning = None, None
    for iteration in range(last + 1):
        prompt = {
            "id": _version_id(scene_hash, experiment, iteration),
            "scene_hash": scene_hash,
            "parent_prompt_id": parent,
            "model": "mini",
            "prompt_text": text + ", vivid" * iteration,
            "base_parameters": {"seed": 0, "num_inference_steps": 8, "guidance_scale": 3.5},
            "generation_iteration": iteration,
            "status": "archived",
            "experiment": experiment,
            "created_at": START + timedelta(minutes=10 * iteration, seconds=number),
            "last_updated": START + timedelta(minutes=10 * iteration + 5, seconds=number),
        }
        verdicts = _draw_and_judge(store, rows, rng, prompt, scene, seeds, judges)
        best = max(verdicts, key=lambda verdict: verdict[1])
        prompt |= {"best_image_id": best[0], "current_score": sum(score for _, score in verdicts) / len(verdicts)}
        rows["prompts"].append(prompt)
        rewritten = iteration < last
        rows["prompt_learnings"].append(
            {
                "id": content_id("learning", prompt=prompt["id"]),
                "prompt_id": prompt["id"],
                "parent_learning_id": learning,
                "adherence_analysis": {"missing_elements": []},
                "error_patterns": {"error_patterns": {"failed_terms": ["red"]}},
                "actions": {
                    "decision": "rewrite" if rewritten else "accept",
                    "reason": "color:0 fails most" if rewritten else "it reached the target",
                    "objective": judges[0],
                    "action": "repeat_color" if rewritten else None,
                    "element": "color:0" if rewritten else None,
                    "kind": "color" if rewritten else None,
                    "detail": "vivid" if rewritten else None,
                    "child_prompt_id": _version_id(scene_hash, experiment, iteration + 1) if rewritten else None,
                },
                "status": "superseded" if rewritten else "active",
                "created_at": prompt["last_updated"],
            }
        )
        parent, learning = prompt["id"], rows["prompt_learnings"][-1]["id"]


def _version_id(scene_hash: str, experiment: str, iteration: int) -> str:
    return content_id("prompt", scene=scene_hash, experiment=experiment, iteration=iteration)


def _draw_and_judge(
    store: Store,
    rows: dict[str, list[dict[str, Any]]],
    rng: random.Random,
    prompt: dict[str, Any],
    scene: WorldScene,
    seeds: int,
    judges: Sequence[str],
) -> list[tuple[str, float]]:
    """Add images and verdicts of one version; return (image id, score by the first judge) of each."""
    verdicts = []
    keys = [f"object:{i}" for i in range(len(scene.groups))] + [f"color:{i}" for i in range(len(scene.groups))]
    for index in range(seeds):
        fails = rng.random() < 0.7 - 0.3 * prompt["generation_iteration"]
        shown = (changed(scene, "color", rng) if fails else None) or scene
        image_id = content_id("image", prompt=prompt["id"], seed=index)
        metadata = {"seed": 1000 + index, "num_inference_steps": 8, "prompt": prompt["prompt_text"]}
        scores = {
            key: round(rng.uniform(0.05, 0.3) if fails and key == "color:0" else rng.uniform(0.8, 0.99), 4)
            for key in keys
        }
        gm = float(torch.tensor(list(scores.values())).log().mean().exp())
        rows["generated_images"].append(
            {
                "id": image_id,
                "prompt_id": prompt["id"],
                "image_path": write_image(store.folder, image_id, encode_png(picture_of(shown), metadata)),
                "generation_metadata": metadata,
                "is_adhering": gm >= 0.5,
                "adherence_score": gm,
                "evaluation_details": {"vision_model": judges[0], "soft_tifa_gm": gm},
                "round": prompt["generation_iteration"],
                "image_index": index,
                "created_at": prompt["created_at"],
            }
        )
        for judge in judges:
            seen = (
                scores if judge == judges[0] else {key: round(0.9 * score + 0.02, 4) for key, score in scores.items()}
            )
            missing = ["the color of the first object"] if fails else []
            rows["image_evaluations"].append(
                {
                    "id": content_id("evaluation", image=image_id, vision_model=judge),
                    "image_id": image_id,
                    "prompt_id": prompt["id"],
                    "scene_hash": prompt["scene_hash"],
                    "vision_model": judge,
                    "judge_key": f"key of {judge}",
                    "element_scores": seen,
                    "model_output": {"description": "", "confidence_scores": {}, "detected_artifacts": []},
                    "adherence_analysis": {
                        "text_match_score": 0.5,
                        "missing_elements": missing,
                        "unwanted_elements": [],
                    },
                    "created_at": prompt["last_updated"],
                }
            )
        verdicts.append((image_id, gm))
    for stage, endpoint, duration_ms in (
        ("generate", "mini", 900.0),
        *(("evaluate", judge, 100.0) for judge in judges),
    ):
        rows["api_logs"].append(
            {
                "id": content_id("api_log", prompt=prompt["id"], stage=stage, endpoint=endpoint),
                "prompt_id": prompt["id"],
                "stage": stage,
                "endpoint": endpoint,
                "request": {"images": [image_id for image_id, _ in verdicts]},
                "duration_ms": duration_ms,
                "ok": True,
                "created_at": prompt["created_at"],
            }
        )
    return verdicts


def picture_of(scene: WorldScene) -> Image.Image:
    """Return the scene as a picture of 64 × 64 pixels."""
    pixels = render([scene], torch.Generator().manual_seed(0))[0].permute(1, 2, 0)
    return Image.fromarray((pixels * 255).byte().numpy())


def make(folder: Path, **arguments: Any) -> Store:
    """Open a store in `folder` and fill it."""
    from forgekit.store import open_store

    store = open_store(folder / "forge.duckdb")
    fill(store, **arguments)
    return store
