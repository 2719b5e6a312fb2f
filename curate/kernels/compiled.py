"""Compiled loops over text buffers, shingle hashes and buckets. Loaded on first use by the modules beside it.

Shapes: ``data`` uint8 holds all texts' UTF-8 end to end, text i is ``data[offsets[i]:offsets[i + 1]]``;
``hashes`` uint64 likewise holds all texts' shingles. Results are written into arrays the caller allocates.

All of this file is one cache unit (see :func:`curate.kernels.jit.kernel`), so every kernel is in it.
"""

# numpy's scalar types are written out everywhere: numba promotes uint64 with a plain int to float64.
from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.chars import ALONE, MARK, SPACE, WORD
from curate.kernels.jit import kernel

Array: TypeAlias = Any  # numba sees arrays of many types; the modules beside this one state them

_U32, _U64 = np.uint32, np.uint64
# FNV-1a, 64 bits: offset basis and prime (Fowler, Noll, Vo; IETF draft-eastlake-fnv).
_FNV_BASIS, _FNV_PRIME = _U64(0xCBF29CE484222325), _U64(0x100000001B3)
# MurmurHash3 finalizers (Appleby, public domain), both widths.
_M64A, _M64B, _S33 = _U64(0xFF51AFD7ED558CCD), _U64(0xC4CEB9FE1A85EC53), _U64(33)
_M32A, _M32B, _S16, _S13 = _U32(0x85EBCA6B), _U32(0xC2B2AE35), _U32(16), _U32(13)
_ODD = _U64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, made odd
_HALF = _U64(32)


@kernel
def fmix64(h: Any) -> Any:
    """Mix 64 bits: a bijection in which every input bit reaches every output bit."""
    h = (h ^ (h >> _S33)) * _M64A
    h = (h ^ (h >> _S33)) * _M64B
    return h ^ (h >> _S33)


@kernel
def fmix32(h: Any) -> Any:
    """Mix 32 bits."""
    h = _U32((h ^ (h >> _S16)) * _M32A)
    h = _U32((h ^ (h >> _S13)) * _M32B)
    return _U32(h ^ (h >> _S16))


@kernel
def _decode(data: Array, i: int, end: int) -> Any:
    """Return the code point at byte i and its width in bytes; U+0000 for what is cut off or too large."""
    first = np.int64(data[i])
    if first < 0x80:
        return first, 1
    width = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if i + width > end:
        return 0, end - i
    code = first & (0x7F >> width)
    for k in range(1, width):
        code = (code << 6) | (np.int64(data[i + k]) & 0x3F)
    return (code, width) if code < 0x110000 else (0, width)


@kernel
def fold_lengths(data: Array, offsets: Array, entries: Array, bounds: Array, out: Array) -> None:
    """Write each text's length in bytes once folded character by character; -1 if that would not be right."""
    for text in range(len(offsets) - 1):
        i, end, length = offsets[text], offsets[text + 1], 0
        while i < end:
            code, width = _decode(data, i, end)
            entry = entries[code]
            if entry < 0:
                length = -1
                break
            length += width if entry == 0 else bounds[entry + 1] - bounds[entry]
            i += width
        out[text] = length


@kernel
def fold(
    data: Array, offsets: Array, entries: Array, pool: Array, bounds: Array, chosen: Array, out: Array,
    out_offsets: Array,
) -> None:  # fmt: skip
    """Write the chosen texts, folded character by character, to out[out_offsets[text]:]."""
    for text in range(len(offsets) - 1):
        i, end, n = offsets[text], offsets[text + 1], out_offsets[text]
        while chosen[text] and i < end:
            code, width = _decode(data, i, end)
            entry = entries[code]
            if entry == 0:
                for k in range(width):
                    out[n + k] = data[i + k]
                n += width
            else:
                for k in range(bounds[entry], bounds[entry + 1]):
                    out[n] = pool[k]
                    n += 1
            i += width


@kernel
def collapse_spaces(data: Array, offsets: Array, classes: Array, out: Array, out_offsets: Array) -> None:
    """Copy texts with white space at the ends gone and every other run of it made one space."""
    n = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        i, end = offsets[text], offsets[text + 1]
        start, gap = n, False
        while i < end:
            code, width = _decode(data, i, end)
            if classes[code] == SPACE:
                gap = n > start
            else:
                if gap:
                    out[n] = 32
                    n += 1
                    gap = False
                for k in range(width):
                    out[n + k] = data[i + k]
                n += width
            i += width
        out_offsets[text + 1] = n


@kernel
def _fnv1a(data: Array, start: int, end: int) -> Any:
    h = _FNV_BASIS
    for i in range(start, end):
        h = (h ^ _U64(data[i])) * _FNV_PRIME
    return h


@kernel
def shingle_hashes(
    data: Array, offsets: Array, classes: Array, ngram: int, salt: Any, out: Array, out_offsets: Array
) -> None:
    """Write the hash of every n-gram of words, in reading order; curate.kernels.text.shingles defines it."""
    n = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        words = _word_hashes(data, start, end, classes, out, n)
        if words >= ngram:  # in place: a shingle needs only words that stand at its place or behind
            for i in range(n, n + words - ngram + 1):
                h = salt
                for k in range(ngram):
                    h = h * _ODD + out[i + k]
                out[i] = fmix64(h)
            n += words - ngram + 1
        elif end > start:
            h = fmix64(salt ^ _ODD ^ _U64(end - start))  # the length sets it apart from an n-gram
            out[n] = fmix64(h ^ fmix64(_fnv1a(data, start, end)))
            n += 1
        out_offsets[text + 1] = n


@kernel
def _word_hashes(data: Array, start: int, end: int, classes: Array, out: Array, n: int) -> int:
    """Write the hash of each word of a text from out[n] on; return how many there are."""
    first, inside, alone, word, i = n, False, False, _FNV_BASIS, start
    while i < end:
        code, width = _decode(data, i, end)
        kind = classes[code]
        if inside and kind != MARK and (kind != WORD or alone):
            out[n] = fmix64(word)
            n += 1
            inside = False
        if not inside and kind in (WORD, ALONE):
            inside, alone, word = True, kind == ALONE, _FNV_BASIS
        if inside:  # a mark comes here only behind a word, and extends it
            for k in range(width):
                word = (word ^ _U64(data[i + k])) * _FNV_PRIME
        i += width
    if inside:
        out[n] = fmix64(word)
        n += 1
    return n - first


@kernel
def sort_sets(hashes: Array, offsets: Array, out_offsets: Array) -> None:
    """Turn each text's shingles into a set, in place: sorted, each once, closed up at the front."""
    n = 0
    out_offsets[0] = 0
    for text in range(len(offsets) - 1):
        part = np.sort(hashes[offsets[text] : offsets[text + 1]])
        for i in range(len(part)):
            if i == 0 or part[i] != part[i - 1]:
                hashes[n] = part[i]
                n += 1
        out_offsets[text + 1] = n


@kernel
def small_digests(hashes: Array, offsets: Array, limit: int, out: Array) -> None:
    """Write a hash of each text's whole shingle set where the set has at most ``limit`` members, else 0."""
    held = np.zeros(limit + 1, np.uint64)
    for text in range(len(offsets) - 1):
        count = 0
        for i in range(offsets[text], offsets[text + 1]):
            known = False
            for k in range(count):
                if held[k] == hashes[i]:
                    known = True
                    break
            if not known:
                held[count] = hashes[i]
                count += 1
                if count > limit:
                    break
        total = _U64(0)  # a sum, because a set has no order
        for k in range(count):
            total += fmix64(held[k] ^ _ODD)
        out[text] = _U64(0) if count > limit else fmix64(total ^ fmix64(_U64(count + 1)))


@kernel
def signatures(hashes: Array, offsets: Array, a: Array, b: Array, out: Array) -> None:
    """Write out[text, k]: the least a[k] * fmix32(half a shingle) + b[k] mod 2^32; 2^32 - 1 for none."""
    for text in range(len(offsets) - 1):
        row = out[text]
        row[:] = _U32(0xFFFFFFFF)
        for i in range(offsets[text], offsets[text + 1]):
            x = fmix32(_U32(hashes[i] >> _HALF))
            for k in range(len(a)):
                row[k] = min(row[k], _U32(a[k] * x + b[k]))


@kernel
def band_keys(signature: Array, digests: Array, rows: int, out: Array) -> None:
    """Write out[band, text]: a 64-bit hash of the band's number, of its ``rows`` minima and of the digest."""
    for band in range(len(out)):
        salt = fmix64(_U64(band + 1))
        for text in range(len(signature)):
            key = fmix64(salt ^ digests[text])
            for k in range(band * rows, (band + 1) * rows):
                key = fmix64(key ^ _U64(signature[text, k]))
            out[band, text] = key


@kernel
def jaccard(hashes: Array, a: int, a_end: int, b: int, b_end: int, threshold: float) -> float:
    """Return the exact Jaccard similarity of two sorted sets, or -1 where it is below the threshold.

    Two empty sets are equal (1); an empty and another one have nothing in common (0). With ``o`` shared
    members J = o / (|A| + |B| - o), so J >= t needs o >= t / (1 + t) * (|A| + |B|): the walk stops as soon as
    too many members of either set are known to be missing in the other.
    """
    size_a, size_b = a_end - a, b_end - b
    if size_a == 0 and size_b == 0:
        return 1.0
    # Rounded down a little: the exact comparison at the end decides, this only ends hopeless walks.
    needed = np.int64(threshold / (1.0 + threshold) * (size_a + size_b) - 1e-6)
    spare_a, spare_b, shared = size_a - needed, size_b - needed, 0
    while a < a_end and b < b_end and spare_a >= 0 and spare_b >= 0:
        if hashes[a] == hashes[b]:
            shared += 1
            a += 1
            b += 1
        elif hashes[a] < hashes[b]:
            spare_a -= 1
            a += 1
        else:
            spare_b -= 1
            b += 1
    if spare_a < 0 or spare_b < 0:
        return -1.0
    similarity = shared / (size_a + size_b - shared)
    return similarity if similarity >= threshold else -1.0


@kernel
def _view(hashes: Array, bounds: Array, one: int, other: int, view: int, threshold: float) -> float:
    a, b = bounds[one, view], bounds[other, view]
    return jaccard(hashes, a, bounds[one, view + 1], b, bounds[other, view + 1], threshold)


@kernel
def _compare(
    hashes: Array, bounds: Array, one: int, other: int, threshold: float, short: int, found: Array
) -> bool:
    """Fill found[part] with each part's similarity by words; False as soon as a part is not similar enough.

    curate.kernels.cluster.represent says when a part is.
    """
    for part in range(1, -1, -1):  # the response, where templated records differ, goes first
        found[part] = _view(hashes, bounds, one, other, part, threshold)
        if found[part] < 0:
            return False
    for part in range(1, -1, -1):
        size = bounds[one, part + 1] - bounds[one, part]
        size = min(size, bounds[other, part + 1] - bounds[other, part])
        least = threshold if size < short else threshold / 2
        if _view(hashes, bounds, one, other, part + 2, least) < 0:
            return False
    return True


@kernel
def represent(
    buckets: Array, first: Array, hashes: Array, bounds: Array, threshold: float, short: int, window: int,
    kept_by: Array, similarity: Array, skipped: Array, counts: Array,
) -> None:  # fmt: skip
    """Cluster by representatives; curate.kernels.cluster.represent defines arguments and result."""
    records, bands = buckets.shape
    latest = np.full(first[bands], -1, np.int32)  # per bucket: the kept record that joined last, …
    size = np.zeros(first[bands], np.int32)  # … how many there are, …
    before = np.full((records, bands), -1, np.int32)  # … and who joined before whom
    met = np.full(records, -1, np.int32)
    found, best = np.zeros(2), np.zeros(2)
    for record in range(records):
        kept_by[record] = -1
        for band in range(bands):
            if buckets[record, band] < 0:
                continue
            bucket = first[band] + buckets[record, band]
            other = latest[bucket]
            for _ in range(min(window, size[bucket])):
                if met[other] != record:
                    met[other] = record
                    counts[0] += 1
                    if _compare(hashes, bounds, record, other, threshold, short, found):
                        counts[1] += 1
                        new, old = found.min(), best.min()
                        if kept_by[record] < 0 or new > old or (new == old and other < kept_by[record]):
                            kept_by[record] = other
                            best[:] = found
                other = before[other, band]
            skipped[bucket] += max(0, size[bucket] - window)
        if kept_by[record] >= 0:
            similarity[record] = best
            continue
        for band in range(bands):
            if buckets[record, band] >= 0:
                bucket = first[band] + buckets[record, band]
                before[record, band] = latest[bucket]
                latest[bucket] = record
                size[bucket] += 1
