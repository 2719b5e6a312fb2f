"""What a release says of evaluation items in its data, counted from the ledger of the stage decontaminate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.govern.licensing import tables
from curate.stage import REMOVES

STAGE = "decontaminate"


def measure(folder: Path, recipe: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return for each evaluation file {path, sha256, items, told, found, removed, flagged}; empty without the stage.

    found: items that some record holds, of those that the ledger names (a record's first five). removed, flagged:
    records, by the file of the item that decided. folder: holds ledger/. recipe: in its resolved form.
    """
    files = [one for stage in recipe["stages"] if stage["name"] == STAGE for one in stage.get("reads", ())]
    if not files:
        return []
    found: set[tuple[str, int]] = set()
    records: Counter[tuple[str, bool]] = Counter()
    for path in tables.shards(folder, "ledger"):
        for batch in pq.ParquetFile(path).iter_batches(columns=["stage", "action", "evidence"]):
            mine = batch.filter(pc.equal(batch.column("stage"), STAGE))
            told = zip(mine.column("action").to_pylist(), mine.column("evidence").to_pylist(), strict=True)
            for action, evidence in told:
                items = orjson.loads(evidence)["items"]
                found |= {(item["file"], item["item"]) for item in items}
                records[items[0]["file"], action in REMOVES] += 1
    held = Counter(file for file, _ in found)
    return [
        {
            **file,
            "found": held[file["path"]],
            "removed": records[file["path"], True],
            "flagged": records[file["path"], False],
        }
        for file in files
    ]
