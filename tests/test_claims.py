"""Claims: a worker lives while it holds its lock file, and only then does what it has in hand belong to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from test_store import add_prompt

from forgekit.store.claims import working

DUE = "select id from prompts where status in ('completed', 'generating') order by id"
CLAIM_AND_WAIT = f"""
import sys, time, forgekit as fk
from forgekit.store.claims import working
with working(fk.open_store(sys.argv[1])) as worker:
    print(*worker.claim({DUE!r}, to="generating", limit=2), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def three(store):
    return [add_prompt(store, "completed", text) for text in ("a", "b", "c")]


@pytest.fixture
def other(store, three):
    """Another process that has two of three prompts in hand, and those two."""
    with subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_WAIT, str(store.path)], stdout=subprocess.PIPE, text=True
    ) as process:
        yield process, process.stdout.readline().split()
        process.kill()


def age_claims(store, hours):
    with store.transaction() as con:
        con.execute(f"update claims set claimed_at = claimed_at - interval {hours} hours")


def test_two_workers_of_one_process_never_hold_the_same_prompt(store, three):
    with working(store) as one, working(store) as two:
        mine = one.claim(DUE, to="generating", limit=2)
        theirs = two.claim(DUE, to="generating", limit=2)
    assert (len(mine), len(theirs)) == (2, 1)
    assert sorted(mine + theirs) == sorted(three)


def test_a_live_worker_keeps_its_claims_however_old_they_are(store, other, three):
    process, theirs = other
    age_claims(store, 1000)
    os.kill(process.pid, signal.SIGSTOP)  # not even a sign of life is asked for
    with working(store) as worker:
        mine = worker.claim(DUE, to="generating", limit=5)
    os.kill(process.pid, signal.SIGCONT)
    assert mine == [key for key in three if key not in theirs]


def test_a_killed_worker_is_succeeded_at_once(store, other, three):
    process, _ = other
    process.kill()
    process.wait()
    with working(store) as worker:
        assert sorted(worker.claim(DUE, to="generating", limit=5)) == sorted(three)
        assert len(list(store.path.with_name("forge.duckdb.workers").iterdir())) == 1  # its own; the dead one's is gone


def test_claims_are_void_when_the_worker_has_ended(store, three):
    with working(store) as worker:
        worker.claim(DUE, to="generating", limit=3)
    with working(store) as worker:
        assert sorted(worker.claim(DUE, to="generating", limit=3)) == sorted(three)


def test_a_worker_settles_only_what_it_still_holds(store, three):
    with working(store) as slow:
        ids = slow.claim(DUE, to="generating", limit=3)
        lock = store.path.with_name("forge.duckdb.workers") / f"{slow.id}.lock"
        lock.unlink()  # by hand; the worker is now taken for dead
        with working(store) as quick, store.transaction() as con:
            pass
        with working(store) as quick:
            taken = quick.claim(DUE, to="generating", limit=1)
            with store.transaction() as con:
                settled = slow.settle(con, ids, "generated")
    assert settled == []
    assert {row["status"] for row in store.rows("select status from prompts")} == {"generating"}
    assert len(taken) == 1


def test_what_is_settled_or_released_can_be_claimed_by_others(store, three):
    with working(store) as one, working(store) as two:
        first, second, third = one.claim(DUE, to="generating", limit=3)
        with store.transaction() as con:
            assert one.settle(con, [first], "generated") == [first]
            one.release(con, [second])
        assert two.claim(DUE, limit=5) == [second]
        assert [row["status"] for row in store.rows("select status from prompts where id = $id::uuid", id=third)] == [
            "generating"
        ]
