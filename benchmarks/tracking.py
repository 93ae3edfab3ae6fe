"""Time the MLflow mirror against MLflow's own calls for the same content, and against the loop that it mirrors.

    python benchmarks/tracking.py [--rounds 20] [--scenes 30] [--json]

`ratio`: a run of a version written by the mirror, over one with the same tags, params, metrics, images, figure and tables
through MLflow's client in its fastest documented way (`create_run`, one `log_batch`, `log_image(synchronous=True)`, `log_figure`,
`log_dict`, `set_terminated`) to the same database; goal 0.6. `ratio_processor`: the same in processor time. Both take turns, so a
busy machine slows both; medians are compared.

`share_at_2s_an_image`: `forgekit.track` at the end of a loop over 30 scenes in one to three versions of 8 images (both
judges' runs, rounds, registry and summary included), as a share of the whole, where drawing and judging an image takes 2 s; and
`share_processor` the same by the processor time that it takes.

Making the database and importing MLflow are paid once, before.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

IMAGES = 8
VERSIONS = 3  # of a scene, at most
IMAGE_S = 2.0  # that drawing and judging an image takes


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of wall time and of processor time that `work` takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def write_by_hand(client, experiment_id: str, run, folder: Path) -> None:
    """Write what `run` holds with MLflow's own calls."""
    from matplotlib.figure import Figure
    from mlflow.entities import Metric, Param
    from PIL import Image

    tags = {**run.tags, "forgekit": json.dumps(run.about), "mlflow.note.content": run.note}
    run_id = client.create_run(experiment_id, run.start_ms, tags, run.name).info.run_id
    metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
    client.log_batch(run_id, metrics, [Param(name, value) for name, value in run.params.items()])
    strip = Image.new("RGB", (100 * len(run.shown), 96))
    for place, image in enumerate(run.shown):
        with Image.open(folder / image["path"]) as picture:
            client.log_image(run_id, picture, key="image", step=image["step"], synchronous=True)
            strip.paste(picture.resize((96, 96)), (100 * place, 0))
    client.log_image(run_id, strip, artifact_file="strip.png")
    figure = Figure(figsize=(6, 1.5), dpi=80)
    scores = [image["score"] for image in run.shown]
    figure.subplots().plot(scores, [0.5] * len(scores), "o")
    client.log_figure(run_id, figure, "scores.png")
    rows = [[image["seed"], image["score"]] for image in run.shown]
    for table in ("images.json", "evaluations.json"):
        client.log_dict(run_id, {"columns": ["seed", "score"], "data": rows}, table)
    client.log_text(run_id, run.shown[0]["prompt_text"], "prompt.txt")
    client.set_terminated(run_id, "FINISHED", run.end_ms)


def compare_runs(folder: Path, rounds: int) -> dict[str, float]:
    """Write the runs of a store by turns through the mirror and by hand; return the ratios of the medians."""
    import study as studies

    from forgekit.tracking.artifacts import write_files
    from forgekit.tracking.connection import ARTIFACTS, DATABASE, connect, default_uri
    from forgekit.tracking.mirror import Mirror
    from forgekit.tracking.run_contents import due_runs, read_runs

    store = studies.make(folder, scenes=2 * (rounds + 1), iterations=1, seeds=IMAGES, judges=("judge",))
    runs = list(read_runs(store, due_runs(store)))
    client = connect(default_uri(store), folder / DATABASE)
    mirror = Mirror.open(client, "mirror", artifacts=folder / ARTIFACTS, store_name="benchmark")
    by_hand = client.create_experiment("by hand", artifact_location=(folder / "by_hand").as_uri())
    turns = [
        (
            timed(partial(mirror.write, ours, partial(write_files, ours, store.folder))),
            timed(partial(write_by_hand, client, by_hand, theirs, store.folder)),
        )
        for ours, theirs in zip(runs[::2], runs[1::2], strict=True)
    ][1:]
    wall, processor = ([statistics.median(turn[side][kind] for turn in turns) for side in (0, 1)] for kind in (0, 1))
    return {"ratio": wall[0] / wall[1], "ratio_processor": processor[0] / processor[1]}


def share_of_loop(folder: Path, scenes: int) -> dict[str, float]:
    """Mirror the prompt versions of `scenes` that two judges have seen, and compare with drawing and judging them."""
    import study as studies

    import forgekit as fk

    store = studies.make(folder, experiment="warm-up", scenes=1, iterations=1, seeds=1, seed=1)
    fk.track(store)
    studies.fill(store, scenes=scenes, iterations=VERSIONS, seeds=IMAGES)
    images = store.rows(
        "select count(*) as n from generated_images i join prompts p on p.id = i.prompt_id where experiment = 'main'"
    )[0]["n"]
    wall, processor = timed(partial(fk.track, store))
    loop = IMAGE_S * images
    return {"share_at_2s_an_image": wall / (wall + loop), "share_processor": processor / (processor + loop)}


def main() -> None:
    """Run both comparisons and print their ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=30, help="as many as make loop has")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs, loop = Path(folder) / "runs", Path(folder) / "loop"
        runs.mkdir()
        loop.mkdir()
        ratios = compare_runs(runs, arguments.rounds) | share_of_loop(loop, arguments.scenes)
    if arguments.json:
        print(json.dumps({name: round(value, 4) for name, value in ratios.items()}))
    else:
        for name, value in ratios.items():
            print(f"{name:22} {value:6.3f}")


if __name__ == "__main__":
    main()
