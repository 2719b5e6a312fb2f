"""The records of a release as they are counted: row groups of their facts, with the bytes of their content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.govern.takedown.tables import line_groups
from curate.record import CURATE

FACTS = ("language", "task", "license_concluded")
_CONTENT = ("text", "messages")


def kept(folder: Path) -> Iterator[tuple[pa.Table, Any]]:
    """Yield row groups of records/, as ``source license`` and facts, and the bytes of the contents beside them [n]."""
    shards = (sorted((folder / part).glob("part-*")) for part in ("records", "data"))
    for records, data in zip(*shards, strict=True):
        with pq.ParquetFile(records) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            contents = _contents(data, sizes)
            for group in range(file.num_row_groups):
                table = file.read_row_group(
                    group, columns=_there(file, ["source", "license_declared", *FACTS])
                )
                columns = {name: _column(table, name) for name in ("source", *FACTS)}
                columns["license"] = _column(table, "license_declared")
                yield pa.table(columns), next(contents)


def _contents(data: Path, sizes: Sequence[int]) -> Iterator[Any]:
    if data.suffix == ".parquet":
        with pq.ParquetFile(data) as file:
            for group in range(file.num_row_groups):
                yield _bytes(file.read_row_group(group, columns=_there(file, _CONTENT)))
        return
    for lines in line_groups(data, sizes):
        rows = (orjson.loads(line) for line in lines)
        yield np.array([_bytes_of(row) for row in rows], np.int64)


def _bytes_of(row: Mapping[str, Any]) -> int:
    found = [row.get("text"), *(turn.get("content") for turn in row.get("messages") or ())]
    return sum(len(text.encode()) for text in found if text)


def removed(folder: Path) -> Iterator[tuple[pa.Table, Any]]:
    """Yield row groups of removed/ likewise, with the stage; no bytes where they are encrypted."""
    for path in sorted(folder.glob("removed/part-*")):
        with pq.ParquetFile(path) as file:
            nested = [f"{CURATE}.stage", *(f"{CURATE}.facts.{name}" for name in FACTS)]
            there = _there(file, ["source", "license", *_CONTENT])
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=[*there, *nested])
                if not table.num_rows:
                    continue
                told = table.column(CURATE).combine_chunks() if CURATE in table.column_names else None
                facts = None if told is None else _member(told, "facts")
                columns = {"source": table.column("source"), "license": _column(table, "license")}
                columns["stage"] = _member(told, "stage")
                for name in FACTS:
                    found = None if facts is None else _member(facts, name)
                    columns[name] = pa.nulls(table.num_rows, pa.string()) if found is None else found
                yield pa.table(columns), _bytes(table) if set(_CONTENT) & set(there) else None


def _there(file: Any, names: Sequence[str]) -> list[str]:
    return [name for name in names if name in file.schema_arrow.names]


def _column(table: pa.Table, name: str) -> Any:
    return table.column(name) if name in table.column_names else pa.nulls(table.num_rows, pa.string())


def _member(struct: Any, name: str) -> Any:
    return pc.struct_field(struct, name) if struct.type.get_field_index(name) >= 0 else None


def _bytes(table: pa.Table) -> Any:
    """Return the bytes of each record's text, or of its turns [n]."""
    found = np.zeros(table.num_rows, np.int64)
    if "text" in table.column_names:
        found += pc.fill_null(pc.binary_length(table.column("text").combine_chunks()), 0).to_numpy(
            zero_copy_only=False
        )
    if "messages" in table.column_names:
        column = table.column("messages").combine_chunks()
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        content = pc.struct_field(column.flatten(), "content")
        each = pc.fill_null(pc.binary_length(content), 0).to_numpy(zero_copy_only=False)
        ends = np.concatenate([[0], np.cumsum(each, dtype=np.int64)])
        stops = np.cumsum(lengths)
        found += ends[stops] - ends[stops - lengths]
    return found
