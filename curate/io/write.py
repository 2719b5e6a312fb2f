"""Shards: tables in, files of a wanted size out, the same bytes however the tables were cut.

Row groups end at a record that the records' own sizes decide, and a shard ends with the row group that takes
it past ``shard_size`` on disk. Neither depends on how the records arrive, so neither does any byte written.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from curate.io.cells import foreign, is_json_text

Format: TypeAlias = Literal["parquet", "jsonl.zst"]

GROUP_BYTES = 16 * 10**6  # of content: small enough to buffer, large enough to compress and scan well
GROUP_RECORDS = 16_384
ZSTD_LEVEL = 3  # zstd's own default: past it, size falls slowly and time grows fast
_DICTIONARY = (
    "source",
    "stage",
    "action",
    "reason",
    "kept_release",
    "license",
    "language",
    "license_declared",
    "license_concluded",
)


@dataclass(frozen=True)
class Stream:
    """One kind of shard: where, which columns, in which format."""

    folder: Path
    schema: pa.Schema
    format: Format = "parquet"
    stem: str = "part"


@dataclass(frozen=True)
class Shard:
    """A finished file."""

    path: Path
    bytes: int
    sha256: str
    records: int


class ShardWriter:
    """Writes one stream of shards, and others aligned with it row by row and shard by shard."""

    def __init__(self, streams: Sequence[Stream], shard_size: int) -> None:
        self._streams = streams
        self._shard_size = shard_size
        self._pending: list[list[pa.Table]] = [[] for _ in streams]
        self._bytes = self._records = 0
        self._open: list[_File] = []
        self._count = 0
        self.shards: list[list[Shard]] = [[] for _ in streams]

    def append(self, tables: Sequence[pa.Table]) -> None:
        """Add records: one table per stream, all of the same length, in the streams' schemas."""
        sizes = record_sizes(tables[0])
        start = 0
        while start < len(sizes):
            room = sizes[start : start + GROUP_RECORDS - self._records]
            ends = np.cumsum(room) + self._bytes
            full = int(np.searchsorted(ends, GROUP_BYTES))  # the record that fills the group belongs to it
            take = min(full + 1, len(room))
            for pending, table in zip(self._pending, tables, strict=True):
                pending.append(table.slice(start, take))
            self._records += take
            self._bytes = int(ends[take - 1])
            start += take
            if self._bytes >= GROUP_BYTES or self._records >= GROUP_RECORDS:
                self._write_group()

    def close(self) -> None:
        """Write what is left. Without records there is one empty shard, for its schema."""
        if self._records or not self._count:
            self._write_group()
        self._close_shards()

    def _write_group(self) -> None:
        if not self._open:
            self._open = [
                _FILES[s.format](s, s.folder / f"{s.stem}-{self._count:05d}.{s.format}")
                for s in self._streams
            ]
            self._count += 1
        for file, pending, stream in zip(self._open, self._pending, self._streams, strict=True):
            file.write(pa.concat_tables([stream.schema.empty_table(), *pending]).combine_chunks())
            pending.clear()
        self._bytes = self._records = 0
        if self._open[0].size() >= self._shard_size:
            self._close_shards()

    def _close_shards(self) -> None:
        if not self._open:  # the last group filled its shard
            return
        for file, done in zip(self._open, self.shards, strict=True):
            file.close()
            done.append(finished(file.path, file.records))
        self._open = []


class _File(Protocol):
    path: Path
    records: int

    def write(self, table: pa.Table) -> None: ...

    def size(self) -> int: ...

    def close(self) -> None: ...


class _Parquet:
    def __init__(self, stream: Stream, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.records = path, 0
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            stream.schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=[name for name in _DICTIONARY if name in stream.schema.names],
            write_page_checksum=True,
        )

    def write(self, table: pa.Table) -> None:
        self.records += table.num_rows
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def size(self) -> int:
        return int(self._sink.tell())

    def close(self) -> None:
        self._writer.close()
        self._sink.close()


class _JsonLines:
    """Each row group is one zstd frame of JSON lines."""

    def __init__(self, stream: Stream, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.records = path, 0
        self._file = path.open("wb")
        self._compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True)

    def write(self, table: pa.Table) -> None:
        self.write_lines(json_lines(table))

    def write_lines(self, lines: Sequence[bytes]) -> None:
        self.records += len(lines)
        self._file.write(self._compressor.compress(b"".join(line + b"\n" for line in lines)))

    def size(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def json_lines(table: pa.Table) -> list[bytes]:
    """Return each row as JSON, columns in the table's order; columns of JSON text as what they say."""
    texts = [field.name for field in table.schema if is_json_text(field)]
    lines = []
    for row in table.to_pylist():
        for name in texts:
            if row[name] is not None:
                row[name] = orjson.Fragment(row[name])
        lines.append(orjson.dumps(row, default=foreign))
    return lines


_FILES: dict[Format, Any] = {"parquet": _Parquet, "jsonl.zst": _JsonLines}


def shard_file(stream: Stream, path: Path) -> Any:
    """Return one shard of a stream, to be written row group by row group: ``write(table)``, then ``close()``.

    A shard of JSON lines also takes lines as they are: ``write_lines``.
    """
    return _FILES[stream.format](stream, path)


def record_sizes(table: pa.Table) -> npt.NDArray[np.int64]:
    """Return each record's size in bytes [n]: its strings, nested ones too, and 8 for any other value."""
    total = np.zeros(table.num_rows, dtype=np.int64)
    for column in table.columns:
        for chunk, at in _placed(column):
            total[at : at + len(chunk)] += _sizes(chunk)
    return total


def _placed(column: pa.ChunkedArray) -> list[tuple[pa.Array, int]]:
    starts = np.cumsum([0, *(len(chunk) for chunk in column.chunks)])
    return list(zip(column.chunks, starts.tolist(), strict=False))


def _sizes(array: pa.Array) -> npt.NDArray[np.int64]:
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind):
        return np.asarray(pc.fill_null(pc.binary_length(array), 0), dtype=np.int64)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(_sizes(array.flatten()))])
        stops = np.cumsum(lengths)
        return np.asarray(ends[stops] - ends[stops - lengths], dtype=np.int64)
    if pa.types.is_struct(kind):
        fields = [_sizes(pc.struct_field(array, i)) for i in range(kind.num_fields)]
        return np.sum(fields, axis=0, dtype=np.int64) if fields else np.zeros(len(array), np.int64)
    return np.full(len(array), 8, dtype=np.int64)


def sync(folder: Path) -> None:
    """Put a folder's names on disk for good, after files were made or renamed in it."""
    if os.name == "nt":  # folders cannot be opened there
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def finished(path: Path, records: int) -> Shard:
    """Put a written file on disk for good and hash it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Shard(path, path.stat().st_size, digest, records)


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all (temp, fsync, rename)."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync(path.parent)
