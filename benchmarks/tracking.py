"""Time the MLflow mirror against MLflow's own floor for the same content, and against the loop that it mirrors.

    python benchmarks/tracking.py [--rounds 7] [--scenes 30] [--json]

Floor: one run with the same tags, params, metrics, images and table, through MLflow's client in its fastest documented
way (`create_run`, one `log_batch`, `log_image(synchronous=True)`, `log_dict`, `set_terminated`) on the same kind of
database. The mirror writes runs together where the database is its own (`ratio`) and one by one through the client elsewhere
(`ratio_client`). All take turns in one process, so a busy machine slows all; medians for one run are compared, in wall time and
in processor time. Making the database and importing MLflow are paid once, before.

Share of the loop: `forgekit.track` at its end, as `make loop` calls it, on 30 scenes in one to three versions each (registry, both
judges' runs and the summary included), against drawing and judging their images with the embedded models, three versions of
which are timed, in the same run. Libraries, weights and the database have been loaded by a smaller study before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

IMAGES, JUDGES = 8, 2
TOGETHER = 8  # runs that the mirror writes in one go here; it takes up to 128
VERSIONS = 3  # of a scene, at most
TIMED = 3  # versions that are drawn and judged


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds of wall time and of processor time that `work` takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def floor_run(client, experiment_id: str, run, folder: Path) -> None:
    """Write what `run` holds with MLflow's own calls."""
    from mlflow.entities import Metric, Param
    from PIL import Image

    run_id = client.create_run(experiment_id, run.start_ms, dict(run.tags), run.name).info.run_id
    metrics = [Metric(name, value, run.end_ms, step) for name, value, step in run.metrics]
    client.log_batch(run_id, metrics, [Param(name, value) for name, value in run.params.items()])
    for image in run.row["images"]:
        with Image.open(folder / image["path"]) as picture:
            client.log_image(run_id, picture, key="image", step=image["step"], synchronous=True)
    rows = [[image["seed"], image["score"]] for image in run.row["images"]]
    client.log_dict(run_id, {"columns": ["seed", "score"], "data": rows}, "evaluations.json")
    client.log_text(run_id, run.row["prompt_text"], "prompt.txt")
    client.set_terminated(run_id, "FINISHED", run.end_ms)


def compare_with_floor(folder: Path, rounds: int) -> dict[str, float]:
    """Write the runs of a store by turns through the mirror and through MLflow's client; return the medians."""
    import study as studies

    from forgekit.tracking.artifacts import write_files
    from forgekit.tracking.connection import connect, default_uri
    from forgekit.tracking.runs import due_runs, read_runs
    from forgekit.tracking.study import Study

    scenes = (rounds + 1) * (TOGETHER + 1)
    store = studies.make(folder, scenes=scenes, iterations=1, seeds=IMAGES, judges=("judge",))
    runs = list(read_runs(store, due_runs(store)))
    connection = connect(store, default_uri(store), folder / "mlflow.db")
    study = Study.open(connection, "mirror", "benchmark")
    by_hand = connection.client.create_experiment("floor", artifact_location=(folder / "floor").as_uri())
    taken: dict[str, list[tuple[float, float]]] = {"mirror": [], "client": [], "floor": []}
    for start in range(0, len(runs), TOGETHER + 1):
        run, *together = runs[start : start + TOGETHER + 1]
        tagged = [(one, study.tags_of(one, link_prompt=False)) for one in together]
        wall, processor = timed(partial(study.write_together, tagged, store.folder))
        taken["mirror"].append((wall / TOGETHER, processor / TOGETHER))
        tags, files = study.tags_of(run, link_prompt=False), partial(write_files, run, store.folder)
        taken["client"].append(timed(partial(study.write, run, tags, files)))
        taken["floor"].append(timed(partial(floor_run, connection.client, by_hand, run, store.folder)))
    wall, processor = (
        {side: statistics.median(times[kind] for times in turns[1:]) for side, turns in taken.items()}
        for kind in (0, 1)
    )
    return {
        "metrics": len({name for name, _, _ in runs[0].metrics}),
        "metric_points": len(runs[0].metrics),
        "images": IMAGES,
        "mirror_ms": round(1000 * wall["mirror"], 1),
        "floor_ms": round(1000 * wall["floor"], 1),
        "ratio": round(wall["mirror"] / wall["floor"], 3),
        "ratio_client": round(wall["client"] / wall["floor"], 3),
        "ratio_processor": round(processor["mirror"] / processor["floor"], 3),
    }


def share_of_loop(folder: Path, database: Path, scenes: int) -> dict[str, float]:
    """Mirror the prompt versions of `scenes` that two judges have seen, and compare with drawing and judging as many.

    TIMED of them are drawn and judged by the embedded models.
    """
    import study as studies

    import forgekit as fk
    from forgekit.models import DrawRequest, load_model
    from forgekit.scene import Scene, parse

    shutil.copy(database, folder / "mlflow.db")
    store = studies.make(folder, experiment="warm-up", scenes=1, iterations=1, seeds=1, seed=1)
    fk.track(store)
    studies.fill(store, scenes=scenes, iterations=VERSIONS, seeds=IMAGES)
    versions = store.rows("select count(*) as n from prompts where experiment = 'main'")[0]["n"]
    generator = load_model("image_generator", "mini")
    judges = [load_model("vision_model", name) for name in ("mini-owl", "mini-clip")]
    text = "a red circle to the left of a blue square"
    scene, parameters = Scene(text, parse(text)), generator.default_parameters()
    requests = [DrawRequest(text, seed, parameters) for seed in range(IMAGES)]

    def draw_and_judge(some: list[DrawRequest]) -> None:
        images = [drawing.image for drawing in generator.draw(some)]
        for judge in judges:
            judge.judge(images, [scene] * len(images))

    draw_and_judge(requests[:1])  # weights are loaded once
    turns = [timed(partial(draw_and_judge, requests)) for _ in range(TIMED)]
    mirroring = timed(partial(fk.track, store))
    loop = [statistics.median(turn[kind] for turn in turns) * versions for kind in (0, 1)]
    shares = [mirroring[kind] / (mirroring[kind] + loop[kind]) for kind in (0, 1)]
    return {
        "versions": versions,
        "runs": versions * JUDGES,
        "draw_and_judge_s_per_version": round(loop[0] / versions, 2),
        "mirror_s_per_version": round(mirroring[0] / versions, 3),
        "share": round(shares[0], 4),
        "share_processor": round(shares[1], 4),
    }


def main() -> None:
    """Run both comparisons and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--scenes", type=int, default=30, help="as many as make loop has")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        first, second, empty = (Path(folder) / name for name in ("floor", "loop", "empty"))
        for place in (first, second, empty):
            place.mkdir()
        from mlflow import MlflowClient

        MlflowClient(tracking_uri=f"sqlite:///{empty / 'mlflow.db'}").search_experiments()
        shutil.copy(empty / "mlflow.db", first / "mlflow.db")
        results = {
            "floor": compare_with_floor(first, arguments.rounds),
            "loop": share_of_loop(second, empty / "mlflow.db", arguments.scenes),
        }
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for name, figures in results.items():
            print(f"{name:8}", ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
