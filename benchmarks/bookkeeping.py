"""What it costs that a run can be resumed, as a share of the run: it should be 3 % at most.

    python benchmarks/bookkeeping.py DATA [RUNS]       (default: 3 runs)

The recipe and the data of benchmarks/real.py with one worker, in this process, where every second can be told apart.
Counted is all that a run without resume would not do: keys of units, looking for earlier outcomes, checksums, reports
and their listing, fsync and rename, the surveys' cache, pickling of tasks and resolutions. CPU seconds, and seconds of
the clock, which hold the waiting for the disk. Then the run is begun again where only the writing is left: what
finding everything finished costs.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import real

import curate
from curate import outcome, pipeline, unit
from curate.io import scan, store
from curate.pipeline import Watch

COUNTED: list[tuple[Any, str]] = [
    (pipeline, "_unit_key"),
    (pipeline, "_must_travel"),
    (pipeline, "unfinished"),
    (pipeline, "damage"),
    (pipeline, "listing"),
    (unit, "recall"),
    (unit, "finished"),
    (outcome, "_written"),
    (outcome, "listing"),
    (store, "sync"),
    (store, "_rename"),
    (store, "write_bytes"),
    (scan, "_recall"),
    (scan, "_remember"),
]


class Book:
    """Adds up what the counted functions take; one that another calls is counted once."""

    def __init__(self) -> None:
        self.cpu: Counter[str] = Counter()
        self.wall: Counter[str] = Counter()
        self._inside = False

    def counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any, **named: Any) -> Any:
            if self._inside:
                return function(*given, **named)
            self._inside = True
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.cpu[name] += time.process_time() - cpu  # type: ignore[assignment]
                self.wall[name] += time.perf_counter() - wall  # type: ignore[assignment]
                self._inside = False

        return counted


class _Stop(Exception):
    pass


def _until_written(phase: str) -> None:
    if phase == "write":
        raise _Stop


def measure(recipe: Path, out: Path) -> tuple[Book, float, float, float]:
    """Return the book of a run, its CPU and wall seconds, and the wall seconds in which a rerun finds it done."""
    book = Book()
    kept = [(module, name, getattr(module, name)) for module, name in COUNTED]
    for module, name, function in kept:
        setattr(module, name, book.counting(f"{module.__name__}.{name}", function))
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        curate.run(recipe, out, workers=1, fresh=True)
    finally:
        for module, name, function in kept:
            setattr(module, name, function)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    watch = Watch(lambda title, _: _until_written(title))
    begun = 0.0
    for fresh in (True, False):
        begun = time.perf_counter()
        try:
            curate.run(recipe, out.with_name("again"), workers=1, fresh=fresh, watch=watch)
        except _Stop:
            continue
    return book, cpu, wall, time.perf_counter() - begun


def main(data: Path, runs: int) -> None:
    shares: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        recipe = real.write_recipe(data, Path(folder) / "out", reverse=False)
        for number in range(runs):
            book, cpu, wall, found = measure(recipe, Path(folder) / f"out{number}")
            shares.append((sum(book.cpu.values()) / cpu, sum(book.wall.values()) / wall))
            print(
                f"run {number + 1}: {cpu:.1f} s CPU, {wall:.1f} s wall; bookkeeping {shares[-1][0]:.2%} of CPU, "
                f"{shares[-1][1]:.2%} of wall; all found finished again in {found:.1f} s wall"
            )
            for name, seconds in book.cpu.most_common():
                print(f"    {name:<32}{seconds:>8.3f} s CPU {book.wall[name]:>8.3f} s wall")
    print(
        f"median of {runs}: {statistics.median(cpu for cpu, _ in shares):.2%} of CPU, "
        f"{statistics.median(wall for _, wall in shares):.2%} of wall"
    )


if __name__ == "__main__":
    where = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CURATE_DATA", ""))
    if not (where / "instruct").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    main(where.absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 3)
