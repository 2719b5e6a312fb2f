"""How large records are, as they say themselves: what row groups and shards are cut by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types


def record_sizes(table: pa.Table | pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Return each record's size in bytes [n]: its strings, nested ones too, and 8 for any other value."""
    fixed = sum(not _varies(field.type) for field in table.schema)
    total = np.full(table.num_rows, 8 * fixed, dtype=np.int64)
    for column in table.columns:
        if _varies(column.type):
            at = 0
            for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else (column,):
                total[at : at + len(chunk)] += _sizes(chunk)
                at += len(chunk)
    return total


def _varies(kind: pa.DataType) -> bool:
    tests = (types.is_string, types.is_binary, types.is_large_string)
    return any(test(kind) for test in tests) or _is_list(kind) or bool(types.is_struct(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(types.is_list(kind) or types.is_large_list(kind))


def _sizes(array: pa.Array) -> npt.NDArray[np.int64]:
    kind = array.type
    if _is_list(kind):
        lengths = _lengths(pc.list_value_length(array))
        ends = np.concatenate([[0], np.cumsum(_sizes(array.flatten()))])
        stops = np.cumsum(lengths)
        return np.asarray(ends[stops] - ends[stops - lengths], dtype=np.int64)
    if types.is_struct(kind):
        fields = [_sizes(pc.struct_field(array, i)) for i in range(kind.num_fields)]
        return np.sum(fields, axis=0, dtype=np.int64) if fields else np.zeros(len(array), np.int64)
    if _varies(kind):
        return _lengths(pc.binary_length(array))
    return np.full(len(array), 8, dtype=np.int64)


def _lengths(found: pa.Array) -> npt.NDArray[np.int64]:
    if found.null_count:
        found = pc.fill_null(found, 0)
    lengths: npt.NDArray[np.int64] = found.to_numpy(zero_copy_only=False)
    return lengths
