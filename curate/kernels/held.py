"""Compiled: records compared with those of earlier releases."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.compare import _fill, _jaccard, _mask, _may_share, _similar_symbols
from curate.kernels.jit import kernel, part

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64
_SHIFT, _SIX, _BITS = _U64(54), _U64(6), _U64(63)  # a bit's number is the highest 10 bits of a hash


@kernel
def draw(hashes: Array, bounds: Array, bitmaps: Array) -> None:
    """Set in ``bitmaps`` [n, BITMAP], zeros, the bits of the first two sets, as compare.record_sets does."""
    for record in range(len(bounds)):
        for i in range(bounds[record, 0], bounds[record, 2]):
            place = hashes[i] >> _SHIFT
            bitmaps[record, np.int64(place >> _SIX)] |= _U64(1) << (place & _BITS)


@part
def _window(theirs: Array, bounds: Array, low: int, high: int, size: int, window: int) -> tuple[int, int]:
    """Return which ``window`` of theirs[low:high] to look at: those around the first that is no smaller."""
    if high - low <= window:
        return low, high
    left, right = low, high
    while left < right:
        middle = (left + right) // 2
        if bounds[theirs[middle], 2] - bounds[theirs[middle], 0] < size:
            left = middle + 1
        else:
            right = middle
    start = min(max(low, left - window // 2), high - window)
    return start, start + window


@kernel
def nearest(
    starts: Array, entries: Array, first: Array, theirs: Array, hashes: Array, bounds: Array, bitmaps: Array,
    threshold: float, short: int, window: int, words: Any, symbols: Any, met: Array, held_by: Array,
    similarity: Array, skipped: Array,
) -> None:  # fmt: skip
    """Find of each record the most similar one of an index, by the rule of compare.represent.

    Record r is in the buckets entries[starts[r]:starts[r + 1]]; bucket b has the index's records
    theirs[first[b]:first[b + 1]], which ascend by the size of their sets. All are numbers of ``bounds``, the
    index's behind the others. Of a bucket, at most ``window`` are looked at, those nearest in size;
    ``skipped`` counts the others by bucket. ``held_by`` gets the number, -1 for none; of equally similar ones
    the first. ``words`` and ``symbols`` are tables that hold the sets of the record at hand.
    """
    last = bounds.shape[1] - 1
    share = threshold / (1.0 + threshold)
    for record in range(len(held_by)):
        held_by[record] = -1
        size = bounds[record, 2] - bounds[record, 0]
        words_today, symbols_today = np.uint32(0), np.uint32(0)
        words_mask, symbols_mask = _mask(size), _mask(bounds[record, last] - bounds[record, 2])
        best = 0.0
        for entry in range(starts[record], starts[record + 1]):
            bucket = entries[entry]
            low, high = _window(theirs, bounds, first[bucket], first[bucket + 1], size, window)
            skipped[bucket] += first[bucket + 1] - first[bucket] - (high - low)
            for place in range(low, high):
                other = theirs[place]
                other_size = bounds[other, 2] - bounds[other, 0]
                needed = share * (size + other_size) - 1e-6
                if min(size, other_size) < needed or met[other] == record:
                    continue
                met[other] = record
                if not _may_share(bitmaps, record, bitmaps, other, size, other_size, needed):
                    continue
                if words_today == 0:
                    words_today = _fill(hashes, bounds[record, 0], bounds[record, 2], words, words_mask)
                response = _jaccard(
                    hashes, bounds, record, other, 1, threshold, words, words_today, words_mask
                )
                if response < 0:
                    continue
                prompt = _jaccard(hashes, bounds, record, other, 0, threshold, words, words_today, words_mask)
                if prompt < 0:
                    continue
                if last > 2 and symbols_today == 0:
                    symbols_today = _fill(
                        hashes, bounds[record, 2], bounds[record, last], symbols, symbols_mask
                    )
                if last > 2 and not _similar_symbols(
                    hashes, bounds, record, other, threshold, short, symbols, symbols_today, symbols_mask
                ):
                    continue
                new = min(prompt, response)
                if held_by[record] < 0 or new > best or (new == best and other < held_by[record]):
                    held_by[record], best = other, new
                    similarity[record, 0], similarity[record, 1] = prompt, response
