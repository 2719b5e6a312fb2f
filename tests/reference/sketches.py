"""The smallest harness for a barrier: batches in memory are the parts, one process is the engine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from curate import record
from curate.io.store import Store
from curate.record import Batch
from curate.stage import Engine, Stage, Verdict

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class MemoryPart:
    """One unit's records and sketches (stage.SketchPart)."""

    batches: tuple[Batch, ...]
    sketches: pa.Table

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        return self.sketches if columns is None else self.sketches.select(list(columns))

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        return (batch if columns is None else batch.select(list(columns)) for batch in self.batches)


@dataclass(frozen=True)
class MemorySketches:
    """All parts (stage.Sketches)."""

    parts: tuple[MemoryPart, ...]
    store: Store
    memory: int = 1 << 30


class SerialEngine:
    """Maps in this process (stage.Engine)."""

    workers = 1

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], again: Callable[[T, int], T] | None = None
    ) -> Iterator[R]:
        return map(function, tasks)


def batch(records: Iterable[Mapping[str, Any]], source: str = "s", path: str = "f.jsonl") -> Batch:
    """Build a batch as the reader would: records have ``text`` or ``messages``, and may have any column."""
    lines = list(records)
    schema = record.schema("messages" if "messages" in lines[0] else "text")
    default = {"source": source, "_path": path}
    rows: list[dict[str, Any]] = [
        {"id": f"{source}/{path}/{row}", "_row": row, **default, **line} for row, line in enumerate(lines, 1)
    ]
    for row in rows:
        content = row.get("text", row.get("messages"))
        row.setdefault("_sha256", hashlib.sha256(record.canonical(content)).hexdigest())
    return pa.RecordBatch.from_pylist(rows, schema)


def chat(prompt: str, response: str) -> dict[str, Any]:
    """Return a record of two turns."""
    turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
    return {"messages": turns}


def part(barrier: Any, batches: Sequence[Batch]) -> MemoryPart:
    """Sketch the batches of one unit. The barrier is a stage.Barrier, whose name may be its class's."""
    tables = []
    for one in batches:
        sketch = barrier.sketch(one)
        assert sketch.num_rows == one.num_rows
        keys = [one.column(name) for name in ("id", "source", "_path", "_row")]
        names = ["id", "source", "_path", "_row", *sketch.schema.names]
        tables.append(pa.Table.from_arrays([*keys, *sketch.columns], names=names))
    return MemoryPart(tuple(batches), pa.concat_tables(tables))


def resolve(
    barrier: Any, units: Iterable[Sequence[Batch]], scratch: Path, engine: Engine | None = None
) -> Stage:
    """Sketch units of batches and resolve them."""
    parts = tuple(part(barrier, unit) for unit in units)
    stage: Stage = barrier.resolve(MemorySketches(parts, Store.at(scratch)), engine or SerialEngine())
    return stage


def judge(stage: Stage, batches: Iterable[Batch]) -> dict[str, dict[str, Any]]:
    """Return, by id, what the stage said of every record: action, reason, score, evidence, kept_id, facts."""
    found: dict[str, dict[str, Any]] = {}
    for one in batches:
        verdict: Verdict = stage.judge(one)
        verdict.check(stage.name, one)
        names = ("action", "reason", "score", "evidence", "kept_id")
        columns = {name: getattr(verdict, name).to_pylist() for name in names}
        if verdict.facts is not None:
            columns |= {f"fact:{k}": v for k, v in verdict.facts.to_pydict().items()}
        for index, key in enumerate(one.column("id").to_pylist()):
            found[key] = {name: values[index] for name, values in columns.items()}
    return found
