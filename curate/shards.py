"""From the pipeline's finished units to the release's tables: data/, records/, leaves/, removed/ and ledger/.

Everything is written in one order: sources by name, their files by path, records by row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from curate import ledger, merkle, record, sealed
from curate.doubled import DoubledIds
from curate.io.cells import is_json_text, json_text
from curate.io.columns import JSON_TEXT
from curate.io.scan import SourcePlan
from curate.io.write import Format, Shard, ShardWriter, Stream
from curate.outcome import SKETCH, batches, batches_of, merged
from curate.pipeline import Chain, Part, segments
from curate.recipe import StageSpec
from curate.record import FACT
from curate.stage import Engine
from curate.stages import index

_LARGEST_FLOAT_INT = 2**53  # integers up to this are exact as 64-bit floats (IEEE 754)


@dataclass(frozen=True)
class Tables:
    """The schemas of a release's tables."""

    data: pa.Schema
    records: pa.Schema
    removed: pa.Schema


@dataclass(frozen=True)
class Written:
    """What was written: shards by folder name, how many records share their id with another, the Merkle tree."""

    shards: dict[str, list[Shard]]
    duplicate_ids: dict[str, int]  # source → records
    tree: dict[str, Any]  # as the manifest holds it


def write(
    plans: Sequence[SourcePlan],
    chains: Sequence[Chain],
    folder: Path,
    output: Format,
    shard_size: int,
    memory: int,
    seed: bytes,
    removed_key: bytes | None = None,
) -> Written:
    """Write all tables into a folder and return what was written.

    memory: bytes that DuckDB may use. seed: what the records' salts are made of (:mod:`curate.merkle`).
    removed_key: what the contents of removed/ are encrypted under (:mod:`curate.sealed`); None: they are not.
    """
    tables = schemas(plans, chains)
    main = ShardWriter(
        [
            Stream(folder / "data", tables.data, output),
            Stream(folder / "records", tables.records),
            Stream(folder / merkle.FOLDER, merkle.SCHEMA),
        ],
        shard_size,
    )
    shown = tables.removed if removed_key is None else sealed.schema(tables.removed)
    removed = ShardWriter([Stream(folder / "removed", shown)], shard_size)
    edited = ShardWriter([Stream(folder / "removed", shown, stem="edited")], shard_size)
    tree = merkle.Tree()
    for chain in chains:
        for batch in batches(chain.done[-1].folder, "records.arrow"):
            if batch.num_rows:
                main.append(_kept(batch, tables, tree, seed))
        for name, writer in (("removed", removed), ("edited", edited)):
            for table in _taken(chain, name, tables.removed):
                writer.append([table if removed_key is None else sealed.seal(table, removed_key)])
    for writer in (main, removed, edited):
        writer.close()
    decisions = ShardWriter([Stream(folder / "ledger", ledger.SCHEMA)], shard_size)
    with DoubledIds(folder, memory) as doubled:
        for chain in chains:
            for table in _decisions(chain, doubled.of(chain)):
                decisions.append([table])
        counts = doubled.counts()
    decisions.close()
    shards = {"data": main.shards[0], "records": main.shards[1], "ledger": decisions.shards[0]}
    shards["removed"] = [*edited.shards[0], *removed.shards[0]]
    shards[merkle.FOLDER] = main.shards[2]
    return Written(shards, counts, {"root": tree.root(), "leaves": tree.size, "algorithm": merkle.ALGORITHM})


def _kept(batch: pa.RecordBatch, tables: Tables, tree: merkle.Tree, seed: bytes) -> list[pa.Table]:
    """Return kept records as rows of data/, records/ and leaves/, and add their leaves to the tree."""
    data = _data(batch, tables.data)
    salts = merkle.salts(seed, batch.column("source").to_pylist(), _locators(batch).to_pylist())
    leaves = merkle.leaves(salts, data)
    seal = {
        "leaf": pa.array(range(tree.size, tree.size + len(leaves)), pa.int64()),
        "salt": pa.array(salts, pa.binary(merkle.SALT_BYTES)),
    }
    tree.extend(leaves)
    told = pa.table({"leaf": pa.array(leaves, pa.binary(32))}, schema=merkle.SCHEMA)
    return [data, _records(batch, tables.records, seal), told]


@dataclass(frozen=True)
class WrittenIndex:
    """An index that was written: its shards, and the scheme of each stage's part of it."""

    shards: list[Shard]
    schemes: dict[str, dict[str, Any]]


def write_index(
    stages: Sequence[StageSpec], chains: Sequence[Chain], folder: Path, shard_size: int, engine: Engine
) -> WrittenIndex:
    """Write ``folder``/index, one row per kept record in the order of data/ (:mod:`curate.stages.index`)."""
    barriers = [
        (segment.index, cast(index.Indexed, spec.stage_class()(spec.options)))
        for segment in segments(stages)
        if (spec := segment.sketches) is not None and hasattr(spec.stage_class(), "signatures")
    ]
    built = tuple(stage for _, stage in barriers)
    writer = ShardWriter([Stream(folder / index.FOLDER, index.schema(built))], shard_size)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        tasks = []
        for number, chain in enumerate(chains):
            seen = tuple(Part(chain.done[place].folder) for place, _ in barriers)
            if all(
                f"{SKETCH}.arrow" in chain.done[place].files for place, _ in barriers
            ):  # else nothing was left of it
                path = Path(scratch) / f"{number:06d}.arrow"
                tasks.append(index.Signing(Part(chain.done[-1].folder), built, seen, path))
        for task, _ in zip(tasks, engine.map(index.sign, tasks), strict=True):
            for batch in batches_of(task.path):
                writer.append([pa.Table.from_batches([batch])])
            task.path.unlink()
    writer.close()
    return WrittenIndex(writer.shards[0], {stage.name: stage.options.scheme() for stage in built})


def schemas(plans: Sequence[SourcePlan], chains: Sequence[Chain]) -> Tables:
    """Return the tables' schemas: the union over all sources, and over all facts that the stages stated."""
    kinds = {"messages" if "messages" in plan.schema.names else "text" for plan in plans}
    contents = [pa.field("text", pa.string())] if "text" in kinds else []
    contents += [pa.field("messages", record.MESSAGES)] if "messages" in kinds else []
    texts = [pa.field(name, pa.string()) for name in record.DESCRIPTION.names]
    extras = _extras(plans, chains)

    facts: dict[str, pa.DataType] = {"edits": record.FACTS.field("edits").type}
    for chain in chains:
        for done in chain.done:
            facts |= {name[len(FACT) :]: kind for name, kind in done.facts.items()}
    stated = [pa.field(name, facts[name]) for name in sorted(facts)]
    hashes = [pa.field(name, pa.string()) for name in ("locator", "sha256_in", "sha256_out")]
    seal = [("leaf", pa.int64()), ("salt", pa.binary(merkle.SALT_BYTES))]  # place in the Merkle tree
    more = [field for field in stated if field.name not in record.FACTS.names]
    labels = [pa.field(name, pa.string()) for name in ("stage", "action", "reason", "locator", "sha256_in")]
    # raw: the bytes of a line that could not be read as a record
    decided = pa.struct([*labels, ("raw", pa.binary()), ("facts", pa.struct(stated))])
    return Tables(
        data=pa.schema([*record.IDENTITY, *contents, pa.field("language", pa.string()), *texts, *extras]),
        records=pa.schema([*record.IDENTITY, *hashes, *seal, *record.FACTS, *more]),
        removed=pa.schema([*record.IDENTITY, *contents, *texts, *extras, pa.field(record.CURATE, decided)]),
    )


def _extras(plans: Sequence[SourcePlan], chains: Sequence[Chain]) -> list[pa.Field]:
    """Return the sources' own columns, by name, each in a type that holds the values of all sources."""
    fixed = {*record.IDENTITY.names, *record.DESCRIPTION.names, *record.BOOKKEEPING.names, "text", "messages"}
    found: dict[str, pa.Field] = {}
    for plan in plans:
        for field in plan.schema:
            if field.name not in fixed:
                found[field.name] = common_field(found[field.name], field) if field.name in found else field
    for name, field in found.items():
        if pa.types.is_floating(field.type) and not _exact_as_floats(name, chains):
            found[name] = _as_text(name)
    return [found[name] for name in sorted(found)]


def _exact_as_floats(name: str, chains: Sequence[Chain]) -> bool:
    """Tell whether every integer that some source has in this column is the same as a float."""
    for chain in chains:
        if name not in chain.plan.schema.names or not pa.types.is_integer(chain.plan.schema.field(name).type):
            continue
        for done in chain.done:
            for file in (*done.named("records"), *done.named("removed"), *done.named("edited")):
                for batch in batches(done.folder, file, [name]):
                    least, most = pc.min_max(batch.column(name)).as_py().values()
                    if least is not None and max(-least, most) > _LARGEST_FLOAT_INT:
                        return False
    return True


def common_field(a: pa.Field, b: pa.Field) -> pa.Field:
    """Return one field for a column that two sources have: the wider number, else JSON text."""
    if is_json_text(a) or is_json_text(b):
        return _as_text(a.name)
    if a.type == b.type:
        return a
    if all(pa.types.is_integer(t) for t in (a.type, b.type)) and pa.uint64() not in (a.type, b.type):
        return pa.field(a.name, pa.int64())
    if all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in (a.type, b.type)):
        return pa.field(a.name, pa.float64())
    return _as_text(a.name)


def _as_text(name: str) -> pa.Field:
    return pa.field(name, pa.string(), metadata=JSON_TEXT)


def _fitted(values: pa.Array, field: pa.Field, was: pa.Field) -> pa.Array:
    """Return a column's values in the type that the release gives the column."""
    if is_json_text(field) and not is_json_text(was):
        texts = [None if v is None else json_text(v) for v in values.to_pylist()]
        return pa.array(texts, pa.string())
    return values if values.type == field.type else values.cast(field.type)


def _shaped(batch: pa.RecordBatch | pa.Table, schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    """Return a table of the schema: from the given columns, else the batch's of that name, else null."""
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(columns[field.name])
        elif field.name in batch.schema.names:
            arrays.append(_fitted(batch.column(field.name), field, batch.schema.field(field.name)))
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    return pa.table(arrays, schema=schema)


def _fact(batch: pa.RecordBatch | pa.Table, name: str) -> Any:
    return batch.column(FACT + name) if FACT + name in batch.schema.names else None


def _locators(batch: pa.RecordBatch | pa.Table) -> Any:
    return pc.binary_join_element_wise(batch.column("_path"), batch.column("_row").cast(pa.string()), "#")


def _data(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    columns = {}
    if (concluded := _fact(batch, "license_concluded")) is not None:
        columns["license"] = pc.coalesce(concluded, batch.column("license"))
    if (language := _fact(batch, "language")) is not None:
        columns["language"] = language
    return _shaped(batch, schema, columns)


def _records(batch: pa.RecordBatch, schema: pa.Schema, seal: dict[str, pa.Array]) -> pa.Table:
    facts = {name[len(FACT) :]: batch.column(name) for name in batch.schema.names if name.startswith(FACT)}
    before = batch.column("_sha256")
    edited = pc.is_valid(batch.column(FACT + "edits"))
    after = before
    if pc.any(edited).as_py():
        after = pc.if_else(edited, record.content_sha256(record.content(batch)), before)
    own = {"locator": _locators(batch), "sha256_in": before, "sha256_out": after}
    facts.setdefault("license_declared", batch.column("license"))
    return _shaped(batch.select(["id", "source"]), schema, {**facts, **own, **seal})


def _taken(chain: Chain, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield one unit's removed (or edited) records of all segments, by row."""
    found = [(done.folder, file) for done in chain.done for file in done.named(name)]
    order = [("_row", "ascending"), ("_stage", "ascending")]
    for table in merged([(_told(batch, schema) for batch in batches(*file)) for file in found], order):
        yield table.select(schema.names)


def _told(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return removed records in the release's form, with their row and stage beside."""
    decided = schema.field(record.CURATE).type
    own = {
        "stage": batch.column("_stage_name"),
        "action": batch.column("_action"),
        "reason": batch.column("_reason"),
        "locator": _locators(batch),
        "sha256_in": batch.column("_sha256"),
        "raw": batch.column("_raw"),
        "facts": _struct(batch, decided.field("facts").type),
    }
    told = pa.StructArray.from_arrays([own[f.name] for f in decided], fields=list(decided))
    shaped = _shaped(batch, schema, {record.CURATE: told})
    for key in ("_row", "_stage"):
        shaped = shaped.append_column(key, batch.column(key))
    return shaped


def _struct(batch: pa.RecordBatch, wanted: pa.StructType) -> pa.StructArray:
    stated = [_fact(batch, f.name) for f in wanted]
    values = [
        pa.nulls(batch.num_rows, f.type) if v is None else v for f, v in zip(wanted, stated, strict=True)
    ]
    return pa.StructArray.from_arrays(values, fields=list(wanted))


def _decisions(chain: Chain, doubled: pa.Table) -> Iterator[pa.Table]:
    """Yield one unit's ledger by row: the stages' decisions of all segments, and the ids that are not unique."""
    found = [(done.folder, file) for done in chain.done for file in done.named("ledger")]
    streams = [(pa.Table.from_batches([batch]) for batch in batches(*file)) for file in found]
    flags = [doubled] if doubled.num_rows else []
    for table in merged([*streams, iter(flags)], ledger.ORDER):
        yield table.select(ledger.SCHEMA.names)
