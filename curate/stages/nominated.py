"""Candidates: records that share a key with another, found within the memory budget and read back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import StageError
from curate.kernels import cluster
from curate.kernels.cluster import MOST_RECORDS, Buckets, Ints
from curate.kernels.text import Hashes
from curate.record import Batch
from curate.stage import Engine, SketchPart

_BYTES_PER_KEY = 30  # that grouping holds at once: the keys, the keys parted, numbers, members, ends


@dataclass(frozen=True, slots=True)
class _Task:
    """Group the records of all parts by one column of keys."""

    parts: tuple[SketchPart, ...]
    column: str
    passes: int
    folder: str


def nominate(
    parts: Sequence[SketchPart],
    records: int,
    columns: Sequence[str],
    memory: int,
    engine: Engine,
    folder: Path,
) -> Buckets:
    """Return the buckets of all key columns, those with the same members once.

    Each column is grouped on one worker, in as many passes over the keys, a range of them each, as the
    workers need to stay within ``memory`` bytes together. Raises StageError for more than 2^32 - 1 records.
    """
    if records > MOST_RECORDS:
        raise StageError(
            f"{records} records are more than can be compared at once ({MOST_RECORDS}); use shards"
        )
    workers = min(engine.workers, len(columns))
    passes = max(1, -(-records * _BYTES_PER_KEY * workers // max(1, memory // 2)))
    tasks = [_Task(tuple(parts), column, passes, str(folder)) for column in columns]
    found = []
    for task, _ in zip(tasks, engine.map(_group, tasks), strict=True):
        members, ends = (folder / f"{task.column}.{part}.npy" for part in ("members", "ends"))
        found.append(Buckets(np.load(members), np.load(ends)))
        members.unlink()
        ends.unlink()
    return cluster.merge(found)


def _group(task: _Task) -> None:
    members, ends, written = [], [], 0
    for number in range(task.passes):
        found = _group_range(task, number)
        members.append(found.members)
        ends.append(found.ends + written)
        written += len(found.members)
    folder = Path(task.folder)
    np.save(folder / f"{task.column}.members.npy", np.concatenate(members))
    np.save(folder / f"{task.column}.ends.npy", np.concatenate(ends))


def _group_range(task: _Task, number: int) -> Buckets:
    """Group the keys of one range."""
    keys: list[Hashes] = [np.empty(0, np.uint64)]
    records = [np.empty(0, np.uint32)]
    start = 0
    for part in task.parts:
        for chunk in part.table([task.column]).column(task.column).chunks:
            mine = chunk.to_numpy()
            if task.passes > 1:
                # The kernel parts keys by their highest bits and finds slots by the lowest: these are others.
                middle = (mine >> np.uint64(16)) & np.uint64(0xFFFFFFFF)
                places = np.flatnonzero(middle % np.uint64(task.passes) == number)
                records.append((places + start).astype(np.uint32))
                start += len(mine)
                mine = mine[places]
            keys.append(mine)
    found = cluster.group(np.concatenate(keys))
    if task.passes > 1:
        return Buckets(np.concatenate(records)[found.members], found.ends)
    return found


@dataclass(frozen=True, slots=True)
class ReadBack:
    """One part's candidates, for a worker to read again."""

    part: SketchPart
    column: str  # that holds the records' content
    folder: str
    name: str  # of what the worker writes there
    what: Any = None

    def batches(self) -> Iterator[tuple[Batch, Ints]]:
        """Yield the batches that hold candidates, in the part's order, and the candidates' rows in each."""
        rows = np.load(Path(self.folder) / f"{self.name}.rows.npy")
        start = 0
        for batch in self.part.records([self.column]):
            first, last = np.searchsorted(rows, (start, start + batch.num_rows))
            if first < last:
                yield batch, rows[first:last] - start
            start += batch.num_rows


def read_back(
    parts: Sequence[SketchPart], records: Ints, work: Callable[[ReadBack], None], engine: Engine, folder: Path,
    what: Any = None,
) -> list[str]:  # fmt: skip
    """Let workers read the records (numbers, ascending) again, part by part; return the parts' names in order.

    Arrays travel through the folder. The sketches must have a column ``conversation``.
    """
    tasks: list[ReadBack] = []
    start = 0
    for index, part in enumerate(parts):
        kinds = part.table(["conversation"]).column("conversation")
        rows = records[slice(*np.searchsorted(records, (start, start + len(kinds))))] - start
        start += len(kinds)
        if len(rows):
            name = f"part-{index:06d}"
            np.save(folder / f"{name}.rows.npy", rows)
            column = "messages" if kinds[0].as_py() else "text"
            tasks.append(ReadBack(part, column, str(folder), name, what))
    for _ in engine.map(work, tasks):
        pass
    return [task.name for task in tasks]
