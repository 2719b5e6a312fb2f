"""Ids that are not unique in their source: reported, never merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from curate import ledger, record
from curate.pipeline import Chain
from curate.stage import evidence_json
from curate.unit import READ

DUPLICATE_ID = "read/duplicate-id"


class DoubledIds:
    """The records whose id is not unique in its source. They lie in DuckDB, which spills what is too much."""

    def __init__(self, folder: Path, memory: int) -> None:
        import duckdb

        config: dict[str, Any] = {
            "memory_limit": f"{max(memory // 10**6, 256)}MB",
            "temp_directory": str(folder / "spill"),
        }
        self._connection = duckdb.connect(config=config)
        tables = {name: ledger.scan_parquet(folder.glob(f"{name}/part-*")) for name in ("records", "removed")}
        self._connection.execute(
            f"""
            CREATE TABLE doubled AS
            WITH everything AS (
                SELECT id, source, locator FROM {tables["records"]}
                UNION ALL SELECT id, source, {record.CURATE}.locator FROM {tables["removed"]}
            ), shared AS (SELECT id, count(*) AS n FROM everything GROUP BY id HAVING n > 1)
            SELECT id, source, locator, n, regexp_replace(locator, '#[0-9]+$', '') AS path,
                   CAST(regexp_extract(locator, '#([0-9]+)$', 1) AS BIGINT) AS place
            FROM everything JOIN shared USING (id)
            """
        )

    def __enter__(self) -> DoubledIds:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def counts(self) -> dict[str, int]:
        """Return how many records of each source share their id."""
        rows = self._connection.execute(
            "SELECT source, count(*) FROM doubled GROUP BY source ORDER BY source"
        )
        return dict(rows.fetchall())

    def of(self, chain: Chain) -> pa.Table:
        """Return the flags on one unit's records, as rows of ledger.WORKING."""
        unit = chain.unit
        sql = """SELECT id, locator, n, place FROM doubled
                 WHERE source = ? AND path = ? AND place >= ? AND place < coalesce(?, 9223372036854775807)"""
        where = [chain.plan.source.name, unit.file.path, unit.first_row, chain.ends]
        flags = [
            {
                "id": name,
                "source": chain.plan.source.name,
                "stage": READ,
                "action": "flag",
                "reason": DUPLICATE_ID,
                "evidence": evidence_json({"at": locator, "records": n}),
                "_row": at,
                "_stage": 0,
            }
            for name, locator, n, at in self._connection.execute(sql, where).fetchall()
        ]
        return pa.Table.from_pylist(flags, ledger.WORKING)
