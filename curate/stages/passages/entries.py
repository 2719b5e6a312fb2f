"""Entries: what is counted of passages, an array with a line for each passage in each file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.stages.passages.frequent import Ints

# A passage in a file: in how many of its records, of how many characters in all, and the first of them.
ENTRY = np.dtype(
    [("high", "u8"), ("low", "u8"), ("file", "i8"), ("row", "i8"), ("records", "i8"), ("characters", "i8")]
)
Entries = npt.NDArray[Any]


def of_batch(batch: pa.RecordBatch, number: dict[tuple[str, str], int]) -> Entries:
    """Return the entries of a batch of sketches: one for each record and passage."""
    sources, paths = (pc.dictionary_encode(batch.column(name)) for name in ("source", "_path"))
    width = max(1, len(paths.dictionary))
    codes = sources.indices.to_numpy().astype(np.int64) * width + paths.indices.to_numpy()
    pairs, of = np.unique(codes, return_inverse=True)
    keys = [(sources.dictionary[p // width].as_py(), paths.dictionary[p % width].as_py()) for p in pairs]
    files = np.array([number[key] for key in keys], np.int64)[of]
    lists = batch.column("passages")
    passages = lists.flatten()
    sizes = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    entries = np.empty(len(passages), ENTRY)
    for name in ("high", "low", "characters"):
        entries[name] = pc.struct_field(passages, name).to_numpy(zero_copy_only=False)
    entries["file"] = np.repeat(files, sizes)
    entries["row"] = np.repeat(batch.column("_row").to_numpy(), sizes)
    entries["records"] = 1
    return entries


def joined(pieces: list[Entries]) -> Entries:
    """Join pieces, each of which goes as soon as it is copied."""
    out = np.empty(sum(map(len, pieces)), ENTRY)
    at = len(out)
    while pieces:
        piece = pieces.pop()
        at -= len(piece)
        out[at : at + len(piece)] = piece
    return out


def merged(entries: Entries) -> Entries:
    """Make one entry of those of one passage in one file, at its first place; sorted by hash and file."""
    entries = entries[_order(entries)]
    first = starts(entries, by_file=True)
    merged = entries[first]
    for name in ("records", "characters") if len(first) else ():
        merged[name] = np.add.reduceat(entries[name], first)
    return merged


def _order(entries: Entries) -> Ints:
    """Return the order by hash, file and row. Most hashes differ in their first half, which sorts fast alone."""
    high = np.ascontiguousarray(entries["high"])
    order = np.argsort(high)
    high = high[order]
    same = high[1:] == high[:-1]
    tied = np.zeros(len(order), bool)
    tied[1:] |= same
    tied[:-1] |= same
    some = order[tied]
    order[tied] = some[np.lexsort([entries[name][some] for name in ("row", "file", "low", "high")])]
    return order


def starts(entries: Entries, *, by_file: bool) -> Ints:
    """Return where in sorted entries another passage, or file, begins."""
    new = np.ones(len(entries), bool)
    new[1:] = False
    for name in ("high", "low", "file") if by_file else ("high", "low"):
        new[1:] |= entries[name][1:] != entries[name][:-1]
    return np.flatnonzero(new)
