"""The schemas of a release's tables, and values in the types that they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from curate import merkle, record
from curate.io.cells import is_json_text, json_text
from curate.io.columns import JSON_TEXT
from curate.io.scan import SourcePlan
from curate.outcome import batches
from curate.pipeline import Chain
from curate.record import FACT
from curate.shards.trails import Trail
from curate.stage import Engine

_LARGEST_FLOAT_INT = 2**53  # integers up to this are exact as 64-bit floats (IEEE 754)


@dataclass(frozen=True)
class Tables:
    """The schemas of a release's tables."""

    data: pa.Schema
    records: pa.Schema
    removed: pa.Schema


def schemas(plans: Sequence[SourcePlan], chains: Sequence[Chain], engine: Engine) -> Tables:
    """Return the tables' schemas: the union over all sources, and over all facts that the stages stated."""
    kinds = {"messages" if "messages" in plan.schema.names else "text" for plan in plans}
    contents = [pa.field("text", pa.string())] if "text" in kinds else []
    contents += [pa.field("messages", record.MESSAGES)] if "messages" in kinds else []
    texts = [pa.field(name, pa.string()) for name in record.DESCRIPTION.names]
    extras = _extras(plans, chains, engine)

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


def _extras(plans: Sequence[SourcePlan], chains: Sequence[Chain], engine: Engine) -> list[pa.Field]:
    """Return the sources' own columns, by name, each in a type that holds the values of all sources."""
    fixed = {*record.IDENTITY.names, *record.DESCRIPTION.names, *record.BOOKKEEPING.names, "text", "messages"}
    found: dict[str, pa.Field] = {}
    for plan in plans:
        for field in plan.schema:
            if field.name not in fixed:
                found[field.name] = common_field(found[field.name], field) if field.name in found else field
    for name, field in found.items():
        if pa.types.is_floating(field.type) and not _exact_as_floats(name, chains, engine):
            found[name] = _as_text(name)
    return [found[name] for name in sorted(found)]


def _exact_as_floats(name: str, chains: Sequence[Chain], engine: Engine) -> bool:
    """Tell whether every integer that some source has in this column is the same as a float."""
    having = [
        Trail.of(chain)
        for chain in chains
        if name in chain.plan.schema.names and pa.types.is_integer(chain.plan.schema.field(name).type)
    ]
    return max(engine.map(partial(_largest, name), having), default=0) <= _LARGEST_FLOAT_INT


def _largest(name: str, trail: Trail) -> int:
    """Return the largest absolute value of an integer column of a unit."""
    found = 0
    for kind in ("records", "removed", "edited"):
        for folder, file in trail.named(kind):
            for batch in batches(folder, file, [name]):
                least, most = pc.min_max(batch.column(name)).as_py().values()
                if least is not None:
                    found = max(found, -least, most)
    return found


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


def fitted(values: pa.Array, field: pa.Field, was: pa.Field) -> pa.Array:
    """Return a column's values in the type that the release gives the column."""
    if is_json_text(field) and not is_json_text(was):
        texts = [None if v is None else json_text(v) for v in values.to_pylist()]
        return pa.array(texts, pa.string())
    return values if values.type == field.type else values.cast(field.type)
