"""Normalisation character by character, for the texts in which that is the same as normalising the whole."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import unicodedata
import zipfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.kernels import chars
from curate.kernels.chars import ASSIGNED

SAME, CONTEXT, ORDERED = 0, -1, -2
_BLOCK = 128


class Characters(NamedTuple):
    """What each character is and what it becomes by itself."""

    classes: npt.NDArray[np.uint8]  # [0x110000] curate.kernels.chars.classes
    entry: npt.NDArray[np.int32]  # [0x110000] SAME, CONTEXT, ORDERED, or an entry of the pool
    ranks: npt.NDArray[np.uint8]  # [0x110000] combining class of the last character that it becomes
    pool: npt.NDArray[np.uint8]  # UTF-8 of all replacements, end to end
    bounds: npt.NDArray[np.int32]  # entry k is pool[bounds[k]:bounds[k + 1]]; entry 0 is not used


def fold(text: str) -> str:
    """Return NFKC of the case folding of NFKC of the text (folding can undo NFKC: UAX #15, section 5)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@lru_cache(maxsize=1)
def characters() -> Characters:
    """Return the folding of every character; kept beside the compiled kernels, because it takes 0.2 s to make."""
    from curate.kernels.jit import cache

    kept = Path(cache()) / f"characters-{unicodedata.unidata_version}.npz"
    try:
        with np.load(io.BytesIO(kept.read_bytes())) as found:
            return Characters(*(found[name] for name in Characters._fields))
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        zipfile.BadZipFile,
    ):  # not there, or not whole: made anew
        made = _made()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, nothing else
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_name(f"{kept.stem}.{os.getpid()}.npz")
        np.savez(unfinished, **made._asdict())
        unfinished.replace(kept)
    return made


def _made() -> Characters:
    """Make the table.

    NFKC(xy) = NFKC(x) NFKC(y) if y's decomposition begins with a starter (combining class 0) that composes
    with nothing before it (UAX #15, section 9.1). A text of which every character begins so, and folds to
    something that begins so, is folded character by character. So is one with marks that compose with nothing
    and stay as they are, as Thai, Hindi and Arabic have them, as long as each one's class is not below the
    class before it: canonical ordering moves only those (ORDERED). All others need their neighbours (CONTEXT).
    """
    joining = _joining()
    entry = np.zeros(0x110000, np.int32)
    ranks = np.zeros(0x110000, np.uint8)
    pool = bytearray()
    bounds = [0, 0]
    for char in _peculiar(joining):
        code = ord(char)
        if unicodedata.is_normalized("NFKC", char) and char.casefold() == char:
            ranks[code] = unicodedata.combining(char)
            if _attaches(char, joining):
                entry[code] = CONTEXT if char in joining else ORDERED
            continue
        folded = fold(char)
        if _attaches(char, joining) or _attaches(folded, joining):
            entry[code] = CONTEXT
            continue
        # A mark behind is ordered before the folding, too: U+037A ends in a mark then, in a letter afterwards.
        lasts = (text[-1] for text in (folded, unicodedata.normalize("NFKD", char)) if text)
        ranks[code] = max(map(unicodedata.combining, lasts), default=0)
        pool += folded.encode()
        entry[code] = len(bounds) - 1
        bounds.append(len(pool))
    pool_array, bounds_array = np.frombuffer(bytes(pool), np.uint8), np.array(bounds, np.int32)
    return Characters(chars.classes(), entry, ranks, pool_array, bounds_array)


def _peculiar(joining: frozenset[str]) -> Iterator[str]:
    """Yield every character that folding changes or that attaches to others, and some more.

    Blocks of which no character is so are passed over whole: most are ideographs.
    """
    for codes in ASSIGNED:
        for start in codes[::_BLOCK]:
            if 0xD800 <= start < 0xE000:  # surrogates: not in UTF-8
                continue
            chars = [chr(code) for code in range(start, start + _BLOCK)]
            apart = " ".join(chars)
            same = unicodedata.is_normalized("NFKC", apart) and apart.casefold() == apart
            if not same or any(map(unicodedata.combining, chars)) or not joining.isdisjoint(chars):
                yield from chars


def _attaches(text: str, joining: frozenset[str]) -> bool:
    first = unicodedata.normalize("NFKD", text)[:1]
    return first in joining or (first != "" and unicodedata.combining(first) != 0)


def _joining() -> frozenset[str]:
    """Return the starters and marks that compose with a character before them."""
    hangul = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # vowels and finals
    found = {chr(code) for code in hangul}
    every = map(chr, itertools.chain(*ASSIGNED))
    for decomposed in filter(None, map(unicodedata.decomposition, every)):
        if decomposed[0] != "<" and " " in decomposed:
            found.add(chr(int(decomposed.split()[1], 16)))
    return frozenset(found)
