"""A sample of a run's input: stretches of its files, spread evenly, as plans that the pipeline can run."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.io.csvrows import rows_of
from curate.io.files import is_remote, opened, opened_arrow
from curate.io.layouts import separator
from curate.io.lines import blocks, split
from curate.io.scan import InputFile, SourcePlan, Unit
from curate.io.tables import arrow_batches

RECORDS = 6_000  # of a sample: a stage of 2 MB per CPU second takes some 5 s for the usual record
BYTES = 8 * 10**6  # of input in it, whatever its records
PIECES = 16  # stretches that it is made of, over all sources: long ones, so that their batches are a run's
LEAST = 32  # records of each source, or all of them
HEAD = (
    64 * 2**20
)  # decompressed bytes of a compressed file in which stretches are looked for: all before is unpacked
_STEP = 16 * 2**10  # most bytes read at a time: a stretch ends where the step ends that fills it


@dataclass(frozen=True)
class Taken:
    """What a sample holds of one source."""

    records: int
    nbytes: int  # of input, decompressed where it is lines
    unpacked: int  # decompressed bytes on the way to the stretches
    seconds: float  # CPU time that unpacking took


@dataclass(frozen=True)
class Sample:
    """Stretches of the input as plans, and what they hold by source."""

    plans: tuple[SourcePlan, ...]
    taken: dict[str, Taken]

    @property
    def records(self) -> int:
        """Return how many records the sample has, good or bad."""
        return sum(one.records for one in self.taken.values())

    @property
    def units(self) -> int:
        """Return how many stretches it is made of."""
        return sum(len(plan.units) for plan in self.plans)


@dataclass(frozen=True)
class CopiedFile(InputFile):
    """A copy of a stretch of a file, which need not be packed as the file is."""

    stands_for: int  # bytes of the file


def weight(unit: Unit) -> int:
    """Return a unit's bytes as far as a plan tells: decompressed for lines, else its records' share of the file."""
    if unit.file.layout == "jsonl":
        return unit.stop - unit.start
    nbytes = unit.file.stands_for if isinstance(unit.file, CopiedFile) else unit.file.bytes
    return nbytes * unit.records // max(1, unit.file.records)


def take(plans: Sequence[SourcePlan], folder: Path, records: int = RECORDS, nbytes: int = BYTES) -> Sample:
    """Take about so many records, from every source in proportion to its own, or all where there are no more.

    Stretches lie evenly over a source's units, and within units of plain lines; of a compressed file they come from
    its first HEAD bytes. folder: takes copies of stretches that cannot be read in place. Raises as reading does.
    """
    whole = sum(unit.records for plan in plans for unit in plan.units)
    sizes = sum(weight(unit) for plan in plans for unit in plan.units)
    share = min(1.0, records / max(1, whole), nbytes / max(1, sizes))
    cut: list[SourcePlan] = []
    taken: dict[str, Taken] = {}
    for plan in plans:
        own = sum(unit.records for unit in plan.units)
        wanted = own if share == 1.0 else min(own, max(LEAST, round(own * share)))
        pieces = max(1, min(round(PIECES * wanted / max(1, records)), wanted))
        units, unpacked, seconds = _units(plan, wanted, pieces, folder / f"{len(cut)}")
        cut.append(replace(plan, units=tuple(units)))
        nbytes_taken = sum(weight(unit) for unit in units)
        taken[plan.source.name] = Taken(sum(unit.records for unit in units), nbytes_taken, unpacked, seconds)
    return Sample(tuple(cut), taken)


def few(sample: Sample, records: int, folder: Path) -> Sample:
    """Return a sample of the sample: of every stretch about so many records, from its beginning."""
    plans, taken = [], {}
    for number, plan in enumerate(sample.plans):
        units = [
            _head(plan, unit, unit.start, records, folder / f"{number}-{i}")
            for i, unit in enumerate(plan.units)
        ]
        found = [unit for unit in units if unit is not None]
        plans.append(replace(plan, units=tuple(found)))
        sizes = sum(unit.records for unit in found), sum(weight(unit) for unit in found)
        taken[plan.source.name] = Taken(*sizes, 0, 0.0)
    return Sample(tuple(plans), taken)


def _units(plan: SourcePlan, wanted: int, pieces: int, folder: Path) -> tuple[list[Unit], int, float]:
    """Return stretches of a source's units, decompressed bytes on the way to them, and their CPU seconds."""
    if not plan.units or not wanted:
        return [], 0, 0.0
    if wanted == sum(unit.records for unit in plan.units):
        return list(plan.units), 0, 0.0
    some = min(pieces, len(plan.units))
    chosen = [plan.units[i * len(plan.units) // some] for i in range(some)]
    each = max(1, wanted // len(chosen))
    found: list[Unit] = []
    unpacked, started = 0, time.process_time()
    for number, unit in enumerate(chosen):
        places = max(1, pieces // len(chosen))
        if unit.file.layout == "jsonl" and unit.file.compression:
            if unit.start > HEAD:
                continue
            starts, passed = _line_starts(unit, places)
            unpacked += passed
        elif unit.file.layout == "jsonl" and not is_remote(unit.file.location):
            starts = [
                _aligned(unit, unit.start + (unit.stop - unit.start) * i // places) for i in range(places)
            ]
        else:
            starts = [unit.start]
        for place, start in enumerate(dict.fromkeys(starts)):
            copy = folder / f"{number}-{place}"
            if (piece := _head(plan, unit, start, max(1, each // len(starts)), copy)) is not None:
                found.append(_apart(piece, found))
    return [unit for unit in found if unit.records], unpacked, time.process_time() - started


def _apart(piece: Unit, before: Sequence[Unit]) -> Unit:
    """Return a stretch whose rows do not meet those of the stretch before it in the file: rows are counted on."""
    last = before[-1] if before and before[-1].file.path == piece.file.path else None
    least = last.first_row + last.records if last else 1
    return replace(piece, first_row=max(piece.first_row, least))


def _aligned(unit: Unit, offset: int) -> int:
    """Return where the first line begins at or after an offset of a plain file."""
    if offset == unit.start:
        return offset
    with opened(unit.file.location) as file:
        file.seek(offset)
        file.readline(unit.file.bytes)
        return min(file.tell(), unit.stop)


def _line_starts(unit: Unit, places: int) -> tuple[list[int], int]:
    """Return starts of lines, evenly spread over what lies in HEAD, and the bytes unpacked for them."""
    starts = [unit.start]
    stop = min(unit.stop, max(HEAD, unit.start + _STEP))
    for group in split(
        blocks(unit.file.location, unit.file.compression, unit.start, stop, _STEP), 2**30, unit.start
    ):
        starts.append(group.end)
    return starts[:-1][:: max(1, (len(starts) - 1) // places)][:places] or starts[:1], stop


def _head(plan: SourcePlan, unit: Unit, start: int, records: int, copy: Path) -> Unit | None:
    """Return the stretch that holds about so many records of a unit from ``start`` on; None where there are none."""
    if records >= unit.records and start == unit.start:
        return unit
    makers = {"jsonl": _lines, "csv": _csv, "parquet": _parquet, "arrow": _arrow}
    copy.parent.mkdir(parents=True, exist_ok=True)
    return makers[unit.file.layout](plan, unit, start, records, copy)


def _lines(plan: SourcePlan, unit: Unit, start: int, records: int, copy: Path) -> Unit | None:
    usual = (unit.stop - unit.start) // max(1, unit.records)
    step = min(_STEP, max(1, usual * records))
    pieces = blocks(unit.file.location, unit.file.compression, start, unit.stop, step)
    found, end = 0, start
    for group in split(pieces, plan.source.max_record, start):
        found += sum(line is None or bool(line.strip()) for line in group.lines)
        end = group.end
        if found >= records:
            break
    return replace(unit, start=start, stop=end, records=found) if found else None


def _csv(plan: SourcePlan, unit: Unit, start: int, records: int, copy: Path) -> Unit | None:
    limit = plan.source.max_record
    pieces = blocks(unit.file.location, unit.file.compression)
    rows = [
        row.raw
        for row in itertools.islice(
            rows_of(split(pieces, limit), separator(unit.file.path), limit), records + 1
        )
    ]
    kept = [row for row in rows if row is not None]
    copy.write_bytes(b"".join(row + b"\n" for row in kept))
    return _copied(unit, copy, len(kept) - 1)


def _parquet(plan: SourcePlan, unit: Unit, start: int, records: int, copy: Path) -> Unit | None:
    with opened_arrow(unit.file.location) as native:
        parquet = pq.ParquetFile(native, buffer_size=2**20, pre_buffer=False)
        batch = next(parquet.iter_batches(records, row_groups=[start], use_threads=False), None)
        if batch is None:
            return None
        about = parquet.metadata.row_group(start)
        codec = about.column(0).compression if about.num_columns else "NONE"
        table = pa.Table.from_batches([batch])
    pq.write_table(table, copy, compression="none" if codec == "UNCOMPRESSED" else codec)
    return _copied(unit, copy, table.num_rows)


def _arrow(plan: SourcePlan, unit: Unit, start: int, records: int, copy: Path) -> Unit | None:
    with opened_arrow(unit.file.location, mapped=True) as native:
        streamed = native.read(6) != b"ARROW1"
        native.seek(0)
        reader = pa.ipc.open_stream(native) if streamed else pa.ipc.open_file(native)
        batch = next(_filled(arrow_batches(reader, streamed, start, unit.stop)), None)
        if batch is None:
            return None
        head = batch.slice(0, records)
        with pa.ipc.new_file(str(copy), reader.schema) as writer:
            writer.write(head)
    return _copied(unit, copy, head.num_rows)


def _filled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    return (batch for batch in batches if batch.num_rows)


def _copied(unit: Unit, copy: Path, records: int) -> Unit | None:
    if records < 1:
        return None
    changed = {
        "location": str(copy), "bytes": copy.stat().st_size, "compression": None, "records": records,
        "stands_for": weight(unit) * records // max(1, unit.records),
    }  # fmt: skip
    file = CopiedFile(**{f.name: getattr(unit.file, f.name) for f in fields(InputFile)} | changed)
    first = 2 if unit.file.layout == "csv" else unit.first_row
    return Unit(_same(file), 0, 1 if unit.file.layout in ("parquet", "arrow") else 0, first, records)


def _same(file: InputFile) -> InputFile:
    return replace(file, sha256=f"{file.sha256}/{Path(file.location).name}")
