"""Compiled: the counts of curate.kernels.measuring, one text at a time, and its n-grams."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.kernels.jit import kernel, part
from curate.kernels.marks import (
    ALONE,
    BULLET,
    CASED,
    CLOSER,
    ENDS,
    FULL,
    LETTER,
    MARK,
    SENTENCE,
    SIGN,
    SPACE,
    UPPER,
    WORD,
)
from curate.kernels.normal import decode
from curate.kernels.words import ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; curate.kernels.measuring states them

COUNTS = (
    "tokens",
    "words",
    "word_characters",  # letters, digits, underscores and marks
    "lettered",  # tokens with a letter
    "alone",  # tokens of scripts that are written without spaces
    "characters",
    "letters",
    "capitals",
    "cased",  # letters that are capital or small
    "signs",  # of code
    "hashes",  # '#'
    "ellipses",  # '…', or three points and more in a row
    "braces",  # '{' and '}'
    "sentences",  # tokens that end one, quotes and brackets behind it left aside, and '。' and its like
    "stop_words",  # different ones
    "lines",  # those that are not blank
    "bullet_lines",  # that begin with a bullet
    "ellipsis_lines",  # that end in an ellipsis
    "ended_lines",  # that end in a punctuation mark that can end a sentence, or a quote
    "short_lines",  # of fewer than SHORT characters, the spaces within included
    "scant_lines",  # of fewer than SCANT words
    "repeated_lines",  # whose tokens are those of a line before
    "repeated_line_characters",
    "paragraphs",  # lines without a blank one between them
    "repeated_paragraphs",
    "repeated_paragraph_characters",
    *(f"top_{n}" for n in (2, 3, 4)),  # characters of the most frequent n-gram, times its count; 0 for one
    *(f"again_{n}" for n in range(5, 11)),  # characters in n-grams that have stood before, each once
    "fenced",  # characters of fenced code, which nothing else counts
    "open_fence",  # 1 if the text ends inside of it
)
SHORT, SCANT = 30, 5
(_TOKENS, _WORDS, _WORD_CHARACTERS, _LETTERED, _ALONE, _CHARACTERS, _LETTERS, _CAPITALS, _CASED, _SIGNS, _HASHES,
 _ELLIPSES, _BRACES, _SENTENCES, _STOP_WORDS, _LINES, _BULLET_LINES, _ELLIPSIS_LINES, _ENDED_LINES, _SHORT_LINES,
 _SCANT_LINES, _REPEATED_LINES, _, _PARAGRAPHS, _REPEATED_PARAGRAPHS) = range(25)  # fmt: skip  # as COUNTS has them
_FENCED, _OPEN_FENCE = COUNTS.index("fenced"), COUNTS.index("open_fence")

U64, ZERO = np.uint64, np.uint64(0)
_NEW_LINE, _POINT, _HASH, _OPEN, _CLOSE = (np.int64(ord(sign)) for sign in "\n.#{}")
_TICK, _TILDE, _ELLIPSIS = np.int64(ord("`")), np.int64(ord("~")), np.int64(0x2026)
_ASCII = np.int64(0x80)
_PRIME, _BASIS = U64(0x100000001B3), U64(0xCBF29CE484222325)  # FNV-1a (Fowler, Noll, Vo)


class Room(NamedTuple):
    """Room to work in, for one text at a time; a slot is taken where its stamp is of the day."""

    hashes: npt.NDArray[np.uint64]  # [tokens]
    ends: npt.NDArray[np.int32]  # [tokens + 1] characters before each token
    keys: npt.NDArray[np.uint64]  # [tokens] of n-grams
    places: npt.NDArray[np.int32]  # [tokens] where they begin
    states: npt.NDArray[np.uint8]  # [tokens] 1: stands again; 2: has stood before
    slots: npt.NDArray[np.uint64]  # [a power of two]
    stamps: npt.NDArray[np.int64]
    firsts: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int32]
    day: npt.NDArray[np.int64]  # [1]


@part
def noted(h: Any, place: int, mask: Any, room: Any) -> Any:
    """Note a hash of today; return the slot, whose first is ``place`` and count 1 if it is new."""
    at = np.int64(h & mask)
    while room.stamps[at] == room.day[0]:
        if room.slots[at] == h:
            room.counts[at] += 1
            return at
        at = (at + 1) & np.int64(mask)
    room.stamps[at] = room.day[0]
    room.slots[at] = h
    room.firsts[at] = place
    room.counts[at] = 1
    return at


@part
def mask_of(members: int) -> Any:
    """Return the mask of a table that so many members fill by half at most."""
    size = 64
    while size < 2 * members:
        size *= 2
    return U64(size - 1)


@part
def _char(data: Array, i: Any, end: Any) -> Any:
    """Return the code point at byte i and its width."""
    code = np.int64(data[i])
    return (code, 1) if code < _ASCII else decode(data, i, end)


@part
def _is_fence(data: Array, i: Any, end: Any) -> Any:
    first = data[i]
    if i + 3 > end or (first != _TICK and first != _TILDE):
        return False
    return data[i + 1] == first and data[i + 2] == first


@part
def _token(data: Array, i: Any, end: Any, flags: Array, out: Array) -> Any:
    """Count the token at byte i; return its end, hash, characters, bits, last character, points, and the word.

    The points are those in a row at its end, the word its letters as one number, 0 if it is longer or not ASCII.
    """
    h, size, packed, packs, bits, code, points = _BASIS, 0, ZERO, 0, np.uint16(0), _POINT, 0
    characters = letters = capitals = cased = signs = 0
    over = False
    while i < end:
        after, width = _char(data, i, end)
        kind = flags[after]
        apart = ((kind | bits) & ALONE) != 0 and (kind & MARK) == 0
        if (kind & SPACE) != 0 or (size > 0 and apart):
            break
        code = after
        for k in range(width):
            h = (h ^ U64(data[i + k])) * _PRIME
        i += width
        size += 1
        bits |= kind
        signs += (kind & SIGN) != 0
        if kind & WORD:
            characters += 1
            packs += 1 if code < _ASCII else 9
            packed = (packed << U64(8)) | U64((code | 0x20) & 0xFF)
            letters += (kind & LETTER) != 0
            capitals += (kind & UPPER) != 0
            cased += (kind & CASED) != 0
            points = 0
            over = False
        else:
            points = points + 1 if code == _POINT else 0
            out[_ELLIPSES] += points == 3 or code == _ELLIPSIS
            out[_HASHES] += code == _HASH
            out[_BRACES] += code in (_OPEN, _CLOSE)
            out[_SENTENCES] += (kind & FULL) != 0
            over = (kind & SENTENCE) != 0 or (over and (kind & CLOSER) != 0)
    out[_SENTENCES] += over
    out[_WORD_CHARACTERS] += characters
    out[_LETTERS] += letters
    out[_CAPITALS] += capitals
    out[_CASED] += cased
    out[_SIGNS] += signs
    return i, finish(h), size, bits, code, points, packed if packs <= 8 else ZERO


@part
def _line(data: Array, i: Any, end: Any, flags: Array, stops: Array, room: Any, out: Array, seen: int) -> Any:
    """Count the line whose first character is at byte i; return where it ends, its hash, the stop words seen so far."""
    line, length, gap, words = ZERO, 0, 0, out[_WORDS]
    last, points = _POINT, 0
    out[_BULLET_LINES] += (flags[_char(data, i, end)[0]] & BULLET) != 0
    while i < end and data[i] != _NEW_LINE:
        code, width = _char(data, i, end)
        if flags[code] & SPACE:
            gap += 1
            i += width
            continue
        i, h, size, bits, last, points, word = _token(data, i, end, flags, out)
        tokens = out[_TOKENS]
        room.hashes[tokens] = h
        room.ends[tokens + 1] = room.ends[tokens] + size
        line = (line + h) * ODD + U64(1)
        length += gap + size
        gap = 0
        out[_TOKENS] += 1
        out[_WORDS] += (bits & WORD) != 0
        out[_LETTERED] += (bits & LETTER) != 0
        out[_ALONE] += (bits & ALONE) != 0
        for k in range(len(stops)):
            if stops[k] == word:
                seen |= 1 << k
    out[_LINES] += 1
    out[_ENDED_LINES] += (flags[last] & ENDS) != 0
    out[_ELLIPSIS_LINES] += points >= 3 or last == _ELLIPSIS
    out[_SHORT_LINES] += length < SHORT
    out[_SCANT_LINES] += out[_WORDS] - words < SCANT
    return i, finish(line), seen


@part
def _repeated(h: Any, number: Any, begins: Any, mask: Any, room: Any, out: Array, at: int) -> None:
    """Note a line or paragraph; if it stood there before, count it in out[at] and its characters in out[at + 1]."""
    if room.firsts[noted(h, number, mask, room)] != number:
        out[at] += 1
        out[at + 1] += room.ends[out[_TOKENS]] - room.ends[begins]


@kernel
def read_text(data: Array, i: Any, end: Any, flags: Array, stops: Array, room: Any, out: Array) -> None:
    """Count all but n-grams; leave the tokens in the room."""
    seen, fenced, paragraph, paragraph_from = 0, False, ZERO, np.int64(-1)
    room.ends[0] = 0
    room.day[0] += 1
    mask = mask_of((end - i) // 2 + 1)  # a line takes two bytes at least
    while i <= end:
        while i < end and data[i] != _NEW_LINE:  # white space in front
            code, width = _char(data, i, end)
            if (flags[code] & SPACE) == 0:
                break
            i += width
        blank = i >= end or data[i] == _NEW_LINE
        fence = not blank and _is_fence(data, i, end)
        if fence or fenced:
            fenced ^= fence
            while i < end and data[i] != _NEW_LINE:
                code, width = _char(data, i, end)
                out[_FENCED] += (flags[code] & SPACE) == 0
                i += width
        elif not blank:
            begins = out[_TOKENS]
            i, line, seen = _line(data, i, end, flags, stops, room, out, seen)
            _repeated(line, out[_LINES], begins, mask, room, out, _REPEATED_LINES)
            if paragraph_from < 0:
                paragraph, paragraph_from = ZERO, begins
            paragraph = (paragraph + line) * ODD + U64(3)
        i += 1
        if paragraph_from >= 0 and (blank or i > end):
            out[_PARAGRAPHS] += 1
            number = -1 - out[_PARAGRAPHS]
            _repeated(finish(paragraph ^ ODD), number, paragraph_from, mask, room, out, _REPEATED_PARAGRAPHS)
            paragraph_from = np.int64(-1)
    out[_CHARACTERS] = room.ends[out[_TOKENS]]
    out[_OPEN_FENCE] = fenced
    while seen:
        out[_STOP_WORDS] += seen & 1
        seen >>= 1
