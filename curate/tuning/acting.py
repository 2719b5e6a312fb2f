"""A stage's verdicts acted on in memory, through what a run acts through (:class:`curate.unit.Work`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.outcome import Writer
from curate.record import Batch
from curate.stage import Barrier, Stage
from curate.unit import Work

BATCH = 1024  # records


class _Nowhere(Writer):
    """Takes what a unit would write of its decisions: here, only what goes on counts."""

    def __init__(self) -> None:
        super().__init__(Path())

    def append(self, name: str, rows: Any) -> None:
        """Do nothing."""

    def append_any(self, name: str, rows: Batch) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Task:
    """A batch for a stage to judge."""

    stage: Stage
    place: int  # in the recipe, from 1
    batch: Batch


def acted(task: Task) -> Batch:
    """Return the records of a batch that go on, as the stage leaves them."""
    return Work(_Nowhere()).judge(task.place, task.stage, task.batch)


@dataclass(frozen=True)
class Sketching:
    """Records for a barrier to sketch."""

    folder: Path
    barrier: Barrier
    batch: Batch


def sketched(task: Sketching) -> None:
    """Write a part as a run does: the records, and what the barrier remembers of them."""
    task.folder.mkdir(parents=True)
    work = Work(Writer(task.folder))
    for start in range(0, task.batch.num_rows, BATCH):
        batch = task.batch.slice(start, BATCH)
        work.out.append("records", batch)
        work.sketch(0, task.barrier, batch)  # in no careful mode, which alone needs the place
    work.out.close(work.tallies)
