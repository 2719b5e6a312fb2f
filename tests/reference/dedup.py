"""Deduplication as one would write it on a blackboard: slow, readable, and what the fast one must equal."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

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

    With symbols, whatever else is no white space and no mark is a word by itself.
    """
    found: list[str] = []
    inside = alone = False
    for char in text:
        is_word, is_mark, is_alone = nature(char)
        if symbols and not (is_word or is_mark or char.isspace()):
            found.append(char)
            inside = False
        elif is_word:
            if not inside or alone or is_alone:
                found.append("")
            found[-1] += char
            inside, alone = True, is_alone
        elif is_mark and inside:
            found[-1] += char
        else:
            inside = False
    return found


def mum(one: int, other: int) -> int:
    product = one * other
    return (product & _MASK) ^ (product >> 64)


def hash_bytes(data: bytes) -> int:
    """wyhash's multiplication of two halves of 16 bytes, chained; the last 1 to 16 filled up with zeros."""
    k1, k2 = 0xA0761D6478BD642F, 0xE7037ED1A0B428DB
    h = len(data) * GOLDEN & _MASK
    pieces = [data[i : i + 16] for i in range(0, len(data), 16)] or [b""]
    for piece in pieces:
        x, y = (int.from_bytes(half, "little") for half in (piece[:8], piece[8:]))
        h = mum(x ^ k1 ^ h, y ^ k2)
    return h


def finish(h: int) -> int:
    h = (h ^ (h >> 32)) * 0xD6E8FEB86659FD93 & _MASK
    return h ^ (h >> 32)


def shingles(text: str, ngram: int, salt: int = 0, symbols: bool = False) -> list[int]:
    """Hash the n-grams of a normalised text's words; one of fewer words is one shingle of all its bytes."""
    data = text.encode()
    if not data:
        return []
    hashes = [hash_bytes(word.encode()) for word in words(text, symbols)]
    if len(hashes) < ngram:
        return [finish(hash_bytes(data) ^ finish(salt ^ GOLDEN ^ len(data)))]
    found = []
    for first in range(len(hashes) - ngram + 1):
        h = salt
        for word in hashes[first : first + ngram]:
            h = (h * GOLDEN + word) & _MASK
        found.append(finish(h))
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


def content(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what of a conversation two records must have in common to be equal, normalised."""
    turns = tuple((turn["role"], normalise(turn["content"] or "")) for turn in record["messages"])
    reply = tuple((turn["role"], normalise(turn["content"] or "")) for turn in record.get("rejected") or ())
    return turns, beside(record), reply


def beside(record: Mapping[str, Any]) -> tuple[tuple[int, str], ...]:
    """Return the calls of a conversation, each turn's with its place: ids do not count, arguments as JSON do."""
    extra = json.loads(record.get("messages_extra") or "[]")
    found = []
    for place, keys in enumerate(extra):
        calls = [call["function"] for call in (keys or {}).get("tool_calls", ())]
        told = [
            (call["name"], json.dumps(json.loads(call["arguments"]), sort_keys=True, ensure_ascii=False))
            for call in calls
        ]
        if told:
            found.append((place, normalise(repr(told))))
    return tuple(found)
