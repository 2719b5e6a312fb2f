"""The frequent passages: a file of the resolution, and what finds passages in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from curate.io.store import Store

Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

TABLE = pa.schema(
    [
        ("high", pa.uint64()),  # ascending, then low
        ("low", pa.uint64()),
        ("records", pa.int64()),  # in how many records the passage occurs
        ("file", pa.int64()),  # the first of them in the order of (source, path, row): index into `files` …
        ("row", pa.int64()),  # … and row
    ]
)


class Columns:
    """A table in the making on this machine's disk, column by column: 40 bytes per passage, none in memory."""

    def __init__(self, folder: Path) -> None:
        self._files = {name: (folder / name).open("wb") for name in TABLE.names}
        self._paths = {name: folder / name for name in TABLE.names}

    def append(self, columns: dict[str, npt.NDArray[np.uint64] | Ints]) -> None:
        """Append rows, which come after those before."""
        for name, file in self._files.items():
            file.write(np.ascontiguousarray(columns[name]).data)

    def table(self) -> pa.Table:
        """Return the whole, mapped; nothing can be appended after."""
        for file in self._files.values():
            file.close()
        columns = [
            pa.Array.from_buffers(field.type, self._paths[field.name].stat().st_size // 8, [None, mapped])
            for field in TABLE
            for mapped in (_mapped(self._paths[field.name]),)
        ]
        return pa.table(columns, schema=TABLE)

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _mapped(path: Path) -> pa.Buffer:
    if not path.stat().st_size:  # which cannot be mapped
        return pa.py_buffer(b"")
    with pa.memory_map(str(path)) as file:
        return file.read_buffer()


@contextmanager
def columns(folder: Path) -> Iterator[Columns]:
    """Give the columns of a table, whose files are closed at the end."""
    made = Columns(folder)
    try:
        yield made
    finally:
        made.close()


def save(store: Store, name: str, table: pa.Table, files: Sequence[tuple[str, str]]) -> str:
    """Write frequent passages for :class:`Frequent`; return the file's SHA-256, which depends on the records alone."""
    schema = TABLE.with_metadata({"files": orjson.dumps(files).decode()})
    with store.writing(name) as path:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            writer.write_batch(
                pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=schema)
            )
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Frequent:
    """The frequent passages [f], mapped from their file."""

    high: Hashes
    low: Hashes
    records: Ints
    file: Ints
    row: Ints
    place: dict[tuple[str, str], int]  # (source, path) → file

    @classmethod
    def open(cls, store: Store, name: str, digest: str) -> Frequent:
        """Map the file that :func:`save` wrote: once per process, by its digest, wherever it lies by then.

        From object storage it is fetched first. Its copy has no name any more, so it goes with the process.
        """
        return _open(store, name, digest)

    def find(self, high: Hashes, low: Hashes) -> Ints:
        """Return where each passage [p] stands here, -1 where it does not."""
        found = np.full(len(high), -1, np.int64)
        at = np.searchsorted(self.high, high)
        open_ = np.flatnonzero(at < len(self.high))
        while len(open_):  # one round, and one more for each pair of passages that share half a hash
            open_ = open_[self.high[at[open_]] == high[open_]]
            same = self.low[at[open_]] == low[open_]
            found[open_[same]] = at[open_[same]]
            open_ = open_[~same]
            at[open_] += 1
            open_ = open_[at[open_] < len(self.high)]
        return found


@lru_cache(maxsize=8)
def _open(store: Store, name: str, digest: str) -> Frequent:
    with store.reading(name) as path, pa.memory_map(str(path)) as mapped:
        reader = pa.ipc.open_file(mapped)
        batch = reader.get_batch(0)
    place = {(s, p): index for index, (s, p) in enumerate(orjson.loads(reader.schema.metadata[b"files"]))}
    high, low, records, files, row = (batch.column(column).to_numpy() for column in TABLE.names)
    return Frequent(high, low, records, files, row, place)
