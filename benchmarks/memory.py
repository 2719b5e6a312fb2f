"""Peak memory of a run over jsonl files of growing size: it must not grow with the input.

    python benchmarks/memory.py DATA [SIZE_MB ...]     (default sizes: 250 1000)

The input repeats DATA/corpus/permissive-47mb.jsonl.zst, each copy with edits of its own (every third word is
made a word of that copy), so that no record is a near duplicate of another and all of them travel to
the end. Runs exact and minhash, whose state is the only part that grows with the number of records.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson
import zstandard

RECIPE = """\
curate: 1
name: memory
version: "1"
sources: [{name: big, files: [big.jsonl], license: CC0-1.0}]
stages:
  - license: {allow: any, unknown: keep}
  - exact
  - minhash: {similarity: 0.8, recall: 0.95}
"""


def grow(source: Path, target: Path, size: int) -> None:
    with source.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        rows = [orjson.loads(line) for line in io.BufferedReader(stream)]
    # Text without spaces would have too few words to replace.
    rows = [row for row in rows if len(row["text"].split()) * 20 > len(row["text"])]
    with target.open("wb") as out:
        copy = 0
        while out.tell() < size:
            for row in rows:
                edited = {**row, "id": f"{copy}-{row['id']}", "text": edit(row["text"], f"q{copy}")}
                out.write(orjson.dumps(edited, option=orjson.OPT_APPEND_NEWLINE))
                if out.tell() >= size:
                    break
            copy += 1


def edit(text: str, mark: str) -> str:
    """Return the text with every third word marked, so that no 5-gram of words is left as it was."""
    words = re.split(r"(\w+)", text)  # words stand at the odd places
    words[1::6] = [word + mark for word in words[1::6]]
    return "".join(words)


def measure(data: Path, size_mb: int, workers: int) -> tuple[float, float, str]:
    """Return the peak memory of the largest process in MB, seconds, and the run's last line of counts."""
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        grow(data / "corpus" / "permissive-47mb.jsonl.zst", here / "big.jsonl", size_mb * 10**6)
        (here / "curate.yaml").write_text(RECIPE)
        started = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "curate",
            "run",
            str(here / "curate.yaml"),
            "--workers",
            str(workers),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, text
        counts = next(line for line in text.splitlines() if " seen = " in line)
        return usage.ru_maxrss / 1024, time.monotonic() - started, counts.strip()


if __name__ == "__main__":
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA", ""))
    if not (data / "corpus").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    sizes = [int(size) for size in sys.argv[2:]] or [250, 1000]
    peaks = []
    for size in sizes:
        peak, seconds, counts = measure(data, size, workers=1)
        peaks.append(peak)
        print(
            f"{size:>6} MB: peak {peak:,.0f} MB, {seconds:,.0f} s, {size / seconds:.1f} MB/s, {counts}",
            flush=True,
        )
    print(f"peak at {sizes[-1]} MB is {peaks[-1] / peaks[0]:.2f} × the peak at {sizes[0]} MB")
