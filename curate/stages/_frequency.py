"""Counts in how many records each passage occurs, within a budget of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.stage import Engine, Sketches, SketchPart

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# A passage in a file: in how many of its records, of how many characters in all, and the first of them.
_ENTRY = np.dtype(
    [("high", "u8"), ("low", "u8"), ("file", "i8"), ("row", "i8"), ("records", "i8"), ("characters", "i8")]
)
_Entries = npt.NDArray[Any]
_PARTITIONS = 256  # by the first byte of the hash; what is spilled is counted one partition at a time
_AT_WORK = 4  # bytes that counting takes per byte of entries: the sort's index, and one copy in its order

TABLE = pa.schema(
    [
        ("high", pa.uint64()),  # ascending, then low
        ("low", pa.uint64()),
        ("records", pa.int64()),  # in how many records the passage occurs
        ("file", pa.int64()),  # the first of them in the order of (source, path, row): index into `files` …
        ("row", pa.int64()),  # … and row
    ]
)


@dataclass(frozen=True)
class Census:
    """How much there is of everything."""

    files: list[tuple[str, str]]  # (source, path), sorted
    records: int
    characters: dict[str, int]  # by source


@dataclass(frozen=True)
class Frequencies:
    """The passages that occur in more records than the limit, and totals over all."""

    table: pa.Table  # TABLE
    passages: int  # occurrences, a passage counted once per record
    distinct: int
    characters: dict[str, int]  # by source, in passages over the limit


class _Share(NamedTuple):
    """What one partition adds to the frequencies."""

    frequent: _Entries
    passages: int
    distinct: int
    lost: Ints  # [files] characters in passages over the limit


class _Task(NamedTuple):
    file: Path
    limit: int
    files: int


def census(parts: Sequence[SketchPart]) -> Census:
    """Return the files, and the number of records and their characters."""
    files: set[tuple[str, str]] = set()
    records = 0
    characters: dict[str, int] = {}
    for part in parts:
        table = part.table(["source", "_path", "length"])
        records += table.num_rows
        sizes = table.group_by(["source", "_path"]).aggregate([("length", "sum")])
        for source, path, size in zip(
            *(sizes.column(n).to_pylist() for n in sizes.column_names), strict=True
        ):
            files.add((source, path))
            characters[source] = characters.get(source, 0) + size
    return Census(sorted(files), records, dict(sorted(characters.items())))


def count(sketches: Sketches, known: Census, limit: int, engine: Engine) -> Frequencies:
    """Count the passages of all sketches; those in more than ``limit`` records are frequent.

    Holds the entries of one part at a time and those that fit the sketches' memory; the rest lies in the
    scratch folder, in files by the hash's first byte.
    """
    place = {key: index for index, key in enumerate(known.files)}
    with tempfile.TemporaryDirectory(dir=sketches.store.path) as folder:
        held = _Held(Path(folder), sketches.memory // _AT_WORK)
        for part in sketches.parts:
            for entries in _entries(part, place):
                held.add(entries)
        spilled = held.close()
        if spilled:
            tasks = [_Task(file, limit, len(place)) for file in spilled]
            shares = list(engine.map(_count_file, tasks))
        else:
            shares = [_count(held.entries, limit, len(place))]
    lost = dict.fromkeys(known.characters, 0)
    by_file = np.sum([share.lost for share in shares], axis=0)
    for (source, _), size in zip(known.files, by_file.tolist(), strict=True):
        lost[source] += size
    frequent = np.concatenate([share.frequent for share in shares])
    table = pa.table([pa.array(frequent[name].copy()) for name in TABLE.names], schema=TABLE)
    return Frequencies(
        table, sum(share.passages for share in shares), sum(share.distinct for share in shares), lost
    )


def _entries(part: SketchPart, place: dict[tuple[str, str], int]) -> Iterator[_Entries]:
    """Yield the entries of a part, one for each different passage of each of its files."""
    for batch in part.table(["source", "_path", "_row", "passages"]).to_batches():
        keys = zip(batch.column("source").to_pylist(), batch.column("_path").to_pylist(), strict=True)
        files = np.fromiter((place[key] for key in keys), np.int64, batch.num_rows)
        lists = batch.column("passages")
        passages = lists.flatten()
        sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
        entries = np.empty(len(passages), _ENTRY)
        for name in ("high", "low", "characters"):
            entries[name] = pc.struct_field(passages, name).to_numpy(zero_copy_only=False)
        entries["file"] = np.repeat(files, sizes)
        entries["row"] = np.repeat(batch.column("_row").to_numpy(), sizes)
        entries["records"] = 1
        yield entries


class _Held:
    """Entries in memory up to a budget in bytes; beyond it, in files."""

    def __init__(self, folder: Path, budget: int) -> None:
        self.entries = np.empty(0, _ENTRY)
        self._new: list[_Entries] = []
        self._folder = folder
        self._budget = budget
        self._spilled: set[int] = set()

    def add(self, entries: _Entries) -> None:
        self._new.append(entries)
        if self.entries.nbytes + sum(new.nbytes for new in self._new) > self._budget:
            self._settle()
            if 2 * self.entries.nbytes > self._budget:  # else what repeats has been made one
                self._spill()

    def close(self) -> list[Path]:
        """Return the files that hold the entries; none where all are in memory."""
        self._settle()
        if self._spilled:
            self._spill()
        return [self._file(number) for number in sorted(self._spilled)]

    def _settle(self) -> None:
        self.entries = _merged(np.concatenate([self.entries, *self._new]), by_file=True)
        self._new = []

    def _spill(self) -> None:
        bounds = np.searchsorted(self.entries["high"] >> np.uint64(56), np.arange(_PARTITIONS + 1))
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            with self._file(number).open("ab" if number in self._spilled else "wb") as file:
                file.write(self.entries[bounds[number] : bounds[number + 1]].tobytes())
            self._spilled.add(number)
        self.entries = np.empty(0, _ENTRY)

    def _file(self, number: int) -> Path:
        return self._folder / f"passages.{number:03d}.spill"


def _count_file(task: _Task) -> _Share:
    return _count(np.fromfile(task.file, _ENTRY), task.limit, task.files)


def _count(entries: _Entries, limit: int, files: int) -> _Share:
    """Count entries that hold every occurrence of their passages."""
    entries = _merged(entries, by_file=True)
    totals = _merged(entries, by_file=False)
    frequent = totals["records"] > limit
    lost = np.zeros(files, np.int64)
    often = np.repeat(frequent, np.diff(np.append(_starts(entries, by_file=False), len(entries))))
    np.add.at(lost, entries["file"][often], entries["characters"][often])
    return _Share(totals[frequent], int(totals["records"].sum()), len(totals), lost)


def _merged(entries: _Entries, *, by_file: bool) -> _Entries:
    """Make one entry of those of one passage, or of one passage in one file, at its first place; sorted."""
    order = np.lexsort([entries[name] for name in ("row", "file", "low", "high")])
    entries = entries[order]
    starts = _starts(entries, by_file=by_file)
    merged = entries[starts]
    for name in ("records", "characters") if len(starts) else ():
        merged[name] = np.add.reduceat(entries[name], starts)
    return merged


def _starts(entries: _Entries, *, by_file: bool) -> Ints:
    """Return where in sorted entries another passage, or file, begins."""
    new = np.ones(len(entries), bool)
    names = ("high", "low", "file") if by_file else ("high", "low")
    new[1:] = np.any([entries[name][1:] != entries[name][:-1] for name in names], axis=0)
    return np.flatnonzero(new)


def save(file: Path, table: pa.Table, files: Sequence[tuple[str, str]]) -> None:
    """Write frequent passages for :class:`Frequent`; the bytes depend on the records alone."""
    schema = TABLE.with_metadata({"files": orjson.dumps(files).decode()})
    unfinished = file.with_suffix(".tmp")
    with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(
            pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=schema)
        )
    unfinished.replace(file)  # a reader that has the old file mapped keeps it


@dataclass(frozen=True, slots=True)
class Frequent:
    """The frequent passages [f], mapped from their file."""

    high: Hashes
    low: Hashes
    records: Ints
    file: Ints
    row: Ints
    place: dict[tuple[str, str], int]  # (source, path) → file

    @classmethod
    def open(cls, file: str) -> Frequent:
        """Map the file that :func:`save` wrote, once per process."""
        return _open(file, Path(file).stat().st_mtime_ns)

    def find(self, high: Hashes, low: Hashes) -> Ints:
        """Return where each passage [p] stands here, -1 where it does not."""
        found = np.full(len(high), -1, np.int64)
        at = np.searchsorted(self.high, high)
        open_ = np.flatnonzero(at < len(self.high))
        while len(open_):  # one round, and one more for each pair of passages that share half a hash
            open_ = open_[self.high[at[open_]] == high[open_]]
            same = self.low[at[open_]] == low[open_]
            found[open_[same]] = at[open_[same]]
            open_ = open_[~same]
            at[open_] += 1
            open_ = open_[at[open_] < len(self.high)]
        return found


@lru_cache(maxsize=8)
def _open(file: str, modified: int) -> Frequent:
    """Map the file; ``modified`` makes a file that was replaced a new one."""
    reader = pa.ipc.open_file(pa.memory_map(file))
    place = {(s, p): index for index, (s, p) in enumerate(orjson.loads(reader.schema.metadata[b"files"]))}
    batch = reader.get_batch(0)
    high, low, records, files, row = (batch.column(name).to_numpy() for name in TABLE.names)
    return Frequent(high, low, records, files, row, place)
