"""From the pipeline's finished units to the release's tables: data/, records/, removed/ and ledger/.

Everything is written in one order: sources by name, their files by path, records by row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import ledger, record
from curate.io.scan import SourcePlan
from curate.io.write import JSON_TEXT, Format, Shard, ShardWriter, Stream, is_json_text
from curate.pipeline import Chain
from curate.record import FACT
from curate.stage import evidence_json
from curate.unit import EDITS, READ, batches, files, schema_of

DUPLICATE_ID = "read/duplicate-id"
# Facts that every release's records/ has, null where no stage stated them; other facts follow by name.
FACTS = pa.schema(
    [
        ("license_declared", pa.string()),
        ("license_detected", pa.string()),
        ("license_concluded", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("edits", EDITS),
        ("cluster", pa.string()),
    ]
)


@dataclass(frozen=True)
class Tables:
    """The schemas of a release's tables."""

    data: pa.Schema
    records: pa.Schema
    removed: pa.Schema


@dataclass(frozen=True)
class Written:
    """What was written: shards by folder name, and how many records share their id with another."""

    shards: dict[str, list[Shard]]
    duplicate_ids: dict[str, int]  # source → records


def write(
    plans: Sequence[SourcePlan], chains: Sequence[Chain], folder: Path, output: Format, shard_size: int
) -> Written:
    """Write all tables into a folder and return what was written."""
    tables = schemas(plans, chains)
    main = ShardWriter(
        [Stream(folder / "data", tables.data, output), Stream(folder / "records", tables.records)], shard_size
    )
    removed = ShardWriter([Stream(folder / "removed", tables.removed)], shard_size)
    edited = ShardWriter([Stream(folder / "removed", tables.removed, stem="edited")], shard_size)
    for chain in chains:
        for batch in batches(chain.folders[-1] / "records.arrow"):
            main.append([_data(batch, tables.data), _records(batch, tables.records)])
        for name, writer in (("removed", removed), ("edited", edited)):
            if (table := _taken(chain, name, tables.removed)) is not None:
                writer.append([table])
    for writer in (main, removed, edited):
        writer.close()
    doubled = _doubled_ids(folder)
    decisions = ShardWriter([Stream(folder / "ledger", ledger.SCHEMA)], shard_size)
    for chain in chains:
        decisions.append([_decisions(chain, doubled.get((chain.plan.source.name, chain.unit.file.path), []))])
    decisions.close()
    counts: dict[str, int] = {}
    for (source, _), found in doubled.items():
        counts[source] = counts.get(source, 0) + len(found)
    shards = {"data": main.shards[0], "records": main.shards[1], "ledger": decisions.shards[0]}
    shards["removed"] = [*edited.shards[0], *removed.shards[0]]
    return Written(shards, counts)


def schemas(plans: Sequence[SourcePlan], chains: Sequence[Chain]) -> Tables:
    """Return the tables' schemas: the union over all sources, and over all facts that the stages stated."""
    fixed = {*record.IDENTITY.names, *record.DESCRIPTION.names, *record.BOOKKEEPING.names, "text", "messages"}
    extra: dict[str, pa.Field] = {}
    for plan in plans:
        for field in plan.schema:
            if field.name not in fixed:
                extra[field.name] = common_field(extra[field.name], field) if field.name in extra else field
    kinds = {"messages" if "messages" in plan.schema.names else "text" for plan in plans}
    contents = [pa.field("text", pa.string())] if "text" in kinds else []
    contents += [pa.field("messages", record.MESSAGES)] if "messages" in kinds else []
    extras = [extra[name] for name in sorted(extra)]

    facts: dict[str, pa.DataType] = {}
    for chain in chains:
        for folder in chain.folders:
            for path in (*files(folder, "records"), *files(folder, "removed"), *files(folder, "edited")):
                facts |= {f.name[len(FACT) :]: f.type for f in schema_of(path) if f.name.startswith(FACT)}
    stated = [pa.field(name, facts[name]) for name in sorted(facts)]
    language = [pa.field("language", pa.string())]
    texts = [pa.field(name, pa.string()) for name in ("license", "url", "author", "created")]
    data = pa.schema([*record.IDENTITY, *contents, *language, *texts, *extras])
    records = pa.schema(
        [
            *record.IDENTITY,
            ("locator", pa.string()),
            ("sha256_in", pa.string()),
            ("sha256_out", pa.string()),
            *FACTS,
            *(field for field in stated if field.name not in FACTS.names),
        ]
    )
    labels = [(name, pa.string()) for name in ("stage", "action", "reason", "locator", "sha256_in")]
    removed = pa.schema(
        [
            *record.IDENTITY,
            *labels,
            *contents,
            *texts,
            *extras,
            *(pa.field(FACT + field.name, field.type) for field in stated),
            ("raw", pa.binary()),  # the bytes of a line that could not be read as a record
        ]
    )
    return Tables(data, records, removed)


def common_field(a: pa.Field, b: pa.Field) -> pa.Field:
    """Return one field for a column that two sources have: the wider number, else JSON text."""
    if a.type == b.type and is_json_text(a) == is_json_text(b):
        return a
    numbers = {pa.int64(), pa.float64()}
    if {a.type, b.type} == numbers:
        return pa.field(a.name, pa.float64())
    return pa.field(a.name, pa.string(), metadata=JSON_TEXT)


def _fitted(values: pa.Array, field: pa.Field, was: pa.Field) -> pa.Array:
    """Return a column's values in the type that the release gives the column."""
    if is_json_text(field) and not is_json_text(was):
        texts = [None if v is None else orjson.dumps(v, default=str).decode() for v in values.to_pylist()]
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


def _records(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    facts = {name[len(FACT) :]: batch.column(name) for name in batch.schema.names if name.startswith(FACT)}
    before = batch.column("_sha256")
    edited = pc.is_valid(batch.column(FACT + "edits"))
    after = before
    if pc.any(edited).as_py():
        after = pc.if_else(edited, record.content_sha256(record.content(batch)), before)
    own = {"locator": _locators(batch), "sha256_in": before, "sha256_out": after}
    facts.setdefault("license_declared", batch.column("license"))
    return _shaped(batch.select(["id", "source"]), schema, {**facts, **own})


def _taken(chain: Chain, name: str, schema: pa.Schema) -> pa.Table | None:
    """Return one unit's removed (or edited) records of all segments, by row."""
    found = []
    for folder in chain.folders:
        for path in files(folder, name):
            for batch in batches(path):
                own = {
                    "stage": batch.column("_stage_name"),
                    "action": batch.column("_action"),
                    "reason": batch.column("_reason"),
                    "locator": _locators(batch),
                    "sha256_in": batch.column("_sha256"),
                    "raw": batch.column("_raw"),
                }
                shaped = _shaped(batch, schema, own)
                for key in ("_row", "_stage"):
                    shaped = shaped.append_column(key, batch.column(key))
                found.append(shaped)
    if not found:
        return None
    return (
        pa.concat_tables(found).sort_by([("_row", "ascending"), ("_stage", "ascending")]).select(schema.names)
    )


@dataclass(frozen=True)
class _Doubled:
    """A record whose id is not unique in its source."""

    id: str
    row: int
    records: int  # how many share the id


def _decisions(chain: Chain, doubled: Sequence[_Doubled]) -> pa.Table:
    """Return one unit's ledger: the stages' decisions of all segments, and the ids that are not unique."""
    tables = [ledger.WORKING.empty_table()]
    for folder in chain.folders:
        tables += [
            pa.Table.from_batches(list(batches(path)), ledger.WORKING) for path in files(folder, "ledger")
        ]
    unit = chain.unit
    later = [
        u.first_row
        for u in chain.plan.units
        if u.file.path == unit.file.path and u.first_row > unit.first_row
    ]
    end = min(later, default=None)
    flags = [
        {
            "id": one.id,
            "source": chain.plan.source.name,
            "stage": READ,
            "action": "flag",
            "reason": DUPLICATE_ID,
            "evidence": evidence_json(
                {"at": record.locator(unit.file.path, one.row), "records": one.records}
            ),
            "_row": one.row,
            "_stage": 0,
        }
        for one in doubled
        if unit.first_row <= one.row and (end is None or one.row < end)
    ]
    tables.append(pa.Table.from_pylist(flags, ledger.WORKING))
    return pa.concat_tables(tables).sort_by(ledger.ORDER).select(ledger.SCHEMA.names)


def _doubled_ids(folder: Path) -> dict[tuple[str, str], list[_Doubled]]:
    """Return the records whose id is not unique, by (source, path)."""
    import duckdb

    sql = """
        WITH everything AS (
            SELECT id, source, locator FROM read_parquet($records)
            UNION ALL SELECT id, source, locator FROM read_parquet($removed)
        ), shared AS (
            SELECT id, count(*) AS n FROM everything GROUP BY id HAVING n > 1
        )
        SELECT id, source, locator, n FROM everything JOIN shared USING (id)
    """
    tables = {name: str(folder / name / "part-*.parquet") for name in ("records", "removed")}
    found: dict[tuple[str, str], list[_Doubled]] = {}
    with duckdb.connect(config={"temp_directory": str(folder / "spill")}) as connection:
        for record_id, source, locator, n in connection.execute(sql, tables).fetchall():
            path, _, row = locator.rpartition("#")
            found.setdefault((source, path), []).append(_Doubled(record_id, int(row), n))
    return found
