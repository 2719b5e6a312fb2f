"""The stage quality on real data: throughput by set, what each rule finds, and samples to judge by eye.

    CURATE_DATA=... python benchmarks/quality.py                    every set: MB/s of one core, findings by rule
    CURATE_DATA=... python benchmarks/quality.py loop copied        ten records that each of these rules finds

Every pack is asked. Texts are judged as the pipeline hands them over: hashed by the reader, in batches of 1,024.
"""

from __future__ import annotations

import io
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import zstandard

from curate import record
from curate.record import MESSAGES
from curate.stages.quality import Quality

BATCH = 1024
SHOWN, HEAD, TAIL = 10, 300, 80  # records of a rule; characters of one


def sets() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    data = Path(os.environ["CURATE_DATA"])
    for path in [*sorted((data / "corpus").glob("*.zst")), *sorted((data / "instruct").glob("*.zst"))]:
        with path.open("rb") as file:
            lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file))
            yield path.name.split(".")[0], [orjson.loads(line) for line in lines]


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    ids = pa.array([str(row["id"]) for row in rows])
    if "text" in rows[0]:
        content = {"text": pa.array([row["text"] for row in rows], pa.string())}
    else:
        turns = [
            [
                {
                    "role": "user",
                    "content": "\n\n".join(filter(None, (row["instruction"], row.get("input")))),
                },
                {"role": "assistant", "content": row["output"] or ""},
            ]
            for row in rows
        ]
        content = {"messages": pa.array(turns, MESSAGES)}
    batch = pa.record_batch({"id": ids, **content})
    return record.with_column(batch, "_sha256", record.content_sha256(record.content(batch)))


def main(looked_at: list[str]) -> None:
    stage = Quality(Quality.Options(packs=("gopher", "c4", "fineweb", "instruction")))
    stage.judge(batch_of([{"id": 0, "text": "compiled now"}]))
    found: dict[str, list[tuple[str, str]]] = {f"quality/{name}": [] for name in looked_at}
    for name, rows in sets():
        counts: Counter[str] = Counter()
        seconds, size = 0.0, 0
        for start in range(0, len(rows), BATCH):
            batch = batch_of(rows[start : start + BATCH])
            began = time.process_time()
            verdict = stage.judge(batch)
            seconds += time.process_time() - began
            texts = record.texts(batch)
            size += sum(len(text.encode()) for text in texts)
            hits = [(row, reason) for row, reason in enumerate(verdict.reason.to_pylist()) if reason]
            for row, reason in [*hits, *((one.row, one.reason) for one in verdict.also)]:
                counts[reason] += 1
                if reason in found:
                    found[reason].append((name, texts[row]))
        if not looked_at:
            told = ", ".join(f"{reason.partition('/')[2]} {count}" for reason, count in counts.most_common())
            print(f"{name:28} {len(rows):6} {size / 1e6:6.1f} MB {size / 1e6 / seconds:6.1f} MB/s  {told}")
    for reason, every in found.items():
        print(f"== {reason}: {len(every)}")
        for name, text in random.Random(1).sample(every, min(SHOWN, len(every))):
            print(f"-- {name}: {text[:HEAD]!r} … {text[-TAIL:]!r}")


if __name__ == "__main__":
    main(sys.argv[1:])
