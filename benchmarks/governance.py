"""What governance costs: the share of a run's time that goes into it, part by part.

    python benchmarks/governance.py DATA [ROUNDS]

Runs every stage over DATA/corpus/permissive-47mb.jsonl.zst (the recipe of throughput.py), each time in a process of its
own, as the command line does, and counts the time inside the functions that only governance needs: hashes of files and
records, the ledger, records/ and the Merkle tree, what is counted from the tables, and every document. A part inside
another counts once, for itself. The pipeline itself writes data/ and removed/ whatever is said of them, so those are
not in it. With one worker everything happens in turn. With two, the stages take about half as long, while most of
governance happens in one process; what the workers do of it (ledger rows, hashes of contents) is not counted there.
"""

from __future__ import annotations

import inspect
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from throughput import RECIPE

import curate
from curate import clusters, ledger, merkle, pipeline, record, release, shards, unit
from curate.govern import derived, documents, measures, overlap
from curate.io import scan, survey, write

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("hashes of input files", survey, "probe"),
    ("hashes of contents", record, "content_sha256"),
    ("ledger rows", ledger, "rows"),
    ("ledger written", shards, "_decisions"),
    ("salts and leaves", merkle, "salts"),
    ("salts and leaves", merkle, "leaves"),
    ("records/ made", shards, "_records"),
    ("hashes of written files", write, "finished"),
    ("clusters and overlap", clusters, "write"),
    ("clusters and overlap", overlap, "enrich"),
    ("clusters and overlap", overlap, "relabelled"),
    ("counted from the tables", measures, "measure"),
    ("derived files", derived, "write"),
    ("documents", documents, "write"),
)


class Clock:
    """Adds up the seconds spent in each part; a part inside another stops the outer one's clock."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[float] = []  # seconds of parts inside, per open part

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._inside.append(0.0)
        started = time.perf_counter()
        try:
            yield
        finally:
            whole = time.perf_counter() - started
            self.seconds[name] += whole - self._inside.pop()
            if self._inside:
                self._inside[-1] += whole

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*args, **options)

        def each(*args: Any, **options: Any) -> Iterator[Any]:
            made = function(*args, **options)
            while True:
                with self.part(name):
                    value = next(made, None)
                if value is None:
                    return
                yield value

        return each if inspect.isgeneratorfunction(function) else call


def measure(data: Path, workers: int) -> tuple[float, dict[str, float]]:
    """Return the seconds of one whole run, and those of governance by part (of this process alone)."""
    clock = Clock()
    held = [(place, name, getattr(place, name)) for _, place, name in PARTS]
    users = (scan, survey, unit, shards, release, pipeline, write)
    try:
        for title, place, name in PARTS:
            original = getattr(place, name)
            wrapped = clock.timed(title, original)
            setattr(place, name, wrapped)
            for user in users:  # modules that imported the function by name
                if getattr(user, name, None) is original:
                    held.append((user, name, original))
                    setattr(user, name, wrapped)
        with tempfile.TemporaryDirectory() as folder:
            recipe = Path(folder) / "curate.yaml"
            file = os.path.relpath(data / "corpus" / "permissive-47mb.jsonl.zst", folder)
            recipe.write_text(RECIPE.format(file=file))
            started = time.perf_counter()
            curate.run(recipe, workers=workers)
            return time.perf_counter() - started, clock.seconds
    finally:
        for place, name, original in reversed(held):
            setattr(place, name, original)


def fresh(data: Path, workers: int) -> tuple[float, dict[str, float]]:
    """Return what measure returns, of a process of its own; seconds from its start to its end."""
    started = time.perf_counter()
    command = [sys.executable, __file__, str(data), "--once", str(workers)]
    said = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return time.perf_counter() - started, json.loads(said)


def main(data: Path, rounds: int) -> None:
    fresh(data, 1)  # compiles kernels and fills the disk's cache, both of which later runs find in place
    for workers in (1, 2):
        runs = [fresh(data, workers) for _ in range(rounds)]
        wall = statistics.median(seconds for seconds, _ in runs)
        print(f"{f'{workers} workers' if workers > 1 else '1 worker':<26}{'seconds':>9}{'of the run':>12}")
        for title in dict.fromkeys(title for title, _, _ in PARTS):
            seconds = statistics.median(parts.get(title, 0.0) for _, parts in runs)
            print(f"{title:<26}{seconds:>9.2f}{seconds / wall:>12.2%}")
        total = statistics.median(sum(parts.values()) for _, parts in runs)
        share = statistics.median(sum(parts.values()) / seconds for seconds, parts in runs)
        print(f"{'governance':<26}{total:>9.2f}{share:>12.2%}   (run: {wall:.1f} s)", flush=True)


if __name__ == "__main__":
    if sys.argv[2:3] == ["--once"]:
        print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[3]))[1]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
