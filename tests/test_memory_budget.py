"""Resolving a barrier holds what it may hold, and forgets nothing for want of memory."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from reference.sketches import MemorySketches, SerialEngine

from curate.io.store import Store
from curate.record import Batch
from curate.stages.boilerplate import Boilerplate
from curate.stages.passages.paragraphs import SKETCH

RECORDS, PARTS, EACH = 300_000, 30, 12  # passages in a record: 3.4 million entries of 48 bytes, 157 MiB


@dataclass(frozen=True)
class Made:
    """A unit's sketches, made when they are read (stage.SketchPart)."""

    number: int

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        n = RECORDS // PARTS
        rng = np.random.default_rng(self.number)
        high, low = rng.integers(0, 2**64, (2, n * EACH), np.uint64, endpoint=False)
        shared = rng.random(n * EACH) < 0.05
        high[shared] = np.arange(1000, dtype=np.uint64)[rng.integers(0, 1000, shared.sum())] << np.uint64(54)
        low[shared] = 7
        structs = pa.StructArray.from_arrays(
            [pa.array(high), pa.array(low), pa.array(np.full(n * EACH, 80))],
            fields=list(SKETCH.field("passages").type.value_type),
        )
        row = np.arange(n) + self.number * n + 1
        found = pa.table(
            {
                "id": pa.array([f"s/{r}" for r in row.tolist()]),
                "source": pa.array(["s"] * n),
                "_path": pa.array(["f.jsonl"] * n),
                "_row": pa.array(row),
                "passages": pa.ListArray.from_arrays(
                    pa.array(np.arange(n + 1, dtype=np.int32) * EACH), structs
                ),
                "length": pa.array(np.full(n, 80 * EACH)),
            }
        )
        return found if columns is None else found.select(list(columns))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        raise AssertionError("what is counted is in the sketches")


def highest() -> int:
    """Return the most bytes that this process has held so far (what getrusage says is inherited)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def resolve(folder: str, memory: str) -> None:
    """Resolve in this process; print the bytes that it took more than before, and a digest of the answer."""
    tables = [Made(number).table() for number in (0, 1)]  # what making sketches takes is not what is measured
    del tables
    store = Store.at(folder)
    store.clear()
    before = highest()
    parts: Any = tuple(Made(number) for number in range(PARTS))
    sketches = MemorySketches(parts, store, int(memory))
    found = Boilerplate(Boilerplate.Options()).resolve(sketches, SerialEngine())
    peak = highest() - before
    answer = hashlib.sha256(store.read(found.file)).hexdigest()
    sys.stdout.write(json.dumps({"peak": peak, "answer": answer, "summary": found.summary}))


def measured(folder: Path, memory: int) -> dict[str, Any]:
    """Resolve in a process of its own."""
    call = (
        f"import sys; sys.path[:0] = {sys.path!r}; import test_memory_budget as t; t.resolve(*sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", call, str(folder), str(memory)], check=True, capture_output=True, text=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc that tells a process's memory")
def test_counting_passages_stays_within_its_memory_and_counts_the_same(tmp_path: Path) -> None:
    little, much = (measured(tmp_path / str(memory), memory) for memory in (64 << 20, 1 << 30))
    assert little["peak"] < 80 << 20
    assert much["peak"] > 90 << 20  # the same entries at once
    assert (little["answer"], little["summary"]) == (much["answer"], much["summary"])
    assert little["summary"]["boilerplate"] == 1000
