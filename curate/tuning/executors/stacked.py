"""As many runs at once as fit, stacked on one frozen base in this process.

One run of a small model leaves a GPU waiting for the next kernel to be launched; a stack of K runs launches no more
kernels than one run does. The gain ends where a step is large enough by itself: some tens of thousands of tokens.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.errors import StageError
from curate.tuning import bench as benches
from curate.tuning.contract import Run, Setup
from curate.tuning.executors import group

if TYPE_CHECKING:
    from curate.tuning.executors import Tick

_TOKENS = {"cuda": 32_768, "cpu": 512}  # of a step of all arms, beyond which stacking gains nothing
_MOST = 64  # arms


class Stacked:
    """The executor ``stacked``."""

    name = "stacked"

    def __init__(self, base: Any, most: int = _MOST) -> None:
        self._base, self._most = base, most

    def train(self, folder: Path, runs: Sequence[Run], tick: Tick) -> Iterator[Run]:
        """Do the runs that are not done. A stack that does not fit in memory is halved, and so are those after it."""
        todo = benches.unfinished(folder, runs)
        if not todo:
            return
        here = group.place(folder, self._base)
        waiting = _stacks(here.bench.runs(), todo, here.bench.setup, self._most)
        while waiting:
            stack = waiting.pop(0)
            wanted = [run for run in stack if run in todo]
            try:
                done = here.do(stack, wanted, tick)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                waiting = _halved([stack, *waiting], todo, here.bench.setup)
                done = []
            if not done:  # outside `except`, where the error's traceback would hold the memory
                _let_go()
            yield from done


def _stacks(everything: Sequence[Run], todo: Sequence[Run], setup: Setup, most: int) -> list[list[Run]]:
    """Return stacks of about one size that hold the runs that are to be done.

    On a CPU they are cut from all runs of the bench, so that what stands beside a run, and thereby its last bits, does
    not depend on what was done before: a stack with one run to do is trained whole.
    """
    width = min(most, _TOKENS[setup.device] // (setup.rows * setup.length))
    runs = everything if setup.device == "cpu" else todo
    count = math.ceil(len(runs) / max(1, width))
    width = math.ceil(len(runs) / count)
    stacks = [list(runs[begin : begin + width]) for begin in range(0, len(runs), width)]
    return [stack for stack in stacks if not set(stack).isdisjoint(todo)]


def _halved(stacks: Sequence[list[Run]], todo: Sequence[Run], setup: Setup) -> list[list[Run]]:
    """Cut stacks to half the size of the first, which did not fit."""
    width = len(stacks[0]) // 2
    if not width:
        raise StageError(
            f"one run of {setup.rows} rows of {setup.length} tokens does not fit in the memory of the {setup.device}: "
            "take a smaller base, or one that is quantised; finished runs are kept"
        )
    smaller = [stack[i : i + width] for stack in stacks for i in range(0, len(stack), width)]
    return [stack for stack in smaller if not set(stack).isdisjoint(todo)]


def _out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error is of memory: torch has a class for GPUs, and only words for CPUs."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _let_go() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
