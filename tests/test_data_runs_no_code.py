"""What rows, pictures, stores and model folders of others say is looked up, never run (THREATS.md)."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import FakeGenerator, FakeJudge
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import forgekit as fk
from forgekit.errors import UnknownModelError
from forgekit.models import load_stored_model
from forgekit.models.naming import TRUST_VARIABLE

CODE = (
    "os:abort",
    "trap:make",
    "trap:make.again",
    "a.trap:make",
    "llm:trap:make",
    "open_clip:trap:make",
    ":",
    "C:\\sd",
)
STRANGERS = ("http://example.com/v1#m", "https://u:secret@example.com/v1#m", "file:///etc", "s3://bucket/model")
OUTSIDE = (
    *("/etc", "/", "..", "../other", "~/model", "local-dir:/etc", "models/../../etc", "hf-hub:../other", "hf-hub:/etc"),
    *("open_clip:ViT-B-32//etc/w.pt", "open_clip:../other", "open_clip:ViT-B-32/w.pt", "preference:hf-hub:../other"),
)
NO_NAMES = (3, 2.5, True, False, ["mini"], [], {"name": "mini"}, {}, "  ", "mini\n", "mi\0ni", "\ud800", "m" * 1000)


def rows(values) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "text": ["a cat", *(f"a dog {i}" for i in range(len(values)))],
            "model": pd.Series(["mini", *values], dtype=object),
        }
    )


def models(store) -> list[str]:
    return [row["model"] for row in store.rows("select model from prompts order by model")]


@pytest.mark.parametrize("values", [CODE, STRANGERS, OUTSIDE, NO_NAMES], ids=["code", "strangers", "outside", "none"])
def test_a_row_that_names_what_only_a_caller_may_is_a_bad_row_and_the_others_go_in(store, trap, values):
    report = fk.import_prompts(store, rows(values))
    assert (report.done, len(report.failures)) == (1, len(values))
    assert all("its model" in reason for reason in report.failures.values())
    assert models(store) == ["mini"]
    assert "secret" not in store.rows("select error_context::varchar as e from api_logs")[0]["e"]
    fk.complete_prompts(store)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.json", "p.jsonl", "p.parquet", "p.xlsx"])
def test_no_format_lets_a_row_name_code(store, trap, name):
    frame = pd.DataFrame({"prompt": ["a cat", "a dog"], "model": ["trap:make", ""]})
    file = trap.with_name(name)
    writers = {
        ".csv": lambda: frame.to_csv(file, index=False),
        ".tsv": lambda: frame.to_csv(file, index=False, sep="\t"),
        ".json": lambda: frame.to_json(file, orient="records"),
        ".jsonl": lambda: frame.to_json(file, orient="records", lines=True),
        ".parquet": lambda: frame.to_parquet(file),
        ".xlsx": lambda: frame.to_excel(file, index=False),
    }
    writers[file.suffix]()
    report = fk.import_prompts(store, file)
    assert (report.done, report.failed) == (1, 1)
    assert models(store) == ["mini"]
    assert not trap.exists()


@pytest.mark.parametrize("value", [3, False, [], {"a": 1}])
def test_a_json_row_whose_model_is_no_text_is_a_bad_row(store, tmp_path, value):
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"text": f"a cat {i}", "model": m}) + "\n" for i, m in enumerate([value, None, "mini"]))
    )
    report = fk.import_prompts(store, tmp_path / "p.jsonl")
    assert (report.done, report.failed) == (2, 1)
    assert "not a name" in next(iter(report.failures.values()))


@pytest.mark.parametrize(
    ("key", "chunk"),
    [
        ("forgekit", json.dumps({"prompt": "a cat", "model": "trap:make"})),
        ("forgekit", json.dumps({"prompt": "a cat", "model": {"name": "trap:make"}})),
        ("parameters", "a cat\nSteps: 20, Sampler: Euler a, Seed: 1, Size: 8x8, Model: trap:make"),
        ("invokeai_metadata", json.dumps({"positive_prompt": "a cat", "model": {"name": "trap:make"}})),
        (
            "prompt",
            json.dumps(
                {
                    "1": {"inputs": {"ckpt_name": "trap:make"}},
                    "2": {"inputs": {"text": "a cat"}, "class_type": "CLIPTextEncode"},
                    "3": {"inputs": {"seed": 1, "positive": ["2", 0]}},
                }
            ),
        ),
    ],
    ids=["ours", "ours, a dict", "a1111", "invoke", "comfy"],
)
def test_a_picture_does_not_say_what_draws(store, trap, key, chunk):
    info = PngInfo()
    info.add_text(key, chunk)
    Image.new("RGB", (8, 8)).save(trap.with_name("p.png"), pnginfo=info)
    report = fk.import_prompts(store, trap.with_name("p.png"))
    assert (report.done, report.failed) == (1, 0)
    (row,) = store.rows("select model, source ->> '$.model' as said from prompts join scenes using (scene_hash)")
    assert row == {"model": "mini", "said": "trap:make"}
    assert not trap.exists()


def test_a_store_of_others_that_names_code_runs_none_and_its_other_prompts_go_on(completed, trap, fake_generator):
    fk.generate_images(completed, images_per_prompt=1, image_generator=fake_generator)
    fk.evaluate_images(completed, vision_models=[FakeJudge()])
    fk.import_prompts(completed, pd.DataFrame({"text": ["a cat", "a dog"]}), model=fake_generator.name)
    with completed.transaction() as con:
        con.execute("update prompts set model = 'trap:make' where prompt_text = 'a cat'")
    report = fk.complete_prompts(completed)
    assert (report.done, report.failed) == (1, 1)
    assert "'trap:make' names code" in next(iter(report.failures.values()))
    with completed.transaction() as con:
        con.execute("update prompts set status = 'completed' where prompt_text = 'a cat'")
    report = fk.generate_images(completed, images_per_prompt=1)
    assert (report.done, report.failed) == (1, 1)
    with completed.transaction() as con:
        con.execute("update prompts set model = 'trap:make' where prompt_text = (select min(prompt_text) from prompts"
                    " where status = 'evaluated')")  # fmt: skip
    report = fk.refine_prompts(completed)
    assert (report.done, report.failed) == (2, 1)
    assert "'trap:make' names code" in next(iter(report.failures.values()))
    assert not trap.exists()


def test_what_this_process_was_given_it_finds_again_in_the_store(store, trap):
    fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), model="trap:given")
    assert trap.exists()
    assert fk.complete_prompts(store).done == 1
    assert fk.generate_images(store, images_per_prompt=1).done == 1


def test_a_caller_may_still_say_what_draws_a_prompt_of_code(store, trap, fake_generator):
    fk.import_prompts(store, pd.DataFrame({"text": ["a cat"]}), model=fake_generator.name)
    with store.transaction() as con:
        con.execute("update prompts set model = 'nobody:made', status = 'completed'")
    assert fk.generate_images(store, images_per_prompt=1).failed == 1
    given = FakeGenerator("nobody:made")
    assert fk.generate_images(store, images_per_prompt=1, image_generator=given).done == 1


def test_the_environment_lists_what_data_may_name(trap, monkeypatch):
    with pytest.raises(UnknownModelError, match=f"{TRUST_VARIABLE}=trap:make"):
        load_stored_model("image_generator", "trap:make")
    assert not trap.exists()
    monkeypatch.setenv(TRUST_VARIABLE, "other:one, trap:make")
    assert load_stored_model("image_generator", "trap:make").name == "trap:make"
    with pytest.raises(UnknownModelError, match="names code"):
        load_stored_model("image_generator", "trap:other")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A model folder inside the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "models" / "own"
    folder.mkdir(parents=True)
    index = {"_class_name": "FluxPipeline", "vae": ["diffusers", "AutoencoderKL"], "safety_checker": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def test_data_may_name_a_folder_of_plain_weights_inside_the_working_folder_or_the_stores(folder, tmp_path, monkeypatch):
    assert load_stored_model("image_generator", "models/own").repo == "models/own"
    assert load_stored_model("image_generator", str(folder)).repo == str(folder)
    monkeypatch.chdir(Path(__file__).parent)
    with pytest.raises(UnknownModelError, match="lies outside"):
        load_stored_model("image_generator", str(folder))
    assert load_stored_model("image_generator", str(folder), within=tmp_path).repo == str(folder)
    monkeypatch.setenv(TRUST_VARIABLE, str(tmp_path))
    assert load_stored_model("image_generator", str(folder)).repo == str(folder)


def test_a_link_out_of_the_working_folder_is_no_way_to_a_model(folder, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "own").symlink_to(folder)
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(UnknownModelError, match="lies outside"):
        load_stored_model("image_generator", "own")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("unet/pytorch_model.bin", "x"),
        ("model.ckpt", "x"),
        ("vae/diffusion.PT", "x"),
        ("unet/my_unet.py", "raise SystemExit"),
        ("native.so", "x"),
        ("model_index.json", json.dumps({"_class_name": "FluxPipeline", "unet": ["trap", "UNet"]})),
        ("model_index.json", json.dumps({"_class_name": "FluxPipeline", "unet": ["os.path", "UNet"]})),
        ("model_index.json", json.dumps({"_class_name": ["my_pipeline", "Pipeline"]})),
        ("text_encoder/config.json", json.dumps({"auto_map": {"AutoModel": "evil/repo--modeling.Model"}})),
    ],
)
def test_a_folder_that_data_names_holds_no_code_and_no_pickles(folder, file, content):
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(content)
    with pytest.raises(UnknownModelError, match="code|pickled"):
        load_stored_model("image_generator", "models/own")


def test_a_model_folder_with_code_of_its_own_is_not_asked_about_but_refused(tmp_path, trap, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: "y")  # somebody who answers every question with yes
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "own.py").write_text(f"open({str(trap)!r}, 'w')\nclass C: ...\nclass M: ...\n")
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["own.C", None]}}))
    with pytest.raises(UnknownModelError, match="no weights could be loaded"):
        fk.load_model("language_model", str(folder)).generate(["hello"])
    assert not trap.exists()


@pytest.mark.parametrize("role", ["image_generator", "vision_model", "language_model"])
def test_hub_ids_and_known_names_are_for_everybody(role):
    assert load_stored_model(role, "owner/model-clip")
    with pytest.raises(UnknownModelError, match="is called"):
        load_stored_model(role, "nobody-knows")
