"""Slow, readable twin of Megatron's reader of indexed datasets: one field after the other, in the layout's order."""

from __future__ import annotations

import itertools
import struct
from pathlib import Path


def read(stem: Path) -> list[list[int]]:
    """Return the tokens of each document."""
    index = stem.with_name(stem.name + ".idx").read_bytes()
    tokens = stem.with_name(stem.name + ".bin").read_bytes()
    at = 0

    def take(form: str) -> int:
        nonlocal at
        [value] = struct.unpack_from(f"<{form}", index, at)
        at += struct.calcsize(f"<{form}")
        return int(value)

    assert index[:9] == b"MMIDIDX\x00\x00"
    at = 9
    assert take("Q") == 1
    form, size = {4: ("i", 4), 8: ("H", 2)}[take("B")]
    sequences, documents = take("Q"), take("Q")
    lengths = [take("i") for _ in range(sequences)]
    places = [take("q") for _ in range(sequences)]
    ends = [take("q") for _ in range(documents)]
    assert at == len(index)
    assert ends[0] == 0
    found = []
    for first, last in itertools.pairwise(ends):
        said: list[int] = []
        for number in range(first, last):
            said += struct.unpack_from(f"<{lengths[number]}{form}", tokens, places[number])
        found.append(said)
    assert sum(lengths) * size == len(tokens)
    return found
