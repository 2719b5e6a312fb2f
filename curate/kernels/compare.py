"""Compiled: shingle sets, their exact comparison, and clusters around kept records."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.jit import kernel, part
from curate.kernels.lanes import ones
from curate.kernels.normal import FULL, NEEDS_CONTEXT
from curate.kernels.parts import BITMAP
from curate.kernels.reading import append_record
from curate.kernels.sketch import PLANES

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64
_SHIFT, _SIX, _BITS = _U64(54), _U64(6), _U64(63)  # a bit's number is the highest 10 bits of a hash


@part
def emptied(table: Any) -> Any:
    """Empty a table; return the stamp of the slots that will be taken."""
    table.today[0] += np.uint32(1)
    if table.today[0] == 0:  # after 2^32 days, no slot may be taken for today's
        for slot in range(len(table.stamps)):
            table.stamps[slot] = np.uint32(0)
        table.today[0] = np.uint32(1)
    return table.today[0]


@part
def mask_of(members: int) -> int:
    """Return how much of a table so many members use, less one: a power of two, at most half full."""
    size = 64
    while size < 2 * members:
        size *= 2
    return size - 1


@part
def insert(hash: Any, table: Any, today: Any, mask: int) -> bool:
    """Put a hash into the table; tell whether it is new there."""
    slot = np.int64(hash) & mask
    while table.stamps[slot] == today:
        if table.slots[slot] == hash:
            return False
        slot = (slot + 1) & mask
    table.stamps[slot], table.slots[slot] = today, hash
    return True


@part
def _holds(hash: Any, table: Any, today: Any, mask: int) -> bool:
    slot = np.int64(hash) & mask
    while table.stamps[slot] == today:
        if table.slots[slot] == hash:
            return True
        slot = (slot + 1) & mask
    return False


@part
def _unique(hashes: Array, start: int, end: int, out: int, table: Any) -> int:
    """Move the different ones of hashes[start:end] to hashes[out:], in order; return where they end."""
    today, mask = emptied(table), mask_of(end - start)
    for i in range(start, end):
        if insert(hashes[i], table, today, mask):
            hashes[out] = hashes[i]
            out += 1
    return out


@kernel
def record_sets(
    turns: Any, cutting: Any, how: Any, space: Any, first: int, todo: Array, out: Array, bounds: Array,
    bitmaps: Array,
) -> int:  # fmt: skip
    """Write the shingle sets of the records [first:] to do; return as curate.kernels.sketch.band_keys does.

    ``out[bounds[i, v]:bounds[i, v + 1]]`` is set v of record i: prompt, response, then, if ``bounds`` has room
    for them, both with each symbol as a word. bounds[-1, 0] says how far ``out`` is written. ``bitmaps``
    [records, BITMAP], zeros, gets the bits of the first two.
    """
    n, views = bounds[-1, 0], bounds.shape[1] - 1
    for record in range(first, len(todo)):
        if not todo[record]:
            continue
        end, at = n, 0
        bounds[record, 0] = n
        while at < views:
            start = end
            middle, end = append_record(turns, record, at == 2, cutting, how, space, out, start)
            if end == NEEDS_CONTEXT:
                break
            if end == FULL or 2 * (end - start) > len(space.table.slots):
                return record
            split = _unique(out, start, middle, start, space.table)
            end = _unique(out, middle, end, split, space.table)
            bounds[record, at + 1], bounds[record, at + 2] = split, end
            at += 2
        if at < views:
            continue
        draw(bitmaps, record, out, n, bounds[record, 2])
        n = end
        bounds[-1, 0] = n
        todo[record] = False
    return len(todo)


@kernel
def plausible(members: Array, ends: Array, planes: Array, needed: int, most: int, out: Array) -> None:
    """Mark each record that agrees in at least ``needed`` of the minima with another one of a bucket.

    Of ``planes`` [records, …] curate.kernels.sketch.band_keys tells. A record that is compared with ``most``
    others in vain is marked, too: nothing is lost where a bucket is too large to be looked through.
    """
    start = 0
    for bucket in range(len(ends)):
        for i in range(start, ends[bucket]):
            one = members[i]
            tried = 0
            for j in range(i + 1, ends[bucket] + i - start):
                if out[one] or tried == most:
                    break
                tried += 1
                other = members[j if j < ends[bucket] else start + j - ends[bucket]]
                equal = 0
                for k in range(0, planes.shape[1], PLANES):
                    differ = _U64(0)
                    for bit in range(k, k + PLANES):
                        differ |= planes[one, bit] ^ planes[other, bit]
                    equal += 64 - ones(differ)
                if equal >= needed:
                    out[one] = out[other] = True
            if tried == most:
                out[one] = True
        start = ends[bucket]


@part
def draw(bitmaps: Array, record: int, hashes: Array, start: int, end: int) -> None:
    """Set a record's bits of the shingles hashes[start:end]: the highest 10 bits of a hash are its bit's number."""
    for i in range(start, end):
        place = hashes[i] >> _SHIFT
        bitmaps[record, np.int64(place >> _SIX)] |= _U64(1) << (place & _BITS)


@part
def may_share(
    bitmaps: Array, one: int, others: Array, other: int, size: int, other_size: int, needed: float
) -> bool:
    """Tell from two records' bitmaps whether they may share so many shingles; never wrongly no.

    A bit that only A has stands for at least one member that only A has. So |A ∩ B| <= |A| - |bits(A) \
    bits(B)|, and the same for B (Sandes, Teodoro, Melo: Bitmap filter, 2020).
    """
    for start in range(0, BITMAP, 4):
        for k in range(start, start + 4):
            a, b = bitmaps[one, k], others[other, k]
            size -= ones(a & ~b)
            other_size -= ones(b & ~a)
        if min(size, other_size) < needed:
            return False
    return True


@part
def _jaccard(
    hashes: Array, bounds: Array, one: int, other: int, view: int, threshold: float, table: Any, today: Any, mask: int
) -> float:  # fmt: skip
    """Return the exact Jaccard similarity of a view of two records, or -1 where it is below the threshold.

    The table holds the sets of ``one``. Two empty sets are equal (1); an empty and another one have nothing
    in common (0). With ``o`` shared members J = o / (|A| + |B| - o), so J >= t needs o >= t / (1 + t) *
    (|A| + |B|): the walk over B stops as soon as too many of its members are known to be missing in A.
    """
    size_a = bounds[one, view + 1] - bounds[one, view]
    size_b = bounds[other, view + 1] - bounds[other, view]
    if size_a == 0 and size_b == 0:
        return 1.0
    # Rounded down a little: the exact comparison at the end decides, this only ends hopeless walks.
    needed = np.int64(threshold / (1.0 + threshold) * (size_a + size_b) - 1e-6)
    if min(size_a, size_b) < needed:
        return -1.0
    spare, shared = size_b - needed, 0
    for i in range(bounds[other, view], bounds[other, view + 1]):
        if _holds(hashes[i], table, today, mask):
            shared += 1
        else:
            spare -= 1
            if spare < 0:
                return -1.0
    similarity = shared / (size_a + size_b - shared)
    return similarity if similarity >= threshold else -1.0


@part
def _fill(hashes: Array, start: int, end: int, table: Any, mask: int) -> Any:
    """Put sets into the table, alone; return the stamp of its slots."""
    today = emptied(table)
    for i in range(start, end):
        insert(hashes[i], table, today, mask)
    return today


@part
def _similar_symbols(
    hashes: Array, bounds: Array, one: int, other: int, threshold: float, short: int, table: Any, today: Any, mask: int
) -> bool:  # fmt: skip
    for side in range(1, -1, -1):
        size = bounds[one, side + 1] - bounds[one, side]
        size = min(size, bounds[other, side + 1] - bounds[other, side])
        least = threshold if size < short else threshold / 2
        if _jaccard(hashes, bounds, one, other, side + 2, least, table, today, mask) < 0:
            return False
    return True


@part
def similarities(
    hashes: Array, bounds: Array, one: int, other: int, threshold: float, short: int, words: Any, words_today: Any,
    symbols: Any, symbols_today: Any,
) -> Any:  # fmt: skip
    """Return the similarity by words of prompt and response, -1 for both if two records are not similar enough.

    curate.kernels.cluster.represent says when they are. ``words`` and ``symbols`` are tables for the sets of
    ``one``, filled at need: behind the similarities come the stamps of their slots, 0 while they are not filled.
    """
    last = bounds.shape[1] - 1  # 2, or 4 if symbols must be similar too
    words_mask = mask_of(bounds[one, 2] - bounds[one, 0])
    if words_today == 0:
        words_today = _fill(hashes, bounds[one, 0], bounds[one, 2], words, words_mask)
    # The response, where templated records differ, goes first.
    response = _jaccard(hashes, bounds, one, other, 1, threshold, words, words_today, words_mask)
    if response < 0:
        return -1.0, -1.0, words_today, symbols_today
    prompt = _jaccard(hashes, bounds, one, other, 0, threshold, words, words_today, words_mask)
    if prompt < 0:
        return -1.0, -1.0, words_today, symbols_today
    if last > 2:
        symbols_mask = mask_of(bounds[one, last] - bounds[one, 2])
        if symbols_today == 0:
            symbols_today = _fill(hashes, bounds[one, 2], bounds[one, last], symbols, symbols_mask)
        if not _similar_symbols(
            hashes, bounds, one, other, threshold, short, symbols, symbols_today, symbols_mask
        ):
            return -1.0, -1.0, words_today, symbols_today
    return prompt, response, words_today, symbols_today


@kernel
def represent(
    records: Array, starts: Array, entries: Array, first: Array, joined: Array, kept: Array,
    hashes: Array, bounds: Array, bitmaps: Array, threshold: float, short: int, window: int,
    words: Any, symbols: Any, met: Array, kept_by: Array, similarity: Array, skipped: Array, counts: Array,
) -> None:  # fmt: skip
    """Cluster by representatives; curate.kernels.cluster.represent defines arguments and result.

    Done are the records given, in that order. Record r is in the buckets entries[starts[r]:starts[r + 1]]. Of
    bucket b, ``joined[b]`` records are kept so far: kept[first[b]:first[b] + joined[b]] has each one's number
    and how many shingles it has. ``words`` and ``symbols`` are tables that hold the sets of the record at hand.
    """
    share = threshold / (1.0 + threshold)  # of both sizes together: what two similar sets have in common
    for number in range(len(records)):
        record = records[number]
        kept_by[record] = -1
        size = bounds[record, 2] - bounds[record, 0]
        words_today, symbols_today = np.uint32(0), np.uint32(0)
        best = 0.0
        for entry in range(starts[record], starts[record + 1]):
            bucket = entries[entry]
            behind = first[bucket] + joined[bucket]
            skipped[bucket] += max(0, joined[bucket] - window)
            for place in range(behind - 1, max(first[bucket], behind - window) - 1, -1):
                # Prompt and response taken together: if both are similar, so is their union.
                other, other_size = np.int64(kept[place, 0]), np.int64(kept[place, 1])
                needed = share * (size + other_size) - 1e-6
                if min(size, other_size) < needed:
                    continue
                if not may_share(bitmaps, record, bitmaps, other, size, other_size, needed):
                    continue
                if met[other] == record:
                    continue
                met[other] = record
                counts[0] += 1
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
                counts[1] += 1
                new = min(prompt, response)
                if kept_by[record] < 0 or new > best or (new == best and other < kept_by[record]):
                    kept_by[record], best = other, new
                    similarity[record, 0], similarity[record, 1] = prompt, response
        if kept_by[record] >= 0:
            continue
        for entry in range(starts[record], starts[record + 1]):
            bucket = entries[entry]
            place = first[bucket] + joined[bucket]
            kept[place, 0], kept[place, 1] = record, size
            joined[bucket] += 1
