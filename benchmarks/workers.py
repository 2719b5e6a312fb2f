"""Whether a stage that judges record by record uses all cores: one worker beside two.

    python benchmarks/workers.py DATA [STAGE ...]        (default: language pii)

The instruction sets and DATA/corpus/permissive-47mb in Arrow files of 1,000 records, in mixed order, mapped over
by the local engine as a run does. Wall seconds of one and of two workers in turn, medians of three, workers
started and warm; and the seconds that a process of its own needs to import the stage and judge one record.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import zstandard

from curate.engine.local import LocalEngine
from curate.recipe import STAGES, import_stage
from curate.record import MESSAGES

ROUNDS = 3
PER_FILE = 1000
START = """
import time; begun = time.perf_counter()
import workers; workers.built({stage!r}).judge(workers.conversations([{{"instruction": "a b", "output": "c d"}}]))
print(time.perf_counter() - begun)
"""


def conversations(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    messages = [
        [
            {"role": "user", "content": f"{row['instruction']}\n\n{row.get('input') or ''}".strip()},
            {"role": "assistant", "content": row["output"] or ""},
        ]
        if "instruction" in row
        else [{"role": "assistant", "content": row["text"]}]
        for row in rows
    ]
    ids = [f"bench/{n}" for n in range(len(rows))]
    return pa.record_batch({"id": pa.array(ids, pa.string()), "messages": pa.array(messages, MESSAGES)})


@lru_cache
def built(stage: str) -> Any:
    found = import_stage(STAGES[stage])
    return found(found.Options())


def judge(stage: str, path: Path) -> int:
    with pa.ipc.open_file(path) as file:
        batch = file.get_batch(0)
    verdict = built(stage).judge(batch)
    return len(verdict.action)


def written(data: Path, folder: Path) -> tuple[list[Path], int]:
    """Write the Arrow files; return them and the bytes of text in them."""
    rows = []
    for path in [
        *sorted((data / "instruct").glob("*.jsonl.zst")),
        data / "corpus" / "permissive-47mb.jsonl.zst",
    ]:
        with zstandard.open(path, "rt", encoding="utf-8") as file:
            rows += [orjson.loads(line) for line in file]
    random.Random(0).shuffle(rows)
    paths, size = [], 0
    for n, start in enumerate(range(0, len(rows), PER_FILE)):
        batch = conversations(rows[start : start + PER_FILE])
        size += batch.column("messages").flatten().field("content").nbytes
        paths.append(folder / f"{n:05d}.arrow")
        with pa.ipc.new_file(paths[-1], batch.schema) as file:
            file.write(batch)
    return paths, size


def main(data: Path, stages: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths, size = written(data, Path(folder))
        print(
            f"{'stage':<12}{'start s':>9}{'MB':>8}{'1 worker s':>12}{'2 workers s':>13}{'ratio':>8}{'MB/s, 2':>10}"
        )
        for stage in stages:
            walls: dict[int, list[float]] = {1: [], 2: []}
            with LocalEngine(1) as one, LocalEngine(2) as two:
                for engine in (one, two):
                    list(engine.map(partial(judge, stage), paths[:8]))
                for _ in range(ROUNDS):
                    for engine in (one, two):
                        begun = time.perf_counter()
                        list(engine.map(partial(judge, stage), paths))
                        walls[engine.workers].append(time.perf_counter() - begun)
            single, double = (statistics.median(walls[n]) for n in (1, 2))
            code = START.format(stage=stage)
            where = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
            done = subprocess.run([sys.executable, "-c", code], env=where, check=True, capture_output=True)
            print(
                f"{stage:<12}{float(done.stdout):>9.2f}{size / 1e6:>8.1f}{single:>12.2f}{double:>13.2f}"
                f"{single / double:>8.2f}{size / 1e6 / double:>10.2f}"
            )


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA", ""))
    if not (where / "instruct").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    main(where, sys.argv[2:] or ["language", "pii"])
