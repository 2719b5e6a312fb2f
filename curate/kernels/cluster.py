"""From band keys to clusters, each around one kept record."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.text import Hashes, Offsets

Ints = npt.NDArray[np.int64]
Buckets = npt.NDArray[np.int32]

ALONE = -1
SHORT = 64  # shingles: below, symbols carry meaning as words do (measured: LOG.md, 2026-11-21)


class Clustering(NamedTuple):
    """What became of the candidates, all in policy order."""

    kept_by: Ints  # [n] the kept record that this one duplicates; -1 where the record is kept
    similarity: npt.NDArray[np.float64]  # [n, 2] by words, of prompt and response; unset where kept
    verified: int  # pairs compared exactly
    accepted: int  # of those, at or above the threshold in every part
    capped: int  # buckets in which some record was not compared with every kept one
    skipped: int  # comparisons left out there (a pair may still have met in another band)


def buckets(keys: Hashes) -> Buckets:
    """Number the groups of equal keys: [n] from 0, or -1 for a key that stands alone. No key is special."""
    order = np.argsort(keys)
    ordered = keys[order]
    first = np.ones(len(keys), bool)
    first[1:] = ordered[1:] != ordered[:-1]
    sizes = np.diff(np.append(np.flatnonzero(first), len(keys)))
    shared = sizes > 1
    numbers = np.where(shared, np.cumsum(shared) - 1, ALONE).astype(np.int32)
    out = np.empty(len(keys), np.int32)
    out[order] = np.repeat(numbers, sizes)
    return out


def represent(
    membership: Buckets, sizes: Ints, hashes: Hashes, bounds: Offsets, threshold: float, window: int
) -> Clustering:
    """Go through records in policy order and drop each that a kept record before it is similar enough to.

    ``membership`` [n, bands] is each record's bucket per band, -1 for none; ``sizes`` [bands] how many
    buckets a band has. View v of record i is the sorted set ``hashes[bounds[i, v]:bounds[i, v + 1]]``: prompt
    and response by words, then both with each symbol as a word. Two records are similar enough if the exact
    Jaccard similarity by words is at least ``threshold`` in both parts, and the one with symbols too in a
    part of fewer than SHORT shingles, half of it in a longer one. For by words alone, bracket puzzles, sums
    and logic that differ in nothing but symbols are equal; in a long text a changed quotation mark or line of
    dashes says little. The least similarity by words is the pair's.

    A record is compared with the kept records of its buckets, at most ``window`` per bucket, and goes to the
    most similar one, the first in policy order of equals. Since only a kept record can represent, nothing is
    dropped through a chain.

    Within a bucket the window holds the kept records that came last: policy order goes by length, and texts
    similar to this one are of similar length. What was left out is counted.
    """
    from curate.kernels import compiled

    records = len(membership)
    hashes = np.asarray(hashes).view()
    hashes.flags.writeable = False  # as a mapped file is: one compiled version serves both
    first = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=first[1:])
    kept_by = np.empty(records, np.int64)
    similarity = np.zeros((records, 2))
    skipped = np.zeros(first[-1], np.int64)
    counts = np.zeros(2, np.int64)
    compiled.represent(
        membership, first, hashes, bounds, threshold, SHORT, window, kept_by, similarity, skipped, counts
    )
    return Clustering(
        kept_by, similarity, int(counts[0]), int(counts[1]), int((skipped > 0).sum()), int(skipped.sum())
    )
