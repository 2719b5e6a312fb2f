"""The local engine: this process for one worker, a pool of spawned processes for more.

Spawned (not forked), because Arrow, polars and numba run threads, and a forked child inherits their locks.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.queues import Queue
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from curate.errors import StageError

T = TypeVar("T")
R = TypeVar("R")
Tick: TypeAlias = Callable[[int, int], None]  # (records, bytes) finished since the last call

_IN_FLIGHT = 4  # tasks handed out per worker: enough to keep it busy, few enough to stop soon

_tick: Tick | None = None  # how this process reports progress; set in workers by _start


def report(records: int, nbytes: int) -> None:
    """Report progress from inside a task; does nothing where nobody listens."""
    if _tick is not None:
        _tick(records, nbytes)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class LocalEngine:
    """Maps over processes. Use it as a context manager; workers start with the first map of several tasks."""

    def __init__(self, workers: int | None = None, tick: Tick | None = None) -> None:
        self.workers = workers or cores()
        self._listener = tick
        self._pool: ProcessPoolExecutor | None = None
        self._queue: Queue[tuple[int, int] | None] | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self._pool is not None:
            if kind is not None:
                # Nobody waits for what was handed out: an unfinished unit leaves nothing that counts.
                for process in dict(self._pool._processes or {}).values():
                    process.terminate()
            self._pool.shutdown(wait=kind is None, cancel_futures=True)
        if self._queue is not None and self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5)

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        again: Callable[[T, int], T] | None = None,
    ) -> Iterator[R]:
        """Yield function(task) in the order of the tasks."""
        if self.workers == 1 or len(tasks) <= 1:
            yield from self._map_here(function, tasks)
        else:
            yield from self._map_pool(function, tasks)

    def _map_here(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        global _tick
        for task in tasks:
            before, _tick = _tick, self._listener
            try:
                result = function(task)
            finally:
                _tick = before
            yield result

    def _map_pool(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        pool = self._started()
        waiting: deque[Future[R]] = deque()
        for task in tasks:
            if len(waiting) >= self.workers * _IN_FLIGHT:
                yield _result(waiting.popleft())
            waiting.append(pool.submit(function, task))
        while waiting:
            yield _result(waiting.popleft())

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._queue = context.Queue()
            self._pool = ProcessPoolExecutor(self.workers, context, _start, (self._queue,))
            self._thread = threading.Thread(target=self._listen, args=(self._queue,), daemon=True)
            self._thread.start()
        return self._pool

    def _listen(self, reports: Queue[tuple[int, int] | None]) -> None:
        while (message := reports.get()) is not None:
            if self._listener is not None:
                self._listener(*message)


def _start(reports: Any) -> None:
    """Set a worker up: it reports over the queue, and leaves the terminal's Ctrl-C to the main process."""
    import signal

    global _tick
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()

    def tick(records: int, nbytes: int) -> None:
        try:
            reports.put_nowait((records, nbytes))
        except queue.Full:
            return  # progress is a courtesy; work never waits for it

    _tick = tick


def _die_with_parent() -> None:
    """End this worker when the main process is gone, killed perhaps: nobody would ever take its result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _result(future: Future[R]) -> R:
    try:
        return future.result()
    except BrokenProcessPool:
        raise StageError(
            "a worker process died, most likely killed for want of memory; nothing finished is lost: "
            "run again with fewer --workers to go on from here"
        ) from None
