"""ATTRIBUTION.csv: one row for every kept record whose license asks for credit, in the release's order.

RFC 4180: fields parted by commas, quoted where they must be, lines ended by CRLF; UTF-8, header first. A
spreadsheet takes a cell that begins with one of ``= + - @``, a tab or a line end for a formula; so that no record can
plant one, such a cell gets an apostrophe in front, and so does one that begins with an apostrophe. To have the
value back, drop one apostrophe from every cell that begins with one. (OWASP, CSV Injection.)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from curate import licenses
from curate.govern.licensing import tables
from curate.io.write import Shard, finished

NAME = "ATTRIBUTION.csv"
COLUMNS = ("id", "source", "license", "license_url", "author", "url", "title", "changed")
FORMULA = r"^[=+\-@\t\r\n'＝＋－＠]"
_QUOTED = r'[",\r\n]'


def write(folder: Path, memory: int) -> list[Shard]:
    """Write ATTRIBUTION.csv into the folder that holds data/ and records/; nothing if no record asks for credit.

    Holds one row group of both tables at a time; memory is not used.
    """
    path = folder / NAME
    records = 0
    with path.open("wb") as file:
        file.write((",".join(COLUMNS) + "\r\n").encode())
        wanted = ("license", "author", "url", "title")
        for data, described in tables.aligned(folder, wanted, ("id", "source", "edits")):
            rows = _rows(data, described)
            records += rows.num_rows
            file.write(encoded(rows))
        file.flush()
    if not records:
        path.unlink()
        return []
    return [finished(path, records)]


def _rows(data: pa.Table, described: pa.Table) -> pa.Table:
    """Return the rows of one part: those whose license asks for credit."""
    coded = data.column("license").combine_chunks().dictionary_encode()
    said = [*coded.dictionary.to_pylist(), None]
    which = pc.fill_null(coded.indices, len(said) - 1)
    concluded = [licenses.resolve(text).concluded for text in said]
    owed = pa.array(
        [name is not None and licenses.terms(name).attribution is not False for name in concluded]
    )
    pages = [" ".join(filter(None, map(licenses.page, licenses.ids(name)))) or None for name in concluded]
    rows = pa.table(
        {
            "id": described.column("id"),
            "source": described.column("source"),
            "license": pa.array(concluded, pa.string()).take(which),
            "license_url": pa.array(pages, pa.string()).take(which),
            **{name: data.column(name) for name in ("author", "url", "title")},
            "changed": pc.if_else(pc.is_valid(described.column("edits")), "yes", "no"),
        }
    )
    return rows.filter(owed.take(which))


def encoded(rows: pa.Table) -> bytes:
    """Return rows of strings as lines of CSV, without a header."""
    if not rows.num_rows:
        return b""
    cells = [_cells(column) for column in rows.columns]
    ended: Any = pc.binary_join_element_wise(*cells, pa.scalar(",", pa.large_string()))
    lines = pc.binary_join_element_wise(
        ended, pa.scalar("\r\n", pa.large_string()), pa.scalar("", pa.large_string())
    )
    return b"".join(chunk.as_buffer().to_pybytes() for chunk in _joined(lines))


def _joined(lines: pa.ChunkedArray) -> list[Any]:
    empty = pa.scalar("", pa.large_string())
    return [
        pc.binary_join(pa.LargeListArray.from_arrays(pa.array([0, len(chunk)], pa.int64()), chunk), empty)[0]
        for chunk in lines.chunks
        if len(chunk)
    ]


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Guard against formulas, then quote what RFC 4180 wants quoted; null is an empty cell."""
    text = pc.fill_null(column.cast(pa.large_string()), "")
    formula = pc.match_substring_regex(text, FORMULA)
    text = pc.if_else(formula, pc.binary_join_element_wise(_scalar("'"), text, _scalar("")), text)
    quoted = pc.binary_join_element_wise(
        _scalar('"'), pc.replace_substring(text, '"', '""'), _scalar('"'), _scalar("")
    )
    return pc.if_else(pc.match_substring_regex(text, _QUOTED), quoted, text)


def _scalar(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())
