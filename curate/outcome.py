"""What a unit of work leaves: a folder of Arrow files, and how much each stage did.

The folder appears whole (temp + fsync + rename) under the unit's key::

    records.arrow     the records that go on         sketch.arrow       what the next barrier remembers of them
    ledger.P.arrow    decisions (ledger.WORKING)     removed.P.N.arrow  records taken out, as they then were
    report.json       tallies per stage              edited.P.N.arrow   records as they were before each edit

P is the place of a stage in the recipe (0 is reading), N counts schemas: what is known of a record grows from
stage to stage. In each file but the sketches, rows ascend.
"""

from __future__ import annotations

import heapq
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StageError
from curate.io.write import sync
from curate.record import Batch

REPORT = "report.json"
SKETCH = "sketch"


@dataclass
class Tally:
    """What one stage did to the records it saw."""

    seen: int = 0
    kept: int = 0
    dropped: int = 0
    quarantined: int = 0
    edited: int = 0
    flagged: int = 0
    reasons: Counter[str] = field(default_factory=Counter)  # decisions per reason
    failures: Counter[str] = field(default_factory=Counter)  # exceptions that the stage raised, by type
    bytes: int = 0  # content judged, UTF-8
    seconds: float = 0.0  # CPU time

    def add(self, other: Tally) -> None:
        """Add another tally of the same stage."""
        for name in ("seen", "kept", "dropped", "quarantined", "edited", "flagged", "bytes", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.reasons.update(other.reasons)
        self.failures.update(other.failures)

    @classmethod
    def load(cls, data: dict[str, Any]) -> Tally:
        """Rebuild a tally from its JSON form."""
        return cls(**{**data, **{name: Counter(data[name]) for name in ("reasons", "failures")}})


class Writer:
    """The unit's files in the making."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}
        self._schemas: dict[str, pa.Schema] = {}
        self._numbers: dict[tuple[str, pa.Schema], int] = {}

    def append(self, name: str, rows: Batch | pa.Table) -> None:
        """Append to a file that has one schema. Raises StageError if these rows have another."""
        if not rows.num_rows:
            return
        if name not in self._writers:
            self.create(name, rows.schema)
        if rows.schema != self._schemas[name]:
            changed = sorted(map(str, set(rows.schema) ^ set(self._schemas[name])))
            raise StageError(f"a stage states other facts of one batch than of another: {', '.join(changed)}")
        self._writers[name].write(rows)

    def append_any(self, name: str, rows: Batch) -> None:
        """Append to the file of that name and of the rows' schema."""
        number = self._numbers.setdefault((name, rows.schema), len(self._numbers))
        self.append(f"{name}.{number:02d}", rows)

    def create(self, name: str, schema: pa.Schema) -> None:
        """Begin a file, unless there is one of that name."""
        if name not in self._writers:
            path = str(self.folder / f"{name}.arrow")
            if name == SKETCH:  # is read column by column, again and again: mapped, so not compressed
                self._writers[name] = pa.ipc.new_file(path, schema)
            else:
                options = pa.ipc.IpcWriteOptions(compression="lz4")
                self._writers[name] = pa.ipc.new_stream(path, schema, options=options)
            self._schemas[name] = schema

    def close(self, tallies: dict[str, Tally]) -> None:
        """Close the files and write the report."""
        for writer in self._writers.values():
            writer.close()
        text = orjson.dumps({name: vars(tally) for name, tally in tallies.items()})
        (self.folder / REPORT).write_bytes(text)


def commit(partial: Path, final: Path) -> None:
    """Make a finished folder appear in one step, after its bytes are on disk."""
    for path in (*partial.iterdir(), partial):
        sync(path)
    if is_done(final):  # another worker was faster; its bytes are the same, and somebody may be reading them
        shutil.rmtree(partial)
        return
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync(final.parent)


def is_done(folder: Path) -> bool:
    """Tell whether a unit is finished and needs no second try, as one on which a stage failed does."""
    return (folder / REPORT).is_file() and not any(tally.failures for tally in tallies(folder).values())


def tallies(folder: Path) -> dict[str, Tally]:
    """Return the tallies of a finished unit, by stage."""
    report = orjson.loads((folder / REPORT).read_bytes())
    return {name: Tally.load(data) for name, data in report.items()}


def files(folder: Path, name: str) -> list[Path]:
    """Return the unit's Arrow files of that name, stages in order."""
    return sorted((*folder.glob(f"{name}.arrow"), *folder.glob(f"{name}.*.arrow")))


def batches(path: Path, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """Stream an Arrow file; only the columns asked for are unpacked."""
    options = None
    if columns is not None:
        names = schema_of(path).names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file, options=options) as stream:
        for batch in stream:
            yield batch if columns is None else batch.select(list(columns))


def mapped(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a sketch file as a table whose columns lie in the file: only what is used is read."""
    with pa.memory_map(str(path)) as file:
        found = pa.ipc.open_file(file).read_all()
    return found if columns is None else found.select(list(columns))


def schema_of(path: Path) -> pa.Schema:
    """Return the schema of an Arrow file."""
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        return stream.schema


def merged(streams: Sequence[Iterator[pa.Table]], keys: Sequence[tuple[str, str]]) -> Iterator[pa.Table]:
    """Merge tables of one schema by their column ``_row``, holding one table of each stream at a time.

    In each stream every row of a table comes before those of the next. keys: the order in full, ``_row``
    first.
    """
    waiting: list[tuple[int, int, pa.Table]] = []  # (last row of the table, stream, table)
    reached = [-1] * len(streams)  # the last row that each stream has brought

    def fetch(stream: int) -> None:
        table = next(streams[stream], None)
        if table is not None:
            least, most = pc.min_max(table["_row"]).as_py().values()
            if least <= reached[stream]:
                raise ValueError(f"row {least} of stream {stream} comes after row {reached[stream]}")
            reached[stream] = most
            heapq.heappush(waiting, (most, stream, table))

    for stream in range(len(streams)):
        fetch(stream)
    while waiting:
        # Up to the least last row, nothing can come that is not here.
        bound = waiting[0][0]
        ready, rest, emptied = [], [], []
        for last, stream, table in waiting:
            here = pc.less_equal(table["_row"], bound)
            ready.append(table.filter(here))
            if last > bound:
                rest.append((last, stream, table.filter(pc.invert(here))))
            else:
                emptied.append(stream)
        waiting = rest
        heapq.heapify(waiting)
        for stream in emptied:
            fetch(stream)
        yield pa.concat_tables(ready).sort_by(list(keys))
