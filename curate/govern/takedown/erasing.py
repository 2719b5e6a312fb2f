"""The files of a release written again without the erased records; only those that held something of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import clusters, ledger
from curate.govern import audit
from curate.govern.takedown.matching import Matched, contents
from curate.govern.takedown.tables import CONTENT, Tables, line_groups, places
from curate.io.write import Shard, Stream, finished, shard_file
from curate.record import CURATE, Batch
from curate.stages.dedup import index

STAGE = "takedown"


@dataclass
class Erased:
    """What was written again, in a folder beside the release."""

    folder: Path
    writes: bool = True  # if not, only which files would be written is found out
    shards: dict[str, Shard] = field(default_factory=dict)  # path in the release → the new file
    texts: list[Batch] = field(default_factory=list)  # contents of all erased records
    edited: set[str] = field(default_factory=set)  # ids of those of data/ that a stage had edited
    hashes: set[str] = field(default_factory=set)  # their sha256, as records/ and removed/ had them
    masks: dict[str, str] = field(default_factory=dict)  # erased id → what the ledger calls it now

    def target(self, path: str) -> Path | None:
        """Return where to write a file, None where it is only noted that it would be."""
        if not self.writes:
            self.shards[path] = Shard(self.folder / path, 0, "", 0)
            return None
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        return self.folder / path


def erase(tables: Tables, matched: Matched, number: int, folder: Path, *, writes: bool = True) -> Erased:
    """Write all files anew, into a folder, that hold something of the erased records. number: of the take-down."""
    erased = Erased(folder, writes)
    everybody = sorted([*matched.erased, *matched.shared])
    where = {**matched.erased, **{name: name.split("/")[0] for name in matched.shared}}
    erased.masks = {name: f"{where[name]}/erased-{number}-{n}" for n, name in enumerate(everybody, 1)}
    gone = matched.places
    _read_texts(tables, matched, erased)
    _data(tables, gone, erased)
    for stem in ("part", "edited"):
        for path in tables.files("removed", stem):
            _filtered(path, f"removed/{path.name}", _removed_places, gone, erased)
    for path in tables.files(clusters.FOLDER):
        _filtered(path, f"{clusters.FOLDER}/{path.name}", places, gone, erased)
    _index(tables, gone, erased)
    _ledger(tables, matched, erased)
    _audit(tables.out, matched, erased)
    return erased


def _read_texts(tables: Tables, matched: Matched, erased: Erased) -> None:
    gone = matched.places
    for chunk in tables.chunks([*CONTENT, "raw"], gone):
        erased.texts += contents(chunk, pc.is_in(chunk.places, gone))


def _removed_places(table: pa.Table) -> pa.Array:
    told = table.column(CURATE).combine_chunks()
    return places(pa.table({"source": table.column("source"), "locator": pc.struct_field(told, "locator")}))


def _data(tables: Tables, gone: pa.Array, erased: Erased) -> None:
    """Write data/ and records/, which are aligned; leaves/ stays: a leaf without a row is a tombstone."""
    for records, data in zip(tables.files("records"), tables.files("data"), strict=True):
        file = pq.ParquetFile(records)
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        stays = []
        for group in range(file.num_row_groups):
            names = ["id", "source", "locator", "edits", "sha256_in", "sha256_out"]
            table = file.read_row_group(group, columns=names)
            hit = pc.is_in(places(table), gone)
            stays.append(pc.invert(hit))
            edited = pc.and_(hit, pc.is_valid(table.column("edits")))
            erased.edited |= set(table.column("id").filter(edited).to_pylist())
            for name in ("sha256_in", "sha256_out"):
                erased.hashes |= set(table.column(name).filter(hit).drop_null().to_pylist())
        if all(pc.all(mask).as_py() for mask in stays):
            continue
        _write(erased, f"records/{records.name}", file.schema_arrow, _chosen(file, stays))
        if data.suffix == ".parquet":
            own = pq.ParquetFile(data)
            _write(erased, f"data/{data.name}", own.schema_arrow, _chosen(own, stays))
        else:
            _write_lines(erased, data, sizes, stays)


def _chosen(file: Any, stays: list[pa.Array]) -> Iterator[pa.Table]:
    for group, mask in enumerate(stays):
        yield file.read_row_group(group).filter(mask)


def _write(erased: Erased, path: str, schema: pa.Schema, groups: Iterator[pa.Table]) -> None:
    """Write a shard, its row groups as they were but for what is gone."""
    target = erased.target(path)
    if target is None:
        return
    shard = shard_file(Stream(target.parent, schema), target)
    for table in groups:
        if table.num_rows:
            shard.write(table.combine_chunks())
    if not shard.records:
        shard.write(schema.empty_table())  # as a run writes one that holds no record
    shard.close()
    erased.shards[path] = finished(target, shard.records)


def _write_lines(erased: Erased, data: Path, sizes: list[int], stays: list[pa.Array]) -> None:
    target = erased.target(f"data/{data.name}")
    if target is None:
        return
    shard = shard_file(Stream(target.parent, pa.schema([]), "jsonl.zst"), target)
    for lines, mask in zip(line_groups(data, sizes), stays, strict=True):
        left = [line for line, stay in zip(lines, mask.to_pylist(), strict=True) if stay]
        if left:
            shard.write_lines(left)
    if not shard.records:
        shard.write_lines([])
    shard.close()
    erased.shards[f"data/{data.name}"] = finished(target, shard.records)


def _filtered(
    path: Path, name: str, told: Callable[[pa.Table], pa.Array], gone: pa.Array, erased: Erased
) -> None:
    """Write a shard without the rows whose place is gone, if it has one."""
    file = pq.ParquetFile(path)
    names = ["source", CURATE if CURATE in file.schema_arrow.names else "locator"]
    stays = []
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=names)
        hit = pc.is_in(told(table), gone)
        stays.append(pc.invert(hit))
        if CURATE in names and pc.any(hit).as_py():
            _note_hashes(table.column(CURATE).combine_chunks().filter(hit), erased)
    if not all(pc.all(mask).as_py() for mask in stays):
        _write(erased, name, file.schema_arrow, _chosen(file, stays))


def _note_hashes(told: pa.StructArray, erased: Erased) -> None:
    if told.type.get_field_index("sha256_in") >= 0:  # it is not, where removed/ is encrypted
        erased.hashes |= set(pc.struct_field(told, "sha256_in").drop_null().to_pylist())


def _index(tables: Tables, gone: pa.Array, erased: Erased) -> None:
    """Write index/, whose rows are those of data/ in order, in shards of its own."""
    shards = tables.files(index.FOLDER)
    if not shards:
        return
    found = [pa.array([], pa.bool_())]
    for records in tables.files("records"):
        table = pq.read_table(records, columns=["source", "locator"], partitioning=None)
        found.append(pc.invert(pc.is_in(places(table), gone)))
    stays, start = pa.concat_arrays(found), 0
    for path in shards:
        file = pq.ParquetFile(path)
        masks = []
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            masks.append(stays.slice(start, size))
            start += size
        if not all(pc.all(mask).as_py() for mask in masks):
            _write(erased, f"{index.FOLDER}/{path.name}", file.schema_arrow, _chosen(file, masks))


def _ledger(tables: Tables, matched: Matched, erased: Erased) -> None:
    """Write the ledger: erased records under other names and without evidence, a decision for each kept one."""
    own = [
        {
            "id": erased.masks[row.id],
            "source": erased.masks[row.id].split("/")[0],
            "stage": STAGE,
            "action": "drop",
            "reason": f"{STAGE}/{matched.kinds[row.place]}",
        }
        for row in matched.kept
    ]
    names = sorted(erased.masks)
    locators = {place.partition("\0")[2] for place in matched.kinds}
    masking = _Masking(names, erased.masks, set(matched.erased), {*matched.erased, *locators})
    shards = tables.files("ledger")
    for path in shards:
        file = pq.ParquetFile(path)
        groups, changed = [], bool(own) and path == shards[-1]
        for group in range(file.num_row_groups):
            table, differs = masking.applied(file.read_row_group(group))
            groups.append(table)
            changed |= differs
        if changed:
            if own and path == shards[-1]:
                groups.append(pa.Table.from_pylist(sorted(own, key=lambda row: row["id"]), ledger.SCHEMA))
            _write(erased, f"ledger/{path.name}", file.schema_arrow, iter(groups))


class _Masking:
    """Takes out of ledger rows what would tell of an erased record."""

    def __init__(self, names: list[str], masks: Mapping[str, str], gone: set[str], told: set[str]) -> None:
        self._names = pa.array(names, pa.string())  # ids of erased records
        self._masks = pa.array([masks[name] if name in gone else name for name in names], pa.string())
        self._gone = pa.array(sorted(gone), pa.string())  # those that no other record has
        self._told = pl.Series(sorted(told), dtype=pl.String)  # what no evidence may name

    def applied(self, table: pa.Table) -> tuple[pa.Table, bool]:
        """Return the rows as they may stay, and whether any differs."""
        at = pc.index_in(table.column("id"), self._names)
        mine = pc.is_valid(at)
        names_one = pc.or_(pc.is_in(table.column("kept_id"), self._gone), self._evidence_names_one(table))
        cleared = pc.or_(mine, names_one)
        if not pc.any(cleared).as_py():
            return table, False
        nothing = pa.scalar(None, pa.string())
        columns = {
            "id": pc.if_else(mine, self._masks.take(at.combine_chunks()), table.column("id")),
            "kept_id": pc.if_else(cleared, nothing, table.column("kept_id")),
            "evidence": pc.if_else(cleared, nothing, table.column("evidence")),
        }
        found = pa.table(
            [columns.get(f.name, table.column(f.name)) for f in table.schema], schema=table.schema
        )
        return found, not found.equals(table)

    def _evidence_names_one(self, table: pa.Table) -> pa.Array:
        """Tell which rows' evidence has an id or a locator of an erased record among its strings."""
        evidence = pl.Series(table.column("evidence"))
        # Ids hold a slash, locators a number sign; orjson writes both as they are.
        said = evidence.str.extract_all(r'"(?:[^"\\]|\\.)*[/#](?:[^"\\]|\\.)*"')
        rows = (
            pl.DataFrame({"row": pl.arange(len(said), eager=True), "said": said}).explode("said").drop_nulls()
        )
        if rows.is_empty():
            return pa.array([False] * len(said), pa.bool_())
        values = rows["said"].map_elements(orjson.loads, return_dtype=pl.String)
        hit = set(rows["row"].filter(values.is_in(self._told.implode())).to_list())
        return pa.array([row in hit for row in range(len(said))], pa.bool_())


def _audit(out: Path, matched: Matched, erased: Erased) -> None:
    """Write the residual audit's sample, and the answers on it, without the lines of erased records."""
    read_from = {place.partition("\0")[2] for place in matched.kinds}

    def is_gone(line: dict[str, Any]) -> bool:
        if line.get("id") in matched.erased:
            return True
        if line.get("id") not in matched.shared:
            return False
        return line.get("read_from") in read_from or line.get("sha256") in erased.hashes

    for name in (audit.SAMPLE, audit.ANSWERS):
        path = out / audit.FOLDER / name
        if not path.is_file():
            continue
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        left = [line for line in lines if not is_gone(orjson.loads(line))]
        if len(left) < len(lines):
            target = erased.target(f"{audit.FOLDER}/{name}")
            if target is None:
                continue
            target.write_bytes(b"".join(line + b"\n" for line in left))
            erased.shards[f"{audit.FOLDER}/{name}"] = finished(target, len(left))


def beside(out: Path, folder: Path, paths: list[str]) -> None:
    """Put files of the release beside those written again, linked where the system can: what counts sees all."""
    for path in paths:
        target = folder / path
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            target.hardlink_to(out / path)
        except OSError:
            shutil.copyfile(out / path, target)
