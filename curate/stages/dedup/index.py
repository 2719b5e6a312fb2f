"""The index of a release: what deduplication must know of its records to find them again without their text.

A stage that can keep an index of what it saw (``exact``, ``minhash``) has

* ``signatures``: a method that returns what its sketch does not hold of a batch's records,
* ``indexed``: the schema of all that it keeps, columns of its sketch and of ``signatures``,
* ``scheme()``: a method of its options; only indexes of an equal scheme can be compared.

In the release, ``index/part-*.parquet`` has one row per kept record, in the order of data/: ``id``, ``source``,
then each stage's columns, named ``<stage>_<column>``. The manifest's ``index`` has the schemes, its ``outputs``
the hashes of the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from curate import record
from curate.errors import IntegrityError, RecipeError
from curate.io import files
from curate.io import manifest as manifests
from curate.io.store import Store
from curate.record import Batch
from curate.stage import Engine, SketchPart

FOLDER = "index"
Ints = npt.NDArray[np.int64]


class Indexed(Protocol):
    """A stage that can keep an index."""

    @property
    def name(self) -> str:
        """Return the stage's name."""
        ...

    @property
    def options(self) -> Any:
        """Return its options: ``scheme()`` says what signatures depend on."""
        ...

    @property
    def indexed(self) -> pa.Schema:
        """Return what it keeps of a record."""
        ...

    def signatures(self, batch: Batch) -> pa.RecordBatch:
        """Return those columns of ``indexed`` that its sketch does not have: one row per record."""
        ...


@dataclass(frozen=True, slots=True)
class IndexPart:
    """One file of an index. ``table`` is that of curate.stage.SketchPart; the records' text is not there."""

    store: Store  # of the release
    name: str
    stage: str
    records: int

    def table(self, columns: Sequence[str]) -> pa.Table:
        """Return columns of the index, named as the stage names them."""
        names = [self._name(column) for column in columns]
        with self.store.opened(self.name) as source, pq.ParquetFile(source) as file:
            return file.read(columns=names).select(names).rename_columns(columns)

    def chosen(self, rows: Ints, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield the rows (ascending, from 0) of each row group that has any."""
        names = [self._name(column) for column in columns]
        with self.store.opened(self.name) as source, pq.ParquetFile(source) as file:
            start = 0
            for group in range(file.num_row_groups):
                size = file.metadata.row_group(group).num_rows
                first, last = np.searchsorted(rows, (start, start + size))
                if first < last:
                    table = file.read_row_group(group, columns=names).select(names).rename_columns(columns)
                    yield table.take(pa.array(rows[first:last] - start))
                start += size

    def _name(self, column: str) -> str:
        return column if column in record.IDENTITY.names else f"{self.stage}_{column}"


@dataclass(frozen=True)
class Index:
    """What one stage finds in the index of an earlier release."""

    stage: str
    named: str  # as the recipe names it
    name: str
    version: str
    root: str  # of the release's manifest: it covers scheme and files
    store: Store  # of the release
    scheme: dict[str, Any]
    parts: tuple[IndexPart, ...]
    hashes: tuple[str, ...]  # SHA-256 of each part's file

    @property
    def records(self) -> int:
        """Return how many records the release kept."""
        return sum(part.records for part in self.parts)

    @property
    def folder(self) -> Path:
        """Return the folder of the release, to compare with other folders."""
        return Path(self.store.url)

    @property
    def about(self) -> dict[str, str]:
        """Return what the ledger says of the release."""
        return {"name": self.name, "version": self.version, "root": self.root}

    @classmethod
    def open(cls, store: Store, named: str, stage: str) -> Index:
        """Open the index of a release, named by the release's folder or by ``index`` in it, here or in object storage.

        Reads the manifest alone. Raises RecipeError where there is no index or none of the stage, and
        IntegrityError if the manifest was changed.
        """
        if store.name == FOLDER and not store.exists(manifests.NAME):
            store = Store(store.url.rpartition("/")[0])
        otherwise = f", or {FOLDER}/ in it with {manifests.NAME} beside"
        manifest = manifests.held(store, named, otherwise)
        about = f"{manifest['name']} {manifest['version']}"
        schemes = manifest.get("index", {}).get("stages", {})
        if not schemes:
            raise RecipeError(
                f"found {named!r}: release {about} keeps no index; run its recipe again with 'output: "
                "{index: true}'"
            )
        if stage not in schemes:
            raise RecipeError(
                f"found {named!r}: the index of release {about} is of {', '.join(schemes)}, not of {stage}; "
                f"take it out here, or run that release's recipe again with the stage {stage}"
            )
        entries = [entry for entry in manifest["outputs"] if entry["path"].startswith(f"{FOLDER}/")]
        parts = tuple(IndexPart(store, entry["path"], stage, entry["records"]) for entry in entries)
        hashes = tuple(entry["sha256"] for entry in entries)
        return cls(
            stage,
            named,
            manifest["name"],
            manifest["version"],
            manifest["root"],
            store,
            schemes[stage],
            parts,
            hashes,
        )

    def check(self, scheme: Mapping[str, Any]) -> None:
        """Raise RecipeError, saying what differs, if the index was made by another scheme."""
        keys = [key for key in {**scheme, **self.scheme} if self.scheme.get(key) != scheme.get(key)]
        if keys in ([], ["recall"]):  # another recall may ask for the same bands
            return
        differs = ", ".join(f"{key} is {self.scheme.get(key)} there, {scheme.get(key)} here" for key in keys)
        advice = "run that release's recipe again with this version of curate"
        if "version" not in keys:
            advice = "give this stage the same, or run that release's recipe again with what stands here"
        raise RecipeError(
            f"found {self.named!r}: the index of release {self.name} {self.version} does not fit {self.stage}: "
            f"{differs}; {advice}"
        )


def verify(indexes: Sequence[Index], engine: Engine) -> None:
    """Raise IntegrityError, naming the file, unless every file is what its release's manifest says."""
    tasks = [pair for index in indexes for pair in zip(index.parts, index.hashes, strict=True)]
    for _ in engine.map(_verify, tasks):
        pass


def _verify(task: tuple[IndexPart, str]) -> None:
    part, wanted = task
    advice = f"restore {FOLDER}/ of that release, or run its recipe again"
    place = files.public(f"{part.store.url}/{part.name}")
    try:
        with part.store.reading(part.name) as path, path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise IntegrityError(f"{place}: is missing from the index; {advice}") from None
    if found != wanted:
        raise IntegrityError(f"{place}: is not the file that its release's manifest names; {advice}")


def schema(stages: Sequence[Indexed]) -> pa.Schema:
    """Return the schema of index/."""
    return pa.schema(
        [
            *record.IDENTITY,
            *(pa.field(f"{stage.name}_{f.name}", f.type) for stage in stages for f in stage.indexed),
        ]
    )


@dataclass(frozen=True, slots=True)
class Signing:
    """One unit of work, for a worker to index."""

    kept: SketchPart  # what the release holds of the unit in the end
    stages: tuple[Indexed, ...]
    parts: tuple[SketchPart, ...]  # what each stage saw of it
    path: Path  # an Arrow stream that the worker writes


def sign(task: Signing) -> None:
    """Write the index of the unit's kept records, by row.

    Signatures are of the content as each stage saw it: what a later stage edited is not in them.
    """
    identity = [pa.Table.from_batches([b]) for b in task.kept.records(["id", "source", "_row"])]
    none = pa.schema([*record.IDENTITY, ("_row", pa.int64())]).empty_table()
    kept = pa.concat_tables([none, *identity]).combine_chunks()
    rows = kept.column("_row").to_numpy()
    streams = [iter([kept.select(record.IDENTITY.names)] if len(rows) else [])]
    streams += [_signed(stage, part, rows) for stage, part in zip(task.stages, task.parts, strict=True)]
    whole = schema(task.stages)
    with pa.ipc.new_stream(str(task.path), whole) as writer:
        for tables in _aligned(streams):
            columns = [column for table in tables for column in table.columns]
            writer.write_table(pa.table(columns, schema=whole))


def _signed(stage: Indexed, part: SketchPart, rows: Ints) -> Iterator[pa.Table]:
    """Yield the stage's columns of the records that have these rows (ascending, all of them there)."""
    if not len(rows):
        return
    sketch = part.table()
    start = 0
    for batch in part.records():
        mine = batch.column("_row").to_numpy()
        at = np.minimum(np.searchsorted(rows, mine), len(rows) - 1)
        chosen = pa.array(np.flatnonzero(rows[at] == mine))
        if len(chosen):
            own = stage.signatures(batch.take(chosen))
            kept = sketch.slice(start, batch.num_rows).take(chosen)
            columns = [
                own.column(f.name) if f.name in own.schema.names else kept.column(f.name).cast(f.type)
                for f in stage.indexed
            ]
            yield pa.table(columns, schema=stage.indexed)
        start += batch.num_rows


def _aligned(streams: Sequence[Iterator[pa.Table]]) -> Iterator[list[pa.Table]]:
    """Cut streams of tables without empty ones, all of as many rows in total, so that they go side by side."""
    held: list[Any] = [next(stream, None) for stream in streams]
    while all(held):
        size = min(table.num_rows for table in held)
        yield [table.slice(0, size) for table in held]
        for i, (table, stream) in enumerate(zip(held, streams, strict=True)):
            held[i] = table.slice(size) if table.num_rows > size else next(stream, None)
    if any(held):
        raise ValueError("streams of different lengths")
