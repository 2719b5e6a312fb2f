"""Candidates: records that share a key with another. Keys are parted by range, and each range is grouped by itself.

::

    shuffle   map over groups       (key, record) of all key columns, parted by the keys' highest bits
    group     map over partitions   buckets of records with an equal key, and a list of whom they name, by group

What a partition must know of the records that it names, it asks of their groups: a list in, an answer out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.io.store import Store
from curate.kernels import cluster, survivor
from curate.kernels.cluster import Buckets, Ints
from curate.kernels.text import Hashes
from curate.stage import Engine, SketchPart
from curate.stages.dedup import shuffle
from curate.stages.dedup.shuffle import Group, Plan, Slice, Sliced

_MIX = np.uint64(
    0x9E3779B97F4A7C15
)  # odd: keys of one range differ in their highest bits again, none become equal


class Span(NamedTuple):
    """Records of one input file in one group."""

    source: str
    path: str
    first: int  # rows
    last: int
    records: int


@dataclass(frozen=True, slots=True)
class Nominated:
    """The buckets of all partitions, in files ``buckets.P``, and whom each partition asks after."""

    store: Store
    groups: tuple[Group, ...]
    spans: tuple[tuple[Span, ...], ...]  # of each group, in no order
    asked: tuple[Sliced, ...]  # of each partition: by group, the records' numbers in it, ascending

    @property
    def own(self) -> list[Group]:
        """Return the groups of the run's own records."""
        return [group for group in self.groups if group.release < 0]

    @property
    def records(self) -> int:
        """Return the number of the run's own records."""
        return sum(group.records for group in self.own)

    @property
    def met(self) -> int:
        """Return how many records the partitions ask after, those of several as often."""
        return sum(int(asked.ends[-1]) // 4 for asked in self.asked)

    def starts(self) -> Ints:
        """Return the number of each group's first record [groups + 1]."""
        return np.cumsum([0, *(group.records for group in self.groups)], dtype=np.int64)


def sizes(parts: Sequence[SketchPart], engine: Engine) -> list[int]:
    """Return how many records each part has."""
    return shuffle.run(_size, parts, engine, len(parts) << 10)


def _size(part: SketchPart) -> int:
    return int(part.table(["_row"]).num_rows)


def nominate(
    groups: Sequence[Group], columns: Sequence[str], plan: Plan, store: Store, engine: Engine
) -> Nominated:
    """Find the buckets of all key columns, in each partition those with the same members once.

    The columns' keys must differ from each other as any two keys do. Holds, in a task, 12 bytes per key and
    group and 20 more per record; in a partition, about 45 per key.
    """
    keys = sum(group.records for group in groups) * len(columns)
    tasks = [_Shuffle(group, tuple(columns), plan.partitions, store) for group in groups]
    done = shuffle.run(_shuffle, tasks, engine, keys)
    files, spans = [file for file, _ in done], tuple(found for _, found in done)
    starts = np.cumsum([0, *(group.records for group in groups)], dtype=np.int64)
    own = sum(group.release < 0 for group in groups)
    ranges = [
        _Range(number, shuffle.across(files, number), starts, own, store) for number in range(plan.partitions)
    ]
    asked = shuffle.run(_group, ranges, engine, keys)
    for file in files:
        store.remove(file.name)
    return Nominated(store, tuple(groups), spans, tuple(asked))


@dataclass(frozen=True, slots=True)
class _Shuffle:
    group: Group
    columns: tuple[str, ...]
    partitions: int
    store: Store


def _shuffle(task: _Shuffle) -> tuple[Sliced, tuple[Span, ...]]:
    """Write the group's keys by partition: of each partition the keys, then their records."""
    group, columns = task.group, task.columns
    keys = {name: np.empty(group.records, np.uint64) for name in columns}
    spans: list[Span] = []
    start = 0
    for part in group.parts:
        places = ["source", "_path", "_row"] if group.release < 0 else []
        table = part.table([*columns, *places])
        for name in columns:
            at = start
            for chunk in table.column(name).chunks:
                keys[name][at : at + len(chunk)] = chunk.to_numpy()
                at += len(chunk)
        if places:
            spans += _spans(table.select(places))
        start += table.num_rows
        del table
    parted = [_parted(keys.pop(name), task.partitions) for name in columns]
    with shuffle.slicing(task.store, f"keys.{group.number}") as out:
        for number in range(task.partitions):
            mine = [(*arrays, *ends[number : number + 2].tolist()) for *arrays, ends in parted]
            out.add(
                *(found[first:last] for found, _, first, last in mine),
                *(rows[first:last] for _, rows, first, last in mine),
            )
    return out.done(), tuple(spans)


def _parted(keys: Hashes, partitions: int) -> tuple[Hashes, npt.NDArray[np.uint32], Ints]:
    """Return the keys by partition, their records, and where each partition begins [partitions + 1]."""
    from curate.kernels import buckets

    if partitions == 1:
        return keys, np.arange(len(keys), dtype=np.uint32), np.array([0, len(keys)])
    starts = np.zeros(partitions + 1, np.int64)
    parted, rows = np.empty_like(keys), np.empty(len(keys), np.uint32)
    buckets.scatter(keys, np.uint64(65 - partitions.bit_length()), starts, parted, rows)
    return parted, rows, starts


def _spans(places: Any) -> Iterator[Span]:
    seen: dict[tuple[str, str], int] = {}
    file = survivor.numbered(places, seen)
    rows = places.column("_row").to_numpy()
    for (source, path), number in seen.items():
        mine = rows if len(seen) == 1 else rows[file == number]
        yield Span(source, path, int(mine.min()), int(mine.max()), len(mine))


@dataclass(frozen=True, slots=True)
class _Range:
    number: int
    slices: tuple[Slice, ...]
    starts: Ints  # of the groups
    own: int  # groups of the run's own records
    store: Store


def _group(task: _Range) -> Sliced:
    """Write the buckets of one partition, and whom they name."""
    counts = np.array([(one.stop - one.start) // shuffle.KEY for one in task.slices], np.int64)
    ends = np.cumsum(counts)
    keys, rows = np.empty(counts.sum(), np.uint64), np.empty(counts.sum(), np.uint32)
    for one, count, end in zip(task.slices, counts.tolist(), ends.tolist(), strict=True):
        content = one.read(task.store)
        keys[end - count : end] = np.frombuffer(content, np.uint64, count)
        rows[end - count : end] = np.frombuffer(content, np.uint32, count, 8 * count)
    keys *= _MIX
    found = cluster.group(keys)
    del keys
    records = rows[found.members] + task.starts[np.searchsorted(ends, found.members, "right")]
    own = int(task.starts[task.own])
    found = Buckets(records, found.ends)
    if task.own < len(counts):
        ours = np.bincount(cluster.bucket_of(found)[records < own], minlength=len(found.ends))
        found = cluster.selected(found, ours[cluster.bucket_of(found)] > 0)
    found = cluster.merge([found])
    asked, members = _renumbered(found.members.astype(np.int64), int(task.starts[-1]))
    with shuffle.slicing(task.store, f"buckets.{task.number}") as out:
        out.add(*shuffle.packed(members, found.ends))
    cuts = np.searchsorted(asked, task.starts)
    with shuffle.slicing(task.store, f"asked.{task.number}") as out:
        for number, start in enumerate(task.starts[:-1].tolist()):
            out.add((asked[cuts[number] : cuts[number + 1]] - start).astype(np.uint32))
    return out.done()


def _renumbered(members: Ints, records: int) -> tuple[Ints, npt.NDArray[np.uint32]]:
    """Return the different ones of the members, ascending, and of each member its index among them."""
    if records > 8 * len(members):
        found, index = np.unique(members, return_inverse=True)
        return found, index.astype(np.uint32)
    mark = np.zeros(records, bool)
    mark[members] = True
    place = np.cumsum(mark, dtype=np.uint32)
    return np.flatnonzero(mark), place[members] - np.uint32(1)
