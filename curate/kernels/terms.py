"""Compiled: texts walked word by word, as they stand, and the words and phrases of lists found in them.

A word is a maximal run of WORD characters, or one ALONE character, each with the MARKs directly behind
(:mod:`curate.kernels.chars`), its letters made small one by one. Nothing is folded: what a word means to a list is
asked millions of times a second, and lists are written in the usual letters.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from curate.kernels.chars import ALONE, MARK, WORD
from curate.kernels.jit import kernel, part
from curate.kernels.normal import decode
from curate.kernels.signs import LETTER, LOWER, UPPER, lowered
from curate.kernels.words import ODD, finish

Array: TypeAlias = Any  # numba sees arrays of many types; the classes below state them

_U64, _U8, _ASCII = np.uint64, np.uint8, np.uint8(0x80)
_HALF, _ZERO = _U64(32), _U64(0)

# What is told of a word: its letters, and what stands between it and the word before it, or behind it.
CAPITAL, RAISED, COMMA, STOP, ASKED, SIGN, ODDLY, SMALL = (np.uint8(1 << bit) for bit in range(8))
"""It begins with a capital; all its letters are capitals, two at least; a comma before it; the end of a sentence
before it; a question mark behind it; another sign before it; it has a character that is no letter; no capital."""
LONGEST = 6  # words of a phrase at the most


class Letters(NamedTuple):
    """What each character is."""

    classes: npt.NDArray[np.uint8]  # [0x110000] of curate.kernels.chars
    kinds: npt.NDArray[np.uint8]  # [0x110000] of curate.kernels.signs
    lower: npt.NDArray[np.int32]


class Walk(NamedTuple):
    """The words of one text."""

    hashes: npt.NDArray[np.uint64]
    starts: npt.NDArray[np.int64]  # bytes
    ends: npt.NDArray[np.int64]
    flags: npt.NDArray[np.uint8]  # CAPITAL …
    numbers: npt.NDArray[np.int32]  # in the lists, -1 where it is in none


class Lists(NamedTuple):
    """Words and phrases of lists. A *word* is anything that is a list's entry by itself or begins a phrase of one."""

    slots: npt.NDArray[np.uint64]  # hash table of the words' hashes, 0 where empty …
    numbers: npt.NDArray[np.int32]  # … and of their numbers
    classes: npt.NDArray[np.uint32]  # [words] bits of curate.kernels.asking
    groups: npt.NDArray[np.uint64]  # [words, 3] bits of groups: in any case, with a capital, in capitals
    lengths: npt.NDArray[np.uint8]  # [words] bit n: a phrase of n + 1 words begins with it
    terms: npt.NDArray[np.int32]  # [words] place in the vocabulary of topics, -1 outside
    common: npt.NDArray[np.bool_]  # [words] whether it may be named
    phrase_slots: npt.NDArray[np.uint64]  # the same for phrases
    phrase_numbers: npt.NDArray[np.int32]
    phrase_groups: npt.NDArray[np.uint64]  # [phrases, 3]
    phrase_leads: npt.NDArray[np.bool_]  # [phrases] whether it may stand before a verb
    phrase_counts: npt.NDArray[
        np.bool_
    ]  # [phrases] whether it is of a group, or means none of its words' groups


@kernel
def walk(data: Array, start: int, end: int, letters: Any, out: Any) -> int:
    """Write the words of data[start:end] to ``out``, which has room for half as many and one; return how many."""
    i, n, gap = start, 0, STOP
    while i < end:
        code, width = decode(data, i, end)
        kind = letters.classes[code]
        if kind != WORD and kind != ALONE:
            i += width
            gap |= _between(data, code, i, end, n, out)
            continue
        h, small, large, odd, begin = _ZERO, np.int64(0), np.int64(0), _U8(0), i
        first = letters.kinds[code]
        while True:
            sign = letters.kinds[code]
            large += np.int64((sign & UPPER) != 0)
            small += np.int64((sign & LOWER) != 0)
            if sign & LETTER == 0:
                odd = ODDLY
            h = (h ^ _U64(lowered(code, letters) + 1)) * ODD
            h ^= h >> _HALF
            i += width
            if i >= end:
                break
            code, width = decode(data, i, end)
            following = letters.classes[code]
            if following != MARK and (following != WORD or kind != WORD):
                break
        flags = gap | odd
        if first & UPPER:
            flags |= CAPITAL
        if large == 0:
            flags |= SMALL
        elif small == 0 and large > 1:
            flags |= RAISED
        out.hashes[n], out.starts[n], out.ends[n], out.flags[n] = finish(h), begin, i, flags
        n += 1
        gap = _U8(0)
    return n


@part
def _between(data: Array, code: int, i: int, end: int, n: int, out: Any) -> Any:
    """Return what a character that is of no word, and ends before byte i, parts; a mark may ask behind word n - 1."""
    if code == 32:
        return _U8(0)
    if code == 10:
        return STOP
    if code == 44:
        return COMMA
    if code in (33, 46, 58, 59, 63):  # ! . : ; ?
        within = i < end and (
            data[i] >= _ASCII or (48 <= data[i] <= 57) or (65 <= data[i] <= 90) or (97 <= data[i] <= 122)
        )
        if within:
            return SIGN
        if code == 63 and n:
            out.flags[n - 1] |= ASKED
        return STOP
    return SIGN


@part
def find(slots: Array, numbers: Array, h: Any) -> Any:
    """Return the number that a hash table holds for a hash, -1 for none."""
    last = _U64(len(slots) - 1)
    at = h & last
    while slots[at] != _ZERO:
        if slots[at] == h:
            return np.int64(numbers[at])
        at = (at + _U64(1)) & last
    return -1


@part
def phrase_hash(hashes: Array, first: int, size: int) -> Any:
    """Return the hash of so many words."""
    h = _U64(size)
    for k in range(first, first + size):
        h = h * ODD + hashes[k]
    return finish(h)


@kernel
def hash_phrase(hashes: Array) -> Any:
    """Return the hash of a phrase of these words."""
    return phrase_hash(hashes, 0, len(hashes))


@kernel
def phrase_at(words: Any, count: int, k: int, barred: Any, lists: Any, leads: bool) -> Any:
    """Return the longest phrase that begins at word k, its number and its length; -1 and 1 for none.

    barred: what may not stand between its words. leads: of those that stand before a verb, else of those of groups.
    """
    lengths = lists.lengths[words.numbers[k]]
    size = min(LONGEST, count - k)
    whole = 1
    while whole < size and words.flags[k + whole] & barred == 0:
        whole += 1
    while whole > 1:
        if (lengths >> _U8(whole - 1)) & _U8(1):
            found = find(lists.phrase_slots, lists.phrase_numbers, phrase_hash(words.hashes, k, whole))
            if found >= 0 and (lists.phrase_leads[found] if leads else lists.phrase_counts[found]):
                return found, whole
        whole -= 1
    return -1, 1


@kernel
def number_words(words: Any, count: int, lists: Any) -> None:
    """Look up each word."""
    for k in range(count):
        words.numbers[k] = find(lists.slots, lists.numbers, words.hashes[k])


@part
def _of_case(groups: Array, k: int, flags: Any) -> Any:
    found = groups[k, 0]
    if flags & CAPITAL:
        found |= groups[k, 1]
    if flags & RAISED:
        found |= groups[k, 2]
    return found


@kernel
def mentioned(words: Any, count: int, lists: Any) -> Any:
    """Return the groups, a bit each, that words and phrases of a text are of; none within a phrase counts again."""
    found, k = _ZERO, 0
    while k < count:
        number = words.numbers[k]
        if number < 0:
            k += 1
            continue
        if lists.lengths[number]:
            phrase, size = phrase_at(words, count, k, COMMA | STOP, lists, False)
            if phrase >= 0:
                found |= _of_case(lists.phrase_groups, phrase, words.flags[k])
                k += size
                continue
        found |= _of_case(lists.groups, number, words.flags[k])
        k += 1
    return found


@kernel
def walk_all(data: Array, starts: Array, ends: Array, most: int, letters: Any, room: Any, out: Any) -> int:
    """Write the first ``most`` words of each text to ``out``, end to end; ``numbers``: of which. Return how many."""
    n = 0
    for text in range(len(starts)):
        count = min(most, walk(data, starts[text], ends[text], letters, room))
        for k in range(count):
            out.hashes[n], out.flags[n] = room.hashes[k], room.flags[k]
            out.starts[n], out.ends[n] = room.starts[k], room.ends[k]
            out.numbers[n] = text
            n += 1
    return n


@kernel
def liken(bounds: Array, terms: Array, values: Array, centers: Array, out: Array) -> None:
    """Write to ``out`` [records, topics] how near each record is to each center [terms, topics].

    Record i has the terms terms[bounds[i]:bounds[i + 1]] with their values. All numbers are whole: no order of
    summing makes another sum.
    """
    for record in range(len(out)):
        out[record, :] = 0
        for k in range(bounds[record], bounds[record + 1]):
            for topic in range(out.shape[1]):
                out[record, topic] += values[k] * centers[terms[k], topic]


@kernel
def vote(
    words: Any,
    count: int,
    record: int,
    lists: Any,
    weights: Array,
    squares: Array,
    stamps: Array,
    votes: Array,
) -> int:
    """Add to ``votes`` [topics] the weights [terms, topics] of the terms that are new to the record.

    Returns the sum of their ``squares`` [terms].
    """
    new = 0
    for k in range(count):
        if words.numbers[k] < 0:
            continue
        term = lists.terms[words.numbers[k]]
        if term < 0 or stamps[term] == record:
            continue
        stamps[term] = record
        new += squares[term]
        for topic in range(len(votes)):
            votes[topic] += weights[term, topic]
    return new
