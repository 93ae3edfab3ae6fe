"""Names of pools: both the pool's and the model's settings are reached, records have the model's name, data starts nothing."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

import forgekit as fk
from forgekit.cli import command_line
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.models import LanguageModel, VisionModel, load_model, load_stored_model, recorded_name
from forgekit.models.naming import TRUST_VARIABLE, note_given, why_refused

NAME = "ray:mini?workers=8&gpus=0.5&batch_size=2"


def test_a_name_reaches_the_settings_of_the_pool_and_of_the_model_inside():
    pool = load_model("image_generator", NAME)
    assert (pool.share.workers, pool.share.gpus, pool.at_once) == (8, 0.5, 8)
    assert (pool.name, pool.batch_size, pool.world) == ("mini", 2, "figures")
    alone = load_model("image_generator", "mini")
    assert pool.default_parameters() == alone.default_parameters()
    assert pool.fits("a red circle " * 40) == alone.fits("a red circle " * 40) is False
    assert load_model("image_generator", "ray:mini?gpus=0.5&workers=8&batch_size=2") is pool
    assert load_model("image_generator", "mini") is alone


def test_a_pool_fulfils_the_contract_of_its_role_and_no_other():
    generator, words = load_model("image_generator", NAME), load_model("language_model", "ray:pool_models:Echo")
    assert hasattr(generator, "draw_each") and hasattr(generator, "describe")
    assert not hasattr(generator, "judge") and not hasattr(generator, "generate")
    assert isinstance(words, LanguageModel) and not isinstance(words, VisionModel)


def test_records_have_the_name_of_the_model_inside(store):
    assert recorded_name("image_generator", NAME) == "mini"
    assert recorded_name("image_generator", "ray:conftest:FakeGenerator?workers=2") == "conftest:FakeGenerator"
    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle"]}), model=NAME)
    assert store.rows("select model from prompts") == [{"model": "mini"}]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ray:mini?worker=8", "no setting 'worker'. Did you mean 'workers'"),
        ("ray:mini?workers=0", "workers = '0'.* should be greater than or equal to 1"),
        ("ray:mini?workers=many", "should be a valid integer"),
        ("ray:mini?gpus=-1", "should be greater than or equal to 0"),
        ("ray:http://localhost:8000/v1#name", "takes many requests at a time by itself"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_would_work(name, reason):
    with pytest.raises(ParameterError, match=reason):
        load_model("image_generator", name)


def test_the_environment_has_every_model_run_in_a_pool_but_those_behind_servers(monkeypatch):
    monkeypatch.setenv("FORGEKIT_RAY", "workers=3&address=head:6379")
    pool = load_model("vision_model", "mini-clip")
    assert (pool.at_once, pool.share.address, pool.adhering_at) == (3, "head:6379", 0.5)
    assert load_model("vision_model", "ray:mini-clip?workers=2").share.address == "head:6379"
    assert not hasattr(load_model("image_generator", "http://localhost:8000/v1#name"), "share")
    monkeypatch.setenv("FORGEKIT_RAY", "worker=3")
    with pytest.raises(ParameterError, match="unknown setting 'worker'. Did you mean 'workers'"):
        load_model("vision_model", "mini-clip")


def test_without_ray_a_pool_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "forgekit.models.ray_pool", None)
    with pytest.raises(UnknownModelError, match=r"pip install 'forgekit\[ray\]'"):
        load_model("image_generator", "ray:mini?workers=5")


def test_data_starts_no_workers_and_names_no_cluster(store, monkeypatch):
    given, other = "ray:mini?workers=77", "ray:mini?workers=77&address=elsewhere:6379"
    for name in (given, other, "ray:mini"):
        assert "starts workers on a cluster, which only you may do" in why_refused(name)
        with pytest.raises(UnknownModelError, match="starts workers"):
            load_stored_model("image_generator", name)
    report = fk.import_prompts(store, pd.DataFrame({"text": ["a dog", "a cat"], "model": [given, "mini"]}))
    assert (report.done, len(report.failures)) == (1, 1)
    note_given(given)
    assert load_stored_model("image_generator", given).at_once == 77
    with pytest.raises(UnknownModelError, match="starts workers"):
        load_stored_model("image_generator", other)
    monkeypatch.setenv(TRUST_VARIABLE, "ray:mini")
    assert why_refused("ray:mini") is None
    assert why_refused(other)


@pytest.mark.parametrize("command", ["complete", "generate", "evaluate", "refine"])
def test_the_command_line_takes_workers_and_the_address_of_a_cluster(command):
    bound = command_line().parse_args([command, "--workers", "8", "--ray", "head:6379"])[1]
    assert (bound.kwargs["workers"], bound.kwargs["ray"]) == (8, "head:6379")


def test_workers_of_the_command_line_are_those_of_its_models(store, monkeypatch, capsys):
    """An address where nobody is shows that it was knocked at."""
    from forgekit.cli import main

    fk.import_prompts(store, pd.DataFrame({"text": ["a red circle"]}), model="mini")
    fk.complete_prompts(store)
    assert main(["generate", "--store", str(store.path), "--workers", "2", "--ray", "127.0.0.1:1"]) == 1
    assert "no Ray at 127.0.0.1:1" in capsys.readouterr().out
    assert load_model("image_generator", "mini").name == "mini" and not hasattr(
        load_model("image_generator", "mini"), "share"
    )
