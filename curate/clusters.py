"""The cluster table of a release: every record that has a duplicate or is one, by stage and cluster.

A resolved barrier that deduplicates has a method ``members()``, which yields its clusters' records as record
batches of :data:`curate.stages.dedup.resolved.MEMBERS`; one that has none is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from curate.io.write import Shard, ShardWriter, Stream
from curate.stage import Stage

if TYPE_CHECKING:
    import duckdb

FOLDER = "clusters"
SCHEMA = pa.schema(
    [
        ("stage", pa.string()),
        ("cluster", pa.string()),  # as in the records' fact of that stage
        ("id", pa.string()),
        ("source", pa.string()),
        ("locator", pa.string()),  # ids need not be unique; source and locator are
        ("kept", pa.bool_()),  # by this stage: a later one may have removed it
        ("kept_id", pa.string()),  # the record that stands for this one; null for a kept record
        ("kept_release", pa.string()),  # root of the earlier release that holds it; null: this one does
        ("similarity", pa.float64()),  # with that record; null for a kept record
        ("prompt_similarity", pa.float64()),
        ("response_similarity", pa.float64()),
        ("size", pa.int64()),  # records of the cluster in this table
    ]
)
_BATCH = 16_384  # records


def stages(resolved: Mapping[str, Stage]) -> list[str]:
    """Return the names of the barriers that state clusters, in the recipe's order."""
    return [name for name, stage in resolved.items() if hasattr(stage, "members")]


def connect(folder: Path, memory: int) -> duckdb.DuckDBPyConnection:
    """Open DuckDB with at most ``memory`` bytes (256 MB at least); more than fits goes to ``folder``/spill."""
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": f"{max(memory // 10**6, 256)}MB",
        "temp_directory": str(folder / "spill"),
    }
    return duckdb.connect(config=config)


def write(resolved: Mapping[str, Stage], folder: Path, shard_size: int, memory: int) -> list[Shard]:
    """Write ``folder``/clusters and return its shards: none, and no folder, if no stage states clusters.

    Sorted by stage (as in the recipe), cluster, kept record first, source, file and row; by one stage at a
    time, in DuckDB, within ``memory`` bytes.
    """
    names = stages(resolved)
    if not names:
        return []
    writer = ShardWriter(Stream(folder / FOLDER, SCHEMA), shard_size)
    for name in names:
        for table in _sorted(name, resolved[name], folder, memory):
            writer.append(table)
    writer.close()
    return writer.shards


def _sorted(name: str, stage: Any, folder: Path, memory: int) -> Iterator[pa.Table]:
    with connect(folder, memory) as database:
        database.execute(_MEMBERS)
        for batch in stage.members():
            database.register("batch", pa.Table.from_batches([batch]))
            database.execute(_INSERT)
            database.unregister("batch")
        for found in database.sql(_SORTED, params=[name]).to_arrow_reader(_BATCH):
            yield pa.Table.from_batches([found]).cast(SCHEMA)


_MEMBERS = """
    CREATE TABLE members (source VARCHAR, path VARCHAR, row BIGINT, id VARCHAR, cluster VARCHAR, kept_id VARCHAR,
                          release VARCHAR, similarity DOUBLE, prompt_similarity DOUBLE, response_similarity DOUBLE)
"""
_INSERT = """
    INSERT INTO members
    SELECT source, path, row, id, cluster, kept_id, release, similarity, prompt_similarity, response_similarity
    FROM batch
"""
_SORTED = """
    SELECT ? AS stage, cluster, id, source, path || '#' || row AS locator, kept_id IS NULL AS kept, kept_id,
           release AS kept_release, similarity, prompt_similarity, response_similarity,
           count(*) OVER (PARTITION BY cluster) AS size
    FROM members ORDER BY cluster, kept DESC, source, path, row
"""
