"""A pool of workers that outlives any of them, within a budget of memory.

A thread of the main process, the foreman, hands tasks out, one to a worker, and takes what they send; so workers are
kept busy while the main process does other things. What a worker was doing when it died is tried again; no other task
notices.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from curate.engine import memory
from curate.engine.tasks import Again, Item, Job, WorkerTrace, failed_start, too_large
from curate.engine.worker import DONE, READY, TICK, Worker, most_at_once

_IN_FLIGHT = 4  # tasks accepted per worker: enough to keep it busy, few enough to stop soon
_STARTS = 3  # workers that may die in a row before one has started


class Pool:
    """Maps over at most ``workers`` processes, which start when there are tasks for them."""

    def __init__(
        self, workers: int, threads: int, listener: Callable[[int, int], None] | None, budget: int | None
    ) -> None:
        self.most = most_at_once(workers)
        self._threads, self._listener = threads, listener
        self._folder = Path(
            tempfile.mkdtemp(prefix=f"curate-{os.getpid()}-")
        )  # temporary files of all workers
        self._state = threading.Condition()  # guards the two queues and the jobs' results
        self._waiting: deque[Item] = deque()
        self._alone: deque[Item] = deque()  # did not fit beside others
        self._closing = self._killing = False
        self._broken: BaseException | None = None
        self.workers: list[Worker] = []  # the foreman's own, like the rest
        self._started = self._unstarted = 0
        self._guard = None if budget is None else Guard(budget)
        self._woken, self._wake = connection.Pipe(duplex=False)
        self._foreman = threading.Thread(target=self._work, name="curate-foreman", daemon=True)
        self._foreman.start()

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any], again: Again | None) -> Iterator[Any]:
        """Yield function(task) in the order of the tasks; raise there what it raised."""
        job = Job(function, tasks, again)
        fed = 0
        try:
            for number in range(len(tasks)):
                while fed < min(len(tasks), number + self.most * _IN_FLIGHT):
                    self._add(Item(job, fed, tasks[fed], _packed(function, tasks[fed])))
                    fed += 1
                yield self._taken(job, number)
        finally:
            self._drop(job)

    def _add(self, item: Item) -> None:
        with self._state:
            self._waiting.append(item)
        self._wake.send_bytes(b"1")

    def _taken(self, job: Job, number: int) -> Any:
        with self._state:
            while number not in job.results:
                if self._broken is not None:
                    raise self._broken
                self._state.wait(1)  # not for ever: on Windows nothing would interrupt it
            result, error, trace = job.results.pop(number)
        if error is not None:
            raise error from (WorkerTrace(trace) if trace else None)
        return result

    def _drop(self, job: Job) -> None:
        with self._state:
            job.dropped = True
            for queue in (self._waiting, self._alone):
                left = [item for item in queue if item.job is not job]
                queue.clear()
                queue.extend(left)

    def close(self, kill: bool) -> None:
        """End all workers: at once, whatever they do, or only those that work for nobody."""
        self._killing, self._closing = kill, True
        try:
            self._wake.send_bytes(b"1")
        finally:
            self._foreman.join()
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- the foreman --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while not self._closing:
                self._assign()
                self._listen()
                if self._guard is not None:
                    self._guard.look(self)
        except BaseException as error:  # noqa: BLE001  whoever waits must not wait for ever
            self._broken = error
            self._killing = True
        finally:
            self.dismiss(list(self.workers), self._killing)
            with self._state:
                self._state.notify_all()

    def dismiss(self, workers: Sequence[Worker], kill: bool = False) -> None:
        """End workers, the idle ones in their own time unless they are killed."""
        for worker in workers:
            self.workers.remove(worker)
            if kill or worker.item is not None or not worker.ready:
                worker.kill()
            else:
                worker.hang_up()
        for worker in workers:
            worker.wait()

    def _assign(self) -> None:
        """Hand out what may be handed out now, and start workers for it where there are too few."""
        busy = sum(worker.item is not None for worker in self.workers)
        with self._state:
            alone, wanted = bool(self._alone), len(self._waiting)
        if alone:
            most = 0 if busy else 1
            if not busy:  # one worker that has done nothing yet, and holds nothing of it
                fresh = [worker for worker in self.workers if not worker.given][:1]
                self.dismiss([worker for worker in self.workers if worker not in fresh])
                wanted = 1
        elif self._guard is not None and self._guard.near:
            most = max(1, busy)
        else:
            most = self.most
        for _ in range(min(busy + wanted, most) - len(self.workers)):
            self._started += 1
            self.workers.append(Worker(self._started, self._folder, self._threads))
        for worker in self.workers:
            if worker.ready and worker.item is None and busy < most and (item := self._next()) is not None:
                item.started = time.monotonic()
                worker.give(item)
                busy += 1

    def _next(self) -> Item | None:
        with self._state:
            queue = self._alone or self._waiting
            return queue.popleft() if queue else None

    def _listen(self) -> None:
        """Wait for something to happen, and see to it."""
        handles: dict[Any, Worker | None] = {self._woken: None}
        for worker in self.workers:
            handles |= {worker.pipe: worker, worker.process.sentinel: worker}
        happened = connection.wait(list(handles), None if self._guard is None else Guard.PAUSE)
        for found in dict.fromkeys(handles[handle] for handle in happened):
            if found is None:
                while self._woken.poll():
                    self._woken.recv_bytes()
                continue
            died = found.died()  # asked first: what it sent before it died is still to be read
            for kind, *told in found.told():
                self._hear(found, kind, told)
            if died is not None:
                self._bury(found, died)

    def _hear(self, worker: Worker, kind: str, told: list[Any]) -> None:
        if kind == TICK:
            if self._listener is not None:
                self._listener(*told)
        elif kind == READY:
            worker.ready, self._unstarted = True, 0
        else:
            item, worker.item = worker.item, None
            self._settle(item, *((told[0], None, "") if kind == DONE else (None, told[0], told[1])))

    def _settle(self, item: Item, result: Any, error: BaseException | None, trace: str = "") -> None:
        with self._state:
            if not item.job.dropped:
                item.job.results[item.number] = (result, error, trace)
            self._state.notify_all()

    def _bury(self, worker: Worker, how: str) -> None:
        """Take a dead worker's task back, to be tried again as the caller of map says."""
        item = worker.item
        self.dismiss([worker])
        if item is None:
            self._unstarted += not worker.ready
            if self._unstarted >= _STARTS:
                raise failed_start(how)
        elif not item.job.dropped:
            try:
                item.task = item.next_try(how)
                item.payload = _packed(item.job.function, item.task)
            except Exception as error:  # noqa: BLE001  it is for the caller of map to see
                self._settle(item, None, error)
            else:
                self._back(item)

    def _back(self, item: Item) -> None:
        with self._state:
            (self._alone if item.alone else self._waiting).appendleft(item)

    def take_back(self, worker: Worker, budget: int, main: int, size: int) -> None:
        """Kill a worker whose task does not fit into the budget: it is tried again alone, once (sizes in bytes)."""
        item = worker.item
        self.dismiss([worker], kill=True)
        if item.job.dropped:
            return
        if item.alone:
            self._settle(item, None, too_large(item, budget, main, size))
        else:
            item.alone = True
            self._back(item)


def _packed(function: Callable[[Any], Any], task: Any) -> bytes:
    return bytes(ForkingPickler.dumps((function, task)))


class Guard:
    """Holds the processes to a budget: fewer tasks when it is near, and the youngest task's worker killed at it."""

    PAUSE = 0.2  # seconds between two looks
    _HELP = 1.0  # seconds that giving back is given to help

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.near = False
        self._looked = self._released = 0.0

    def look(self, pool: Pool) -> None:
        """Look what the processes hold, and see to it that it stays within the budget."""
        now = time.monotonic()
        if now < self._looked + self.PAUSE:
            return
        self._looked = now
        processes = [os.getpid(), *(worker.process.pid or 0 for worker in pool.workers)]
        held = memory.held(processes, self.budget)
        self.near = held is not None and held >= memory.NEAR * self.budget
        if not self.near or held is None:
            return
        if now >= self._released + self._HELP:
            self._released = now
            idle = [worker for worker in pool.workers if worker.ready and worker.item is None]
            pool.dismiss([worker for worker in idle if worker.released])
            for worker in idle:
                if not worker.released:
                    worker.release()
            memory.release()
        busy = [worker for worker in pool.workers if worker.item is not None]
        if held >= memory.FULL * self.budget and busy:
            youngest = max(busy, key=lambda worker: float(worker.item.started))
            size = memory.proportional(youngest.process.pid or 0)
            pool.take_back(youngest, self.budget, memory.proportional(os.getpid()), size)
