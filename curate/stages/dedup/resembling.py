"""Shingle sets in an index, and the records of a run that are similar enough to a record of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.store import Store
from curate.kernels import cluster
from curate.kernels.parts import BITMAP, Sets
from curate.stage import Engine
from curate.stages.dedup import shuffle
from curate.stages.dedup.against import NO_PAIRS, Pairs
from curate.stages.dedup.nominated import Nominated
from curate.stages.dedup.shares import Together
from curate.stages.dedup.shuffle import Group, Slice, Sliced

Ints = npt.NDArray[np.int64]

# A record's sets, as an index names them.
VIEWS = ("prompt", "response", "prompt_symbols", "response_symbols")


class Rule(NamedTuple):
    """How records are compared."""

    similarity: float  # the least that counts
    window: int  # most records of an index that a record is compared with, per bucket: those nearest in size


class Resembling(NamedTuple):
    """What came of comparing a run's records with those of earlier releases: of one share, or of all."""

    pairs: Pairs = NO_PAIRS
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


def similar(found: Together, rule: Rule) -> Resembling:
    """Find the run's records that are similar enough to one of an index; the most similar one holds each.

    In the share, records ascend by number, so those of the run come first.
    """
    from curate.kernels import buckets, held, reading

    ours = int((found.rows.column("release").to_numpy() < 0).sum())
    shared, hashes, bounds = found.buckets, found.sets.hashes, found.sets.bounds
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
    hashes = np.asarray(hashes).view()
    hashes.flags.writeable = False  # as a mapped file is: one compiled version serves both
    widest = int((bounds[:, [2, -1]] - bounds[:, [0, 2]]).max(initial=0))
    held_by, similarity = np.empty(ours, np.int64), np.zeros((ours, 2))
    skipped, met = np.zeros(count, np.int64), np.full(len(bounds), -1, np.int64)
    held.nearest(
        starts, entries, first, theirs, hashes, bounds, found.sets.bitmaps, rule.similarity, cluster.SHORT, rule.window,
        reading.table(widest), reading.table(widest), met, held_by, similarity, skipped,
    )  # fmt: skip
    own = np.flatnonzero(held_by >= 0)
    stated = np.where(np.diff(bounds[own, :3], axis=1) > 0, similarity[own], np.nan)
    whole = similarity[own].min(axis=1, initial=1.0)
    pairs = Pairs(own, held_by[own], np.column_stack([whole, stated]))
    return Resembling(pairs, int((skipped > 0).sum()), int(skipped.sum()))


@dataclass(frozen=True, slots=True)
class _Gone:
    """Tell each partition which of a group's records that it asks after are held by a release."""

    group: Group
    held: tuple[Slice, ...]  # by share: numbers in the group
    asked: tuple[Slice, ...]  # by partition
    store: Store


def gone(found: Nominated, held: Sequence[Sliced], engine: Engine) -> tuple[Sliced, ...]:
    """Answer each partition with 1 for the records of the run that it asks after and a release holds, else 0."""
    tasks = [
        _Gone(
            group, shuffle.across(held, group.number), shuffle.across(found.asked, group.number), found.store
        )
        for group in found.own
    ]
    return tuple(shuffle.run(_gone, tasks, engine, found.met))


def _gone(task: _Gone) -> Sliced:
    flags = np.zeros(task.group.records, np.uint8)
    for rows in shuffle.numbers(task.held, task.store):
        flags[rows] = 1
    with shuffle.slicing(task.store, f"gone.{task.group.number}") as out:
        for rows in shuffle.numbers(task.asked, task.store):
            out.add(flags[rows])
    return out.done()
