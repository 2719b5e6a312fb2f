"""One process per core, each with one thread, one run at a time.

Threads inside torch would wait for one another longer than they work (measured: 218 ms a step with one thread, 3.9 s
with two while another process was busy). Stacking runs gains nothing on a CPU at the sizes that fill a row, and a
run alone has the same bits whatever else is done: results do not depend on workers, order or what was resumed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.engine import local
from curate.tuning import bench as benches
from curate.tuning.contract import Run

if TYPE_CHECKING:
    from curate.tuning.executors import Tick

_ALONE = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_FINE = 1000  # progress goes from workers to the main process in whole numbers


class _Task(NamedTuple):
    folder: Path
    base: Any
    run: Run
    number: int


class Pool:
    """The executor ``pool``."""

    name = "pool"

    def __init__(self, base: Any, workers: int | None = None) -> None:
        self._base, self._workers = base, workers

    def train(self, folder: Path, runs: Sequence[Run], tick: Tick) -> Iterator[Run]:
        """Do the runs that are not done; a worker keeps the base it has loaded."""
        todo = benches.unfinished(folder, runs)
        tasks = [_Task(folder, self._base, run, number) for number, run in enumerate(todo)]
        workers = min(self._workers or local.cores(), max(1, len(todo)))

        def told(number: int, share: int) -> None:
            tick(todo[number], share / _FINE)

        with _environment(), local.LocalEngine(workers, told) as engine:
            yield from engine.map(_do, tasks)


def _do(task: _Task) -> Run:
    from curate.tuning.executors.group import place

    def tick(run: Run, share: float) -> None:
        local.report(task.number, round(share * _FINE))

    place(task.folder, task.base).do([task.run], {task.run}, tick)
    return task.run


class _environment:  # noqa: N801  used as a statement
    """Lets processes that are started inside it begin with one thread, before torch is imported there."""

    def __enter__(self) -> None:
        self._before = {name: os.environ.get(name) for name in _ALONE}
        os.environ.update(_ALONE)

    def __exit__(self, *_: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
