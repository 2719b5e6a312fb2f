"""Compiled: texts cut into words, words hashed, their n-grams hashed. curate.kernels.text defines what is what.

A text that is not ASCII, or whose symbols count as words, is first spelled out in a form in which words are
runs of word bytes; one tokeniser then serves all.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.chars import ALONE, BREAK, MARK, SPACE, WORD
from curate.kernels.jit import kernel, part
from curate.kernels.lanes import (
    BYTES,
    copy_lower,
    load64,
    mum,
    ones,
    space_mask,
    trailing_zeros,
    word_mask,
)
from curate.kernels.normal import BLANK, FULL, NEEDS_CONTEXT, below, decode, read_char

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U32, _U64 = np.uint32, np.uint64
_ASCII = np.uint8(0x80)
# Odd constants of wyhash (Wang Yi, public domain); none of them is valid UTF-8, so no text cancels one out.
K1, K2 = _U64(0xA0761D6478BD642F), _U64(0xE7037ED1A0B428DB)
ODD = _U64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, made odd
_MIX = _U64(0xD6E8FEB86659FD93)  # multiplier of the finalizer rrmxmx (Evensen)
_HALF, _ZERO, _ONE, _ALL = _U64(32), _U64(0), _U64(1), _U64(0xFFFFFFFFFFFFFFFF)
BLOCK = 2048  # words that are cut at a time: they and their hashes stay in the nearest caches
MOST_NGRAM = 64


@part
def hash_bytes(data: Array, start: int, size: int) -> Any:
    """Hash data[start:start + size]; reads up to 16 bytes beyond.

    h = size * ODD; per whole 16 bytes before the last 1 to 16: h = mum(x ^ K1 ^ h, y ^ K2), x and y the two
    little-endian halves; then so again for the last, zeros in place of what is not there.
    """
    h = _U64(size) * ODD
    while size > 16:
        h = mum(load64(data, start) ^ K1 ^ h, load64(data, start + 8) ^ K2)
        start += 16
        size -= 16
    # No branch here: word lengths cannot be foreseen. And no shift by 64, which may do anything: two by half.
    near, far = _U64(4 * min(size, 8)), _U64(4 * (size - min(size, 8)))
    x = load64(data, start) & ~((_ALL << near) << near)
    y = load64(data, start + 8) & ~((_ALL << far) << far)
    return mum(x ^ K1 ^ h, y ^ K2)


@part
def finish(h: Any) -> Any:
    """Mix a sum of products until each bit depends on all."""
    h = (h ^ (h >> _HALF)) * _MIX
    return h ^ (h >> _HALF)


@part
def _lower_ascii(data: Array, start: int, end: int, out: Array) -> bool:
    """Write a text, lower-cased; return whether all of it is ASCII. Reads and writes up to 64 bytes beyond."""
    found, n = _ZERO, 0
    for i in range(start, end, BYTES):
        found |= copy_lower(data, i, out, n) & below(end - i)
        n += BYTES
    return found == _ZERO


@part
def _put(data: Array, i: int, width: int, kind: int, symbols: bool, state: int, out: Array, n: int) -> Any:
    """Append one character as the tokeniser wants it; return n and the kind of the word that it may go on."""
    if kind == MARK and state not in (WORD, ALONE):
        kind = SPACE
    if kind == SPACE or (kind == BREAK and not symbols):
        out[n] = BLANK
        return n + 1, np.int64(BREAK)
    if kind in (ALONE, BREAK) or (kind == WORD and state == ALONE):
        out[n] = BLANK
        n += 1
    for k in range(width):
        out[n + k] = data[i + k]
    n += width
    if kind == BREAK:
        out[n] = BLANK
        n += 1
    return n, state if kind == MARK else np.int64(kind)


@part
def spell(data: Array, start: int, end: int, folded: bool, symbols: bool, how: Any, out: Array) -> int:
    """Write a text as the tokeniser wants it; return the bytes written, NEEDS_CONTEXT or FULL.

    ``out`` has 64 bytes more than the text at least.
    """
    if end + BYTES <= len(data) and _lower_ascii(data, start, end, out):
        return end - start
    return _spell_out(data, start, end, folded, symbols, how, out)


@kernel
def _spell_out(data: Array, start: int, end: int, folded: bool, symbols: bool, how: Any, out: Array) -> int:
    """Write a text, folded, with a space between any two words that nothing parts and for what is no word.

    With ``symbols``, what is no word and no white space stays, parted from what is beside it. ASCII breaks
    stay as they are: the tokeniser knows them.
    """
    i, n, rank, state = start, 0, np.uint8(0), BREAK
    while i < end:
        if n + 3 * BYTES > len(out):
            return FULL
        if data[i] < _ASCII and i + BYTES <= len(data):
            if state == ALONE:
                out[n] = BLANK
                n += 1
            plain = min(trailing_zeros(copy_lower(data, i, out, n)), end - i)
            i += plain
            n += plain
            rank, state = np.uint8(0), np.int64(how.classes[data[i - 1]])
            continue
        code, width, entry = read_char(data, i, end, folded, rank, how)
        if entry < 0:
            return NEEDS_CONTEXT
        rank = how.ranks[code]
        if entry == 0:
            n, state = _put(data, i, width, np.int64(how.classes[code]), symbols, state, out, n)
        else:
            k, last = np.int64(how.bounds[entry]), np.int64(how.bounds[entry + 1])
            while k < last:
                part, size = decode(how.pool, k, last)
                n, state = _put(how.pool, k, size, np.int64(how.classes[part]), symbols, state, out, n)
                k += size
        i += width
    return n


@part
def _positions(mask: Any, i: int, out: Array, n: int) -> int:
    """Write i + k for each set bit k to out[n], out[n + 2], …; return the n behind."""
    count = ones(mask)
    for k in range(n, n + 2 * count, 16):  # eight at a time, too many at the end: no branch on each
        for j in range(0, 16, 2):
            out[k + j] = i + trailing_zeros(mask)
            mask &= mask - _U64(1)
    return n + 2 * count


@part
def cut(text: Array, i: int, end: int, symbols: bool, bounds: Array) -> Any:
    """Write start and end of the words of text[i:end], as many as ``bounds`` takes, one at least.

    Words are runs of word bytes, and with ``symbols`` each other byte that is no white space. Returns twice
    the number of words, and where to go on. Reads up to 64 bytes beyond the end.
    """
    limit = len(bounds) - 4 * BYTES
    starts, ends, before = 0, 1, _ZERO  # before: whether the byte before is of a word
    while i < end and (starts < limit or (starts == 2 and ends == 1)):
        valid = below(end - i)
        word = word_mask(text, i) & valid
        alone = ~word & ~space_mask(text, i) & valid if symbols else _ZERO
        shifted = (word << _ONE) | before
        starts = _positions((word & ~shifted) | alone, i, bounds, starts)
        ends = _positions((shifted & ~word) | (alone << _ONE), i, bounds, ends)
        if alone >> _U64(63):  # a symbol in the last place ends behind what this mask can tell
            bounds[ends] = i + BYTES
            ends += 2
        before = word >> _U64(63)
        i += BYTES
    if before == _ZERO:
        return starts, i
    if i < end:  # the last word goes on: it is the first of the next call
        return starts - 2, bounds[starts - 2]
    bounds[ends] = end
    return starts, end


@part
def hash_ngrams(words: Array, count: int, ngram: int, salt: Any, out: Array, n: int) -> int:
    """Append finish(h(n)) of h(0) = salt, h(i) = h(i - 1) * ODD + word i, per n-gram to out[:n]."""
    if ngram == 5:  # the same loop, which the compiler unrolls: twice as fast
        for i in range(count - 4):
            h = salt
            for k in range(5):
                h = h * ODD + words[i + k]
            out[n + i] = finish(h)
        return max(n, n + count - 4)
    for i in range(count - ngram + 1):
        h = salt
        for k in range(ngram):
            h = h * ODD + words[i + k]
        out[n + i] = finish(h)
    return max(n, n + count - ngram + 1)


@part
def hash_whole(data: Array, size: int, salt: Any) -> Any:
    """Return the one shingle of a normalised text of too few words: of all its bytes and their number."""
    return finish(hash_bytes(data, 0, size) ^ finish(salt ^ ODD ^ _U64(size)))


CHUNK = 64  # bytes of a text that are hashed at a time, in a copy where there is nothing to read behind


@kernel
def hash_turns(data: Array, offsets: Array, first: Array, room: Array, out: Array) -> None:
    """Write a hash of the turns first[i]:first[i + 1] of each record i. ``room`` has twice CHUNK bytes."""
    for record in range(len(out)):
        h = _U64(first[record + 1] - first[record])
        for turn in range(first[record], first[record + 1]):
            h = finish((h ^ _U64(offsets[turn + 1] - offsets[turn])) * ODD)
            for start in range(offsets[turn], offsets[turn + 1], CHUNK):
                size = min(CHUNK, offsets[turn + 1] - start)
                if start + size + 16 <= len(data):
                    piece = hash_bytes(data, start, size)
                else:
                    for k in range(size):
                        room[k] = data[start + k]
                    piece = hash_bytes(room, 0, size)
                h = finish((h ^ piece) * ODD)
        out[record] = h
