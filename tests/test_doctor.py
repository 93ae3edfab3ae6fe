"""`forgekit doctor`: what is wrong before a run, what would work, and what it will take."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time

import pandas as pd
import pytest
from loopback_hub import hub, use_hub
from served_models import answered, picture, serving
from tiny_models import build_generator

import forgekit as fk
from forgekit.cli import main
from forgekit.models import load_model

FLUX_1 = ["flux-1", "Qwen3-VL-8B", "CLIP-L14", "qwen3-4b"]  # one of each kind of repository


def found(report, what):
    """The findings about one thing, as (verdict, what was found with what would work)."""
    return [(f.verdict, f"{f.found} → {f.remedy}") for f in report.findings if f.what == what]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_generator("flux", tmp_path_factory.mktemp("models") / "tiny-flux")


@pytest.fixture
def tiny(folder, tmp_path, monkeypatch):
    """A folder with a pipeline, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(folder, tmp_path / "tiny-flux")


def elapsed(command, **environment):
    """What a command says, its exit status, and the seconds of processor time that it took."""
    before = os.times()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    after = os.times()
    assert not done.stderr, done.stderr
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, done.returncode, spent


# weights


def test_missing_weights_are_found_in_seconds_without_a_network_and_without_torch(tmp_path):
    code = "import sys; from forgekit.cli import main; status = main(); print('torch' in sys.modules); sys.exit(status)"
    command = [sys.executable, "-c", code, "doctor", *FLUX_1, "--store", str(tmp_path / "no.duckdb")]
    told, status, seconds = elapsed(command, HF_HOME=str(tmp_path / "hub"))
    assert (status, seconds < 5) == (1, True), seconds
    assert told.splitlines()[0].startswith("doctor: 4 faults, 0 warnings")
    for name in FLUX_1:
        assert f"→ forgekit fetch {name}" in told
    assert told.endswith("False\n")
    assert not list(tmp_path.iterdir())  # nothing is written


def test_the_hub_says_size_licence_and_gate_where_it_is_asked(tmp_path, monkeypatch):
    for owner, size in (("open", 3 << 20), ("gated", 5 << 20)):
        (tmp_path / owner / "m").mkdir(parents=True)
        (tmp_path / owner / "m" / "config.json").write_text("{}")
        (tmp_path / owner / "m" / "model.safetensors").write_bytes(bytes(size))
        (tmp_path / owner / "m" / "pytorch_model.bin").write_bytes(bytes(size))
    asked: list[str] = []
    with hub(tmp_path, gated=("gated/m",), asked=asked) as address:
        use_hub(monkeypatch, address, tmp_path / "cache")
        fk.doctor(None, "open/m")
        assert asked == []
        told = [text for _, text in found(fk.doctor(None, "open/m", "gated/m", online=True), "weights")]
    assert "a download of 3.0 MiB, licence apache-2.0 → forgekit fetch open/m" in told[0]
    assert "5.0 MiB, licence apache-2.0, to be accepted on its page first" in told[1]


@pytest.mark.parametrize("kind", ["closed", "silent", "offline"])
def test_without_a_network_the_hub_is_said_to_be_out_of_reach_in_seconds(tmp_path, monkeypatch, kind):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if kind == "silent" else 9
        use_hub(monkeypatch, f"http://127.0.0.1:{port}", tmp_path, offline=kind == "offline")
        started = time.monotonic()
        report = fk.doctor(None, "owner/one", "owner/two", online=True)
        assert time.monotonic() - started < 5
    assert [verdict for verdict, _ in found(report, "hub")] == ["fault"] * 2
    assert "HF_HUB_OFFLINE" in found(report, "hub")[0][1]
    assert "forgekit fetch owner/one" in found(report, "weights")[0][1]


@pytest.mark.parametrize(
    ("gone", "lacks"),
    [("vae", "vae/"), ("transformer/diffusion_pytorch_model.safetensors", "the weights of transformer")],
)
def test_a_folder_without_all_parts_is_a_fault(tiny, gone, lacks):
    path = tiny / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    ((verdict, told),) = found(fk.doctor(None, str(tiny)), "weights")
    assert (verdict, f"it lacks {lacks}" in told) == ("fault", True)


def test_a_missing_shard_and_a_file_cut_short_are_faults(tiny):
    weights = tiny / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "they cannot be read" in found(fk.doctor(None, str(tiny)), "weights")[1][1]
    index = {"weight_map": {"a": "x-00001-of-00002.safetensors", "b": "x-00002-of-00002.safetensors"}}
    (weights.parent / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    weights.rename(weights.parent / "x-00001-of-00002.safetensors")
    assert "lacks transformer/x-00002-of-00002" in found(fk.doctor(None, str(tiny)), "weights")[0][1]


# memory


def test_weights_take_what_their_numbers_take_in_the_dtype_and_what_would_fit_is_named(tiny):
    parts = load_model("image_generator", str(tiny)).pipeline.components
    numbers = {
        name: sum(p.numel() for p in part.parameters()) for name, part in parts.items() if hasattr(part, "parameters")
    }
    picture_mib = 1024 * 1024 * 8 * 4 * 2 / 2**20  # pixels × channels × maps × bytes of bfloat16
    assert picture_mib == 64
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=10), "memory")
    assert verdict == "ok"
    assert f"{sum(numbers.values()) * 2 / 2**20:.1f} MiB of weights and an estimated {4 * picture_mib:.1f} MiB" in told
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=0.1), "memory")
    assert (verdict, "would fit: tiny-flux?batch_size=1" in told) == ("fault", True)
    largest = max(numbers.values()) * 2 / 2**20 + picture_mib
    ((verdict, told),) = found(fk.doctor(None, str(tiny), memory_gib=(largest + 0.01) / 1024), "memory")
    assert "would fit: tiny-flux?batch_size=1&offload=model" in told


def test_too_little_memory_on_this_machine_is_a_fault_found_in_seconds(tiny):
    code = (
        "import sys; from forgekit.checkup import models; models.room = lambda device: 40 << 20\n"
        "from forgekit.cli import main; sys.exit(main())"
    )
    told, status, seconds = elapsed([sys.executable, "-c", code, "doctor", str(tiny)])
    assert (status, seconds < 5) == (1, True), seconds
    assert "where 40.0 MiB are free" in told
    assert "none of its settings fits" in told
    assert "would fit: mini-clip?" in "".join(t for _, t in found(_with_room(6 << 20, "mini-clip"), "memory"))


def _with_room(room, *names):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("forgekit.checkup.models.room", lambda device: room)
        return fk.doctor(None, *names)


def test_quantised_numbers_keep_their_bytes_and_a_language_model_loads_as_it_is_stored(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file(
        {"a": torch.zeros(1 << 20, dtype=torch.float32), "b": torch.zeros(1 << 20, dtype=torch.int8)},
        tmp_path / "model.safetensors",
    )
    settings = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 8}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    told = found(fk.doctor(None, str(tmp_path), memory_gib=1), "memory")[0][1]
    assert told.startswith("5.0 MiB of weights")  # 4 + 1
    settings |= {"vision_config": {"hidden_size": 8}, "architectures": ["X"]}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    assert found(fk.doctor(None, str(tmp_path), memory_gib=1), "memory")[0][1].startswith("3.0 MiB of weights")  # 2 + 1


# what runs elsewhere


def test_a_server_that_is_down_silent_or_has_another_model_is_a_fault_in_seconds():
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        serving(lambda *_: answered({"data": [{"id": "other"}]})) as other,
    ):
        names = [
            "http://127.0.0.1:9/v1#m",
            f"http://127.0.0.1:{silent.getsockname()[1]}/v1#m",
            f"{other}#m",
            f"{other}#other",
        ]
        started = time.monotonic()
        report = fk.doctor(None, *names)
        assert time.monotonic() - started < 5
    told = found(report, "server")
    assert [verdict for verdict, _ in told] == ["fault"] * 3 + ["ok"]
    assert "Connection refused → start it" in told[0][1]
    assert "timed out → start it" in told[1][1]
    assert f"has other → start it with that model, or name one that it has: {other}#other" in told[2][1]


@pytest.mark.parametrize(
    ("status", "verdict", "remedy"), [(401, "fault", "OPENAI_API_KEY"), (404, "warning", "--dry-run")]
)
def test_a_server_that_refuses_to_list_its_models_is_told_apart_from_one_that_is_down(status, verdict, remedy):
    with serving(lambda *_: answered({"error": "no"}, status)) as address:
        ((seen, told),) = found(fk.doctor(None, f"{address}#m"), "server")
    assert (seen, remedy in told) == (verdict, True)


def test_a_dry_run_tells_whether_a_server_honours_seeds():
    from PIL import Image

    shades = iter(range(1, 99))

    def answer(path, body):
        if path.endswith("/models"):
            return answered({"data": [{"id": "flat"}]})
        return picture(Image.new("RGB", (8, 8), (next(shades), 0, 0)))

    with serving(answer) as address:
        report = fk.doctor(None, f"{address}#flat", dry_run=True)
    assert found(report, "dry run")[0][0] == "ok"
    assert found(report, "seeds")[0][0] == "warning"
    assert report.failed == 0


def test_mlflow_and_ray_are_asked_where_they_are_named(store, monkeypatch):
    report = fk.doctor(store, "ray:mini?workers=2&address=127.0.0.1:9", tracking_uri="http://127.0.0.1:9")
    assert found(report, "mirror")[0][0] == "fault"
    assert found(report, "ray")[0][0] == "fault"
    monkeypatch.setattr("forgekit.checkup.services.find_spec", lambda name: None)
    assert "pip install 'forgekit[ray]'" in found(fk.doctor(store, "ray:mini"), "ray")[0][1]
    assert found(fk.doctor(store, "mini"), "mirror") == [
        ("ok", "mlflow.db beside the store, made when it is needed → ")
    ]


# names and plans


def test_what_nobody_knows_is_a_fault_with_the_nearest_name(capsys, tmp_path):
    assert main(["doctor", "mini-clop", "--store", str(tmp_path / "no.duckdb")]) == 1
    assert "no model is called 'mini-clop'. Did you mean 'mini-clip'?" in capsys.readouterr().out


STUDY = """
prompts = "scenes.csv"
arms = ["resample", "refine"]
model = "mini"
vision_models = ["mini-owl", "mini-clip"]
images_per_prompt = 2
images_per_scene = 6
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenes.csv").write_text("text\na red circle\na blue square\n" + "a red circle and " * 20 + "a star\n")
    (tmp_path / "plan.toml").write_text(STUDY)
    return tmp_path / "plan.toml"


def test_a_study_is_counted_and_timed_by_what_its_models_took_before(store, plan):
    with store.transaction() as con:
        con.execute("""insert into api_logs (id, stage, endpoint, response, duration_ms, ok) values
            (uuid(), 'generate', 'mini', '{"images": 10}', 2000, true),
            (uuid(), 'generate', 'mini', '{"images": 10}', 4000, true),
            (uuid(), 'generate', 'mini', '{"cost": 0.5}', 1, true),
            (uuid(), 'evaluate', 'mini-owl', '{"judged": 4}', 2000, true)""")
    report = fk.doctor(store, str(plan))
    assert report.failed == 0, report
    # 2 arms × 3 scenes × (6 to choose by + 2 to confirm) = 48 images: 0.3 s each, and 0.025 of whatever the price is in
    assert report.plan == [
        "study plan: at most 2 arms × 3 scenes × 8 images, of which 2 confirm",
        "48 images by mini: 14 s, cost 1.20 at 0.3 s each (the mean of 20)",
        "48 verdicts by mini-clip: time not known yet (it has made none in this store)",
        "48 verdicts by mini-owl: 24 s at 0.5 s each (the mean of 4)",
        "in all 38 s, cost 1.20, and what is not known yet: mini-clip, one after the other",
    ]
    ((verdict, told),) = found(report, "prompts")
    assert (verdict, "of 3 prompts 1 are longer than it reads, such as 'a red circle and" in told) == ("warning", True)


@pytest.mark.parametrize(
    "line", ['model = "http://127.0.0.1:9/v1#m"', 'model = "trap:make"', 'arms = ["resample", "refne"]']
)
def test_what_a_plan_may_not_name_is_a_fault_and_nothing_is_asked_or_run(store, plan, line):
    plan.write_text(
        "".join(f"{line if old.split('=')[0] == line.split('=')[0] else old}\n" for old in STUDY.splitlines())
    )
    report = fk.doctor(store, str(plan))
    assert report.failed == 1
    assert found(report, "server") == []


def test_a_batch_is_counted_by_the_parameters_of_its_notebook(store, plan):
    from pathlib import Path

    notebook = Path(__file__).parents[1] / "notebooks" / "02_loop.ipynb"
    shutil.copy(notebook, plan.parent)
    text = 'notebook = "02_loop.ipynb"\n[parameters]\nprompts = "scenes.csv"\niterations = 3\n[grid]\ntarget = [0.5, 0.9]\n'
    plan.write_text(text)
    report = fk.doctor(store, str(plan))
    # twice 3 scenes × (3 rounds + 1 that confirms) × 4 images
    assert report.plan[:2] == [
        "batch plan: 2 executions, at most 96 images",
        "96 images by mini: time not known yet (it has made none in this store)",
    ]
    assert report.failed == 0


def test_the_models_of_rows_are_looked_at_and_refused_where_data_may_not_name_them(store):
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle", "a blue star"]}), model="mini")
    with store.transaction() as con:
        con.execute("update prompts set model = 'evil:make' where prompt_text like '%star'")
    report = fk.doctor(store)
    assert found(report, "prompts") == [("ok", "of 1 prompts 0 are longer than it reads → ")]
    ((verdict, told),) = found(report, "name")
    assert (verdict, "names code, which only you may give" in told) == ("fault", True)


def test_a_file_that_is_no_store_is_a_fault(tmp_path):
    (tmp_path / "x.duckdb").write_bytes(b"no database" * 1000)
    from forgekit.store import Store

    assert found(fk.doctor(Store(tmp_path / "x.duckdb"), "mini"), "file")[0][0] == "fault"
    with pytest.raises(fk.ForgekitError, match="memory_gib=-1"):
        fk.doctor(None, "mini", memory_gib=-1)
