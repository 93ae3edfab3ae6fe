"""All ratios and times that the package promises of itself, in one table: python benchmarks/ratios.py [--only …] [--json]

    generate    the stage over the pipeline's own calls in it: what files, store and all else add to `mini`'s pictures
    judge       the stage over a bare open_clip loop (benchmarks/judging.py --only stage)
    idle        seconds that generating, judging and refining take where 100,000 images are there and nothing is due
    import      seconds of `import forgekit`, and of `forgekit --help`, beyond starting Python

Ratios are of medians of turns taken one after the other. On a busy machine look at the processor time (`cpu`); the exit
status is 1 where that misses a goal. (tests/test_weights.py and others hold what must never break; this is how fast.)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial, wraps
from math import ceil
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
HERE = Path(__file__).parent
PARTS = ("generate", "judge", "idle", "import")
GOALS = {"generate": 1.03, "judge": 1.05, "idle": 0.3, "import forgekit": 0.4, "forgekit --help": 0.6}
SCENES = ("a red circle", "two blue squares", "a green star above a pink ring", "a white heart", "an orange cross")


def turns(variants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    """Run the variants in turns, a first time to warm up; return the medians of the seconds of the clock and the processor."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for turn in range(repeats + 1):
        for name, work in variants.items():
            clock, before = time.perf_counter(), sum(os.times()[:4])
            work()
            if turn:
                times[name].append((time.perf_counter() - clock, sum(os.times()[:4]) - before))
    return {
        name: (statistics.median(t[0] for t in own), statistics.median(t[1] for t in own))
        for name, own in times.items()
    }


def generate(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Time the stage against what the pipeline takes in it, on prompts that are new each turn.

    They fill one batch of the stage. Bare calls beside the stage's own differ by 7 % from one to the next on one machine, which is
    more than the stage adds; these are the same calls.
    """
    import pandas as pd
    import torch

    import forgekit as fk

    torch.set_num_threads(1)
    model, store = fk.load_model("image_generator", "mini"), fk.open_store(folder / "forge.duckdb")
    prompts, images, inside = 8, 4, list[tuple[float, float]]()
    bare = type(model.pipeline).__call__

    @wraps(bare)
    def timed(*arguments: Any, **named: Any) -> Any:
        clock, cpu = time.perf_counter(), time.process_time()
        output = bare(*arguments, **named)
        inside.append((time.perf_counter() - clock, time.process_time() - cpu))
        return output

    type(model.pipeline).__call__ = timed
    ratios: list[tuple[float, float]] = []
    for turn in range(repeats + 1):
        texts = [f"{SCENES[i % len(SCENES)]}, take {turn}-{i}" for i in range(prompts)]
        fk.import_prompts(store, pd.DataFrame({"text": texts}), model="mini", experiment=f"turn-{turn}")
        fk.complete_prompts(store, experiment=f"turn-{turn}")
        inside.clear()
        clock, cpu = time.perf_counter(), time.process_time()
        assert fk.generate_images(store, images_per_prompt=images).details["images"] == prompts * images
        taken = time.perf_counter() - clock, time.process_time() - cpu
        assert len(inside) == ceil(prompts * images / model.batch_size), (
            "the stage draws in other batches than the model"
        )
        if turn:
            ratios.append((taken[0] / sum(own[0] for own in inside), taken[1] / sum(own[1] for own in inside)))
    clocks, cpus = zip(*ratios, strict=True)
    return {
        "generate": {"clock": statistics.median(clocks), "cpu": statistics.median(cpus), "images": prompts * images}
    }


def judge(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Take the stage's ratio from the judges' own benchmark."""
    command = [sys.executable, str(HERE / "judging.py"), "--only", "stage", "--json", "--repeats", str(repeats)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(told[told.index("{") :])["stage"]
    return {"judge": {"clock": found["ratio_wall"], "cpu": found["ratio_cpu"]}}


def idle(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Time the stages where everything is done."""
    sys.path.insert(0, str(HERE))
    from trends import fill

    import forgekit as fk

    store = fk.open_store(folder / "idle.duckdb")
    fill(store, 400_000)
    images = store.rows("select count(*) as n from generated_images")[0]["n"]
    work = {
        "generate": partial(fk.generate_images, store),
        "judge": partial(fk.evaluate_images, store, vision_models=["mini-clip"]),
        "refine": partial(fk.refine_prompts, store),
    }
    times = turns(work, repeats)
    worst = max(times, key=lambda name: times[name][1])
    return {"idle": {"clock": times[worst][0], "cpu": times[worst][1], "images": images}}


def start(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Time fresh processes, less one that only starts Python."""
    codes = {
        "python": "pass",
        "import forgekit": "import forgekit",
        "forgekit --help": "from forgekit.cli import main; main(['--help'])",
    }
    work = {
        name: partial(subprocess.run, [sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        for name, code in codes.items()
    }
    times = turns(work, max(5, repeats))
    return {
        name: {"clock": clock - times["python"][0], "cpu": cpu - times["python"][1]}
        for name, (clock, cpu) in times.items()
        if name != "python"
    }


def main() -> None:
    """Measure the parts and print them with their goals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured: dict[str, dict[str, float]] = {}
    for part in arguments.only.split(","):
        measure = {"generate": generate, "judge": judge, "idle": idle, "import": start}[part]
        with tempfile.TemporaryDirectory() as folder:
            measured |= measure(Path(folder), arguments.repeats)
    for name, figures in measured.items():
        figures |= {"goal": GOALS[name], "met": figures["cpu"] <= GOALS[name]}
    if arguments.json:
        print(json.dumps({name: {k: round(v, 4) for k, v in own.items()} for name, own in measured.items()}))
    else:
        print(f"{'':18}{'clock':>9}{'cpu':>9}   goal   load {os.getloadavg()[0]:.1f}")
        for name, own in measured.items():
            print(f"{name:18}{own['clock']:9.3f}{own['cpu']:9.3f} ≤ {own['goal']}{'' if own['met'] else '   missed'}")
    sys.exit(not all(own["met"] for own in measured.values()))


if __name__ == "__main__":
    main()
