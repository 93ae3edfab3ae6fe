"""Templates: one text with choices in it stands for many scene texts.

    {red|blue}              one of them; an empty choice is allowed: {very |}big
    {2$$a|b|c}              two different ones, in the order given, joined by ", "
    {1-2$$ and $$a|b|c}     one or two, joined by " and "
    __colors__              a line of colors.txt in the wildcard folder; __animals/birds__ of animals/birds.txt
    \\{ \\| \\} \\_           the character itself

Choices and wildcard lines may hold templates. Every template stands for a numbered list of expansions, so an expansion
depends on the template (and its wildcard files), the seed and its number alone, never on other rows or their order.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from forgekit.errors import ParameterError, did_you_mean
from forgekit.sources.files import files_below

if TYPE_CHECKING:
    import pandas as pd

MOST_EXPANSIONS = 100_000
TOKEN = re.compile(r"\\[{}|_$\\]|__(?P<wildcard>[^\W_](?:[\w\-/]*[^\W_])?)__|[{}|]")
AMOUNT = re.compile(r"^\s*(?P<low>\d+)(?:-(?P<high>\d+))?\$\$(?:(?P<separator>[^{}|$]*)\$\$)?")


def expand(
    template: str,
    *,
    n: int | None = None,
    seed: int = 0,
    wildcards: str | Path | Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return all expansions of `template`, or `n` different ones drawn by `seed`, in the order drawn.

    Where there are no more than `n`, all are returned in their own order. `wildcards` is a folder of .txt files (a value
    a line, # begins a comment) or a mapping of names to values.

    Raises:
        ParameterError: a brace without its other half, an unknown or circular wildcard, or more than 100,000 expansions.
    """
    try:
        tree = _Parser(template, _Wildcards(wildcards)).parse()
    except RecursionError as error:
        raise ParameterError(f"{template[:80]!r}… is nested too deep") from error
    if n is None or n >= tree.count:
        if tree.count > MOST_EXPANSIONS:
            raise ParameterError(f"{template!r} has {tree.count:,} expansions; give n, at most {MOST_EXPANSIONS:,}")
        return [tree.pick(number) for number in range(tree.count)]
    if not 0 < n <= MOST_EXPANSIONS:
        raise ParameterError(f"n is {n}; draw 1 to {MOST_EXPANSIONS:,}")
    return [tree.pick(number) for number in _draw(tree.count, n, f"{seed}\0{template}")]


def expand_rows(
    frame: pd.DataFrame,
    *,
    n: int | None = None,
    seed: int = 0,
    wildcards: str | Path | Mapping[str, Sequence[str]] | None = None,
) -> pd.DataFrame:
    """Expand the column "text" of `read`'s rows: a row for each expansion, its template kept in the column "template".

    Raises:
        ParameterError: as `expand`; it names the row.
    """
    values = _Wildcards(wildcards)
    texts, positions = [], []
    for position, (row, template) in enumerate(zip(frame["row"], frame["text"], strict=True)):
        try:
            found = expand(template, n=n, seed=seed, wildcards=values.lines)
        except ParameterError as error:
            raise ParameterError(f"row {row}: {error}") from error
        texts += found
        positions += [position] * len(found)
    expanded = frame.iloc[positions].reset_index(drop=True)
    return expanded.assign(template=expanded["text"], text=texts)


def is_template(text: str) -> bool:
    """Say whether `text` has a choice or a wildcard in it."""
    return any(match[0] == "{" or match["wildcard"] for match in TOKEN.finditer(text))


def _draw(count: int, n: int, key: str) -> list[int]:
    """Return `n` different numbers below `count`, which may be larger than a machine word."""
    rng = random.Random(int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()))
    if count <= 1_000_000:
        return rng.sample(range(count), n)
    drawn: dict[int, None] = {}
    while len(drawn) < n:
        drawn[rng.randrange(count)] = None
    return list(drawn)


@dataclass(frozen=True)
class _Text:
    text: str
    count: int = 1

    def pick(self, number: int) -> str:
        return self.text


@dataclass(frozen=True)
class _Sequence:
    parts: tuple[_Text | _Choice | _Sequence, ...]

    @cached_property
    def count(self) -> int:
        product = 1
        for part in self.parts:
            product *= part.count
        return product

    def pick(self, number: int) -> str:
        words = []
        for part in reversed(self.parts):
            number, own = divmod(number, part.count)
            words.append(part.pick(own))
        return "".join(reversed(words))


@dataclass(frozen=True)
class _Choice:
    options: tuple[_Sequence, ...]
    low: int = 1
    high: int = 1
    separator: str = ", "

    @cached_property
    def ways(self) -> list[list[int]]:
        """ways[i][k]: how many expansions choose k of the options from i on."""
        table = [[1] + [0] * self.high]
        for option in reversed(self.options):
            after = table[-1]
            table.append([after[k] + (option.count * after[k - 1] if k else 0) for k in range(self.high + 1)])
        return table[::-1]

    @cached_property
    def count(self) -> int:
        return sum(self.ways[0][self.low :])

    def pick(self, number: int) -> str:
        amount = self.low
        while number >= self.ways[0][amount]:
            number -= self.ways[0][amount]
            amount += 1
        words = []
        for i, option in enumerate(self.options):
            if not amount:
                break
            rest = self.ways[i + 1][amount - 1]
            if number < option.count * rest:  # this option is chosen
                own, number = divmod(number, rest)
                words.append(option.pick(own))
                amount -= 1
            else:
                number -= option.count * rest
        return self.separator.join(words)


class _Wildcards:
    """The values of each wildcard, read from its file on first use."""

    def __init__(self, source: str | Path | Mapping[str, Sequence[str]] | None) -> None:
        self.folder = Path(source) if isinstance(source, str | Path) else None
        self.lines: dict[str, Sequence[str]] = dict(source) if isinstance(source, Mapping) else {}
        if self.folder is not None:
            if not self.folder.is_dir():
                raise ParameterError(f"{self.folder} is no folder of wildcard files")
            paths, refused = files_below(self.folder, "*.txt")
            if refused:
                raise ParameterError(f"wildcard file {refused[0].file} of {self.folder}: {refused[0].reason}")
            for path in paths:
                name = path.relative_to(self.folder).with_suffix("").as_posix()
                self.lines[name] = _values_in(path)

    def values(self, name: str, template: str) -> Sequence[str]:
        if name not in self.lines:
            known = ", ".join(sorted(self.lines)) or "none; give wildcards=FOLDER"
            hint = did_you_mean(name, self.lines)
            raise ParameterError(f"no wildcard is called {name!r} in {template!r}.{hint} Known: {known}")
        if not self.lines[name]:
            raise ParameterError(f"wildcard {name!r} has no values; put one on each line of {name}.txt")
        return self.lines[name]


def _values_in(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeError) as error:
        raise ParameterError(f"wildcard file {path} cannot be read as UTF-8 text: {error}") from error
    return [line for line in lines if _is_value(line)]


def _is_value(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


class _Parser:
    """Reads one template into a tree of texts and choices."""

    def __init__(self, template: str, wildcards: _Wildcards, within: tuple[str, ...] = ()) -> None:
        self.template, self.wildcards, self.within = template, wildcards, within
        self.tokens = self._tokens()

    def parse(self) -> _Sequence:
        sequence, end = self._sequence(inside=False)
        if end:
            raise ParameterError(f"{self.template!r} has a '}}' without its '{{'; write \\}} for the character itself")
        return sequence

    def _tokens(self) -> Iterator[tuple[str, str]]:
        """Yield ("text", …), ("wildcard", name) and the marks "{", "|", "}"."""
        position = 0
        for match in TOKEN.finditer(self.template):
            if match.start() > position:
                yield "text", self.template[position : match.start()]
            token = match[0]
            if token[0] == "\\":
                yield "escaped", token[1]
            elif match["wildcard"]:
                yield "wildcard", match["wildcard"]
            else:
                yield token, token
            position = match.end()
        if position < len(self.template):
            yield "text", self.template[position:]

    def _sequence(self, *, inside: bool) -> tuple[_Sequence, str]:
        """Read up to the "|" or "}" that ends it, or the end of the template; "|" outside braces is text."""
        parts: list[_Text | _Choice | _Sequence] = []
        for kind, token in self.tokens:
            if kind == "}" or (kind == "|" and inside):
                return _Sequence(tuple(parts)), kind
            if kind == "{":
                parts.append(self._choice())
            elif kind == "wildcard":
                parts.append(self._wildcard(token))
            else:
                parts.append(_Text(token))
        if inside:
            raise ParameterError(f"{self.template!r} has a '{{' without its '}}'; write \\{{ for the character itself")
        return _Sequence(tuple(parts)), ""

    def _wildcard(self, name: str) -> _Choice:
        if name in self.within:
            raise ParameterError(f"wildcard {name!r} contains itself: {' > '.join([*self.within, name])}")
        values = self.wildcards.values(name, self.template)
        within = (*self.within, name)
        return _Choice(tuple(_Parser(value, self.wildcards, within).parse() for value in values))

    def _choice(self) -> _Choice:
        options = []
        end = "|"
        while end == "|":
            option, end = self._sequence(inside=True)
            options.append(option)
        first = options[0].parts[0] if options[0].parts else None
        amount = AMOUNT.match(first.text) if isinstance(first, _Text) else None
        if not (amount and isinstance(first, _Text)):
            return _Choice(tuple(options))
        low, high = int(amount["low"]), int(amount["high"] or amount["low"])
        if not 0 <= low <= high <= len(options):
            raise ParameterError(f"{self.template!r} asks for {amount[0][:-2]} of {len(options)} choices")
        options[0] = _Sequence((_Text(first.text[amount.end() :]), *options[0].parts[1:]))
        separator = ", " if amount["separator"] is None else amount["separator"]
        return _Choice(tuple(options), low, high, separator)
