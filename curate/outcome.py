"""What a unit of work leaves: a folder of Arrow files, and how much each stage did.

The folder appears whole (curate.io.store) under the unit's key::

    records.arrow     the records that go on         sketch.arrow       what the next barrier remembers of them
    ledger.P.arrow    decisions (ledger.WORKING)     removed.P.N.arrow  records taken out, as they then were
    report.json       what else is here, tallies     edited.P.N.arrow   records as they were before each edit

P is the place of a stage in the recipe (0 is reading), N counts schemas: what is known of a record grows from
stage to stage. In each file but the sketches, rows ascend.
"""

from __future__ import annotations

import base64
import heapq
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.errors import StageError
from curate.io.store import Store
from curate.record import FACT, Batch

REPORT = "report.json"
SKETCH = "sketch"
KILLED = "killed"  # in a tally's failures: records on which workers died, again and again
MISSING = "is not there"
_BLOCK = 2**20  # bytes read at a time


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

    def close(self, tallies: Mapping[str, Tally]) -> None:
        """Close the files and write the report, which lists them."""
        for writer in self._writers.values():
            writer.close()
        stated = {f.name: f for schema in self._schemas.values() for f in schema if f.name.startswith(FACT)}
        report = {
            "files": {path.name: _written(path) for path in sorted(self.folder.iterdir())},
            "facts": base64.b64encode(pa.schema(list(stated.values())).serialize().to_pybytes()).decode(),
            "tallies": {name: vars(tally) for name, tally in tallies.items()},
        }
        (self.folder / REPORT).write_bytes(orjson.dumps(report))


@dataclass(frozen=True)
class Done:
    """A finished unit: its folder, and what its report says."""

    folder: Store
    files: tuple[str, ...]
    facts: dict[str, pa.DataType]  # column → type, of all that its stages stated
    tallies: dict[str, Tally]
    notes: tuple[str, ...] = ()  # what was found wrong with a folder that was there before
    reused: bool = False

    @property
    def key(self) -> str:
        """Return the unit's key."""
        return self.folder.name

    def named(self, name: str) -> list[str]:
        """Return the unit's files of that name, stages in order."""
        return [file for file in self.files if file == f"{name}.arrow" or file.startswith(f"{name}.")]


def finished(folder: Store) -> Done:
    """Read a finished unit's report. Raises FileNotFoundError where there is none, ValueError for one that is none."""
    report = orjson.loads(folder.read(REPORT))
    facts = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(report["facts"])))
    tallies = {name: Tally.load(data) for name, data in report["tallies"].items()}
    return Done(folder, tuple(sorted(report["files"])), {f.name: f.type for f in facts}, tallies)


def recall(folder: Store) -> tuple[Done | None, tuple[str, ...]]:
    """Return a unit that an earlier run finished, None where it must be done, and what is wrong with what is there.

    Every file must be there with the bytes that were written, and no other; in object storage, whose service
    answers for the bytes, with their number. A unit on which a stage failed needs a second try; one on which workers
    died has had many.
    """
    if wrong := damage(folder):
        return None, (() if wrong == MISSING else (f"{folder.name}: {wrong}",))
    try:
        done = finished(folder)
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException):
        return None, (f"{folder.name}: its {REPORT} is damaged",)
    return (None if any(tally.failures for tally in done.tallies.values()) else done), ()


def listing(folder: Store) -> dict[str, tuple[int, int]]:
    """Return of every file in a folder its bytes and, on a disk, its CRC-32: what its report lists."""
    if folder.is_remote:
        return {name: (size, 0) for name, size in folder.sizes().items()}
    return {name: _written(folder.path / name) for name in folder.sizes()}


def damage(folder: Store) -> str | None:
    """Return what is wrong with a folder whose report lists its files; MISSING where there is none; None: nothing."""
    if not folder.is_remote and (folder.path.is_symlink() or folder.path.is_file()):
        return "is no folder"
    there = folder.sizes()
    if REPORT not in there:
        return f"has no {REPORT}, so it is not whole" if there else MISSING
    try:
        report = orjson.loads(folder.read(REPORT))
        listed = {name: (int(size), int(crc)) for name, (size, crc) in report["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"its {REPORT} is damaged"
    there.pop(REPORT, None)
    for name in sorted(there.keys() | listed.keys()):
        if name not in listed:
            return f"{name} is none of its files"
        size, crc = listed[name]
        if name not in there:
            return f"{name} is missing"
        if there[name] != size:
            return f"{name} has {there[name]:,} bytes, and had {size:,} when it was written"
        if not folder.is_remote and _written(folder.path / name)[1] != crc:
            return f"{name} has other bytes than were written"
    return None


def _written(path: Path) -> tuple[int, int]:
    """Return a file's bytes and CRC-32, which tells damage: all that can happen to a folder of our own."""
    size = crc = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            size, crc = size + len(block), zlib.crc32(block, crc)
    return size, crc


def batches(folder: Store, name: str, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """Stream an Arrow file of a folder; only the columns asked for are unpacked."""
    with folder.reading(name) as path:
        yield from batches_of(path, columns)


def batches_of(path: Path, columns: Sequence[str] | None = None) -> Iterator[Batch]:
    """Stream a local Arrow file; only the columns asked for are unpacked."""
    options = None
    if columns is not None:
        with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
            names = stream.schema.names
        options = pa.ipc.IpcReadOptions(included_fields=[names.index(name) for name in columns])
    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file, options=options) as stream:
        for batch in stream:
            yield batch if columns is None else batch.select(list(columns))


def mapped(folder: Store, name: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a file of a folder as a table whose columns lie in the file: only what is used is read."""
    with folder.reading(name) as path, pa.memory_map(str(path)) as file:
        found = pa.ipc.open_file(file).read_all()
    return found if columns is None else found.select(list(columns))


def schema_of(folder: Store, name: str) -> pa.Schema:
    """Return the schema of an Arrow file of a folder."""
    with folder.opened(name) as file, pa.ipc.open_stream(file) as stream:
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
