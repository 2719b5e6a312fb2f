"""What a run would do, before it does it: segments, the dedup's S-curve; time, memory and disk, from a sample."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.engine.memory import workers_within
from curate.forecast import disk as disks
from curate.forecast import growth, memory
from curate.forecast.disk import shown_size
from curate.forecast.growth import Grown
from curate.forecast.rehearsal import Rehearsal, Write, rehearse
from curate.forecast.sample import take
from curate.io.scan import SourcePlan
from curate.io.store import scratch
from curate.pipeline import Segment, segments
from curate.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """The resolved recipe and what running it takes. Sizes in bytes, times in seconds.

    Every figure of ``steps``, ``seconds``, ``memory`` and ``disk`` grows from a sample of the records. A sample has
    fewer duplicates than the whole: behind a barrier that drops them, records, time and disk are upper bounds, and
    the work of comparing candidates, of which a sample has few, is not.
    """

    recipe: dict[str, Any]
    sources: list[dict[str, Any]]
    segments: list[str]
    units: int
    workers: int  # that the budget holds, of those asked for
    curves: dict[str, list[tuple[float, float]]]  # barrier → (similarity, chance to become a candidate)
    sample: dict[
        str, Any
    ]  # records, bytes, stretches of it; its run's wall seconds; share dropped by each stage
    steps: list[dict[str, Any]]  # title, records entering, CPU and wall seconds, disk, memory
    seconds: dict[str, float]  # cpu, wall, and the start of a process, which both hold
    memory: dict[str, int]  # budget, main, per worker, dedup state, peak (as PSS counts), resident, available
    disk: dict[str, Any]  # work, release by part, replaced, needed, free, where
    warnings: list[str]


def forecast(
    recipe: Recipe, plans: Sequence[SourcePlan], workers: int, budget: int, write: Write, out: str | Path
) -> Plan:
    """Return the plan of a run: rehearses it with a sample (:mod:`curate.forecast.rehearsal`).

    write: writes a release into a folder, as a run does; a module's function. Raises as reading and the stages do.
    """
    parts = segments(recipe.stages)
    started = time.perf_counter()
    with scratch() as folder:
        rehearsal = rehearse(recipe, take(plans, folder), write)
    steps = growth.grown(rehearsal, plans, parts)
    workers = workers_within(budget, workers)
    took = time.perf_counter() - started
    told = [
        _told(step, plans, workers, memory.of(step, recipe, rehearsal, workers, budget)) for step in steps
    ]
    held = memory.whole(recipe, steps, rehearsal, workers, budget)
    disk = _disk(rehearsal, plans, steps, out)
    return Plan(
        recipe=recipe.resolved(),
        sources=[_source(plan) for plan in plans],
        segments=[part.title for part in parts],
        units=sum(len(plan.units) for plan in plans),
        workers=workers,
        curves=_curves(parts),
        sample={
            "records": rehearsal.sample.records,
            "of": sum(file.records for plan in plans for file in plan.files),
            "stretches": rehearsal.sample.units,
            "seconds": round(took, 1),
            "dropped": {name: round(share, 4) for name, share in growth.dropped(rehearsal).items()},
        },
        steps=told,
        seconds={
            "cpu": sum(step["cpu_seconds"] for step in told) + rehearsal.startup,
            "wall": sum(step["wall_seconds"] for step in told) + rehearsal.startup,
            "start": rehearsal.startup,
        },
        memory=held,
        disk=disk,
        warnings=warnings(held, disk),
    )


def _told(step: Grown, plans: Sequence[SourcePlan], workers: int, tree: memory.Tree) -> dict[str, Any]:
    units = sum(len(plan.units) for plan in plans)
    mapped = min(workers, units) if step.is_segment else 1
    return {
        "title": step.title,
        "records": step.records,
        "cpu_seconds": round(step.seconds + step.startup * mapped, 3),
        "wall_seconds": round(step.seconds / max(1, mapped) + step.startup, 3),
        "disk": step.disk,
        "memory": tree.together,
    }


def _source(plan: SourcePlan) -> dict[str, Any]:
    return {
        "name": plan.source.name,
        "format": plan.format,
        "license": plan.source.license,
        "files": len(plan.files),
        "bytes": sum(file.bytes for file in plan.files),
        "records": sum(file.records for file in plan.files),
        "units": len(plan.units),
    }


def _curves(parts: Sequence[Segment]) -> dict[str, list[tuple[float, float]]]:
    specs = [part.sketches for part in parts if part.sketches is not None]
    built: dict[str, Any] = {spec.name: spec.stage_class()(spec.options) for spec in specs}
    return {name: barrier.s_curve() for name, barrier in built.items() if hasattr(barrier, "s_curve")}


def _disk(
    rehearsal: Rehearsal, plans: Sequence[SourcePlan], steps: Sequence[Grown], out: str | Path
) -> dict[str, Any]:
    work = sum(step.disk for step in steps if step.title != growth.WRITE)
    release = growth.release_bytes(rehearsal, plans)
    written = sum(release.values())
    where = disks.place(out)
    return {
        "work": work,
        "release": written,
        "parts": release,
        "needed": work + written if where.holds_work else written,
        "replaced": where.replaced,
        "free": where.free,
        "where": where.named,
    }


def warnings(held: dict[str, int], disk: dict[str, Any]) -> list[str]:
    """Return what a person must know: where memory or disk do not suffice."""
    found = []
    if held["expected"] > held["budget"]:
        found.append(
            f"memory: {shown_size(held['expected'])} expected, over the budget of {shown_size(held['budget'])}; fewer "
            "workers or a larger --memory"
        )
    if held["expected"] > held["available"]:
        found.append(
            f"memory: {shown_size(held['expected'])} expected, and the machine has "
            f"{shown_size(held['available'])} to give"
        )
    if disk["needed"] > disk["free"]:
        found.append(
            f"disk: {shown_size(disk['needed'])} needed, and {disk['where']} has {shown_size(disk['free'])} free"
        )
    return found
