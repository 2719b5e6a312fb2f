"""One look at the cells of parsed records and of Arrow batches."""

from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.columns import FROM, JSON_TEXT, microseconds

MISSING: Any = object()
"""Stands where a record has no such field at all."""

_MARK = next(iter(JSON_TEXT))
# orjson has turned integers beyond 64 bits into floats, which it writes with an exponent from 1e16 on.
_EXPONENT = re.compile(r"\de\+?\d\d")


class Cells(Protocol):
    """Records, column by column."""

    @property
    def limit(self) -> int | None:
        """Return how many bytes of content a record may have, where that has not been checked yet."""
        ...

    def __len__(self) -> int: ...

    def values(self, name: str) -> list[Any]:
        """Return a column as Python values; MISSING where a record lacks it."""
        ...

    def strings(self, name: str) -> pa.StringArray | None:
        """Return a column as strings, or None if any of it is something else."""
        ...

    def turns(
        self, name: str, role: str, content: str, renamed: Mapping[str, str]
    ) -> list[list[tuple[str, str]]] | None:
        """Return a column of turns the quick way, roles renamed; None if that is not safe."""
        ...

    def array(self, field: pa.Field) -> pa.Array:
        """Return an extra column as the plan wants it."""
        ...

    def raw(self, i: int) -> bytes | None:
        """Return a record's line."""
        ...

    def take(self, good: Sequence[int]) -> Cells:
        """Return the records at these positions."""
        ...


class Parsed:
    """Cells of parsed lines. exact: the lines are JSON, so that integers of any size can be had back."""

    limit: int | None = None  # the line's own length was checked

    def __init__(self, records: Sequence[dict[str, Any]], lines: Sequence[bytes | None], exact: bool) -> None:
        self._records = records
        self._lines = lines
        self._exact = exact

    def __len__(self) -> int:
        return len(self._records)

    def values(self, name: str) -> list[Any]:
        """Return a column as Python values; MISSING where a record lacks it."""
        return [record.get(name, MISSING) for record in self._records]

    def strings(self, name: str) -> pa.StringArray | None:
        """Return a column as strings, or None if any of it is something else."""
        values = [record.get(name) for record in self._records]
        if not all(type(value) is str for value in values):
            return None
        return pa.array(values, pa.string())

    def turns(self, name: str, role: str, content: str, renamed: Mapping[str, str]) -> None:
        """Return None: parsed turns are looked at one by one."""

    def array(self, field: pa.Field) -> pa.Array:
        """Return an extra column as the plan wants it."""
        name = input_name(field)
        values = [record.get(name) for record in self._records]
        if not is_json_text(field):
            return pa.array(values, field.type)
        return pa.array([self._text(i, name, value) for i, value in enumerate(values)], pa.string())

    def _text(self, i: int, name: str, value: Any) -> str | None:
        if value is None:
            return None
        text = json_text(value)
        line = self._lines[i]
        if self._exact and line is not None and _EXPONENT.search(text):
            return json.dumps(json.loads(line)[name], ensure_ascii=False, separators=(",", ":"))
        return text

    def raw(self, i: int) -> bytes | None:
        """Return a record's line."""
        return self._lines[i]

    def take(self, good: Sequence[int]) -> Parsed:
        """Return the records at these positions."""
        return Parsed([self._records[i] for i in good], [self._lines[i] for i in good], self._exact)


class Tabular:
    """Cells of an Arrow batch whose columns have plain types and valid UTF-8."""

    def __init__(self, batch: pa.RecordBatch, limit: int) -> None:
        self._batch = batch
        self.limit = limit

    def __len__(self) -> int:
        return int(self._batch.num_rows)

    def _column(self, name: str) -> pa.Array | None:
        index = self._batch.schema.get_field_index(name)
        return None if index < 0 else self._batch.column(index)

    def values(self, name: str) -> list[Any]:
        """Return a column as Python values; MISSING where the file lacks it."""
        column = self._column(name)
        return [MISSING] * len(self) if column is None else pylist(column)

    def strings(self, name: str) -> pa.StringArray | None:
        """Return a column as strings, or None if any of it is something else."""
        column = self._column(name)
        if column is None or column.null_count or not pa.types.is_string(column.type):
            return None
        return column

    def turns(
        self, name: str, role: str, content: str, renamed: Mapping[str, str]
    ) -> list[list[tuple[str, str]]] | None:
        """Return a column of turns without an object for each; None if any of it is null or no string."""
        column = self._column(name)
        if column is None or column.null_count or not pa.types.is_list(column.type):
            return None
        flat = column.flatten()
        if not pa.types.is_struct(flat.type) or flat.null_count:
            return None
        if min(flat.type.get_field_index(role), flat.type.get_field_index(content)) < 0:
            return None
        roles, contents = (pc.struct_field(flat, key) for key in (role, content))
        for part in (roles, contents):
            if part.null_count or not pa.types.is_string(part.type):
                return None
        named = [renamed.get(one, one) for one in roles.to_pylist()]
        pairs = list(zip(named, contents.to_pylist(), strict=True))
        first = column.offsets[0].as_py()
        ends = [end - first for end in column.offsets.to_pylist()]
        return [pairs[a:b] for a, b in itertools.pairwise(ends)]

    def array(self, field: pa.Field) -> pa.Array:
        """Return an extra column as the plan wants it."""
        column = self._column(input_name(field))
        if column is None:
            return pa.nulls(len(self), field.type)
        if is_json_text(field):
            texts = [None if value is None else json_text(value) for value in pylist(column)]
            return pa.array(texts, pa.string())
        return column if column.type == field.type else column.cast(field.type)

    def raw(self, i: int) -> None:
        """Return None: a table has no lines."""

    def take(self, good: Sequence[int]) -> Tabular:
        """Return the records at these positions."""
        return Tabular(self._batch.take(pa.array(good, pa.int64())), self.limit or 0)


def input_name(field: pa.Field) -> str:
    """Return the name that a field of the plan has in the input."""
    return str((field.metadata or {}).get(FROM, field.name.encode()).decode())


def is_json_text(field: pa.Field) -> bool:
    """Tell whether a field holds values as JSON text."""
    return _MARK in (field.metadata or {})


def json_text(value: Any) -> str:
    """Return a value as JSON, keys in their order; what JSON lacks as a string, bytes in base64."""
    return orjson.dumps(value, default=foreign, option=orjson.OPT_NON_STR_KEYS).decode()


def foreign(value: Any) -> str:
    """Return what JSON has no form for: bytes in base64 (RFC 4648), anything else as Python prints it."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def pylist(column: pa.Array) -> list[Any]:
    """Return Python values; nanoseconds become microseconds, the finest that Python's own types hold."""
    coarse = microseconds(column.type)
    if coarse != column.type:
        column = column.cast(coarse, safe=False)
    return list(column.to_pylist())
