"""Compiled: signatures and band keys."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.jit import kernel, part
from curate.kernels.lanes import LANES, bit_plane, lower_minima, mum
from curate.kernels.normal import FULL, NEEDS_CONTEXT
from curate.kernels.reading import append_record
from curate.kernels.words import K1, K2, ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U32, _U64 = np.uint32, np.uint64
# MurmurHash3's 32-bit finalizer (Appleby, public domain), which datasketch's scheme affine32 applies.
_M32A, _M32B, _S16, _S13 = _U32(0x85EBCA6B), _U32(0xC2B2AE35), _U32(16), _U32(13)
_HALF, _ZERO = _U64(32), _U64(0)
PLANES = 2  # bits that are kept of a minimum …
LOWEST = (
    12  # … from this one on: below, bits of a * x + b depend on few bits of x, the same for all permutations
)


@part
def _fmix32(h: Any) -> Any:
    h = _U32((h ^ (h >> _S16)) * _M32A)
    h = _U32((h ^ (h >> _S13)) * _M32B)
    return _U32(h ^ (h >> _S16))


@part
def _minima(hashes: Array, start: int, end: int, x: Array, a: Array, b: Array, row: Array) -> None:
    """Write each permutation's minimum; 2^32 - 1 for none. len(row) is a multiple of LANES."""
    for i in range(end - start):
        x[i] = _fmix32(_U32(hashes[start + i] >> _HALF))
    for k in range(len(row)):
        row[k] = _U32(0xFFFFFFFF)
    for k in range(0, len(row), LANES):
        lower_minima(x, end - start, a, b, row, k)


@part
def _small_digest(hashes: Array, start: int, end: int, held: Array) -> Any:
    """Return a hash of a set of at most len(held) - 1 members; 0 for a larger one."""
    count = 0
    for i in range(start, end):
        known = False
        for k in range(count):
            known |= held[k] == hashes[i]
        if not known:
            if count == len(held) - 1:
                return _ZERO
            held[count] = hashes[i]
            count += 1
    total = _ZERO  # a sum, because a set has no order
    for k in range(count):
        total += finish((held[k] ^ ODD) * ODD)
    return finish((total ^ _U64(count + 1)) * ODD)


@part
def _band_key(row: Array, first: int, rows: int, start: Any) -> Any:
    """Hash ``rows`` minima from ``first`` on, two at a time, beginning with ``start``."""
    key = start
    for k in range(first, first + rows, 2):
        pair = _U64(row[k])
        if k + 1 < first + rows:
            pair |= _U64(row[k + 1]) << _HALF
        key = mum(key ^ pair ^ K1, K2)
    return finish(key)


@kernel
def band_keys(
    turns: Any, cutting: Any, how: Any, space: Any, a: Array, b: Array, rows: int, row: Array, held: Array,
    first: int, todo: Array, keys: Array, planes: Array,
) -> int:  # fmt: skip
    """Write the band keys [bands, records] of the records [first:] to do; return len(todo) at the end.

    Where there is no room for a record, its number. A record of which a turn must be folded as a whole is
    left to do. ``planes`` [records, PLANES * words] gets two bits of each of the first 64 * words minima: bit
    LOWEST + ``bit`` of the k-th 64 of them in planes[i, PLANES * k + bit]. ``row`` [len(a)] and ``held`` [members of a
    small set + 1] are room to work in.
    """
    hashes, x = space.hashes, space.halves
    for record in range(first, len(todo)):
        if not todo[record]:
            continue
        middle, end = append_record(turns, record, False, cutting, how, space, hashes, 0)
        if end == FULL:
            return record
        if end == NEEDS_CONTEXT:
            continue
        _minima(hashes, 0, end, x, a, b, row)
        digest = _small_digest(hashes, 0, middle, held) * ODD + _small_digest(hashes, middle, end, held)
        for band in range(len(keys)):
            keys[band, record] = _band_key(row, band * rows, rows, digest ^ finish(_U64(band + 1) * ODD))
        words = planes.shape[1] // PLANES
        for k in range(words):
            for bit in range(PLANES):
                low, high = bit_plane(row, 64 * k, LOWEST + bit), bit_plane(row, 64 * k + 32, LOWEST + bit)
                planes[record, PLANES * k + bit] = low | (high << _HALF)
        todo[record] = False
    return len(todo)


@kernel
def signatures(hashes: Array, offsets: Array, a: Array, b: Array, x: Array, out: Array) -> None:
    """Write out[text, k]: permutation k's minimum. ``x`` has room for the longest text's shingles."""
    for text in range(len(offsets) - 1):
        _minima(hashes, offsets[text], offsets[text + 1], x, a, b, out[text])
