"""The physical limit: what must be done to the text by any deduplication, and nothing else, on one core.

Writes MB of text per CPU second, by name: decoding the column of text, and what `direct.ceiling` measures.
"""

from __future__ import annotations

import json

from peers.harness import START_UP, Run, cpu_seconds


def main() -> None:
    run = Run("ceiling", "curate", "")
    with run.step(START_UP):
        import direct
        import pyarrow.parquet as pq
    _, text_bytes = run.size()  # once before the clock runs: the files are then in memory
    start = cpu_seconds()
    for file in run.files:
        for _ in pq.ParquetFile(file).iter_batches(columns=["text"], use_threads=False):
            pass
    rates = {"decode parquet (zstd) to Arrow": text_bytes / 1e6 / (cpu_seconds() - start)}
    rates |= direct.ceiling(run.files)
    run.out.write_text(json.dumps({"rates": rates, "bytes": text_bytes}))


if __name__ == "__main__":
    main()
