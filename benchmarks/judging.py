"""Time judges against the plain loops they stand for: ratios measured in one run, variants taking turns.

    python benchmarks/judging.py [--only stage,clipscore,vqa,memory] [--full] [--repeats 3] [--threads 1] [--json]

Models have random weights: speed depends on their shape alone. `stage` and `clipscore` use a ViT-L/14 at a quarter of
its width and half its depth (257 image tokens, image tower about twelve times the work of the text tower, as in the
real one), `--full` the real size; `vqa` uses mini-fuyu's architecture. CLIPScore needs `pip install torchmetrics`.
Times are the least of the repeats; on a busy machine the CPU times (`cpu`) are the ones to trust.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
from peers import Painter, build_clip, make_store, open_clip_loop, transformers_clip

import forgekit as fk
from forgekit.scene import Scene, list_elements, parse

PARTS = ("stage", "clipscore", "vqa", "memory")
TARGETS = {"stage": 1.05, "clipscore": 2.0, "vqa": 4.0}
SCENES = (
    "a red circle to the left of a blue square",
    "three pink hearts on a black background",
    "a small green star above a large yellow ring",
    "watercolor of two orange triangles",
    "a purple cross, a white circle and a gray star",
    "line art of a black heart below a red ring",
)
LONG_SCENES = (
    "watercolor of a small red circle to the left of a large blue square on a yellow background, no stars",
    "line art of a large green heart above a small orange ring on a gray background, no circles",
)
L14 = {"vision": (1024, 24, 64), "text": (768, 12, 12), "embed": 768}
QUARTER = {"vision": (256, 12, 32), "text": (192, 6, 3), "embed": 192}  # width, layers, head width or heads


def judge_again(store: fk.Store) -> None:
    """Forget all verdicts, so that the images are due again."""
    with store.transaction() as con:
        con.execute("delete from image_evaluations")
        con.execute("update prompts set status = 'generated'")


def race(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Run the variants in turns, once more than `repeats` (the first warms up), and return their times in seconds."""
    walls: dict[str, list[float]] = {name: [] for name in variants}
    cpus: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, run in variants.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                walls[name].append(time.perf_counter() - wall)
                cpus[name].append(time.process_time() - cpu)
    return {
        name: {"wall_s": min(walls[name]), "wall_median_s": statistics.median(walls[name]), "cpu_s": min(cpus[name])}
        for name in variants
    }


def stage(folder: Path, shape: dict[str, Any], images: int, repeats: int) -> dict[str, Any]:
    """Time the whole stage (store, files, pixels hashed, verdicts written) against a bare open_clip loop."""
    import open_clip

    address = build_clip(folder / "clip", shape)
    store = make_store(folder, list(SCENES), images, 512)
    rows = store.rows(
        "select image_path, scene_text from generated_images i join prompts p on p.id = i.prompt_id"
        " join scenes s on s.scene_hash = p.scene_hash order by 2, 1"
    )
    scenes = {text: Scene(text, parse(text)) for text in SCENES}
    files = [(store.folder / row["image_path"], scenes[row["scene_text"]]) for row in rows]
    loaded = (*open_clip.create_model_from_pretrained(address), open_clip.get_tokenizer(address))
    loaded[0].eval()
    judge = fk.load_model("vision_model", address)
    judge._towers  # noqa: B018 - loads the weights, which the loop has done, too

    def run_stage() -> None:
        judge_again(store)
        judge._remembered.clear()  # the loop encodes its texts anew, too
        fk.evaluate_images(store, vision_models=[judge])

    times = race({"ours": run_stage, "theirs": partial(open_clip_loop, loaded, files)}, repeats)
    return {"what": f"evaluate_images / bare open_clip loop, {len(files)} images of 512 px", **times, "ours_over": True}


def clipscore(folder: Path, shape: dict[str, Any], images: int, repeats: int) -> dict[str, Any]:
    """Time all verdicts of the judge against torchmetrics' CLIPScore of each image with its elements' phrases."""
    import torch
    from torchmetrics.multimodal import CLIPScore

    judge = fk.load_model("vision_model", build_clip(folder / "clip-score", shape))
    scenes = [Scene(text, parse(text)) for text in SCENES]
    painter = Painter(512)
    items = [(painter._paint(i), scenes[i % len(scenes)]) for i in range(images * len(scenes))]
    tensors = [torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) for image, _ in items]
    phrases = [[e.phrase for e in list_elements(scene.elements)] for _, scene in items]
    metric = CLIPScore(model_name_or_path=partial(transformers_clip, shape))

    def run_judge() -> None:
        judge._remembered.clear()
        judge.judge([image for image, _ in items], [scene for _, scene in items])

    def run_metric(texts: list[list[str]]) -> None:
        with torch.inference_mode():
            for tensor, asked in zip(tensors, texts, strict=True):
                metric([tensor] * len(asked), asked)

    whole = [[scene.text] for _, scene in items]
    variants = {
        "ours": run_judge,
        "theirs": partial(run_metric, phrases),
        "whole_text_only": partial(run_metric, whole),
    }
    times = race(variants, repeats)
    return {"what": f"judge / torchmetrics CLIPScore per image and phrase, {len(items)} images", **times}


def vqa(folder: Path, images: int, repeats: int) -> dict[str, Any]:
    """Time all questions of an image in one go against one call of the same model per question."""
    import torch

    from forgekit.mini import WEIGHTS
    from forgekit.models.vqa import VQAJudge

    judge = VQAJudge("fuyu", str(WEIGHTS / "fuyu"), device="cpu", prompt="{}", description="", batch_size=32)
    scenes = [Scene(text, parse(text)) for text in LONG_SCENES]
    painter = Painter(64)
    items = [(painter._paint(i), scenes[i % len(scenes)]) for i in range(images)]
    questions = {scene.text: [e.question for e in list_elements(scene.elements)] for scene in scenes}
    for text, asked in questions.items():
        asked.append(judge.whole.format(text))
    model, processor = judge._answerer.model, judge._answerer.processor

    def one_call_per_question() -> None:
        with torch.inference_mode():
            for image, scene in items:
                for question in questions[scene.text]:
                    inputs = processor(
                        images=image, text=question, return_tensors="pt", return_legacy_image_output=False
                    )
                    model(**inputs).logits[0, -1].float().softmax(-1)

    together = partial(judge.judge, [image for image, _ in items], [scene for _, scene in items])
    times = race({"ours": together, "theirs": one_call_per_question}, repeats)
    asked = sum(len(q) for q in questions.values()) / len(questions)
    return {"what": f"VQA judge / one call per question, {images} images, {asked:.0f} questions each", **times}


def memory(folder: Path, images: int = 2000) -> dict[str, Any]:
    """Judge that many images through the stage and return the memory held after each quarter, in MiB."""
    shape = {"vision": (64, 2, 32), "text": (64, 2, 2), "embed": 64}
    judge = fk.load_model("vision_model", build_clip(folder / "clip-tiny", shape))
    colors, shapes = ("red", "blue", "green", "pink", "gray"), ("circle", "square", "star", "heart", "ring")
    scenes = [f"a {a} {s} above a {b} {t}" for a in colors for b in colors for s in shapes for t in shapes if a != b]
    store = make_store(folder / "memory", scenes[: images // 8], 8, 256)
    held = []
    with store.transaction() as con:
        con.execute("update prompts set status = 'evaluated'")
    ids = [row["id"] for row in store.rows("select id from prompts order by id")]
    for quarter in range(4):
        part = ids[quarter * len(ids) // 4 : (quarter + 1) * len(ids) // 4]
        with store.transaction() as con:
            con.execute(
                "update prompts set status = 'generated' where id in (select unnest($ids::uuid[]))", {"ids": part}
            )
        fk.evaluate_images(store, vision_models=[judge])
        held.append(round(resident_mib()))
    judged = store.rows("select count(*) as n from image_evaluations where error is null")[0]["n"]
    return {"what": f"memory after each quarter of {judged} images", "mib": held, "growth": held[-1] / held[0]}


def resident_mib() -> float:
    """Return the memory of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def with_ratios(name: str, found: dict[str, Any]) -> dict[str, Any]:
    """Add the ratios: ours / theirs for `stage`, which may cost a little more, else theirs / ours."""
    if "ours" not in found:
        return found
    over = found.pop("ours_over", False)
    for key in ("wall_s", "cpu_s"):
        ours, theirs = found["ours"][key], found["theirs"][key]
        found[f"ratio_{key.removesuffix('_s')}"] = round(ours / theirs if over else theirs / ours, 3)
    found["wanted"] = f"{'≤' if over else '≥'} {TARGETS[name]}"
    return found


@contextmanager
def quiet_bars() -> Iterator[None]:
    """Send progress bars nowhere: they would be timed."""
    before, sys.stderr = sys.stderr, open(os.devnull, "w")  # noqa: SIM115, PTH123
    try:
        yield
    finally:
        sys.stderr.close()
        sys.stderr = before


def main() -> None:
    """Run the parts and print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--images", type=int, default=8, help="per scene, or in all for vqa times four")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--full", action="store_true", help="ViT-L/14 at its real size")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    shape, results = L14 if arguments.full else QUARTER, {}
    for name in arguments.only.split(","):
        with tempfile.TemporaryDirectory() as place, quiet_bars():
            folder = Path(place)
            parts: dict[str, Callable[[], dict[str, Any]]] = {
                "stage": partial(stage, folder, shape, arguments.images, arguments.repeats),
                "clipscore": partial(clipscore, folder, shape, arguments.images, arguments.repeats),
                "vqa": partial(vqa, folder, 4 * arguments.images, arguments.repeats),
                "memory": partial(memory, folder),
            }
            results[name] = with_ratios(name, parts[name]())
    if arguments.json:
        print(json.dumps(results, indent=2))
        return
    for name, found in results.items():
        print(f"{name:10} {found['what']}")
        for key, value in found.items():
            if key != "what":
                shown = {k: round(v, 3) for k, v in value.items()} if isinstance(value, dict) else value
                print(f"{'':12}{key:16} {shown}")


if __name__ == "__main__":
    main()
