"""Claims: which worker has which prompts in hand. A worker lives while it holds its lock file: no clock, pid or host decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
from filelock import FileLock, Timeout

from forgekit.errors import ForgekitError
from forgekit.store import Store
from forgekit.store.rows import fetch_dicts
from forgekit.store.salvage import not_allowed

OTHERS = "select distinct worker from claims where worker <> $me order by worker"
FREE = "select id from ({due}) as due where id not in (select prompt_id from claims where worker <> $me) limit $limit"
HELD = """
select prompt_id
from claims
where worker = $me
  and prompt_id in (select unnest($ids::uuid[]))
order by prompt_id
"""
FORGET = "delete from claims where worker = $worker"
RELEASE = "delete from claims where worker = $me and prompt_id in (select unnest($ids::uuid[]))"
TAKEN = "select unnest($ids::uuid[]) as id"
TAKE = "insert into claims (prompt_id, worker) select unnest($ids::uuid[]), $me"


@dataclass(frozen=True)
class Worker:
    """One run of a stage, alive until its lock is let go. Make one with `working`."""

    store: Store
    id: str

    def claim(self, due: str, *, limit: int, to: str | None = None, **values: Any) -> list[str]:
        """Take prompts in hand: as `claim_rows`, but return their ids alone."""
        return [row["id"] for row in self.claim_rows(due, TAKEN, limit=limit, to=to, **values)]

    def claim_rows(
        self, due: str, in_hand: str, *, limit: int, to: str | None = None, **values: Any
    ) -> list[dict[str, Any]]:
        """Take prompts in hand, and return what the query `in_hand` says of them, given as `$ids`.

        They are up to `limit` of the ids that the query `due` selects, in its order. What another live worker has in hand
        is passed over; what a dead one had is taken up. With `to` they are also set to that status.

        Raises:
            StatusError: a due prompt cannot become `to`.
        """
        with self.store.transaction() as con:
            for (worker,) in con.execute(OTHERS, {"me": self.id}).fetchall():
                if _is_dead(_lock_file(self.store, worker)):
                    con.execute(FORGET, {"worker": worker})
            found = con.execute(FREE.format(due=due), {**values, "me": self.id, "limit": limit}).fetchall()
            ids = [str(row[0]) for row in found]
            if ids and to:
                self.store.move_prompts(con, ids, to)
            if not ids:
                return []
            con.execute(RELEASE, {"ids": ids, "me": self.id})
            con.execute(TAKE, {"ids": ids, "me": self.id})
            return fetch_dicts(con.execute(in_hand, {"ids": ids}))

    def settle(self, con: duckdb.DuckDBPyConnection, ids: Sequence[str], to: str) -> list[str]:
        """Set those of `ids` that this worker still holds to status `to`, release them, and return them.

        A prompt that was taken from it (its lock file was deleted by hand, say) belongs to another worker now, and is
        left to that one.
        """
        held = self.held(con, ids) if ids else []
        if not held:
            return []
        self.store.move_prompts(con, held, to)
        self.release(con, held)
        return held

    def held(self, con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[str]:
        """Return those of `ids` that this worker still holds."""
        return [str(row[0]) for row in con.execute(HELD, {"ids": list(ids), "me": self.id}).fetchall()]

    def release(self, con: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> None:
        """Let go of prompts and leave their status as it is."""
        con.execute(RELEASE, {"ids": list(ids), "me": self.id})


@contextmanager
def working(store: Store) -> Iterator[Worker]:
    """Be a worker on `store` for the length of the block; claims that it still has at the end are void.

    Its lock file lies beside the store. The operating system frees the lock with the process, however that ends, so a
    killed worker's prompts are taken up at once, and those of a slow one never.
    """
    worker = Worker(store, uuid4().hex)
    file = _lock_file(store, worker.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for left in file.parent.glob("*.lock"):  # of workers that died with nothing in hand
            _is_dead(left)
        held = FileLock(file, thread_local=False).acquire()
    except PermissionError as error:
        raise not_allowed(file.parent, "written") from error
    with held:
        try:
            yield worker
        finally:
            file.unlink(missing_ok=True)


@contextmanager
def alone(file: Path, refusal: ForgekitError) -> Iterator[None]:
    """Hold a lock file for the length of the block; raise `refusal` where another process holds it."""
    try:
        held = FileLock(file, blocking=False).acquire()
    except Timeout:
        raise refusal from None
    with held:
        yield


def dead_workers(store: Store) -> tuple[list[str], list[str]]:
    """Return the workers that left a claim or a lock file and are dead, and those that live; nothing is changed."""
    claiming = {row["worker"] for row in store.rows("select distinct worker from claims")}
    workers = sorted(claiming | {file.stem for file in _lock_file(store, "*").parent.glob("*.lock")})
    alive = [worker for worker in workers if not _is_dead(_lock_file(store, worker), clear=False)]
    return [worker for worker in workers if worker not in alive], alive


def forget_workers(store: Store, workers: Sequence[str]) -> None:
    """Remove the claims and lock files of dead workers."""
    with store.transaction() as con:
        for worker in workers:
            if _is_dead(_lock_file(store, worker)):
                con.execute(FORGET, {"worker": worker})


def _lock_file(store: Store, worker: str) -> Path:
    return store.path.with_name(f"{store.path.name}.workers") / f"{worker}.lock"


def _is_dead(file: Path, *, clear: bool = True) -> bool:
    """Whether nobody holds this lock; with `clear` the file of a dead worker is removed."""
    if not file.exists():
        return True
    try:
        with FileLock(file, blocking=False):
            if clear:
                file.unlink(missing_ok=True)  # while it is held: nobody can take it for a live worker's
    except Timeout:
        return False
    return True
