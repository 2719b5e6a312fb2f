"""Shares: the candidates that belong together, with all that comparing them takes, for one task each.

Records that no bucket joins never meet, so candidates are parted into connected components of the buckets, and
these into *slots* by a hash, many more than there will be tasks. When the sets have been made and their sizes are
known, a share is as many slots as a task's memory holds::

    read again   map over groups   rows, sets and buckets of the group's candidates, by slot
    compare      map over shares

A component whose sets are larger than a task may hold is a share of its own, with its sets in a mapped file.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.io.store import Store
from curate.kernels import cluster
from curate.kernels.cluster import Buckets, Ints
from curate.kernels.parts import BITMAP, Sets
from curate.stage import Engine
from curate.stages.dedup import shuffle
from curate.stages.dedup.candidates import ROWS, Candidates, candidates, from_bytes, one_batch, to_bytes
from curate.stages.dedup.nominated import Nominated
from curate.stages.dedup.screening import Entered, Screened
from curate.stages.dedup.shuffle import Group, Plan, Slice, Sliced

BYTES = 500  # of a candidate in a share, beside its sets: row, bitmap, bounds, buckets, decision
_SETS = 3.2  # bytes of sets per code point of text: two sets of 8-byte hashes, a word in five (measured in English)
_MANY = 8  # slots per share by that estimate, which other scripts exceed
_FEW = 32 * 2**20  # bytes that are not worth parting
_MOST_SLOTS = 1 << 16
_MIX = np.uint64(0x9E3779B97F4A7C15)

Read = Callable[[Candidates], Iterator[Sets]]


def slots(screened: Screened, records: int, plan: Plan, workers: int) -> int:
    """Return into how many slots to part the candidates; ``records``: how many of those have their text here."""
    count = int(screened.starts[-1])
    expected = count * BYTES + int(_SETS * screened.characters * count / max(1, records))
    fits = plan.memory * workers // 4
    if expected <= (fits if workers == 1 else min(fits, _FEW)):
        return 1
    return min(max(_MANY * -(-expected // (plan.memory // 4 + 1)), 4 * workers), _MOST_SLOTS)


def part(screened: Screened, entered: Entered, count: int, memory: int, store: Store) -> None:
    """Write the slot of every candidate, 4 bytes each, those that a bucket joins into one.

    The one step that takes place in one process: 8 bytes per candidate are held, in a mapped file where that is
    more than a quarter of ``memory``, and the joined pairs read a piece at a time (union-find over a forest of
    each partition).
    """
    from curate.kernels import buckets

    candidates = int(screened.starts[-1])
    with shuffle.held(candidates, np.int64, memory // 4) as parents:
        step = max(1, memory // 64)
        for start in range(0, candidates, step):
            parents[start : start + step] = np.arange(start, min(start + step, candidates))
        for pairs in _pieces(entered.joined, memory // 16, store):
            buckets.components(pairs.ravel(), np.arange(2, 2 * len(pairs) + 1, 2), parents)
        with shuffle.slicing(store, "slots") as out:
            for start in range(0, candidates, step):
                mixed = parents[start : start + step].astype(np.uint64) * _MIX >> np.uint64(32)
                out.add((mixed * np.uint64(count) >> np.uint64(32)).astype(np.uint32))


def _pieces(names: Sequence[str], most: int, store: Store) -> Iterator[Ints]:
    """Yield pairs of candidates, as many files at once as ``most`` bytes hold."""
    waiting: list[npt.NDArray[np.int64]] = []
    for name in names:
        waiting.append(np.frombuffer(bytearray(store.read(name)), np.int64).reshape(-1, 2))
        if sum(one.nbytes for one in waiting) >= most:
            yield np.concatenate(waiting)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting)


@dataclass(frozen=True, slots=True)
class _Again:
    group: Group
    files: dict[tuple[str, str], int]
    entries: tuple[Slice, ...]  # by partition
    slots: Slice | None
    count: int  # of slots
    read: Read
    most: int  # bytes to hold before they are written
    store: Store


def read_again(
    found: Nominated,
    screened: Screened,
    entered: Entered,
    files: Sequence[dict[tuple[str, str], int]],
    count: int,
    plan: Plan,
    read: Read,
    engine: Engine,
) -> list[Sliced]:
    """Write rows, sets and buckets of all candidates by slot, into a file per group or several."""
    tasks = []
    for group in found.groups[: len(screened.starts) - 1]:
        first, last = screened.starts[group.number : group.number + 2].tolist()
        if first < last:
            tasks.append(
                _Again(
                    group,
                    files[group.number],
                    shuffle.across(entered.entries, group.number),
                    Slice("slots", 4 * first, 4 * last) if count > 1 else None,
                    count,
                    read,
                    plan.memory // 8,
                    found.store,
                )
            )
    work = int(screened.starts[-1]) << 9  # keys that could be grouped while one record is cut into shingles
    return [one for files in shuffle.run(_again, tasks, engine, work) for one in files]


def _again(task: _Again) -> list[Sliced]:
    group = task.group
    name = f"candidates.{group.number}"
    rows = np.frombuffer(task.store.read(name), np.uint32).astype(np.int64)
    slot = np.zeros(len(rows), np.uint32)
    if task.slots is not None:
        slot = np.frombuffer(task.slots.read(task.store), np.uint32)
    buckets = _Entries.of(task.entries, len(rows), task.store)
    written: list[Sliced] = []
    tables: list[pa.Table] = []
    found: list[Sets] = []
    start = waiting = done = 0

    def flush() -> None:
        nonlocal start, waiting
        place = f"shares.{group.number}.{len(written)}"
        run = _Run.of(pa.concat_tables(tables).slice(0, waiting), found, buckets, start)
        with shuffle.slicing(task.store, place) as out:
            if task.count == 1:
                out.add(*run.whole())
            else:
                mine = slot[start : start + waiting]
                order = np.argsort(mine, kind="stable")
                cuts = np.searchsorted(mine[order], np.arange(task.count + 1)).tolist()
                for low, high in itertools.pairwise(cuts):
                    out.add(*(run.some(order[low:high]) if low < high else []))
        written.append(out.done())
        rest = pa.concat_tables(tables).slice(waiting)
        tables[:] = [rest] if rest.num_rows else []
        found.clear()
        start, waiting = start + waiting, 0

    for some in candidates(group, rows, task.files):
        tables.append(some.table)
        for sets in task.read(some):
            found.append(sets)
            waiting += len(sets.bounds)
            done += len(sets.bounds)
            if sum(one.hashes.nbytes for one in found) + waiting * BYTES > task.most:
                flush()
    if waiting:
        flush()
    if done != len(rows):
        raise ValueError(f"{len(rows)} candidates, but {done} were read again")
    return written


class _Entries(NamedTuple):
    """The buckets of a group's candidates."""

    starts: Ints  # [candidates + 1]
    buckets: npt.NDArray[np.uint64]  # partition << 32 | number in it

    @classmethod
    def of(cls, slices: Sequence[Slice], count: int, store: Store) -> _Entries:
        numbers, buckets = [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
        for partition, one in enumerate(slices):
            found = np.frombuffer(one.read(store), np.uint32)
            numbers.append(found[: len(found) // 2])
            buckets.append(found[len(found) // 2 :] + np.uint64(partition << 32))
        number = np.concatenate(numbers)
        order = np.argsort(number, kind="stable")
        starts = np.zeros(count + 1, np.int64)
        np.cumsum(np.bincount(number, minlength=count), out=starts[1:])
        return cls(starts, np.concatenate(buckets)[order])


class _Run(NamedTuple):
    """Records that were read again and are to be written: by their index in the table."""

    table: pa.Table  # ROWS
    bounds: Ints
    bitmaps: npt.NDArray[np.uint64]
    hashes: Sequence[npt.NDArray[np.uint64]]  # batch by batch
    batch: Ints  # of each record
    entries: Ints  # [records + 1] where its buckets begin …
    buckets: npt.NDArray[np.uint64]  # … among these

    @classmethod
    def of(cls, table: pa.Table, found: Sequence[Sets], known: _Entries, start: int) -> _Run:
        batch = np.repeat(np.arange(len(found)), [len(one.bounds) for one in found])
        bounds, bitmaps = (np.concatenate([one[n] for one in found]) for n in (1, 2))
        entries = known.starts[start : start + len(batch) + 1]
        return cls(table, bounds, bitmaps, [one.hashes for one in found], batch, entries, known.buckets)

    def whole(self) -> list[Any]:
        """Return what is told of all records, in their order."""
        sizes = np.array([len(one) for one in self.hashes], np.int64)
        bounds = self.bounds + (np.cumsum(sizes) - sizes)[self.batch][:, None]
        buckets = self.buckets[self.entries[0] : self.entries[-1]]
        return [
            *_about(self.table, bounds, self.bitmaps, np.diff(self.entries), buckets, sizes.sum()),
            *self.hashes,
        ]

    def some(self, at: Ints) -> list[Any]:
        """Return what is told of some records."""
        bounds = self.bounds[at]
        sizes = bounds[:, -1] - bounds[:, 0]
        ends = zip(self.batch[at].tolist(), bounds[:, 0].tolist(), bounds[:, -1].tolist(), strict=True)
        hashes = [self.hashes[batch][first:last] for batch, first, last in ends]
        bounds = bounds + (np.cumsum(sizes) - sizes - bounds[:, 0])[:, None]
        counts = self.entries[at + 1] - self.entries[at]
        places = np.repeat(self.entries[at] - np.cumsum(counts) + counts, counts) + np.arange(counts.sum())
        table = self.table.take(pa.array(at))
        return [
            *_about(table, bounds, self.bitmaps[at], counts, self.buckets[places], sizes.sum()),
            np.concatenate(hashes),
        ]


def _about(table: pa.Table, bounds: Ints, bitmaps: Any, counts: Ints, buckets: Any, hashes: int) -> list[Any]:
    """Return what stands before the hashes in a slot."""
    size = np.array([hashes], np.int64)
    return shuffle.packed(to_bytes(table), bounds, bitmaps, counts.astype(np.uint32), buckets, size)


@dataclass(frozen=True, slots=True)
class Share:
    """What one task compares."""

    number: int
    slices: tuple[Slice, ...]
    memory: int
    store: Store

    @property
    def size(self) -> int:
        """Return the bytes that were written for it."""
        return sum(one.stop - one.start for one in self.slices)


def shared(files: Sequence[Sliced], count: int, plan: Plan, workers: int, store: Store) -> list[Share]:
    """Make shares of consecutive slots, each of as much as a task may hold."""
    sizes = np.zeros(count, np.int64)
    for file in files:
        sizes += np.diff(file.ends, prepend=0)
    memory = plan.memory // 4 if count > 1 else plan.memory * workers // 2
    most = min(memory, -(-int(sizes.sum()) // (2 * workers))) if workers > 1 else memory
    found: list[Share] = []
    first = 0
    while first < count:
        last = first + 1
        while last < count and sizes[first : last + 1].sum() <= most:
            last += 1
        slices = tuple(one for file in files if (one := file.slices(first, last)).start < one.stop)
        if slices:
            found.append(Share(len(found), slices, memory, store))
        first = last
    return found


class Together(NamedTuple):
    """A share in memory: records by their index in ``rows``."""

    rows: pa.RecordBatch  # ROWS
    sets: Sets
    buckets: Buckets


def read(share: Share, folder: Path) -> Together:
    """Read a share; sets of more than its memory go to a mapped file in the folder."""
    total = share.size // 8
    hashes = np.empty(0, np.uint64)
    tables, bounds, bitmaps = [ROWS.empty_table()], [], [np.empty((0, BITMAP), np.uint64)]
    counts, buckets = [np.empty(0, np.uint32)], [np.empty(0, np.uint64)]
    filled = 0
    for one in share.slices:
        content = one.read(share.store)
        at = 0
        while at < len(content):
            (rows, some, drawn, entries, of, size), at = shuffle.unpacked(content, at)
            tables.append(pa.Table.from_batches([from_bytes(rows)]))
            bounds.append(some + filled)
            bitmaps.append(drawn.copy())
            counts.append(entries.copy())
            buckets.append(of.copy())
            mine = np.frombuffer(content, np.uint64, size[0], at)
            at += mine.nbytes
            if len(share.slices) == 1 and at == len(content) and not filled:
                hashes = mine  # there are no others
                break
            if not filled and not len(hashes):
                fits = 8 * total <= share.memory
                hashes = (
                    np.empty(total, np.uint64)
                    if fits
                    else np.memmap(folder / "sets", np.uint64, "w+", shape=total)
                )
            hashes[filled : filled + len(mine)] = mine
            filled += len(mine)
    batch = one_batch(pa.concat_tables(tables))
    found = cluster.group(np.concatenate(buckets) * _MIX)
    record = np.repeat(np.arange(batch.num_rows), np.concatenate(counts))
    together = np.concatenate(bounds) if bounds else np.zeros((0, 3), np.int64)
    return Together(
        batch,
        Sets(hashes, together, np.concatenate(bitmaps)),
        cluster.merge([Buckets(record[found.members], found.ends)]),
    )
