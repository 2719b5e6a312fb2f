"""From band keys to clusters, each around one kept record."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.parts import Sets
from curate.kernels.text import Hashes

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.integer[Any]]

SHORT = 64  # shingles: below, symbols carry meaning as words do (measured: LOG.md, 2026-11-21)
_PART_KEYS = 2048  # keys that are grouped at a time: their table fits the nearest cache
_MOST_SCREENED = 256  # others of one bucket; a record that resembles none of so many stays a candidate


class Buckets(NamedTuple):
    """Records that share a key with another, bucket by bucket."""

    members: Numbers  # [m] record numbers, ascending in each bucket
    ends: Ints  # [buckets] where each bucket ends in members


class Clustering(NamedTuple):
    """What became of the candidates, all in policy order."""

    kept_by: Ints  # [n] the kept record that this one duplicates; -1 where the record is kept
    similarity: npt.NDArray[np.float64]  # [n, 2] by words, of prompt and response; unset where kept
    verified: int  # pairs compared exactly: the others cannot be similar by size and bitmap
    accepted: int  # of those, at or above the threshold in every part
    capped: int  # buckets in which some record was not compared with every kept one
    skipped: int  # comparisons left out there (a pair may still have met in another band)


def group(keys: Hashes) -> Buckets:
    """Return the groups of two or more equal keys among keys [n]. No key is special.

    One radix pass parts the keys, then a hash table groups each part: about 20 bytes per key at work.
    """
    from curate.kernels import buckets

    n = len(keys)
    bits = max(1, (n // _PART_KEYS).bit_length())
    counts = np.zeros((1 << bits) + 1, np.int64)
    parted, numbers = np.empty(n, np.uint64), np.empty(n, np.uint32)
    buckets.scatter(keys, np.uint64(64 - bits), counts, parted, numbers)
    largest = int(np.diff(counts).max(initial=0))
    table = np.empty(1 << max(4, (2 * largest).bit_length()), np.int64)
    members, ends = np.empty(n, np.uint32), np.empty(n // 2 + 1, np.int64)
    room = np.empty_like(table), np.empty(largest, np.int64)
    written, groups = buckets.group(parted, numbers, counts, table, *room, members, ends)
    return Buckets(members[:written].copy(), ends[:groups].copy())


def merge(found: Sequence[Buckets]) -> Buckets:
    """Return the buckets of several bands as one, those with the same members once.

    Two buckets count as the same if the sums of their mixed members (64 bits) are equal.
    """
    prints = [_prints(one) for one in found]
    _, first = np.unique(np.concatenate([np.empty(0, np.uint64), *prints]), return_index=True)
    chosen = np.zeros(sum(map(len, prints)), bool)
    chosen[first] = True
    members, sizes, start = [np.empty(0, np.uint32)], [np.empty(0, np.int64)], 0
    for one in found:
        mine = chosen[start : start + len(one.ends)]
        start += len(one.ends)
        size = np.diff(one.ends, prepend=0)
        members.append(one.members[np.repeat(mine, size)])
        sizes.append(size[mine])
    return Buckets(np.concatenate(members), np.cumsum(np.concatenate(sizes)))


def _prints(found: Buckets) -> Hashes:
    if not len(found.ends):
        return np.empty(0, np.uint64)
    mixed = found.members.astype(np.uint64) + np.uint64(1)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):  # MurmurHash3's fmix64 (Appleby, public domain)
        mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(33)
    return np.add.reduceat(mixed, np.concatenate([[0], found.ends[:-1]]))


def bucket_of(found: Buckets) -> Ints:
    """Return of each member the number of its bucket."""
    return np.repeat(np.arange(len(found.ends)), np.diff(found.ends, prepend=0))


def selected(found: Buckets, members: npt.NDArray[np.bool_], least: int = 1) -> Buckets:
    """Return the chosen members' buckets; one that is left with fewer than ``least`` is none."""
    of = bucket_of(found)
    sizes = np.bincount(of[members], minlength=len(found.ends))
    enough = sizes >= least
    return Buckets(found.members[members & enough[of]], np.cumsum(sizes[enough]))


def plausible(found: Buckets, planes: Hashes, needed: int) -> npt.NDArray[np.bool_]:
    """Return of each record [n] whether it agrees with another of a bucket in enough minima.

    Members are indices of ``planes`` (curate.kernels.minhash.Screen). In a bucket of more than 257, all count.
    """
    from curate.kernels import compare

    stays = np.zeros(len(planes), np.bool_)
    compare.plausible(found.members, found.ends, planes, needed, _MOST_SCREENED, stays)
    return stays


def represent(
    members: Numbers, ends: Ints, place: Ints, sets: Sets, threshold: float, window: int, threads: int = 1
) -> Clustering:
    """Go through records in policy order and drop each that a kept record before it is similar enough to.

    Bucket b has the records members[ends[b - 1]:ends[b]]; ``place`` [n] is where each record stands in policy
    order; ``sets`` are in policy order.

    Two records are similar enough if the exact Jaccard similarity by words is at least ``threshold`` in both
    parts, and the one with symbols too in a part of fewer than SHORT shingles, half of it in a longer one.
    For by words alone, bracket puzzles, sums and logic that differ in nothing but symbols are equal; in a long
    text a changed quotation mark or line of dashes says little. The least similarity by words is the pair's.

    A record is compared with the kept records of its buckets, at most ``window`` per bucket, and goes to the
    most similar one, the first in policy order of equals. Since only a kept record can represent, nothing is
    dropped through a chain.

    Within a bucket the window holds the kept records that came last: policy order goes by length, and texts
    similar to this one are of similar length. What was left out is counted.

    Records that no bucket joins never meet, so ``threads`` share them out; the answer is the same.
    """
    from curate.kernels import buckets, compare, reading

    records, count = len(place), len(ends)
    members = place[members]
    starts = np.zeros(records + 1, np.int64)
    np.cumsum(np.bincount(members, minlength=records), out=starts[1:])
    entries = np.empty(len(members), np.int64)
    buckets.gather(members, ends, starts, entries)
    hashes = np.asarray(sets.hashes).view()
    hashes.flags.writeable = False  # as a mapped file is: one compiled version serves both
    kept_by, similarity = np.empty(records, np.int64), np.zeros((records, 2))
    skipped = np.zeros(count, np.int64)
    widest = int((sets.bounds[:, [2, -1]] - sets.bounds[:, [0, 2]]).max(initial=0))
    first = np.concatenate([[0], ends[:-1]]) if count else ends
    joined, kept = np.zeros(count, np.int64), np.empty((len(members), 2), np.uint32)
    seen = np.full(records, -1, np.int64)

    def some(mine: Ints) -> Ints:
        words, symbols, counts = reading.table(widest), reading.table(widest), np.zeros(2, np.int64)
        compare.represent(
            mine, starts, entries, first, joined, kept, hashes, sets.bounds, sets.bitmaps,
            threshold, SHORT, window, words, symbols, seen, kept_by, similarity, skipped, counts,
        )  # fmt: skip
        return counts

    with ThreadPoolExecutor(threads) as pool:
        counts = sum(pool.map(some, _shares(members, ends, np.diff(starts), threads)))
    verified, accepted = np.broadcast_to(counts, 2).tolist()
    return Clustering(kept_by, similarity, verified, accepted, int((skipped > 0).sum()), int(skipped.sum()))


def _shares(members: Ints, ends: Ints, weights: Ints, threads: int) -> list[Ints]:
    """Share records [n] out, those that buckets join together, in policy order; some shares per thread."""
    from curate.kernels import buckets

    if threads == 1:
        return [np.arange(len(weights))]
    parents = np.arange(len(weights))
    buckets.components(members, ends, parents)
    work = np.bincount(parents, weights, minlength=len(weights))  # of a component, at its least record
    shares = 8 * threads
    of = (np.cumsum(work) - work) * shares // max(1.0, work.sum())
    share = of[parents].astype(np.int64)
    order = np.argsort(share, kind="stable")
    return np.split(order, np.searchsorted(share[order], np.arange(1, shares)))
