"""Counts in how many records each passage occurs, on any number of machines, within a budget of memory.

Two maps over the engine, with files in the run's store between them::

    groups of parts   → entries: one for each different passage of each file, sorted by hash; runs of them
    ranges of hashes  → all entries of a range, read out of all runs; those over the limit

Only totals and the frequent passages come together, on the driver's disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.store import Store, scratch
from curate.stage import Engine, Sketches, SketchPart
from curate.stages.passages import frequent as _frequent
from curate.stages.passages.entries import ENTRY, Entries, joined, merged, of_batch, starts
from curate.stages.passages.frequent import TABLE, Ints

_AT_WORK = 4  # bytes that counting takes per byte of entries: what came, sorted, merged, and the sort's index
_CELLS = 4096  # of hashes, by their highest bits; ranges are made of whole ones
_SHIFT = np.uint64(64 - 12)
_LEAST = 1 << 16  # entries that make a range worth a task
_PARTS = 64  # at most, in a group: what is done again where a worker dies


@dataclass(frozen=True)
class Census:
    """How much there is of everything, and where what was gathered lies."""

    files: list[tuple[str, str]]  # (source, path), sorted
    records: int
    characters: dict[str, int]  # by source
    spans: Ints  # [s, 4] part, file, first and last row of the file's records in the part
    runs: tuple[_Run, ...]

    def holders(self, file: int, row: int) -> list[int]:
        """Return which parts may hold a record."""
        part, of, first, last = self.spans.T
        found: list[int] = part[(of == file) & (first <= row) & (row <= last)].tolist()
        return found


@dataclass(frozen=True)
class Frequencies:
    """How many passages occur in more records than the limit, and totals over all."""

    frequent: int
    most: pa.Table  # TABLE, the most frequent ones first
    digest: str  # of the file of all frequent ones
    passages: int  # occurrences, a passage counted once per record
    distinct: int
    characters: dict[str, int]  # by source, in passages over the limit


class _Run(NamedTuple):
    """A file of entries, sorted by hash."""

    name: str
    bounds: Ints  # [_CELLS + 1] where each cell begins
    first: int  # where in the table of files the numbers that its entries use begin


class _Group(NamedTuple):
    parts: tuple[SketchPart, ...]
    store: Store
    name: str
    budget: int  # bytes of entries


class _Seen(NamedTuple):
    """What is in a group's parts. Files go by their number here, in the order in which they were met."""

    files: list[tuple[str, str]]
    characters: list[int]  # [files]
    records: int
    spans: list[tuple[int, int, int, int]]
    runs: list[tuple[str, Ints]]


class _Range(NamedTuple):
    store: Store
    name: str
    slices: tuple[tuple[str, int, int, int], ...]  # run, first entry, end, and where its files begin
    limit: int
    sources: int


class _Share(NamedTuple):
    """What one range adds to the frequencies."""

    frequent: int
    passages: int
    distinct: int
    lost: Ints  # [sources] characters in passages over the limit


def gather(sketches: Sketches, store: Store, engine: Engine) -> Census:
    """Write the entries of all parts into the store, group by group."""
    parts = sketches.parts
    size = max(1, min(_PARTS, -(-len(parts) // (4 * engine.workers))))
    starts = range(0, len(parts), size)
    budget = _budget(sketches, engine)
    groups = [_Group(tuple(parts[at : at + size]), store, f"run-{at:06d}", budget) for at in starts]
    seen = list(engine.map(_gather, groups))
    files = sorted({file for one in seen for file in one.files})
    place = {file: number for number, file in enumerate(files)}
    characters = dict.fromkeys(sorted({source for source, _ in files}), 0)
    number = {source: index for index, source in enumerate(characters)}
    spans: list[tuple[int, int, int, int]] = []
    runs: list[_Run] = []
    known: list[tuple[int, int]] = []
    for start, one in zip(starts, seen, strict=True):
        for (source, _), count in zip(one.files, one.characters, strict=True):
            characters[source] += count
        spans += [(start + part, place[one.files[file]], low, high) for part, file, low, high in one.spans]
        runs += [_Run(name, bounds, len(known)) for name, bounds in one.runs]
        known += [(place[file], number[file[0]]) for file in one.files]
    store.write(_KNOWN, np.array(known, np.int64).reshape(-1, 2).tobytes())
    records = sum(one.records for one in seen)
    return Census(files, records, characters, np.array(spans, np.int64).reshape(-1, 4), tuple(runs))


_KNOWN = "files"  # of the runs, group after group: number among all files, number of the source


def count(
    known: Census, sketches: Sketches, store: Store, limit: int, engine: Engine, name: str, most: int
) -> Frequencies:
    """Count what was gathered in the store; passages in more than ``limit`` records are frequent.

    Those are written to the file ``name`` of the sketches' store, and ``most`` of them returned.
    """
    tasks = [
        _Range(store, f"frequent-{number:04d}", slices, limit, len(known.characters))
        for number, slices in enumerate(_ranges(known.runs, _budget(sketches, engine), engine.workers))
    ]
    shares: list[_Share] = []
    with scratch() as folder, _frequent.columns(folder) as columns:
        for task, share in zip(tasks, engine.map(_count, tasks), strict=True):
            shares.append(share)
            if share.frequent:
                found = np.frombuffer(store.read(task.name), ENTRY)
                columns.append({column: found[column] for column in TABLE.names})
                store.remove(task.name)
        table = columns.table()
        digest = _frequent.save(sketches.store, name, table, known.files)
        keys = [("records", "descending"), ("high", "ascending"), ("low", "ascending")]
        top = pc.select_k_unstable(table, most, keys)  # no two rows have the same keys
        first = table.take(top)
    lost = np.sum([share.lost for share in shares], axis=0)
    return Frequencies(
        table.num_rows,
        first,
        digest,
        sum(share.passages for share in shares),
        sum(share.distinct for share in shares),
        dict(zip(known.characters, lost.tolist(), strict=True)),
    )


def _budget(sketches: Sketches, engine: Engine) -> int:
    """Return the bytes of entries with which each of the workers stays within the memory allowed."""
    return sketches.memory // engine.workers // _AT_WORK


def _gather(task: _Group) -> _Seen:
    """Write the entries of some parts, in as many runs as memory allows."""
    number: dict[tuple[str, str], int] = {}
    characters: list[int] = []
    seen = _Seen([], characters, 0, [], [])
    records = 0
    held = _Held(task.store, task.name, task.budget)
    for index, part in enumerate(task.parts):
        table = part.table(["source", "_path", "_row", "length", "passages"])
        records += table.num_rows
        wanted = [("length", "sum"), ("_row", "min"), ("_row", "max")]
        of_files = table.group_by(["source", "_path"]).aggregate(wanted).to_pydict()
        for source, path, length, low, high in zip(
            *(of_files[name] for name in ("source", "_path", "length_sum", "_row_min", "_row_max")),
            strict=True,
        ):
            file = number.setdefault((source, path), len(number))
            characters += [0] * (len(number) - len(characters))
            characters[file] += length
            seen.spans.append((index, file, low, high))
        for batch in table.select(["source", "_path", "_row", "passages"]).to_batches():
            held.add(of_batch(batch, number))
    runs = held.close()
    return seen._replace(files=list(number), records=records, runs=runs)


class _Held:
    """Entries in memory up to a budget in bytes; beyond it, in runs."""

    def __init__(self, store: Store, name: str, budget: int) -> None:
        self._entries = np.empty(0, ENTRY)
        self._new: list[Entries] = []
        self._size = 0  # bytes of both
        self._store = store
        self._name = name
        self._budget = budget
        self._runs: list[tuple[str, Ints]] = []

    def add(self, entries: Entries) -> None:
        self._new.append(entries)
        self._size += entries.nbytes
        if self._size > self._budget:
            self._settle()
            if 2 * self._size > self._budget:  # else what repeats has been made one
                self._spill()

    def close(self) -> list[tuple[str, Ints]]:
        """Return the runs: names, and where each cell begins."""
        self._settle()
        if len(self._entries):
            self._spill()
        return self._runs

    def _settle(self) -> None:
        whole = [self._entries, *self._new]
        self._entries, self._new = np.empty(0, ENTRY), []
        self._entries = merged(joined(whole))
        self._size = self._entries.nbytes

    def _spill(self) -> None:
        name = f"{self._name}.{len(self._runs):04d}"
        with self._store.writing(name) as path, path.open("wb") as file:
            file.write(self._entries.view(np.uint8).data)
        bounds = np.searchsorted(self._entries["high"] >> _SHIFT, np.arange(_CELLS + 1, dtype=np.uint64))
        self._runs.append((name, bounds))
        self._entries, self._size = np.empty(0, ENTRY), 0


def _ranges(
    runs: Sequence[_Run], budget: int, workers: int
) -> Iterator[tuple[tuple[str, int, int, int], ...]]:
    """Yield the slices of the runs that each range of hashes is made of: as much as fits, of whole cells."""
    sizes = np.sum([np.diff(run.bounds) for run in runs], axis=0, initial=0) + np.zeros(_CELLS, np.int64)
    most = min(budget // ENTRY.itemsize, max(_LEAST, int(sizes.sum()) // (4 * workers)))
    edges, held = [0], 0
    for cell, size in enumerate(sizes.tolist()):
        if held and held + size > most:
            edges.append(cell)
            held = 0
        held += size
    for low, high in zip(edges, [*edges[1:], _CELLS], strict=True):
        slices = ((run.name, int(run.bounds[low]), int(run.bounds[high]), run.first) for run in runs)
        yield tuple(piece for piece in slices if piece[1] < piece[2])


def _count(task: _Range) -> _Share:
    """Count the passages of one range, all of whose occurrences are there; write the frequent ones."""
    of, source = np.frombuffer(task.store.read(_KNOWN), np.int64).reshape(-1, 2).T
    source_of = np.zeros(int(of.max(initial=-1)) + 1, np.int64)
    source_of[of] = source
    entries = merged(_read(task, of))
    first = starts(entries, by_file=False)
    totals = entries[first]
    for name in ("records", "characters") if len(first) else ():
        totals[name] = np.add.reduceat(entries[name], first)
    frequent = totals["records"] > task.limit
    lost = np.zeros(task.sources, np.int64)
    often = np.repeat(frequent, np.diff(np.append(first, len(entries))))
    np.add.at(lost, source_of[entries["file"][often]], entries["characters"][often])
    found = totals[frequent]
    if len(found):
        task.store.write(task.name, found.tobytes())
    return _Share(len(found), int(totals["records"].sum()), len(totals), lost)


def _read(task: _Range, of: Ints) -> Entries:
    """Read a range out of all runs; of: what number each run's files have among all."""
    out = np.empty(sum(end - first for _, first, end, _ in task.slices), ENTRY)
    at = 0
    for name, first, end, files in task.slices:
        piece = out[at : at + end - first]
        raw = task.store.read_range(name, first * ENTRY.itemsize, end * ENTRY.itemsize)
        piece[:] = np.frombuffer(raw, ENTRY)
        piece["file"] = of[piece["file"] + files]
        at += end - first
    return out
