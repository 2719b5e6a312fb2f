"""What every runner of a peer shares: one core, a clock, a reader, and the line that it prints.

Runs in the peers' environments: of these only pyarrow is known to be installed.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

NGRAM = 5  # words
START_UP, LOAD, OUTSIDE = "start-up", "load", "outside"  # steps that are not the tool's own work

find_words: Callable[[str], list[str]] = re.compile(r"\w+").findall


def shingles(text: str) -> list[str]:
    """Return the 5-grams of words of a text, as the truth has them; all of a text that has fewer words.

    The fastest of four ways to write it that were measured. Cutting at white space (str.split) takes a quarter
    less time, but then punctuation belongs to words and the tool is not asked for what it is measured by.
    """
    words = find_words(text.lower())
    if len(words) < NGRAM:
        return [" ".join(words)]
    return list(map(" ".join, zip(words, words[1:], words[2:], words[3:], words[4:], strict=False)))


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    times = os.times()  # 10 ms; the clock of this process is finer
    return time.process_time() + times.children_user + times.children_system


def peak_rss() -> int:
    """Return the peak memory in bytes of the largest process.

    From VmHWM where there is one: ru_maxrss begins at the size of the process that started this one.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    status = Path("/proc/self/status")
    if not status.exists():
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return max(children, int(line.split()[1]) * 1024)


def use_one_core() -> int:
    """Bind this process, and all that it starts, to one core; return how many it may use."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    return 1


class Run:
    """One run of one tool: its arguments, its steps, its result."""

    def __init__(self, tool: str, distribution: str, note: str) -> None:
        self.cores = use_one_core()
        self.tool, self.distribution, self.note = tool, distribution, note
        self.folder, self.out = Path(sys.argv[1]), Path(sys.argv[2])
        self.similarity = float(sys.argv[3])
        self.files = sorted(self.folder.glob("*.parquet"))
        self.steps: dict[str, tuple[float, float]] = {}
        self.detail: dict[str, float] = {}  # seconds of the tool's own parts, where it tells them

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of a step; the start-up is counted from the process's first instruction."""
        cpu = 0.0 if name == START_UP else cpu_seconds()
        wall = time.perf_counter()
        yield
        self.steps[name] = (cpu_seconds() - cpu, time.perf_counter() - wall)

    def read(self) -> tuple[list[str], list[str]]:
        """Return the ids and the texts of all files."""
        with self.step(LOAD):
            return self.column("id"), self.column("text")

    def column(self, name: str) -> list[str]:
        """Return one column of all files."""
        import pyarrow.parquet as pq

        return [cell for file in self.files for cell in pq.read_table(file, columns=[name])[name].to_pylist()]

    def size(self) -> tuple[int, int]:
        """Return the number of records and their bytes of text."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        records = text_bytes = 0
        for file in self.files:
            for batch in pq.ParquetFile(file).iter_batches(columns=["text"]):
                records += batch.num_rows
                text_bytes += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
        return records, text_bytes

    def finish(self, removed: Iterable[str]) -> None:
        """Write which records were removed, and the line."""
        peak = peak_rss()
        cpu = cpu_seconds() - self.steps.get(OUTSIDE, (0.0, 0.0))[0]
        target = self.out.with_suffix(".removed.txt")
        target.write_text("".join(f"{key}\n" for key in removed))
        own = [seconds for name, seconds in self.steps.items() if name not in (START_UP, LOAD, OUTSIDE)]
        records, text_bytes = self.size()
        line = json.dumps(
            {
                "tool": self.tool,
                "version": version(self.distribution),
                "note": self.note,
                "start_up_s": self.steps[START_UP][0],
                "load_s": self.steps.get(LOAD, (0.0, 0.0))[0],
                "in_process_s": sum(cpu for cpu, _ in own),
                "wall_s": sum(wall for _, wall in own),
                "cpu_s": cpu,
                "steps": self.steps,
                "detail": self.detail,
                "records": records,
                "bytes": text_bytes,
                "peak_rss": peak,
                "cores": self.cores,
                "removed": str(target),
            }
        )
        self.out.write_text(line)
        print(line, flush=True)
