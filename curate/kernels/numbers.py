"""Compiled: the numbers in a record's texts, as one hash."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.compare import emptied, insert, mask_of
from curate.kernels.jit import kernel
from curate.kernels.lanes import load64
from curate.kernels.words import ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_ZEROS, _TENS = np.uint64(0x3030303030303030), np.uint64(0x0A0A0A0A0A0A0A0A)
_HIGH, _NONE = np.uint64(0x8080808080808080), np.uint64(0)


@kernel
def number_keys(
    data: Array, starts: Array, ends: Array, first: Array, salts: Array, table: Any, keys: Array
) -> None:
    """Write a hash of the different runs of ASCII digits in each record's turns, whatever their order; 0 for none.

    ``salts`` [turns] tells parts apart; a turn whose salt is 0 is passed over. ``table`` holds one record's numbers.
    """
    for record in range(len(keys)):
        total = _NONE
        today, mask = emptied(table), mask_of(len(table.slots) // 2)
        for turn in range(first[record], first[record + 1]):
            if salts[turn] == 0:
                continue
            i, end = starts[turn], ends[turn]
            while i < end:
                if i + 8 <= end:
                    # A byte of x below 10 is a digit's (Anderson, Bit Twiddling Hacks, "hasless"); rarely, one more.
                    x = load64(data, i) ^ _ZEROS
                    if (x - _TENS) & ~x & _HIGH == 0:
                        i += 8
                        continue
                if not 48 <= data[i] <= 57:
                    i += 1
                    continue
                h = salts[turn]
                while i < end and 48 <= data[i] <= 57:
                    h = (h ^ np.uint64(data[i])) * ODD
                    h ^= h >> np.uint64(29)
                    i += 1
                h = finish(h)
                if insert(h, table, today, mask):
                    total += h
        keys[record] = total
