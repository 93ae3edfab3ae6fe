"""Kill every stage, the mirror, batches and backups at random moments, then let eight processes share a store for minutes.

    python benchmarks/soak.py [--kills 200] [--processes 8] [--minutes 5] [--seed 0] [--json]

1. Each kill starts one of KINDS in a process of its own on one store and ends it with SIGKILL at a random moment of its
   work. When all kills are used up, each kind runs to its end, and so it does on a second store that nobody disturbed. `lost`
   are rows and images of the second that the first lacks, `doubled` those that it has beyond them, `orphan_files` and `findings`
   what `check` says of it; the last backup is restored and compared as well.
2. The processes import, complete, draw, judge and refine scenes of their own, and take up whatever is due; one of four only reads
   (`trends.adherence`, the counts). `drawn_twice` and `paid_twice` are requests that the servers got more than once.

Pictures and texts come from servers on loopback, one request each, that note what they are asked. The exit status is 1 where
anything was lost, doubled, left behind or wrong.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import Any
from zlib import crc32

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

KINDS = ("import", "complete", "generate", "evaluate", "refine", "track", "batch", "backup")
WEIGHTS = (2, 4, 5, 4, 4, 1, 1, 2)  # the mirror and batches start slowly
COLORS = ("red", "blue", "green", "yellow", "purple", "orange")
SHAPES = ("circles", "squares", "stars", "hearts", "rings", "crosses")
EXPERIMENT = "soak"
RECORD = {
    "scenes": "select scene_hash, elements, read_by from scenes order by all",
    "prompts": "select * exclude (created_at, last_updated) from prompts order by all",
    "generated_images": "select * exclude (created_at, generation_metadata) from generated_images order by all",
    "image_evaluations": "select * exclude (created_at) from image_evaluations order by all",
    "prompt_learnings": "select * exclude (created_at) from prompt_learnings order by all",
}
NOTEBOOK = "import forgekit as fk\nstore = fk.open_store(store)\nfk.complete_prompts(store)\nprint(store)"


def scenes(rng: random.Random, n: int) -> list[str]:
    """Return scene texts, none twice."""
    numbers = ("two", "three", "four", "five")
    every = [f"{number} {color} {shape}" for number in numbers for color in COLORS for shape in SHAPES]
    return rng.sample(every, n)


# --- what a process does ---


def worker(kind: str, path: str, image_url: str, text_url: str, texts: list[str]) -> None:
    """Do one kind of work to its end; "ready" is said when the work begins."""
    import pandas as pd
    from conftest import FakeJudge

    import forgekit as fk

    store = fk.open_store(path)
    work: dict[str, Callable[[], Any]] = {
        "import": lambda: fk.import_prompts(
            store, pd.DataFrame({"text": texts}), model=image_url, experiment=EXPERIMENT, parameters={"seed": 1}
        ),
        "complete": lambda: fk.complete_prompts(store, language_model=text_url),
        "generate": lambda: fk.generate_images(
            store, images_per_prompt=2, images_per_batch=4, image_generator=image_url
        ),
        "evaluate": lambda: fk.evaluate_images(
            store, vision_models=[FakeJudge(score=0.3), FakeJudge("watcher", 0.6, judge_key="2")], prompts_per_batch=2
        ),
        "refine": lambda: fk.refine_prompts(store, policy="refine-without-memory", max_iterations=2),
        "track": lambda: fk.track(store, skip_registry=True),
        "batch": lambda: fk.run_batch(store, store.folder / "plan.toml", untracked=True),
        "backup": lambda: fk.backup(store, store.folder / "copy"),
    }
    if kind.startswith("all:"):
        for each in kind.removeprefix("all:").split(","):
            report = work[each]()
            if report.failed:
                sys.exit(f"{each}: {report}")
        return
    if kind == "share":
        share(store, work)
        return
    if kind == "read":
        read(store, fk)
        return
    print("ready", flush=True)
    report = work[kind]()
    if getattr(report, "failed", 0):
        sys.exit(str(report))


def share(store: Any, work: dict[str, Callable[[], Any]]) -> None:
    """Import, then take up what is due, until the file "stop" lies beside the store and nothing is due any more."""
    work["import"]()
    while True:
        stop = (store.folder / "stop").exists()
        done = 0
        for kind in ("complete", "generate", "evaluate", "refine"):
            report = work[kind]()
            done += report.done
            if report.failed:
                sys.exit(str(report))
        if not done:
            if stop:
                return
            time.sleep(0.5)


def read(store: Any, fk: Any) -> None:
    """Look at the store again and again, and print how long each look took."""
    stop = False
    while not stop:  # once at least, however slowly the process started
        stop = (store.folder / "stop").exists()
        started = time.perf_counter()
        fk.trends.adherence(store)
        repr(store)
        print(time.perf_counter() - started, flush=True)
        time.sleep(0.2)


def start(kind: str, path: Path, urls: tuple[str, str], texts: list[str] = []) -> Popen:  # noqa: B006
    """Start a process of one kind on a store."""
    command = [sys.executable, __file__, "--worker", kind, str(path), *urls, *texts]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    env["FORGEKIT_TRUSTED_MODELS"] = ",".join(urls)
    return Popen(command, env=env, stdout=PIPE, stderr=PIPE, text=True, start_new_session=True)


@contextmanager
def servers() -> Iterator[tuple[tuple[str, str], Counter[str]]]:
    """Serve pictures that follow from prompt and seed, and texts that complete a scene; with what they were asked."""
    from PIL import Image
    from served_models import answered, picture, serving

    asked: Counter[str] = Counter()
    one = threading.Lock()

    def answer(path: str, body: dict[str, Any]) -> Any:
        drawing = path.endswith("/images/generations")
        what = f"{body['prompt']} {body.get('seed')}" if drawing else body["messages"][-1]["content"]
        with one:
            asked[f"{'picture' if drawing else 'text'}: {what}"] += 1
        time.sleep(0.02)
        if drawing:
            told = crc32(what.encode())
            return picture(Image.new("RGB", (16, 16), (told % 256, told // 256 % 256, told // 65536 % 256)))
        scene = re.findall("Scene: (.*)", what)[-1]
        message = {"role": "assistant", "content": f"<PROMPT>{scene}, line art</PROMPT>"}
        return answered({"choices": [{"message": message}]})

    with serving(answer) as url:
        yield (f"{url}#soak-pictures", f"{url}#soak-texts"), asked


# --- kills ---


def kill(rng: random.Random, process: Popen, most_s: float) -> bool:
    """End the process at a random moment of its work; return whether it was still at work."""
    assert process.stdout is not None
    process.stdout.readline()  # "ready", or "" where it could not even begin
    try:
        process.wait(rng.uniform(0, most_s))
    except TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    process.communicate()
    return False


def finish(path: Path, urls: tuple[str, str], texts: list[str], kinds: Sequence[str]) -> list[str]:
    """Run all kinds to their end, in one process; return what failed."""
    order = ("import", "complete", *3 * ("generate", "evaluate", "refine"), "track", "batch", "backup")
    process = start(f"all:{','.join(kind for kind in order if kind in kinds)}", path, urls, texts)
    told = process.communicate()[1]
    return [told.strip().splitlines()[-1]] if process.returncode else []


def new_store(folder: Path) -> Path:
    """Make a store with a plan for batches beside it."""
    import nbformat

    import forgekit as fk

    folder.mkdir(parents=True)
    cells = [nbformat.v4.new_code_cell('store = ""\nexperiment = ""\nx = 1', metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell(NOTEBOOK))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "tiny.ipynb")
    (folder / "plan.toml").write_text('notebook = "tiny.ipynb"\n[grid]\nx = [1, 2]\n')
    return fk.open_store(folder / "forge.duckdb").path


def record(path: Path) -> dict[str, set[str]]:
    """Return the rows of the record, as text."""
    from forgekit.store import Store

    return {table: {json.dumps(row, default=str) for row in Store(path).rows(sql)} for table, sql in RECORD.items()}


def killed(rng: random.Random, folder: Path, kills: int, kinds: Sequence[str], *, most_s: float) -> dict[str, Any]:
    """Kill the kinds at random, finish, and compare with a store that nobody disturbed."""
    import forgekit as fk

    texts = scenes(rng, min(144, 4 + kills // 2))
    files = [texts[i : i + 6] for i in range(0, len(texts), 6)]
    with servers() as (urls, asked):
        disturbed, tried, times = new_store(folder / "disturbed"), Counter[str](), 0
        while times < kills:
            kind = rng.choices(kinds, [WEIGHTS[KINDS.index(each)] for each in kinds])[0]
            if kill(rng, start(kind, disturbed, urls, rng.choice(files)), most_s):
                times += 1
                tried[kind] += 1
        errors = finish(disturbed, urls, texts, kinds)
        requests = sum(asked.values())
        asked.clear()
        undisturbed = new_store(folder / "undisturbed")
        errors += finish(undisturbed, urls, texts, kinds)
    ours, theirs = record(disturbed), record(undisturbed)
    fk.restore(folder / "disturbed" / "copy", folder / "restored" / "forge.duckdb")
    store = fk.open_store(disturbed)
    report = fk.check(store)
    return {
        "kills": dict(tried),
        "images": len(theirs["generated_images"]),
        "lost": sum(len(theirs[table] - ours[table]) for table in RECORD),
        "doubled": sum(len(ours[table] - theirs[table]) for table in RECORD),
        "orphan_files": sum("belongs to no image" in finding for finding in report.findings),
        "findings": [*report.findings, *fk.check(fk.open_store(folder / "restored" / "forge.duckdb")).findings],
        "not_restored": sum(len(ours[t] - rows) for t, rows in record(folder / "restored" / "forge.duckdb").items()),
        "asked_again": requests - sum(asked.values()),
        "errors": errors,
    }


# --- many at once ---


def together(rng: random.Random, folder: Path, processes: int, seconds: float) -> dict[str, Any]:
    """Have processes share a store for a while; what they did twice or wrong, and how long readers waited."""
    import forgekit as fk

    readers = max(1, processes // 4)
    texts = scenes(rng, 6 * (processes - readers))
    with servers() as (urls, asked):
        path = new_store(folder / "together")
        workers = [start("share", path, urls, texts[i * 6 : i * 6 + 6]) for i in range(processes - readers)]
        workers += [start("read", path, urls) for _ in range(readers)]
        time.sleep(seconds)
        (path.parent / "stop").touch()
        told = [process.communicate() for process in workers]
    looks = sorted(float(line) for out, _ in told[-readers:] for line in out.split())
    twice = [what for what, n in asked.items() if n > 1]
    store = fk.open_store(path)
    probes = processes  # each process asks for its first picture twice, to see whether the server honours seeds
    return {
        "processes": processes,
        "images": store.rows("select count(*) as n from generated_images")[0]["n"],
        "drawn_twice": max(0, sum(what.startswith("picture") for what in twice) - probes),
        "paid_twice": sum(what.startswith("text") for what in twice),
        "errors": [
            err.strip().splitlines()[-1] for process, (_, err) in zip(workers, told, strict=True) if process.returncode
        ],
        "looks": len(looks),
        "look_p95_s": round(statistics.quantiles(looks, n=20)[-1], 3) if len(looks) > 1 else None,
        "findings": fk.check(store).findings,
    }


def soak(
    kills: int, processes: int, seconds: float, *, kinds: Sequence[str] = KINDS, seed: int = 0, most_s: float = 2.0
) -> dict[str, Any]:
    """Run both parts in a folder of their own, and return their figures; `kinds` always have the backup among them."""
    rng, folder = random.Random(seed), Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        found = {"killed": killed(rng, folder, kills, kinds, most_s=most_s)} if kills else {}
        return found | ({"together": together(rng, folder, processes, seconds)} if processes else {})
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_well(figures: dict[str, Any]) -> bool:
    """Say whether nothing was lost, doubled, left behind or wrong."""
    wrong = ("lost", "doubled", "orphan_files", "findings", "not_restored", "errors", "drawn_twice", "paid_twice")
    return not any(part.get(name) for part in figures.values() for name in wrong)


def main() -> int:
    """Read the options, soak, and print the figures."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--processes", type=int, default=8)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    figures = soak(given.kills, given.processes, given.minutes * 60, seed=given.seed)
    if given.json:
        print(json.dumps(figures))
    else:
        for part, found in figures.items():
            print(f"{part}: " + ", ".join(f"{name} {value}" for name, value in found.items()))
    return 0 if is_well(figures) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(*sys.argv[2:6], sys.argv[6:])
    else:
        sys.exit(main())
