"""The columns of data/ and records/, read from the tables, as the manifest's part ``schema`` holds them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.io.cells import is_json_text
from curate.record import DESCRIPTION, MESSAGES, MESSAGES_EXTRA, REJECTED

LINES = 10_000  # of JSON, that are read to tell the types of columns, which JSON does not state
JSON = "json"  # type of a column of values of any type, objects among them
_SCALARS = {bool: "bool", int: "int64", float: "double", str: "string"}


def measure(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Return the columns of data/ and records/ in order, each {name, type}; a table that is not there is left out.

    A type is Arrow's name of it; ``json`` is a column of mixed values, which Parquet holds as JSON text. Columns
    of JSON lines have the type of their values in the first 10,000 lines of each shard, ``json`` if these differ; if
    all are null, that which every release gives them, and ``null`` for a source's own column.
    """
    found = {}
    for name in ("data", "records"):
        if shards := sorted((folder / name).glob("part-*")):
            told = _parquet(shards[0]) if shards[0].suffix == ".parquet" else _json_lines(shards)
            found[name] = [{"name": column, "type": kind} for column, kind in told.items()]
    return found


def spelled(kind: pa.DataType) -> str:
    """Return a type's name; of a list without the name of its element, which differs between readers."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{spelled(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{field.name}: {spelled(field.type)}' for field in kind)}>"
    return str(kind)


_UNSEEN = {
    **dict.fromkeys((*DESCRIPTION.names, "text", "language"), "string"),
    "messages": spelled(MESSAGES),
    REJECTED: spelled(MESSAGES),
    MESSAGES_EXTRA: JSON,
}


def _parquet(path: Path) -> dict[str, str]:
    return {
        field.name: JSON if is_json_text(field) else spelled(field.type) for field in pq.read_schema(path)
    }


def _json_lines(shards: Iterable[Path]) -> dict[str, str]:
    seen: dict[str, set[str]] = {}
    for row in chain.from_iterable(islice(_rows(path), LINES) for path in shards):
        for name, value in row.items():
            kinds = seen.setdefault(name, set())
            if value is not None and (kind := _told(name, value)) is not None:
                kinds.add(kind)
    return {
        name: _UNSEEN.get(name, "null") if not kinds else kinds.pop() if len(kinds) == 1 else JSON
        for name, kinds in seen.items()
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        for line in io.BufferedReader(stream):
            yield orjson.loads(line)


def _told(name: str, value: Any) -> str | None:
    return (
        spelled(MESSAGES)
        if name in ("messages", REJECTED)
        else JSON
        if name == MESSAGES_EXTRA
        else _type(value)
    )


def _type(value: Any) -> str | None:
    """Return the type of a value of JSON; None of an empty list, which has that of the others."""
    if isinstance(value, list):
        kinds = {_type(inner) for inner in value if inner is not None} - {None}
        return f"list<{kinds.pop()}>" if len(kinds) == 1 and JSON not in kinds else JSON if kinds else None
    return _SCALARS.get(type(value), JSON)
