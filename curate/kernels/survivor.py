"""Which of several equal records stays: the survivor policy, and the order of all records that it gives.

Best first: fewest license obligations, then the longest, then the smallest content hash, then (source, file,
row). The last two only break ties, in a way that no order of files, batches or workers can change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels.text import buffers
from curate.record import Batch

SCHEME = "survivor1"
KEYS = ("source", "_path", "_row")
HASH = pa.binary(16)
COLUMNS = pa.schema([("license_rank", pa.int32()), ("length", pa.int64()), ("content", HASH)])


def describe(batch: Batch) -> list[pa.Array]:
    """Return the policy's columns of a batch (COLUMNS): license rank, code points of content, its hash.

    The hash is the first half of the content's SHA-256 as it was read.
    """
    declared = batch.column("license").dictionary_encode()
    ranks = np.array([*map(_rank, declared.dictionary.to_pylist()), _rank(None)], np.int32)
    unknown = len(ranks) - 1
    codes = pc.fill_null(declared.indices.cast(pa.int64()), unknown).to_numpy(zero_copy_only=False)

    flat, offsets = record.turns(batch)
    before = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(pc.utf8_length(flat).to_numpy(zero_copy_only=False), out=before[1:])

    data, bounds = buffers(batch.column("_sha256").cast(pa.large_string()))
    digests = bytes.fromhex(data[bounds[0] : bounds[-1]].tobytes().decode())
    halves = np.frombuffer(digests, np.uint8).reshape(-1, 32)[:, :16]
    return [pa.array(ranks[codes]), pa.array(np.diff(before[offsets])), binary16(halves)]


@lru_cache(maxsize=4096)
def _rank(expression: str | None) -> int:
    from curate import licenses

    return licenses.rank(expression)


def binary16(rows: npt.NDArray[np.uint8]) -> pa.FixedSizeBinaryArray:
    """Return 16-byte values [n, 16] as an Arrow column."""
    return pa.FixedSizeBinaryArray.from_buffers(
        HASH, len(rows), [None, pa.py_buffer(np.ascontiguousarray(rows))]
    )


def halves(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return 16-byte values as two numbers each, high and low, that sort as the bytes do."""
    chunks = [_bytes(chunk) for chunk in column.chunks]
    pairs = np.frombuffer(b"".join(chunks), ">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def _bytes(chunk: pa.FixedSizeBinaryArray) -> bytes:
    data = chunk.buffers()[1]
    return data.slice(chunk.offset * 16, len(chunk) * 16).to_pybytes() if len(chunk) else b""


@dataclass(frozen=True, slots=True)
class Census:
    """Every record behind a barrier's sketches, numbered in the order in which the sketches come."""

    files: list[tuple[str, str]]  # (source, path), sorted
    file: npt.NDArray[np.int32]  # [n] index into files
    row: npt.NDArray[np.int64]  # [n] row in that file, from 1
    order: npt.NDArray[np.int64]  # [n] record numbers, best survivor first

    @classmethod
    def take(cls, tables: Iterable[pa.Table]) -> Census:
        """Count the records of sketch tables that hold KEYS and COLUMNS: 80 bytes each at work, then 20."""
        seen: dict[tuple[str, str], int] = {}
        columns: list[tuple[npt.NDArray[Any], ...]] = []
        for table in tables:
            high, low = halves(table.column("content"))
            rank, length, row = (table.column(name).to_numpy() for name in ("license_rank", "length", "_row"))
            columns.append((_number(table, seen), row, rank, length, high, low))
        if not columns:
            none = np.empty(0, np.int64)
            return cls([], none.astype(np.int32), none, none)
        file, row, rank, length, high, low = (np.concatenate(column) for column in zip(*columns, strict=True))
        files = sorted(seen)
        place = np.empty(len(files), np.int32)
        for position, key in enumerate(files):
            place[seen[key]] = position
        file = place[file]
        return cls(files, file, row, np.lexsort((row, file, low, high, -length, rank)))


def _number(table: pa.Table, seen: dict[tuple[str, str], int]) -> npt.NDArray[np.int64]:
    """Return the number of each record's (source, path), giving new ones the next numbers."""
    source, path = (table.column(name).combine_chunks().dictionary_encode() for name in ("source", "_path"))
    names = path.dictionary.to_pylist()
    codes = source.indices.to_numpy().astype(np.int64) * len(names) + path.indices.to_numpy()
    pairs, inverse = np.unique(codes, return_inverse=True)
    sources = source.dictionary.to_pylist()
    numbers = [
        seen.setdefault((sources[code // len(names)], names[code % len(names)]), len(seen))
        for code in pairs.tolist()
    ]
    return np.array(numbers, np.int64)[inverse]
