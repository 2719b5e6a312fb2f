"""How the cost of `minhash` grows with the records, how two workers share it, and what memory it takes.

    python benchmarks/dedup_scaling.py [DATA] [WORK]        (default: $CURATE_DATA, out/scaling)

The corpus ``short`` of benchmarks/corpora.py in 1, 2, 4 and 8 copies; each run in a process of its own, start-up
not counted, all figures medians of three. Pages of mapped files (sketches, large sets) count as memory too, but
the system takes them back at need, so what is of no file is given apart. Printed are the exponent of a power law
fitted to the CPU seconds, the wall ratio of one worker to two on the largest, memory per million records (the
slope from 4 to 8 copies), and the peak with a budget of 64 MB, which makes grouping take several passes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import corpora
import numpy as np

COPIES = (1, 2, 4, 8)
ROUNDS = 3
ONE = """
import json, resource, sys, threading, time
from pathlib import Path
import direct
from curate.stages.minhash import MinHash

own = [0]

def watch():
    while True:
        text = Path("/proc/self/status").read_text()
        own[0] = max(own[0], int(text.split("RssAnon:")[1].split()[0]) // 1024)
        time.sleep(0.02)

def main():
    threading.Thread(target=watch, daemon=True).start()
    path, workers, memory = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    found = direct.run(MinHash(MinHash.Options()), [path], workers, memory)
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    steps = {name: sum(v for k, v in step.items() if k != "start up") for name, step in
             (("wall", found.seconds), ("cpu", found.cpu))}
    print(json.dumps({**steps, "records": found.records, "mb": found.text_bytes / 1e6, "peaks": peaks,
                      "dropped": len(found.dropped), "own": own[0]}))

if __name__ == "__main__":
    main()
"""


def measured(path: Path, workers: int, memory: int, script: Path) -> dict[str, float]:
    """Return the medians of several runs, each in a process of its own."""
    runs = []
    for _ in range(ROUNDS):
        command = [sys.executable, str(script), str(path), str(workers), str(memory)]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found = json.loads(done.stdout.splitlines()[-1])
        runs.append({**found, "peak": max(found["peaks"])})
    names = ("wall", "cpu", "records", "mb", "peak", "own", "dropped")
    return {name: statistics.median(run[name] for run in runs) for name in names}


def main() -> None:
    data = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA")
    work = Path(sys.argv[2] if len(sys.argv) > 2 else "out/scaling")
    if not data:
        sys.exit(__doc__)
    work.mkdir(parents=True, exist_ok=True)
    script = work / "one.py"
    script.write_text(ONE)
    results = []
    for copies in COPIES:
        folder = work / f"x{copies}"
        if not (folder / "short" / "all.parquet").is_file():
            corpora.build(Path(data), folder, "short", copies)
        found = measured(folder / "short" / "all.parquet", 1, 8 << 30, script)
        results.append(found)
        print(
            f"{copies} x: {found['records']:>9,.0f} records  {found['mb']:7.1f} MB  {found['cpu']:6.2f} CPU s  "
            f"{found['mb'] / found['cpu']:6.1f} MB per CPU s  peak {found['peak']:5.0f} MiB, "
            f"{found['own']:.0f} of it of no file  dropped {found['dropped']:,.0f}"
        )
    sizes, costs = (np.log([found[name] for found in results]) for name in ("records", "cpu"))
    exponent = np.polyfit(sizes, costs, 1)[0]
    print(f"CPU seconds grow as records ^ {exponent:.3f}")
    four, eight = results[-2:]
    peak, own = (
        (eight[name] - four[name]) / (eight["records"] - four["records"]) * 1e6 for name in ("peak", "own")
    )
    print(f"memory grows by {peak:.0f} MiB per million records, {own:.0f} of it of no file")
    largest = work / f"x{COPIES[-1]}" / "short" / "all.parquet"
    two = measured(largest, 2, 8 << 30, script)
    print(f"two workers: {two['wall']:.2f} s to {eight['wall']:.2f} s, {eight['wall'] / two['wall']:.2f} x")
    tight = measured(largest, 1, 64 << 20, script)
    print(
        f"with a budget of 64 MB: peak {tight['peak']:.0f} MiB, {tight['own']:.0f} of it of no file, "
        f"{tight['cpu']:.2f} CPU s, same {tight['dropped']:,.0f}"
    )


if __name__ == "__main__":
    main()
