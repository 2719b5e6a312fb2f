"""What each Unicode character is to a language detector, and how a word is compared with another."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.kernels import folding
from curate.kernels.chars import ALONE, WORD
from curate.kernels.chars import MARK as COMBINING
from curate.kernels.jit import part
from curate.kernels.normal import decode
from curate.kernels.words import ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; Signs states them

_U64 = np.uint64

CODE = b"=<>{}[]()_\\/|*+#$^~&%`;0123456789"
"""A run of printable ASCII characters with one of these is no prose. With @, :// or www. it is an address."""
PUNCTUATION = ".,;:!?\"'\u2019\u201c\u201d-\u2013\u2014"  # at a word's ends, makes no other word of it

# What a character is: one bit each, the weight of a letter in two.
LETTER, SPACE, MARK, UPPER, LOWER, STOP, TWO, FOUR = (np.uint8(1 << bit) for bit in range(8))
# What an ASCII character is: of an address, of code, the end of a run, to be looked at; the rest is its weight, in
# thirds of a letter.
AT, CODE_SIGN, GAP, LOOK = (np.uint8(1 << bit) for bit in range(4))
WEIGHT = np.uint8(4)  # where that begins
THIRDS = 3

# Scripts that say more per letter than Latin, and how much more: those written without vowels or with vowel
# signs (Hebrew to Sinhala), and those of syllables and words (Thai to Myanmar, Khmer, kana, Han, Hangul).
_DENSE = (
    (0x590, 0xDFF, TWO),
    (0xE00, 0x109F, FOUR),
    (0x1780, 0x17FF, FOUR),
    (0x3040, 0x30FF, FOUR),
    (0x3400, 0x9FFF, FOUR),
    (0xAC00, 0xD7AF, FOUR),
    (0xF900, 0xFAFF, FOUR),
)
CASED = 0x1F000  # every character above is its own lower case
CHEROKEE = slice(0x13A0, 0x13F6)
"""Cherokee's usual letters. Unicode 8 made capitals of them, but nobody writes its small ones, and CLD2 knows none."""


class Signs(NamedTuple):
    """What each character is."""

    kinds: npt.NDArray[np.uint8]  # [0x110000] bits of LETTER … FOUR
    lower: npt.NDArray[np.int32]  # [CASED] its lower case: the first character of ``str.lower``
    ascii: npt.NDArray[np.uint8]  # [128] bits of AT … LOOK and the weight


@lru_cache(maxsize=1)
def signs() -> Signs:
    """Return what each character is; made in 0.1 s, once per process."""
    classes = folding.characters().classes
    kinds = np.zeros(0x110000, np.uint8)
    words = np.flatnonzero((classes == WORD) | (classes == ALONE)).tolist()
    kinds[[code for code in words if not chr(code).isdecimal() and code != ord("_")]] = LETTER
    kinds[classes == COMBINING] = MARK
    for first, last, times in _DENSE:
        block = kinds[first : last + 1]
        block[block == LETTER] |= times
    cased = [*map(chr, range(CASED))]
    kinds[:CASED][np.fromiter(map(str.isupper, cased), bool, CASED)] |= UPPER
    kinds[:CASED][np.fromiter(map(str.islower, cased), bool, CASED)] |= LOWER
    kinds[CHEROKEE] &= ~UPPER
    kinds[[code for code in range(0x3001) if chr(code).isspace()]] |= SPACE
    kinds[refused()] |= SPACE
    kinds[[*map(ord, PUNCTUATION)]] |= STOP
    ascii_ = (kinds[:128] & LETTER) * np.uint8(THIRDS << WEIGHT)
    ascii_[[*b"0123456789"]] = 1 << WEIGHT
    ascii_[(kinds[:128] & SPACE) != 0] = GAP
    ascii_[[*CODE]] |= CODE_SIGN
    ascii_[[*b"./`"]] |= LOOK
    ascii_[ord("@")] |= AT
    lower = np.array([ord(char.lower()[0]) for char in cased], np.int32)
    lower[CHEROKEE] = np.arange(CHEROKEE.start, CHEROKEE.stop)
    for array in (kinds, lower, ascii_):
        array.flags.writeable = False
    return Signs(kinds, lower, ascii_)


def refused() -> list[int]:
    """Return the code points that are blanked: control characters, and noncharacters (Unicode 16, 23.7).

    pycld2 0.42 raises an error on all of them but tab, line feed, form feed and carriage return; found by
    giving it every code point.
    """
    ends = [plane << 16 | last for plane in range(17) for last in (0xFFFE, 0xFFFF)]
    return [*range(0x20), *range(0x7F, 0xA0), *range(0xFDD0, 0xFDF0), *ends]


@part
def weight(kind: Any) -> int:
    """Return how many letters a character counts as, 0 if it is none."""
    if kind & LETTER == 0:
        return 0
    return 4 if kind & FOUR else 2 if kind & TWO else 1


@part
def lowered(code: int, how: Any) -> Any:
    """Return a character's lower case."""
    return how.lower[code] if code < CASED else code


@part
def look(text: Array, start: int, end: int, how: Any) -> Any:
    """Return a word's hash, without case and the punctuation at its ends; its characters; capitals less small ones."""
    h = hashed = _U64(0)
    count = 0
    raised: Any = 0
    i = start
    begun = False
    while i < end:
        code, width = decode(text, i, end)
        kind = how.kinds[code]
        i += width
        count += 1
        raised += np.int64((kind & UPPER) != 0) - np.int64((kind & LOWER) != 0)
        stop = (kind & STOP) != 0
        begun = begun or not stop
        if begun:
            h = (h ^ _U64(lowered(code, how) + 1)) * ODD
            h ^= h >> _U64(32)
            if not stop:
                hashed = h
    return finish(hashed), count, raised
