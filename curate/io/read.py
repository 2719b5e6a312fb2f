"""Read one unit of a source as batches, with a fault for every record that could not be read.

Which records come, in which order and with which content, depends on the file alone: not on the size of the
batches and not on how the file was cut into units.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import InputError
from curate.io.cells import Parsed, Tabular
from curate.io.columns import plain_array
from curate.io.convert import Chunk, convert
from curate.io.csvrows import rows_of
from curate.io.faults import FAULTS, Fault, judge_line, kind_of, too_deep
from curate.io.files import opened_arrow, size
from curate.io.layouts import separator
from curate.io.lines import BrokenStream, blocks, reason_for, split
from curate.io.outline import Unfit
from curate.io.scan import InputFile, SourcePlan, Unit
from curate.io.survey import csv_header
from curate.io.tables import arrow_batches, damaged

__all__ = ["FAULTS", "Chunk", "Fault", "read"]

BATCH_BYTES = 16 * 2**20  # of input in a batch, unless a single record is larger


def read(plan: SourcePlan, unit: Unit, batch_records: int = 1024) -> Iterator[Chunk]:
    """Yield the records of a unit in order, at most batch_records of them (faults included) at a time.

    Raises InputError if the file cannot be read any more, or is not what it was when it was scanned.
    """
    readers = {"jsonl": _lines, "csv": _csv, "parquet": _parquet, "arrow": _arrow}
    with _told(unit.file):
        if (found := size(unit.file.location)) != unit.file.bytes:
            raise InputError(_changed(unit.file, f"{found} bytes; expected {unit.file.bytes}"))
        seen = 0
        for chunk in readers[unit.file.layout](plan, unit, batch_records):
            seen += chunk.seen
            yield chunk
        if seen != unit.records:
            raise InputError(_changed(unit.file, f"{seen} records; expected {unit.records}"))


@contextmanager
def _told(file: InputFile) -> Iterator[None]:
    """Name the file in whatever goes wrong below."""
    try:
        yield
    except BrokenStream as error:
        raise InputError(f"{file.path}: {reason_for(error)}") from None
    except Unfit as error:
        raise InputError(_changed(file, str(error))) from None
    except pa.ArrowException as error:
        if file.layout in ("parquet", "arrow"):
            raise InputError(f"{file.path}: {damaged(file.layout, error)}") from None
        raise InputError(_changed(file, "a value does not fit its column")) from None
    except (OSError, EOFError) as error:
        raise InputError(f"{file.path}: {damaged(file.layout, error)}") from None


def _changed(file: InputFile, what: str) -> str:
    return f"{file.path}: has changed since it was scanned: {what}; run again"


class _Pile:
    """Records and faults that wait to become a chunk."""

    def __init__(self, plan: SourcePlan, file: InputFile, batch_records: int) -> None:
        self._plan, self._file, self._most = plan, file, batch_records
        self._begin()

    def _begin(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.lines: list[bytes | None] = []
        self.rows: list[int] = []
        self.faults: list[Fault] = []
        self.bytes = 0

    def add(self, row: int, record: dict[str, Any], line: bytes | None) -> None:
        """Lay down a record."""
        self.records.append(record)
        self.lines.append(line)
        self.rows.append(row)
        self.bytes += len(line or b"")

    def fault(self, row: int, reason: str, detail: str, line: bytes | None) -> None:
        """Lay down a fault."""
        self.faults.append(Fault(row, reason, detail, line))
        self.bytes += len(line or b"")

    def full(self) -> bool:
        """Tell whether the pile is a chunk."""
        return len(self.rows) + len(self.faults) >= self._most or self.bytes >= BATCH_BYTES

    def chunk(self) -> Iterator[Chunk]:
        """Yield what lies here, if anything, and begin anew."""
        if self.rows or self.faults:
            cells = Parsed(self.records, self.lines, self._file.layout == "jsonl")
            yield convert(self._plan, self._file, cells, self.rows, self.faults)
            self._begin()


def _lines(plan: SourcePlan, unit: Unit, batch_records: int) -> Iterator[Chunk]:
    file, limit = unit.file, plan.source.max_record
    pieces = blocks(file.location, file.compression, unit.start, unit.stop)
    pile = _Pile(plan, file, batch_records)
    row = unit.first_row - 1
    for group in split(pieces, limit, unit.start):
        for line in group.lines:
            row += 1
            if line is None:
                pile.fault(row, "read/too-large", f"more than {limit} bytes", None)
            else:
                try:
                    record = orjson.loads(line)
                except orjson.JSONDecodeError:
                    if not line or line.isspace():
                        continue
                    pile.fault(row, *judge_line(line), line)
                else:
                    if too_deep(line, record):
                        pile.fault(
                            row, "read/too-deep", "more lists and objects within each other than 254", line
                        )
                    elif type(record) is dict:
                        pile.add(row, record, line)
                    else:
                        pile.fault(row, "read/not-object", f"the line is {kind_of(record)}", line)
            if pile.full():
                yield from pile.chunk()
    yield from pile.chunk()


def _csv(plan: SourcePlan, unit: Unit, batch_records: int) -> Iterator[Chunk]:
    file, limit = unit.file, plan.source.max_record
    rows = rows_of(split(blocks(file.location, file.compression), limit), separator(file.path), limit)
    header = csv_header(next(rows, None))
    pile = _Pile(plan, file, batch_records)
    for found in rows:
        if found.fault or found.cells is None:
            reason, detail = found.fault or ("read/csv-syntax", "no fields")
            pile.fault(found.row, reason, detail, found.raw)
        elif len(found.cells) != len(header):
            detail = f"{len(found.cells)} fields; the header has {len(header)} columns"
            pile.fault(found.row, "read/csv-columns", detail, found.raw)
        else:
            pile.add(found.row, dict(zip(header, found.cells, strict=True)), found.raw)
        if pile.full():
            yield from pile.chunk()
    yield from pile.chunk()


def _parquet(plan: SourcePlan, unit: Unit, batch_records: int) -> Iterator[Chunk]:
    """Stream the pages of a unit's row groups; a row group is never in memory as a whole."""
    with opened_arrow(unit.file.location) as native:
        # Both options are needed for Arrow to stream a column chunk instead of holding it as a whole.
        streaming = {"buffer_size": 2**20, "pre_buffer": False}
        parquet = pq.ParquetFile(native, page_checksum_verification=True, **streaming)
        row = unit.first_row
        for i in range(unit.start, unit.stop):
            group = parquet.metadata.row_group(i)
            usual = max(1, group.total_byte_size // max(1, group.num_rows))  # bytes per record
            records = max(1, min(batch_records, BATCH_BYTES // usual))
            for batch in parquet.iter_batches(records, row_groups=[i], use_threads=False):
                yield from _tables(plan, unit.file, [batch], row, batch_records)
                row += batch.num_rows


def _arrow(plan: SourcePlan, unit: Unit, batch_records: int) -> Iterator[Chunk]:
    with opened_arrow(unit.file.location, mapped=True) as native:
        streamed = native.read(6) != b"ARROW1"
        native.seek(0)
        reader = pa.ipc.open_stream(native) if streamed else pa.ipc.open_file(native)
        batches = arrow_batches(reader, streamed, unit.start, unit.stop)
        yield from _tables(plan, unit.file, batches, unit.first_row, batch_records)


def _tables(
    plan: SourcePlan, file: InputFile, batches: Iterable[pa.RecordBatch], row: int, batch_records: int
) -> Iterator[Chunk]:
    for whole in batches:
        for start in range(0, whole.num_rows, batch_records):
            for batch in _halved(whole.slice(start, batch_records)):
                yield _table(plan, file, batch, row)
                row += batch.num_rows


def _halved(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch until each piece is within BATCH_BYTES or a single record."""
    if batch.num_rows <= 1 or batch.nbytes <= BATCH_BYTES:
        yield batch
    else:
        middle = batch.num_rows // 2
        yield from _halved(batch.slice(0, middle))
        yield from _halved(batch.slice(middle))


def _table(plan: SourcePlan, file: InputFile, batch: pa.RecordBatch, row: int) -> Chunk:
    rows = list(range(row, row + batch.num_rows))
    faults: list[Fault] = []
    try:
        plain = _plain(batch)
    except pa.ArrowInvalid:
        good = [i for i in range(batch.num_rows) if _is_sound(batch.slice(i, 1))]
        if len(good) == batch.num_rows:
            raise  # the damage is elsewhere than in a record
        bad = sorted(set(range(batch.num_rows)) - set(good))
        faults = [Fault(rows[i], "read/invalid-utf8", "a string is not UTF-8", None) for i in bad]
        plain = _plain(batch.take(pa.array(good, pa.int64())))
        rows = [rows[i] for i in good]
    return convert(plan, file, Tabular(plain, plan.source.max_record), rows, faults)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Undo encodings and check every string; raises ArrowInvalid."""
    columns = []
    for column in batch.columns:
        columns.append(plain_array(column))
        columns[-1].validate(full=True)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_sound(batch: pa.RecordBatch) -> bool:
    try:
        _plain(batch)
    except pa.ArrowInvalid:
        return False
    return True
