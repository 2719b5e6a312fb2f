"""Shingle sets in an index, and the records of a run that are similar enough to a record of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels import cluster, sets
from curate.kernels.cluster import Buckets
from curate.kernels.parts import BITMAP, Sets
from curate.stage import Engine
from curate.stages.against import Earlier, Pairs
from curate.stages.index import IndexPart

Ints = npt.NDArray[np.int64]

# A record's sets, as an index names them.
VIEWS = ("prompt", "response", "prompt_symbols", "response_symbols")


class Rule(NamedTuple):
    """How records are compared."""

    similarity: float  # the least that counts
    window: int  # most records of an index that a record is compared with, per bucket: those nearest in size
    views: tuple[str, ...]  # VIEWS that the index has
    memory: int  # bytes: sets of up to so many are held, more are mapped


class Resembling(NamedTuple):
    """What came of comparing a run's records with those of earlier releases."""

    pairs: Pairs
    capped: int = 0  # buckets of which some record was not compared with all
    skipped: int = 0  # comparisons left out there

    def findings(self, window: int) -> tuple[dict[str, Any], ...]:
        """Return a finding if records were compared with ``window`` records of a bucket and no more."""
        if not self.capped:
            return ()
        message = (
            f"in {self.capped} buckets of look-alikes, {self.skipped} comparisons with records of earlier releases "
            f"were left out: a record is compared with {window} of them per bucket. A near-duplicate may have "
            "been kept; a larger max_bucket compares more"
        )
        reason = "minhash/capped-bucket-of-release"
        return (
            {
                "reason": reason,
                "severity": "warning",
                "message": message,
                "count": self.capped,
                "examples": [],
            },
        )


def columns(found: Sets) -> list[pa.ListArray]:
    """Return the sets as columns, one per view, each set ascending.

    Hashes in reading order would tell in which order the text has its shingles.
    """
    for start, end in zip(
        found.bounds[:, :-1].ravel().tolist(), found.bounds[:, 1:].ravel().tolist(), strict=True
    ):
        found.hashes[start:end].sort()
    arrays = []
    for view in range(found.bounds.shape[1] - 1):
        places, ends = _gathered(found.bounds[:, view], found.bounds[:, view + 1])
        arrays.append(
            pa.ListArray.from_arrays(pa.array(ends.astype(np.int32)), pa.array(found.hashes[places]))
        )
    return arrays


def _gathered(starts: Ints, ends: Ints) -> tuple[Ints, Ints]:
    """Return the places of all slices, one after the other, and offsets [n + 1] of each among them."""
    sizes = ends - starts
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1]), offsets


def read(table: pa.Table) -> Sets:
    """Return the sets of a table of VIEWS, or of the first two of them."""
    from curate.kernels import held

    views = [column.combine_chunks() for column in table.columns]
    sizes = np.stack([pc.list_value_length(view).to_numpy() for view in views], axis=1)  # [n, views]
    ends = np.cumsum(sizes.ravel(), dtype=np.int64)
    bounds = np.zeros((table.num_rows, len(views) + 1), np.int64)
    bounds[:, 1:] = ends.reshape(sizes.shape)
    bounds[:, 0] = bounds[:, 1] - sizes[:, 0]
    hashes = np.empty(ends[-1] if len(ends) else 0, np.uint64)
    for number, view in enumerate(views):
        places, _ = _gathered(bounds[:, number], bounds[:, number + 1])
        hashes[places] = view.flatten().to_numpy()
    bitmaps = np.zeros((table.num_rows, BITMAP), np.uint64)
    held.draw_all(hashes, bounds, bitmaps)
    return Sets(hashes, bounds, bitmaps)


@dataclass(frozen=True, slots=True)
class _Copy:
    """Candidates of one file of an index, whose sets a worker copies."""

    part: IndexPart
    views: tuple[str, ...]
    folder: str
    name: str


def _copy(task: _Copy) -> None:
    rows = np.load(Path(task.folder) / f"{task.name}.rows.npy")
    sets.write(Path(task.folder), task.name, map(read, task.part.chosen(rows, task.views)))


def copied(
    parts: Sequence[IndexPart], records: Ints, views: Sequence[str], engine: Engine, folder: Path
) -> list[str]:
    """Let workers write the sets of an index's records (numbers, ascending); return the names of what they wrote."""
    tasks, start = [], 0
    for number, part in enumerate(parts):
        rows = records[slice(*np.searchsorted(records, (start, start + part.records)))] - start
        start += part.records
        if len(rows):
            name = f"index-{number:06d}"
            np.save(folder / f"{name}.rows.npy", rows)
            tasks.append(_Copy(part, tuple(views), str(folder), name))
    for _ in engine.map(_copy, tasks):
        pass
    return [task.name for task in tasks]


def similar(
    earlier: Earlier,
    numbers: Ints,
    shared: Buckets,
    write_own: Callable[[Ints], list[str]],
    rule: Rule,
    engine: Engine,
    folder: Path,
) -> Resembling:
    """Find the run's records that are similar enough to one of an index; the most similar one holds each.

    ``numbers``: of the records in the buckets, ascending; members are indices of them. ``write_own`` lets the
    sets of the run's records be written (curate.kernels.sets) to the folder, and returns their names.
    """
    from curate.kernels import buckets, held, reading

    ours = int(np.searchsorted(numbers, earlier.records))
    if not 0 < ours < len(numbers):
        return Resembling(Pairs(numbers[:0], numbers[:0], np.empty((0, 3))))
    names = write_own(numbers[:ours])
    names += copied(earlier.theirs, numbers[ours:] - earlier.records, rule.views, engine, folder)
    shingled = sets.join(folder, names, rule.memory)
    bounds = shingled.bounds
    members, of, count = shared.members.astype(np.int64), cluster.bucket_of(shared), len(shared.ends)
    is_own = members < ours
    starts = np.zeros(ours + 1, np.int64)
    np.cumsum(np.bincount(members[is_own], minlength=ours), out=starts[1:])
    ends = np.cumsum(np.bincount(of[is_own], minlength=count))
    entries = np.empty(len(members[is_own]), np.int64)
    buckets.gather(members[is_own], ends, starts, entries)
    theirs, theirs_of = members[~is_own], of[~is_own]
    theirs = theirs[np.lexsort((theirs, (bounds[:, 2] - bounds[:, 0])[theirs], theirs_of))]
    first = np.searchsorted(theirs_of, np.arange(count + 1))
    hashes = np.asarray(shingled.hashes).view()
    hashes.flags.writeable = False  # as a mapped file is: one compiled version serves both
    widest = int((bounds[:, [2, -1]] - bounds[:, [0, 2]]).max(initial=0))
    held_by, similarity = np.empty(ours, np.int64), np.zeros((ours, 2))
    skipped, met = np.zeros(count, np.int64), np.full(len(bounds), -1, np.int64)
    held.nearest(
        starts, entries, first, theirs, hashes, bounds, shingled.bitmaps, rule.similarity, cluster.SHORT, rule.window,
        reading.table(widest), reading.table(widest), met, held_by, similarity, skipped,
    )  # fmt: skip
    found = np.flatnonzero(held_by >= 0)
    stated = np.where(np.diff(bounds[found, :3], axis=1) > 0, similarity[found], np.nan)
    whole = similarity[found].min(axis=1, initial=1.0)
    by = numbers[held_by[found]] - earlier.records
    pairs = Pairs(numbers[found], by, np.column_stack([whole, stated]))
    return Resembling(pairs, int((skipped > 0).sum()), int(skipped.sum()))
