"""The plan of a batch: a TOML file, and the executions of a notebook that follow from it, checked before anything runs.

    notebook = "../notebooks/02_loop.ipynb"   # from where this file is

    [parameters]                              # the same in every execution
    iterations = 3

    [grid]                                    # every combination of these
    policy = ["refine", "resample"]
    target = [0.8, 0.9]

Instead of `[grid]`, each `[[runs]]` lists the values of one execution.

A plan may have come by mail: the notebook lies in its folder or in the working folder, and no parameter names code, an
address on a network, or a file outside, unless FORGEKIT_TRUSTED_MODELS lists it.
"""

from __future__ import annotations

import ast
import itertools
import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from forgekit.errors import ParameterError, reworded
from forgekit.ids import content_hash
from forgekit.models.naming import FAMILIES, LOCAL, PREFERENCE, TRUST_VARIABLE, asked_model, strings_in, why_refused
from forgekit.store.names import check_name, inside, read_text

GIVEN = ("store", "experiment")  # the batch sets these itself, in every execution
KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
EXACT = ConfigDict(extra="forbid", strict=True)
NAME_LENGTH = 60
CODE = re.compile(r"[^\s:/]+:[^\W\d]\w*(\.\w+)*")  # module:factory; a parameter may as well be any other text
MOST_EXECUTIONS = 10_000


class PlanFile(BaseModel):
    """What the TOML file of a batch says."""

    model_config = EXACT

    notebook: str
    name: str | None = None
    parameters: dict[str, Any] = {}
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = {}
    runs: list[dict[str, Any]] = []


@dataclass(frozen=True)
class Execution:
    """One execution of the notebook. `values` are those parameters that differ between executions."""

    name: str
    values: dict[str, Any]
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a batch runs. The experiment of each execution is `name`/`execution.name`."""

    name: str
    notebook: Path
    executions: tuple[Execution, ...]

    def experiment(self, execution: Execution) -> str:
        """Return the experiment that an execution's prompts are in; MLflow groups the batch by the part before "/"."""
        return f"{self.name}/{execution.name}"


def read_plan(file: str | Path) -> Plan:
    """Read the plan of a batch and check every parameter of every execution against the notebook.

    Raises:
        ParameterError: the file or the notebook cannot be read, or anything in the plan is unknown, of the wrong type
            or there twice; all that is unknown or of the wrong type is listed.
    """
    file = Path(file)
    try:
        written = PlanFile.model_validate(tomllib.loads(read_text(file)))
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}; give the TOML file of a batch") from error
    except ValidationError as error:
        raise reworded(error, str(file), PlanFile.model_fields) from error
    except ValueError as error:
        raise ParameterError(f"{file} is no valid TOML: {error}") from error
    notebook = (file.parent / written.notebook).resolve()
    if not inside(notebook, [Path.cwd(), file.parent]):
        raise ParameterError(
            f"{file}: its notebook {notebook} lies outside the plan's folder and the working folder; move it there, or "
            "run the batch from the project's folder"
        )
    name = check_name(f"{file}: the name", written.name if written.name is not None else file.stem)
    if bool(written.grid) == bool(written.runs):
        raise ParameterError(f"{file}: give either [grid], for every combination, or [[runs]], one by one")
    if (n := math.prod(map(len, written.grid.values()))) > MOST_EXECUTIONS:
        raise ParameterError(f"{file}: its grid has {n:,} combinations, more than {MOST_EXECUTIONS:,}; give [[runs]]")
    executions = tuple(_executions(written))
    _check(file, notebook, executions)
    return Plan(name, notebook, executions)


def why_foreign(value: str, folder: Path) -> str | None:
    """Return why a plan in `folder` may not hand over this text, or None: it reads as code, a stranger or a file outside."""
    model = asked_model(value) or value
    is_path = value.startswith(("/", "~")) or ".." in value.split("/")
    is_model = "://" in model or CODE.fullmatch(model) or model.startswith((*FAMILIES, LOCAL, PREFERENCE))
    if not is_model and not is_path:
        return None
    reason = why_refused(model, within=[folder])
    return reason and (
        f"{value!r} lies outside the plan's folder and the working folder"
        if is_path
        else f"{value.split('://')[0]!r} names code or an address on a network, which no plan may; you may: set "
        f"{TRUST_VARIABLE}"
    )


def notebook_defaults(notebook: Path) -> dict[str, Any]:
    """Return what a notebook's cell tagged `parameters` assigns, as far as it is literals.

    Raises:
        ParameterError: it cannot be read, or has no such cell.
    """
    found = {}
    for name, default, _ in _assigned(notebook):
        with suppress(ValueError):
            found[name] = ast.literal_eval(default) if default else None
    return found


def _assigned(notebook: Path) -> Iterator[tuple[str, ast.expr | None, ast.expr | None]]:
    """Yield each parameter of a notebook with the expressions of its default and its annotation.

    Read here and not by `papermill.inspect_notebook`, which passes over `x: int | None = 1` and cuts `"a # b"` short.
    """
    try:
        cells = json.loads(read_text(notebook))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        statements = ast.parse(sources[0]).body if sources else []
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        SyntaxError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ParameterError(f"{notebook} cannot be read as a notebook: {type(error).__name__}: {error}") from error
    if not sources:
        raise ParameterError(f"{notebook} has no cell with the tag `parameters`; tag the cell that sets them")
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            yield statement.targets[0].id, statement.value, None
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value, statement.annotation


def _type(default: ast.expr | None, annotation: ast.expr | None) -> Any:
    """Tell the type of a parameter from its annotation, or from its default where that is a literal."""
    if annotation is not None:
        named = [KINDS.get(node.id) for node in ast.walk(annotation) if isinstance(node, ast.Name)]
        return reduce(or_, filter(None, named)) if any(named) else Any
    try:
        value = ast.literal_eval(default) if default else None
    except (ValueError, TypeError, RecursionError, MemoryError):
        return Any
    if isinstance(value, list):
        kinds = {type(item) for item in value}
        return GenericAlias(list, kinds.pop()) if len(kinds) == 1 else list
    return Any if value is None else type(value)


def _executions(written: PlanFile) -> Iterator[Execution]:
    grid = written.grid
    for values in written.runs or (dict(zip(grid, each, strict=True)) for each in itertools.product(*grid.values())):
        parameters = {**written.parameters, **values}
        label = re.sub(r"[^a-z0-9.]+", "-", "-".join(f"{k}-{v}" for k, v in values.items()).casefold()).strip("-.")
        yield Execution(f"{label[:NAME_LENGTH]}-{content_hash(parameters)[:6]}", values, parameters)


def _check(file: Path, notebook: Path, executions: tuple[Execution, ...]) -> None:
    known = {name: _type(default, annotation) for name, default, annotation in _assigned(notebook)}
    # mypy knows a TypedDict only where it is written out, not one made of what is found at run time.
    taken: Any = with_config(EXACT)(TypedDict("taken", known, total=False))  # type: ignore[operator]
    try:
        TypeAdapter(list[taken]).validate_python([execution.parameters for execution in executions])
    except ValidationError as error:
        raise reworded(error, f"{file}, for {notebook.name}", known, what="parameter") from error
    wrong = [f"{notebook.name} has no parameter {name!r}; a batch sets it" for name in GIVEN if name not in known]
    for name, value in ((name, value) for each in executions for name, value in each.parameters.items()):
        wrong += [f"{name!r} is set by the batch itself"] * (name in GIVEN)
        wrong += [f"{name}: {why}" for text in strings_in(value) if (why := why_foreign(text, file.parent))]
    wrong += [f"{name} is there {n} times" for name, n in Counter(e.name for e in executions).items() if n > 1]
    if wrong:
        raise ParameterError(f"{file}: {'; '.join(dict.fromkeys(wrong))}. Parameters: {', '.join(known)}")
