"""Compiled: records read turn by turn into shingles, with no Python object per record."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.kernels.jit import kernel, part
from curate.kernels.lanes import BYTES
from curate.kernels.normal import BLANK, FULL, NEEDS_CONTEXT, normalise
from curate.kernels.words import (
    BLOCK,
    MOST_NGRAM,
    ODD,
    cut,
    finish,
    hash_bytes,
    hash_ngrams,
    hash_whole,
    spell,
)

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

PROMPT, RESPONSE = 0, 1
BOTH, ONLY_PROMPT, ONLY_RESPONSE = 0, 1, 2
_SLACK = 4 * BYTES


class Turns(NamedTuple):
    """The turns of a batch's records, in the records' order."""

    data: npt.NDArray[np.uint8]  # UTF-8, read-only
    starts: npt.NDArray[np.int64]  # [turns] where each begins in data …
    ends: npt.NDArray[np.int64]  # [turns] … and ends
    folded: npt.NDArray[np.bool_]  # [turns] whether it is folded already
    parts: npt.NDArray[np.uint8]  # [turns] PROMPT or RESPONSE
    first: npt.NDArray[np.int64]  # [records + 1] record i has turns first[i]:first[i + 1]


class Cutting(NamedTuple):
    """How shingles are made."""

    ngram: int
    salts: npt.NDArray[np.uint64]  # [2] by part: shingles of different parts never meet
    on: int  # BOTH, ONLY_PROMPT or ONLY_RESPONSE


class Table(NamedTuple):
    """A hash table of 64-bit hashes, emptied in no time: a slot is taken where its stamp is today's."""

    slots: npt.NDArray[np.uint64]  # [a power of two]
    stamps: npt.NDArray[np.uint32]
    today: npt.NDArray[np.uint32]  # [1]


def table(members: int) -> Table:
    """Return a table that is at most half full with so many members."""
    size = 1 << max(6, (2 * members).bit_length())
    return Table(np.empty(size, np.uint64), np.zeros(size, np.uint32), np.zeros(1, np.uint32))


class Space(NamedTuple):
    """Room to work in."""

    times: int
    spelled: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    words: npt.NDArray[np.uint64]
    hashes: npt.NDArray[np.uint64]  # one record's shingles …
    halves: npt.NDArray[np.uint32]  # … and what of them makes minima
    table: Table


def space(turns: Turns, times: int) -> Space:
    """Return room for any one record, ``times`` what most texts need: a character may become several.

    Most texts have fewer than a word in four bytes. The memory is only reserved here: the system hands out the
    pages that are written.
    """
    lengths = turns.ends - turns.starts
    before = np.concatenate([[0], np.cumsum(lengths)])
    longest = int(np.diff(before[turns.first]).max(initial=0))
    hashes = times * (longest // 4 + (1 << 10))
    return Space(
        times,
        np.empty(times * longest + _SLACK, np.uint8),
        np.empty(2 * BLOCK + 4 * BYTES, np.int64),
        np.empty(BLOCK + 2 * BYTES + MOST_NGRAM, np.uint64),
        np.empty(hashes, np.uint64),
        np.empty(hashes, np.uint32),
        table(hashes),
    )


@part
def _feed(
    text: Array, end: int, symbols: bool, ngram: int, salt: Any, space: Any, carry: int, out: Array, n: int
) -> Any:
    """Append the n-grams of a text's words, of which ``carry`` words stand before it; return n, carry, words."""
    bounds, words = space.bounds, space.words
    i, seen = 0, 0
    while i < end:
        count, i = cut(text, i, end, symbols, bounds)
        for k in range(0, count, 2):
            words[carry + k // 2] = hash_bytes(text, bounds[k], bounds[k + 1] - bounds[k])
        count = carry + count // 2
        if n + count > len(out):
            return FULL, 0, 0
        n = hash_ngrams(words, count, ngram, salt, out, n)
        seen += count - carry
        carry = min(count, ngram - 1)
        for k in range(carry):
            words[k] = words[count - carry + k]
    return n, carry, seen


@kernel
def _whole(turns: Any, record: int, part: int, salt: Any, how: Any, space: Any, out: Array, n: int) -> int:
    """Append the one shingle of a part of too few words, or none if nothing is left of it."""
    size = 0
    for turn in range(turns.first[record], turns.first[record + 1]):
        if turns.parts[turn] != part:
            continue
        if size and space.spelled[size - 1] != BLANK:
            space.spelled[size] = BLANK
            size += 1
        folded = turns.folded[turn]
        size = normalise(
            turns.data, turns.starts[turn], turns.ends[turn], folded, how, space.spelled, 0, size
        )
        if size < 0:
            return size
    if size and space.spelled[size - 1] == BLANK:
        size -= 1
    if size == 0:
        return n
    if n == len(out):
        return FULL
    out[n] = hash_whole(space.spelled, size, salt)
    return n + 1


@part
def append_part(
    turns: Any, record: int, part: int, symbols: bool, cutting: Any, how: Any, space: Any, out: Array, n: int
) -> int:
    """Append a record's shingles of one part to out[:n]; return the new n, FULL, or NEEDS_CONTEXT."""
    carry, words, data, salt = 0, 0, turns.data, cutting.salts[part]
    for turn in range(turns.first[record], turns.first[record + 1]):
        if turns.parts[turn] != part:
            continue
        start, end = turns.starts[turn], turns.ends[turn]
        size = spell(data, start, end, turns.folded[turn], symbols, how, space.spelled)
        if size < 0:
            return size
        n, carry, seen = _feed(space.spelled, size, symbols, cutting.ngram, salt, space, carry, out, n)
        if n < 0:
            return n
        words += seen
    return n if words >= cutting.ngram else _whole(turns, record, part, salt, how, space, out, n)


@part
def append_record(
    turns: Any, record: int, symbols: bool, cutting: Any, how: Any, space: Any, out: Array, n: int
) -> Any:
    """Append a record's shingles of the prompt, then of the response; return where each ends, or an error.

    Of a record that has the part asked for, only that part.
    """
    middle, end = n, n  # of a record that has only a response, the prompt is empty
    for step in range(2):
        part = 1 - step if cutting.on == ONLY_RESPONSE else step
        if step == 1 and cutting.on != BOTH and end > n:
            break
        before = end
        end = append_part(turns, record, part, symbols, cutting, how, space, out, end)
        if end < 0:
            return end, end
        if part == PROMPT:
            middle = end
        elif cutting.on == ONLY_RESPONSE:
            middle = before
    return middle, end


@kernel
def record_shingles(
    turns: Any, cutting: Any, symbols: bool, how: Any, space: Any, first: int, todo: Array, out: Array,
    bounds: Array,
) -> int:  # fmt: skip
    """Write the shingles of the records [first:] to do, in reading order; return as curate.kernels.sketch does.

    ``out[bounds[i, 0]:bounds[i, 1]]`` are those of record i's prompt, up to bounds[i, 2] those of its response.
    bounds[-1, 0] says how far ``out`` is written.
    """
    n = bounds[-1, 0]
    for record in range(first, len(todo)):
        if not todo[record]:
            continue
        middle, end = append_record(turns, record, symbols, cutting, how, space, out, n)
        if end == NEEDS_CONTEXT:
            continue
        if end == FULL:
            return record
        bounds[record, 0], bounds[record, 1], bounds[record, 2] = n, middle, end
        n = end
        bounds[-1, 0] = n
        todo[record] = False
    return len(todo)


@kernel
def normal_keys(turns: Any, how: Any, space: Any, first: int, todo: Array, keys: Array, pieces: Array) -> int:
    """Write a hash of each record's normalised turns; return as curate.kernels.sketch.band_keys does.

    ``pieces`` [turns] gets a hash of each turn alone, 0 of an empty one.
    """
    for record in range(first, len(todo)):
        if not todo[record]:
            continue
        h, size = np.uint64(turns.first[record + 1] - turns.first[record]), 0
        for turn in range(turns.first[record], turns.first[record + 1]):
            folded = turns.folded[turn]
            size = normalise(
                turns.data, turns.starts[turn], turns.ends[turn], folded, how, space.spelled, 0, 0
            )
            if size < 0:
                break
            if size and space.spelled[size - 1] == BLANK:
                size -= 1
            piece = hash_bytes(space.spelled, 0, size)
            pieces[turn] = piece if size else np.uint64(0)
            h = finish((h ^ piece) * ODD + np.uint64(turns.parts[turn]))
        if size == FULL:
            return record
        if size == NEEDS_CONTEXT:
            continue
        keys[record] = h
        todo[record] = False
    return len(todo)


@kernel
def fold_pieces(first: Array, pieces: Array, codes: Array, chosen: Array, keys: Array) -> None:
    """Write a hash of each record's chosen turns (reading.normal_keys) with their codes; 0 where all are empty."""
    for record in range(len(keys)):
        h, there = np.uint64(0), False
        for turn in range(first[record], first[record + 1]):
            if chosen[turn]:
                there = there or pieces[turn] != 0
                h = finish((h ^ pieces[turn]) * ODD + np.uint64(codes[turn]))
        keys[record] = h if there else np.uint64(0)
