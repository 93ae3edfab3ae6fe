"""The `forgekit` command: one subcommand per stage, its options are the stage's own keyword arguments."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import App, CycloptsError, Parameter

from forgekit import __version__
from forgekit.errors import ForgekitError, ParameterError

if TYPE_CHECKING:
    from forgekit.store import Store

DEFAULT_STORE = Path("data/forge.duckdb")
WATCH_PAUSE_S = 2.0

COMMANDS = {  # each with where its function is defined
    "import": "forgekit.stages.importing:import_prompts",
    "complete": "forgekit.stages.completing:complete_prompts",
    "generate": "forgekit.stages.generating:generate_images",
    "evaluate": "forgekit.stages.evaluating:evaluate_images",
    "refine": "forgekit.stages.refining:refine_prompts",
    "study": "forgekit.study.run:study",
    "track": "forgekit.tracking.mirroring:track",
    "check": "forgekit.store.checking:check",
    "batch": "forgekit.batches.run:run_batch",
    "export": "forgekit.show.export:export_store",
    "report": "forgekit.show.report:write_report",
    "adherence": "forgekit.trends.overview:overview",
    "benchmark": "forgekit.trends.benchmarks:benchmark",
    "judge-test": "forgekit.judge_tests.ordering:judge_test",
    "calibrate": "forgekit.judge_tests.calibration:calibrate",
    "import-ratings": "forgekit.judge_tests.ratings:import_ratings",
}
WATCHABLE = {"complete", "generate", "evaluate", "refine", "track"}  # these take their work from a queue

POOLED = {"complete", "generate", "evaluate", "refine"}  # these take models that can run in many workers

StoreFile = Annotated[Path, Parameter(help="the store's file")]
Workers = Annotated[int, Parameter(help="run each model in so many workers (docs/clusters.md)", show_default=False)]
Ray = Annotated[str, Parameter(help="the Ray cluster of the workers: host:port, or auto", show_default=False)]
Watch = Annotated[bool, Parameter(help="keep going: take up work as it comes, until interrupted", show_default=False)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 where something failed, 2 for bad input."""
    argv = list(sys.argv[1:] if argv is None else argv)
    try:
        return command_line()(argv) or (0 if argv else 2)
    except (ForgekitError, CycloptsError) as error:
        named = [word for word in argv[:1] if word in COMMANDS]
        print(f"{' '.join(['forgekit', *named])}: {error}", file=sys.stderr)
        return 2


def command_line() -> App:
    """Return all commands; the module of one is loaded when it is called, or its own help is."""
    app = App(
        name="forgekit",
        help="Measure and improve how faithfully prompts are drawn.",
        version=__version__,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    for place, (name, address) in enumerate(COMMANDS.items()):
        app.command(f"{__name__}:{name}", name=name, help=summary(address), sort_key=place)
    return app


def summary(address: str) -> str:
    """Return the first line of a function's docstring, read from its source: the list of commands loads none of them."""
    module, _, function = address.partition(":")
    file = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return re.findall(rf'^def {function}\(.*?"""(.+?)(?:"""|\n)', file.read_text(), re.MULTILINE | re.DOTALL)[0]


def __getattr__(name: str) -> Callable[..., int]:
    """Return a command by its name; cyclopts asks for it when it is called, or its own help is."""
    if name not in COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = COMMANDS[name].partition(":")
    return _command(getattr(importlib.import_module(module), function), name)


def _command(function: Callable[..., Any], name: str) -> Callable[..., int]:
    """Return a function as a command: its store is named by a file, its other arguments as a command line can."""
    parameters = inspect.signature(function).parameters.values()
    has_store = any(parameter.name == "store" for parameter in parameters)

    def command(
        *given: Any, store: Path = DEFAULT_STORE, watch: bool = False, workers: int = 0, ray: str = "", **options: Any
    ) -> int:
        if workers or ray:
            with _in_pools(workers, ray):
                return command(*given, store=store, watch=watch, **options)
        if has_store:
            given = (_open(store, options), *given)
        if watch:
            return _watch(function, given, options)
        result = function(*given, **options)
        print(result.to_string(index=False) if hasattr(result, "to_string") else result)  # a table is shown whole
        return 1 if getattr(result, "failed", 0) else 0

    written = [_as_written(parameter, function) for parameter in parameters]
    extras: list[tuple[str, Any, Any]] = [("watch", False, Watch)] * (name in WATCHABLE)
    extras += [("workers", 0, Workers), ("ray", "", Ray)] * (name in POOLED)
    written += [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=d, annotation=a) for n, d, a in extras]
    command.__doc__ = function.__doc__
    signature = inspect.Signature(sorted(written, key=lambda parameter: parameter.kind))
    # `inspect` reads it off any function; the stubs have it on none.
    command.__signature__ = signature  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in written}
    return command


@contextmanager
def _in_pools(workers: int, address: str) -> Iterator[None]:
    """Have each model that is loaded in this block run in a pool."""
    from forgekit.models.naming import POOL_VARIABLE

    before = os.environ.get(POOL_VARIABLE, "")
    os.environ[POOL_VARIABLE] = f"workers={workers or 1}" + f"&address={address}" * bool(address)
    try:
        yield
    finally:
        os.environ[POOL_VARIABLE] = before


def _as_written(parameter: inspect.Parameter, function: Callable[..., Any]) -> inspect.Parameter:
    """Return how the parameter of a function is written on the command line: what is keyword-only is an option."""
    if parameter.name == "store":
        return parameter.replace(kind=parameter.KEYWORD_ONLY, default=DEFAULT_STORE, annotation=StoreFile)
    if parameter.kind is not parameter.KEYWORD_ONLY:  # its type may be one that is not imported at run time
        return parameter.replace(kind=parameter.POSITIONAL_ONLY, annotation=str)
    annotations = SimpleNamespace(__annotations__={"": parameter.annotation})
    hint = get_type_hints(annotations, globalns=function.__globals__)[""]
    return parameter.replace(annotation=_read_as(hint, parameter.default))


def _open(path: Path, options: Mapping[str, Any]) -> Store:
    """Open the store; what only plans makes no file where there is none."""
    from forgekit.store import Store, open_store

    return Store(path) if options.get("plan_only") and not path.exists() else open_store(path)


def _watch(function: Callable[..., Any], given: Sequence[Any], options: Mapping[str, Any]) -> int:
    """Call the stage again and again until interrupted; report only the calls that did something."""
    stop = False

    def ask_to_stop(*_: Any) -> None:
        nonlocal stop
        stop = True  # after the batch in hand, so that nothing is left half done

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)
    last_failures: dict[str, str] = {}
    while not stop:
        report = function(*given, **options)
        if report.done or (report.failures and report.failures != last_failures):
            print(report, flush=True)
        last_failures = report.failures
        if not report.done and not stop:
            time.sleep(WATCH_PAUSE_S)
    return 0


def _read_as(hint: Any, default: Any) -> Any:
    """Return how a value of this type is written on the command line, as a type that cyclopts reads."""
    kinds = set(get_args(hint)) if isinstance(hint, UnionType) else {hint}
    origins = {get_origin(kind): kind for kind in kinds}
    if Mapping in origins:
        return _text(_values if Any in get_args(origins[Mapping]) else _pairs, "NAME=VALUE,…")
    if Sequence in origins:
        return _text(_listed, "A,B,…", show_default=", ".join(default) or False)
    if {int, str} <= kinds:
        return _text(lambda text: int(text) if text.isdigit() else text, "TEXT|N")
    if bool in kinds:
        return Annotated[bool, Parameter(show_default=False)]
    kind = next((kind for kind in (int, float) if kind in kinds), str)
    return kind | None if default is None else kind


def _text(read: Callable[[str], Any], metavar: str, *, show_default: str | bool | None = None) -> Any:
    """Return the type of a text that `read` makes something of."""
    about = Parameter(
        n_tokens=1, converter=lambda _, tokens: read(tokens[0].value), metavar=metavar, show_default=show_default
    )
    return Annotated[Any, about]


def _listed(text: str) -> list[str]:
    """Read "a,b"."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _pairs(text: str) -> dict[str, str]:
    """Read "a=b,c=d"."""
    pairs = [part.partition("=") for part in _listed(text)]
    if not all(name.strip() and value.strip() for name, _, value in pairs):
        raise ParameterError(f"{text!r} is not of the form NAME=VALUE,NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def _values(text: str) -> dict[str, Any]:
    """Read pairs whose values are numbers, true, false or null where they look it, and else text."""
    values: dict[str, Any] = {}
    for name, value in _pairs(text).items():
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


if __name__ == "__main__":
    sys.exit(main())
