"""Compiled: records grouped by equal keys, and what each of them is in."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.jit import kernel

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

_U64 = np.uint64


@kernel
def scatter(keys: Array, shift: Any, counts: Array, out_keys: Array, out_numbers: Array) -> None:
    """Sort keys by their bits from ``shift`` up, and nothing else, keeping their order (one radix pass).

    ``counts`` [parts + 1], zeros, ends as the start of each part and the number of keys.
    """
    parts = len(counts) - 1
    for i in range(len(keys)):
        counts[np.int64(keys[i] >> shift) + 1] += 1
    for part in range(parts):
        counts[part + 1] += counts[part]
    for i in range(len(keys)):
        part = np.int64(keys[i] >> shift)
        place = counts[part]
        counts[part] = place + 1
        out_keys[place] = keys[i]
        out_numbers[place] = i
    for part in range(parts, 0, -1):
        counts[part] = counts[part - 1]
    counts[0] = 0


@kernel
def group(
    keys: Array, numbers: Array, starts: Array, table: Array, sizes: Array, slots: Array, members: Array,
    ends: Array,
) -> Any:  # fmt: skip
    """Write the numbers of every group of two or more equal keys, group by group; return how many of both.

    Part p of the keys is [starts[p]:starts[p + 1]]. ``table`` and ``sizes`` [a power of two, twice the
    largest part] and ``slots`` [the largest part] are room to work in: a part's table fits the nearest cache.
    """
    mask = len(table) - 1
    written, groups = 0, 0
    for part in range(len(starts) - 1):
        first, last = starts[part], starts[part + 1]
        for slot in range(len(table)):
            table[slot] = -1
        for i in range(first, last):
            slot = np.int64(keys[i]) & mask
            while table[slot] >= 0 and keys[table[slot]] != keys[i]:
                slot = (slot + 1) & mask
            if table[slot] < 0:
                table[slot], sizes[slot] = i, 0
            sizes[slot] += 1
            slots[i - first] = slot
        for i in range(first, last):
            slot = slots[i - first]
            if sizes[slot] > 1 and table[slot] == i:  # the group's first member: make room for all
                ends[groups] = written + sizes[slot]
                groups += 1
                table[slot], sizes[slot] = written, -sizes[slot]
                written = ends[groups - 1]
            if sizes[slot] < 0:
                members[table[slot]] = numbers[i]
                table[slot] += 1
    return written, groups


@kernel
def gather(members: Array, ends: Array, starts: Array, out: Array) -> None:
    """Write the buckets that each record is in: out[starts[r]:starts[r + 1]] for record r.

    ``starts`` comes as the prefix sums of how often each record is a member.
    """
    bucket = 0
    for i in range(len(members)):
        while i == ends[bucket]:
            bucket += 1
        out[starts[members[i]]] = bucket
        starts[members[i]] += 1
    for record in range(len(starts) - 1, 0, -1):
        starts[record] = starts[record - 1]
    starts[0] = 0


@kernel
def components(members: Array, ends: Array, parents: Array) -> None:
    """Join the records that share a bucket, and theirs: parents[r] becomes the least record that r is joined to.

    ``parents`` [records] comes as 0, 1, 2, … (union by number, with path halving: Tarjan, van Leeuwen 1984).
    """
    start = 0
    for bucket in range(len(ends)):
        for i in range(start + 1, ends[bucket]):
            one, other = np.int64(members[start]), np.int64(members[i])
            while parents[one] != one:
                parents[one] = parents[parents[one]]
                one = parents[one]
            while parents[other] != other:
                parents[other] = parents[parents[other]]
                other = parents[other]
            parents[max(one, other)] = min(one, other)
        start = ends[bucket]
    for record in range(len(parents)):  # a parent is a lesser number, so it is settled already
        parents[record] = parents[parents[record]]
