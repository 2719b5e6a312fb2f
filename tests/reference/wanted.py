"""What a take-down and the stage suppress look for, the slow way: sets of words compared one by one; SipHash."""

from __future__ import annotations

import math
from collections.abc import Sequence

_MASK = 2**64 - 1


def siphash(message: bytes, key: bytes) -> int:
    """SipHash-2-4 (Aumasson and Bernstein, 2012, section 2)."""
    k0, k1 = (int.from_bytes(key[i : i + 8], "little") for i in (0, 8))
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def turn(x: int, by: int) -> int:
        return (x << by | x >> (64 - by)) & _MASK

    def rounds(times: int) -> None:
        for _ in range(times):
            v[0] = (v[0] + v[1]) & _MASK
            v[2] = (v[2] + v[3]) & _MASK
            v[1], v[3] = turn(v[1], 13) ^ v[0], turn(v[3], 16) ^ v[2]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[1]) & _MASK
            v[0] = (v[0] + v[3]) & _MASK
            v[1], v[3] = turn(v[1], 17) ^ v[2], turn(v[3], 21) ^ v[0]
            v[2] = turn(v[2], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) % 256])
    for start in range(0, len(padded), 8):
        block = int.from_bytes(padded[start : start + 8], "little")
        v[3] ^= block
        rounds(2)
        v[0] ^= block
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def shingles(text: str, n: int) -> set[tuple[str, ...]]:
    """The n-grams of a text's words; of fewer words than n, the text itself. For ASCII letters and spaces alone."""
    words = text.casefold().split()
    if len(words) < n:
        return {(" ".join(words),)} if words else set()
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def jaccard(a: set[tuple[str, ...]], b: set[tuple[str, ...]]) -> float:
    """The Jaccard similarity; of two empty sets 1."""
    return len(a & b) / len(a | b) if a or b else 1.0


def alike(one: Sequence[str], other: Sequence[str], n: int, threshold: float) -> float:
    """The lesser similarity of two records (prompt, response), -1 below the threshold; an empty one is like none."""
    if not any(shingles(part, n) for part in other):
        return -1.0
    least = min(jaccard(shingles(a, n), shingles(b, n)) for a, b in zip(one, other, strict=True))
    return least if least >= threshold and not math.isnan(least) else -1.0


def share(text: str, record: str, n: int) -> float:
    """How much of a text a record holds."""
    wanted = shingles(text, n)
    return len(wanted & shingles(record, n)) / len(wanted)
