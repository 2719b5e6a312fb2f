"""The pipeline: a recipe's stages split at barriers into segments, each mapped over units by an engine.

::

    segment 0: read → license → conversation → exact.sketch      ┐ exact.resolve
    segment 1: exact.judge → minhash.sketch                      ┘ minhash.resolve …
    segment 2: minhash.judge → language → pii

A finished unit is kept under key = hash(what it read, stages, options, rule packs, code version), so a rerun
skips it, and a change late in the recipe leaves the earlier segments' units in use.
"""

from __future__ import annotations

import hashlib
import itertools
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pyarrow as pa

from curate import scores
from curate.careful import Care
from curate.errors import StageError
from curate.io.scan import SourcePlan, Unit
from curate.io.store import Store
from curate.outcome import KILLED, MISSING, REPORT, SKETCH, Done, Tally, batches, damage, listing, mapped
from curate.recipe import StageSpec
from curate.record import Batch
from curate.software import software
from curate.stage import Barrier, Engine, Stage
from curate.unit import READ, UnitTask, again, run_unit, unfinished

FORMAT = "5"  # of the folders under work/; raised when they change
_STAGE = "stage.pickle"  # of a resolution: what it resolved to


@dataclass(frozen=True)
class Segment:
    """Local stages between two barriers."""

    index: int
    resolves: StageSpec | None  # the barrier that ended the segment before
    stages: tuple[StageSpec, ...]
    sketches: StageSpec | None  # the barrier that ends this one

    @property
    def title(self) -> str:
        """Return what progress displays call the segment."""
        names = [READ] if self.index == 0 else []
        names += [f"{self.resolves.name}"] if self.resolves else []
        names += [stage.name for stage in self.stages]
        names += [f"{self.sketches.name}: sketch"] if self.sketches else []
        return " → ".join(names)

    def resolved(self) -> list[dict[str, Any]]:
        """Return what the segment's stages are made of: the same for each of its units."""
        specs = [*self.stages, *([self.sketches] if self.sketches else [])]
        return [spec.resolved() for spec in specs]


@dataclass
class Chain:
    """One unit's way through all segments."""

    plan: SourcePlan
    unit: Unit
    ends: int | None = None  # the first row of the file's next unit, if there is one
    done: list[Done] = field(default_factory=list)  # one per finished segment

    @property
    def title(self) -> str:
        """Return what messages call the unit."""
        rows = f"from row {self.unit.first_row}" + (f" to row {self.ends - 1}" if self.ends else "")
        return f"{self.unit.file.path}, {rows}"


@dataclass
class Outcome:
    """What a pipeline's run left in work/, and its totals."""

    chains: list[Chain]
    tallies: dict[str, dict[str, Tally]]  # stage → source → tally
    findings: list[dict[str, Any]]
    summaries: dict[str, dict[str, Any]]  # what each barrier says of its resolution
    resolved: dict[str, Stage] = field(default_factory=dict)  # the stage that each barrier resolved to


@dataclass(frozen=True)
class Watch:
    """Callbacks for progress displays; every one may be left out."""

    begin: Callable[[str, int], None] = lambda title, records: (
        None
    )  # a segment, and how many records enter it
    end: Callable[[], None] = lambda: None
    note: Callable[[str], None] = lambda text: None  # what a person should know, and need not act on


def segments(stages: Sequence[StageSpec]) -> list[Segment]:
    """Split a recipe's stages at its barriers."""
    found: list[Segment] = []
    resolves: StageSpec | None = None
    local: list[StageSpec] = []
    for spec in stages:
        if hasattr(spec.stage_class(), "resolve"):
            found.append(Segment(len(found), resolves, tuple(local), spec))
            resolves, local = spec, []
        else:
            local.append(spec)
    return [*found, Segment(len(found), resolves, tuple(local), None)]


def execute(
    stages: Sequence[StageSpec],
    plans: Sequence[SourcePlan],
    engine: Engine,
    work: Store,
    *,
    memory: int,
    batch_records: int,
    watch: Watch,
    whole: bool = True,
) -> Outcome:
    """Run every segment over every unit; what is finished already is not done again.

    whole: the plans are of all records, not of a sample, in which groups of records may be missing.
    Raises InputError where a file changed or broke since it was scanned, StageError where a stage is defect.
    """
    places = {spec.name: place for place, spec in enumerate(stages, start=1)}
    chains = [chain for plan in plans for chain in _chains(plan)]
    outcome = Outcome(chains, {READ: {plan.source.name: Tally() for plan in plans}}, [], {})
    resolved: Stage | None = None
    digest = ""
    if stopped := unfinished(work.child("units")):
        watch.note(f"units in work when a run was stopped: {len(stopped)}; done again, with care")
    for segment in segments(stages):
        entering = sum(chain.unit.records for chain in chains) if segment.index == 0 else _left(outcome)
        watch.begin(segment.title, entering)
        local = [_carried(_build(spec), engine, work) for spec in segment.stages]
        names = [spec.name for spec in segment.stages]
        if resolved is not None and segment.resolves is not None:
            local.insert(0, resolved)
            names.insert(0, segment.resolves.name)
        barrier = _carried(_build(segment.sketches), engine, work) if segment.sketches else None
        _must_travel(local)
        does = segment.resolved()
        keys = [_unit_key(chain, does, digest) for chain in chains]
        tasks = [
            UnitTask(
                folder=work.child(f"units/{key}"),
                origin=_origin(chain) if segment.index == 0 else None,
                previous=chain.done[-1].folder if chain.done else None,
                places=tuple(places[name] for name in names),
                stages=tuple(local),
                barrier=barrier,
                batch_records=batch_records,
                sketched=places[segment.sketches.name] if segment.sketches else 0,
                title=chain.title,
                marks=work.child(f"marks/{key}"),
                care=Care() if key in stopped else None,
                apart=key in stopped,
            )
            for chain, key in zip(chains, keys, strict=True)
        ]
        reused = 0
        for chain, done in zip(chains, engine.map(run_unit, tasks, again), strict=True):
            chain.done.append(done)
            for note in done.notes:
                watch.note(f"work/units/{note}; done again")
            reused += done.reused
            for name, tally in done.tallies.items():
                outcome.tallies.setdefault(name, {}).setdefault(chain.plan.source.name, Tally()).add(tally)
        watch.end()
        if reused:
            watch.note(f"{reused:,} of {len(tasks):,} units were finished before, and are used as they are")
        if segment.sketches is not None and isinstance(barrier, Barrier):
            watch.begin(f"{barrier.name}: resolve", 0)
            resolved, digest = _resolve(
                segment.sketches, barrier, chains, engine, work, memory, watch.note, whole
            )
            outcome.resolved[barrier.name] = resolved
            outcome.findings += getattr(resolved, "findings", ())
            outcome.summaries[barrier.name] = dict(getattr(resolved, "summary", {}))
            watch.end()
    _check(outcome)
    return outcome


def _chains(plan: SourcePlan) -> list[Chain]:
    chains = [Chain(plan, unit) for unit in plan.units]
    for chain, following in itertools.pairwise(chains):
        if following.unit.file.path == chain.unit.file.path:
            chain.ends = following.unit.first_row
    return chains


def _origin(chain: Chain) -> tuple[SourcePlan, Unit]:
    """Return what a worker needs to read a unit; a source's other files and units stay here."""
    path = chain.unit.file.path
    stems = {path: chain.plan.stems[path]} if path in chain.plan.stems else {}
    return replace(chain.plan, files=(), units=(), stems=stems), chain.unit


def _left(outcome: Outcome) -> int:
    """Return how many records the last stage that has judged kept."""
    for by_source in reversed(outcome.tallies.values()):
        if any(tally.seen for tally in by_source.values()):
            return sum(tally.kept for tally in by_source.values())
    return 0


def _must_travel(stages: Sequence[Any]) -> None:
    for stage in stages:
        try:
            pickle.dumps(stage)
        except Exception as error:
            raise StageError(
                f"stage {stage.name!r} cannot be sent to a worker: {type(error).__name__}"
            ) from error


def _build(spec: StageSpec) -> Stage | Barrier:
    return spec.stage_class()(spec.options)


def _carried(stage: Any, engine: Engine, work: Store) -> Any:
    """Return a stage whose own files, such as models, lie where workers on other machines read them."""
    stage = stage.with_scores(work.child(scores.FOLDER)) if isinstance(stage, scores.Scored) else stage
    away = getattr(engine, "elsewhere", False) and hasattr(stage, "carried")
    return stage.carried(work.child("carried")) if away else stage


def _hash(*parts: Any) -> str:
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]


def _unit_key(chain: Chain, does: Sequence[dict[str, Any]], digest: str) -> str:
    """Return a name that changes whenever the unit's outcome can. does: the segment's resolved stages."""
    if chain.done:
        read: Any = chain.done[-1].key
    else:
        plan, unit = chain.plan, chain.unit
        read = [
            plan.source.model_dump(mode="json", include={"name", "license", "max_record"}),
            [plan.format, sorted(plan.fields.items()), plan.schema.to_string(show_field_metadata=True)],
            [unit.file.path, unit.file.sha256, unit.start, unit.stop, unit.first_row],
            plan.stems.get(unit.file.path),
        ]
    return _hash(FORMAT, software(), read, digest, does)


@dataclass(frozen=True)
class Part:
    """One unit's sketches and the records behind them (stage.SketchPart)."""

    folder: Store

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the sketches, one row per record, with ``id source _path _row`` in front."""
        return mapped(self.folder, f"{SKETCH}.arrow", columns)

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the records back, in the order of the sketches."""
        return batches(self.folder, "records.arrow", columns)


@dataclass(frozen=True)
class AllSketches:
    """All sketches of a barrier (stage.Sketches)."""

    parts: tuple[Part, ...]
    store: Store
    memory: int
    whole: bool = True


def _resolve(
    spec: StageSpec,
    barrier: Barrier,
    chains: Sequence[Chain],
    engine: Engine,
    work: Store,
    memory: int,
    note: Callable[[str], None],
    whole: bool = True,
) -> tuple[Stage, str]:
    """Return the resolved stage and a digest of all it was resolved from; finished resolutions are reused."""
    digest = _hash(spec.resolved(), [chain.done[-1].key for chain in chains])
    store = work.child(f"resolved/{digest}")
    if wrong := damage(store):
        if wrong != MISSING:
            note(f"work/resolved/{digest}: {wrong}; done again")
        store.clear()
        parts = tuple(
            Part(done.folder) for chain in chains if f"{SKETCH}.arrow" in (done := chain.done[-1]).files
        )
        stage = barrier.resolve(AllSketches(parts, store, memory, whole), engine)
        store.write(_STAGE, pickle.dumps(stage))
        store.write(REPORT, orjson.dumps({"files": listing(store)}))
    # Our own folder and class. Whoever may write there can run code here, as manifests/cluster/README.md says.
    loaded: Any = pickle.loads(store.read(_STAGE))
    return loaded.at(store) if hasattr(loaded, "at") else loaded, digest


def _check(outcome: Outcome) -> None:
    """Hold the totals to account, and turn a stage that fails on everything into an error."""
    for name, by_source in outcome.tallies.items():
        total = Tally()
        for tally in by_source.values():
            total.add(tally)
        if total.seen != total.kept + total.dropped + total.quarantined:
            raise StageError(
                f"stage {name!r} saw {total.seen} records but kept {total.kept}, dropped {total.dropped} "
                f"and quarantined {total.quarantined}: records were lost"
            )
        failed = total.reasons[f"{name}/failed"]
        if failed and failed == total.seen:
            raise StageError(
                f"stage {name!r} failed on every one of {failed} records, with {_kinds(total)}; "
                "mend it and run again"
            )
        killed = total.reasons[f"{name}/{KILLED}"]
        for count, reason, what in (
            (failed, "failed", f"failed on {failed} records, which are in quarantine: {_kinds(total)}"),
            (killed, KILLED, f"killed its process on {killed} records, which are in quarantine"),
        ):
            if count:
                finding = {
                    "reason": f"{name}/{reason}",
                    "severity": "warning",
                    "message": f"stage {name} {what}",
                }
                outcome.findings.append({**finding, "count": count, "examples": []})


def _kinds(tally: Tally) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(tally.failures.items()) if name != KILLED)
