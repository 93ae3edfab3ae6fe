"""Templates: one text with choices in it stands for many scene texts. The grammar is that of dynamicprompts.

    {red|blue}              one of them; an empty choice is allowed: {very |}big
    {3::red|1::blue}        red is drawn three times as often; among all expansions each is there once
    {2$$a|b|c}              two different ones in any order, joined by ", "; of fewer choices all
    {1-2$$ and $$a|b|c}     one or two, joined by " and "
    {2$$__colors__}         two different lines of a file
    ${c=!{red|blue}} ${c}   a variable: the same colour wherever ${c} stands; without "!" chosen anew each time
    __colors__              a line of colors.txt in the wildcard folder; __animals/*__ of any file in animals/
    \\{ \\| \\} \\_ \\$ \\%        the character itself

Wildcard files are .txt (a value a line, # begins a comment, "3::red" has a weight), .yaml or .json. Choices and their
values may hold templates. What a template expands to depends on it, its wildcard files and the seed alone, never on
other rows or their order. Nothing in a template is run as code.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from dynamicprompts.commands import Command, LiteralCommand, SequenceCommand, WildcardCommand
from dynamicprompts.commands.variable_commands import VariableAssignmentCommand
from dynamicprompts.enums import SamplingMethod
from dynamicprompts.parser.parse import parse
from dynamicprompts.samplers import CombinatorialSampler, RandomSampler, Sampler
from dynamicprompts.sampling_context import SamplingContext
from dynamicprompts.types import ResultGen
from dynamicprompts.wildcards import WildcardManager
from dynamicprompts.wildcards.collection.list import ListWildcardCollection
from dynamicprompts.wildcards.item import WildcardItem
from dynamicprompts.wildcards.values import WildcardValues
from pyparsing import ParseBaseException

from forgekit.errors import ParameterError, SourceError, did_you_mean
from forgekit.sources.files import files_below, is_utf8, open_text
from forgekit.sources.rows import Reading

if TYPE_CHECKING:
    import pandas as pd

MOST_EXPANSIONS = 100_000
MOST_STEPS = 200_000  # of the enumeration without finding anything new: some 5 s
MOST_CHOICES = 500  # of a template: it is read in some 2 s
PATIENCE = 20  # draws for each expansion that is wanted
MARK = re.compile(r"\{|__[^\s_](?:\S*?[^\s_])?__")
# What dynamicprompts would take for a comment, a command or white space is hidden from it as Unicode's noncharacters.
HIDE = {ord(char): 0xFDD0 + number for number, char in enumerate("{}|_$%#/\\\t")}
SHOW = {hidden: char for char, hidden in HIDE.items()}
TEXT = re.compile(r"\\([{}|_$%#\\])|#|\t|//|/\*|%(?!\{)|(?<!\$)\$(?![${])")
NO_SEPARATOR = re.compile(r"(\{\s*[~!@]?\s*(?:\d+-\d*|-?\d+)\$\$)(?![^{}$]*\$\$)")
WEIGHT = re.compile(r"(\d+(?:\.\d+)?)::(.*)")


def expand(
    template: str,
    *,
    n: int | None = None,
    seed: int = 0,
    wildcards: str | Path | Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """Return all expansions of `template`, or `n` different ones drawn by `seed`, in the order drawn.

    Where there are no more than `n`, all are returned in their own order. A text without choices is returned as it
    stands. `wildcards` is a folder of wildcard files or a mapping of names to values.

    Raises:
        ParameterError: a brace without its other half, an unknown or circular wildcard, or more than 100,000 expansions.
    """
    return _expand(template, n, seed, _Wildcards(wildcards))


def expand_rows(
    frame: pd.DataFrame,
    *,
    n: int | None = None,
    seed: int = 0,
    wildcards: str | Path | Mapping[str, Sequence[str]] | None = None,
    reading: Reading | None = None,
) -> pd.DataFrame:
    """Expand the column "text" of `read`'s rows: a row for each expansion, its template kept in the column "template".

    `reading` names the encoding of wildcard files that are no UTF-8, and notes what was assumed of it.

    Raises:
        ParameterError: as `expand`; it names the row.
    """
    values = _Wildcards(wildcards, reading)
    texts, positions = [], []
    for position, (row, template) in enumerate(zip(frame["row"], frame["text"], strict=True)):
        try:
            found = _expand(template, n, seed, values)
        except ParameterError as error:
            raise ParameterError(f"row {row}: {error}") from error
        texts += found
        positions += [position] * len(found)
    expanded = frame.iloc[positions].reset_index(drop=True)
    return expanded.assign(template=expanded["text"], text=texts)


def _expand(template: str, n: int | None, seed: int, wildcards: _Wildcards) -> list[str]:
    if n is not None and not 0 < n <= MOST_EXPANSIONS:
        raise ParameterError(f"n is {n}; draw 1 to {MOST_EXPANSIONS:,}")
    hidden = _hidden(template)
    if not MARK.search(hidden):
        return [hidden.translate(SHOW)]
    try:
        command = parse(hidden)
        wildcards.check(command)
        found = _draw(command, n, f"{seed}\0{template}", wildcards)
    except ParseBaseException as error:
        rest = error.pstr[error.loc :][:20].translate(SHOW)  # of the template, or of a wildcard's value
        raise ParameterError(
            f"{template!r} cannot be read from {rest!r} on; write \\{{ or \\_ for the character itself"
        ) from error
    except RecursionError as error:
        raise ParameterError(f"{template[:80]!r}… is nested too deep") from error
    except RuntimeError:  # dynamicprompts found nothing to go on with
        found = []
    except (ParameterError, KeyError, ValueError) as error:
        raise ParameterError(f"{template!r} cannot be expanded: {error.args[0]}") from error
    if not found:
        raise ParameterError(f"{template!r} has no expansion: its choices are alike, or it only sets a variable")
    return found


def _draw(command: Command, n: int | None, key: str, wildcards: _Wildcards) -> list[str]:
    """Return all expansions of a parsed template, or `n` of them drawn by `key`."""
    most = n or MOST_EXPANSIONS
    sampler = _Enumeration()
    enumeration = _Context(SamplingMethod.COMBINATORIAL, wildcards, {SamplingMethod.COMBINATORIAL: sampler})
    everything: dict[str, None] = {}
    for result in enumeration.sample_prompts(command):
        if (text := result.text.translate(SHOW)) not in everything:
            everything[text] = None
            sampler.steps = 0
        if len(everything) > most:
            break
    if len(everything) <= most:
        return list(everything)
    if n is None:
        raise ParameterError(f"it has more than {most:,} expansions; give n, at most {most:,}")
    rng = random.Random(int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()))
    chance = _Context(SamplingMethod.RANDOM, wildcards, {SamplingMethod.RANDOM: RandomSampler()}, rand=rng)
    drawn: dict[str, None] = {}
    for _ in range(PATIENCE * n):
        drawn.update((result.text.translate(SHOW), None) for result in chance.sample_prompts(command, 1))
        if len(drawn) == n:
            break
    return list(islice(drawn | everything, n))  # those that are hardly ever drawn are taken in order


class _Context(SamplingContext):
    """What a sampler works in. Whether choices are drawn or enumerated is not for a template to say: {@a|b} is {a|b}."""

    def get_sampler_and_context(self, command: Command) -> tuple[Sampler, SamplingContext]:
        return self.default_sampler, self

    def get_effective_sampling_method(self, command: Command) -> SamplingMethod:
        return self.default_sampling_method


class _Enumeration(CombinatorialSampler):
    """All combinations. A variable that is set once ("=!") has each of its values in turn; too long a search ends."""

    steps = 0  # since something new was found

    def generator_from_command(self, command: Command, context: SamplingContext) -> ResultGen:
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise ParameterError("it takes too long to find its expansions; choose among fewer, or fewer of them")
        return super().generator_from_command(command, context)

    def _get_sequence(self, command: SequenceCommand, context: SamplingContext) -> ResultGen:
        for place, token in enumerate(command.tokens):
            if isinstance(token, VariableAssignmentCommand) and token.immediate:
                for value in context.generator_from_command(token.value):
                    given = replace(token, value=LiteralCommand(value.text), immediate=False)
                    tokens = [*command.tokens[:place], given, *command.tokens[place + 1 :]]
                    yield from self._get_sequence(replace(command, tokens=tokens), context)
                return
        yield from super()._get_sequence(command, context)


class _Values(WildcardValues):
    """A wildcard's values. Where all are taken, or several different ones, each is there once, whatever its weight."""

    def iterate_string_values_weighted(self) -> Iterator[str]:
        return iter(self.string_values)


class _Wildcards(WildcardManager):
    """The values of each wildcard, in the order of their files."""

    def __init__(self, source: str | Path | Mapping[str, Sequence[str]] | None, reading: Reading | None = None) -> None:
        found: Mapping[str, Sequence[Any]]
        found = _values_below(Path(source), reading) if isinstance(source, str | Path) else source or {}
        collections: Any = {name: ListWildcardCollection(list(map(_item, values))) for name, values in found.items()}
        super().__init__(root_map={"": [collections]})
        self.sort_wildcards = False
        self.checked: set[str] = set()

    def get_values(self, wildcard: str) -> WildcardValues:
        """Return the values of all wildcards that the name or pattern fits."""
        name = wildcard.translate(SHOW)
        known = sorted(self.get_collection_names())
        values = super().get_values(name) if ".." not in name else ()
        if values:
            return _Values(values.items)
        if name in known:
            raise ParameterError(f"wildcard {name!r} has no values; put one on each line of {name}.txt")
        hint = did_you_mean(name, known)
        there = ", ".join(known) or "none; give wildcards=FOLDER"
        raise ParameterError(f"no wildcard is called {name!r}, there is no {name}.txt.{hint} Known: {there}")

    def check(self, command: Command, within: tuple[str, ...] = ()) -> None:
        """Refuse what names a wildcard that is not there or that contains itself, drawn or not.

        A name that is put together by choices is looked up when it is drawn.
        """
        for name in _names_in(command):
            if name in within:
                raise ParameterError(f"wildcard {name!r} contains itself: {' > '.join([*within, name])}")
            if name not in self.checked:
                for value in self.get_values(name).string_values:
                    if self.wildcard_wrap in value:
                        self.check(parse(value), (*within, name))
                self.checked.add(name)


def _names_in(part: Any) -> Iterator[str]:
    """Yield the names of the wildcards anywhere in a parsed template."""
    if isinstance(part, WildcardCommand) and isinstance(part.wildcard, str):
        yield part.wildcard
    parts = vars(part) if is_dataclass(part) else part
    if isinstance(parts, dict | list):
        for inner in parts.values() if isinstance(parts, dict) else parts:
            yield from _names_in(inner)


def _values_below(folder: Path, reading: Reading | None) -> dict[str, list[Any]]:
    """Read the wildcard files of a folder: name → values."""
    values: dict[str, list[Any]] = {}
    reading = reading or Reading()
    if not folder.is_dir():
        raise ParameterError(f"{folder} is no folder of wildcard files")
    paths, refused = files_below(folder, (".txt", ".yaml", ".yml", ".json"))
    if refused:
        raise ParameterError(f"wildcard file {refused[0].file} of {folder}: {refused[0].reason}")
    for path in sorted(paths, key=lambda path: (path.suffix.lower() != ".txt", path.suffix.lower() == ".json", path)):
        try:
            encoding = None if is_utf8(path) else reading.encoding
            with open_text(path, Reading(encoding=encoding, notes=reading.notes)) as file:
                text = file.read()
            place = path.relative_to(folder)
            if path.suffix.lower() == ".txt":
                lines = [line.strip() for line in text.splitlines()]
                values[place.with_suffix("").as_posix()] = [line for line in lines if line[:1] not in ("", "#")]
            else:
                data = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
                lists = _lists_in(data) if isinstance(data, dict) else [(path.stem, data)]
                values |= {(place.parent / name).as_posix(): found for name, found in lists if isinstance(found, list)}
        except (SourceError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise ParameterError(f"wildcard file {path} cannot be read: {error}") from error
    return values


def _lists_in(data: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the lists of a structured file under the names that lead to them; a lone value is a list of one."""
    for name, value in data.items():
        if isinstance(value, dict):
            yield from ((f"{name}/{inner}", found) for inner, found in _lists_in(value))
        elif value:
            yield str(name), value if isinstance(value, list) else [str(value)]


def _item(value: Any) -> WildcardItem:
    """Return a value with its weight: "3::red", or {"text": "red", "weight": 3} in a structured file."""
    if isinstance(value, dict):
        text, weight = value.get("text") or value.get("content") or "", value.get("weight", 1)
        return WildcardItem(_hidden(str(text)), float(weight))
    weighted = WEIGHT.fullmatch(str(value))
    return WildcardItem(_hidden(weighted[2]), float(weighted[1])) if weighted else WildcardItem(_hidden(str(value)))


def _hidden(text: str) -> str:
    """Return a text with all hidden that is no template in it, and ", " where it names no separator."""
    hidden = TEXT.sub(lambda match: (match[1] or match[0]).translate(HIDE), text)
    if (n := len(MARK.findall(hidden))) > MOST_CHOICES:
        raise ParameterError(f"{text[:80]!r}… has {n:,} choices, more than {MOST_CHOICES}; make several of it")
    return NO_SEPARATOR.sub(r"\1, $$", hidden)
