"""Stages that kill the process they run in, named in recipes as poisons:Class; for tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
from toys import _Toy

from curate import record, unit
from curate.outcome import Done
from curate.record import Batch
from curate.stage import StageOptions, Verdict


class Options(StageOptions):
    armed: str = ""  # a file: the stage kills while it is there
    times: int = 0  # it kills so often and no more; 0: always


def _kill_at(word: str, batch: Batch, options: Any) -> None:
    armed = Path(options.armed)
    if not armed.is_file() or not any(word in text for text in record.texts(batch)):
        return
    with armed.open("a") as file:
        file.write(f"{batch.num_rows}\n")
    if not options.times or len(armed.read_text().splitlines()) <= options.times:
        os.kill(os.getpid(), signal.SIGKILL)


class Deadly(_Toy):
    """Kills its process on a record that says 'deadly'; edits the others."""

    name: ClassVar[str] = "deadly"
    Options: ClassVar[type[StageOptions]] = Options

    def judge(self, batch: Batch) -> Verdict:
        _kill_at("deadly", batch, self.options)
        lengths = pa.array([len(text) for text in record.texts(batch)], pa.int64())
        return Verdict.of(batch.num_rows, facts=pa.record_batch({"letters": lengths}))


class DeadlySketch(_Toy):
    """A barrier that kills its process on a record that says 'fatal'; the stage it resolves to keeps everything."""

    name: ClassVar[str] = "fatal"
    Options: ClassVar[type[StageOptions]] = Options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        _kill_at("fatal", batch, self.options)
        return pa.record_batch({"letters": pa.array([len(text) for text in record.texts(batch)], pa.int64())})

    def resolve(self, sketches: Any, engine: Any) -> Keeps:
        assert all(part.table(["id"]).num_rows for part in sketches.parts)
        return Keeps(self.name)


class Keeps:
    def __init__(self, name: str) -> None:
        self.name = name

    def judge(self, batch: Batch) -> Verdict:
        return Verdict.of(batch.num_rows)


def unreadable(task: unit.UnitTask) -> Done:
    """Do a unit in a process whose reader dies in the second batch of b.jsonl."""
    parts: Any = unit
    read = parts.read

    def deadly(plan: Any, of: Any, batch_records: int) -> Iterator[Any]:
        for number, chunk in enumerate(read(plan, of, batch_records)):
            if number == 1 and of.file.path.endswith("b.jsonl"):
                os._exit(9)
            yield chunk

    parts.read = deadly
    try:
        return unit.run_unit(task)
    finally:
        parts.read = read
