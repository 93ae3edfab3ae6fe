"""Language models: a tiny random one through the real loader, and a real HTTP endpoint on loopback."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from forgekit.errors import ItemError, UnknownModelError
from forgekit.models import LanguageModel, load_model
from forgekit.models.language import EndpointLanguageModel


def test_a_local_folder_loads_as_a_language_model_and_answers_the_same_twice(tiny_model):
    model = load_model("language_model", tiny_model)
    assert isinstance(model, LanguageModel)
    first, second = model.generate(["a red circle", "a red circle"])
    assert isinstance(first, str)
    assert first == second


def test_a_folder_without_weights_says_so(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "qwen3"}')
    with pytest.raises(UnknownModelError, match="no weights could be loaded"):
        load_model("language_model", str(tmp_path)).generate(["hello"])


class Handler(BaseHTTPRequestHandler):
    """Answers chat requests with what was asked and the key that came along; fails on "fail"."""

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = body["messages"][0]["content"]
        self.send_response(400 if asked == "fail" else 200)
        self.end_headers()
        answer = f" {body['model']}: {asked} ({self.headers['Authorization']}) "
        self.wfile.write(json.dumps({"choices": [{"message": {"content": answer}}]}).encode())

    def log_message(self, *arguments):
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_an_endpoint_is_asked_with_the_key_from_the_environment(endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    model = load_model("language_model", f"{endpoint}#llama")
    answers = model.generate(["hello", "fail", "bye"])
    assert answers[0] == "llama: hello (Bearer secret)"
    assert isinstance(answers[1], ItemError)
    assert answers[2] == "llama: bye (Bearer secret)"
    assert "secret" not in repr(model)


def test_an_endpoint_that_is_down_fails_item_by_item():
    model = EndpointLanguageModel("down", "http://127.0.0.1:9/v1", "llama", retries=0, timeout_s=2)
    [answer] = model.generate(["hello"])
    assert isinstance(answer, ItemError)
    assert "127.0.0.1:9" in answer.reason
