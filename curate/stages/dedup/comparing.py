"""The last steps of ``minhash``: candidates parted into shares, read again, compared and decided on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise, starmap
from typing import NamedTuple

import numpy as np

from curate.engine.local import cores
from curate.io.store import scratch
from curate.kernels import cluster, survivor
from curate.kernels.cluster import Clustering, Ints
from curate.kernels.parts import Sets, Shingling
from curate.kernels.survivor import Preference
from curate.kernels.text import Offsets
from curate.stage import Engine
from curate.stages.dedup import deciding, resembling, screening, shares, shuffle
from curate.stages.dedup.against import Earlier, with_held
from curate.stages.dedup.candidates import Candidates, Places, file_names, placed
from curate.stages.dedup.deciding import Clusters, Totals
from curate.stages.dedup.decisions import LINES
from curate.stages.dedup.nominated import Nominated
from curate.stages.dedup.resembling import Rule
from curate.stages.dedup.screening import Screened
from curate.stages.dedup.shares import Share
from curate.stages.dedup.shuffle import Plan, Sliced


class How(NamedTuple):
    """How records are compared."""

    shingling: Shingling
    views: tuple[str, ...]  # of a record's sets, those that count
    similarity: float
    max_bucket: int
    prefer: tuple[Preference, ...]
    max_cluster: int


@dataclass
class All:
    """What all shares came to."""

    totals: Totals = field(default_factory=lambda: Totals(0))
    lines: list[Sliced] = field(default_factory=list)
    gone: list[Sliced] = field(default_factory=list)  # records that a release holds, by group
    verified: int = 0
    accepted: int = 0
    capped: int = 0
    skipped: int = 0


class _One(NamedTuple):
    """What one share came to."""

    totals: Totals
    lines: Sliced
    counts: tuple[int, int, int, int]  # verified, accepted, capped, skipped
    gone: Sliced | None = None


@dataclass(frozen=True, slots=True)
class _Share:
    """Compare the records of a share, and decide on them."""

    share: Share
    how: How
    places: Places
    roots: tuple[str, ...]
    starts: Ints  # of the run's groups
    threads: int


@dataclass(frozen=True)
class Work:
    """What comparing needs of the resolution."""

    how: How
    found: Nominated
    cut: Plan
    places: Places
    earlier: Earlier
    memory: int
    engine: Engine

    def compare(self, screened: Screened, function: Callable[[_Share], _One]) -> All:
        """Part the candidates into shares, read them again, and compare them."""
        found, engine, workers = self.found, self.engine, self.engine.workers
        own = len(found.own)
        count = shares.slots(screened, int(screened.starts[own]), self.cut, workers)
        entered = screening.enter(found, screened, count > 1, engine)
        if count > 1:
            shares.part(screened, entered, count, self.memory, found.store)
        read = _Read(self.how.shingling, self.how.views)
        files = self.places.numbers(found)
        written = shares.read_again(found, screened, entered, files, count, self.cut, read, engine)
        starts = found.starts()[: own + 1]
        threads = min(workers, cores()) if count == 1 else 1
        tasks = [
            _Share(share, self.how, self.places, self.earlier.roots, starts, threads)
            for share in shares.shared(written, count, self.cut, workers, found.store)
        ]
        every = All(Totals(self.how.max_cluster))
        for one in shuffle.run(function, tasks, engine, sum(task.share.size for task in tasks) // 8):
            every.totals.add(one.totals)
            every.lines.append(one.lines)
            every.gone += [one.gone] if one.gone else []
            for name, more in zip(("verified", "accepted", "capped", "skipped"), one.counts, strict=True):
                setattr(every, name, getattr(every, name) + more)
        for file in written:
            found.store.remove(file.name)
        return every


@dataclass(frozen=True, slots=True)
class _Read:
    """Makes the shingle sets of candidates, or takes them from an index."""

    shingling: Shingling
    views: tuple[str, ...]

    def __call__(self, some: Candidates) -> Iterator[Sets]:
        if some.columns:
            yield from starmap(self.shingling.sets, some.batches())
        else:
            yield from map(resembling.read, some.part.chosen(some.rows, self.views))


def represent(task: _Share) -> _One:
    """Cluster the records of a share."""
    how, store = task.how, task.share.store
    with scratch() as folder:
        found = shares.read(task.share, folder)
        order = survivor.order(how.prefer, *placed(found.rows, np.arange(found.rows.num_rows)))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        sets = Sets(found.sets.hashes, found.sets.bounds[order], found.sets.bitmaps[order])
        members, ends = found.buckets
        clustering = cluster.represent(
            members, ends, place, sets, how.similarity, how.max_bucket, task.threads
        )
        clusters = _clusters(clustering, order, sets.bounds)
    lines, totals = deciding.decide(found.rows, clusters, file_names(store), how.max_cluster)
    left = deciding.leave(lines, task.places, store, f"lines.{task.share.number}")
    return _One(
        totals, left, (clustering.verified, clustering.accepted, clustering.capped, clustering.skipped)
    )


def hold(task: _Share) -> _One:
    """Find the records of a share that a release holds."""
    how, store, number = task.how, task.share.store, task.share.number
    with scratch() as folder:
        found = shares.read(task.share, folder)
        held = resembling.similar(found, Rule(how.similarity, how.max_bucket))
    totals = Totals(how.max_cluster)
    lines = with_held(found.rows, held.pairs, task.roots, LINES.empty_table(), totals)
    left = deciding.leave(lines, task.places, store, f"held.{number}")
    numbers = np.sort(found.rows.column("number").to_numpy()[held.pairs.record])
    with shuffle.slicing(store, f"taken.{number}") as out:
        for first, last in pairwise(task.starts.tolist()):
            out.add((numbers[slice(*np.searchsorted(numbers, (first, last)))] - first).astype(np.uint32))
    return _One(totals, left, (0, 0, held.capped, held.skipped), out.done())


def _clusters(clustering: Clustering, order: Ints, bounds: Offsets) -> Clusters:
    """Name the records that were dropped, and those kept because of which they were."""
    dropped = np.flatnonzero(clustering.kept_by >= 0)
    kept = np.unique(clustering.kept_by[dropped])
    parts = np.where(np.diff(bounds[dropped, :3], axis=1) > 0, clustering.similarity[dropped], np.nan)
    whole = clustering.similarity[dropped].min(axis=1, initial=1.0)
    similarity = np.full((len(kept) + len(dropped), 3), np.nan)
    similarity[len(kept) :] = np.column_stack([whole, parts])
    return Clusters(
        order[np.concatenate([kept, dropped])],
        order[np.concatenate([kept, clustering.kept_by[dropped]])],
        similarity,
    )
