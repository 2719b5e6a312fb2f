"""Compiled: what an instruction asks for, from its first sentences' words (:mod:`curate.stages.profiling.tasks`)."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from curate.kernels.jit import kernel, part
from curate.kernels.terms import (
    ASKED,
    COMMA,
    ODDLY,
    SIGN,
    SMALL,
    STOP,
    mentioned,
    number_words,
    phrase_at,
    vote,
    walk,
)

Array: TypeAlias = Any  # numba sees arrays of many types; the modules that call in state them

VERB, LEAD, INTRODUCTION, QUESTION, ASKING, AUXILIARY, BEFORE, ENDS, BLOCKING, ENGLISH, ARTICLE, FOREIGN = (
    np.uint32(1 << bit) for bit in range(12)
)
"""What a word is to the walk, a bit each: the lists of rules/tasks.yaml."""
NOTHING, DO, WONDER, WHETHER = range(4)
"""Kinds of tasks: none told, a verb, a question by a word, a question by an auxiliary."""
PROMPT, RESPONSE, ASIDE = range(3)
"""Where an utterance stands: words of ``ASIDE`` (calls, rejected replies) are not counted."""
UNIT = 1 << 14  # length of a center of a topic
NEAR = 0.1  # least cosine of a record and its topic
READ = 160  # words of an instruction that are read
_CHUNK = 9  # words of a noun and what stands before it


@part
def _is(words: Any, k: int, end: int, lists: Any, what: Any) -> bool:
    return k < end and words.numbers[k] >= 0 and (lists.classes[words.numbers[k]] & what) != 0


@kernel
def _led(words: Any, k: int, end: int, lists: Any) -> int:
    """Return the first word behind what may stand before a verb."""
    while k < end and words.numbers[k] >= 0:
        _, size = phrase_at(words, end, k, STOP, lists, True)
        if size == 1 and not _is(words, k, end, lists, LEAD):
            break
        k += size
    return k


@kernel
def _begun(words: Any, k: int, end: int, lists: Any, out: Array) -> bool:
    """Tell of a verb, or of a question, that begins at word k, led or not; write kind, word and noun to ``out``."""
    asks = (words.flags[end - 1] & ASKED) != 0
    for place in (_led(words, k, end, lists), k):
        if _is(words, place, end, lists, VERB) and not _is(words, place + 1, end, lists, BLOCKING):
            out[0], out[1], out[2] = DO, place, _noun(words, place + 1, end, lists)
            return True
        if _is(words, place, end, lists, ASKING) or (asks and _is(words, place, end, lists, QUESTION)):
            out[0], out[1] = WONDER, place
            return True
        if asks and _is(words, place, end, lists, AUXILIARY):
            out[0], out[1] = WHETHER, place
            return True
    return False


@kernel
def _noun(words: Any, k: int, end: int, lists: Any) -> int:
    """Return the last word of the noun that begins at word k or behind it, -1 for none that may be named."""
    listed = False
    while k < end and _is(words, k, end, lists, BEFORE) and words.flags[k] & COMMA == 0:
        listed = _is(words, k, end, lists, ARTICLE)
        k += 1
    head = -1
    for place in range(k, min(end, k + _CHUNK)):
        parted = (words.flags[place] & COMMA) != 0
        joined = place > k and words.starts[place] == words.ends[place - 1] + 1 and words.flags[place] & SIGN
        if (_is(words, place, end, lists, ENDS) and not joined) or (
            parted and not (listed and place == k + 1)
        ):
            break
        # what owns the noun is followed by its s: `company's strategy`
        if words.ends[place] - words.starts[place] > 1:
            head = place
    if head < 0 or words.flags[head] & ODDLY or not words.flags[head] & SMALL:
        return -1
    return head if words.numbers[head] >= 0 and lists.common[words.numbers[head]] else -1


@kernel
def _sentence(words: Any, start: int, end: int, lists: Any, out: Array) -> bool:
    """Tell what one sentence asks."""
    english, foreign = False, False
    for k in range(start, end):
        english |= _is(words, k, end, lists, ENGLISH)
        foreign |= _is(words, k, end, lists, FOREIGN)
    if foreign and not english:
        return False
    if _begun(words, start, end, lists, out):
        return True
    asks = (words.flags[end - 1] & ASKED) != 0
    if _is(words, start, end, lists, INTRODUCTION) or asks:
        for k in range(start + 1, end):
            if words.flags[k] & COMMA and _begun(words, k, end, lists, out) and (asks or out[0] == DO):
                return True
    if asks:
        for k in range(start + 1, end):
            if _is(words, k, end, lists, QUESTION):
                out[0], out[1] = WONDER, k
                return True
    return False


@kernel
def asked(words: Any, count: int, lists: Any, out: Array) -> None:
    """Write to ``out`` what the first sentence that asks for something asks: kind, and numbers of its word and noun."""
    out[0], out[1], out[2] = NOTHING, -1, -1
    start, count = 0, min(count, READ)
    while start < count:
        end = start + 1
        while end < count and words.flags[end] & STOP == 0:
            end += 1
        if _sentence(words, start, end, lists, out):
            out[1] = words.numbers[out[1]]
            out[2] = words.numbers[out[2]] if out[2] >= 0 else -1
            return
        start = end
    out[0], out[1], out[2] = NOTHING, -1, -1  # a sentence may have begun to ask


@kernel
def profile(
    data: Array, starts: Array, ends: Array, parts: Array, first: Array, instruction: Array, most: int,
    letters: Any, lists: Any, weights: Array, squares: Array, room: Any, stamps: Array, votes: Array,
    counts: Array, groups: Array, tasks: Array, topics: Array,
) -> None:  # fmt: skip
    """Walk over every text of every record once.

    Text t is data[starts[t]:ends[t]], of part parts[t]; record r has the texts first[r]:first[r + 1], its instruction
    in text instruction[r], -1 for none. Written are words by part [records, 2], groups [records], tasks [records, 3]
    and the topic [records], left as it is where none is near: the one for which the terms of the first ``most`` words
    vote. ``weights`` are the terms' idf by the centers (of length UNIT), ``squares`` those of the idf.
    """
    for record in range(len(groups)):
        votes[:] = 0
        left, size = most, 0
        for text in range(first[record], first[record + 1]):
            count = walk(data, starts[text], ends[text], letters, room)
            number_words(room, count, lists)
            if parts[text] != ASIDE:
                counts[record, parts[text]] += count
            groups[record] |= mentioned(room, count, lists)
            if text == instruction[record]:
                asked(room, count, lists, tasks[record])
            size += vote(room, min(count, left), record, lists, weights, squares, stamps, votes)
            left = max(0, left - count)
        best = np.argmax(votes) if size and len(votes) else -1
        if best >= 0 and votes[best] >= NEAR * UNIT * np.sqrt(size):
            topics[record] = best
