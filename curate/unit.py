"""One unit of work: read its records, let the stages judge, act on their verdicts, commit the outcome.

This is the only place where a record is dropped, edited or quarantined, so it is the only place that counts.
A unit's outcome is a folder of Arrow files that appears whole (temp + fsync + rename) under the unit's key::

    records.arrow   the records that go on          sketch.arrow     what the next barrier remembers of them
    ledger.arrow    decisions (ledger.WORKING)      removed.N.arrow  records taken out, as they then were
    report.json     tallies per stage               edited.N.arrow   records as they were before each edit

(N counts the schemas: what is known of a record grows from stage to stage.)
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import ledger, record
from curate.engine.local import report
from curate.errors import CurateError, StageError
from curate.io.read import Fault, read
from curate.io.scan import SourcePlan, Unit
from curate.record import FACT, Batch
from curate.stage import Barrier, Decision, Stage, Verdict

READ = "read"  # the name under which the ledger files what the reader could not take
EDITS = pa.list_(pa.struct([("reason", pa.string()), ("count", pa.int32())]))
_FATAL = (CurateError, ImportError, MemoryError, OSError)  # never one record's fault


@dataclass
class Tally:
    """What one stage did to the records it saw."""

    seen: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0
    edited: int = 0
    flagged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # decisions per reason
    bytes: int = 0  # content judged, UTF-8
    seconds: float = 0.0  # CPU time

    def add(self, other: Tally) -> None:
        """Add another tally of the same stage."""
        for name in ("seen", "kept", "dropped", "quarantined", "edited", "flagged", "bytes", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons.update(other.reasons)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Tally:
        """Rebuild a tally from its JSON form."""
        return cls(**{**data, "reasons": Counter(data["reasons"])})


@dataclass(frozen=True)
class UnitTask:
    """Everything a worker needs to do one unit of one segment."""

    folder: Path  # where the outcome appears
    origin: tuple[SourcePlan, Unit] | None  # first segment: read the input …
    previous: Path | None  # … later ones: read the outcome of the segment before
    places: tuple[int, ...]  # each stage's place in the recipe (0 is reading)
    stages: tuple[Stage, ...]
    barrier: Barrier | None
    batch_records: int


def run_unit(task: UnitTask) -> Path:
    """Do one unit and return its folder. Does nothing if the folder is there: it holds the same bytes."""
    if (task.folder / "report.json").is_file():
        return task.folder
    partial = task.folder.with_name(f"{task.folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    outcome = _Outcome(partial)
    base = _base_schema(task)
    for batch in _batches(task, outcome):
        size = _content_bytes(batch)
        for place, stage in zip(task.places, task.stages, strict=True):
            batch = outcome.judge(place, stage, batch)
        outcome.write("records", batch)
        if task.barrier is not None:
            outcome.sketch(task.barrier, batch)
        report(batch.num_rows, size)
    outcome.close({"records": base, "ledger": ledger.WORKING})
    _commit(partial, task.folder)
    return task.folder


def tallies(folder: Path) -> dict[str, Tally]:
    """Return the tallies of a finished unit, by stage."""
    return {
        name: Tally.load(data) for name, data in orjson.loads((folder / "report.json").read_bytes()).items()
    }


def files(folder: Path, name: str) -> list[Path]:
    """Return the unit's Arrow files of that name: one, or one per schema."""
    return sorted(folder.glob(f"{name}.arrow")) + sorted(folder.glob(f"{name}.*.arrow"))


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """Stream an Arrow file."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            yield batch if columns is None else batch.select(list(columns))


def schema_of(path: Path) -> pa.Schema:
    """Return the schema of an Arrow file."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def _base_schema(task: UnitTask) -> pa.Schema:
    if task.origin is not None:
        return task.origin[0].schema.append(pa.field(FACT + "edits", EDITS))
    assert task.previous is not None
    return schema_of(task.previous / "records.arrow")  # every finished unit has one, if only an empty one


def _batches(task: UnitTask, outcome: _Outcome) -> Iterator[Batch]:
    if task.origin is None:
        assert task.previous is not None
        yield from batches(task.previous / "records.arrow")
        return
    plan, unit = task.origin
    started = time.process_time()
    for chunk in read(plan, unit, task.batch_records):
        tally = outcome.tallies.setdefault(READ, Tally())
        tally.seconds += time.process_time() - started
        tally.seen += chunk.seen
        tally.kept += chunk.batch.num_rows
        tally.bytes += _content_bytes(chunk.batch)
        if chunk.faults:
            outcome.refuse(plan, unit, chunk.faults)
        if chunk.batch.num_rows:
            yield record.with_column(chunk.batch, FACT + "edits", pa.nulls(chunk.batch.num_rows, EDITS))
        started = time.process_time()


def _content_bytes(batch: Batch) -> int:
    return int(pc.sum(pc.binary_length(record.turns(batch)[0])).as_py() or 0)


class _Outcome:
    """The unit's files in the making, and its tallies."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tallies: dict[str, Tally] = {}
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
        self._schemas: dict[tuple[str, pa.Schema], int] = {}
        self._written: dict[str, pa.Schema] = {}

    def judge(self, place: int, stage: Stage, batch: Batch) -> Batch:
        """Let a stage judge a batch, act on the verdict, and return the records that go on."""
        tally = self.tallies.setdefault(stage.name, Tally())
        if not batch.num_rows:
            return batch
        tally.bytes += _content_bytes(batch)
        started = time.process_time()
        verdict = _verdict(stage, batch)
        verdict.check(stage.name, batch)
        tally.seconds += time.process_time() - started
        decisions = ledger.rows(stage.name, place, batch, verdict)
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
        self.write("ledger", decisions)
        return self._act(place, stage.name, batch, verdict, decisions)

    def _act(self, place: int, stage: str, batch: Batch, verdict: Verdict, decisions: pa.Table) -> Batch:
        out = pc.is_in(verdict.action, pa.array(["drop", "quarantine"]))
        if pc.any(out).as_py():
            self.write("removed", _labelled(batch, stage, place, verdict, out))
        edit = pc.equal(verdict.action, "edit")
        if pc.any(edit).as_py():
            self.write("edited", _labelled(batch, stage, place, verdict, edit))
            batch = _with_edits(batch, verdict, edit, decisions)
        return batch.filter(pc.invert(out))

    def refuse(self, plan: SourcePlan, unit: Unit, faults: tuple[Fault, ...]) -> None:
        """Quarantine lines that are no records: the ledger says why, removed.arrow keeps their bytes."""
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
        verdict = Verdict.of(
            n,
            [
                Decision(
                    i,
                    "quarantine",
                    fault.reason,
                    evidence={"at": record.locator(path, fault.row), "what": fault.detail},
                )
                for i, fault in enumerate(faults)
            ],
        )
        self.write("ledger", ledger.rows(READ, 0, batch, verdict))
        raw = pa.array([fault.raw for fault in faults], pa.binary())
        everything = pa.array([True] * n)
        self.write("removed", _labelled(batch, READ, 0, verdict, everything, raw))

    def sketch(self, barrier: Barrier, batch: Batch) -> None:
        """Write what the barrier remembers of the batch, beside the records' identity."""
        tally = self.tallies.setdefault(barrier.name, Tally())
        started = time.process_time()
        sketch = barrier.sketch(batch)
        tally.seconds += time.process_time() - started
        names = ["id", "source", "_path", "_row"]
        self.write(
            "sketch",
            pa.record_batch([*batch.select(names).columns, *sketch.columns], [*names, *sketch.schema.names]),
        )

    def write(self, name: str, rows: Batch | pa.Table) -> None:
        """Append to one of the unit's files."""
        if not rows.num_rows:
            return
        if name in ("removed", "edited"):
            # What is known of a record grows from stage to stage, so these have one file per schema.
            name = f"{name}.{self._schemas.setdefault((name, rows.schema), len(self._schemas)):02d}"
        if name not in self._writers:
            self._writers[name] = self._open(name, rows.schema)
            self._written[name] = rows.schema
        if rows.schema != self._written[name]:
            changed = sorted(set(rows.schema) ^ set(self._written[name]), key=str)
            raise StageError(
                f"a stage states other facts of one batch than of another: {', '.join(map(str, changed))}"
            )
        self._writers[name].write(rows)

    def _open(self, name: str, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        return pa.ipc.new_stream(str(self.folder / f"{name}.arrow"), schema, options=options)

    def close(self, required: dict[str, pa.Schema]) -> None:
        """Close the files, make those that must exist even when empty, and write the report."""
        for name, schema in required.items():
            if name not in self._writers:
                self._writers[name] = self._open(name, schema)
        for writer in self._writers.values():
            writer.close()
        text = orjson.dumps({name: vars(tally) for name, tally in self.tallies.items()})
        (self.folder / "report.json").write_bytes(text)


def _verdict(stage: Stage, batch: Batch) -> Verdict:
    """Let a stage judge; where it fails, find the record it fails on and quarantine that one alone.

    The exception's message may hold record text, so only its type is kept.
    """
    try:
        return stage.judge(batch)
    except _FATAL:
        raise
    except Exception as error:  # noqa: BLE001  any defect of a stage, also of one that is not ours
        if batch.num_rows == 1:
            evidence = {"error": type(error).__name__}
            return Verdict.of(1, [Decision(0, "quarantine", f"{stage.name}/failed", evidence=evidence)])
    half = batch.num_rows // 2
    return _joined([_verdict(stage, batch.slice(0, half)), _verdict(stage, batch.slice(half))], batch, half)


def _joined(verdicts: list[Verdict], batch: Batch, half: int) -> Verdict:
    first, second = verdicts
    sizes = (half, batch.num_rows - half)
    edited = None
    if first.edited is not None or second.edited is not None:
        parts = (record.content(batch.slice(0, half)), record.content(batch.slice(half)))
        edited = pa.concat_arrays(
            [part if v.edited is None else v.edited for v, part in zip(verdicts, parts, strict=True)]
        )
    facts = None
    model = first.facts if first.facts is not None else second.facts
    if model is not None:
        tables = [
            pa.table({f.name: pa.nulls(n, f.type) for f in model.schema})
            if v.facts is None
            else pa.table(v.facts)
            for v, n in zip(verdicts, sizes, strict=True)
        ]
        facts = pa.concat_tables(tables).combine_chunks().to_batches()[0]
    columns = {
        name: pa.concat_arrays([getattr(v, name) for v in verdicts])
        for name in ("action", "reason", "score", "evidence", "kept_id")
    }
    also = (*first.also, *(d._replace(row=d.row + half) for d in second.also))
    return Verdict(**columns, edited=edited, also=also, facts=facts)


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
    spans = orjson.loads(evidence).get("spans") if evidence else None
    return len(spans) if spans else 1


def _merged(old: list[dict[str, Any]] | None, new: Counter[str]) -> list[dict[str, Any]]:
    total = Counter({edit["reason"]: edit["count"] for edit in old or ()}) + new
    return [{"reason": reason, "count": count} for reason, count in sorted(total.items())]


def _commit(partial: Path, final: Path) -> None:
    """Make a finished folder appear in one step, after its bytes are on disk."""
    for path in (*partial.iterdir(), partial):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
    shutil.rmtree(final, ignore_errors=True)  # a folder without report.json is another run's leftover
    partial.rename(final)
