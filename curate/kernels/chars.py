"""What each Unicode character is to a shingle: of a word, a word by itself, a mark, white space, a break."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

BREAK, WORD, ALONE, MARK, SPACE = range(5)

# Blocks of the scripts that are written without spaces between words (Unicode Scripts.txt and Blocks.txt).
_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x2FDF),  # Han radicals
    (0x3005, 0x3007),  # Han iteration mark, closing mark, zero
    (0x3021, 0x3029),  # Han numerals (Hangzhou)
    (0x3031, 0x303C),  # kana repeat marks, further Han numerals
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),  # Katakana phonetic extensions
    (0x3400, 0x4DBF),  # Han extension A
    (0x4E00, 0x9FFF),  # Han
    (0xA9E0, 0xA9FF),  # Myanmar extended B
    (0xAA60, 0xAA7F),  # Myanmar extended A
    (0xF900, 0xFAFF),  # Han compatibility
    (0xFF66, 0xFF9F),  # halfwidth Katakana
    (0x116D0, 0x116FF),  # Myanmar extended C
    (0x16FE2, 0x16FFF),  # Han iteration and reading marks
    (0x1AFF0, 0x1B16F),  # Kana supplements and extensions
    (0x20000, 0x3FFFF),  # Han extensions B and later
)
# Letters, marks and spaces lie in planes 0 to 3 and among the variation selectors of plane 14.
ASSIGNED = (range(0x40000), range(0xE0000, 0xE0200))


@lru_cache(maxsize=1)
def classes() -> npt.NDArray[np.uint8]:
    """Return the class of every code point: [0x110000] of BREAK, WORD, ALONE, MARK, SPACE.

    * WORD: what ``\\w`` of Python's ``re`` matches (``str.isalnum`` or an underscore).
    * ALONE: the same in a script that is written without spaces: each such character is a word.
    * MARK: a combining mark (category M). It belongs to the word that it stands in or directly behind, as
      UTS #18 has it; ``\\w`` would cut Thai and Devanagari words at their vowel signs and lose the signs, so
      that different words became equal. Behind anything else, as in an emoji, it is a break.
    * SPACE: ``str.isspace``. BREAK: all else.
    """
    table = np.full(0x110000, BREAK, np.uint8)
    for codes in ASSIGNED:
        chars = [*map(chr, codes)]
        part = table[codes.start : codes.stop]
        part[np.fromiter(map(str.isalnum, chars), bool, len(chars))] = WORD
        part[np.fromiter(map(str.isspace, chars), bool, len(chars))] = SPACE
        for place in np.flatnonzero(part == BREAK).tolist():
            if unicodedata.category(chars[place])[0] == "M":
                part[place] = MARK
    table[ord("_")] = WORD
    for first, last in _UNSPACED:
        part = table[first : last + 1]
        part[part == WORD] = ALONE
    return table
