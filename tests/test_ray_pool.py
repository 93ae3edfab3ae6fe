"""Models in many workers, on two nodes of a real Ray cluster: the same rows as here, whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pytest
import ray
from ray.cluster_utils import Cluster

import forgekit as fk
from forgekit.errors import UnknownModelError
from forgekit.models import DrawRequest, load_model
from forgekit.models.memory import let_go, loaded

QUICK = {  # how soon a node that does not answer is taken for dead
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10000,
    "health_check_failure_threshold": 5,
}
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}
SCENES = [f"{number} {color} circles" for number in ("two", "three") for color in ("red", "blue", "green")]
MOODY = "ray:pool_models:Moody?workers=2&cpus=0.1&gpus=0&batch_size=2"


@pytest.fixture(scope="module")
def quick():
    """Where Ray starts quickly and calls nobody: its folder."""
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the paths of sockets may have a hundred characters
    # Each of Ray's twenty processes would read a grammar of URLs, which takes a second, and it gives some of them 15 in all.
    Path(folder, "rfc3987_syntax.py").write_text("raise ImportError")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", os.pathsep.join([folder, str(Path(__file__).parent)]), prepend=os.pathsep)
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(quick):
    """Two nodes of one processor each; nothing of them is left in the end."""
    with pytest.MonkeyPatch.context() as patch:
        found = Cluster(
            initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": QUICK}
        )
        found.add_node(**NODE)
        patch.setenv("RAY_ADDRESS", found.address)
        yield found
        for model in loaded():
            let_go(model)
        ray.shutdown()
        found.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("here")


@pytest.fixture
def here(folder, monkeypatch):
    """The working folder, which workers share; it is one for all tests, as many of the workers are."""
    monkeypatch.chdir(folder)
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def requests(*prompts: str) -> list[DrawRequest]:
    return [DrawRequest(prompt, seed) for seed, prompt in enumerate(prompts)]


def made(folder: Path, generator: str, judge: str):
    """Make a store of twelve pictures with verdicts."""
    folder.mkdir()
    store = fk.open_store(folder / "forge.duckdb")
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model=generator, parameters={"num_inference_steps": 2})
    fk.complete_prompts(store)
    report = fk.generate_images(store, images_per_prompt=2, image_generator=generator, images_per_batch=4)
    assert not report.failures
    assert not fk.evaluate_images(store, vision_models=[judge]).failures
    return store


def rows(store) -> dict[str, list]:
    """Return what is in a store, but for times."""
    drawn = store.rows(
        "select id, prompt_id, image_path, generation_metadata::varchar as told from generated_images order by id"
    )
    for row in drawn:
        row["told"] = {k: v for k, v in json.loads(row["told"]).items() if k != "duration_s"}
        row["bytes"] = (store.folder / row["image_path"]).read_bytes()
    said = "select id, vision_model, judge_key, verdict_key, element_scores::varchar, error from image_evaluations order by id"
    prompts = "select id, model, status, prompt_text, current_score from prompts order by id"
    return {"images": drawn, "verdicts": store.rows(said), "prompts": store.rows(prompts)}


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return rows(made(tmp_path_factory.mktemp("local") / "store", "mini?batch_size=2", "mini-clip?batch_size=4"))


def when_some_are_drawn(folder: Path, do) -> threading.Thread:
    """Start a thread that does something when the first pictures are there."""

    def watch() -> None:
        while not list(folder.glob("store/images/*/*.png")):
            time.sleep(0.02)
        do()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def workers() -> list[psutil.Process]:
    mine = psutil.Process().children(recursive=True)
    return [process for process in mine if "ray::Worker" in "".join(process.cmdline())]


@pytest.mark.parametrize("dies", ["nobody", "a worker", "a machine"])
def test_a_pool_makes_the_rows_that_one_model_makes_whatever_dies(cluster, local, here, dies, caplog):
    second = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    kill = {
        "nobody": lambda: None,
        "a worker": lambda: workers()[0].kill(),
        "a machine": lambda: cluster.remove_node(second, allow_graceful=False),
    }[dies]
    killer = when_some_are_drawn(here, kill)
    found = rows(
        made(
            here / "store",
            "ray:mini?workers=2&cpus=0.4&gpus=0&batch_size=2",
            "ray:mini-clip?workers=1&cpus=0.4&gpus=0&batch_size=4",
        )
    )
    killer.join(60)
    if dies == "a machine":
        cluster.add_node(**NODE)
    if dies != "a machine":  # its workers may have had nothing in hand just then
        assert ("mini: " in caplog.text) == (dies == "a worker")
    assert found == local
    assert len(found["images"]) == len(found["verdicts"]) == 12


def test_an_item_that_kills_its_workers_is_that_items_error(cluster, here):
    pool = load_model("image_generator", MOODY)
    asked = requests("a dog", "a deadly dog", "a cat", "a bird", "a cow")
    found = pool.draw(asked)
    assert "its worker died 3 times at it" in found[1].reason
    noted = Counter(line.split(" ", 1)[1] for line in Path("notes").read_text().splitlines())
    assert noted["a deadly dog"] == 3
    alone = load_model("image_generator", "pool_models:Moody").draw(requests("a dog", "-", "a cat", "a bird", "a cow"))
    assert [each.image.tobytes() for each in found[:1] + found[2:]] == [
        each.image.tobytes() for each in alone[:1] + alone[2:]
    ]


def test_memory_that_is_full_is_told_as_here(cluster, here):
    asked = requests("a large dog", "a dog")
    found = load_model("image_generator", MOODY).draw(asked)
    alone = load_model("image_generator", "pool_models:Moody").draw(asked)
    assert found[0] == alone[0] and "out of memory" in found[0].reason
    assert found[1].image.tobytes() == alone[1].image.tobytes()


def test_results_come_as_they_are_ready(cluster, here):
    pool = load_model("image_generator", MOODY)
    groups = [
        [place for place, _ in group]
        for group in pool.draw_each(requests("slow", "slow", "slow", "a", "b", "c", "d", "e"))
    ]
    assert groups[0] != [0, 1] or groups[1] != [2, 3]
    assert sorted(place for group in groups for place in group) == list(range(8))
    pids = {line.split()[0] for line in Path("notes").read_text().splitlines()}
    assert len(pids) == 2


def test_what_a_model_raises_is_the_failure_of_its_prompts_as_here(cluster, here, store):
    fk.import_prompts(store, pd.DataFrame({"text": SCENES[:2]}), model="pool_models:Rude")
    fk.complete_prompts(store)
    report = fk.generate_images(store, image_generator="ray:pool_models:Rude?cpus=0.1&gpus=0")
    assert set(report.failures.values()) == {"ZeroDivisionError: nobody thought of that"}
    assert (
        "nobody thought of that"
        in store.rows("select error_context ->> '$.traceback' as told from api_logs where not ok")[0]["told"]
    )


def test_a_language_model_answers_in_a_pool(cluster, here):
    pool = load_model("language_model", "ray:pool_models:Echo?workers=2&cpus=0.1&gpus=0")
    assert pool.generate([f"say {n}" for n in range(5)]) == [f"say {n}!" for n in range(5)]
    assert pool.generate([]) == []
    assert not hasattr(pool, "generate_json")  # it would be done here


def test_a_pool_makes_room_for_the_next_one_and_comes_back(cluster, here):
    whole = load_model("image_generator", "ray:pool_models:Moody?workers=2&cpus=1&gpus=0")
    other = load_model("language_model", "ray:pool_models:Echo?workers=2&cpus=1&gpus=0")
    assert len(whole.draw(requests("a", "b"))) == 2
    assert other.generate(["a", "b"]) == ["a!", "b!"]
    assert len(whole.draw(requests("a", "b"))) == 2


def test_workers_that_find_no_place_are_an_error_with_its_reason_and_nothing_is_lost(cluster, here, store):
    fk.import_prompts(store, pd.DataFrame({"text": SCENES}), model="pool_models:Moody")
    fk.complete_prompts(store)
    report = fk.generate_images(store, image_generator="ray:pool_models:Moody?workers=2&gpus=4&start_s=1")
    assert len(report.failures) == len(SCENES)
    assert "no worker has started for 1 s; each takes 1 CPU and 4 GPU" in next(iter(report.failures.values()))
    assert {row["status"] for row in store.rows("select status from prompts")} == {"generating"}


@pytest.mark.parametrize(
    ("factory", "reason"), [("Varied", "give all machines one version"), ("absent", "no weights here. Put them there")]
)
def test_workers_that_differ_or_lack_the_weights_are_refused(cluster, here, factory, reason):
    Path("driver").write_text(str(os.getpid()))
    pool = load_model("image_generator", f"ray:pool_models:{factory}?workers=2&cpus=0.1&gpus=0")
    with pytest.raises(UnknownModelError, match=reason):
        for _ in range(200):  # the second one may take its time
            pool.draw(requests("slow", "slow"))
    with pytest.raises(UnknownModelError, match=reason):
        pool.draw(requests("a"))


def test_a_process_is_on_one_cluster(cluster, here):
    load_model("image_generator", MOODY).draw(requests("a"))
    other = load_model("image_generator", "ray:pool_models:Moody?address=127.0.0.1:1")
    with pytest.raises(UnknownModelError, match="give 127.0.0.1:1 a process of its own"):
        other.draw(requests("a"))


def test_ctrl_c_leaves_no_workers_and_no_ray(quick, here, store):
    fk.import_prompts(
        store, pd.DataFrame({"text": [f"slow {scene}" for scene in SCENES * 9]}), model="pool_models:Moody"
    )
    fk.complete_prompts(store, keep=True)
    command = [sys.executable, "-m", "forgekit.cli", "generate", "--store", store.path, "--workers", "2"]
    paths = os.pathsep.join([quick, *sys.path])
    process = subprocess.Popen(
        [*map(str, command), "--image-generator", "pool_models:Moody"],
        env={**os.environ, "PYTHONPATH": paths, "RAY_ADDRESS": ""},
        cwd=here,
    )
    while not Path("notes").exists():
        assert process.poll() is None
        time.sleep(0.1)
    started = psutil.Process(process.pid).children(recursive=True)
    assert any("ray::Worker" in "".join(each.cmdline()) for each in started if each.is_running())
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    gone, left = psutil.wait_procs(started, timeout=20)
    assert gone and not left
