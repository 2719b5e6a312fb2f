"""Passages of a text: where they lie, how long they are, what they hash to, and what taking one out takes.

A *block* is a passage or a piece of code. ``data`` uint8 holds all texts' UTF-8 end to end, text i is
``data[offsets[i]:offsets[i + 1]]``; blocks are arrays [b] in reading order, their offsets in bytes of ``data``.
The slow twin is tests/reference/passages.py. All of this file is one cache unit (curate.kernels.jit).
"""

# numpy's scalar types are written out everywhere: numba promotes uint64 with a plain int to float64.
from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.jit import kernel

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call state them

OTHER, LETTER, UNSPACED = range(3)
"""What a character counts for: nothing, its word, itself (a letter of a script written without spaces)."""

_U64 = np.uint64
_TAB, _LF, _CR, _SPACE, _TICK, _TILDE, _QUOTE, _OPEN, _CLOSE = 9, 10, 13, 32, 96, 126, 62, 123, 125
_LEAST_FENCE = 3  # characters; CommonMark 0.31, section 4.5
_CODE_INDENT = 4  # columns; CommonMark 0.31, section 4.4; a tab counts as four
# MurmurHash3 x64 128 (Appleby, public domain).
_C1, _C2 = _U64(0x87C37B91114253D5), _U64(0x4CF5AD432745937F)
_D1, _D2 = _U64(0x52DCE729), _U64(0x38495AB5)
_F1, _F2 = _U64(0xFF51AFD7ED558CCD), _U64(0xC4CEB9FE1A85EC53)
_FIVE = _U64(5)


@kernel
def break_at(data: Array, i: int, end: int) -> int:
    """Return how many bytes the line break at byte i takes, 0 where there is none.

    Line breaks are those of Unicode's newline guidelines (section 5.8): CR LF, CR, LF, VT, FF, NEL, LS, PS.
    """
    byte = data[i]
    if byte == _CR:
        return 2 if i + 1 < end and data[i + 1] == _LF else 1
    if _LF <= byte < _CR:
        return 1
    if byte == 0xC2:
        return 2 if data[i + 1] == 0x85 else 0
    if byte == 0xE2 and data[i + 1] == 0x80:
        return 3 if data[i + 2] == 0xA8 or data[i + 2] == 0xA9 else 0
    return 0


@kernel
def _space_at(data: Array, i: int) -> int:
    """Return how many bytes the white space (``str.isspace``) at byte i takes, 0 where there is none."""
    byte = data[i]
    if byte < 0x80:
        return 1 if byte in (_SPACE, _TAB) or 0x1C <= byte <= 0x1F else 0
    if byte == 0xC2:
        return 2 if data[i + 1] == 0xA0 else 0
    if byte == 0xE1:
        return 3 if data[i + 1] == 0x9A and data[i + 2] == 0x80 else 0
    if byte == 0xE2:
        second, third = data[i + 1], data[i + 2]
        wide = second == 0x80 and (third <= 0x8A or third == 0xAF)
        return 3 if wide or (second == 0x81 and third == 0x9F) else 0
    if byte == 0xE3:
        return 3 if data[i + 1] == 0x80 and data[i + 2] == 0x80 else 0
    return 0


@kernel
def _line(data: Array, i: int, stop: int) -> Any:
    """Return where the line that begins at byte i ends, the bytes of its break, and whether it is blank."""
    while i < stop:
        width = _space_at(data, i)
        if not width:
            break
        i += width
    blank = i == stop or break_at(data, i, stop) > 0
    while i < stop:
        byte = data[i]
        if byte <= _CR or byte == 0xC2 or byte == 0xE2:
            width = break_at(data, i, stop)
            if width:
                return i, width, blank
        i += 1
    return i, 0, blank


@kernel
def _unprefixed(data: Array, i: int, end: int, lists: bool) -> int:
    """Return where a line's own text begins, behind indentation, quote marks and, if asked, list markers."""
    while i < end:
        byte = data[i]
        if byte in (_SPACE, _TAB, _QUOTE):
            i += 1
            continue
        if not lists:
            break
        digits = i
        while digits < end and 48 <= data[digits] <= 57:
            digits += 1
        ordered = digits > i and digits < end and (data[digits] == 46 or data[digits] == 41)  # 1. or 1)
        bullet = byte == 45 or byte == 42 or byte == 43  # - * +
        after = digits + 1 if ordered else i + 1
        if not (ordered or bullet) or after >= end or (data[after] != _SPACE and data[after] != _TAB):
            break
        i = after
    return i


@kernel
def _run(data: Array, i: int, end: int, byte: Any) -> int:
    n = 0
    while i + n < end and data[i + n] == byte:
        n += 1
    return n


@kernel
def _fence(data: Array, i: int, end: int) -> Any:
    """Return the character and the length of the fence that the line opens; 0, 0 where it opens none."""
    i = _unprefixed(data, i, end, True)
    if i >= end or (data[i] != _TICK and data[i] != _TILDE):
        return 0, 0
    mark = np.int64(data[i])
    length = _run(data, i, end, mark)
    if length < _LEAST_FENCE:
        return 0, 0
    if mark == _TICK:
        for k in range(i + length, end):
            if data[k] == _TICK:  # code within a line, not a fence
                return 0, 0
    return mark, length


@kernel
def _closes(data: Array, i: int, end: int, mark: int, length: int) -> bool:
    i = _unprefixed(data, i, end, False)
    run = _run(data, i, end, mark)
    return run >= length and _unprefixed(data, i + run, end, False) == end


@kernel
def _like_code(data: Array, i: int, end: int) -> bool:
    """Tell whether a line is indented as code is, or ends in a brace."""
    while end > i and data[end - 1] in (_SPACE, _TAB):
        end -= 1
    columns = 0
    for k in range(i, end):
        if data[k] == _TAB:
            columns += _CODE_INDENT
        elif data[k] == _SPACE:
            columns += 1
        else:
            break
    return columns >= _CODE_INDENT or (end > i and data[end - 1] in (_OPEN, _CLOSE))


@kernel
def cut(
    data: Array, offsets: Array, chosen: Array, by_line: bool, protect: bool,
    text: Array, start: Array, end: Array, code: Array, gap: Array,
) -> int:  # fmt: skip
    """Write the blocks of the chosen texts, and return their number.

    text: which text a block is of; start, end: whole lines without the last one's break; code: whether it is
    code; gap: line breaks between it and the block before it or the text's start, U+2029 counting as two.
    """
    n = 0
    for t in range(len(offsets) - 1):
        if not chosen[t]:
            continue
        i, stop = offsets[t], offsets[t + 1]
        mark, length, breaks = 0, 0, 0  # of the open fence; since the last block
        before = -1  # what the line before belongs to: -1 nothing, 0 a paragraph, 1 a fenced block
        while i < stop:
            last, width, blank = _line(data, i, stop)
            here, like_code = 0, False
            if mark:
                here = 1
                if _closes(data, i, last, mark, length):
                    mark = 0
            elif blank:
                here = -1
            elif protect:
                mark, length = _fence(data, i, last)
                if mark:
                    here, before = 1, -1
                else:
                    like_code = _like_code(data, i, last)
            if here >= 0:
                if here == before and (here == 1 or not by_line):
                    end[n - 1] = last
                    code[n - 1] |= like_code
                else:
                    text[n], start[n], end[n], code[n], gap[n] = t, i, last, here == 1 or like_code, breaks
                    n += 1
                breaks = 0
            before = -1 if here == 1 and not mark else here
            if width == 3 and data[last + 2] == 0xA9:  # the paragraph separator
                breaks += 2
                if not mark:
                    before = -1
            elif width:
                breaks += 1
            i = last + width
    return n


@kernel
def measure(
    data: Array, offsets: Array, kinds: Array, min_words: int, min_chars: int, long: Array, high: Array,
    low: Array,
) -> None:  # fmt: skip
    """Tell which normalised passages [p] are long enough, and hash those to two halves.

    A word is a run of anything but spaces with a LETTER in it; UNSPACED characters count themselves. Long
    enough is words / min_words + characters / min_chars >= 1. The hash is MurmurHash3_x64_128 with seed 0.
    """
    for t in range(len(offsets) - 1):
        i, stop = offsets[t], offsets[t + 1]
        words, chars, inside, enough = 0, 0, False, False
        while i < stop and not enough:
            code, width = np.int64(data[i]), 1
            if code == _SPACE:
                inside = False
            else:
                if code >= 0x80:
                    width = 2 if code < 0xE0 else 3 if code < 0xF0 else 4
                    code &= 0x7F >> width
                    for k in range(1, width):
                        code = (code << 6) | (np.int64(data[i + k]) & 0x3F)
                kind = kinds[code]
                if kind == LETTER and not inside:
                    inside = True
                    words += 1
                elif kind == UNSPACED:
                    chars += 1
                enough = words * min_chars + chars * min_words >= min_words * min_chars
            i += width
        long[t] = enough
        if enough:
            high[t], low[t] = _murmur(data, offsets[t], stop)


@kernel
def _rotated(x: Any, bits: int) -> Any:
    return (x << _U64(bits)) | (x >> _U64(64 - bits))


@kernel
def _word(data: Array, i: int, size: int) -> Any:
    """Return up to eight bytes as a little-endian number."""
    x = _U64(0)
    for k in range(size):
        x |= _U64(data[i + k]) << _U64(8 * k)
    return x


@kernel
def _mixed(h: Any) -> Any:
    h = (h ^ (h >> _U64(33))) * _F1
    h = (h ^ (h >> _U64(33))) * _F2
    return h ^ (h >> _U64(33))


@kernel
def _murmur(data: Array, start: int, end: int) -> Any:
    h1, h2, i = _U64(0), _U64(0), start
    while i + 16 <= end:
        h1 ^= _rotated(_word(data, i, 8) * _C1, 31) * _C2
        h1 = (_rotated(h1, 27) + h2) * _FIVE + _D1
        h2 ^= _rotated(_word(data, i + 8, 8) * _C2, 33) * _C1
        h2 = (_rotated(h2, 31) + h1) * _FIVE + _D2
        i += 16
    h1 ^= _rotated(_word(data, i, min(end - i, 8)) * _C1, 31) * _C2
    h2 ^= _rotated(_word(data, i + 8, max(end - i - 8, 0)) * _C2, 33) * _C1
    h1, h2 = h1 ^ _U64(end - start), h2 ^ _U64(end - start)
    h1 += h2
    h2 += h1
    h1, h2 = _mixed(h1), _mixed(h2)
    h1 += h2
    return h1, h2 + h1
