"""How much memory a run takes: its processes as the rehearsal saw them, and what grows with the records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.engine.memory import expected as processes
from curate.engine.memory import machine
from curate.forecast.growth import RESOLVE, WRITE, Grown
from curate.forecast.rehearsal import Held, Rehearsal
from curate.recipe import Recipe

HELPER = 13 * 10**6  # of the process that multiprocessing keeps beside workers; measured
# Beside what a sample shows, writing holds per record: ids that are looked for twice, and clusters, in DuckDB. Measured
# with benchmarks/memory.py at 0.5 million records, and at 5 million, where it stays within what is spare and spills.
WRITE_BYTES = 120


@dataclass(frozen=True)
class Tree:
    """Memory of all processes, in bytes."""

    together: int  # pages that processes share counted once (PSS)
    resident: int  # … counted for every process (RSS)

    @classmethod
    def of(cls, processes: Sequence[Held]) -> Tree:
        """Add processes up."""
        own = sum(one.own for one in processes)
        shared = [one.shared for one in processes]
        return cls(own + max(shared), own + sum(shared))


def of(step: Grown, recipe: Recipe, rehearsal: Rehearsal, workers: int, budget: int) -> Tree:
    """Return what a step takes at its peak."""
    state = min(state_bytes(step, recipe), spare(budget, workers))
    if workers == 1:
        return Tree.of([Held(step.peak.own + state, step.peak.shared)])
    worker = max(
        (one.peak for one in rehearsal.load.steps if not one.title.endswith(RESOLVE) and one.title != WRITE),
        key=lambda held: held.own,
    )
    growth = 0 if step.is_segment else max(0, step.peak.own - step.before.own)
    main = Held(rehearsal.base.own + growth + state, rehearsal.base.shared)
    return Tree.of(
        [main, Held(HELPER // 2, HELPER // 2), *[step.peak if step.is_segment else worker] * workers]
    )


def state_bytes(step: Grown, recipe: Recipe) -> int:
    """Return what a step holds beyond what a sample shows, if nothing spills."""
    if step.title == WRITE:
        return WRITE_BYTES * step.records
    if not step.title.endswith(RESOLVE):
        return 0
    name = step.title.removesuffix(RESOLVE)
    spec = next(spec for spec in recipe.stages if spec.name == name)
    barrier: Any = spec.stage_class()
    against = sum(index.records for index in getattr(spec.options, "earlier", tuple)())
    each = int(getattr(barrier, "bytes_per_record", 0))
    return each * (step.records + int(against))


def spare(budget: int, workers: int) -> int:
    """Return what of a budget in bytes is left beside the processes: for a barrier's state, and for DuckDB.

    At least a quarter: processes of recipes without models take less than curate.engine.memory reckons with.
    """
    return max(budget // 4, budget - processes(workers))


def whole(
    recipe: Recipe, steps: Sequence[Grown], rehearsal: Rehearsal, workers: int, budget: int
) -> dict[str, int]:
    """Return a run's memory in bytes, for people."""
    trees = [of(step, recipe, rehearsal, workers, budget) for step in steps]
    states = [state_bytes(step, recipe) for step in steps if step.title.endswith(RESOLVE)]
    segments = [step.peak.all for step in steps if step.is_segment]
    return {
        "budget": budget,
        "main": rehearsal.base.all if workers > 1 else max(step.peak.all for step in steps),
        "per_worker": max(segments),
        "dedup_state": max(states, default=0),
        "expected": max(tree.together for tree in trees),
        "resident": max(tree.resident for tree in trees),
        "available": available(),
    }


def available() -> int:
    """Return how many bytes the machine can give without swapping; where it does not tell, all that it has."""
    there = machine() or 0
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return there
    return min(there, free) if there else free
