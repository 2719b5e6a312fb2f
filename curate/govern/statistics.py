"""What a release's tables add up to: licenses, languages and edits by source. All by DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.ledger import database, query, scan_parquet
from curate.record import CURATE


def measure(folder: Path, memory: int) -> dict[str, Any]:
    """Return the statistics of the tables in a folder, as the manifest holds them; rows in a fixed order.

    memory: bytes that the run may hold.
    """
    with database(memory) as connection:
        for name in ("records", "removed"):
            tables = scan_parquet(folder.glob(f"{name}/part-*.parquet"))
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {tables}")
        removed = pq.read_schema(next(folder.glob("removed/part-*.parquet")))
        facts = {field.name for field in removed.field(CURATE).type.field("facts").type}
        judged = "language" in facts
        return {
            "licenses": query(connection, _LICENSES),
            "languages": query(connection, _LANGUAGES if judged else _LANGUAGES_KEPT),
            **({"languages_untold": query(connection, _UNTOLD)} if "language_mixed" in facts else {}),
            "edits": query(connection, _EDITS),
            "edited_records": query(connection, "SELECT count(edits) AS n FROM records")[0]["n"],
        }


_LICENSES = """
    SELECT source, coalesce(license_concluded, license_declared) AS license, count(*) AS records
    FROM records GROUP BY ALL ORDER BY source, license NULLS LAST
"""
_LANGUAGES = """
    SELECT source, language, sum(before)::BIGINT AS before, sum(after)::BIGINT AS after FROM (
        SELECT source, language, count(*) AS before, count(*) AS after FROM records
        WHERE language IS NOT NULL GROUP BY ALL
        UNION ALL
        SELECT source, curate.facts.language, count(*), 0 FROM removed
        WHERE curate.facts.language IS NOT NULL GROUP BY ALL
    ) GROUP BY source, language ORDER BY source, before DESC, language
"""
_LANGUAGES_KEPT = """
    SELECT source, language, count(*) AS before, count(*) AS after FROM records
    WHERE language IS NOT NULL GROUP BY source, language ORDER BY source, before DESC, language
"""
_UNTOLD = """
    SELECT source, count(*) AS judged, count(*) FILTER (language = 'und') AS undetermined,
        count(*) FILTER (language = 'zxx') AS not_linguistic, count(*) FILTER (mixed) AS mixed,
        count(*) FILTER (mixed AND kept) AS mixed_kept
    FROM (
        SELECT source, language, language_mixed AS mixed, true AS kept FROM records
        UNION ALL
        SELECT source, curate.facts.language, curate.facts.language_mixed, false FROM removed
    ) WHERE language IS NOT NULL GROUP BY source ORDER BY source
"""
_EDITS = """
    SELECT source, edit.reason AS reason, count(*) AS records, sum(edit.count)::BIGINT AS edits
    FROM (SELECT source, unnest(edits) AS edit FROM records) GROUP BY ALL ORDER BY source, reason
"""
