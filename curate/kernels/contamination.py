"""Compiled: which records may hold which targets (evaluation items), and texts as their words alone."""

# numpy's scalar types are written out everywhere: numba promotes uint64 with a plain int to float64.
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.jit import kernel, part
from curate.kernels.lanes import BYTES
from curate.kernels.normal import BLANK, FULL, NEEDS_CONTEXT
from curate.kernels.text import buffers
from curate.kernels.words import MOST_NGRAM, ODD, cut, finish, hash_bytes, spell

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64
_ZERO, _ONE, _RING = _U64(0), _U64(1), MOST_NGRAM - 1
_BYTE, _BIT = _U64(3), _U64(7)
_WHOLE = _U64(0x8EBC6AF09C88C6E3)  # sets the key of a whole apart from n-grams; odd, of wyhash
_LF, _CR = 10, 13
_BITS = 16  # of the bitmap for each key: one foreign n-gram in sixteen is looked up in vain


class Keys(NamedTuple):
    """Keys (hashes of n-grams and of wholes) and the targets that hold each of them."""

    bitmap: npt.NDArray[np.uint8]  # a power of two of bits; all of it fits the near caches for 10^5 keys
    slots: npt.NDArray[np.int32]  # [a power of two] place of a key, -1 where free; at most half full
    keys: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.int64]  # [keys]
    first: npt.NDArray[np.int64]  # [keys + 1] key k is held by targets[first[k]:first[k + 1]]
    targets: npt.NDArray[np.int32]


def keys(
    hashes: npt.NDArray[np.uint64],
    weights: npt.NDArray[np.int64],
    first: npt.NDArray[np.int64],
    targets: npt.NDArray[np.int32],
) -> Keys:
    """Return a table of keys; ``hashes`` are distinct."""
    size = 1 << max(6, (2 * len(hashes)).bit_length())
    bits = 1 << max(10, (_BITS * len(hashes) - 1).bit_length())
    slots, bitmap = np.full(size, -1, np.int32), np.zeros(bits // 8, np.uint8)
    _fill(hashes, slots, bitmap)
    made = Keys(bitmap, slots, hashes, weights, first, targets)
    for array in made:
        array.flags.writeable = False  # as mapped files are: one compiled version serves both
    return made


@kernel
def _fill(hashes: Array, slots: Array, bitmap: Array) -> None:
    mask, bits = _U64(len(slots) - 1), _U64(8 * len(bitmap) - 1)
    for k in range(len(hashes)):
        slot = hashes[k] & mask
        while slots[slot] >= 0:
            slot = (slot + _ONE) & mask
        slots[slot] = k
        bit = hashes[k] & bits
        bitmap[bit >> _BYTE] |= np.uint8(_ONE << (bit & _BIT))


@part
def _place(table: Any, hash: Any) -> Any:
    bit = hash & _U64(8 * len(table.bitmap) - 1)
    if (_U64(table.bitmap[bit >> _BYTE]) >> (bit & _BIT)) & _ONE == _ZERO:
        return -1
    mask = _U64(len(table.slots) - 1)
    slot = hash & mask
    while table.slots[slot] >= 0:
        if table.keys[table.slots[slot]] == hash:
            return np.int64(table.slots[slot])
        slot = (slot + _ONE) & mask
    return -1


@part
def _whole(h: Any, count: int) -> Any:
    """Return the key of ``count`` words, h(n) of h(0) = 0, h(i) = h(i - 1) * ODD + word i."""
    return finish((h ^ _WHOLE) + _U64(count) * ODD)


def keys_of_wholes(spelled: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return the keys [n] of wholes; ``spelled``: the words of each, fewer than MOST_NGRAM, a space between two."""
    padded = pa.array([*spelled, " " * 4 * BYTES], pa.large_string())  # kernels read beyond a text
    data, offsets = buffers(padded)
    found = np.empty(len(spelled), np.uint64)
    _whole_keys(data, offsets, np.empty(2 * MOST_NGRAM + 8 * BYTES, np.int64), found)
    return found


@kernel
def _whole_keys(data: Array, offsets: Array, bounds: Array, out: Array) -> None:
    for text in range(len(out)):
        found, _ = cut(data, offsets[text], offsets[text + 1], False, bounds)
        h = _ZERO
        for k in range(0, found, 2):
            h = h * ODD + hash_bytes(data, bounds[k], bounds[k + 1] - bounds[k])
        out[text] = _whole(h, found // 2)


@part
def _meet(
    table: Any, key: Any, stamp: int, met: Array, seen: Array, score: Array, touched: Array, n: int
) -> int:
    """Count a key for all targets that hold it, once per record; return the number of targets touched."""
    place = _place(table, key)
    if place < 0 or met[place] == stamp:
        return n
    met[place] = stamp
    for k in range(table.first[place], table.first[place + 1]):
        target = table.targets[k]
        if seen[target] != stamp:
            seen[target], score[target] = stamp, 0
            touched[n] = target
            n += 1
        score[target] += table.weights[place]
    return n


@part
def _parted(text: Array, i: int, end: int) -> bool:
    """Tell whether a line ends in text[i:end]."""
    found = False
    for k in range(i, end):
        found |= text[k] == _LF or text[k] == _CR
    return found


@part
def _read(
    size: int, ngram: int, table: Any, space: Any, ring: Array, stamp: int, met: Array, seen: Array, score: Array,
    touched: Array, n: int,
) -> int:  # fmt: skip
    """Look up all keys of the turn in space.spelled[:size]: of n-grams, and of lines of fewer words and the whole."""
    text, bounds, top = space.spelled, space.bounds, _ONE
    for _ in range(ngram):
        top *= ODD
    h, line, whole = _ZERO, _ZERO, _ZERO
    count, held, lines, i, last = 0, 0, 1, 0, 0
    while i < size:
        found, i = cut(text, i, size, False, bounds)
        for k in range(0, found, 2):
            word = hash_bytes(text, bounds[k], bounds[k + 1] - bounds[k])
            if count and _parted(text, last, bounds[k]):
                if held < ngram:
                    n = _meet(table, _whole(line, held), stamp, met, seen, score, touched, n)
                line, held, lines = _ZERO, 0, lines + 1
            last = bounds[k + 1]
            line = line * ODD + word
            held += 1
            h = h * ODD + word
            if count >= ngram:
                h -= ring[(count - ngram) & _RING] * top
            ring[count & _RING] = word
            count += 1
            if count < ngram:
                whole = h
            else:
                n = _meet(table, finish(h), stamp, met, seen, score, touched, n)
    if 0 < held < ngram:
        n = _meet(table, _whole(line, held), stamp, met, seen, score, touched, n)
    if lines > 1 and count < ngram:
        n = _meet(table, _whole(whole, count), stamp, met, seen, score, touched, n)
    return n


@kernel
def screen(
    turns: Any, ngram: int, table: Any, needs: Array, how: Any, space: Any, ring: Array, first: int, todo: Array,
    met: Array, seen: Array, score: Array, touched: Array, out: Array, written: Array,
) -> int:  # fmt: skip
    """Write (record, target) to out[written[0]:] where a record may hold a target; return as curate.kernels.sketch.

    It may where the weights of the keys that they share add up to needs[target]. ``written`` [2] is zero at
    first, and so are ``met`` [keys] and ``seen`` [targets]; ``score`` and ``touched`` [targets] and ``ring``
    [MOST_NGRAM] are room to work in.
    """
    for record in range(first, len(todo)):
        if not todo[record]:
            continue
        if written[0] + len(touched) > len(out):
            return record
        n, size = 0, 0
        written[1] += 1
        for turn in range(turns.first[record], turns.first[record + 1]):
            start, end = turns.starts[turn], turns.ends[turn]
            size = spell(turns.data, start, end, turns.folded[turn], False, how, space.spelled)
            if size < 0:
                break
            n = _read(size, ngram, table, space, ring, written[1], met, seen, score, touched, n)
        if size == FULL:
            return record
        if size == NEEDS_CONTEXT:
            continue
        for k in range(n):
            if score[touched[k]] >= needs[touched[k]]:
                out[written[0], 0], out[written[0], 1] = record, touched[k]
                written[0] += 1
        todo[record] = False
    return len(todo)


@kernel
def words_alone(
    turns: Any, how: Any, space: Any, first: int, todo: Array, out: Array, bounds: Array, written: Array
) -> int:
    """Write each text's words, a space between each two, to out[bounds[i, 0]:bounds[i, 1]]; return as above.

    Text i is turn i. ``written`` [1]: how far ``out`` is written.
    """
    for text in range(first, len(todo)):
        if not todo[text]:
            continue
        size = spell(
            turns.data, turns.starts[text], turns.ends[text], turns.folded[text], False, how, space.spelled
        )
        if size == NEEDS_CONTEXT:
            continue
        n = written[0]
        if size == FULL or n + 2 * size + 2 > len(out):
            return text
        i = 0
        bounds[text, 0] = n
        while i < size:
            found, i = cut(space.spelled, i, size, False, space.bounds)
            for k in range(0, found, 2):
                if n > bounds[text, 0]:
                    out[n] = BLANK
                    n += 1
                for at in range(space.bounds[k], space.bounds[k + 1]):
                    out[n] = space.spelled[at]
                    n += 1
        bounds[text, 1] = n
        written[0] = n
        todo[text] = False
    return len(todo)
