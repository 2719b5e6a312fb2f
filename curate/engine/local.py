"""The local engine: this process for one worker, a pool of spawned processes for more.

Processes, not threads: reading, the ledger and most stages hold Python's lock for most of their time (measured on the
language stage, two threads took as long as one), and hyperscan's scratch space is one per process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import TypeAlias, TypeVar

from curate.engine import memory as budgets
from curate.engine.pool import Pool

T = TypeVar("T")
R = TypeVar("R")
Tick: TypeAlias = Callable[[int, int], None]  # (records, bytes) finished since the last call

_tick: Tick | None = None  # how this process reports progress


def report(records: int, nbytes: int) -> None:
    """Report progress from inside a task; does nothing where nobody listens."""
    if _tick is not None:
        _tick(records, nbytes)


def listen(tick: Tick | None) -> Tick | None:
    """Set who hears of this process's progress; return who did before."""
    global _tick
    before, _tick = _tick, tick
    return before


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Maps over processes. Use it as a context manager; workers start with the first map of several tasks.

    memory: a hard budget in bytes for this process and all workers together (:mod:`curate.engine.memory`). ``workers``
    is then what the budget holds, at most.
    """

    def __init__(
        self, workers: int | None = None, tick: Tick | None = None, memory: int | None = None
    ) -> None:
        self.workers = budgets.workers_within(memory, workers or cores())
        self._listener = tick
        self._memory = memory
        self._pool: Pool | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.close(kill=kind is not None)  # an unfinished unit leaves nothing that counts

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        again: Callable[[T, int], T] | None = None,
    ) -> Iterator[R]:
        """Yield function(task) in the order of the tasks (curate.stage.Engine).

        A single task, and all tasks of a single worker, are done in this process; but one with a true attribute
        ``apart``, which may kill its process, in a worker.
        """
        if self.workers > 1 and len(tasks) > 1:
            yield from self._started().map(function, tasks, again)
            return
        for task in tasks:
            if getattr(task, "apart", False):
                yield from self._started().map(function, [task], again)
            else:
                yield self._here(function, task)

    def _here(self, function: Callable[[T], R], task: T) -> R:
        before = listen(self._listener)
        try:
            return function(task)
        finally:
            listen(before)
            if (
                self._memory
                and (budgets.held([os.getpid()], self._memory) or 0) >= budgets.NEAR * self._memory
            ):
                budgets.release()

    def _started(self) -> Pool:
        if self._pool is None:
            threads = max(1, cores() // self.workers)
            self._pool = Pool(self.workers, threads, self._listener, self._memory)
        return self._pool
