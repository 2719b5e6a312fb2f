"""Compiled: what the quality rules measure of a text, counted in one pass. tests/reference/quality.py says the same.

The names of :data:`COUNTS` say what is counted. A *token* is a run of characters that are no white space, or one
character of a script written without spaces (:mod:`curate.kernels.chars`), each with the marks behind it. A *word* is a
token with a letter, a digit or an underscore in it. White space is never counted among characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.counting import COUNTS as COUNTS
from curate.kernels.counting import Room
from curate.kernels.marks import marks
from curate.kernels.runs import measure_all
from curate.kernels.text import buffers

Counts: TypeAlias = npt.NDArray[np.int64]

SCHEME = f"1.unicode{unicodedata.unidata_version}"
"""What the counts depend on; raised with any change of them."""


class Measured(NamedTuple):
    """What was counted."""

    counts: Counts  # [turns, len(COUNTS)]; of a turn that is not an answer, n-grams are not counted
    copied: Counts  # [records] characters of answers in runs of COPIED tokens that stand in a prompt, too


def measure(
    turns: pa.Array, first: npt.NDArray[np.int64], said: npt.NDArray[np.bool_], stop_words: Collection[str]
) -> Measured:
    """Count turns, string or large_string [turns], null as empty; record i has turns first[i]:first[i + 1].

    said: [turns] whether a turn is an answer; all others are prompts. stop_words: of at most 8 ASCII letters each,
    small; at most 60. A line that begins with three backquotes or tildes begins or ends fenced code; neither it nor
    what lies within counts, but as ``fenced``.
    """
    data, offsets = buffers(pc.fill_null(turns.cast(pa.large_string()), ""))
    prompts = np.concatenate([[0], np.cumsum(np.where(said, 0, np.diff(offsets)))])
    room = _room(int(np.diff(offsets).max(initial=0)))
    asked = _room(int(np.diff(prompts[first]).max(initial=0)))
    packed = [int.from_bytes(word.encode(), "big") for word in sorted(stop_words)]
    counts = np.zeros((len(turns), len(COUNTS)), np.int64)
    copied = np.zeros(len(first) - 1, np.int64)
    stops = np.array(packed, np.uint64)
    measure_all(data, offsets, first, said, marks(), stops, room, asked, counts, copied)
    return Measured(counts, copied)


def _room(longest: int) -> Room:
    """Return room for a text of so many bytes: a token takes two at least, with the space behind it."""
    longest += 1
    size = 1 << max(6, longest.bit_length())
    return Room(
        np.empty(longest, np.uint64),
        np.empty(longest + 1, np.int32),
        np.empty(longest, np.uint64),
        np.empty(longest, np.int32),
        np.empty(longest, np.uint8),
        np.empty(size, np.uint64),
        np.zeros(size, np.int64),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.zeros(1, np.int64),
    )
