"""From what units left to rows of the release's tables, in the release's order: by row, and as they were decided."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate import ledger, record
from curate.outcome import merged
from curate.record import FACT
from curate.shards.schemas import fitted
from curate.shards.trails import Trail


def data(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return kept records as rows of data/."""
    columns = {}
    if (concluded := _fact(batch, "license_concluded")) is not None:
        columns["license"] = pc.coalesce(concluded, batch.column("license"))
    if (language := _fact(batch, "language")) is not None:
        columns["language"] = language
    return _shaped(batch, schema, columns)


def records(batch: pa.RecordBatch, schema: pa.Schema, seal: dict[str, pa.Array]) -> pa.Table:
    """Return kept records as rows of records/. seal: the columns that are their place in the Merkle tree."""
    facts = {name[len(FACT) :]: batch.column(name) for name in batch.schema.names if name.startswith(FACT)}
    before = batch.column("_sha256")
    after = before
    edited = np.flatnonzero(batch.column(FACT + "edits").is_valid())
    if len(edited):
        # What was not edited has the hash that it came with.
        digests = record.content_sha256(record.content(batch).take(pa.array(edited)))
        chosen = np.arange(batch.num_rows)
        chosen[edited] = batch.num_rows + np.arange(len(edited))
        after = pa.concat_arrays([before, digests]).take(pa.array(chosen))
    own = {"locator": locators(batch), "sha256_in": before, "sha256_out": after}
    facts.setdefault("license_declared", batch.column("license"))
    return _shaped(batch.select(["id", "source"]), schema, {**facts, **own, **seal})


def taken(trail: Trail, name: str, schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield one unit's removed (or edited) records of all segments, by row."""
    found = trail.named(name)
    order = [("_row", "ascending"), ("_stage", "ascending")]
    for table in merged([(_told(batch, schema) for batch in trail.batches(*file)) for file in found], order):
        yield table.select(schema.names)


def decisions(trail: Trail) -> Iterator[pa.Table]:
    """Yield one unit's ledger by row: the stages' decisions of all segments, and the flags beside them."""
    found = trail.named("ledger")
    streams = [(pa.Table.from_batches([batch]) for batch in trail.batches(*file)) for file in found]
    for table in merged(streams, ledger.ORDER):
        yield table.select(ledger.SCHEMA.names)


def locators(batch: pa.RecordBatch | pa.Table) -> Any:
    """Return where each record was read."""
    return pc.binary_join_element_wise(batch.column("_path"), batch.column("_row").cast(pa.string()), "#")


def _shaped(batch: pa.RecordBatch | pa.Table, schema: pa.Schema, columns: dict[str, pa.Array]) -> pa.Table:
    """Return a table of the schema: from the given columns, else the batch's of that name, else null."""
    arrays = []
    for field in schema:
        if field.name in columns:
            arrays.append(columns[field.name])
        elif field.name in batch.schema.names:
            arrays.append(fitted(batch.column(field.name), field, batch.schema.field(field.name)))
        else:
            arrays.append(pa.nulls(batch.num_rows, field.type))
    return pa.table(arrays, schema=schema)


def _fact(batch: pa.RecordBatch | pa.Table, name: str) -> Any:
    return batch.column(FACT + name) if FACT + name in batch.schema.names else None


def _told(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return removed records in the release's form, with their row and stage beside."""
    decided = schema.field(record.CURATE).type
    own = {
        "stage": batch.column("_stage_name"),
        "action": batch.column("_action"),
        "reason": batch.column("_reason"),
        "locator": locators(batch),
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
