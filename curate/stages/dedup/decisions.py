"""The file of decisions that a deduplicating barrier leaves: written in one go, read a batch at a time.

Arrow IPC, record batches of DECISIONS, each of one input file and at most BATCH records; files and their rows
ascend. Its metadata says of which input file each batch is (``files``: JSON [[source, path], …]), the ``reason`` of
a drop, the ``fact`` under which the cluster's id is stated of all its records, the kept one included, and the
earlier ``releases`` (JSON [{name, version, root}, …]) that some kept records are of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from curate.io.store import Store

Ints = npt.NDArray[np.int64]

DECISIONS = pa.schema(
    [
        ("row", pa.int64()),  # row of the record in its file, ascending
        ("id", pa.string()),
        ("similarity", pa.float64()),  # with the record that is kept; null for the kept record itself
        ("prompt_similarity", pa.float64()),
        ("response_similarity", pa.float64()),
        ("kept_id", pa.string()),
        ("kept", pa.string()),  # locator of the kept record
        ("cluster", pa.string()),
        ("release", pa.int32()),  # index of the earlier release that holds the kept record; null for this run
    ]
)
FILE = "_file"
LINES = pa.schema([(FILE, pa.int32()), *DECISIONS])  # before they are parted by file: index into all files
SIMILARITIES = ("similarity", "prompt_similarity", "response_similarity")
# In place of a release's index, its root.
MEMBERS = pa.schema(
    [("source", pa.string()), ("path", pa.string()), *list(DECISIONS)[:-1], ("release", pa.string())]
)
_MISCOUNTED = "decisions are not as many as were counted"
BATCH = 1 << 15  # decisions; what judging a record may read of object storage: some MB


def write(
    store: Store,
    name: str,
    about: Mapping[str, str],
    files: Sequence[tuple[str, str]],
    counts: Counter[int],
    tables: Iterable[pa.Table],
    schema: pa.Schema = DECISIONS,
) -> None:
    """Write decisions (LINES, in canonical order), of which each file has ``counts``; or others of that kind."""
    named = [files[number] for number in sorted(counts) for _ in range(-(-counts[number] // BATCH))]
    schema = schema.with_metadata({**about, "files": orjson.dumps(named).decode()})
    with (
        store.writing(name) as path,
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        for batch in _batches(tables, counts):
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))


def _batches(tables: Iterable[pa.Table], counts: Counter[int]) -> Iterator[pa.RecordBatch]:
    """Cut decisions at the ends of files, and of BATCH records in each."""
    waiting: list[pa.Table] = []
    sizes = (
        min(BATCH, counts[number] - start)
        for number in sorted(counts)
        for start in range(0, counts[number], BATCH)
    )
    wanted = next(sizes, 0)
    for table in tables:
        start = 0
        while start < table.num_rows:
            if not wanted:
                raise ValueError(_MISCOUNTED)
            waiting.append(table.slice(start, wanted))
            start += waiting[-1].num_rows
            wanted -= waiting[-1].num_rows
            if not wanted:
                whole = pa.concat_tables(waiting).drop_columns(FILE)
                # Taken, not sliced: the bytes are then the same however the tables were cut.
                yield whole.take(pa.array(np.arange(whole.num_rows))).combine_chunks().to_batches()[0]
                waiting.clear()
                wanted = next(sizes, 0)
    if waiting or wanted:
        raise ValueError(_MISCOUNTED)


class Decided:
    """The file, open. Of a remote one only the batches that are asked for are transferred."""

    def __init__(self, store: Store, name: str) -> None:
        self._open = ExitStack()  # closed with the last reference
        file = self._open.enter_context(store.opened(name))
        self._reader = pa.ipc.open_file(file)
        about = {key.decode(): value.decode() for key, value in self._reader.schema.metadata.items()}
        self.reason, self.fact = about["reason"], about["fact"]
        self.releases: list[dict[str, str]] = orjson.loads(about["releases"])
        self.files = [(source, path) for source, path in orjson.loads(about["files"])]
        self._place: dict[tuple[str, str], range] = {}
        for number, key in enumerate(self.files):
            self._place[key] = range(self._place[key].start if key in self._place else number, number + 1)
        self._last: tuple[int, pa.RecordBatch] | None = None
        self._firsts: dict[int, int] = {}

    def batch(self, number: int) -> pa.RecordBatch:
        """Return a batch; the last one is kept."""
        if self._last is None or self._last[0] != number:
            self._last = number, self._reader.get_batch(number)
        return self._last[1]

    def lines(self, file: tuple[str, str], rows: Ints) -> Iterator[tuple[Ints, list[dict[str, Any]]]]:
        """Yield which of a file's rows [n] have decisions (their indices), and these."""
        numbers = self._place.get(file)
        if numbers is None or not len(rows):
            return
        low, high = self._holding(numbers, int(rows.min())), self._holding(numbers, int(rows.max()))
        for number in range(low, high + 1):
            batch = self.batch(number)
            known = batch.column("row").to_numpy()
            at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
            hit = np.flatnonzero(known[at] == rows)
            if len(hit):
                yield hit, batch.take(pa.array(at[hit])).to_pylist()

    def _holding(self, numbers: range, row: int) -> int:
        """Return the last of a file's batches that begins at a row or before it, else the first."""
        low, high = numbers.start, numbers.stop
        while high - low > 1:
            middle = (low + high) // 2
            if self._first(middle) <= row:
                low = middle
            else:
                high = middle
        return low

    def _first(self, number: int) -> int:
        if number not in self._firsts:
            self._firsts[number] = self.batch(number).column("row")[0].as_py()
        return self._firsts[number]


@lru_cache(maxsize=8)
def decided(store: Store, name: str, modified: int) -> Decided:
    """Open the file once per process; ``modified`` makes a file that was replaced a new one."""
    return Decided(store, name)
