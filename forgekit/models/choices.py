"""The odds of several allowed answers, which may be of many tokens and may begin alike: "a cat", "a dog"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ParameterError

Tokens = tuple[Any, ...]  # their numbers; or their texts, where only a server knows the numbers
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def spellings(answer: str) -> tuple[str, ...]:
    """Return how a model may write an answer; a number in figures is also one in words."""
    forms = (answer, answer[:1].upper() + answer[1:], f" {answer}", f" {answer[:1].upper()}{answer[1:]}")
    if answer.isdigit() and int(answer) < len(NUMBERS):
        word = NUMBERS[int(answer)]
        return (*forms, word, word.title(), f" {word}")
    if answer.lower() in NUMBERS:
        number = NUMBERS.index(answer.lower())
        return (*forms, str(number), f" {number}")
    return forms


@dataclass(frozen=True)
class Choices:
    """Answers as tokens. The odds of one are those of its first token, shared out where others begin with that token.

    Shared out among the tokens that some answer goes on with and, where an answer ends, all others: as a decoder that may
    write nothing but these answers goes. So a long answer is no less likely for its length.
    """

    answers: Mapping[Tokens, str]

    @classmethod
    def of(cls, choices: Sequence[str], token_ids: Callable[[str], Tokens]) -> Choices:
        """Return the answers as tokens. Raises ParameterError: the model has no tokens for one of them, or the same for two."""
        answers: dict[Tokens, str] = {}
        for choice in choices:
            ways = {ids for form in spellings(choice) if (ids := token_ids(form))}
            if not ways:
                raise ParameterError(f"the model has no words for {choice!r}")
            if taken := next((answers[ids] for ids in ways if ids in answers), None):
                raise ParameterError(f"{choice!r} and {taken!r} are the same to the model")
            answers |= dict.fromkeys(ways, choice)
        return cls(answers)

    @property
    def beginnings(self) -> list[Tokens]:
        """The tokens after which the next one must be known: none, and those that several answers begin with."""
        begun = {ids[:length] for ids in self.answers for length in range(1, len(ids) + 1)}
        return [(), *sorted(start for start in begun if len(set(self._under(start).values())) > 1)]

    def chances(self, next_word: Mapping[Tokens, Any]) -> dict[str, float]:
        """Return the probability of each answer, by those of the next word, by token, after each beginning."""
        chances = dict.fromkeys(self.answers.values(), 0.0)
        for first in {ids[:1] for ids in self.answers}:
            for choice, share in self._shares(first, next_word).items():
                chances[choice] += float(next_word[()][first[0]]) * share
        return chances

    def _under(self, start: Tokens) -> dict[Tokens, str]:
        return {ids: choice for ids, choice in self.answers.items() if ids[: len(start)] == start}

    def _shares(self, start: Tokens, next_word: Mapping[Tokens, Any]) -> dict[str, float]:
        """Return how the answers that begin with `start` share its probability; the shares sum to 1."""
        under = self._under(start)
        if len(set(under.values())) == 1:
            return dict.fromkeys(under.values(), 1.0)
        words = next_word[start]
        ways = {ids[: len(start) + 1]: float(words[ids[len(start)]]) for ids in under if len(ids) > len(start)}
        ends = max(0.0, 1.0 - sum(ways.values())) if start in under else 0.0
        total = sum(ways.values()) + ends
        shares = dict.fromkeys(under.values(), 0.0)
        for way, chance in ways.items():
            for choice, share in self._shares(way, next_word).items():
                shares[choice] += share * (chance / total if total else 1 / len(ways))
        if start in under:
            shares[under[start]] += ends / total if total else 0.0
        return shares
