"""What a run would do, before it does it: files, segments, the dedup's S-curve, memory and disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.io.scan import SourcePlan
from curate.pipeline import segments
from curate.recipe import Recipe

# Measured on this package: a worker's libraries and kernels, and what one batch in work may take.
BASE_BYTES = 350 * 10**6
BATCH_BYTES = 150 * 10**6
# Of an index, before it is compressed: per byte of text (two 8-byte hashes a word), and per record (band keys).
INDEX_TIMES, INDEX_BYTES = 3, 300


@dataclass(frozen=True)
class Plan:
    """The resolved recipe and what running it takes."""

    recipe: dict[str, Any]
    sources: list[dict[str, Any]]
    segments: list[str]
    units: int
    workers: int
    curves: dict[str, list[tuple[float, float]]]  # barrier → (similarity, chance to become a candidate)
    memory: dict[str, int]  # bytes: budget, per worker, dedup state, all
    disk: int  # bytes that work/ may take


def forecast(recipe: Recipe, plans: Sequence[SourcePlan], workers: int, budget: int) -> Plan:
    """Return the plan of a run. Sizes are upper estimates."""
    records = sum(file.records for plan in plans for file in plan.files)
    parts = segments(recipe.stages)
    state = 0
    curves = {}
    for part in parts:
        if part.sketches is None:
            continue
        barrier: Any = part.sketches.stage_class()(part.sketches.options)
        against = sum(index.records for index in getattr(part.sketches.options, "earlier", tuple)())
        state = max(state, (records + against) * int(getattr(barrier, "bytes_per_record", 0)))
        if hasattr(barrier, "s_curve"):
            curves[part.sketches.name] = barrier.s_curve()
    content = sum(
        unit.stop - unit.start if unit.file.layout == "jsonl" else unit.file.bytes
        for plan in plans
        for unit in plan.units
    )
    return Plan(
        recipe=recipe.resolved(),
        sources=[
            {
                "name": plan.source.name,
                "format": plan.format,
                "license": plan.source.license,
                "files": len(plan.files),
                "bytes": sum(file.bytes for file in plan.files),
                "records": sum(file.records for file in plan.files),
                "units": len(plan.units),
            }
            for plan in plans
        ],
        segments=[part.title for part in parts],
        units=sum(len(plan.units) for plan in plans),
        workers=workers,
        curves=curves,
        memory={
            "budget": budget,
            "per_worker": BASE_BYTES + BATCH_BYTES,
            "dedup_state": state,
            "expected": workers * (BASE_BYTES + BATCH_BYTES) + state,
        },
        disk=content * (len(parts) + 1)
        + 2 * recipe.output.index * (INDEX_TIMES * content + INDEX_BYTES * records),
    )
