"""Text as deduplication sees it: normalised, cut into words, hashed as n-grams of words (shingles)."""

from __future__ import annotations

import unicodedata

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels import folding
from curate.kernels.chars import classes, symbol_classes

SCHEME = f"text1.unicode{unicodedata.unidata_version}"
"""What shingles depend on: raised with any change here or in the kernels; Unicode's tables are Python's."""

Hashes = npt.NDArray[np.uint64]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

PROMPT, RESPONSE = np.uint64(0xD1B54A32D192ED03), np.uint64(0)
"""Salts of the two parts of a record: a shingle of one part never equals a shingle of the other."""


def buffers(texts: pa.LargeStringArray) -> tuple[Bytes, Offsets]:
    """Return the array's UTF-8 bytes and the offsets [n + 1] of each text in them, without a copy."""
    _, offsets, data = texts.buffers()
    if not len(texts) or offsets is None:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8), bounds


def from_buffers(data: Bytes, offsets: Offsets) -> pa.LargeStringArray:
    """Return the texts that lie in a buffer end to end, without a copy."""
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def normalise(texts: pa.Array) -> pa.LargeStringArray:
    """Return texts [n] in the form in which two of them are compared.

    That is :func:`curate.kernels.folding.fold` (NFKC, full case folding, NFKC), then white space
    (``str.isspace``) stripped at the ends and every other run of it made one space. A null is empty.
    """
    from curate.kernels import compiled

    # Only the cast is left to Arrow: its ascii_lower (26.0) garbles what the cast of a sliced array returns.
    data, offsets = _fold(*buffers(pc.fill_null(texts.cast(pa.large_string()), "")))
    out = np.empty(offsets[-1], np.uint8)
    out_offsets = np.empty(len(offsets), np.int64)
    compiled.collapse_spaces(data, offsets, classes(), out, out_offsets)
    return from_buffers(out, out_offsets)


def _fold(data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
    """Fold texts character by character where that is right, with Python's own tools where it is not."""
    from curate.kernels import compiled

    how = folding.table()
    lengths = np.empty(len(offsets) - 1, np.int64)
    compiled.fold_lengths(data, offsets, how.entry, how.bounds, lengths)
    by_character = lengths >= 0
    rest = {}
    for text in np.flatnonzero(~by_character).tolist():
        rest[text] = folding.fold(data[offsets[text] : offsets[text + 1]].tobytes().decode()).encode()
        lengths[text] = len(rest[text])
    out_offsets = np.zeros(len(offsets), np.int64)
    np.cumsum(lengths, out=out_offsets[1:])
    out = np.empty(out_offsets[-1], np.uint8)
    compiled.fold(data, offsets, how.entry, how.pool, how.bounds, by_character, out, out_offsets)
    for text, folded in rest.items():
        out[out_offsets[text] : out_offsets[text + 1]] = np.frombuffer(folded, np.uint8)
    return out, out_offsets


def shingles(
    texts: pa.LargeStringArray, ngram: int = 5, salt: np.uint64 = RESPONSE, *, symbols: bool = False
) -> tuple[Hashes, Offsets]:
    """Return the shingles of normalised texts [n]: 64-bit hashes in reading order, offsets [n + 1] into them.

    A word is a maximal run of WORD characters, or one ALONE character, each with the MARKs directly behind
    (:func:`curate.kernels.chars.classes`). With w(x) = fmix64(FNV-1a-64(x)), the n-gram of words x1 … xn is
    fmix64(h(n)) of h(0) = salt, h(i) = h(i - 1) * C + w(xi) mod 2^64, C = 0x9E3779B97F4A7C15; fmix64 is
    MurmurHash3's finalizer.

    A text of fewer than n words, or of none, is one shingle: the hash of all its bytes and of their number,
    so it equals only a text that is the same after normalisation. Its words alone would not do: "-24" and
    "24" are the same word, and so are "C", "C++" and "C#". An empty text has no shingle.

    With ``symbols``, every character that is of no word and no white space is a word by itself.
    """
    from curate.kernels import compiled

    data, offsets = buffers(texts)
    # A word takes two bytes with the break behind it (spaceless scripts: three by itself), a symbol one. The
    # memory is only reserved here; the system hands out the pages that are written.
    most = (offsets[-1] - offsets[0]) // (1 if symbols else 2) + len(texts) + 1
    hashes = np.empty(most, np.uint64)
    bounds = np.empty(len(offsets), np.int64)
    table = symbol_classes() if symbols else classes()
    compiled.shingle_hashes(data, offsets, table, ngram, salt, hashes, bounds)
    return hashes[: bounds[-1]], bounds
