"""Text as deduplication sees it: normalised, cut into words, hashed as n-grams of words (shingles)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels import folding

SCHEME = f"text2.unicode{unicodedata.unidata_version}"
"""What shingles depend on: raised with any change here or in the kernels; Unicode's tables are Python's."""

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
_BEHIND = 128  # bytes that kernels may read beyond a text

SALTS = np.array([0xD1B54A32D192ED03, 0], np.uint64)
"""Salts of prompt and response: a shingle of one part never equals a shingle of the other."""


def buffers(texts: pa.LargeStringArray) -> tuple[Bytes, Offsets]:
    """Return the array's UTF-8 bytes, read-only, and the offsets [n + 1] of each text in them.

    The bytes are not copied; there are some more behind the last text where the array's buffer has them.
    """
    _, offsets, data = texts.buffers()
    if not len(texts) or offsets is None:
        return np.frombuffer(b"", np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    whole = np.frombuffer(data, np.uint8) if data else np.frombuffer(b"", np.uint8)
    found = whole[bounds[0] : bounds[-1] + _BEHIND].view()  # of a slice, the slice's share
    found.flags.writeable = False  # as the buffers of a file are: one compiled version serves all
    return found, bounds - bounds[0]


def from_buffers(data: Bytes, offsets: Offsets) -> pa.LargeStringArray:
    """Return the texts that lie in a buffer end to end, without a copy."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def normalise(texts: pa.Array) -> pa.LargeStringArray:
    """Return texts [n] in the form in which two of them are compared.

    That is :func:`curate.kernels.folding.fold` (NFKC, full case folding, NFKC), then white space
    (``str.isspace``) stripped at the ends and every other run of it made one space. A null is empty.
    """
    from curate.kernels import normal

    # Only the cast is left to Arrow: its ascii_lower (26.0) garbles what the cast of a sliced array returns.
    data, offsets = buffers(pc.fill_null(texts.cast(pa.large_string()), ""))
    starts, ends = offsets[:-1], offsets[1:]
    folded, needy = np.zeros((2, len(starts)), np.bool_)
    out = np.empty(int(offsets[-1] - offsets[0]) * 5 // 4 + 1024, np.uint8)
    out_offsets = np.zeros(len(offsets), np.int64)
    how = folding.characters()
    while True:
        first = 0
        while first < len(starts):
            first = normal.normalise_all(data, starts, ends, folded, how, first, out, out_offsets, needy)
            if first < len(starts):
                out = np.concatenate([out, np.empty(len(out), np.uint8)])
        if not needy.any():
            return from_buffers(out[: out_offsets[-1]], out_offsets)
        data, starts, ends = fold_whole(data, starts, ends, needy)
        folded, needy = needy, np.zeros(len(starts), np.bool_)


def fold_whole(data: Bytes, starts: Offsets, ends: Offsets, chosen: Flags) -> tuple[Bytes, Offsets, Offsets]:
    """Fold the chosen texts with Python's own tools; return the texts with these behind the others."""
    starts, ends = starts.copy(), ends.copy()
    more = bytearray()
    for text in np.flatnonzero(chosen).tolist():
        whole = data[starts[text] : ends[text]].tobytes().decode()
        starts[text] = len(data) + len(more)
        more += folding.fold(whole).encode()
        ends[text] = len(data) + len(more)
    joined = np.concatenate([data, np.frombuffer(bytes(more), np.uint8)])
    joined.flags.writeable = False
    return joined, starts, ends


def read(turns: Any, todo: Flags, step: Callable[[Any, Any, int], int]) -> None:
    """Call a kernel on turns (curate.kernels.reading.Turns) until it has done all records to do.

    ``step(turns, space, first)`` goes on at record ``first``, takes what it does out of ``todo`` [records] and
    returns the record for which there was no room, or len(todo). What it leaves to do has a turn that must be
    folded as a whole.
    """
    from curate.kernels import reading

    records = len(todo)
    times = 1
    while todo.any():
        room, first = reading.space(turns, times), 0
        while (first := step(turns, room, first)) < records:
            times *= 2
            room = reading.space(turns, times)
        if todo.any():
            chosen = np.repeat(todo, np.diff(turns.first)) & ~turns.folded
            data, starts, ends = fold_whole(turns.data, turns.starts, turns.ends, chosen)
            turns = turns._replace(data=data, starts=starts, ends=ends, folded=turns.folded | chosen)


def grown(out: Hashes, used: int, room: Any, size: int) -> Hashes:
    """Return ``out``, copied to a larger one unless it has room for what texts of ``size`` bytes become.

    Most make 1.5 hashes a byte at the most (a word is two bytes, a symbol one). It grows with the room.
    """
    wanted = room.times * size + 1024
    if len(out) >= wanted:
        return out
    larger = np.empty(wanted, np.uint64)  # only reserved: pages come when written
    larger[:used] = out[:used]
    return larger


def shingles(
    texts: pa.Array, ngram: int = 5, salt: np.uint64 = SALTS[1], *, symbols: bool = False
) -> tuple[Hashes, Offsets]:
    """Return the shingles of texts [n]: 64-bit hashes in reading order, offsets [n + 1] into them.

    A text is normalised (:func:`normalise`). A word is a maximal run of WORD characters, or one ALONE
    character, each with the MARKs directly behind (:func:`curate.kernels.chars.classes`). With w(x) the hash
    of a word's UTF-8 (:func:`curate.kernels.words.hash_bytes`), the n-gram of words x1 … xn is f(h(n)) of
    h(0) = salt, h(i) = h(i - 1) * C + w(xi) mod 2^64, C = 0x9E3779B97F4A7C15, f = curate.kernels.words.finish.

    A text of fewer than n words, or of none, is one shingle: the hash of all its bytes and of their number,
    so it equals only a text that is the same after normalisation. Its words alone would not do: "-24" and
    "24" are the same word, and so are "C", "C++" and "C#". An empty text has no shingle.

    With ``symbols``, every character that is of no word and no white space is a word by itself.
    """
    from curate.kernels import reading

    n = len(texts)
    data, offsets = buffers(pc.fill_null(texts.cast(pa.large_string()), ""))
    parts = np.full(n, reading.RESPONSE, np.uint8)
    turns = reading.Turns(
        data, offsets[:-1], offsets[1:], np.zeros(n, np.bool_), parts, np.arange(n + 1, dtype=np.int64)
    )
    cutting = reading.Cutting(ngram, np.array([0, salt], np.uint64), reading.BOTH)
    how = folding.characters()
    out, size = np.empty(0, np.uint64), int(offsets[-1] - offsets[0])
    bounds = np.zeros((n + 1, 3), np.int64)

    todo = np.ones(n, np.bool_)

    def step(turns: Any, room: Any, first: int) -> int:
        nonlocal out
        out = grown(out, bounds[-1, 0], room, size)
        done: int = reading.record_shingles(turns, cutting, symbols, how, room, first, todo, out, bounds)
        return done

    read(turns, todo, step)
    sizes = bounds[:-1, 2] - bounds[:-1, 1]
    ends = np.zeros(n + 1, np.int64)
    np.cumsum(sizes, out=ends[1:])
    order = np.repeat(bounds[:-1, 1] - ends[:-1], sizes) + np.arange(ends[-1])
    return out[order], ends
