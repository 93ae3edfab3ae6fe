"""Opening a store's file for moments. The DuckDB around it stays: to start one takes ten times as long as to open a file."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import duckdb
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from forgekit.errors import StoreError
from forgekit.store.salvage import damaged, is_damage, not_allowed, refuse_foreign

# A store may come from a stranger: its views must reach no other file, and no extension is fetched for them.
ALONE = {"autoload_known_extensions": "false", "autoinstall_known_extensions": "false"}
# A misspelt table name must be an error, not whatever Python variable has that name.
NAMES = {"python_enable_replacements": "false"}
OWN_FILES = ("", ".wal", ".wal.checkpoint", ".wal.recovery")
DENIED = re.compile(r"Permission denied\W*$")
HELD_HERE = re.compile(
    "Binder Error: Database .* is already attached in|Resource In Use Error: Unique file handle conflict"
)


class Engine:
    """The DuckDB of one store in this process: while nobody works on the store, it has no file open.

    Who opens the store in the same way at the same time, within a block or in another thread, shares the open file. It is
    never opened twice: with the first of its openings that a process closes, it loses its lock on the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = threading.Lock()
        self._users = 0
        self._duckdb: duckdb.DuckDBPyConnection | None = None

    @contextmanager
    def opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open the file for the length of the block, or join who has it open in the same way.

        Raises:
            duckdb.Error: it cannot be opened, or somebody else has it open.
            StoreError: what is there is no DuckDB file.
        """
        con = self._open(read_only)
        try:
            yield con
        except BaseException:
            self._close(con, keep=False)  # a fatal error of DuckDB's is one of all that come after it
            raise
        self._close(con, keep=True)

    def _open(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        with self._turn:
            if not self._users:
                refuse_foreign(self._path)
            self._duckdb = self._duckdb or self._started()
            place = str(self._path).replace("'", "''")
            mode = "read_only" if read_only else "read_write"
            try:
                self._duckdb.execute(f"attach if not exists '{place}' as forge (type duckdb, {mode})")
                con = self._duckdb.cursor()
                con.execute("use forge")
            except BaseException as error:
                if not self._users and not _holder(error):
                    self._duckdb = None
                raise
            self._users += 1
        return con

    def _close(self, con: duckdb.DuckDBPyConnection, *, keep: bool) -> None:
        con.close()
        with self._turn:
            self._users -= 1
            if self._users:
                return
            if keep and self._duckdb:
                with suppress(duckdb.Error):  # it could not tidy up, on a full disk: what was committed is in the log
                    self._duckdb.execute("detach forge")
                    return
            self._duckdb = None

    def _started(self) -> duckdb.DuckDBPyConnection:
        started = duckdb.connect(":memory:", config={**ALONE, **NAMES, "temp_directory": f"{self._path}.tmp"})
        started.execute("set allowed_paths = $files", {"files": [f"{self._path}{ending}" for ending in OWN_FILES]})
        started.execute("set enable_external_access = false")
        return started


@contextmanager
def opened(path: Path, *, read_only: bool, timeout_s: float) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a store's file for the length of the block; wait up to `timeout_s` for others to let go of it.

    Raises:
        StoreError: another process has held it all the time, it is not there, is no store, or is damaged.
    """
    waiting = Retrying(
        retry=retry_if_exception(lambda error: _holder(error) is not None),
        stop=stop_after_delay(timeout_s),
        wait=wait_random_exponential(multiplier=0.01, max=0.2),  # random: waiting workers do not march in step
        reraise=True,
    )
    engine = _engine_of(path.absolute())
    with ExitStack() as stack:
        try:
            con = waiting(lambda: stack.enter_context(engine.opened(read_only=read_only)))
        except (duckdb.Error, PermissionError) as error:
            if DENIED.search(str(error).removesuffix(f": {str(path)!r}")):
                raise not_allowed(path, "read" if read_only else "written") from error
            if holder := _holder(error):
                raise StoreError(
                    f"{path} has been held by {holder} for {timeout_s:.0f} s. Close that connection, or open "
                    "the store with a longer timeout_s"
                ) from error
            if not path.exists():
                raise StoreError(f"{path} is not there. `forgekit.open_store(path)` makes a new store") from error
            raise damaged(path, str(error)) from error
        try:
            yield con
        except duckdb.Error as error:
            if is_damage(error):
                raise damaged(path, str(error)) from error
            raise


def _holder(error: BaseException) -> str | None:
    """Return who has the file open, by what DuckDB says; None where that is not what is wrong.

    The path stands in the message too, and may be called anything: only what stands before and behind it counts.
    """
    said = str(error)
    if HELD_HERE.match(said):
        return "a connection that this process, your own notebook or script, has open"
    if not said.startswith("IO Error: Could not set lock on file"):
        return None
    pids = re.findall(r"\(PID (\d+)\)", said)
    return f"process {pids[-1]}" if pids else "another process"


@lru_cache(maxsize=4)
def _engine_of(path: Path) -> Engine:
    return Engine(path)


if hasattr(os, "register_at_fork"):  # the threads of a DuckDB that rests would be missing in the child
    os.register_at_fork(before=_engine_of.cache_clear)
