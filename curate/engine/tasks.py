"""Tasks that a pool has accepted: what becomes of one whose worker died, and what a person is told of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from curate.errors import InputError, StageError

Again: TypeAlias = Callable[[Any, int], Any]
TRIES = 3  # of a task whose worker dies, where the caller of map has no better idea


@dataclass(eq=False)
class Job:
    """One call of map."""

    function: Callable[[Any], Any]
    tasks: Sequence[Any]
    again: Again | None
    results: dict[int, tuple[Any, BaseException | None, str]] = field(default_factory=dict)
    dropped: bool = False  # nobody waits for it any more


@dataclass(eq=False)
class Item:
    """A task on its way."""

    job: Job
    number: int
    task: Any
    payload: bytes  # function and task, pickled
    deaths: int = 0
    started: float = 0.0
    alone: bool = False  # it did not fit beside others

    @property
    def title(self) -> str:
        """Say which task it is."""
        about = getattr(self.task, "title", None) or getattr(self.task, "path", None)
        if isinstance(about, str):
            return about
        function = self.job.function
        while isinstance(function, functools.partial):
            function = function.func
        name = getattr(function, "__qualname__", type(function).__name__)
        return f"task {self.number + 1} of {len(self.job.tasks)} of {function.__module__}.{name}"

    def next_try(self, how: str) -> Any:
        """Return the task to try now that its worker has died once more. Raises what the caller of map is to see."""
        self.deaths += 1
        if self.job.again is None:
            if self.deaths < TRIES:
                return self.task
            raise StageError(
                f"{self.title}: tried {self.deaths} times, and the worker {how}; what is finished is kept: run again "
                "with fewer --workers or more --memory if memory was short, else leave out what it works on"
            )
        try:
            return self.job.again(self.task, self.deaths)
        except (StageError, InputError) as error:
            raise type(error)(f"{error}; the worker {how}") from None


class WorkerTrace(Exception):
    """The traceback of an exception in its worker: the cause of the same exception in the main process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def failed_start(how: str) -> StageError:
    """Return the error for workers that die before they have begun."""
    return StageError(
        f"no worker process could start: the last one {how}; a script must call curate under "
        "if __name__ == '__main__'; or run again with --workers 1"
    )


def too_large(item: Item, budget: int, main: int, worker: int) -> StageError:
    """Return the error for a task that does not fit into the budget though it has all of it (sizes in bytes)."""
    return StageError(
        f"{item.title}: does not fit into --memory {_mb(budget)} though nothing else was in work: the main process "
        f"took {_mb(main)}, the worker {_mb(worker)} and was growing; what is finished is kept: run again with more "
        "--memory, or a smaller --batch-size"
    )


def _mb(size: int) -> str:
    return f"{round(size / 1e6)}MB"
