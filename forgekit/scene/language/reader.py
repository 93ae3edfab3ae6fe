"""A language model reads a scene: it is asked, its answer is checked, and what is wrong with it is told to the next attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.scene.language.answer import PARTS, AnswerCheck, Checked
from forgekit.scene.language.content_words import TextWords, is_english_word, words_of
from forgekit.scene.language.json_answers import json_objects
from forgekit.scene.language.request import SCHEMA, TEMPLATE, reading_request
from forgekit.scene.lexicon import Lexicon

ATTEMPTS = 3
SHARE = 0.5  # of an answer's parts that must stand in the text, of its words that must be English, of the text it must cover
TOLD = 8  # reasons of one answer that the next attempt is told
# Settings of a model that say where it is, how it is reached and what it costs, not what it does.
PRIVATE = ("name", "base_url", "api_key_variable", "timeout_s", "retries", "in_flight", "total_s", "send_seed")
PRICE = "price_"


def generate(model: Any, request: str, schema: Mapping[str, Any] | None) -> str | ItemError:
    """Return a model's answer to one request, with the JSON Schema where it takes one."""
    if schema is not None and hasattr(model, "generate_json"):
        answers = model.generate_json([request], schema)
    else:
        answers = model.generate([request])
    if not isinstance(answers, list | tuple) or len(answers) != 1 or not isinstance(answers[0], str | ItemError):
        name = getattr(model, "name", model)
        return ItemError(f"{name} answered one request with {answers!r:.100}; it must be one text")
    return answers[0]


@dataclass(frozen=True)
class LanguageReader:
    """Who reads scenes by a language model. `ask` takes the model, a request and its JSON Schema, or None, to the answer."""

    model: Any
    ask: Callable[[Any, str, Mapping[str, Any] | None], str | ItemError] = generate
    attempts: int = ATTEMPTS

    def __post_init__(self) -> None:
        """Refuse what is no language model.

        Raises:
            ParameterError: the model is a name, which only `forgekit.load_model` can look up, or cannot generate.
        """
        if not hasattr(self.model, "generate"):
            raise ParameterError(
                f"language_model={self.model!r} is no language model; give an object that generates text, such as "
                'forgekit.load_model("language_model", NAME)'
            )

    def read(self, text: str, lexicon: Lexicon) -> tuple[dict[str, Any] | None, dict[str, Any]]:
        """Return the elements of a scene, None where no answer can be used and the rules have to serve, and `read_by`."""
        words = TextWords(text, lexicon)
        name = str(getattr(self.model, "name", type(self.model).__name__))
        inside = getattr(self.model, "inside", self.model)  # of a pool of workers
        told = {"model": name, "settings": settings_of(inside), "template": TEMPLATE}
        refused: list[str] = []
        failed: list[str] = []
        for attempt in range(1, self.attempts + 1):
            # An endpoint that failed may be one that cannot bear the schema.
            answer = self.ask(self.model, reading_request(text, refused), None if failed else SCHEMA)
            if isinstance(answer, ItemError):
                failed.append(answer.reason)
                continue
            checked = _best(answer, words)
            if isinstance(checked, Checked):
                about = {"attempts": attempt, "uncovered": words.uncovered(checked.words), "dropped": checked.dropped}
                return checked.document, {"reader": "language model", **told, **about}
            refused.append(checked)
        return None, {**told, "attempts": self.attempts, "refused": [*refused, *failed]}


def settings_of(model: Any) -> dict[str, Any]:
    """Return the settings that a model's answers depend on, as far as they are plain values."""
    values = {each.name: getattr(model, each.name) for each in fields(model)} if is_dataclass(model) else {}
    public = {name: value for name, value in values.items() if name not in PRIVATE and not name.startswith(PRICE)}
    return {name: value for name, value in public.items() if value is None or isinstance(value, str | int | float)}


def _best(answer: str, text: TextWords) -> Checked | str:
    """Return the last object of an answer that has what was asked for, checked; or why the answer cannot be used."""
    found = [inner for each in json_objects(answer) if (inner := _unwrapped(each))]
    if not found:
        return f"it is no JSON object with the keys {', '.join(PARTS)}"
    checked = AnswerCheck(text).check(found[-1])
    return _why_unfit(checked, text) or checked


def _unwrapped(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return an object that has a key of those asked for, itself or as the value of its only key."""
    if set(PARTS) & {key for key in found if isinstance(key, str)}:
        return found
    inner = next(iter(found.values()), None)
    return _unwrapped(inner) if len(found) == 1 and isinstance(inner, Mapping) else None


def _why_unfit(checked: Checked, text: TextWords) -> str:
    """Return what is wrong with an answer as a whole, or ""."""
    dropped, content = "; ".join(checked.dropped[:TOLD]), text.uncovered()
    if not checked.words:
        return f"it lists nothing that the prompt says{': ' * bool(dropped)}{dropped}"
    if len(checked.dropped) > len(checked.words):
        return dropped
    english = [word.word for said in checked.english for word in words_of(said)]
    known = sum(is_english_word(word, text.lexicon) for word in english)
    if not text.is_english and len(english) > 1 and known < SHARE * len(english):
        return f"{', '.join(checked.english[:TOLD])}: names, values and predicates must be in English"
    left = text.uncovered(checked.words)
    if len(left) > SHARE * len(content):
        return f"it leaves out {', '.join(left[:TOLD])}"
    return ""
