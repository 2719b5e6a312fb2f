"""Runs as tasks of a Ray cluster: each takes one GPU, or one core where there is none.

Only the folder's path travels: the bench lies on a file system that every node sees, and so do results and the base. A
cluster is joined through ``RAY_ADDRESS``; without it one is started on this machine for as long as it trains.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.engine.local import cores
from curate.engine.ray import joined
from curate.errors import CurateError, StageError
from curate.tuning import bench as benches
from curate.tuning.contract import Run
from curate.tuning.executors import group
from curate.tuning.executors.stacked import Stacked

if TYPE_CHECKING:
    from curate.tuning.executors import Tick

_RETRIES = 2  # of a task whose node was lost


class Ray:
    """The executor ``ray``."""

    name = "ray"

    def __init__(self, base: Any, workers: int | None = None) -> None:
        self._base, self._workers = base, workers

    def train(self, folder: Path, runs: Sequence[Run], tick: Tick) -> Iterator[Run]:
        """Do the runs that are not done, on as many GPUs or cores as the cluster has; yield them as they come."""
        todo = benches.unfinished(folder, runs)
        if not todo:
            return
        address = os.environ.get("RAY_ADDRESS") or "local"
        with joined(address, self._workers or cores(), "tunes on a Ray cluster") as ray:
            setup = benches.load(folder).setup
            gpu = setup.device == "cuda"
            task = ray.remote(num_cpus=1, num_gpus=int(gpu), max_retries=_RETRIES)(_stack if gpu else _alone)
            parts = _shared(todo, int(ray.cluster_resources().get("GPU", 1))) if gpu else [[r] for r in todo]
            yield from _awaited(
                ray, [task.remote(folder.resolve(), self._base, part) for part in parts], tick
            )


def _shared(todo: Sequence[Run], gpus: int) -> list[list[Run]]:
    """Return one part of the runs for each GPU; there its stacks are cut as elsewhere."""
    return [part for part in ([*todo[at::gpus]] for at in range(gpus)) if part]


def _awaited(ray: Any, waiting: list[Any], tick: Tick) -> Iterator[Run]:
    while waiting:
        done, waiting = ray.wait(waiting)
        try:
            runs: list[Run] = ray.get(done[0])
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, CurateError) else None
            raise cause or StageError(
                f"a task failed on the Ray cluster ({type(error.cause).__name__}); what is finished is kept: run "
                "again to go on from here"
            ) from error
        except ray.exceptions.RayError as error:
            raise StageError(
                f"a node or worker of the Ray cluster died ({type(error).__name__}); what is finished is kept: run "
                "again to go on from here"
            ) from None
        for run in runs:
            tick(run, 1.0)
            yield run


def _ignore(run: Run, share: float) -> None:
    """Hear no progress."""


def _alone(folder: Path, base: Any, runs: Sequence[Run]) -> list[Run]:
    return group.place(folder, base).do(runs, set(runs), _ignore)


def _stack(folder: Path, base: Any, runs: Sequence[Run]) -> list[Run]:
    return list(Stacked(base).train(folder, runs, _ignore))
