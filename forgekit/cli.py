"""The `forgekit` command: one subcommand per stage, its options are the stage's own keyword arguments."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from forgekit.errors import ForgekitError
from forgekit.store import Store, open_store

DEFAULT_STORE = "data/forge.duckdb"
WATCH_PAUSE_S = 2.0

# Subcommand -> where its function is. What takes work from a queue can be told to keep watching it.
STAGES = {
    "import": "forgekit.stages.importing:import_prompts",
    "complete": "forgekit.stages.completing:complete_prompts",
    "generate": "forgekit.stages.generating:generate_images",
    "evaluate": "forgekit.stages.evaluating:evaluate_images",
    "refine": "forgekit.stages.refining:refine_prompts",
    "study": "forgekit.study:study",
    "track": "forgekit.tracking:track",
    "check": "forgekit.store.checking:check",
    "batch": "forgekit.batches.run:run_batch",
    "export": "forgekit.show.export:export_store",
    "report": "forgekit.show.report:write_report",
    "adherence": "forgekit.trends:overview",
    "judge-test": "forgekit.judge_tests:judge_test",
    "calibrate": "forgekit.judge_tests:calibrate",
    "import-ratings": "forgekit.judge_tests:import_ratings",
}
WATCHABLE = {"complete", "generate", "evaluate", "refine", "track"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 where something failed, 2 for bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    name = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="forgekit", description="Measure and improve how faithfully prompts are drawn."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    functions = {}
    for command, address in STAGES.items():
        if command == name:  # only the chosen command's module is loaded
            functions[command] = function = _function(address)
            _add_options(
                commands.add_parser(command, help=_summary(function), description=_summary(function)), function
            )
        else:
            commands.add_parser(command, help=f"see `forgekit {command} --help`", add_help=False)
    options = vars(parser.parse_args(argv))
    function = functions[options.pop("command")]
    try:
        given = [_store(options)] if "store" in options else []
        if options.pop("watch", False):
            return _watch(function, *given, options)
        result = function(*given, **options)
    except ForgekitError as error:
        print(f"forgekit {name}: {error}", file=sys.stderr)
        return 2
    print(result.to_string(index=False) if hasattr(result, "to_string") else result)  # a table is shown whole
    return 1 if getattr(result, "failed", 0) else 0


def _store(options: dict[str, Any]) -> Store:
    """Take the store out of the options and open it; what only plans makes no file where there is none."""
    path = Path(options.pop("store"))
    return Store(path) if options.get("plan_only") and not path.exists() else open_store(path)


def _watch(function: Callable[..., Any], store: Any, options: dict[str, Any]) -> int:
    """Call the stage again and again until interrupted; report only the calls that did something."""
    stop = False

    def ask_to_stop(*_: Any) -> None:
        nonlocal stop
        stop = True  # after the batch in hand, so that nothing is left half done

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    last_failures: dict[str, str] = {}
    while not stop:
        report = function(store, **options)
        if report.done or (report.failures and report.failures != last_failures):
            print(report, flush=True)
        last_failures = report.failures
        if not report.done and not stop:
            time.sleep(WATCH_PAUSE_S)
    return 0


def _function(address: str) -> Callable[..., Any]:
    module, _, name = address.partition(":")
    return getattr(importlib.import_module(module), name)


def _summary(function: Callable[..., Any]) -> str:
    return inspect.getdoc(function).splitlines()[0]


def _add_options(parser: argparse.ArgumentParser, function: Callable[..., Any]) -> None:
    parameters = dict(inspect.signature(function).parameters)
    if parameters.pop("store", None):
        parser.add_argument("--store", default=DEFAULT_STORE, help=f"the store's file (default: {DEFAULT_STORE})")
    hints, explained = _option_hints(function), _explained(function)
    for parameter in parameters.values():
        said = explained.get(parameter.name, "").replace("%", "%%") or None
        if parameter.kind is not parameter.KEYWORD_ONLY:
            parser.add_argument(parameter.name, metavar=parameter.name.upper(), help=said)
        elif hints[parameter.name] is bool:
            parser.add_argument(_flag(parameter.name), action="store_true", default=parameter.default, help=said)
        else:
            parse, metavar = _reader(hints[parameter.name])
            default = f"default: {parameter.default}".replace("%", "%%")
            help_text = f"{said} ({default})" if said else default
            parser.add_argument(
                _flag(parameter.name), type=parse, metavar=metavar, default=parameter.default, help=help_text
            )
    if any(address.endswith(f":{function.__name__}") for name, address in STAGES.items() if name in WATCHABLE):
        parser.add_argument(
            "--watch", action="store_true", help="keep going: take up work as it comes, until interrupted"
        )


def _option_hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the keyword-only parameters; the others may name types that are not imported at run time."""
    parameters = inspect.signature(function).parameters.values()
    wanted = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
    return get_type_hints(SimpleNamespace(__annotations__=wanted), globalns=function.__globals__)


def _explained(function: Callable[..., Any]) -> dict[str, str]:
    """Return what the docstring's "Args:" section says of each parameter."""
    _, _, section = inspect.getdoc(function).partition("\nArgs:\n")
    section = section.partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): (.+?)(?=^    \w|\Z)", section, re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()).rstrip(".") for name, text in entries}


def _values(text: str) -> dict[str, Any]:
    """Read pairs whose values are numbers, true, false or null where they look it, and else text."""
    values: dict[str, Any] = {}
    for name, value in _pairs(text).items():
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _pairs(text: str) -> dict[str, str]:
    """Read "a=b,c=d"."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE,NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _reader(hint: Any) -> tuple[Callable[[str], Any], str]:
    """Return how a value of this type is read from the command line, and how the help names it."""
    kinds = set(get_args(hint)) if isinstance(hint, UnionType) or get_origin(hint) is not None else {hint}
    if mappings := [kind for kind in {hint, *kinds} if get_origin(kind) is Mapping]:
        return (_values if Any in get_args(mappings[0]) else _pairs), "NAME=VALUE,…"
    if any(
        get_origin(kind) is not None or kind in (list, tuple)
        for kind in {hint, *kinds}
        if not isinstance(kind, UnionType)
    ):
        return lambda text: [part.strip() for part in text.split(",") if part.strip()], "A,B,…"
    if {int, str} <= kinds:
        return lambda text: int(text) if text.isdigit() else text, "TEXT|N"
    if int in kinds:
        return int, "N"
    if float in kinds:
        return float, "X"
    return str, "TEXT"


if __name__ == "__main__":
    sys.exit(main())
