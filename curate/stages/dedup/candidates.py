"""What is known of candidates as they travel from the parts that hold them to the task that compares them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from curate.io.store import Store
from curate.kernels import survivor
from curate.record import BESIDE, Batch
from curate.stages.dedup.nominated import Nominated
from curate.stages.dedup.shuffle import Array, Group, Ints

_FILES = "files.json"

ROWS = pa.schema(
    [
        ("number", pa.int64()),  # of the record: the run's in canonical order of parts, then those of indexes
        ("release", pa.int32()),  # index of the earlier release that holds it, -1 for the run
        ("file", pa.int32()),  # index into the names of all files; -1 in a release
        ("row", pa.int64()),  # in that file; in a release, its place there
        ("id", pa.string()),
        *survivor.COLUMNS,
    ]
)
BYTES = 120  # of a row, its id with it: an estimate


@dataclass(frozen=True, slots=True)
class Places:
    """The run's input files in order, and where in them the decisions are cut into ranges."""

    files: list[tuple[str, str]]  # (source, path), sorted
    bounds: list[tuple[int, int]]  # [ranges - 1] the first (file, row) of each range but the first

    @classmethod
    def of(cls, found: Nominated, most: int) -> Places:
        """Return ranges of about ``most`` records, or of one group's in one file where that is more."""
        spans = sorted((span for spans in found.spans for span in spans), key=lambda span: span[:4])
        files = sorted({(span.source, span.path) for span in spans})
        number = {name: place for place, name in enumerate(files)}
        bounds, filled = [], 0
        for span in spans:
            if filled and filled + span.records > most:
                bounds.append((number[span.source, span.path], span.first))
                filled = 0
            filled += span.records
        return cls(files, bounds)

    @property
    def ranges(self) -> int:
        """Return how many ranges there are."""
        return len(self.bounds) + 1

    def save(self, store: Store) -> None:
        """Write the names for all tasks."""
        store.write(_FILES, orjson.dumps(self.files))

    def numbers(self, found: Nominated) -> list[dict[tuple[str, str], int]]:
        """Return the numbers of each group's files."""
        all_files = {name: place for place, name in enumerate(self.files)}
        named = ({(span.source, span.path) for span in spans} for spans in found.spans)
        return [{name: all_files[name] for name in names} for names in named]

    def cuts(self, file: Array, row: Ints) -> Ints:
        """Return where each range begins [ranges + 1] among records in order."""
        found = [0]
        for number, start in self.bounds:
            first, last = np.searchsorted(file, (number, number + 1))
            found.append(int(first + np.searchsorted(row[first:last], start)))
        return np.array([*found, len(row)], np.int64)


def file_names(store: Store) -> list[tuple[str, str]]:
    """Return the names of all files, as the driver has written them."""
    return [(source, path) for source, path in orjson.loads(store.read(_FILES))]


@dataclass(frozen=True, slots=True)
class Candidates:
    """One part's candidates."""

    part: Any
    rows: Ints  # in the part, ascending
    table: pa.Table  # ROWS
    columns: tuple[str, ...]  # that hold the records' content and, if asked for, what stands beside it

    def batches(self) -> Iterator[tuple[Batch, Ints]]:
        """Yield the batches that hold candidates, and the candidates' rows in each."""
        start = 0
        for batch in self.part.records(self.columns):
            first, last = np.searchsorted(self.rows, (start, start + batch.num_rows))
            if first < last:
                yield batch, self.rows[first:last] - start
            start += batch.num_rows


def beside(batch: Batch) -> pa.Array:
    """Return, for a sketch, which of record.BESIDE the batch has, the same for each record: bit by bit."""
    there = sum(1 << place for place, name in enumerate(BESIDE) if name in batch.schema.names)
    return pa.array(np.full(batch.num_rows, there, np.uint8))


def content_columns(conversation: bool, there: int = 0) -> tuple[str, ...]:
    """Return the columns that hold what records say, of a part whose sketch says this of it (:func:`beside`)."""
    also = (name for place, name in enumerate(BESIDE) if there >> place & 1)
    return ("messages", *also) if conversation else ("text",)


def candidates(
    group: Group, rows: Ints, files: dict[tuple[str, str], int], *, whole: bool = False
) -> Iterator[Candidates]:
    """Yield the group's records of those numbers (in it, ascending), part by part.

    whole: with what stands beside the turns, of which the sketch tells in a column ``beside``.
    """
    done = 0
    for part, mine in group.chosen(rows):
        places = rows[done : done + len(mine)]
        done += len(mine)
        if group.release >= 0:
            yield Candidates(part, mine, _of_release(group, part, mine, places), ())
            continue
        names = [
            "conversation",
            *(["beside"] if whole else []),
            "id",
            *survivor.KEYS,
            *survivor.COLUMNS.names,
        ]
        table = part.table(names)
        there = table.column("beside")[0].as_py() if whole else 0
        content = content_columns(table.column("conversation")[0].as_py(), there)
        table = table.take(pa.array(mine))
        seen: dict[tuple[str, str], int] = {}
        file = survivor.numbered(table, seen)
        numbered = np.array([files[name] for name in seen], np.int32)[file]
        columns = {
            "number": pa.array(places + group.start),
            "release": pa.array(np.full(len(mine), -1, np.int32)),
            "file": pa.array(numbered),
            "row": table.column("_row"),
        }
        arrays = [columns[name] if name in columns else table.column(name) for name in ROWS.names]
        yield Candidates(part, mine, pa.table(arrays, schema=ROWS).combine_chunks(), content)


def _of_release(group: Group, part: Any, mine: Ints, places: Ints) -> pa.Table:
    columns = {
        "number": pa.array(places + group.start),
        "release": pa.array(np.full(len(mine), group.release, np.int32)),
        "file": pa.array(np.full(len(mine), -1, np.int32)),
        "row": pa.array(places + group.place),
        "id": part.table(["id"]).column("id").take(pa.array(mine)),
    }
    for field in survivor.COLUMNS:
        columns[field.name] = pa.array(np.zeros(len(mine), field.type.to_pandas_dtype()))
    return pa.table([columns[name] for name in ROWS.names], schema=ROWS).combine_chunks()


def to_bytes(rows: pa.Table) -> npt.NDArray[np.uint8]:
    """Return rows (ROWS) as bytes."""
    return np.frombuffer(one_batch(rows).serialize(), np.uint8)


def from_bytes(content: Array) -> pa.RecordBatch:
    """Return the rows of :func:`to_bytes`."""
    return pa.ipc.read_record_batch(pa.py_buffer(content), ROWS)


def one_batch(rows: pa.Table) -> pa.RecordBatch:
    """Return rows (ROWS) as one batch."""
    batches = rows.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], ROWS)


def placed(rows: pa.RecordBatch, at: Ints) -> list[Array]:
    """Return what orders the records at some places: curate.kernels.survivor.order takes it."""
    return [rows.column(name).to_numpy()[at] for name in (*survivor.COLUMNS.names, "file", "row")]
