"""What a unit leaves: files that merge into one order, whatever pieces they come in."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate import outcome

ORDER = [("_row", "ascending"), ("_stage", "ascending")]
ROWS = st.lists(st.integers(0, 30), max_size=25).map(sorted)


def _pieces(rows: list[int], stage: int, cuts: list[int]) -> list[pa.Table]:
    """Cut rows into tables; equal rows stay together."""
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows) and rows[cut] != rows[cut - 1])})
    parts = [rows[a:b] for a, b in itertools.pairwise(edges)]
    return [pa.table({"_row": part, "_stage": [stage] * len(part)}) for part in parts if part]


@given(st.lists(st.tuples(ROWS, st.lists(st.integers(1, 24))), max_size=5))
@settings(deadline=None)
def test_streams_merge_into_one_order_however_they_are_cut(
    streams: list[tuple[list[int], list[int]]],
) -> None:
    pieces = [iter(_pieces(rows, stage, cuts)) for stage, (rows, cuts) in enumerate(streams)]
    merged = [row for table in outcome.merged(pieces, ORDER) for row in table.to_pylist()]
    expected = sorted((row, stage) for stage, (rows, _) in enumerate(streams) for row in rows)
    assert [(row["_row"], row["_stage"]) for row in merged] == expected


def test_a_stream_whose_rows_do_not_ascend_is_refused() -> None:
    tables = [pa.table({"_row": rows, "_stage": [0] * len(rows)}) for rows in ([1, 5], [3])]
    with pytest.raises(ValueError, match="row 3 of stream 0 comes after row 5"):
        list(outcome.merged([iter(tables)], ORDER))
