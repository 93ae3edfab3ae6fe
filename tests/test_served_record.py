"""What is recorded of models behind servers: each request with tokens and costs, as it comes, and no secrets."""

from __future__ import annotations

import _thread
import itertools
import threading
import time

import pandas as pd
import pytest
from PIL import Image
from served_models import answered, chat, drawing_server, judging_server, picture, serving, without_max_tokens

import forgekit as fk
from forgekit.errors import ParameterError, UnknownModelError
from forgekit.models import DrawRequest, Judgement, load_model, load_stored_model
from forgekit.models.language import EndpointLanguageModel
from forgekit.models.served_generator import ServedGenerator
from forgekit.models.server import Server
from forgekit.scene import list_elements

SCENES = pd.DataFrame({"prompt": ["a red circle", "a blue square", "a green star"]})
PARTS = "select prompt_id, request, response, ok, error_context, duration_ms from api_logs where stage = $stage and request ->> '$.call' is not null order by created_at"


def say_scene(path, body):
    """A language model that repeats the scene."""
    return chat(f"<PROMPT>{body['messages'][0]['content'].rpartition('Scene: ')[2].strip()}</PROMPT>")


def test_each_request_is_a_row_with_its_tokens_and_costs_and_the_cost_table_adds_them_up(store):
    priced = "price_per_million_input=2&price_per_million_output=10"
    with serving(say_scene) as text, serving(drawing_server()) as drawing, serving(judging_server()) as judging:
        generator = f"{drawing}#mini"
        fk.import_prompts(
            store,
            SCENES,
            model=generator,
            parameters={**load_model("image_generator", "mini").defaults, "num_inference_steps": 2},
        )
        fk.complete_prompts(store, language_model=f"{text}#writer?{priced}")
        fk.generate_images(store, images_per_prompt=1, image_generator=f"{generator}?price_per_image=0.03")
        fk.evaluate_images(store, vision_models=[f"{judging}#mini-fuyu?prompt={{}}&{priced}"])
    said = store.rows("select response from api_logs where stage = 'complete'")
    assert len(said) == 3
    for row in said:
        assert row["response"]["usage"] == {"prompt_tokens": 100, "completion_tokens": 10}
        assert row["response"]["cost"] == pytest.approx((100 * 2 + 10 * 10) / 1e6)
        assert (row["response"]["request_id"], row["response"]["retries"]) == ("asked-1", 0)
    drawn = store.rows(PARTS, stage="generate")
    assert len(drawn) == 4 and {row["response"]["cost"] for row in drawn} == {
        0.03
    }  # the first one twice, to see about seeds
    assert {row["prompt_id"] for row in drawn} == {row["id"] for row in store.rows("select id from prompts")}
    asked = store.rows(PARTS, stage="evaluate")
    questions = [row["request"].get("question") for row in asked]
    assert questions.count("Is it red?") == 1 and questions.count("Describe the image.") == 3
    assert all(row["ok"] and row["duration_ms"] > 0 for row in [*drawn, *asked])
    assert not any("base64" in str(row["request"]) for row in asked)
    table = fk.trends.cost(store).groupby(["stage", "endpoint"]).sum(numeric_only=True)
    assert table.loc[("complete", "writer"), ["calls", "requests", "prompt_tokens", "completion_tokens"]].tolist() == [
        3,
        3,
        300,
        30,
    ]
    assert table.loc[("generate", "mini"), "cost"] == pytest.approx(0.12)
    assert table.loc[("generate", "mini"), ["calls", "requests", "items"]].tolist() == [1, 4, 3]
    assert table.loc[("evaluate", "mini-fuyu"), "requests"] == len(asked)
    assert table.loc[("evaluate", "mini-fuyu"), "cost"] == pytest.approx(len(asked) * 300 / 1e6)


REFUSALS = (
    {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    },
    {"message": "not supported", "param": "max_tokens"},
)


@pytest.mark.parametrize("refusal", REFUSALS, ids=["by its message", "by its parameter"])
def test_a_server_that_refuses_max_tokens_is_asked_with_the_other_name_from_then_on(store, caplog, refusal):
    fk.import_prompts(store, SCENES, parameters={"num_inference_steps": 2})
    writing, judging = (without_max_tokens(model, **refusal) for model in (say_scene, judging_server(logprobs=False)))
    with serving(writing) as text, serving(judging) as seen:
        assert fk.complete_prompts(store, language_model=f"{text}#writer?in_flight=1&max_tokens=77").failures == {}
        fk.generate_images(store, images_per_prompt=1)
        judged = fk.evaluate_images(store, vision_models=[f"{seen}#mini-fuyu?prompt={{}}&samples=2"])
    assert (judged.done, judged.failures) == (3, {})
    answers = [
        row["response"]["requests"]
        for row in store.rows("select response from api_logs where stage = 'complete' order by created_at")
    ]
    assert answers == [2, 1, 1]
    told = [record.getMessage() for record in caplog.records if "max_completion_tokens" in record.getMessage()]
    assert [line.split()[0] for line in told] == ["writer", "mini-fuyu"]
    asked = [row["request"] for row in store.rows(PARTS, stage="evaluate")]
    assert ["max_tokens" in request for request in asked].count(True) == 2  # with logprobs and without
    assert {request["max_completion_tokens"] for request in asked if "max_tokens" not in request} == {1, 16, 40}


@pytest.mark.parametrize(
    ("message", "asked"),
    [("'max_tokens' or 'max_completion_tokens' is too large: 2048", 2), ("'temperature' must be 1 with this model", 1)],
)
def test_another_refusal_stays_the_reason(message, asked):
    bodies = []
    with serving(lambda path, body: (bodies.append(body), answered({"error": {"message": message}}, 400))[1]) as url:
        [said] = EndpointLanguageModel("m", url, "m").generate(["a"])
    assert message in said.reason and len(bodies) == asked


def test_no_price_is_no_cost_and_unknown_tokens_have_none():
    plain = Server("m", "http://h/v1", "m")
    assert plain.cost({"prompt_tokens": 5, "completion_tokens": 1}) is None
    priced = Server("m", "http://h/v1", "m", price_per_million_input=3.0, price_per_image=0.5)
    assert priced.cost({}, images=1) is None
    assert priced.cost({"prompt_tokens": 1_000_000}, images=2) == pytest.approx(4.0)


def test_a_failed_request_is_a_row_with_its_retries_and_reason(store, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    tries = itertools.count()
    fk.import_prompts(store, SCENES.head(1))
    with serving(lambda *_: chat("x") if next(tries) > 9 else answered({"error": {"message": "busy"}}, 503)) as url:
        report = fk.complete_prompts(store, language_model=f"{url}#writer?retries=2")
    assert "busy" in next(iter(report.failures.values()))
    [row] = store.rows("select ok, response, error_context from api_logs where stage = 'complete'")
    assert not row["ok"] and row["response"]["retries"] == 2 and "503: busy" in str(row["error_context"])


def test_pictures_that_came_before_an_interruption_are_kept_and_not_paid_for_again(store):
    seen, lock = [], threading.Lock()

    def draws(path, body):
        with lock:
            seen.append(body["prompt"])
            number = len(seen)
        if number == 4:  # the first is drawn twice
            while store.rows("select count(*) as n from generated_images")[0]["n"] < 2:
                time.sleep(0.01)
            _thread.interrupt_main()
            return None
        return picture(Image.new("RGB", (8, 8), (body["seed"] % 256, 0, 0)))

    with serving(draws) as url:
        address = f"{url}#flux?in_flight=1&retries=0"
        fk.import_prompts(store, SCENES, model=f"{url}#flux")
        fk.complete_prompts(store, template="{scene}")
        with pytest.raises(KeyboardInterrupt):
            fk.generate_images(store, images_per_prompt=2, image_generator=address)
        [kept] = store.rows("select count(*) as n from generated_images")
        assert kept["n"] == 2 and len(store.rows(PARTS, stage="generate")) >= 3
        seen[:] = [""] * 10
        fk.generate_images(store, images_per_prompt=2, image_generator=address)
    assert len(seen) == 10 + 4


def test_verdicts_come_one_by_one_and_those_that_came_are_kept(store):
    class OneByOne:
        name, adhering_at, judge_key = "one-by-one", 0.5, "key"

        def judge(self, images, scenes):
            raise AssertionError("it is asked by judge_each")

        def judge_each(self, images, scenes):
            scores = [{e.key: 0.9 for e in list_elements(scene.elements)} for scene in scenes]
            yield [(1, Judgement(scores[1], 0.9))]
            [row] = store.rows("select count(*) as n from image_evaluations")
            assert row["n"] == 1
            raise KeyboardInterrupt

    fk.import_prompts(store, SCENES, parameters={"num_inference_steps": 2})
    fk.complete_prompts(store)
    fk.generate_images(store, images_per_prompt=1)
    with pytest.raises(KeyboardInterrupt):
        fk.evaluate_images(store, vision_models=[OneByOne()])
    assert len(store.rows("select id from image_evaluations where error is null")) == 1


def test_conversations_run_side_by_side_and_no_more_than_was_said(store):
    now, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(4, timeout=100)

    def writer(path, body):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        with lock:
            now[0] -= 1
        return say_scene(path, body)

    texts = [f"a {color} {shape}" for color in ("red", "blue") for shape in ("circle", "square", "star", "heart")]
    fk.import_prompts(store, pd.DataFrame({"prompt": texts}))
    with serving(writer) as url:
        report = fk.complete_prompts(store, language_model=f"{url}#writer?in_flight=4")
    assert (report.done, report.failed, most[0]) == (8, 0, 4)
    assert len(store.rows("select id from api_logs where stage = 'complete' and ok")) == 8


WITH_SECRETS = (
    "http://me:canary@127.0.0.1:9/v1#m",
    "http://127.0.0.1:9/v1?key=canary#m",
    "http://me:canary@127.0.0.1:9/v1",
)


@pytest.mark.parametrize("address", WITH_SECRETS)
@pytest.mark.parametrize("role", ["image_generator", "vision_model", "language_model"])
def test_an_address_with_a_secret_is_refused_and_the_secret_not_repeated(role, address, monkeypatch):
    with pytest.raises(ParameterError) as caught:
        load_model(role, address)
    assert "canary" not in str(caught.value) and "127.0.0.1:9" in str(caught.value)
    monkeypatch.setenv("FORGEKIT_TRUSTED_MODELS", address)
    with pytest.raises(UnknownModelError) as caught:
        load_stored_model(role, address)
    assert "canary" not in str(caught.value)


def test_secrets_stand_nowhere(store, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    monkeypatch.setenv("FORGEKIT_TRUSTED_MODELS", WITH_SECRETS[0])

    def signed(path, body):
        if path.startswith("/v1/picture"):
            return answered({"error": "gone"}, 404)
        return answered({"data": [{"url": f"{url}/picture.png?signature=canary-url"}]})

    rows = pd.DataFrame({"prompt": ["a red circle", "a star"], "model": [None, WITH_SECRETS[0]]})
    with serving(signed) as url:
        told = [fk.import_prompts(store, rows, model=f"{url}#flux"), fk.complete_prompts(store, template="{scene}")]
        told.append(fk.generate_images(store, images_per_prompt=1, image_generator=f"{url}#flux?retries=0"))
        assert "404" in str(told[-1])
        with store.transaction() as con:  # as in a store that came by mail
            con.execute("update prompts set model = $model", {"model": WITH_SECRETS[0]})
        told.append(fk.generate_images(store, images_per_prompt=1))
        with store.transaction() as con:
            con.execute("update prompts set model = 'mini'")
    assert "canary" not in "".join(map(str, told)) + "".join(capfd.readouterr())
    logs = store.rows(
        "select cast(request as varchar) || cast(response as varchar) || cast(error_context as varchar) || endpoint as said from api_logs"
    )
    assert "canary" not in str(logs)


def test_settings_stand_behind_the_model_and_data_may_give_none(monkeypatch):
    given = load_model("language_model", "http://127.0.0.1:9/v1#org/m?in_flight=3&api_key_variable=MY_KEY")
    assert (given.name, given.base_url, given.in_flight) == ("org/m", "http://127.0.0.1:9/v1", 3)
    assert given.api_key_variable == "MY_KEY" and isinstance(given, EndpointLanguageModel)
    monkeypatch.setenv("FORGEKIT_TRUSTED_MODELS", "http://127.0.0.1:7/v1#m")
    assert isinstance(load_stored_model("image_generator", "http://127.0.0.1:7/v1#m"), ServedGenerator)
    with pytest.raises(UnknownModelError, match="address on a network"):
        load_stored_model("image_generator", "http://127.0.0.1:7/v1#m?api_key_variable=AWS_SECRET_ACCESS_KEY")


def test_the_key_of_a_server_goes_to_that_server_alone(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")
    own: list[dict[str, str]] = []
    others: list[dict[str, str]] = []
    with serving(lambda *_: picture(Image.new("RGB", (8, 8))), others) as other:  # noqa: SIM117
        with serving(lambda *_: answered({"data": [{"url": f"{other}/p.png"}]}), own) as url:
            ServedGenerator("m", url, "m", retries=0).draw([DrawRequest("a", 1)])
    assert "canary-key" in str(own) and len(others) == 1 and "canary-key" not in str(others)
