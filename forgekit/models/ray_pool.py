"""Pools: a model of any role in many workers, on this machine or on a Ray cluster. To who asks, a pool is the model inside.

Ray starts workers that died again. What they had in hand is sent again from here: what Ray repeats is lost with a machine.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from queue import SimpleQueue
from typing import Annotated, Any

import ray
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError

from forgekit.errors import ItemError, ParameterError, UnknownModelError, first_line, reworded
from forgekit.ids import canonical_json
from forgekit.models.memory import let_go, let_others_go, loaded, weights
from forgekit.models.naming import POOL_SETTINGS, POOL_VARIABLE
from forgekit.models.roles import in_order

log = logging.getLogger(__name__)

WORK = {"draw": "describe", "judge": "judge_key", "generate": "name"}  # what workers do, and what they must agree on
TRIES = 3  # workers that one item may kill
PAUSE_S = 1.0  # between two looks at whether anybody is there to answer


@dataclass(frozen=True)
class Share:
    """What a pool takes of a cluster: `workers`, each with `gpus` (also a part of one) and `cpus`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    workers: Annotated[int, Field(ge=1)] = 1
    gpus: Annotated[float, Field(ge=0)] | None = None  # None: one, where the cluster has any and the model takes it
    cpus: Annotated[float, Field(gt=0)] = 1.0
    address: str = ""  # host:port of the cluster, or "auto"; else RAY_ADDRESS, else a Ray for this process alone
    start_s: Annotated[float, Field(gt=0)] = 300.0  # how long there may be no worker at all


def pooled(model: Any, share: Mapping[str, str], load: Callable[[], Any]) -> Pool:
    """Return a pool of what `load` returns in each worker; `model` is the same, here, for what it says without weights.

    Raises:
        ParameterError: a setting that `Share` does not have, or a value that it cannot have.
    """
    try:
        return Pool(model, TypeAdapter(Share).validate_python(dict(share)), load)
    except ValidationError as error:
        raise reworded(error, f"a pool of {model.name}", POOL_SETTINGS, what="setting") from error


class Pool:
    """A model in many workers, which start when they are first needed."""

    device, dtype = "ray", "auto"  # pools make room for one another, not for models that run here

    def __init__(self, inside: Any, share: Share, load: Callable[[], Any]) -> None:
        self.inside, self.share, self.load = inside, share, load
        self.at_once = self.in_flight = share.workers  # of batches, and of conversations
        self._work = next(work for work in WORK if hasattr(inside, work))
        self._lock = threading.Lock()  # who asks may do so from several threads

    def __getattr__(self, name: str) -> Any:
        """Return what the model inside has; its work, and what pixels and verdicts depend on, is that of the workers."""
        if name.startswith("_") or name.endswith("_json"):
            raise AttributeError(name)
        if name in ("describe", "judge_key") and name == WORK[self._work]:
            return self._told if name == "describe" else self._told()
        if name == self._work:
            return lambda *columns: in_order(self._each(*columns), len(columns[0]))
        return self._each if name == f"{self._work}_each" else getattr(self.inside, name)

    def _told(self) -> Any:
        crew = self._workers()
        while crew.identity is None:
            crew.check(idle=True)
            time.sleep(PAUSE_S / 20)
        return crew.identity

    def _each(self, *columns: Sequence[Any]) -> Iterator[list[tuple[int, Any]]]:
        """Yield lists of (place, result) as they come. What is raised comes last; at once only what holds for all of them."""
        if not columns[0]:
            return
        crew, waiting, raised = self._workers(), dict[Future[Any], tuple[list[int], int]](), None
        todo: list[tuple[list[int], int]] = [(places, 0) for places in self._parcels(columns[0])]
        try:
            while todo or waiting:
                for places, deaths in todo:
                    picked = [[column[place] for place in places] for column in columns]
                    waiting[crew.threads.submit(crew.ask, self._work, picked)] = places, deaths
                done, todo = wait(waiting, PAUSE_S, FIRST_COMPLETED).done, []
                crew.check(idle=not done)
                for future in done:
                    places, deaths = waiting.pop(future)
                    error = future.exception()
                    if isinstance(error, UnknownModelError):
                        raise error
                    if isinstance(error, RayError) and deaths + 1 < TRIES:
                        # in the end each item alone, so that the one that kills its workers is found
                        alone = [[place] for place in places] if deaths + 2 == TRIES else [places]
                        todo += [(some, deaths + 1) for some in alone]
                    elif isinstance(error, RayError):
                        full = "out of memory, " if isinstance(error, OutOfMemoryError) else ""
                        fate = ItemError(f"{self.name}: {full}its worker died {TRIES} times at it: {why(error)}")
                        yield [(place, fate) for place in places]
                    elif error is None:
                        yield list(zip(places, future.result(), strict=True))
                    else:
                        raised = raised or error
        finally:
            if waiting:  # who asked has gone, by Ctrl-C or by an error: nobody works for nobody
                crew.close()
        if raised:
            raise raised

    def _parcels(self, items: Sequence[Any]) -> Iterator[list[int]]:
        """Yield the places of items that go to a worker together: a batch as the model takes it, but no worker is idle."""
        alike: dict[str, list[int]] = defaultdict(list)
        for place, item in enumerate(items):
            alike[canonical_json(getattr(item, "parameters", None))].append(place)
        size = min(max(1, getattr(self.inside, "batch_size", 1)), ceil(len(items) / self.at_once))
        for places in alike.values():
            yield from (places[start : start + size] for start in range(0, len(places), size))

    def _workers(self) -> Crew:
        with self._lock:
            old = vars(self).get("_crew")
            # One that was refused is not tried again for a while: each prompt would wait for it anew.
            over = old and old.closed and not (old.refused and time.monotonic() - old.since < self.share.start_s)
            if over or not ray.is_initialized():
                let_go(self)
            return self._crew

    @weights
    def _crew(self) -> Crew:
        return Crew(self.name, WORK[self._work], _fitted(self), self.load)


class Worker:
    """The model in a process of its own."""

    def __init__(self, load: Callable[[], Any], folder: str) -> None:
        os.environ.pop(POOL_VARIABLE, None)  # it is one model and no pool
        with suppress(OSError):  # a machine without that folder needs no path in it
            os.chdir(folder)
        self.load = load

    def start(self, tell: str) -> Any:
        """Make the model, without its weights, and return what it says of itself."""
        self.model = self.load()
        told = getattr(self.model, tell)
        return told() if callable(told) else told

    def ask(self, work: str, columns: Sequence[Sequence[Any]]) -> Any:
        """Return what the model says about items."""
        return getattr(self.model, work)(*columns)


class Crew:
    """The workers of a pool."""

    def __init__(self, name: str, tell: str, share: Share, load: Callable[[], Any]) -> None:
        self.name, self.tell, self.share = name, tell, share
        self.since, self.closed, self.refused, self.identity = time.monotonic(), False, "", None
        self.free: SimpleQueue[Any] = SimpleQueue()  # workers that have nothing in hand
        self.started: set[Any] = set()
        self.threads = ThreadPoolExecutor(share.workers)
        options = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_restarts": -1, "scheduling_strategy": "SPREAD"}
        worker = ray.remote(**options)(Worker)
        self.actors = [worker.remote(load, str(Path.cwd())) for _ in range(share.workers)]
        for actor in self.actors:
            threading.Thread(target=self.start, args=(actor,), daemon=True).start()

    def start(self, actor: Any) -> None:
        """Have a worker take part once Ray has a place for it."""
        while not self.closed:
            try:
                told = ray.get(actor.start.remote(self.tell))
            except RayTaskError as error:  # the model says no, and would say so again
                return self.close(str(error.cause))
            except RayError:  # it has no place yet
                time.sleep(PAUSE_S)
                continue
            self.identity = self.identity or told
            if told != self.identity:
                return self.close(f"its workers differ; give all machines one version: {self.identity}, {told}")
            self.started.add(actor)
            return self.free.put(actor)

    def ask(self, work: str, columns: Sequence[Sequence[Any]]) -> Any:
        """Return what the next free worker says about some items. Raises RayError: the worker died at it."""
        actor = None if self.closed else self.free.get()
        if actor is None:
            raise UnknownModelError(f"{self.name}: {self.refused or 'its workers were let go'}")
        try:
            results = ray.get(actor.ask.remote(work, columns))
        except RayTaskError as error:
            self.free.put(actor)
            raise error.cause from None
        except RayError as error:
            log.warning("%s: %s", self.name, why(error))
            self.started.discard(actor)
            self.since = time.monotonic()
            threading.Thread(target=self.start, args=(actor,), daemon=True).start()
            raise
        self.free.put(actor)
        if not isinstance(results, list | tuple) or len(results) != len(columns[0]):
            raise ParameterError(f"{self.name} gave {results!r:.100} for {len(columns[0])} items")
        return results

    def check(self, *, idle: bool) -> None:
        """Look whether there is anybody to wait for. Raises UnknownModelError: no worker can start, or none has for `start_s`."""
        share = self.share
        if self.refused:
            raise UnknownModelError(f"{self.name}: {self.refused}")
        if idle and not self.started and time.monotonic() - self.since > share.start_s:
            told = f"no worker has started for {share.start_s:g} s; each takes {share.cpus:g} CPU and {share.gpus:g} GPU of"
            remedy = "Take less (cpus=, gpus=), or wait longer (start_s=)"
            raise UnknownModelError(f"{self.name}: {told} {ray.cluster_resources()}. {remedy}")

    def close(self, refused: str = "") -> None:
        """Let all workers go, with what they have in hand."""
        self.closed, self.refused, self.since = True, self.refused or refused, time.monotonic()
        for actor in self.actors:
            self.free.put(None)
            with suppress(RayError, RuntimeError):  # Ray itself may be gone
                ray.kill(actor)


def why(error: RayError) -> str:
    """Return what Ray says of a death, in one sentence."""
    lines = str(error).splitlines() or [type(error).__name__]
    return next((line for line in lines if "dead because" in line), lines[-1]).split(". ")[0][:300]


def _fitted(pool: Pool) -> Share:
    """Return what the pool takes of the cluster; where there is no room, other pools of this process are let go for it."""
    _connect(pool.share.address)
    has = ray.cluster_resources()
    gpu = has.get("GPU", 0) > 0 and getattr(pool.inside, "device", "auto") != "cpu"
    share = replace(pool.share, gpus=float(gpu) if pool.share.gpus is None else pool.share.gpus)
    taken = [share, *(vars(other)["_crew"].share for other in loaded() if isinstance(other, Pool))]
    sums = {"CPU": sum(one.workers * one.cpus for one in taken), "GPU": sum(one.workers * one.gpus for one in taken)}
    if any(amount > has.get(kind, 0) for kind, amount in sums.items()):
        let_others_go(pool)
    return share


def _connect(address: str) -> None:
    """Join the cluster at `address`, or start a Ray for this process alone.

    Raises:
        UnknownModelError: there is no cluster, or this process is on another one.
    """
    there = ray.get_runtime_context().gcs_address if ray.is_initialized() else ""
    if there and address not in ("", "auto", there):
        raise UnknownModelError(f"this process works on the Ray at {there}; give {address} a process of its own")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    own: dict[str, Any] = {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    joins = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = joins.rpartition(":")
    try:
        if not there and port.isdigit():  # Ray itself knocks for five minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        if not there:
            ray.init(joins or "local", log_to_driver=False, logging_level=logging.ERROR, **({} if joins else own))
    except Exception as error:  # of many kinds; one is Exception itself
        place = joins or "this machine"
        raise UnknownModelError(f"no Ray at {place}: {first_line(error)}; `ray start --head` starts one") from error
