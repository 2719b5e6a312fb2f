"""Normalisation character by character, for the texts in which that is the same as normalising the whole."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels.chars import ASSIGNED

SAME, CONTEXT = 0, -1


class Folding(NamedTuple):
    """What each character becomes by itself."""

    entry: npt.NDArray[np.int32]  # [0x110000] SAME, CONTEXT (needs its neighbours), or an entry of the pool
    pool: npt.NDArray[np.uint8]  # UTF-8 of all replacements, end to end
    bounds: npt.NDArray[np.int32]  # entry k is pool[bounds[k]:bounds[k + 1]]; entry 0 is not used


def fold(text: str) -> str:
    """Return NFKC of the case folding of NFKC of the text (folding can undo NFKC: UAX #15, section 5)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1)
def table() -> Folding:
    """Return the folding of every character.

    NFKC(xy) = NFKC(x) NFKC(y) if y's decomposition begins with a starter (combining class 0) that composes
    with nothing before it (UAX #15, section 9.1). A text of which every character begins so, and folds to
    something that begins so, is folded character by character. All others are CONTEXT.
    """
    joining = _joining()
    entry = np.zeros(0x110000, np.int32)
    pool = bytearray()
    bounds = [0, 0]
    for codes in ASSIGNED:
        for code in codes:
            char = chr(code)
            if 0xD800 <= code < 0xE000:  # surrogates: not in UTF-8
                continue
            if unicodedata.is_normalized("NFKC", char) and char.casefold() == char:
                if _attaches(char, joining):
                    entry[code] = CONTEXT
                continue
            folded = fold(char)
            if _attaches(char, joining) or _attaches(folded, joining):
                entry[code] = CONTEXT
                continue
            pool += folded.encode()
            entry[code] = len(bounds) - 1
            bounds.append(len(pool))
    return Folding(entry, np.frombuffer(bytes(pool), np.uint8), np.array(bounds, np.int32))


def _attaches(text: str, joining: frozenset[str]) -> bool:
    first = unicodedata.normalize("NFKD", text)[:1]
    return first in joining or (first != "" and unicodedata.combining(first) != 0)


def _joining() -> frozenset[str]:
    """Return the starters and marks that compose with a character before them."""
    hangul = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # vowels and finals
    found = {chr(code) for code in hangul}
    for codes in ASSIGNED:
        for code in codes:
            decomposed = unicodedata.decomposition(chr(code))
            if decomposed and decomposed[0] != "<" and " " in decomposed:
                found.add(chr(int(decomposed.split()[1], 16)))
    return frozenset(found)
