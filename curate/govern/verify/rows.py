"""Reading shards that may be damaged: as far as they go, a chunk of records at a time."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate import record
from curate.io.write import json_lines

_LINES = 4096  # of JSON, in a chunk


class UnreadableError(Exception):
    """A shard cannot be read from some row on; what stands there is not told."""

    def __init__(self, row: int, said: str) -> None:
        self.row, self.said = row, said  # the first row, from 1, that cannot be read
        super().__init__(said)


@dataclass(frozen=True)
class Chunk:
    """Consecutive records of a shard of data/."""

    start: int  # rows before it
    ids: list[str]
    sources: list[str]
    lines: list[bytes]  # as JSON, without their ends
    digests: list[str]  # SHA-256 of their content, as in records/


@dataclass
class Sides:
    """What a shard of records/ says of the records of data/ beside it, as far as it can be read."""

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    leaves: list[int] = field(default_factory=list)
    salts: list[bytes] = field(default_factory=list)
    broken: UnreadableError | None = None


def chunks(path: Path) -> Iterator[Chunk]:
    """Yield a data shard's records in order. Raises UnreadableError where it cannot be read any further."""
    if path.suffix != ".parquet":
        yield from _json_chunks(path)
        return
    start = 0
    for table in tables(path):
        yield _chunk(table, start)
        start += table.num_rows


def sides(path: Path) -> Sides:
    """Return what a shard of records/ says; ``broken`` tells where it stops being readable."""
    found = Sides()
    try:
        for table in tables(path, ["id", "source", "sha256_out", "leaf", "salt"]):
            found.ids += table.column("id").to_pylist()
            found.sources += table.column("source").to_pylist()
            found.digests += table.column("sha256_out").to_pylist()
            found.leaves += table.column("leaf").to_pylist()
            found.salts += table.column("salt").to_pylist()
    except UnreadableError as error:
        found.broken = error
    return found


def leaves(path: Path, count: int) -> tuple[list[bytes | None], UnreadableError | None]:
    """Return a shard's leaves: as many as the manifest lists at least, None where they cannot be read."""
    found: list[bytes | None] = []
    broken = None
    try:
        for table in tables(path, ["leaf"]):
            found += table.column("leaf").to_pylist()
    except UnreadableError as error:
        broken = error
        found += [None] * (count - len(found))
    return found, broken


def tables(path: Path, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield a parquet file's row groups; of one that is damaged, the rows before the damage.

    Raises UnreadableError after them.
    """
    start = 0
    _is_file(path)
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except Exception as error:  # noqa: BLE001  damaged bytes make readers raise anything
        raise UnreadableError(1, f"cannot be opened as parquet ({type(error).__name__})") from None
    with file:
        for group in range(file.num_row_groups):
            try:
                table = file.read_row_group(group, columns=columns)
                table.validate(full=True)
            except Exception as error:  # noqa: BLE001
                for table in _one_by_one(file, group, columns):
                    yield table
                    start += table.num_rows
                where = _columns(file, group, columns)
                past = f" past row {start:,}" if start else ""
                said = f"cannot be read{past}, in row group {group + 1} of {file.num_row_groups}{where}"
                raise UnreadableError(start + 1, f"{said} ({type(error).__name__})") from None
            yield table
            start += table.num_rows


def _is_file(path: Path) -> None:
    """Raise UnreadableError for what is no file: a pipe or a device would be read forever."""
    if not path.is_file():
        raise UnreadableError(1, "is no file" if path.exists() else "is missing")


def _one_by_one(file: pq.ParquetFile, group: int, columns: list[str] | None) -> Iterator[pa.Table]:
    """Yield the records of a damaged row group that stand before the damage."""
    try:
        for batch in file.iter_batches(batch_size=1, row_groups=[group], columns=columns):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])
    except Exception:  # noqa: BLE001
        return


def _columns(file: pq.ParquetFile, group: int, columns: list[str] | None) -> str:
    """Name the columns of a row group that cannot be read, where that can be told."""
    damaged = []
    for name in columns or file.schema_arrow.names:
        try:
            file.read_row_group(group, columns=[name]).validate(full=True)
        except Exception:  # noqa: BLE001
            damaged.append(name)
    return f", column {', '.join(damaged)}" if damaged else ""


def _chunk(table: pa.Table, start: int) -> Chunk:
    """Return a table of data/ as a chunk."""
    names = [name for name in ("messages", "text") if name in table.schema.names]
    contents = zip(*(table.column(name).to_pylist() for name in names), strict=True)
    ids, sources = (table.column(name).to_pylist() for name in ("id", "source"))
    return Chunk(start, ids, sources, json_lines(table), [_digest(values) for values in contents])


def _digest(contents: tuple[Any, ...]) -> str:
    """Return the hash of a record's content: a release of documents and conversations has a column for each."""
    value = next((value for value in contents if value is not None), None)
    return hashlib.sha256(record.canonical(value)).hexdigest()


def _json_chunks(path: Path) -> Iterator[Chunk]:
    """Yield a shard of JSON lines; raises UnreadableError after the records that stand before a damage."""
    start = 0
    for lines, whole in _line_groups(path):
        chunk = _parsed(lines, start)
        yield chunk
        start += len(chunk.ids)
        if len(chunk.ids) < len(lines):
            raise UnreadableError(start + 1, f"line {start + 1:,} is no record")
        if not whole:
            raise UnreadableError(
                start + 1, f"cannot be read past row {start:,}: what is compressed is damaged"
            )


def _line_groups(path: Path) -> Iterator[tuple[list[bytes], bool]]:
    """Yield lines without their ends, and whether the stream goes on, or ends, as it should."""
    lines: list[bytes] = []
    _is_file(path)
    try:
        with path.open("rb") as packed:
            stream = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            for line in io.BufferedReader(stream):
                lines.append(line.removesuffix(b"\n"))
                if len(lines) == _LINES:
                    yield lines, True
                    lines = []
    except zstandard.ZstdError:
        yield lines, False
    else:
        yield lines, True


def _parsed(lines: list[bytes], start: int) -> Chunk:
    """Return lines of JSON as a chunk, up to the first that is no record."""
    chunk = Chunk(start, [], [], [], [])
    for line in lines:
        try:
            row = orjson.loads(line)
            told = row["id"], row["source"], _digest((row.get("messages"), row.get("text")))
        except Exception:  # noqa: BLE001  damaged JSON need not even be a mapping
            break
        for held, value in zip((chunk.ids, chunk.sources, chunk.digests), told, strict=True):
            held.append(value)
        chunk.lines.append(line)
    return chunk
