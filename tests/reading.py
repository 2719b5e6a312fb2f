"""What the tests of reading share: an engine, files of every layout, and plans and records made from them."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.errors import InputError
from curate.io.read import Chunk, Fault, read
from curate.io.scan import UNIT_BYTES, SourcePlan, scan
from curate.source import Fields, Source

T = TypeVar("T")
R = TypeVar("R")


class Serial:
    """An engine of one worker that counts what it is asked to do."""

    workers = 1

    def __init__(self) -> None:
        self.calls: list[str] = []

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], again: Callable[[T, int], T] | None = None
    ) -> Iterator[R]:
        for task in tasks:
            self.calls.append(function.__name__)
            yield function(pickle.loads(pickle.dumps(task)))


def jsonl(*records: dict[str, Any]) -> bytes:
    return b"".join(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE) for record in records)


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def ipc(table: pa.Table, stream: bool = False, **options: Any) -> bytes:
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, **options)
    return sink.getvalue()


def plan_of(folder: Path, files: dict[str, bytes], **about: Any) -> SourcePlan:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    fields, unit_bytes = Fields(**about.pop("fields", {})), about.pop("unit_bytes", UNIT_BYTES)
    source = Source(name="s", files=tuple(sorted(files)), fields=fields, **about)
    return scan([source], folder, Serial(), unit_bytes=unit_bytes)[0]


def chunks_of(plan: SourcePlan, batch_records: int = 1024) -> list[Chunk]:
    chunks = [chunk for unit in plan.units for chunk in read(plan, unit, batch_records)]
    for chunk in chunks:
        assert chunk.seen == chunk.batch.num_rows + len(chunk.faults) <= batch_records
        assert chunk.batch.schema.equals(plan.schema, check_metadata=True)
        chunk.batch.validate(full=True)
    assert sum(chunk.seen for chunk in chunks) == sum(file.records for file in plan.files)
    return chunks


def all_of(plan: SourcePlan, batch_records: int = 1024) -> tuple[pa.Table, list[Fault]]:
    chunks = chunks_of(plan, batch_records)
    faults = [fault for chunk in chunks for fault in chunk.faults]
    return pa.Table.from_batches([chunk.batch for chunk in chunks], plan.schema), faults


def records_of(folder: Path, files: dict[str, bytes], **about: Any) -> list[dict[str, Any]]:
    table, faults = all_of(plan_of(folder, files, **about))
    assert faults == []
    return list(table.to_pylist())


def failure(folder: Path, files: dict[str, bytes], **about: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan_of(folder, files, **about)
    return str(caught.value)
