"""Image generators behind a server: the same pictures as here, and whatever a server does costs its own request only."""

from __future__ import annotations

import io
import itertools
import threading
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from served_models import answered, drawing_server, picture, serving

import forgekit as fk
from forgekit.errors import ItemError, ParameterError, UnknownModelError
from forgekit.models import Drawing, DrawRequest, load_model, load_stored_model
from forgekit.models.served_generator import ServedGenerator

FEW = {"num_inference_steps": 2}
PROMPTS = ("a red circle", "a blue square", "a green star")


@pytest.fixture
def quick(monkeypatch):
    """Make the client's pauses between tries short."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)


def generator(base_url: str, **settings) -> ServedGenerator:
    return ServedGenerator("served", base_url, "mini", **settings)


def test_the_same_prompts_give_the_same_pictures_here_and_through_a_server(store, tmp_path):
    texts = pd.DataFrame({"prompt": PROMPTS})
    with serving(drawing_server()) as url:
        address = f"{url}#mini-served"
        other = fk.open_store(tmp_path / "served" / "forge.duckdb")
        for place, model in ((store, "mini"), (other, address)):
            parameters = FEW if model == "mini" else {**load_model("image_generator", "mini").defaults, **FEW}
            fk.import_prompts(place, texts, model=model, parameters=parameters)
            fk.complete_prompts(place, template="{scene}")
            report = fk.generate_images(place, images_per_prompt=2)
            assert (report.done, report.failures) == (3, {})
    drawn = "select generation_metadata as m, image_path, prompt_text, image_index from generated_images i join prompts p on p.id = i.prompt_id order by prompt_text, image_index"
    for here, there in zip(store.rows(drawn), other.rows(drawn), strict=True):
        pixels = [
            np.asarray(Image.open(place.folder / row["image_path"]), int)
            for place, row in ((store, here), (other, there))
        ]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1  # sums in batches of different sizes
        assert here["m"]["seed"] == there["m"]["seed"] and there["m"]["seed_honoured"] is True
        assert there["m"]["repo"] == address


def test_a_server_that_ignores_seeds_is_found_out():
    count = itertools.count()
    with serving(lambda path, body: picture(Image.new("RGB", (8, 8), (next(count), 0, 0)))) as url:
        drawn = generator(url).draw([DrawRequest("a", seed) for seed in range(3)])
    assert [d.metadata["seed_honoured"] for d in drawn] == [False] * 3
    assert next(count) == 4  # one more than was asked for


def test_what_the_server_does_not_know_is_told_and_not_dropped():
    with serving(drawing_server()) as url:
        wrong, right = generator(url).draw(
            [DrawRequest("a red circle", 1, {**FEW, "sharpness": 3}), DrawRequest("a red circle", 1, FEW)]
        )
    assert isinstance(wrong, ItemError) and "400" in wrong.reason and "sharpness" in wrong.reason
    assert isinstance(right, Drawing)


def test_pictures_behind_an_address_are_fetched():
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")

    def answer(path, body):
        if path == "/v1/picture.png":
            return 200, {"content-type": "image/png"}, file.getvalue()
        return answered({"created": 1, "data": [{"url": f"{url}/picture.png"}]})

    with serving(answer) as url:
        (drawn,) = generator(url).draw([DrawRequest("a", 1)])
    assert drawn.image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda *_: answered({"error": {"message": "overloaded"}}, 500), "500: overloaded"),
        (lambda *_: answered({"error": {"message": "slow down"}}, 429, **{"retry-after": "0.01"}), "429: slow down"),
        (lambda *_: answered({"data": [{"b64_json": "bm8gcGljdHVyZQ=="}]}), "10 bytes that are no picture"),
        (lambda *_: answered({"data": []}), "IndexError"),
        (lambda *_: answered({"data": [{}]}), "without a picture"),
        (lambda *_: (200, {"content-type": "application/json"}, b"{broken"), "JSONDecodeError"),
        (lambda *_: (200, {"content-type": "text/html"}, b"<html>login</html>"), "served at"),
        (lambda *_: time.sleep(2), "APITimeoutError"),
        (lambda *_: None, "APIConnectionError"),
    ],
    ids=["500", "429", "no picture", "empty", "nothing", "broken", "html", "hangs", "cut"],
)
def test_whatever_a_server_does_is_a_reason(quick, answer, reason):
    with serving(answer) as url:
        results = generator(url, timeout_s=0.3, retries=1).draw([DrawRequest("a", 1), DrawRequest("b", 2)])
    assert all(isinstance(result, ItemError) and reason in result.reason for result in results), results


def test_a_server_that_fails_now_and_then_loses_nothing(quick):
    draw, tries, lock = drawing_server(), itertools.count(), threading.Lock()

    def flaky(path, body):
        with lock:
            number = next(tries)
        if number % 3 == 0:
            return answered({"error": {"message": "busy"}}, 503)
        return None if number % 3 == 1 else draw(path, body)

    with serving(flaky) as url:
        drawn = generator(url, retries=8, in_flight=2).draw([DrawRequest(text, 1, FEW) for text in PROMPTS])
    assert all(isinstance(d, Drawing) for d in drawn)
    assert any(d.metadata["retries"] for d in drawn)


def test_no_more_requests_are_in_flight_than_was_said():
    now, most, lock = [0], [0], threading.Lock()

    def answer(path, body):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with lock:
            now[0] -= 1
        return picture(Image.new("RGB", (8, 8)))

    with serving(answer) as url:
        generator(url, in_flight=4).draw([DrawRequest("a", seed) for seed in range(12)])
    assert most[0] == 4


def test_a_server_that_is_not_there_is_the_failure_of_its_prompts(store, quick):
    fk.import_prompts(store, pd.DataFrame({"prompt": ["a red circle"]}), model="http://127.0.0.1:9/v1#nobody")
    fk.complete_prompts(store)
    report = fk.generate_images(store, images_per_prompt=1)
    (reason,) = report.failures.values()
    assert "nobody at http://127.0.0.1:9/v1" in reason and "Connection" in reason


def test_keys_come_from_the_environment_and_stand_nowhere(monkeypatch):
    seen = []
    monkeypatch.setenv("OPENAI_API_KEY", "canary-key")

    def answer(path, body):
        seen.append(body)
        return picture(Image.new("RGB", (8, 8)))

    with serving(answer) as url:
        model = load_model("image_generator", f"{url}#flux")
        (drawn,) = model.draw([DrawRequest("a", 1)])
    assert "canary" not in repr(model) + repr(drawn.metadata) + repr(seen)
    with pytest.raises(ParameterError, match="holds a password") as caught:
        load_model("image_generator", "http://me:canary-word@host/v1#flux")
    assert "canary" not in str(caught.value)


def test_data_may_name_no_server():
    with pytest.raises(UnknownModelError, match="address on a network"):
        load_stored_model("image_generator", "http://127.0.0.1:9/v1#other")
