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
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgekit.errors import ParameterError, did_you_mean
from forgekit.ids import content_hash
from forgekit.models.naming import TRUST_VARIABLE, strings_in, why_refused
from forgekit.store.names import check_name, inside

KEYS = ("notebook", "name", "parameters", "grid", "runs")
GIVEN = ("store", "experiment")  # the batch sets these itself, in every execution
KINDS = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "dict": dict}
NAME_LENGTH = 60
CODE = re.compile(r"[^\s:/]+:[^\W\d]\w*(\.\w+)*")  # module:factory; a parameter may as well be any other text


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


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook: the types it takes (none known: any), and those of the elements of a list."""

    kinds: tuple[type, ...] = ()
    element_kinds: tuple[type, ...] = ()

    def refusal(self, value: Any) -> str | None:
        """Return what the parameter takes instead where `value` is not it."""
        if not _is_any(value, self.kinds):
            return " or ".join(kind.__name__ for kind in self.kinds)
        if isinstance(value, list) and not all(_is_any(item, self.element_kinds) for item in value):
            return f"list of {' or '.join(kind.__name__ for kind in self.element_kinds)}"
        return None


def read_plan(file: str | Path) -> Plan:
    """Read the plan of a batch and check every parameter of every execution against the notebook.

    Raises:
        ParameterError: the file or the notebook cannot be read, or anything in the plan is unknown, of the wrong type
            or there twice; all of it is listed.
    """
    file = Path(file)
    try:
        content = tomllib.loads(file.read_text())
    except OSError as error:
        raise ParameterError(f"{file} cannot be read: {error.strerror}; give the TOML file of a batch") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ParameterError(f"{file} is no valid TOML: {error}") from error
    wrong = [f"unknown key {key!r}.{did_you_mean(key, KEYS)}" for key in content if key not in KEYS]
    wrong += [
        f"{key!r} must be a {kind.__name__}"
        for key, kind in (("notebook", str), ("name", str), ("parameters", dict), ("grid", dict), ("runs", list))
        if key in content and not isinstance(content[key], kind)
    ]
    if "notebook" not in content:
        wrong.append("it names no notebook")
    if wrong:
        raise ParameterError(f"{file}: {'; '.join(wrong)}. A batch has the keys {', '.join(KEYS)}")
    notebook = (file.parent / content["notebook"]).resolve()
    if not inside(notebook, [Path.cwd(), file.parent]):
        raise ParameterError(
            f"{file}: its notebook {notebook} lies outside the plan's folder and the working folder; move it there, or "
            "run the batch from the project's folder"
        )
    name = check_name(f"{file}: the name", content.get("name", file.stem))
    executions = tuple(_executions(file, content))
    _check(file, notebook, executions)
    return Plan(name, notebook, executions)


def why_foreign(value: str, folder: Path) -> str | None:
    """Return why a plan in `folder` may not hand over this text, or None: it reads as code, a stranger or a file outside."""
    model = value.removeprefix("llm:")
    is_path = value.startswith(("/", "~")) or ".." in value.split("/")
    if "://" not in model and not CODE.fullmatch(model) and not is_path:
        return None
    reason = why_refused(model, within=[folder])
    return reason and (
        f"{value!r} lies outside the plan's folder and the working folder"
        if is_path
        else f"{value.split('://')[0]!r} names code or an address on a network, which no plan may; you may: set "
        f"{TRUST_VARIABLE}"
    )


def notebook_parameters(notebook: Path) -> dict[str, Parameter]:
    """Return the parameters of a notebook: what its cell tagged `parameters` assigns.

    Raises:
        ParameterError: it cannot be read, or has no such cell.
    """
    try:
        cells = json.loads(notebook.read_text())["cells"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ParameterError(f"{notebook} cannot be read as a notebook: {error}") from error
    sources = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if not sources:
        raise ParameterError(f"{notebook} has no cell with the tag `parameters`; tag the cell that sets them")
    found = {}
    for statement in ast.parse(sources[0]).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            found[statement.targets[0].id] = _parameter(statement.value, None)
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            found[statement.target.id] = _parameter(statement.value, statement.annotation)
    return found


def _executions(file: Path, content: Mapping[str, Any]) -> Iterator[Execution]:
    fixed, grid, runs = (content.get(key, empty) for key, empty in (("parameters", {}), ("grid", {}), ("runs", [])))
    if bool(grid) == bool(runs):
        raise ParameterError(f"{file}: give either [grid], for every combination, or [[runs]], one by one")
    if bad := [name for name, values in grid.items() if not isinstance(values, list) or not values]:
        raise ParameterError(f"{file}: [grid] {bad[0]} must be a list with at least one value, such as [1, 2]")
    if bad := [run for run in runs if not isinstance(run, dict)]:
        raise ParameterError(f"{file}: runs has {bad[0]!r}; give each as [[runs]] with parameters below it")
    combinations = runs or [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    for values in combinations:
        parameters = {**fixed, **values}
        label = re.sub(r"[^a-z0-9.]+", "-", "-".join(f"{k}-{v}" for k, v in values.items()).casefold()).strip("-.")
        yield Execution(f"{label[:NAME_LENGTH]}-{content_hash(parameters)[:6]}", values, parameters)


def _check(file: Path, notebook: Path, executions: tuple[Execution, ...]) -> None:
    known = notebook_parameters(notebook)
    wrong = [f"{notebook.name} has no parameter {name!r}; a batch sets it" for name in GIVEN if name not in known]
    for name, value in {(n, repr(v)): (n, v) for e in executions for n, v in e.parameters.items()}.values():
        if name in GIVEN:
            wrong.append(f"{name!r} is set by the batch itself")
        elif name not in known:
            wrong.append(f"{notebook.name} has no parameter {name!r}.{did_you_mean(name, known)}")
        elif wanted := known[name].refusal(value):
            wrong.append(f"{name} = {value!r} must be {wanted}")
        wrong += [f"{name}: {why}" for text in strings_in(value) if (why := why_foreign(text, file.parent))]
    wrong += [f"{name} is there {n} times" for name, n in Counter(e.name for e in executions).items() if n > 1]
    if wrong:
        raise ParameterError(f"{file}: {'; '.join(dict.fromkeys(wrong))}. Parameters: {', '.join(known)}")


def _parameter(default: ast.expr | None, annotation: ast.expr | None) -> Parameter:
    """Tell the types of a parameter from its annotation, or from its default where that is a literal."""
    if annotation is not None:
        names = [node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)]
        return Parameter(tuple(KINDS[name] for name in names if name in KINDS))
    try:
        value = ast.literal_eval(default)
    except ValueError:
        return Parameter()
    if value is None:
        return Parameter()
    elements = {type(item) for item in value} if isinstance(value, list) else set()
    return Parameter((type(value),), tuple(elements) if len(elements) == 1 else ())


def _is_any(value: Any, kinds: tuple[type, ...]) -> bool:
    if not kinds:
        return True
    if isinstance(value, bool):  # which Python takes for an int as well
        return bool in kinds
    return isinstance(value, kinds) or (float in kinds and isinstance(value, int))
