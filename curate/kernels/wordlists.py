"""How many of a text's words stand in a list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.kernels.jit import kernel
from curate.kernels.signs import look, signs
from curate.kernels.text import buffers

Array: TypeAlias = (
    Any  # numba sees arrays of many types; the functions below that are not compiled state them
)

_U64 = np.uint64
_BLANK = np.uint8(ord(" "))


def table(words: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return a hash table of words, 0 where it is empty; an apostrophe may be either of the usual two."""
    listed = sorted({spelled for word in words for spelled in (word, word.replace("'", "\u2019"))})
    data, offsets = buffers(pa.array(listed, pa.large_string()))
    hashes = np.zeros(len(listed), np.uint64)
    hash_all(data, offsets, signs(), hashes)
    size = 1 << (4 * len(listed)).bit_length()
    slots = np.zeros(size, np.uint64)
    for value in hashes.tolist():
        at = value % size
        while slots[at]:
            at = (at + 1) % size
        slots[at] = value
    slots.flags.writeable = False
    return slots


def count(texts: pa.Array, slots: npt.NDArray[np.uint64], enough: int | None = None) -> npt.NDArray[np.int64]:
    """Return for each text [n], words parted by single spaces, how many words there are and are listed: [n, 2].

    A word is compared without its case and the punctuation at its ends; what is only punctuation is none. A text
    is read no further than to the word with which ``enough`` are listed.
    """
    data, offsets = buffers(texts.cast(pa.large_string()))
    found = np.zeros((len(offsets) - 1, 2), np.int64)
    count_all(data, offsets, signs(), slots, len(data) + 1 if enough is None else enough, found)
    return found


@kernel
def hash_all(data: Array, offsets: Array, how: Any, hashes: Array) -> None:
    """Write the hash of each word."""
    for word in range(len(hashes)):
        hashes[word], _, _ = look(data, offsets[word], offsets[word + 1], how)


@kernel
def count_all(data: Array, offsets: Array, how: Any, slots: Array, enough: int, found: Array) -> None:
    """Write to found [n, 2] how many words each text has, and how many of them ``slots`` has, up to ``enough``."""
    last = _U64(len(slots) - 1)
    for text in range(len(found)):
        start = offsets[text]
        for i in range(start, offsets[text + 1] + 1):
            if i < offsets[text + 1] and data[i] != _BLANK:
                continue
            h, _, _ = look(data, start, i, how)
            start = i + 1
            if h == _U64(0):
                continue
            found[text, 0] += 1
            at = h & last
            while slots[at] != _U64(0) and slots[at] != h:
                at = (at + _U64(1)) & last
            found[text, 1] += slots[at] == h
            if found[text, 1] >= enough:
                break
