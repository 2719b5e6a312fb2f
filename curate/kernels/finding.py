"""Compiled: records compared with a list of wanted shingle sets; shingle hashes under a key."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.kernels.jit import kernel, part

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64
_ALL_BITS = _U64(64)
# SipHash's initial state: "somepseudorandomlygeneratedbytes" (Aumasson and Bernstein, 2012, section 2.1).
_S0, _S1 = _U64(0x736F6D6570736575), _U64(0x646F72616E646F6D)
_S2, _S3 = _U64(0x6C7967656E657261), _U64(0x7465646279746573)
_LENGTH = _U64(8 << 56)  # the last block of a message of 8 bytes: its length, and nothing else
_FINAL = _U64(0xFF)
_R13, _R16, _R17, _R21, _R32 = _U64(13), _U64(16), _U64(17), _U64(21), _U64(32)


class Table(NamedTuple):
    """An inverted table: which wanted sets hold a hash. Open addressing, at most half full."""

    slots: npt.NDArray[np.int32]  # [a power of two] index into keys, -1 where free
    keys: npt.NDArray[np.uint64]  # ascending
    first: npt.NDArray[np.int64]  # [keys + 1] key k is in the sets entries[first[k]:first[k + 1]]
    entries: npt.NDArray[np.int32]


@part
def _turned(x: Any, by: Any) -> Any:
    return (x << by) | (x >> (_ALL_BITS - by))


@part
def _round(v0: Any, v1: Any, v2: Any, v3: Any) -> Any:
    v0 += v1
    v1 = _turned(v1, _R13) ^ v0
    v0 = _turned(v0, _R32)
    v2 += v3
    v3 = _turned(v3, _R16) ^ v2
    v0 += v3
    v3 = _turned(v3, _R21) ^ v0
    v2 += v1
    v1 = _turned(v1, _R17) ^ v2
    v2 = _turned(v2, _R32)
    return v0, v1, v2, v3


@kernel
def keyed(hashes: Array, low: Any, high: Any, out: Array) -> None:
    """Write SipHash-2-4 (Aumasson and Bernstein, 2012) of each hash as 8 little-endian bytes.

    ``low`` and ``high`` are the key's halves. ``out`` may be ``hashes``.
    """
    for i in range(len(hashes)):
        block = hashes[i]
        v0, v1, v2, v3 = low ^ _S0, high ^ _S1, low ^ _S2, high ^ _S3 ^ block
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= block
        v3 ^= _LENGTH
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= _LENGTH
        v2 ^= _FINAL
        for _ in range(4):
            v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        out[i] = v0 ^ v1 ^ v2 ^ v3


@kernel
def fill(keys: Array, slots: Array) -> None:
    """Put each key's index into ``slots``, which hold -1."""
    mask = len(slots) - 1
    for k in range(len(keys)):
        slot = np.int64(keys[k] & _U64(mask))
        while slots[slot] >= 0:
            slot = (slot + 1) & mask
        slots[slot] = k


@part
def _place(table: Any, hash: Any) -> int:
    mask = len(table.slots) - 1
    slot = np.int64(hash & _U64(mask))
    while table.slots[slot] >= 0:
        if table.keys[table.slots[slot]] == hash:
            return np.int64(table.slots[slot])
        slot = (slot + 1) & mask
    return -1


@part
def _holds(wanted: Array, first: int, last: int, hash: Any) -> bool:
    while first < last:
        middle = (first + last) // 2
        if wanted[middle] < hash:
            first = middle + 1
        elif wanted[middle] == hash:
            return True
        else:
            last = middle
    return False


@part
def _jaccard(
    hashes: Array, start: int, end: int, wanted: Array, first: int, last: int, threshold: float
) -> float:
    """Return the Jaccard similarity as curate.kernels.compare does: -1 where it is below the threshold."""
    size, other = end - start, last - first
    if size == 0 and other == 0:
        return 1.0
    # Rounded down a little: the exact comparison at the end decides, this only ends hopeless walks.
    needed = np.int64(threshold / (1.0 + threshold) * (size + other) - 1e-6)
    if min(size, other) < needed:
        return -1.0
    spare, shared = size - needed, 0
    for i in range(start, end):
        if _holds(wanted, first, last, hashes[i]):
            shared += 1
        else:
            spare -= 1
            if spare < 0:
                return -1.0
    similarity = shared / (size + other - shared)
    return similarity if similarity >= threshold else -1.0


@part
def _alike(
    hashes: Array, bounds: Array, row: int, wanted: Array, places: Array, entry: int, threshold: float, short: int
) -> float:  # fmt: skip
    """Return the lesser similarity of prompt and response, -1 if the two are no near-duplicates.

    The rule is that of curate.kernels.cluster.represent; symbols count if both sides have sets with them.
    """
    least = 2.0
    for side in range(1, -1, -1):
        similarity = _jaccard(
            hashes, bounds[row, side], bounds[row, side + 1],
            wanted, places[entry, side], places[entry, side + 1], threshold,
        )  # fmt: skip
        if similarity < 0:
            return -1.0
        least = min(least, similarity)
    if bounds.shape[1] < 5 or places.shape[1] < 5:
        return least
    for side in range(1, -1, -1):
        size = min(bounds[row, side + 1] - bounds[row, side], places[entry, side + 1] - places[entry, side])
        bar = threshold if size < short else threshold / 2
        symbols = _jaccard(
            hashes, bounds[row, side + 2], bounds[row, side + 3],
            wanted, places[entry, side + 2], places[entry, side + 3], bar,
        )  # fmt: skip
        if symbols < 0:
            return -1.0
    return least


@kernel
def records_like(
    hashes: Array, bounds: Array, table: Table, wanted: Array, places: Array, threshold: float, short: int,
    met: Array, found: Array, similarity: Array,
) -> None:  # fmt: skip
    """Find of each record the wanted one that it is most similar to; of equally similar ones the first.

    ``hashes[bounds[i, v]:bounds[i, v + 1]]`` is set v of record i (curate.kernels.parts.Sets), ``wanted`` and
    ``places`` are so, too, each set ascending. ``table`` holds enough of each wanted record's first two sets
    that no similar one is missed. ``met`` [wanted] is -1, ``found`` [n] gets the number or -1.
    """
    for row in range(len(bounds)):
        found[row] = -1
        for i in range(bounds[row, 0], bounds[row, 2]):
            key = _place(table, hashes[i])
            if key < 0:
                continue
            for posting in range(table.first[key], table.first[key + 1]):
                entry = np.int64(table.entries[posting])
                if met[entry] == row:
                    continue
                met[entry] = row
                new = _alike(hashes, bounds, row, wanted, places, entry, threshold, short)
                if new < 0:
                    continue
                if found[row] < 0 or new > similarity[row] or (new == similarity[row] and entry < found[row]):
                    found[row], similarity[row] = entry, new


@kernel
def texts_like(
    hashes: Array, starts: Array, ends: Array, table: Table, wanted: Array, places: Array, threshold: float,
    met: Array, found: Array, similarity: Array, holder: Array, share: Array,
) -> None:  # fmt: skip
    """Find for each set the wanted one that it is most similar to, and the one of which it holds most.

    Set i is hashes[starts[i]:ends[i]], wanted set k wanted[places[k]:places[k + 1]], ascending. ``found`` gets
    the most similar one at or above the threshold, ``holder`` the one with the greatest share of it held;
    both are left as they are where others are better so far.
    """
    for row in range(len(starts)):
        size = ends[row] - starts[row]
        for i in range(starts[row], ends[row]):
            key = _place(table, hashes[i])
            if key < 0:
                continue
            for posting in range(table.first[key], table.first[key + 1]):
                entry = np.int64(table.entries[posting])
                if met[entry] == row:
                    continue
                met[entry] = row
                first, last, shared = places[entry], places[entry + 1], 0
                for k in range(starts[row], ends[row]):
                    if _holds(wanted, first, last, hashes[k]):
                        shared += 1
                new, held = shared / (size + last - first - shared), shared / (last - first)
                if new >= threshold and new > similarity[row]:
                    found[row], similarity[row] = entry, new
                if held > share[row]:
                    holder[row], share[row] = entry, held
