"""Deduplication as one would write it on a blackboard: slow, readable, and what the fast one must equal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np

_UNSPACED = re.compile(
    r"CJK|IDEOGRAPHIC (?!ANNOTATION|TALLY)|KANGXI|HANGZHOU|OLD CHINESE|MASU MARK|KATAKANA|\bKANA\b"
    r"|HIRAGANA|HENTAIGANA|^THAI |^LAO |KHMER|MYANMAR"
)
_MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def normalise(text: str) -> str:
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


@lru_cache(maxsize=4096)
def nature(char: str) -> tuple[bool, bool, bool]:
    """Tell whether a character is of a word, a combining mark, and (by its name) of an unspaced script."""
    unspaced = _UNSPACED.search(unicodedata.name(char, "")) is not None
    return re.match(r"\w", char) is not None, unicodedata.category(char)[0] == "M", unspaced


def words(text: str, symbols: bool = False) -> list[str]:
    """Cut a normalised text: runs of word characters, unspaced ones each alone, marks with their word.

    With symbols, whatever else is no white space is a word by itself.
    """
    found: list[str] = []
    inside = alone = False
    for char in text:
        is_word, is_mark, is_alone = nature(char)
        if symbols and not (is_word or is_mark or char.isspace()):
            is_word = is_alone = True
        if is_word:
            if not inside or alone or is_alone:
                found.append("")
            found[-1] += char
            inside, alone = True, is_alone
        elif is_mark and inside:
            found[-1] += char
        else:
            inside = False
    return found


def fmix64(h: int) -> int:
    h = (h ^ (h >> 33)) * 0xFF51AFD7ED558CCD & _MASK
    h = (h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53 & _MASK
    return h ^ (h >> 33)


def fnv1a(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & _MASK
    return h


def shingles(text: str, ngram: int, salt: int = 0, symbols: bool = False) -> list[int]:
    """Hash the n-grams of a normalised text's words; one of fewer words is one shingle of all its bytes."""
    data = text.encode()
    if not data:
        return []
    hashes = [fmix64(fnv1a(word.encode())) for word in words(text, symbols)]
    if len(hashes) < ngram:
        return [fmix64(fmix64(salt ^ GOLDEN ^ len(data)) ^ fmix64(fnv1a(data)))]
    found = []
    for first in range(len(hashes) - ngram + 1):
        h = salt
        for word in hashes[first : first + ngram]:
            h = (h * GOLDEN + word) & _MASK
        found.append(fmix64(h))
    return found


def signature(hashes: Sequence[int], num_perm: int, seed: int) -> list[int]:
    """MinHash with the permutations a * x + b mod 2^32 that datasketch 2 draws for its scheme affine32."""

    def fmix32(h: int) -> int:
        h = (h ^ (h >> 16)) * 0x85EBCA6B & 0xFFFFFFFF
        h = (h ^ (h >> 13)) * 0xC2B2AE35 & 0xFFFFFFFF
        return h ^ (h >> 16)

    generator = np.random.RandomState(seed)
    a = [2 * int(x) + 1 for x in generator.randint(0, 1 << 31, num_perm, dtype=np.uint32)]
    b = [int(x) for x in generator.randint(0, 1 << 32, num_perm, dtype=np.uint32)]
    mixed = [fmix32(h >> 32) for h in hashes]
    return [min(((p * x + q) % 2**32 for x in mixed), default=2**32 - 1) for p, q in zip(a, b, strict=True)]


def jaccard(one: set[int], other: set[int]) -> Fraction:
    """|A ∩ B| / |A ∪ B|; two empty sets are equal."""
    return Fraction(len(one & other), len(one | other)) if one | other else Fraction(1)


def similarity(one: Sequence[set[int]], other: Sequence[set[int]]) -> Fraction:
    """Return the least Jaccard similarity of the parts of two records."""
    return min(jaccard(a, b) for a, b in zip(one, other, strict=True))


def represent(
    records: int, threshold: float, alike: Callable[[int, int], Fraction]
) -> dict[int, tuple[int, Fraction]]:
    """Go through records 0, 1, … (best first); drop each that a kept one is similar enough to.

    Returns each dropped record's kept one (the most similar, then the best) and their similarity.
    """
    kept: list[int] = []
    dropped: dict[int, tuple[int, Fraction]] = {}
    for record in range(records):
        found = [(alike(record, other), -other) for other in kept]
        close = [pair for pair in found if float(pair[0]) >= threshold]
        if close:
            best, other = max(close)
            dropped[record] = (-other, best)
        else:
            kept.append(record)
    return dropped
