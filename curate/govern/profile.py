"""What the stage ``profile`` told of every record, counted from records/ and removed/: before and after the stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.govern import diversity, representation
from curate.ledger import database, scan_parquet
from curate.record import CURATE

STAGE = "profile"
PARTS = ("diversity", "representation")


def measure(folder: Path, recipe: Mapping[str, Any], memory: int) -> dict[str, Any]:
    """Return the manifest's parts ``diversity`` and ``representation``; none where no stage ``profile`` ran.

    folder: holds records/ and removed/. recipe: resolved. memory: bytes that the run may hold. Where removed/ was not
    kept, what the run counted there cannot be counted again: then there is none, either, and a take-down takes out
    what the run counted (PARTS).
    """
    stages = [stage["name"] for stage in recipe["stages"]]
    removed = next(folder.glob("removed/part-*.parquet"), None)
    if STAGE not in stages or removed is None:
        return {}
    facts = {field.name for field in pq.read_schema(removed).field(CURATE).type.field("facts").type}
    if not {"task", "mentions", "turns"} <= facts:
        return {}
    with database(memory) as connection:
        for name in ("records", "removed"):
            tables = scan_parquet(folder.glob(f"{name}/part-*.parquet"))
            connection.execute(f"CREATE VIEW {name} AS SELECT * FROM {tables}")
        connection.execute(_TOLD)
        return {
            "diversity": diversity.measure(connection),
            "representation": representation.measure(connection, stages[stages.index(STAGE) + 1 :]),
        }


_FACTS = ("task", "topic", "mentions", "words_prompt", "words_response", "turns")
# Records that no stage profile has seen have no turns. In what is kept, `stage` is null.
_TOLD = f"""
    CREATE VIEW told AS
    SELECT source, NULL AS stage, {", ".join(_FACTS)} FROM records WHERE turns IS NOT NULL
    UNION ALL
    SELECT source, curate.stage, {", ".join(f"curate.facts.{name} AS {name}" for name in _FACTS)} FROM removed
    WHERE curate.facts.turns IS NOT NULL
"""
