"""What a server's answers say: the odds of the possible answers to a question, by logprobs of the next word or by samples."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.errors import ParameterError
from forgekit.models.choices import Choices, Tokens, spellings
from forgekit.models.vqa import YES_NO, Ask
from forgekit.scene.language.json_answers import spoken

UNSEEN = 0.02  # probability of answers that need not be told apart
MOST = 1.01  # sum of probabilities, with what rounding adds
SPACES = str.maketrans("▁Ġ", "  ")  # how tokens may write a space
MARKS = " \t\n.,;:!?\"'`*()[]"
Odds = Mapping[str, float]


def spelt(choices: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return a benchmark's choices, each with the ways to write it."""
    return {choice: spellings(choice) for choice in choices}


def token_odds(position: Any) -> tuple[str, dict[str, float]]:
    """Return the token that was taken, and the probabilities of the likeliest ones, by their text.

    Raises:
        ValueError: they are no probabilities.
    """
    odds: dict[str, float] = defaultdict(float)
    for token in position.top_logprobs:
        odds[token.token.translate(SPACES)] += math.exp(min(token.logprob, 1.0))
    if not sum(odds.values()) <= MOST:
        raise ValueError(f"its logprobs are none: {sum(odds.values())} in all")
    return position.token.translate(SPACES), odds


def of_logprobs(ask: Ask, answers: Sequence[Any]) -> tuple[Odds, float]:
    """Return the odds of the possible answers, and the probability of other words that answer the question.

    Raises:
        ParameterError: the answers cannot be told apart by what the server says.
    """
    [positions] = answers
    first = positions[0][1]
    if not ask.named:
        return {answer: sum(first[form] for form in forms) for answer, forms in ask.options.items()}, 0.0
    path = [token for token, _ in positions]
    choices = Choices.of(list(ask.options), lambda form: _tokens(form, positions))
    known = {tuple(path[:place]): odds for place, (_, odds) in enumerate(positions)}
    for start in choices.beginnings:
        if start not in known and first[start[0]] > UNSEEN:
            told = "".join(path)
            raise ParameterError(
                f"its likeliest answer, {told!r}, does not tell those apart that begin with {start[0]!r}"
            )
    odds = choices.chances({start: known.get(start, defaultdict(float)) for start in choices.beginnings})
    return odds, sum(first[form] for form in ask.others)


def _tokens(form: str, positions: Sequence[tuple[str, Odds]]) -> Tokens:
    """Return an answer in the tokens that were seen, as far as the likeliest answer goes; what is left of it as one more."""
    tokens: tuple[str, ...] = ()
    for taken, odds in positions:
        token = max((seen for seen in odds if seen and form.startswith(seen)), key=len, default="")
        if not token:
            break
        tokens, form = (*tokens, token), form[len(token) :]
        if token != taken or not form:
            break
    return (*tokens, form) if form else tokens


def typed_question(ask: Ask) -> dict[str, Any]:
    """Return a question as `/v1/systemone` takes it; it has its own words for how to answer."""
    if ask.options.keys() == YES_NO.keys():
        return {"type": "noul", "instructions": ask.question}
    return {"type": "choice", "instructions": ask.question, "criteria": dict.fromkeys(ask.options)}


def typed_odds(question: Mapping[str, Any], answer: Mapping[str, Any]) -> Odds:
    """Return the odds of the answers that `typed_question` allows, which sum to 1. Raises ValueError: there are none in `answer`."""
    yes = answer.get("noul", math.nan)
    odds = {"yes": yes, "no": 1 - yes} if question["type"] == "noul" else dict(answer.get("probabilities") or {})
    if (
        odds.keys() != question.get("criteria", odds).keys()
        or not abs(sum(odds.values()) - 1) < MOST - 1
        or min(odds.values()) < 0
    ):
        raise ValueError(
            f"it gave no probability of each allowed answer to {question['instructions']!r}: {answer}"[:500]
        )
    return odds


def of_samples(ask: Ask, answers: Sequence[str]) -> tuple[Odds, float]:
    """Return which share of the samples gave each possible answer, and which share answered the question at all."""
    known = {form.strip().casefold(): answer for answer, forms in ask.options.items() for form in forms}
    others = {form.strip().casefold(): "" for form in ask.others}
    found = [_found(answer, {**others, **known}) for answer in answers]
    odds = {answer: found.count(answer) / len(answers) for answer in ask.options}
    return odds, sum(each is not None for each in found) / len(answers)


def _found(text: str, known: Mapping[str, str]) -> str | None:
    """Return which of the known answers a text is, or begins with; the longest one counts."""
    told = spoken(text).strip(MARKS).casefold()
    for form in sorted(known, key=len, reverse=True):
        if told == form or (told.startswith(form) and not told[len(form)].isalnum()):
            return known[form]
    return None
