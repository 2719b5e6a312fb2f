"""Speed of the search for personal data against plain presidio-analyzer, in one run, and that the finds are equal.

    python benchmarks/pii_speed.py DATA [--fuzz N] [--seconds S]

DATA: a folder of real texts; presidio reads as many of each kind as it does in S seconds (20), the others all
of them, up to 8 MB; finds and ratio are of the texts that presidio has read. ``--fuzz``: compare N adversarial texts
(tests/adversarial.py) at thresholds 0, 0.4 and 0.5, too. CPU time of one process; MB are millions of bytes of
UTF-8. Start-up: the CPU time of a fresh process that imports an engine, makes it and asks it once.
"""

from __future__ import annotations

import argparse
import io
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the adversarial texts live there

import adversarial

from curate import rules
from curate.stages.finders.presidio import Presidio
from curate.stages.scrubbing.search import Ours

KINDS = {
    "instructions": ["instruct/gsm8k_train", "instruct/dolly_3k_alpagasus", "instruct/medquad"],
    "web-like": ["corpus/permissive-47mb"],
    "code": ["instruct/gpteacher_codegen"],
    "dense": ["pii/presidio_synth_v2", "pii/lifebench_en"],
}
MOST = 8_000_000  # bytes of each kind
START = """
import time
from {module} import {name}
import pyarrow
engine = {make}
engine.find(pyarrow.array(["write to jane@example.com or http://example.com, call 212-555-0199, ssn 536-90-4399"]))
print(time.process_time())
"""


def rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        yield from (orjson.loads(line) for line in io.BufferedReader(stream))


def texts_of(data: Path, names: Sequence[str]) -> list[str]:
    texts: list[str] = []
    for name in names:
        size = 0
        for row in rows(data / f"{name}.jsonl.zst"):
            text = (
                row["text"]
                if "text" in row
                else "\n".join(filter(None, map(row.get, ("instruction", "input", "output"))))
            )
            if size + len(text) > MOST // len(names):
                break
            size += len(text.encode())
            texts.append(text)
    return texts


def megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def default() -> Ours:
    chosen = (
        rule
        for rule in rules.load("pii").rules
        if rule.data["default"] and rule.data.get("country") in (None, "us")
    )
    return Ours({rule.id: rule.data["threshold"] for rule in chosen})


def rate(find: Callable[[pa.Array], Any], texts: Sequence[str]) -> float:
    """Return MB per CPU second, the median of three runs after one that fills the caches of common words."""
    batches = [pa.array(texts[first : first + 1000], pa.string()) for first in range(0, len(texts), 1000)]
    taken = []
    for _ in range(3):
        begin = time.process_time()
        for batch in batches:
            find(batch)
        taken.append(time.process_time() - begin)
    return megabytes(texts) / sorted(taken)[1]


def plain(engine: Presidio, texts: Sequence[str], seconds: float) -> tuple[float, list[str], int]:
    """Return presidio's own rate, the texts that it read, spread evenly, and how many have other finds."""
    spread = itertools.chain.from_iterable(texts[start::97] for start in range(97))
    read, found, begin = [], [], time.process_time()
    for text in spread:
        found.append(engine.plain(text))
        read.append(text)
        if time.process_time() - begin > seconds:
            break
    taken = time.process_time() - begin
    return megabytes(read) / taken, read, different(engine, read, found)


def different(engine: Presidio, texts: Sequence[str], found: Sequence[Any]) -> int:
    fast = engine.find(pa.array(texts, pa.string()))
    return sum(
        isinstance(a, Exception) or [span[:4] for span in a] != [span[:4] for span in b]
        for a, b in zip(fast, found, strict=True)
    )


def speeds(data: Path, seconds: float) -> None:
    engines = {
        (threshold, used): Presidio(threshold, hyperscan=used)
        for threshold in (0.0, 0.5)
        for used in (True, False)
    }
    ours = default()
    heads = (
        "MB",
        "presidio",
        "exact, 0",
        "exact, .5",
        "RE2, 0",
        "RE2, .5",
        "default",
        "ratio, 0",
        "ratio, .5",
    )
    print(f"{'MB/s':14}" + "".join(f"{head:>11}" for head in (*heads, "read, MB", "differing")))
    for kind, names in KINDS.items():
        texts = texts_of(data, names)
        slow, read, unequal = plain(engines[0.0, True], texts, seconds)
        found = [engines[0.5, True].plain(text) for text in read]
        unequal += different(engines[0.5, True], read, found)
        fast = [
            rate(engines[key].find, texts) for key in ((0.0, True), (0.5, True), (0.0, False), (0.5, False))
        ]
        numbers = [f"{megabytes(texts):.1f}", f"{slow:.3f}", *(f"{value:.2f}" for value in fast)]
        same = [rate(engines[threshold, True].find, read) for threshold in (0.0, 0.5)]
        numbers += [f"{rate(ours.find, texts):.2f}", *(f"{value / slow:.0f}x" for value in same)]
        numbers += [f"{megabytes(read):.2f}", str(unequal)]
        print(f"{kind:14}" + "".join(f"{number:>11}" for number in numbers), flush=True)


def fuzz(count: int) -> None:
    texts = adversarial.texts(1, count)
    for threshold in (0.0, 0.4, 0.5):
        engine = Presidio(threshold)
        found = [engine.plain(text) for text in texts]
        unequal = different(engine, texts, found)
        print(
            f"fuzz, threshold {threshold}: {count} texts, {sum(map(len, found))} finds, {unequal} texts differ",
            flush=True,
        )


def start() -> None:
    exact = {"module": "curate.stages.finders.presidio", "name": "Presidio"}
    made = {
        "exact": START.format(make="Presidio()", **exact),
        "exact, RE2": START.format(make="Presidio(hyperscan=False)", **exact),
        "default": "import sys; sys.path.insert(0, 'benchmarks')\n"
        + START.format(module="pii_speed", name="default", make="default()"),
    }
    for name, script in made.items():
        command = [sys.executable, "-c", script]
        taken = sorted(
            float(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(4)
        )
        print(f"start-up, {name}: {taken[0]:.2f} to {taken[-1]:.2f} s")


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("data", type=Path, nargs="?", default=os.environ.get("CURATE_DATA", ""))
    arguments.add_argument("--fuzz", type=int, default=0)
    arguments.add_argument("--seconds", type=float, default=20)
    given = arguments.parse_args()
    if not (given.data / "corpus").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    start()
    speeds(given.data, given.seconds)
    if given.fuzz:
        fuzz(given.fuzz)
