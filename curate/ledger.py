"""The ledger: one row for every decision that was not 'keep', and a release's tables in DuckDB."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.record import Batch
from curate.stage import Verdict, evidence_json

if TYPE_CHECKING:
    import duckdb

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("stage", pa.string()),
        ("action", pa.string()),  # drop | edit | quarantine | flag
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept_id", pa.string()),  # the kept record that a duplicate resembles
        ("evidence", pa.string()),  # JSON, never record text
    ]
)
# While a run works, each decision also knows its record's row and its stage's place in the recipe, so that
# the finished ledger stands in one order whatever the units, workers or batches were.
WORKING = pa.schema([*SCHEMA, ("_row", pa.int64()), ("_stage", pa.int32())])
_SHARE = 4  # of a run's memory, the part that DuckDB may hold
_opened = itertools.count()
ORDER = [(name, "ascending") for name in ("_row", "_stage", "reason", "action", "evidence")]


def rows(stage: str, place: int, batch: Batch, verdict: Verdict) -> pa.Table:
    """Return the decisions of one verdict as rows of WORKING."""
    chosen = pc.indices_nonzero(pc.not_equal(verdict.action, "keep"))
    further = pa.array([d.row for d in verdict.also], pa.int64())
    first = _table(
        stage,
        place,
        batch.take(chosen),
        {
            name: getattr(verdict, name).take(chosen)
            for name in ("action", "reason", "score", "kept_id", "evidence")
        },
    )
    if not verdict.also:
        return first
    also = {
        "action": pa.array([d.action for d in verdict.also], pa.string()),
        "reason": pa.array([d.reason for d in verdict.also], pa.string()),
        "score": pa.array([d.score for d in verdict.also], pa.float64()),
        "kept_id": pa.array([d.kept_id for d in verdict.also], pa.string()),
        "evidence": pa.array([evidence_json(d.evidence) for d in verdict.also], pa.string()),
    }
    both = pa.concat_tables([first, _table(stage, place, batch.take(further), also)])
    return both.sort_by(ORDER)  # in one piece, and the rows ascend, as outcome.merged needs them to


def _table(stage: str, place: int, batch: Batch, columns: dict[str, pa.Array]) -> pa.Table:
    n = batch.num_rows
    columns = {
        **columns,
        "id": batch.column("id"),
        "source": batch.column("source"),
        "stage": pa.repeat(pa.scalar(stage), n),
        "_row": batch.column("_row"),
        "_stage": pa.repeat(pa.scalar(place, pa.int32()), n),
    }
    return pa.table([columns[name] for name in WORKING.names], schema=WORKING)


def database(memory: int) -> duckdb.DuckDBPyConnection:
    """Open an empty DuckDB to count tables in, for a run that may hold ``memory`` bytes in all.

    It gets a share of them, 128 MB at least: its limit leaves out what it reads files with, and the process holds
    other things. What does not fit is spilled to the machine's own disk (TMPDIR). Never more threads than 4, each of
    which holds a row group that it unpacks.
    """
    import duckdb

    spill = Path(tempfile.gettempdir()) / f"curate-duckdb-{os.getpid()}-{next(_opened)}"
    config: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{max(memory // _SHARE // 10**6, 128)}MB",
        "temp_directory": str(spill),  # made when it is needed, and removed at the end
        "threads": min(4, os.cpu_count() or 1),
    }
    return duckdb.connect(config=config)


def connect(out: Path) -> duckdb.DuckDBPyConnection:
    """Open a release's tables as DuckDB views: ``ledger``, ``records``, ``removed``, ``edited``, ``clusters``,
    parquet ``data``; those that it has.

    Raises RecipeError if the folder is no finished release.
    """
    import duckdb

    if not (out / "manifest.json").is_file():
        unfinished = " (its run has not finished: run it again to go on)" if (out / "work").is_dir() else ""
        raise RecipeError(f"{out}: not a release, it has no manifest.json{unfinished}")
    connection = duckdb.connect()
    for view, pattern in _VIEWS.items():
        if files := list(out.glob(pattern)):
            connection.execute(f"CREATE VIEW {view} AS SELECT * FROM {scan_parquet(files)}")
    return connection


_VIEWS = {
    "ledger": "ledger/part-*.parquet",
    "records": "records/part-*.parquet",
    "data": "data/part-*.parquet",
    "removed": "removed/part-*.parquet",
    "edited": "removed/edited-*.parquet",
    "clusters": "clusters/part-*.parquet",
}


def scan_parquet(files: Iterable[Path]) -> str:
    """Return the SQL that scans these very files.

    DuckDB would take ``[``, ``*`` and ``?`` in a path for a pattern and ``key=value`` for a column.
    """
    names = []
    for path in sorted(files):
        escaped = re.sub(r"([\[*?])", r"[\1]", str(path))
        names.append("'" + escaped.replace("'", "''") + "'")
    return f"read_parquet([{', '.join(names)}], hive_partitioning = false)"


def rows_of(files: Iterable[Path], record_id: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of parquet files that have the id: those of the columns that there are, file and row, from 1.

    Only the row groups that hold the id are read whole.
    """
    found = []
    for path in sorted(files):
        file = pq.ParquetFile(path)
        wanted = [name for name in columns if name in file.schema_arrow.names]
        start = 0
        for group in range(file.num_row_groups):
            ids = file.read_row_group(group, columns=["id"]).column("id")
            at = pc.indices_nonzero(pc.equal(ids, record_id))
            if len(at):
                rows = file.read_row_group(group, columns=wanted).take(at).to_pylist()
                for row, n in zip(rows, at.to_pylist(), strict=True):
                    found.append({**row, "file": path.name, "row": start + n + 1})
            start += len(ids)
    return found


def query(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()
) -> list[dict[str, Any]]:
    """Run a query and return its rows as dicts."""
    cursor = connection.execute(sql, list(values))
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
