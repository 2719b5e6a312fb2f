"""From a rehearsal to a run: cost = per unit x units + per byte x bytes, fitted to the rehearsal's two passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from curate.forecast.rehearsal import Held, Rehearsal, Step
from curate.forecast.sample import weight
from curate.io.scan import SourcePlan
from curate.pipeline import Segment
from curate.unit import READ

WRITE = "write"
RESOLVE = ": resolve"  # ends the title of a resolution


@dataclass(frozen=True)
class Grown:
    """One step of the run, forecast. Sizes in bytes, CPU time in seconds."""

    title: str
    records: int  # that enter it: an upper bound behind a deduplicating barrier
    seconds: float
    startup: float  # that every process spends once, beside
    disk: int  # by which work/, or the release, grows
    before: Held  # the rehearsing process at the step's beginning
    peak: Held  # … and at its peak

    @property
    def is_segment(self) -> bool:
        """Tell whether the step is mapped over units."""
        return self.title != WRITE and not self.title.endswith(RESOLVE)


@dataclass(frozen=True)
class Scale:
    """How much there is of plans."""

    units: int
    records: int
    nbytes: int

    @classmethod
    def of(cls, plans: Sequence[SourcePlan]) -> Scale:
        """Return the scale of plans."""
        units = [unit for plan in plans for unit in plan.units]
        return cls(len(units), sum(unit.records for unit in units), sum(map(weight, units)))


@dataclass(frozen=True)
class Fit:
    """A cost as fixed part and part per byte."""

    short: Scale
    full: Scale
    run: Scale

    def to(self, short: float, full: float, once: bool) -> float:
        """Return a cost of the run from those of the two passes. once: the fixed part does not come with every unit."""
        more = self.full.nbytes - self.short.nbytes
        if more <= 0:
            return full * self.run.nbytes / max(1, self.full.nbytes)
        slope = max(0.0, full - short) / more
        fixed = max(0.0, full - slope * self.full.nbytes)
        return slope * self.run.nbytes + (fixed if once else fixed / max(1, self.full.units) * self.run.units)


def fit(rehearsal: Rehearsal, plans: Sequence[SourcePlan]) -> Fit:
    """Return the fit of a rehearsal to a run over the plans."""
    return Fit(Scale.of(rehearsal.few.plans), Scale.of(rehearsal.sample.plans), Scale.of(plans))


def grown(rehearsal: Rehearsal, plans: Sequence[SourcePlan], segments: Sequence[Segment]) -> list[Grown]:
    """Return the steps of a run over the plans, in order."""
    fitted, entering = fit(rehearsal, plans), _entering(rehearsal, plans, segments)
    found = []
    for load, low, high in zip(
        rehearsal.load.steps, rehearsal.short.steps, rehearsal.full.steps, strict=True
    ):
        once = high.title == WRITE or high.title.endswith(RESOLVE)

        def to(cost: Callable[[Step], float], low: Step = low, high: Step = high, once: bool = once) -> float:
            return fitted.to(cost(low), cost(high), once)

        seconds = to(lambda step: step.seconds)
        if high.title == segments[0].title:
            seconds += unpacking(rehearsal, plans)
        startup = max(0.0, load.seconds - high.seconds)
        disk = round(to(lambda step: step.disk))
        found.append(
            Grown(high.title, entering.get(high.title, 0), seconds, startup, disk, load.before, load.peak)
        )
    return found


def unpacking(rehearsal: Rehearsal, plans: Sequence[SourcePlan]) -> float:
    """Return CPU seconds for unpacking: a unit of a compressed file unpacks all that lies before it."""
    unpacked = sum(one.unpacked for one in rehearsal.sample.taken.values())
    seconds = sum(one.seconds for one in rehearsal.sample.taken.values() if one.unpacked)
    before = sum(unit.start for plan in plans for unit in plan.units if unit.file.compression)
    return before * seconds / unpacked if unpacked else 0.0


def release_bytes(rehearsal: Rehearsal, plans: Sequence[SourcePlan]) -> dict[str, int]:
    """Return the bytes of each part of the release."""
    low, high = rehearsal.short.release, rehearsal.full.release
    fitted = fit(rehearsal, plans)
    return {name: round(fitted.to(low.get(name, 0), high[name], once=True)) for name in sorted(high)}


def dropped(rehearsal: Rehearsal) -> dict[str, float]:
    """Return the share of the sample's records that each stage took out."""
    return {
        name: sum(tally.seen - tally.kept for tally in by_source.values())
        / max(1, sum(tally.seen for tally in by_source.values()))
        for name, by_source in rehearsal.full.tallies.items()
    }


def _kept(rehearsal: Rehearsal, plans: Sequence[SourcePlan]) -> dict[str, int]:
    """Return how many records of the run each stage keeps if it keeps the sample's shares, by source."""
    factors = {
        plan.source.name: sum(unit.records for unit in plan.units)
        / max(1, rehearsal.sample.taken[plan.source.name].records)
        for plan in plans
    }
    return {
        name: round(sum(tally.kept * factors[source] for source, tally in by_source.items()))
        for name, by_source in rehearsal.full.tallies.items()
        if any(tally.seen for tally in by_source.values())
    }


def _entering(
    rehearsal: Rehearsal, plans: Sequence[SourcePlan], segments: Sequence[Segment]
) -> dict[str, int]:
    left = _kept(rehearsal, plans)
    now = sum(unit.records for plan in plans for unit in plan.units)
    found = {}
    for segment in segments:
        found[segment.title] = now
        resolves = [segment.resolves.name] if segment.resolves else []
        names = [READ, *resolves, *(spec.name for spec in segment.stages)]
        now = min([now, *(left[name] for name in names if name in left)])
        if segment.sketches:
            found[f"{segment.sketches.name}{RESOLVE}"] = now
    found[WRITE] = now
    return found
