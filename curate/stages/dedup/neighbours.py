"""Nearest neighbours among unit vectors, and clusters each around one kept record.

faiss (MIT) searches: exhaustively, or in an inverted file, whose lists are the surroundings of centroids. The
latter is approximate. How many lists a search must visit is solved for the recall that is asked for, on twins
planted at the threshold, and what was reached is measured against the exhaustive search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Ints: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = Callable[
    [Ints], npt.NDArray[np.float32]
]  # reads the vectors at these positions: [n, width]

BLOCK = 512  # vectors searched for at once
_PAIRS = 4096  # pairs verified at once
_SAMPLE = 1024  # vectors on which recall is predicted and measured
_TRAIN = (
    64  # vectors per centroid that clustering looks at (faiss takes 39 for few and 256 for all it can use)
)
_MOST_LISTS = 256  # that a search visits; beyond, exhaustive search is hardly dearer


@dataclass(slots=True)
class Search:
    """How neighbours are found among n vectors."""

    index: Any  # faiss, empty
    threads: int
    lists: int = 0  # 0: every vector is looked at
    probes: int = 0
    predicted: float = 1.0  # share of planted twins at the threshold that a search finds
    measured: float | None = 1.0  # share of true neighbours found, of a sample's; null where it has none
    measured_on: int = 0  # how many of the sample have one

    def summary(self) -> dict[str, Any]:
        """Return what a manifest tells."""
        if not self.lists:
            return {"search": "exhaustive"}
        found: dict[str, Any] = {"search": "inverted file", "lists": self.lists, "probes": self.probes}
        found["predicted_recall"] = round(self.predicted, 4)
        if self.measured is not None:
            found |= {"measured_recall": round(self.measured, 4), "measured_on": self.measured_on}
        return found


def exhaustive(width: int, threads: int) -> Search:
    """Return a search that looks at every vector."""
    import faiss

    return Search(faiss.IndexFlatIP(width), threads)


def inverted(read: Rows, count: int, width: int, threshold: float, recall: float) -> Search:
    """Return a search through an inverted file, trained on ``count`` vectors.

    4 √n lists, as faiss advises; as many are visited as find the asked share of planted twins. One thread,
    so that no sum depends on the number of workers.
    """
    import faiss

    lists = min(count, round(4 * count**0.5))
    quantizer = faiss.IndexFlatIP(width)
    index = faiss.IndexIVFScalarQuantizer(
        quantizer, width, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
    )
    index.cp.seed = 1
    index.cp.min_points_per_centroid = 1
    sample = read(_spread(count, _SAMPLE))
    with _threads(1):
        index.train(read(_spread(count, lists * _TRAIN)))
        _, home = quantizer.search(sample, 1)
        _, visited = quantizer.search(_twins(sample, threshold), min(lists, _MOST_LISTS))
    found = np.cumsum((visited == home).mean(axis=0))
    probes = min(int(np.searchsorted(found, recall)) + 1, len(found))
    index.nprobe = probes
    return Search(index, 1, lists, probes, float(found[probes - 1]))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let faiss run so many threads, and no others of this process, with whom it may share the pool."""
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(count)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _spread(count: int, wanted: int) -> Ints:
    """Return at most ``wanted`` positions, evenly spread over all."""
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _twins(vectors: npt.NDArray[np.float32], cosine: float) -> npt.NDArray[np.float32]:
    """Return for each unit vector [n, d] one at this cosine to it, in the direction of the one before it.

    Towards another of the corpus rather than anywhere: models use few of their directions, and only a step
    along those leads to another list.
    """
    towards = np.roll(vectors, 1, axis=0)
    towards = towards - (towards * vectors).sum(axis=1, keepdims=True) * vectors
    lengths = np.linalg.norm(towards, axis=1, keepdims=True)
    towards = towards / np.where(lengths == 0, 1, lengths)
    twins: npt.NDArray[np.float32] = (cosine * vectors + (1 - cosine**2) ** 0.5 * towards).astype(np.float32)
    return twins


def _blocks(start: int, stop: int) -> Iterator[Ints]:
    for first in range(start, stop, BLOCK):
        yield np.arange(first, min(first + BLOCK, stop))


def nearest(
    search: Search, read: Rows, count: int, queries: Ints, shard: int
) -> tuple[npt.NDArray[np.float32], Ints]:
    """Return each query's nearest other vector: its dot product [q], -2 for none, and its position.

    The index holds ``shard`` vectors at a time.
    """
    best = np.full(len(queries), -2, np.float32)
    at = np.full(len(queries), -1, np.int64)
    for start in range(0, count, shard):
        search.index.reset()
        with _threads(search.threads):
            for block in _blocks(start, min(start + shard, count)):
                search.index.add(read(block))
            for span in _blocks(0, len(queries)):
                near, where = _nearest_other(search.index, read, queries[span], start)
                better = near > best[span]
                best[span[better]], at[span[better]] = near[better], where[better]
    search.index.reset()
    return best, at


def _nearest_other(index: Any, read: Rows, queries: Ints, start: int) -> tuple[npt.NDArray[np.float32], Ints]:
    """Return the same for an index that holds the vectors from position ``start`` on."""
    # Two, since one may be the vector itself: then the other is its nearest. If neither is, the better one is.
    near, where = index.search(read(queries), 2)
    where = np.where(where < 0, -1, where + start)
    near = np.where((where < 0) | (where == queries[:, None]), -2, near)
    first = near.argmax(axis=1)[:, None]
    return np.take_along_axis(near, first, 1)[:, 0], np.take_along_axis(where, first, 1)[:, 0]


def measure(search: Search, read: Rows, count: int, width: int, radius: float, shard: int) -> None:
    """Hold an approximate search against the exhaustive one, on a sample spread over all vectors."""
    queries = _spread(count, _SAMPLE)
    true, _ = nearest(exhaustive(width, 1), read, count, queries, shard)
    queries = queries[true >= radius]
    found, _ = nearest(search, read, count, queries, shard)
    search.measured_on = len(queries)
    search.measured = float((found >= radius).mean()) if len(queries) else None


def candidates(search: Search, read: Rows, count: int, radius: float, shard: int) -> Ints:
    """Return the positions, ascending, of all vectors that have another at this dot product or above."""
    best, at = nearest(search, read, count, np.arange(count), shard)
    near = best >= radius
    marked = near.copy()
    marked[at[near]] = True
    return np.flatnonzero(marked)


class Clustering(NamedTuple):
    """What became of records, all in policy order."""

    kept_by: Ints  # [n] the kept record that this one duplicates; -1 where the record is kept
    similarity: Floats  # [n, parts] cosines; NaN where kept, and of a part that both records lack
    accepted: int  # pairs of a record and a kept one that are similar enough in every part

    @classmethod
    def none(cls, parts: int) -> Clustering:
        """Return what becomes of no records."""
        return cls(np.empty(0, np.int64), np.empty((0, parts)), 0)


@dataclass(frozen=True, slots=True)
class Verified:
    """What pairs are verified on, of records in policy order."""

    vectors: npt.NDArray[np.float32]  # [n, parts, dimension] of length 1, or 0 for an empty part
    present: npt.NDArray[np.bool_]  # [n, parts] whether the part has text
    tokens: npt.NDArray[np.uint64]  # [n, parts] hashes that must be equal

    def accept(self, later: Ints, earlier: Ints, threshold: float) -> _Pairs:
        """Return those of the pairs that are similar enough in every part that either has."""
        found = _Pairs(later, earlier, self._cosines(later, earlier))
        return found.only(found.least >= threshold)

    def _cosines(self, some: Ints, other: Ints) -> Floats:
        """Return the cosines of pairs, by part [m, parts]; NaN of a part that both lack, -1 if it cannot match.

        In float64, rounded to 10^-6: below that, vectors of different machines differ.
        """
        out = np.empty((len(some), self.present.shape[1]))
        for start in range(0, len(some), _PAIRS):
            a, b = some[start : start + _PAIRS], other[start : start + _PAIRS]
            vectors = (np.asarray(self.vectors[i], np.float64) for i in (a, b))
            dots = np.minimum(np.einsum("mpd,mpd->mp", *vectors).round(6), 1.0)
            dots[~(self.present[a] | self.present[b])] = np.nan
            dots[(self.present[a] != self.present[b]) | (self.tokens[a] != self.tokens[b])] = -1.0
            out[start : start + _PAIRS] = dots
        return out


class _Pairs(NamedTuple):
    """Pairs of records, each with one before it in policy order."""

    later: Ints
    earlier: Ints
    cosines: Floats  # [m, parts]

    @property
    def least(self) -> Floats:
        """The least cosine of the parts that there are; 1 where both records are empty."""
        cosines: Floats = np.where(np.isnan(self.cosines), 1.0, self.cosines)
        return np.asarray(cosines.min(axis=1))

    def only(self, chosen: npt.NDArray[Any] | slice) -> _Pairs:
        return _Pairs(self.later[chosen], self.earlier[chosen], self.cosines[chosen])

    def joined(self, other: _Pairs) -> _Pairs:
        later, earlier, cosines = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in self._fields
        )
        return _Pairs(later, earlier, cosines)


def _by_record(pairs: _Pairs) -> Iterator[_Pairs]:
    """Yield the pairs of one record after another, the most similar first, of equals the first in policy order."""
    pairs = pairs.only(np.lexsort((pairs.earlier, -pairs.least, pairs.later)))
    starts = np.flatnonzero(np.diff(pairs.later, prepend=-1))
    for first, last in pairwise([*starts.tolist(), len(pairs.later)]):
        yield pairs.only(slice(first, last))


def represent(search: Search, read: Rows, verified: Verified, threshold: float, radius: float) -> Clustering:
    """Go through records in policy order and drop each that a kept record before it is similar enough to.

    Similar enough is at least ``threshold`` in every part that either has. The record goes to the most
    similar kept one (the least of its parts counts), the first in policy order of equals. The index holds
    kept records alone, so a million copies of one record cost a million comparisons, and nothing is dropped
    through a chain.
    """
    records, parts = verified.present.shape
    kept_by = np.full(records, -1, np.int64)
    similarity = np.full((records, parts), np.nan)
    kept = np.empty(0, np.int64)  # what the index holds, in its order
    accepted = 0
    for block in _blocks(0, records):
        vectors = read(block)
        with _threads(search.threads):
            limits, _, hits = search.index.range_search(vectors, radius)
        pairs = verified.accept(np.repeat(block, np.diff(limits.astype(np.int64))), kept[hits], threshold)
        # Only what no kept record before the block resembles can be kept, and represent others of the block.
        free = np.setdiff1d(np.arange(len(block)), pairs.later - block[0])
        later, at = np.nonzero(vectors @ vectors[free].T >= radius)
        behind = free[at] < later
        own = verified.accept(block[later[behind]], block[free[at[behind]]], threshold)
        for mine in _by_record(pairs.joined(own)):
            mine = mine.only(kept_by[mine.earlier] < 0)
            accepted += len(mine.earlier)
            if len(mine.earlier):
                kept_by[mine.later[0]], similarity[mine.later[0]] = mine.earlier[0], mine.cosines[0]
        new = block[kept_by[block] < 0]
        with _threads(search.threads):
            search.index.add(np.ascontiguousarray(vectors[new - block[0]]))
        kept = np.concatenate([kept, new])
    search.index.reset()
    return Clustering(kept_by, similarity, accepted)
