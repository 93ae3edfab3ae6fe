"""Two hundred scenes in three languages, and what a language model answers about them: rightly, or in a way in which models fail."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Any

ENGLISH = ["red", "green", "yellow", "grey"], ["cup", "clock", "kite"], ["old", "wooden"], ["basket", "ladder", "shelf"]
WORDS = {  # of each language: the scene, its colours, first things, adjectives and second things as they stand, "next to"
    "en": ("a {} {} next to an {} {}", *ENGLISH, "next to"),
    "de": (
        "ein {} {} neben einem {} {}",
        ["roter", "grüner", "gelber", "grauer"], ["Becher", "Wecker", "Drachen"],
        ["alten", "hölzernen"], ["Korb", "Tritt", "Schrank"],
        "neben",
    ),
    "es": (
        "un {1} {0} junto a un {3} {2}",
        ["rojo", "verde", "amarillo", "gris"], ["vaso", "reloj", "barrilete"],
        ["viejo", "leñoso"], ["cesto", "peldaño", "estante"],
        "junto a",
    ),
}  # fmt: skip


def _element(words: str, name: str, adjective: str, kind: str, value: str) -> dict[str, Any]:
    return {
        "words": words,
        "name": name,
        "count": 1,
        "attributes": [{"words": adjective, "kind": kind, "value": value}],
    }


def _right_answers() -> dict[str, dict[str, Any]]:
    answers = {}
    for choice in product(range(4), range(3), range(2), range(3)):
        color, first, adjective, second = (each[i] for each, i in zip(ENGLISH, choice, strict=True))
        for text, *words, beside in WORDS.values():
            said = [each[i] for each, i in zip(words, choice, strict=True)]
            kind = "material" if adjective == "wooden" else "other"
            answers[text.format(*said)] = {
                "objects": [
                    _element(said[1], first, said[0], "color", color),
                    _element(said[3], second, said[2], kind, adjective),
                ],
                "relations": [{"words": beside, "subject": 0, "predicate": "next to", "object": 1}],
                "background": None,
                "style": None,
                "rendered_text": [],
                "negations": [],
            }
    return dict(list(answers.items())[:200])


RIGHT = _right_answers()  # the scene texts, each with the answer that says what it asks for
SCENES = list(RIGHT)


def _in_words_of(answer: dict[str, Any], text: str) -> dict[str, Any]:
    """The answer with everything left in the text's own language, or, where that is English, in another one."""
    if text.startswith("a "):
        return {"objects": [{"words": "Tasse", "name": "Tasse", "count": 1, "attributes": []}]}
    objects = [
        {**each, "name": each["words"], "attributes": [{**a, "value": a["words"]} for a in each["attributes"]]}
        for each in answer["objects"]
    ]
    return {**answer, "objects": objects}


def wrong(kind: str, text: str) -> str:
    """A bad answer about a scene."""
    right = RIGHT[text]
    invented = [{"words": word, "name": word, "count": 1, "attributes": []} for word in ("unicorn", "castle", "moon")]
    return {
        "no JSON": f"Sure! The scene shows {text}. It is a lovely picture, and I hope that this helps.",
        "cut": json.dumps(right)[:120],
        "wrong keys": json.dumps({"entities": right["objects"], "edges": right["relations"]}),
        "invented": json.dumps({**right, "objects": invented, "relations": []}),
        "wrong language": json.dumps(_in_words_of(right, text)),
        "empty": "",
    }[kind]


WAYS = ("no JSON", "cut", "wrong keys", "invented", "wrong language", "empty", "500")


@dataclass
class Recorded:
    """What the endpoint does about each scene: which are answered badly, how, and whether for good; and what it was asked."""

    bad: dict[str, str] = field(default_factory=dict)  # by scene: the way
    once: set[str] = field(default_factory=set)  # scenes that are answered rightly when asked again
    bodies: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    takes_schema: bool = True
    down: bool = False

    def answer(self, body: dict[str, Any]) -> tuple[int, str]:
        """The status and the text of an answer."""
        text = body["messages"][0]["content"].rsplit("Prompt: ", 1)[1].splitlines()[0]
        self.bodies.append(body)
        if "response_format" in body and not self.takes_schema:
            return 400, "response_format is not supported"
        way = None if text in self.once and text in self.asked else self.bad.get(text)
        self.asked.append(text)
        if way == "500" or self.down:
            return 500, "out of memory"
        return 200, wrong(way, text) if way else f"```json\n{json.dumps(RIGHT[text], ensure_ascii=False)}\n```"


@contextmanager
def serving(recorded: Recorded) -> Iterator[str]:
    """An OpenAI-compatible endpoint on loopback that answers as recorded; yields its base address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            status, text = recorded.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            content = json.dumps({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
