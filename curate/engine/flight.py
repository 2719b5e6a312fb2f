"""The tasks of a map that a Ray cluster works on: handed out, taken back, handed out anew.

A worker that dies is the doing of its task, and the caller of map says how to go on; a node that is lost is nobody's,
and the task is simply handed out anew.
"""

from __future__ import annotations

import heapq
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from curate.engine import travel
from curate.engine.tasks import Again, Item, Job, WorkerTrace
from curate.engine.worker import DONE
from curate.errors import StageError

LOSSES = 8  # nodes that a task may lose; the pauses before its next try double from 1 s to 30 s at most
_AHEAD = (
    16  # tasks handed out before the one whose result is awaited, per worker: results wait in this process
)
_WAIT = 5.0  # seconds between two looks at the cluster, while nothing finishes
_GRACE = 1.0  # seconds after a worker's death in which its node may turn out to be dead


class Flight:
    """One call of map: which of its tasks Ray has, and what became of the others."""

    def __init__(
        self, engine: Any, function: Callable[[Any], Any], tasks: Sequence[Any], again: Again | None
    ) -> None:
        self._engine, self._ray = engine, engine.ray
        self._job = Job(function, tasks, again)
        self._packer = travel.Packer(function, tasks)
        self._common = self._ray.put(self._packer.common)
        self._running: dict[Any, tuple[Item, frozenset[str]]] = {}  # reference → task, nodes lost before it
        self._later: list[tuple[float, int, Item]] = []  # when to hand out again
        self._losses: dict[int, int] = {}
        self._dead = engine.dead()

    def results(self) -> Iterator[Any]:
        """Yield the results in the order of the tasks; raise there what a task raised."""
        fed, total = 0, len(self._job.tasks)
        try:
            for number in range(total):
                while number not in self._job.results:
                    most = self._engine.in_flight()
                    while fed < min(total, number + most * _AHEAD) and len(self._running) < most:
                        task = self._job.tasks[fed]
                        self._hand_out(Item(self._job, fed, task, self._packer.pack(task)))
                        fed += 1
                    self._collect()
                result, error, trace = self._job.results.pop(number)
                if error is not None:
                    raise error from (WorkerTrace(trace) if trace else None)
                yield result
        finally:
            for ref in self._running:  # nobody waits for them: an unfinished unit leaves nothing that counts
                with suppress(Exception):
                    self._ray.cancel(ref, force=True)
            del self._common

    def _hand_out(self, item: Item) -> None:
        once = (self._engine.setup, self._common)
        keys = (self._engine.setup_key, self._packer.key)
        ref = self._engine.task.remote(once, keys, item.payload)
        self._running[ref] = (item, self._dead)

    def _collect(self) -> None:
        """Wait for something to finish, and take all that has."""
        now = time.monotonic()
        while self._later and self._later[0][0] <= now:
            self._hand_out(heapq.heappop(self._later)[2])
        wait = max(0.0, min(_WAIT, self._later[0][0] - now)) if self._later else _WAIT
        if not self._running:
            time.sleep(wait)
        else:
            running = list(self._running)
            found, _ = self._ray.wait(running, num_returns=1, timeout=wait)
            if found:
                found, _ = self._ray.wait(running, num_returns=len(running), timeout=0)
            for ref in found:
                self._take(ref)
        self._engine.look(time.monotonic())

    def _take(self, ref: Any) -> None:
        """Fetch a result at once, before its node can be lost; or see what became of the task."""
        raised = self._ray.exceptions
        item, dead = self._running.pop(ref)
        try:
            outcome, records, nbytes = self._ray.get(ref)
        except (raised.NodeDiedError, raised.ObjectLostError, raised.RpcError):
            self._lost(item)
        except raised.OutOfMemoryError:
            self._died(item, "was killed by Ray: its node was out of memory")
        except raised.WorkerCrashedError:
            if self._node_lost(dead):
                self._lost(item)
            else:
                self._died(item, "died: killed by somebody, or by the system for want of memory")
        except raised.RayError as error:
            self._settle(item, error=StageError(_unknown(item, error)))
        else:
            if self._engine.tick is not None and (records or nbytes):
                self._engine.tick(records, nbytes)
            kind, *told = pickle.loads(outcome)
            if kind == DONE:
                self._settle(item, told[0])
            else:
                self._settle(item, error=told[0], trace=told[1])

    def _settle(
        self, item: Item, result: Any = None, error: BaseException | None = None, trace: str = ""
    ) -> None:
        self._job.results[item.number] = (result, error, trace)

    def _node_lost(self, before: frozenset[str]) -> bool:
        """Tell whether a node was lost since: then a worker's death was most likely that one's."""
        until = time.monotonic() + _GRACE
        while True:
            self._dead = self._engine.dead()
            if self._dead - before:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(_GRACE / 5)

    def _lost(self, item: Item) -> None:
        """Hand a task out anew, after a pause, whose node was lost."""
        count = self._losses[item.number] = self._losses.get(item.number, 0) + 1
        if count > LOSSES:
            message = (
                f"{item.title}: {count} nodes of the Ray cluster were lost while they worked on it; what is finished "
                "is kept: run again when the cluster keeps its nodes for longer"
            )
            self._settle(item, error=StageError(message))
        else:
            pause = min(30.0, 2.0 ** (count - 1))
            heapq.heappush(self._later, (time.monotonic() + pause, item.number, item))

    def _died(self, item: Item, how: str) -> None:
        """Try a task whose worker died again, as the caller of map says."""
        try:
            item.task = item.next_try(how)
            item.payload = self._packer.pack(item.task)
        except Exception as error:  # noqa: BLE001  it is for the caller of map to see
            self._settle(item, error=error)
        else:
            self._hand_out(item)


def _unknown(item: Item, error: Exception) -> str:
    kind = type(getattr(error, "cause", None) or error).__name__
    return (
        f"{item.title}: Ray could not do it ({kind}); what is finished is kept: run again to go on from here"
    )
