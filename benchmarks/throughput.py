"""Throughput of the main job per stage, from ``curate run --json``.

    python benchmarks/throughput.py DATA [WORKERS]

Runs every stage over DATA/corpus/permissive-47mb.jsonl.zst and removes as little as the stages allow, so that
each of them sees nearly all of the text. MB are millions of bytes of UTF-8 text.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

RECIPE = """\
curate: 1
name: throughput
version: "1"
sources: [{{name: permissive, files: [{file}], license: unknown}}]
stages:
  - license: {{allow: any, unknown: keep}}
  - conversation
  - exact
  - minhash
  - language: {{low_confidence: keep}}
  - pii
"""


def run(data: Path, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recipe = Path(folder) / "curate.yaml"
        file = os.path.relpath(data / "corpus" / "permissive-47mb.jsonl.zst", folder)
        recipe.write_text(RECIPE.format(file=file))
        command = [
            sys.executable,
            "-m",
            "curate",
            "run",
            str(recipe),
            "--json",
            "--workers",
            str(workers),
        ]
        manifest = orjson.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    timing = manifest["timing"]
    print(f"{'stage':<14}{'MB':>8}{'CPU s':>9}{'MB per CPU s':>14}")
    for name, stage in timing["stages"].items():
        print(
            f"{name:<14}{stage['bytes'] / 1e6:>8.1f}{stage['cpu_seconds']:>9.2f}{stage['mb_per_cpu_second']:>14.2f}"
        )
    print(
        f"whole run, {workers} workers: {timing['wall_seconds']:.1f} s, {timing['mb_per_second']:.2f} MB/s of text read"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA", ""))
    if not (folder / "corpus").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    run(folder.absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 2)
