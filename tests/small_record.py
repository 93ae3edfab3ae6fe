"""A record small enough to work out by hand: versions of scenes with the scores that judges gave their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgekit.ids import content_hash, content_id
from forgekit.store import Store
from forgekit.store.rows import insert_rows

Scores = Mapping[str, Sequence[Mapping[str, float | None]]]  # vision model -> one element_scores document per image


def add_version(
    store: Store,
    scene: str,
    iteration: int,
    scores: Scores,
    *,
    experiment: str = "main",
    key: str = "k",
    rounds: Sequence[int] | None = None,
) -> str:
    """Add one evaluated version whose image i has seed i; the first vision model steers. Return its prompt id.

    `rounds` says which of them were drawn when; None: all of them at the round of the version's number.
    """
    scene_hash = content_hash(scene)
    ids = [content_id("prompt", scene=scene, experiment=experiment, iteration=i) for i in (iteration - 1, iteration)]
    images = [content_id("image", prompt=ids[1], seed=i) for i in range(len(next(iter(scores.values()))))]
    steering = next(iter(scores))
    prompt = {
        "id": ids[1],
        "scene_hash": scene_hash,
        "parent_prompt_id": ids[0] if iteration else None,
        "model": "mini",
        "prompt_text": f"{scene} {iteration}",
        "base_parameters": {},
        "generation_iteration": iteration,
        "status": "archived",
        "best_image_id": images[0],
        "experiment": experiment,
    }
    with store.transaction() as con:
        insert_rows(con, "scenes", [{"scene_hash": scene_hash, "scene_text": scene}])
        insert_rows(con, "prompts", [prompt])
        for seed, image in enumerate(images):
            details = {"vision_model": steering}
            row = {"id": image, "prompt_id": ids[1], "image_path": image, "generation_metadata": {"seed": seed}}
            drawn = rounds or [iteration] * len(images)
            row |= {"round": drawn[seed], "image_index": drawn[:seed].count(drawn[seed]), "evaluation_details": details}
            insert_rows(con, "generated_images", [row])
        for judge, documents in scores.items():
            for image, document in zip(images, documents, strict=True):
                verdict = {
                    "id": content_id("evaluation", image=image, judge=judge, key=key),
                    "image_id": image,
                    "prompt_id": ids[1],
                    "scene_hash": scene_hash,
                    "vision_model": judge,
                    "judge_key": key,
                    "element_scores": document,
                }
                insert_rows(con, "image_evaluations", [verdict])
        con.execute(
            """
            update prompts set current_score = s.mean_score from prompt_scores s
            where s.prompt_id = prompts.id and s.vision_model = $judge and prompts.id = $id
            """,
            {"judge": steering, "id": ids[1]},
        )
        con.execute(
            """
            update generated_images set adherence_score = s.soft_tifa_gm from image_scores s
            where s.image_id = generated_images.id and s.vision_model = $judge and s.judge_key = $key
              and s.prompt_id = $id
            """,
            {"judge": steering, "id": ids[1], "key": key},
        )
    return ids[1]


def one(score: float | None) -> dict[str, float | None]:
    return {"object:0": score}


def twice(score: float) -> list[dict[str, float | None]]:
    return [one(score), one(score)]
