"""Shards: tables in, files out, the same bytes however the tables were cut.

Row groups end at a record that the records' own sizes decide. It does not depend on how the records arrive, so no
byte written does. Where a shard ends is decided before it is written (:mod:`curate.shards`), or, where one process
writes a whole table, as it is written: :class:`ShardWriter`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.io.cells import foreign, is_json_text
from curate.io.sizes import record_sizes

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
    split: str | None = None  # that all its records are in, where there are splits


class RowGroups:
    """Cuts aligned streams of tables into row groups: the same ones however the tables were cut."""

    def __init__(self, schemas: Sequence[pa.Schema]) -> None:
        self._schemas = schemas
        self._pending: list[list[pa.Table]] = [[] for _ in schemas]
        self._bytes = self._records = 0

    def add(self, tables: Sequence[pa.Table]) -> Iterator[list[pa.Table]]:
        """Take one table per stream, all of the same length, in the streams' schemas; yield groups that are full.

        The sizes of the first stream's records decide.
        """
        sizes = record_sizes(tables[0])
        start = 0
        while start < len(sizes):
            take, held = group_end(sizes[start:], self._records, self._bytes)
            for pending, table in zip(self._pending, tables, strict=True):
                pending.append(table.slice(start, take))
            self._records, self._bytes = self._records + take, held
            start += take
            if is_full(self._records, self._bytes):
                yield self._group()

    def rest(self) -> Iterator[list[pa.Table]]:
        """Yield what is left, if anything is."""
        if self._records:
            yield self._group()

    def _group(self) -> list[pa.Table]:
        group = [
            pa.concat_tables([schema.empty_table(), *pending]).combine_chunks()
            for schema, pending in zip(self._schemas, self._pending, strict=True)
        ]
        self._pending = [[] for _ in self._schemas]
        self._bytes = self._records = 0
        return group


def group_end(sizes: npt.NDArray[np.int64], records: int, held: int) -> tuple[int, int]:
    """Return how many of the next records [n >= 1] belong to a group that has some, and its bytes with them.

    The record that fills the group belongs to it.
    """
    room = sizes[: GROUP_RECORDS - records]
    ends = np.cumsum(room) + held
    take = min(int(np.searchsorted(ends, GROUP_BYTES)) + 1, len(room))
    return take, int(ends[take - 1])


def is_full(records: int, held: int) -> bool:
    """Tell whether a group of so many records and bytes takes no more."""
    return held >= GROUP_BYTES or records >= GROUP_RECORDS


class ShardWriter:
    """Writes one stream of shards, one after the other: each ends with the row group that takes it past the size."""

    def __init__(self, stream: Stream, shard_size: int) -> None:
        self._stream = stream
        self._shard_size = shard_size
        self._groups = RowGroups([stream.schema])
        self._open: _File | None = None
        self.shards: list[Shard] = []

    def append(self, table: pa.Table) -> None:
        """Add records, in the stream's schema."""
        for [group] in self._groups.add([table]):
            self._write_group(group)

    def close(self) -> None:
        """Write what is left. Without records there is one empty shard, for its schema."""
        for [group] in self._groups.rest():
            self._write_group(group)
        if self._open is None and not self.shards:
            self._write_group(self._stream.schema.empty_table())
        self._close_shard()

    def _write_group(self, group: pa.Table) -> None:
        if self._open is None:
            self._open = shard_file(
                self._stream, self._stream.folder / shard_name(self._stream, len(self.shards))
            )
        self._open.write(group)
        if self._open.size() >= self._shard_size:
            self._close_shard()

    def _close_shard(self) -> None:
        if self._open is not None:  # else the last group filled its shard
            self._open.close()
            self.shards.append(finished(self._open.path, self._open.records))
            self._open = None


def shard_name(stream: Stream, number: int) -> str:
    """Return the name of a stream's shard of that number."""
    return f"{stream.stem}-{number:05d}.{stream.format}"


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
