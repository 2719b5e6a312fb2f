"""One unit of work: read its records, let the stages judge, act on their verdicts, commit the outcome.

This is the only place where a record is dropped, edited or quarantined, so it is the only place that counts.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import careful, ledger, record
from curate.careful import Care, Careful
from curate.engine.local import report
from curate.io.read import Fault, read
from curate.io.room import noticed
from curate.io.scan import SourcePlan, Unit
from curate.io.store import Store
from curate.outcome import REPORT, SKETCH, Done, Tally, Writer, batches, finished, recall, schema_of
from curate.record import FACT, Batch
from curate.stage import Barrier, Decision, Stage, Verdict

READ = "read"  # the name under which the ledger files what the reader could not take
EDITS = record.FACTS.field("edits").type


@dataclass(frozen=True)
class UnitTask:
    """Everything a worker needs to do one unit of one segment."""

    folder: Store  # where the outcome appears
    origin: tuple[SourcePlan, Unit] | None  # first segment: read the input …
    previous: Store | None  # … later ones: read the outcome of the segment before
    places: tuple[int, ...]  # each stage's place in the recipe (0 is reading)
    stages: tuple[Stage, ...]
    barrier: Barrier | None
    batch_records: int
    sketched: int = 0  # the barrier's place
    title: str = "a unit"  # which records
    marks: Store | None = None  # where marks are left of what is being done, if that is asked for
    care: Care | None = None  # what deaths of its workers have taught; marks are left if this is given
    apart: bool = False  # not to be done in the main process (curate.engine.local): it may have killed one


def run_unit(task: UnitTask) -> Done:
    """Do one unit and return what became of it. Does nothing if that is there: it holds the same bytes."""
    found, notes = recall(task.folder)
    if found is not None:
        return replace(found, reused=True)
    marker = Careful(task.care, task.marks) if task.care is not None and task.marks is not None else None
    with _room(task.folder), task.folder.making(REPORT) as partial:
        suppressor = next((stage for stage in task.stages if hasattr(stage, "masked")), None)
        work = Work(Writer(partial), suppressor, marker)
        for batch in _batches(task, work):
            size = _content_bytes(batch)
            for place, stage in zip(task.places, task.stages, strict=True):
                batch = work.judge(place, stage, batch)
            if task.barrier is not None and batch.num_rows:
                batch = work.sketch(task.sketched, task.barrier, batch)
            work.out.append("records", batch)
            report(batch.num_rows, size)
        work.out.create("records", _base_schema(task))  # every unit has one, if only an empty one
        work.out.close(work.tallies)
    if marker is not None:
        marker.marks.remove()
    return replace(finished(task.folder), notes=notes)


def _room(folder: Store) -> AbstractContextManager[None]:
    return noticed() if folder.is_remote else noticed(folder.path)


def again(task: UnitTask, deaths: int) -> UnitTask:
    """Return how to try a unit whose worker has died (curate.stage.Engine.map).

    Raises InputError or StageError where no record can be blamed, or too many.
    """
    if task.marks is None or task.care is None:
        return replace(task, care=Care())
    return replace(task, care=task.care.after(task.marks, task.title))


def unfinished(units: Store) -> frozenset[str]:
    """Return the keys of units that a run was doing when it was stopped, and remove what it left of them.

    Only on a local disk, where a unit is made; nobody else may be working there. What is found is no more than a hint:
    a run that ends by an error leaves nothing.
    """
    if units.is_remote or not units.path.is_dir():
        return frozenset()
    keys = set()
    for path in units.path.glob("*.partial"):
        keys.add(path.name.split(".")[0])
        shutil.rmtree(path, ignore_errors=True)
    return frozenset(keys)


def _base_schema(task: UnitTask) -> pa.Schema:
    if task.origin is not None:
        return task.origin[0].schema.append(pa.field(FACT + "edits", EDITS))
    assert task.previous is not None
    return schema_of(task.previous, "records.arrow")


def _batches(task: UnitTask, work: Work) -> Iterator[Batch]:
    if task.origin is None:
        assert task.previous is not None
        work.mark(careful.READING)
        for batch in batches(task.previous, "records.arrow"):
            yield batch
            work.mark(careful.READING)
        return
    plan, unit = task.origin
    tally = work.tallies.setdefault(READ, Tally())
    work.mark(careful.READING, unit.first_row, task.batch_records)
    started = time.process_time()
    for chunk in read(plan, unit, task.batch_records):
        tally.seconds += time.process_time() - started
        tally.seen += chunk.seen
        tally.kept += chunk.batch.num_rows
        tally.bytes += _content_bytes(chunk.batch)
        if chunk.faults:
            work.refuse(plan, unit, chunk.faults)
        if chunk.batch.num_rows:
            yield record.with_column(chunk.batch, FACT + "edits", pa.nulls(chunk.batch.num_rows, EDITS))
        rows = [*chunk.batch.column("_row")[-1:].to_pylist(), *(fault.row for fault in chunk.faults[-1:])]
        work.mark(careful.READING, max(rows, default=0) + 1, task.batch_records)
        started = time.process_time()


def _content_bytes(batch: Batch) -> int:
    return int(pc.sum(pc.binary_length(record.turns(batch)[0])).as_py() or 0)


class Work:
    """Acts on verdicts, and counts."""

    def __init__(self, out: Writer, suppressor: Any = None, marker: Careful | None = None) -> None:
        self.out = out
        self.suppressor = suppressor  # the stage whose drops leave neither text nor id behind
        self.careful = marker
        self.tallies: dict[str, Tally] = {}

    def mark(self, doing: str, first: int = 0, records: int = 0) -> None:
        """Leave a mark of what follows, where marks are left."""
        if self.careful is not None:
            self.careful.at(doing, READ, first, 0, records)

    def judge(self, place: int, stage: Stage, batch: Batch) -> Batch:
        """Let a stage judge a batch, act on the verdict, and return the records that go on."""
        tally = self.tallies.setdefault(stage.name, Tally())
        if not batch.num_rows:
            return batch
        tally.bytes += _content_bytes(batch)
        started = time.process_time()
        verdict = careful.verdict(stage, batch, tally, self.careful)
        tally.seconds += time.process_time() - started
        return self._decide(place, stage.name, batch, verdict, masks=stage is self.suppressor)

    def _decide(self, place: int, stage: str, batch: Batch, verdict: Verdict, masks: bool = False) -> Batch:
        """Count what was decided, write it down, and return the records that go on."""
        tally = self.tallies[stage]
        decisions = ledger.rows(stage, place, batch, verdict)
        counts = Counter(verdict.action.to_pylist())
        tally.seen += batch.num_rows
        tally.dropped += counts["drop"]
        tally.quarantined += counts["quarantine"]
        tally.kept += batch.num_rows - counts["drop"] - counts["quarantine"]
        tally.edited += counts["edit"]
        tally.flagged += counts["flag"]
        tally.reasons.update(decisions.column("reason").to_pylist())
        if verdict.facts is not None:
            for name, values in zip(verdict.facts.schema.names, verdict.facts.columns, strict=True):
                batch = record.with_column(batch, FACT + name, values)
        if not decisions.num_rows:
            return batch
        if masks:
            self.out.append(f"ledger.{place:02d}", self._masked(decisions))
            # On a record that the stage failed on nobody can say that it may stay: it leaves no text behind, either.
            return batch.filter(pc.invert(pc.is_in(verdict.action, pa.array(["drop", "quarantine"]))))
        self.out.append(f"ledger.{place:02d}", decisions)
        return self._act(place, stage, batch, verdict, decisions)

    def _masked(self, decisions: pa.Table) -> pa.Table:
        """Return decisions without what could tell whom they were about."""
        ids = self.suppressor.masked(decisions.column("id"), decisions.column("source"))
        nothing = pa.nulls(decisions.num_rows, pa.string())
        found = decisions.set_column(decisions.schema.get_field_index("id"), "id", ids)
        return found.set_column(found.schema.get_field_index("evidence"), "evidence", nothing)

    def _act(self, place: int, stage: str, batch: Batch, verdict: Verdict, decisions: pa.Table) -> Batch:
        gone = pc.is_in(verdict.action, pa.array(["drop", "quarantine"]))
        if pc.any(gone).as_py():
            self.out.append_any(f"removed.{place:02d}", _labelled(batch, stage, place, verdict, gone))
        edit = pc.equal(verdict.action, "edit")
        if pc.any(edit).as_py():
            self.out.append_any(f"edited.{place:02d}", _labelled(batch, stage, place, verdict, edit))
            batch = _with_edits(batch, verdict, edit, decisions)
        return batch.filter(pc.invert(gone))

    def refuse(self, plan: SourcePlan, unit: Unit, faults: tuple[Fault, ...]) -> None:
        """Quarantine lines that are no records: the ledger says why, the removed records keep their bytes."""
        tally = self.tallies.setdefault(READ, Tally())
        tally.quarantined += len(faults)
        tally.reasons.update(fault.reason for fault in faults)
        n, source, path = len(faults), plan.source.name, unit.file.path
        stem = plan.stems.get(path, path)
        known: dict[str, pa.Array] = {
            "id": pa.array([f"{source}/{stem}/{fault.row}" for fault in faults], pa.string()),
            "source": pa.repeat(pa.scalar(source), n),
            "_path": pa.repeat(pa.scalar(path), n),
            "_row": pa.array([fault.row for fault in faults], pa.int64()),
        }
        columns = [known.get(f.name, pa.nulls(n, f.type)) for f in plan.schema]
        batch = pa.record_batch(columns, schema=plan.schema)
        decisions = []
        for i, fault in enumerate(faults):
            evidence = {"at": record.locator(path, fault.row), "what": fault.detail}
            decisions.append(Decision(i, "quarantine", fault.reason, evidence=evidence))
        verdict = Verdict.of(n, decisions)
        raw = pa.array([fault.raw for fault in faults], pa.binary())
        rows, stays = ledger.rows(READ, 0, batch, verdict), pa.array([True] * n)
        if self.suppressor is not None:  # a line that cannot be read may hold what was taken down, too
            stays = pc.invert(self.suppressor.holds(batch.column("id"), raw))
            rows = pa.concat_tables([rows.filter(stays), self._masked(rows.filter(pc.invert(stays)))])
            rows = rows.sort_by(ledger.ORDER)
        self.out.append("ledger.00", rows)
        self.out.append_any("removed.00", _labelled(batch, READ, 0, verdict, stays, raw))

    def sketch(self, place: int, barrier: Barrier, batch: Batch) -> Batch:
        """Write what the barrier remembers of the batch, beside the records' identity; return those that go on."""
        tally = self.tallies.setdefault(barrier.name, Tally())
        started = time.process_time()
        sketch, stays = careful.sketch(barrier, batch, self.careful)
        tally.seconds += time.process_time() - started
        if not pc.all(stays).as_py():
            gone = batch.filter(pc.invert(stays))
            tally.bytes += _content_bytes(gone)
            verdicts = [careful.killed(barrier.name, tally) for _ in range(gone.num_rows)]
            self._decide(
                place,
                barrier.name,
                gone,
                careful.joined(verdicts, [gone.slice(i, 1) for i in range(gone.num_rows)]),
            )
            batch = batch.filter(stays)
        names = ["id", "source", "_path", "_row"]
        columns = [*batch.select(names).columns, *sketch.columns]
        self.out.append(SKETCH, pa.record_batch(columns, [*names, *sketch.schema.names]))
        return batch


def _labelled(
    batch: Batch, stage: str, place: int, verdict: Verdict, chosen: pa.Array, raw: pa.Array | None = None
) -> Batch:
    """Return the chosen records with what was decided: columns _stage_name _stage _action _reason _raw."""
    n = batch.num_rows
    labels = {
        "_stage_name": pa.repeat(pa.scalar(stage), n),
        "_stage": pa.repeat(pa.scalar(place, pa.int32()), n),
        "_action": verdict.action,
        "_reason": verdict.reason,
        "_raw": pa.nulls(n, pa.binary()) if raw is None else raw,
    }
    for name, values in labels.items():
        batch = record.with_column(batch, name, values)
    return batch.filter(chosen)


def _with_edits(batch: Batch, verdict: Verdict, edit: pa.Array, decisions: pa.Table) -> Batch:
    """Put the edited content in where the action is 'edit', nowhere else, and note the edits by reason."""
    n = batch.num_rows
    assert verdict.edited is not None  # Verdict.check saw to it
    mask = edit.to_numpy(zero_copy_only=False)
    places = np.where(mask, np.arange(n) + n, np.arange(n))
    both = pa.concat_arrays([record.content(batch), verdict.edited.cast(record.content(batch).type)])
    for name, column in (verdict.beside or {}).items():
        after = pa.concat_arrays([batch.column(name), column]).take(pa.array(places))
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, batch.schema.field(at), after)  # the field says that it is JSON text
    batch = record.with_content(batch, both.take(pa.array(places)))

    counts: dict[int, Counter[str]] = {}
    made = decisions.filter(pc.equal(decisions.column("action"), "edit")).select(
        ["_row", "reason", "evidence"]
    )
    for row, reason, evidence in zip(*(column.to_pylist() for column in made.columns), strict=True):
        counts.setdefault(row, Counter())[reason] += _edit_count(evidence)
    name = FACT + "edits"
    before = batch.column(name).to_pylist() if name in batch.schema.names else [None] * n
    after = [
        _merged(old, counts[row]) if row in counts else old
        for old, row in zip(before, batch.column("_row").to_pylist(), strict=True)
    ]
    return record.with_column(batch, name, pa.array(after, EDITS))


def _edit_count(evidence: str | None) -> int:
    found = orjson.loads(evidence) if evidence else {}
    places = [found[name] for name in ("spans", "beside") if isinstance(found.get(name), list)]
    return sum(map(len, places)) or 1


def _merged(old: list[dict[str, Any]] | None, new: Counter[str]) -> list[dict[str, Any]]:
    total = Counter({edit["reason"]: edit["count"] for edit in old or ()}) + new
    return [{"reason": reason, "count": count} for reason, count in sorted(total.items())]
