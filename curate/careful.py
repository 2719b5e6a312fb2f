"""Finding the record that is to blame when a stage raises, or when the process that judges dies.

An exception is caught, and the batch halved until one record is left. A death takes everything along. So a unit whose
worker died is tried again with *care*: before each step it leaves a mark of what it is about to do. Where it dies
again, the mark tells the rows that were being judged, and the next try judges these in 32 parts, and so on down to a
single record. A record on which a worker died twice while judging nothing else goes to quarantine, and that stage
never sees it again. All other records get the answers that they would have had: a stage's answer does not depend on
what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import orjson
import pyarrow as pa

from curate import record
from curate.errors import CurateError, InputError, StageError
from curate.io.store import Store
from curate.outcome import KILLED, Tally
from curate.record import Batch
from curate.stage import Barrier, Decision, Stage, Verdict

FATAL = (CurateError, ImportError, MemoryError, OSError)  # never one record's fault
READING, JUDGING, SKETCHING, WRITING = "reading", "judging", "sketching", "writing"
_PARTS = 32  # that deadly rows are cut into: two tries find one of a batch's 1,024 records
_ALONE = 2  # deaths on one record alone that condemn it: one may be anybody's doing
_SAME = 3  # deaths at one place that no record can be blamed for
_MOST_KILLED = 10  # records of a unit that one stage may die on, before the stage itself is to blame
_MOST_DEATHS = 100  # of one unit's workers
_MARK = "at.json"


@dataclass(frozen=True)
class Place:
    """Where a worker was: what it did, for which stage, with the rows [first, last], so many records of them."""

    doing: str
    stage: str = ""
    first: int = 0
    last: int = 0
    records: int = 0


@dataclass(frozen=True)
class Care:
    """What the deaths of a unit's workers have taught so far."""

    killed: tuple[tuple[str, int], ...] = ()  # (stage, row): records in quarantine
    deadly: tuple[Place, ...] = ()  # rows of a stage that are judged in parts
    last: Place | None = None  # of the last death
    times: int = 0  # deaths in a row at that very place
    deaths: int = 0

    def after(self, marks: Store, title: str) -> Care:
        """Return what is known after one more death. title: names the unit.

        Raises InputError or StageError where trying again is no use: no record can be told apart.
        """
        place = _taken(marks)
        known = replace(
            self, last=place, times=self.times + 1 if place == self.last else 1, deaths=self.deaths + 1
        )
        if known.deaths >= _MOST_DEATHS:
            raise StageError(f"{title}: its workers died {known.deaths} times; what is finished is kept")
        if place is None or place.doing in (READING, WRITING):
            return known._again(title)
        if place.records > 1:
            return replace(known, deadly=(*self.deadly, place))
        if known.times < _ALONE:
            return known
        killed = (*self.killed, (place.stage, place.first))
        if sum(stage == place.stage for stage, _ in killed) > _MOST_KILLED:
            raise StageError(
                f"{title}: stage {place.stage!r} killed its worker on {_MOST_KILLED + 1} records, so the stage is to "
                "blame, not they; mend it and run again"
            )
        return replace(known, killed=killed, last=None, times=0)

    def _again(self, title: str) -> Care:
        if self.times < _SAME:
            return self
        if self.last is None:
            raise StageError(f"{title}: its worker died {self.times} times before it had begun")
        if self.last.doing == READING and self.last.records:
            raise InputError(
                f"{title}: a worker died {self.times} times while it read the {self.last.records:,} records from row "
                f"{self.last.first} on, which cannot be told apart before they are read; leave the one "
                "to blame out of the file, or give the run more memory"
            )
        of = (
            f" what stage {self.last.stage!r} decided"
            if self.last.doing == WRITING
            else " the unit before it"
        )
        raise StageError(
            f"{title}: a worker died {self.times} times while {self.last.doing}{of}; what is finished is kept: run "
            "again with more memory if that was short"
        )

    def parts(self, stage: str, batch: Batch) -> Iterator[Batch]:
        """Yield a batch in the parts that the stage is given one by one."""
        rows = batch.column("_row").to_numpy()
        most = np.full(len(rows), len(rows))
        for place in (place for place in self.deadly if place.stage == stage):
            inside = (rows >= place.first) & (rows <= place.last)
            most[inside] = np.minimum(most[inside], -(-place.records // _PARTS))
        for row in (row for name, row in self.killed if name == stage):
            most[rows == row] = 0  # apart from its neighbours, whatever their parts are
        start = 0
        for stop in range(1, len(rows) + 1):
            if stop == len(rows) or stop - start >= most[start] or most[stop] != most[start]:
                yield batch.slice(start, stop - start)
                start = stop


class Careful:
    """Marks what a worker is about to do."""

    def __init__(self, care: Care, marks: Store) -> None:
        self.care = care
        self.marks = marks

    def at(self, doing: str, stage: str, first: int = 0, last: int = 0, records: int = 0) -> None:
        """Leave a mark: it is there before anything else is done."""
        self.marks.write(_MARK, orjson.dumps(astuple(Place(doing, stage, first, last, records))))

    def spared(self, doing: str, stage: str, batch: Batch) -> Iterator[tuple[Batch, bool]]:
        """Yield a batch's parts, each marked before it is, and whether it is a record that the stage must not see."""
        for part in self.care.parts(stage, batch):
            rows = part.column("_row").to_pylist()
            spared = (stage, rows[0]) in self.care.killed
            if not spared:
                self.at(doing, stage, rows[0], rows[-1], len(rows))
            yield part, spared
        self.at(WRITING, stage)


def _taken(marks: Store) -> Place | None:
    """Return where a worker was when it died, and forget it: the next one may die before it leaves a mark."""
    try:
        found = Place(*orjson.loads(marks.read(_MARK)))
    except FileNotFoundError:
        return None
    marks.remove(_MARK)
    return found


def verdict(stage: Stage, batch: Batch, tally: Tally, careful: Careful | None = None) -> Verdict:
    """Let a stage judge; a record on which it raises, or on which its worker died, goes to quarantine."""
    if careful is None:
        return _judged(stage, batch, tally)
    parts, verdicts = [], []
    for part, spared in careful.spared(JUDGING, stage.name, batch):
        parts.append(part)
        verdicts.append(killed(stage.name, tally) if spared else _judged(stage, part, tally))
    return joined(verdicts, parts)


def killed(stage: str, tally: Tally) -> Verdict:
    """Return the verdict on a record on which workers died."""
    tally.failures[KILLED] += 1
    return Verdict.of(1, [Decision(0, "quarantine", f"{stage}/{KILLED}", evidence={"error": "worker died"})])


def sketch(barrier: Barrier, batch: Batch, careful: Careful | None = None) -> tuple[pa.RecordBatch, pa.Array]:
    """Return a barrier's sketch of a batch, and of which records [n]: not of those on which its worker died."""
    if careful is None:
        return _sketched(barrier, batch), pa.array([True] * batch.num_rows)
    sketches, stays = [], []
    for part, spared in careful.spared(SKETCHING, barrier.name, batch):
        stays += [not spared] * part.num_rows
        sketches.append(_sketched(barrier, part.slice(0, 0) if spared else part))
    whole = pa.Table.from_batches(sketches).combine_chunks()
    return pa.record_batch([column.combine_chunks() for column in whole.columns], whole.schema), pa.array(
        stays
    )


def _sketched(barrier: Barrier, batch: Batch) -> pa.RecordBatch:
    try:
        found = barrier.sketch(batch)
    except FATAL:
        raise
    except (Exception, SystemExit) as error:  # sys.exit would end the run as if it were done
        kind = type(error).__name__
        raise StageError(f"stage {barrier.name!r}: its sketch of a batch failed with {kind}") from error
    if found.num_rows != batch.num_rows:
        raise StageError(
            f"stage {barrier.name!r}: its sketch has {found.num_rows} rows for {batch.num_rows} records"
        )
    return found


def _judged(stage: Stage, batch: Batch, tally: Tally) -> Verdict:
    """Let a stage judge; where it fails, find the record it fails on and quarantine that one alone.

    The exception's message may hold record text, so only its type is kept.
    """
    try:
        found = stage.judge(batch)
    except FATAL:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  any defect of a stage, also of one that is not ours
        if batch.num_rows == 1:
            evidence = {"error": type(error).__name__}
            tally.failures[type(error).__name__] += 1
            return Verdict.of(1, [Decision(0, "quarantine", f"{stage.name}/failed", evidence=evidence)])
    else:
        if not isinstance(found, Verdict):
            raise StageError(f"stage {stage.name!r}: judge returned {type(found).__name__}, not a Verdict")
        found.check(stage.name, batch)
        return found
    half = batch.num_rows // 2
    parts = [batch.slice(0, half), batch.slice(half)]
    return joined([_judged(stage, part, tally) for part in parts], parts)


def joined(verdicts: Sequence[Verdict], parts: Sequence[Batch]) -> Verdict:
    """Return the verdict on a batch from those on its parts."""
    if len(verdicts) == 1:
        return verdicts[0]
    edited = None
    if any(one.edited is not None for one in verdicts):
        edited = pa.concat_arrays(
            [
                record.content(part) if one.edited is None else one.edited
                for one, part in zip(verdicts, parts, strict=True)
            ]
        )
    beside = {
        name: pa.concat_arrays(
            [
                (one.beside or {}).get(name, part.column(name))
                for one, part in zip(verdicts, parts, strict=True)
            ]
        )
        for name in sorted({name for one in verdicts for name in one.beside or ()})
    }
    columns = {
        name: pa.concat_arrays([getattr(one, name) for one in verdicts])
        for name in ("action", "reason", "score", "evidence", "kept_id")
    }
    also: list[Decision] = []
    start = 0
    for one, part in zip(verdicts, parts, strict=True):
        also += [decision._replace(row=decision.row + start) for decision in one.also]
        start += part.num_rows
    facts = _facts(verdicts, parts)
    return Verdict(**columns, edited=edited, also=tuple(also), facts=facts, beside=beside or None)


def _facts(verdicts: Sequence[Verdict], parts: Sequence[Batch]) -> Batch | None:
    model = next((one.facts for one in verdicts if one.facts is not None), None)
    if model is None:
        return None
    tables = [
        pa.table({f.name: pa.nulls(part.num_rows, f.type) for f in model.schema})
        if one.facts is None
        else pa.table(one.facts)
        for one, part in zip(verdicts, parts, strict=True)
    ]
    return pa.concat_tables(tables).combine_chunks().to_batches()[0]
