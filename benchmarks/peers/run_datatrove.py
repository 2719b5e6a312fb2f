"""datatrove's four steps of MinHash deduplication, in one process; only what it removes is written."""

# The tool is installed in its own environment only.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from peers.harness import START_UP, Run

BANDS, ROWS = 14, 8


def main() -> None:
    run = Run("datatrove", "datatrove", "112 = 14 x 8, 64-bit xxhash, its own reading; 1 worker")
    with run.step(START_UP):
        from datatrove.executor.local import LocalPipelineExecutor
        from datatrove.pipeline.dedup import MinhashDedupSignature
        from datatrove.pipeline.dedup.minhash import (
            MinhashConfig,
            MinhashDedupBuckets,
            MinhashDedupCluster,
            MinhashDedupFilter,
        )
        from datatrove.pipeline.readers import ParquetReader
        from datatrove.pipeline.writers.jsonl import JsonlWriter
        from datatrove.utils.hashing import HashConfig
    config = MinhashConfig(
        n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS, hash_config=HashConfig(precision=64)
    )
    with tempfile.TemporaryDirectory() as scratch:
        sketches, buckets, found, removed = (
            f"{scratch}/{name}" for name in ("sketch", "bucket", "found", "removed")
        )
        reader = ParquetReader(str(run.folder), glob_pattern="*.parquet", read_metadata=False)
        writer = JsonlWriter(removed, compression=None)
        steps = {
            "sketch": (1, [reader, MinhashDedupSignature(sketches, config=config)]),
            "buckets": (BANDS, [MinhashDedupBuckets(sketches, buckets, config=config)]),
            "cluster": (1, [MinhashDedupCluster(buckets, found, config=config)]),
            "filter": (1, [reader, MinhashDedupFilter(found, exclusion_writer=writer)]),
        }
        for name, (tasks, steps_of_it) in steps.items():
            with run.step(name):
                LocalPipelineExecutor(
                    steps_of_it, tasks=tasks, workers=1, logging_dir=f"{scratch}/log-{name}"
                ).run()
        lines = [line for file in sorted(Path(removed).glob("*")) for line in file.open()]
    run.finish(json.loads(line)["id"] for line in lines)


if __name__ == "__main__":
    main()
