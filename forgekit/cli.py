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
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace, UnionType
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter

from forgekit import __version__
from forgekit.errors import ForgekitError, ParameterError, did_you_mean
from forgekit.progress import as_text

if TYPE_CHECKING:
    from forgekit.store import Store

DEFAULT_STORE = Path("data/forge.duckdb")
WATCH_PAUSE_S = 2.0

# By group, then by name: where a command's function is defined, and an example of its use.
GROUPS: dict[str, dict[str, dict[str, str]]] = tomllib.loads(
    Path(__file__).with_name("commands.toml").read_text("utf-8")
)
COMMANDS = {name: entry["function"] for group in GROUPS.values() for name, entry in group.items()}
EXAMPLES = {name: entry["example"] for group in GROUPS.values() for name, entry in group.items()}
MAKES_STORE = {"import", "import-pictures", "study", "batch"}  # elsewhere, a store that is not there is a name misspelt
POOLED = {"complete", "generate", "evaluate", "refine"}  # these take models that can run in many workers
WATCHABLE = POOLED | {"track"}  # these take their work from a queue

StoreFile = Annotated[Path, Parameter(help="the store's file")]
Workers = Annotated[int, Parameter(help="run each model in so many workers (docs/clusters.md)", show_default=False)]
Ray = Annotated[str, Parameter(help="the Ray cluster of the workers: host:port, or auto", show_default=False)]
Watch = Annotated[bool, Parameter(help="keep going: take up work as it comes, until interrupted", show_default=False)]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 1 where something failed, 2 for bad input, 130 for Ctrl-C, 141 for | head."""
    argv = list(sys.argv[1:] if argv is None else argv)
    called = " ".join(["forgekit", *(word for word in argv[:1] if word in COMMANDS)])
    try:
        status = command_line()(argv) or (0 if argv else 2)
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # who reads this has seen enough: forgekit status | head -1
        _say_no_more()
        return 141  # as of a program that the pipe's signal ends
    except (ForgekitError, CycloptsError) as error:
        print(f"{called}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{called}: stopped. What was committed is kept; the same command goes on from there", file=sys.stderr)
        return 130


def command_line() -> App:
    """Return all commands; the module of one is loaded when it is called, or its own help is."""
    app = App(
        "forgekit",
        "Measure and improve how faithfully prompts are drawn.",
        version=__version__,
        default_parameter=Parameter(negative=()),
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        group_commands=Group("Options", sort_key=len(GROUPS)),
    )
    for floor, (title, names) in enumerate(GROUPS.items()):
        group = Group(title, sort_key=floor)
        for place, name in enumerate(names):
            about = {"help": summary(COMMANDS[name]), "help_epilogue": f"Example: {EXAMPLES[name]}"}
            app.command(f"{__name__}:{name}", name=name, group=group, sort_key=place, **about)
    return app


def summary(address: str) -> str:
    """Return the first line of a function's docstring, read from its source: the list of commands loads none of them."""
    module, _, function = address.partition(":")
    file = Path(__file__).parent.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return re.findall(rf'^def {function}\(.*?"""(.+?)(?:"""|\n)', file.read_text("utf-8"), re.MULTILINE | re.DOTALL)[0]


def __getattr__(name: str) -> Callable[..., int]:
    """Return a command by its name; cyclopts asks for it when it is called, or its own help is."""
    if name not in COMMANDS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, function = COMMANDS[name].partition(":")
    return _command(getattr(importlib.import_module(module), function), name)


def _command(function: Callable[..., Any], name: str) -> Callable[..., int]:
    """Return a function as a command: its store is named by a file, its other arguments as a command line can."""
    parameters = inspect.signature(function).parameters.values()
    its_store = next((parameter for parameter in parameters if parameter.name == "store"), None)
    optional = its_store is not None and its_store.default is None

    def command(
        *given: Any, store: Path = DEFAULT_STORE, watch: bool = False, workers: int = 0, ray: str = "", **options: Any
    ) -> int:
        if workers or ray:
            with _in_pools(workers, ray):
                return command(*given, store=store, watch=watch, **options)
        if its_store and its_store.kind is its_store.KEYWORD_ONLY:
            options["store"] = _open(store, make=False, only_looks=False) if store.exists() else None
        elif its_store:
            given = (_open(store, make=name in MAKES_STORE, only_looks=optional or options.get("plan_only")), *given)
        if watch:
            return _watch(function, given, options)
        result = function(*given, **options)
        _say(as_text(result) if hasattr(result, "to_string") else str(result))
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
    from forgekit.store.arguments import whole

    before, share = os.environ.get(POOL_VARIABLE, ""), f"workers={whole('workers', workers or 1)}"
    here = share + f"&address={address}" * bool(address)
    os.environ[POOL_VARIABLE] = here
    try:
        yield
    finally:
        os.environ[POOL_VARIABLE] = before


def _as_written(parameter: inspect.Parameter, function: Callable[..., Any]) -> inspect.Parameter:
    """Return how the parameter of a function is written on the command line: what is keyword-only is an option."""
    if parameter.name == "store":
        return parameter.replace(kind=parameter.KEYWORD_ONLY, default=DEFAULT_STORE, annotation=StoreFile)
    if parameter.kind is parameter.VAR_POSITIONAL:
        return parameter.replace(annotation=str)
    if parameter.kind is not parameter.KEYWORD_ONLY:  # its type may be one that is not imported at run time
        return parameter.replace(kind=parameter.POSITIONAL_ONLY, annotation=str)
    annotations = SimpleNamespace(__annotations__={"": parameter.annotation})
    hint = get_type_hints(annotations, globalns=function.__globals__)[""]
    return parameter.replace(annotation=_read_as(hint, parameter.default))


def _open(path: Path, *, make: bool, only_looks: bool | None) -> Store:
    """Open the store; what only looks or plans makes no file where there is none.

    Raises:
        ParameterError: there is no such file, and the command makes none.
    """
    from forgekit.store import Store, open_store

    if only_looks and not path.exists():
        return Store(path)
    if not make and not path.exists():
        others = [str(file) for file in path.parent.glob("*.duckdb")]
        raise ParameterError(f"no store at {path}.{did_you_mean(str(path), others)} `forgekit import` makes a new one")
    return open_store(path)


def _say(text: str) -> None:
    """Print what came of a command.

    Raises:
        ForgekitError: it cannot be written, as where standard output is a file on a full disk.
    """
    try:
        print(text, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _say_no_more()
        raise ForgekitError(
            f"it is done and stored, but what came of it cannot be written: {error.strerror}"
        ) from error


def _say_no_more() -> None:
    """Lead standard output to nowhere: what could not be written would be tried again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    if Sequence in origins and int in get_args(origins[Sequence]):
        return _text(_whole_numbers, "N,N,…")
    if Sequence in origins:
        return _text(_listed, "A,B,…", show_default=", ".join(default) or False)
    if {int, str} <= kinds:
        return _text(lambda text: int(text) if text.isdigit() else text, "TEXT|N")
    if bool in kinds:
        return Annotated[bool, Parameter(show_default=False)]
    if int in kinds:
        return _text(int, "INT", show_default=default is not None)  # cyclopts would make 2 of "1.5"
    kind = float if float in kinds else str
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


def _whole_numbers(text: str) -> list[int]:
    """Read "1,2"."""
    try:
        return [int(part) for part in _listed(text)]
    except ValueError:
        raise ParameterError(f"{text!r} is no list of whole numbers, such as 1,2,3") from None


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
