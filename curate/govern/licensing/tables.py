"""The rows of data/ and records/ side by side, a part at a time, whatever the format of data/."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.io.write import GROUP_RECORDS

_BUFFER = 1 << 20  # bytes


def aligned(folder: Path, data: Sequence[str], records: Sequence[str]) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Yield columns of data/ and of records/, the same records in both, in the release's order.

    A part has the rows of one row group of records/. Columns that data/ does not have are null strings.
    """
    pairs = zip(shards(folder, "data"), shards(folder, "records"), strict=True)
    for content, described in pairs:
        file = pq.ParquetFile(described)
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        rows = (
            _parquet(content, data, groups) if content.suffix == ".parquet" else _lines(content, data, groups)
        )
        for group, part in enumerate(rows):
            yield part, file.read_row_group(group, columns=list(records))


def lines(folder: Path, columns: Sequence[str], having: str) -> Iterator[pa.Table]:
    """Yield columns of a data/ that is JSON lines, of the records that have one of them."""
    for shard in shards(folder, "data"):
        yield from _lines(shard, columns, None, having)


def shards(folder: Path, name: str) -> list[Path]:
    """Return the shards of one table, in order."""
    return sorted((folder / name).glob("part-*"))


def columns(folder: Path) -> list[str] | None:
    """Return the names of the columns of data/ in Parquet; None for JSON lines, where every line names its own."""
    first = next(iter(shards(folder, "data")), None)
    return list(pq.read_schema(first).names) if first is not None and first.suffix == ".parquet" else None


def _parquet(path: Path, wanted: Sequence[str], groups: Sequence[int]) -> Iterator[pa.Table]:
    file = pq.ParquetFile(path)
    there = [name for name in wanted if name in file.schema_arrow.names]
    if [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == list(groups):
        parts = (file.read_row_group(i, columns=there) for i in range(file.num_row_groups))
    else:  # rewritten by another hand: the shard at once
        whole, starts = file.read(columns=there), [sum(groups[:i]) for i in range(len(groups))]
        parts = (whole.slice(start, rows) for start, rows in zip(starts, groups, strict=True))
    for part in parts:
        columns = {
            name: part.column(name).cast(pa.string())
            if name in there
            else pa.nulls(part.num_rows, pa.string())
            for name in wanted
        }
        yield pa.table(columns)


def _lines(
    path: Path, wanted: Sequence[str], groups: Sequence[int] | None, having: str | None = None
) -> Iterator[pa.Table]:
    # In JSON a string holds no bare quote: a key that stands once in a line is the record's own, and told at sight.
    key = f'"{having}":'.encode()
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        # Only the cells wanted are kept of a line: thousands of whole records would keep the garbage collector busy.
        rows = (
            cells(orjson.loads(line), wanted)
            for line in io.BufferedReader(stream, _BUFFER)
            if having is None or key + b"null" not in line or line.count(key) > 1
        )
        sizes = iter(groups) if groups is not None else iter(lambda: GROUP_RECORDS, None)
        for size in sizes:
            part = list(islice(rows, size))
            if not part:
                return
            columns = zip(*part, strict=True)
            yield pa.table({name: pa.array(c, pa.string()) for name, c in zip(wanted, columns, strict=True)})


def cells(row: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str | None, ...]:
    """Return some of a record's values as text; what is not there is null."""
    return tuple([_text(row.get(name)) for name in wanted])


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
