"""Compiled: texts folded and their white space made single, 64 bytes at a time where they are ASCII."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.chars import SPACE
from curate.kernels.folding import ORDERED
from curate.kernels.jit import kernel, part
from curate.kernels.lanes import BYTES, copy_plain, high_mask, space_mask, trailing_zeros

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64
_ALL = _U64(0xFFFFFFFFFFFFFFFF)
_ONE, _TOP = _U64(1), _U64(63)
NEEDS_CONTEXT, FULL = -1, -2  # what a kernel answers instead of a length
BLANK = np.uint8(32)


@part
def decode(data: Array, i: int, end: int) -> Any:
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


@part
def read_char(data: Array, i: int, end: int, folded: bool, rank: Any, how: Any) -> Any:
    """Return a character's code point, its width, and its entry in how.pool: 0 if it stays as it is.

    The entry is negative if the text must be folded as a whole (curate.kernels.folding.characters); ``rank`` is
    the combining class of what stands before. In a text that is ``folded`` already, all stays.
    """
    code, width = decode(data, i, end)
    entry = np.int32(0) if folded else how.entry[code]
    if entry == ORDERED and how.ranks[code] >= rank:
        entry = np.int32(0)
    return code, width, entry


@part
def below(count: int) -> Any:
    """Return a mask of the lowest ``count`` bits, 0 to 64."""
    return _ALL if count >= 64 else (_ONE << _U64(count)) - _ONE


@part
def _append_plain(data: Array, i: int, size: int, extra: Any, out: Array, n: int) -> int:
    """Append data[i:i + size] (ASCII, at most 64 bytes) without the bytes that ``extra`` marks."""
    at = 0
    while at < size:
        length = min(trailing_zeros(extra >> _U64(at)), size - at)
        copy_plain(data, i + at, out, n)
        n += length
        at += length
        if at < size:
            at += trailing_zeros(~(extra >> _U64(at)))
    return n


@part
def normalise(
    data: Array, start: int, end: int, folded: bool, how: Any, out: Array, base: int, n: int
) -> int:
    """Append a text to out[base:n], folded, each run of white space one space, and none at out[base].

    ``folded`` texts are folded already. Returns the new n, NEEDS_CONTEXT or FULL. The caller takes off a
    space at the end.
    """
    i, rank = start, np.uint8(0)
    blank = n == base or out[n - 1] == BLANK
    while i < end:
        if n + 2 * BYTES > len(out):
            return FULL
        size = min(BYTES, end - i)
        if i + 2 * BYTES <= len(data) and high_mask(data, i) & below(size) == _U64(0):
            spaces = space_mask(data, i) & below(size)
            extra = spaces & ((spaces << _ONE) | _U64(blank))
            n = _append_plain(data, i, size, extra, out, n)
            blank = (spaces >> _U64(size - 1)) & _ONE != _U64(0)
            rank = np.uint8(0)
            i += size
            continue
        stop = i + size
        while i < stop:
            code, width, entry = read_char(data, i, end, folded, rank, how)
            if entry < 0:
                return NEEDS_CONTEXT
            rank = how.ranks[code]
            if entry == 0 and how.classes[code] == SPACE:
                if not blank:
                    out[n] = BLANK
                    n += 1
                blank = True
            elif entry == 0:
                for k in range(width):
                    out[n + k] = data[i + k]
                n += width
                blank = False
            else:
                if n + BYTES > len(out):
                    return FULL
                for k in range(how.bounds[entry], how.bounds[entry + 1]):
                    if how.pool[k] != BLANK or not blank:
                        out[n] = how.pool[k]
                        n += 1
                    blank = how.pool[k] == BLANK
            i += width
            if n + BYTES > len(out):
                return FULL
    return n


@kernel
def normalise_all(
    data: Array, starts: Array, ends: Array, folded: Array, how: Any, first: int, out: Array, out_offsets: Array,
    needy: Array,
) -> int:  # fmt: skip
    """Write texts [first:], normalised, end to end; return how many texts there are when all is written.

    Where ``out`` is full, the number of the text that it was full at. A text that needs its context is left
    empty and marked in ``needy``.
    """
    n = out_offsets[first]
    for text in range(first, len(starts)):
        base = n
        got = normalise(data, starts[text], ends[text], folded[text], how, out, base, n)
        if got == FULL:
            return text
        if got == NEEDS_CONTEXT:
            needy[text] = True
            got = base
        if got > base and out[got - 1] == BLANK:
            got -= 1
        n = got
        out_offsets[text + 1] = n
    return len(starts)
