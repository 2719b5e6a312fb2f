"""Compiled: runs of tokens that stand again in a text, or in the prompt of an answer."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.counting import COUNTS, ZERO, mask_of, noted, read_text
from curate.kernels.jit import kernel, part
from curate.kernels.words import ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; curate.kernels.measuring states them

COPIED = 5  # tokens of a run that counts as copied
_MOST = 10  # tokens of an n-gram
_TOP, _TOKENS = COUNTS.index("top_2"), COUNTS.index("tokens")


@part
def _ngrams(tokens: int, room: Any, out: Array) -> None:
    """Count n-grams of 2 to 10 tokens. Only where an n-gram stands again can one that is longer by a token."""
    count = tokens - 1
    for i in range(count):
        room.places[i] = i
        room.keys[i] = room.hashes[i]
    ends = room.ends
    for n in range(2, _MOST + 1):
        if count <= 0:
            break
        mask = mask_of(count)
        room.day[0] += 1
        most, characters = 1, 0
        for k in range(count):
            i = room.places[k]
            h = finish(room.keys[k] * ODD + room.hashes[i + n - 1])
            room.keys[k] = h
            room.states[k] = 0
            at = noted(h, k, mask, room)
            if room.counts[at] > 1:
                room.states[k] = 3
                room.states[room.firsts[at]] |= 1
                if room.counts[at] >= most:
                    size = ends[i + n] - ends[i]
                    if room.counts[at] > most or size > characters:
                        most, characters = room.counts[at], size
        if n <= 4:
            out[_TOP + n - 2] = min(np.int64(most) * characters, np.int64(ends[tokens])) if most > 1 else 0
        covered, until, left = 0, 0, 0
        for k in range(count):
            i = room.places[k]
            if room.states[k] & 2:
                covered += ends[i + n] - ends[max(i, until)]
                until = i + n
            if room.states[k] and i + n < tokens:
                room.places[left] = i
                room.keys[left] = room.keys[k]
                left += 1
        if n >= 5:
            out[_TOP + n - 2] = covered
        count = left


@part
def _ask(tokens: int, mask: Any, room: Any, asked: Any) -> None:
    """Note the runs of COPIED tokens of a prompt."""
    for i in range(tokens - COPIED + 1):
        h = ZERO
        for k in range(COPIED):
            h = h * ODD + room.hashes[i + k]
        noted(finish(h), i, mask, asked)


@part
def _copied(tokens: int, mask: Any, room: Any, asked: Any) -> int:
    """Return how many characters of an answer stand in runs of tokens that were noted."""
    found, until = 0, 0
    for i in range(tokens - COPIED + 1):
        h = ZERO
        for k in range(COPIED):
            h = h * ODD + room.hashes[i + k]
        h = finish(h)
        at = np.int64(h & mask)
        while asked.stamps[at] == asked.day[0] and asked.slots[at] != h:
            at = (at + 1) & np.int64(mask)
        if asked.stamps[at] == asked.day[0]:
            found += room.ends[i + COPIED] - room.ends[max(i, until)]
            until = i + COPIED
    return found


@kernel
def measure_all(
    data: Array, offsets: Array, first: Array, said: Array, flags: Array, stops: Array, room: Any, asked: Any,
    counts: Array, copied: Array,
) -> None:  # fmt: skip
    """Count every turn, of answers n-grams too, and what of them is copied (curate.kernels.measuring.measure)."""
    for record in range(len(copied)):
        size = 0
        for turn in range(first[record], first[record + 1]):
            size += 0 if said[turn] else offsets[turn + 1] - offsets[turn]
        mask = mask_of(size // 2 + 1)
        asked.day[0] += 1
        for answers in range(2):
            for turn in range(first[record], first[record + 1]):
                if said[turn] != (answers == 1):
                    continue
                read_text(data, offsets[turn], offsets[turn + 1], flags, stops, room, counts[turn])
                tokens = counts[turn][_TOKENS]
                if answers == 0:
                    _ask(tokens, mask, room, asked)
                    continue
                _ngrams(tokens, room, counts[turn])
                if size:
                    copied[record] += _copied(tokens, mask, room, asked)
