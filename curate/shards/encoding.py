"""One shard of one table, or of tables that are aligned, written by one worker: the task that a release is made of.

Holds one row group of each table, and one batch of each file of a unit, whatever the size of the unit.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from curate import ledger, merkle, sealed
from curate.io import write
from curate.io.store import Store
from curate.io.write import Format, RowGroups, Shard, Stream
from curate.shards import rows
from curate.shards.schemas import Tables
from curate.shards.trails import Trail

KEPT = ("data", "records", merkle.FOLDER)
FOLDERS = {**{name: name for name in KEPT}, "removed": "removed", "edited": "removed", "ledger": "ledger"}


@dataclass(frozen=True)
class Form:
    """What all shards of a release have in common."""

    tables: Tables
    output: Format  # of data/
    seed: bytes = field(repr=False)  # of the salts
    removed_key: bytes | None = field(repr=False)

    def stream(self, table: str) -> Stream:
        """Return what a table's shards are, and where in the release's folder."""
        folder = Path(FOLDERS[table])
        if table == "data":
            return Stream(folder, self.tables.data, self.output)
        if table in ("removed", "edited"):
            whole = self.tables.removed
            shown = whole if self.removed_key is None else sealed.schema(whole)
            return Stream(folder, shown, stem="edited" if table == "edited" else "part")
        rest = {"records": self.tables.records, merkle.FOLDER: merkle.SCHEMA, "ledger": ledger.SCHEMA}
        return Stream(folder, rest[table])


@dataclass(frozen=True)
class Encoding:
    """A shard to write. tables: one, or several of :data:`KEPT`."""

    tables: tuple[str, ...]
    number: int  # of the shard
    trails: tuple[Trail, ...]
    first: int  # how many records of the table stand before it
    form: Form
    to: Store  # the release's folder
    split: str | None = None  # that its records are in


@dataclass(frozen=True)
class Encoded:
    """A shard that was written."""

    table: str
    path: str  # in the release's folder
    bytes: int
    sha256: str
    records: int
    subtrees: tuple[merkle.Subtree, ...] = ()  # of its leaves, where it is one of leaves/
    split: str | None = None  # of data/ and records/


def fetched(shard: Encoded, store: Store, folder: Path) -> Shard:
    """Return a shard of a store as a file of the folder, which is either the store's own, or gets a copy."""
    path = folder / shard.path
    if store.is_remote or store.path != folder.absolute():
        path.parent.mkdir(parents=True, exist_ok=True)
        with store.reading(shard.path) as found:
            shutil.copyfile(found, path)
    return Shard(path, shard.bytes, shard.sha256, shard.records, shard.split)


def encode(task: Encoding) -> list[Encoded]:
    """Write the task's shards and return them, one per table."""
    groups = _kept(task) if task.tables[0] in KEPT else _others(task)
    streams = [task.form.stream(table) for table in task.tables]
    paths = [(stream.folder / write.shard_name(stream, task.number)).as_posix() for stream in streams]
    nodes: list[merkle.Subtree] = []
    with ExitStack() as stack:
        files = [
            write.shard_file(stream, stack.enter_context(task.to.writing(path)))
            for stream, path in zip(streams, paths, strict=True)
        ]
        at = task.first
        for group in groups:
            for file, table in zip(files, group, strict=True):
                file.write(table)
            if merkle.FOLDER in task.tables:
                leaves = group[task.tables.index(merkle.FOLDER)].column("leaf").to_pylist()
                nodes += merkle.subtrees(leaves, at)
            at += group[0].num_rows
        found = []
        for table, stream, path, file in zip(task.tables, streams, paths, files, strict=True):
            if not file.records:
                file.write(stream.schema.empty_table())
            file.close()
            shard = write.finished(file.path, file.records)
            own = tuple(nodes) if table == merkle.FOLDER else ()
            split = task.split if table in ("data", "records") else None
            found.append(Encoded(table, path, shard.bytes, shard.sha256, shard.records, own, split))
    return found


def _kept(task: Encoding) -> Iterator[list[pa.Table]]:
    """Yield row groups of the task's tables. Those of data/ decide where they end, be it among the tables or not."""
    form = task.form
    schemas = [form.tables.data, *(form.stream(table).schema for table in task.tables)]
    groups = RowGroups(schemas)
    at = task.first
    for trail in task.trails:
        for batch in trail.records():
            made = {"data": rows.data(batch, form.tables.data)}
            if len(task.tables) > 1 or task.tables[0] != "data":
                locators = rows.locators(batch).to_pylist()
                salts = merkle.salts(form.seed, batch.column("source").to_pylist(), locators)
                if merkle.FOLDER in task.tables:
                    leaves = pa.array(merkle.leaves(salts, made["data"]), pa.binary(32))
                    made[merkle.FOLDER] = pa.table({"leaf": leaves}, schema=merkle.SCHEMA)
                if "records" in task.tables:
                    seal = {
                        "leaf": pa.array(range(at, at + len(salts)), pa.int64()),
                        "salt": pa.array(salts, pa.binary(merkle.SALT_BYTES)),
                    }
                    made["records"] = rows.records(batch, form.tables.records, seal)
            at += batch.num_rows
            for group in groups.add([made["data"], *(made[table] for table in task.tables)]):
                yield group[1:]
    for group in groups.rest():
        yield group[1:]


def _others(task: Encoding) -> Iterator[list[pa.Table]]:
    """Yield row groups of removed/ or ledger/."""
    [table] = task.tables
    form = task.form
    groups = RowGroups([form.stream(table).schema])
    for trail in task.trails:
        for some in _rows(table, trail, form):
            yield from groups.add([some])
    yield from groups.rest()


def _rows(table: str, trail: Trail, form: Form) -> Iterator[pa.Table]:
    if table == "ledger":
        yield from rows.decisions(trail)
        return
    for some in rows.taken(trail, table, form.tables.removed):
        yield some if form.removed_key is None else sealed.seal(some, form.removed_key)
