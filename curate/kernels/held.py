"""Compiled: records compared with those of earlier releases."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.compare import draw, may_share, similarities
from curate.kernels.jit import kernel, part

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them


@kernel
def draw_all(hashes: Array, bounds: Array, bitmaps: Array) -> None:
    """Set in ``bitmaps`` [n, BITMAP], zeros, the bits of the first two sets, as compare.record_sets does."""
    for record in range(len(bounds)):
        draw(bitmaps, record, hashes, bounds[record, 0], bounds[record, 2])


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
    share = threshold / (1.0 + threshold)
    for record in range(len(held_by)):
        held_by[record] = -1
        size = bounds[record, 2] - bounds[record, 0]
        words_today, symbols_today = np.uint32(0), np.uint32(0)
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
                if not may_share(bitmaps, record, bitmaps, other, size, other_size, needed):
                    continue
                prompt, response, words_today, symbols_today = similarities(
                    hashes,
                    bounds,
                    record,
                    other,
                    threshold,
                    short,
                    words,
                    words_today,
                    symbols,
                    symbols_today,
                )
                if prompt < 0:
                    continue
                new = min(prompt, response)
                if held_by[record] < 0 or new > best or (new == best and other < held_by[record]):
                    held_by[record], best = other, new
                    similarity[record, 0], similarity[record, 1] = prompt, response
