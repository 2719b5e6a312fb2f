"""The files of a release that hold records, read row group by row group."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import keys, sealed
from curate.errors import IntegrityError, RecipeError
from curate.govern import manifest as manifests
from curate.govern.takedown.tables import line_groups
from curate.handoff.shards import TRAIN, split_of
from curate.io.cells import is_json_text, json_text
from curate.record import CURATE, FACT
from curate.release import Release
from curate.unit import READ

FACTS = {"language": "language", "license_concluded": "license", "task": "profile"}
"""What later stages of ours read of a record, text all of it, and which stage states it."""


@dataclass(frozen=True)
class Shard:
    """One file of records, and what is needed to read it."""

    path: Path
    edited: bool = False  # holds records as they were before an edit
    records: Path | None = None  # of data/: the file of records/ beside it
    key: bytes | None = None  # of removed/, where it is encrypted
    schema: pa.Schema | None = None  # of data/ in JSON lines, which tell no types
    split: str | None = None  # of data/: that of its records, which train alone is trained on


def check(release: Release, key: bytes | None) -> None:
    """Raise unless all records can be had: IntegrityError for a manifest or key that is not the release's own,
    RecipeError where removed/ was not kept or is encrypted and there is no key.
    """  # fmt: skip
    out, manifest = release.path, release.manifest
    manifests.hold_to_root(out, manifest, "nothing is measured on it")
    output = manifest["recipe"]["output"]
    if not output["keep_removed"]:
        raise RecipeError(
            f"{out}: has no removed/, so what its filters took out cannot be trained on; take 'keep_removed: false' "
            "out of the recipe's output and run it again"
        )
    if made_with := (output.get("encrypt_removed") or {}).get("fingerprint"):
        if key is None:
            raise RecipeError(
                f"{out}: removed/ is encrypted, and what the filters took out stands there; name the file with its "
                f"key (fingerprint {made_with}) with --removed-key"
            )
        if keys.fingerprint(key) != made_with:
            raise IntegrityError(
                f"--removed-key: is not the key that removed/ was encrypted with: its fingerprint is "
                f"{keys.fingerprint(key)}, that one's {made_with}"
            )


def names(release: Release) -> list[str]:
    """Return the names of the recipe's stages, in order."""
    return [stage["name"] for stage in release.manifest["recipe"]["stages"]]


def shards(out: Path, key: bytes | None) -> list[Shard]:
    """Return every file of records, in order."""
    removed, edited = (sorted((out / "removed").glob(f"{stem}-*.parquet")) for stem in ("part", "edited"))
    data, records = (sorted((out / folder).glob("part-*")) for folder in ("data", "records"))
    if not removed or len(data) != len(records):
        raise IntegrityError(
            f"{out}: files of data/, records/ or removed/ are missing; curate verify says more"
        )
    whole = pq.read_schema(removed[0])
    if sealed.is_sealed(whole):
        assert key is not None  # check() saw to it
        whole = sealed.unseal(whole.empty_table(), key).schema
    outputs = manifests.load(out)["outputs"]
    splits = {
        entry["path"].partition("/")[2]: split_of(entry) for entry in outputs if entry["path"][:5] == "data/"
    }
    found = [
        Shard(path, records=beside, schema=whole, split=splits.get(path.name, TRAIN))
        for path, beside in zip(data, records, strict=True)
    ]
    found += [Shard(path, key=key) for path in removed]
    return [*found, *(Shard(path, edited=True, key=key) for path in edited)]


def tables(shard: Shard) -> Iterator[pa.Table]:
    """Yield the records of a file, row group by row group, as they stand there.

    Columns: those of the release's data (``license`` as declared, ``language`` where it is told), ``_locator``,
    ``_stage`` and ``_reason`` (what took the record out or edited it; null: it is kept), ``_split`` (of a kept one),
    ``_sha256`` (of the content as it was read) and ``_fact:<name>`` of what later stages read (FACTS). Lines that the
    reader could not take are no records and are left out.
    """
    if shard.records is not None:
        yield from _kept(shard, shard.records)
        return
    file = pq.ParquetFile(shard.path)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        if sealed.is_sealed(file.schema_arrow):
            assert shard.key is not None  # check() saw to it
            table = sealed.unseal(table, shard.key)
        told = table.column(CURATE).combine_chunks()
        facts = pc.struct_field(told, "facts")
        own = {f"_{name}": pc.struct_field(told, name) for name in ("locator", "stage", "reason")}
        own["_sha256"] = pc.struct_field(told, "sha256_in")
        own["_split"] = pa.nulls(len(told), pa.string())
        for name in (name for name in FACTS if facts.type.get_field_index(name) >= 0):
            own[f"_{FACT}{name}"] = pc.struct_field(facts, name)
        if facts.type.get_field_index("language") >= 0:
            own["language"] = pc.struct_field(facts, "language")
        table = table.drop_columns([CURATE])
        for name, values in own.items():
            table = table.append_column(name, values)
        yield table.filter(pc.not_equal(own["_stage"], READ))


def _kept(shard: Shard, beside: Path) -> Iterator[pa.Table]:
    about = pq.ParquetFile(beside)
    sizes = [about.metadata.row_group(group).num_rows for group in range(about.num_row_groups)]
    assert shard.schema is not None
    groups = _Rows(shard.path, sizes, shard.schema)
    for group, (size, table) in enumerate(zip(sizes, groups, strict=True)):
        stated = [name for name in FACTS if name in about.schema_arrow.names]
        wanted = ["source", "locator", "sha256_in", "license_declared", "language", *stated]
        known = about.read_row_group(group, columns=[*dict.fromkeys(wanted)])
        if table.num_rows != size or not table.column("source").equals(known.column("source")):
            raise IntegrityError(f"{shard.path}: is not aligned with {beside}; curate verify says more")
        own = {
            "license": known.column("license_declared"),
            "language": known.column("language"),
            "_locator": known.column("locator"),
            "_stage": pa.nulls(size, pa.string()),
            "_reason": pa.nulls(size, pa.string()),
            "_sha256": known.column("sha256_in"),
            "_split": pa.repeat(pa.scalar(shard.split, pa.string()), size),
            **{f"_{FACT}{name}": known.column(name) for name in stated},
        }
        for name, values in own.items():
            at = table.schema.get_field_index(name)
            table = table.append_column(name, values) if at < 0 else table.set_column(at, name, values)
        yield table


class _Rows:
    """The row groups of a file of data/."""

    def __init__(self, path: Path, sizes: Sequence[int], schema: pa.Schema) -> None:
        self._path, self._sizes = path, sizes
        self._fields = [field for field in schema if field.name != CURATE]

    def __iter__(self) -> Iterator[pa.Table]:
        if self._path.suffix == ".parquet":
            file = pq.ParquetFile(self._path)
            yield from (file.read_row_group(group) for group in range(file.num_row_groups))
            return
        for lines in line_groups(self._path, self._sizes):
            rows = [orjson.loads(line) for line in lines]
            columns = [typed([row.get(f.name) for row in rows], f) for f in self._fields]
            yield pa.table(columns, schema=pa.schema(self._fields))


def typed(values: Sequence[Any], field: pa.Field) -> pa.Array:
    """Return what JSON made of a column's values in the column's own type."""
    if is_json_text(field):
        return pa.array([None if value is None else json_text(value) for value in values], pa.string())
    if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
        return pa.array([None if v is None else base64.b64decode(v) for v in values], field.type)
    try:
        return pa.array(values, field.type)
    except (pa.ArrowException, TypeError):  # a date, a time, a decimal: as text in JSON
        return pa.array([None if v is None else str(v) for v in values], pa.string()).cast(field.type)
