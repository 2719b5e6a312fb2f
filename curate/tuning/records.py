"""A release's records as they were read: from data/ and records/, removed/ and the originals of edits.

:func:`survey` goes over every record once and keeps little of each; :func:`read` returns the contents of chosen
ones, with every version that the run's edits made of them. Both stream row groups, shard by shard on the engine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.errors import IntegrityError
from curate.io.cells import is_json_text
from curate.kernels import parts
from curate.record import FACT, Batch
from curate.release import Release
from curate.stage import Engine
from curate.stages.dedup.resolved import OF_RELEASE
from curate.tuning.contract import Ints
from curate.tuning.tables import FACTS, Shard, names, tables

_CONTENT = ("text", "messages")


def _measured(table: pa.Table) -> pa.Table:
    """Return what the choice of records needs of each: hash of the normalised content, bytes, trainable or not.

    And ``answer``, the bytes of a conversation's last response, which is never cut; 0 of a document, which may be.
    """
    normal, size = np.zeros(table.num_rows, np.uint64), np.zeros(table.num_rows, np.int64)
    answer = np.zeros(table.num_rows, np.int64)
    trainable = np.zeros(table.num_rows, bool)
    for name in _CONTENT:
        if name not in table.schema.names:
            continue
        rows = np.flatnonzero(pc.is_valid(table.column(name)).to_numpy())
        if not len(rows):
            continue
        [batch] = table.select([name]).take(pa.array(rows)).combine_chunks().to_batches()
        flat, offsets = record.turns(batch)
        ends = np.concatenate([[0], np.cumsum(pc.binary_length(flat).to_numpy(zero_copy_only=False))])
        normal[rows] = parts.normal_keys(batch)
        size[rows] = ends[offsets[1:]] - ends[offsets[:-1]]
        _, responses = record.prompts_and_responses(batch)
        trainable[rows] = [bool(response.strip()) for response in responses]
        if name == "messages":
            answer[rows] = [_last(turns) for turns in batch.column(name).to_pylist()]
    light = ["id", "source", "_locator", "_stage", "_reason", "_sha256", "_split"]
    found = table.select(light)
    for key, values in (("normal", normal), ("bytes", size), ("answer", answer), ("trainable", trainable)):
        found = found.append_column(key, pa.array(values))
    return found


def _last(turns: Sequence[dict[str, Any]]) -> int:
    said = [turn["content"] or "" for turn in turns if turn["role"] == "assistant"]
    return len(said[-1].encode()) if said else 0


def _surveyed(shard: Shard) -> pa.Table | None:
    found = [_measured(table) for table in tables(shard)]
    return pa.concat_tables(found).append_column(
        "edited", pa.array([shard.edited] * sum(t.num_rows for t in found), pa.bool_())
    ) if found else None  # fmt: skip


@dataclass(frozen=True)
class Register:
    """Every record of a release, in canonical order: source, file, row. Arrays are [n]."""

    # id source path row sha256 normal bytes answer trainable stage (that took it out) split (it is in) of_release
    frame: pl.DataFrame

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def keys(self) -> list[str]:
        """Return each record's key: ``<source> <locator>``."""
        return [
            f"{source} {path}#{row}" for source, path, row in self.frame["source", "path", "row"].iter_rows()
        ]  # fmt: skip

    def column(self, name: str) -> Any:
        """Return a column as a numpy array."""
        return self.frame[name].to_numpy()


def survey(release: Release, files: Sequence[Shard], engine: Engine) -> Register:
    """Return every record of a release as it was read.

    Raises IntegrityError for a record that is both kept and removed, or neither.
    """
    found = [table for table in engine.map(_surveyed, files) if table is not None]
    frame = pl.from_arrow(pa.concat_tables(found, promote_options="permissive"))
    assert isinstance(frame, pl.DataFrame)
    stages = names(release)
    places = {name: place for place, name in enumerate(stages)}
    place = pl.col("_stage").replace_strict(places, default=len(stages), return_dtype=pl.Int64)
    at = pl.col("_locator").str.extract_groups(r"^(?s)(?<path>.*)#(?<row>\d+)$")
    frame = frame.with_columns(
        at.struct.field("path"), at.struct.field("row").cast(pl.Int64), place.alias("place")
    )
    frame = frame.sort("source", "path", "row", pl.col("edited").not_(), "place")
    fate = ~pl.col("edited")
    raw = frame.group_by("source", "path", "row", maintain_order=True).agg(
        pl.col(
            "id", "normal", "bytes", "answer", "trainable"
        ).first(),  # of the version before the first edit
        pl.col("_sha256").first().alias("sha256"),
        pl.col("_stage").last().alias("stage"),
        pl.col("_reason").last().alias("reason"),
        pl.col("_split").last().alias("split"),
        fate.sum().alias("fates"),
    )
    if (torn := raw.filter(pl.col("fates") != 1)).height:
        raise IntegrityError(
            f"{release.path}: record {torn['id'][0]} is in data/ and removed/ {torn['fates'][0]} times together, not "
            "once; curate verify says more"
        )
    of_release = pl.col("reason").str.ends_with(OF_RELEASE).fill_null(False)
    return Register(raw.with_columns(of_release.alias("of_release")).drop("reason", "fates"))


@dataclass(frozen=True)
class Edit:
    """One edit of a record in the run."""

    stage: str
    before: Any  # content: text, or list of {role, content}


@dataclass
class History:
    """What a run made of one record."""

    number: int  # in the register
    raw: Any  # content as it was read
    final: Any  # as it left the run, kept or not
    edits: list[Edit]  # in the recipe's order
    stage: str | None  # that took it out; null: it is kept
    of_release: bool  # it was taken out because an earlier release holds it
    language: str | None
    facts: dict[str, str | None] = field(default_factory=dict)  # tables.FACTS, as the run stated them

    def entering(self, place: int, places: Mapping[str, int]) -> Any:
        """Return the content with which the record came to the stage at a place."""
        return next((edit.before for edit in self.edits if places[edit.stage] >= place), self.final)


@dataclass
class Records:
    """Chosen records: what was read, and what became of it in the run."""

    histories: dict[int, History]  # by number in the register, ascending
    batches: dict[str, Batch] = field(
        default_factory=dict
    )  # source → its records as they were read, in order
    places: dict[str, list[int]] = field(default_factory=dict)  # source → their numbers

    def columns(self, number: int, names: Collection[str]) -> dict[str, Any]:
        """Return a record's values of those of the columns that its source has."""
        source = next(source for source, mine in self.places.items() if number in mine)
        batch, row = self.batches[source], self.places[source].index(number)
        return {name: batch.column(name)[row].as_py() for name in names if name in batch.schema.names}

    def only(self, numbers: Collection[int]) -> Records:
        """Return some of the records."""
        found = Records({at: history for at, history in self.histories.items() if at in numbers})
        for source, mine in self.places.items():
            rows = [row for row, at in enumerate(mine) if at in numbers]
            if rows:
                found.places[source] = [mine[row] for row in rows]
                found.batches[source] = self.batches[source].take(pa.array(rows))
        return found


@dataclass(frozen=True)
class _Wanted:
    shard: Shard
    keys: pa.Array  # source NUL locator


def _chosen(task: _Wanted) -> list[pa.Table]:
    found = []
    for table in tables(task.shard):
        mine = pc.is_in(_marks(table), task.keys)
        if pc.any(mine).as_py():
            found.append(table.filter(mine))
    return found


def _marks(table: pa.Table) -> Any:
    return pc.binary_join_element_wise(table.column("source"), table.column("_locator"), "\0")


def read(
    release: Release, files: Sequence[Shard], register: Register, chosen: Ints, engine: Engine
) -> Records:
    """Return the chosen records (numbers, ascending).

    Raises IntegrityError where a record is not what was read, by its hash.
    """
    stages = names(release)
    picked = register.frame[chosen]
    marks = [f"{s}\0{p}#{r}" for s, p, r in picked["source", "path", "row"].iter_rows()]
    number = dict(zip(marks, chosen.tolist(), strict=True))
    wanted = pa.array(marks, pa.string())
    histories: dict[int, History] = {}
    raws: dict[int, pa.Table] = {}
    edits: dict[int, dict[int, tuple[Edit, pa.Table]]] = {}
    for shard, found in zip(files, engine.map(_chosen, [_Wanted(s, wanted) for s in files]), strict=True):
        for table in found:
            told = _values(table)
            for row, (mark, content) in enumerate(zip(_marks(table).to_pylist(), told, strict=True)):
                at = number[mark]
                stage = table.column("_stage")[row].as_py()
                if shard.edited:
                    edits.setdefault(at, {})[stages.index(stage)] = (
                        Edit(stage, content),
                        table.slice(row, 1),
                    )
                    continue
                language = table.column("language")[row].as_py() if "language" in table.schema.names else None
                of_release = (table.column("_reason")[row].as_py() or "").endswith(OF_RELEASE)
                facts = {
                    name: table.column(f"_{FACT}{name}")[row].as_py()
                    for name in FACTS
                    if f"_{FACT}{name}" in table.schema.names
                }
                histories[at] = History(at, content, content, [], stage, of_release, language, facts)
                raws[at] = table.slice(row, 1)
    for at, held in edits.items():
        ordered = [held[place] for place in sorted(held)]
        histories[at].edits = [edit for edit, _ in ordered]
        histories[at].raw, raws[at] = ordered[0][0].before, ordered[0][1]
    histories = dict(sorted(histories.items()))
    _held_to_hashes(release.path, register, histories)
    documents = {told["name"] for told in release.manifest["sources"] if told["format"] == "text"}
    return _in_flight(register, histories, raws, documents)


def _values(table: pa.Table) -> list[Any]:
    columns = [table.column(name).to_pylist() for name in _CONTENT if name in table.schema.names]
    return [next((value for value in row if value is not None), "") for row in zip(*columns, strict=True)]


def _held_to_hashes(out: Path, register: Register, histories: Mapping[int, History]) -> None:
    known = register.frame["id", "sha256"]
    for at, history in histories.items():
        if hashlib.sha256(record.canonical(history.raw)).hexdigest() != known["sha256"][at]:
            raise IntegrityError(
                f"{out}: record {known['id'][at]} as it was read does not have the hash that it was read with; "
                "curate verify says more"
            )


def _in_flight(
    register: Register,
    histories: dict[int, History],
    raws: Mapping[int, pa.Table],
    documents: Collection[str],
) -> Records:
    """Return the records with batches of each source as the reader gave them."""
    found = Records(histories)
    sources = register.frame["source"]
    for at in histories:
        found.places.setdefault(sources[at], []).append(at)
    for source, numbers in found.places.items():
        table = pa.concat_tables([raws[at] for at in numbers], promote_options="permissive")
        other = "messages" if source in documents else "text"
        table = table.drop_columns([other] if other in table.schema.names else [])
        found.batches[source] = _as_read(table, register, numbers)
    return found


def _as_read(table: pa.Table, register: Register, numbers: Sequence[int]) -> Batch:
    names = [n for n in table.schema.names if not n.startswith("_") and n != "language"]
    columns = {name: _plain(table.column(name), table.schema.field(name)) for name in names}
    rows = register.frame[list(numbers)]
    if "messages" in columns:
        columns["messages"] = columns["messages"].cast(record.MESSAGES)
    columns["_path"] = pa.array(rows["path"].to_list(), pa.string())
    columns["_row"] = pa.array(rows["row"].to_list(), pa.int64())
    columns["_sha256"] = pa.array(rows["sha256"].to_list(), pa.string())
    return pa.RecordBatch.from_pydict(columns)


def _plain(column: pa.ChunkedArray, told: pa.Field) -> pa.Array:
    """Return a column as the source had it: JSON text only where its values are not all of one plain type.

    A release has one type for a column of several sources, so numbers may have become text beside another's.
    """
    array = column.combine_chunks()
    if not is_json_text(told):
        return array
    values = [None if text is None else orjson.loads(text) for text in array.to_pylist()]
    kinds = {type(value) for value in values if value is not None}
    return pa.array(values) if len(kinds) == 1 and kinds <= {str, int, float, bool} else array
