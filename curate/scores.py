"""Scores that an earlier release states, so that moving a threshold computes none of them again.

A stage that scores (:class:`Scored`) states facts that depend on a record's content and on nothing else but the
*scheme* that its fingerprint names, and beside them what the content was: null where it is that which was read
(``sha256_in``), else its SHA-256. Before a run replaces a whole release, :func:`lay` puts the scores of the same scheme
into the run's folder, by content; the stage then takes what it finds there and computes the rest. The bytes of a
release do not depend on how many were found: a score is the same wherever it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import record
from curate.io.carried import Carried
from curate.io.manifest import root
from curate.io.store import Store, scratch
from curate.record import CURATE, FACT, Batch, Kind
from curate.stage import StageOptions

FOLDER = "scores"  # in OUT/work
Compute: TypeAlias = Callable[[Batch], pa.Array]
S = TypeVar("S", bound="Scored")
_Ints: TypeAlias = npt.NDArray[np.int64]
_KEYS, _VALUES = "keys.arrow", "values.arrow"
_KEY = np.dtype([("high", np.uint64), ("low", np.uint64)])
_OF_TEXT = np.uint64(0x9E3779B97F4A7C15)  # a document may hold the very JSON that a conversation is hashed as
_BATCH = 8192  # records read of a release at a time


class Scored:
    """Base of a stage that scores. Its options' ``fingerprint`` is JSON: {fact: scheme}."""

    name: ClassVar[str]

    def __init__(self, options: StageOptions) -> None:
        self._schemes: dict[str, str] = schemes(options.fingerprint())
        self._laid: dict[str, Carried] = {}

    def with_scores(self: S, store: Store) -> S:
        """Return the stage with the scores that lie in the run's folder. store: OUT/work/scores."""
        found = copy(self)
        places = {
            fact: store.child(_place(self.name, fact, scheme)) for fact, scheme in self._schemes.items()
        }
        found._laid = {fact: Carried(at, _KEYS) for fact, at in places.items() if at.exists(_KEYS)}
        return found

    def scored(
        self, batch: Batch, wanted: Mapping[str, tuple[pa.DataType, Compute]]
    ) -> tuple[pa.StringArray, list[pa.Array]]:
        """Return what was scored, and the scores by fact, each an array [n] of its type.

        Compute is called with those records of the batch of which no score is known. What was scored is null where
        that is the content as it was read.
        """
        own, hashes = _contents(batch)
        keys = _keys(hashes.to_pylist(), [record.kind(batch)] * batch.num_rows) if self._laid else None
        found = []
        for fact, (kind, compute) in wanted.items():
            laid = self._laid.get(fact)
            if laid is None or keys is None:
                found.append(compute(batch))
                continue
            places = _table(laid).places(keys)
            new = np.flatnonzero(places < 0)
            if len(new) == batch.num_rows:
                found.append(compute(batch))
                continue
            known = _table(laid).values(places[places >= 0], kind)
            if len(new):
                known = pa.concat_arrays([known, compute(batch.take(pa.array(new))).cast(kind)])
            order = np.empty(batch.num_rows, np.int64)
            order[np.concatenate([np.flatnonzero(places >= 0), new])] = np.arange(batch.num_rows)
            found.append(known.take(pa.array(order)))
        return own, found


def schemes(fingerprint: str | None) -> dict[str, str]:
    """Return the scheme of each fact that a stage's fingerprint names; empty for a fingerprint of another kind."""
    try:
        found = orjson.loads(fingerprint or "{}")
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def lay(
    stages: Sequence[Any],
    held: Mapping[str, Any],
    folder: Path,
    is_whole: Callable[[Mapping[str, Any]], bool],
    bring: Callable[[Sequence[Mapping[str, Any]]], object],
    store: Store,
) -> None:
    """Put the scores of the release that a run replaces where its stages find them (``Scored.with_scores``).

    stages: curate.recipe.StageSpec. held: its manifest, empty for none. bring: makes files of it readable in its
    folder. What is not whole, or encrypted, is left out: its scores are computed again. store: OUT/work/scores.
    """
    if not held or held.get("root") != root(held):
        return
    then = {stage["name"]: schemes(stage.get("fingerprint")) for stage in held["recipe"]["stages"]}
    wanted = [
        (spec.name, fact, scheme)
        for spec in stages
        if issubclass(spec.stage_class(), Scored)
        for fact, scheme in schemes(spec.options.fingerprint()).items()
        if then.get(spec.name, {}).get(fact) == scheme
    ]
    listed = [
        entry for entry in held["outputs"] if entry["path"].startswith(("records/part-", "removed/part-"))
    ]
    listed = [entry for entry in listed if entry["path"].endswith(".parquet")]
    if not wanted or not listed:
        return
    bring(listed)
    paths = [folder / entry["path"] for entry in listed if is_whole(entry)]
    kinds = _kinds(held)
    for stage, fact, scheme in wanted:
        at = store.child(_place(stage, fact, scheme))
        if not at.exists(_KEYS):
            _lay(at, _rows(paths, f"{stage}_of", fact, kinds))


def reused(stages: Sequence[Any], manifest: Mapping[str, Any], folder: Path, store: Store) -> list[str]:
    """Return a sentence for each stage that found scores, with how many; folder: holds the new release's tables."""
    told = []
    paths = [folder / entry["path"] for entry in manifest["outputs"] if entry["path"].endswith(".parquet")]
    paths = [path for path in paths if path.is_file() and path.parent.name in ("records", "removed")]
    paths = [path for path in paths if path.name.startswith("part-")]
    for spec in stages:
        if not issubclass(spec.stage_class(), Scored):
            continue
        for fact, scheme in schemes(spec.options.fingerprint()).items():
            at = store.child(_place(spec.name, fact, scheme))
            if not at.exists(_KEYS):
                continue
            table, seen, known = _table(Carried(at, _KEYS)), 0, 0
            for keys, _ in _rows(paths, f"{spec.name}_of", fact, _kinds(manifest)):
                seen += len(keys)
                known += int((table.places(keys) >= 0).sum())
            told.append(
                f"{spec.name}: {fact} of {known:,} of {seen:,} records is that of the release that was here"
            )
    return told


def _place(stage: str, fact: str, scheme: str) -> str:
    return hashlib.sha256("\0".join((stage, fact, scheme)).encode()).hexdigest()[:32]


def _kinds(manifest: Mapping[str, Any]) -> dict[str, Kind]:
    return {one["name"]: "text" if one["format"] == "text" else "messages" for one in manifest["sources"]}


def _contents(batch: Batch) -> tuple[pa.StringArray, pa.StringArray]:
    """Return the hashes of what is scored [n]: null where it is what was read; and the same with these, too."""
    names = batch.schema.names
    read = batch.column("_sha256") if "_sha256" in names else pa.nulls(batch.num_rows, pa.string())
    changed = pc.is_null(read)
    if FACT + "edits" in names:
        changed = pc.or_(changed, pc.is_valid(batch.column(FACT + "edits")))
    mask = changed.to_numpy(zero_copy_only=False)
    digests = record.content_sha256(record.content(batch).take(pa.array(np.flatnonzero(mask))))
    places = np.where(mask, np.cumsum(mask) - 1, -1)
    own = digests.take(pa.array(places, mask=places < 0))
    return own, pc.coalesce(own, read)


def _keys(hashes: Iterable[str], kinds: Iterable[Kind]) -> npt.NDArray[Any]:
    """Return the first 16 bytes of hashes in hex as keys [n]."""
    digests = b"".join(bytes.fromhex(one[:32]) for one in hashes)
    found = np.frombuffer(digests, np.dtype([("high", ">u8"), ("low", ">u8")])).astype(_KEY)
    texts = np.fromiter((kind == "text" for kind in kinds), bool, len(found))
    found["high"][texts] ^= _OF_TEXT
    return found


def _rows(
    paths: Iterable[Path], of: str, fact: str, kinds: Mapping[str, Kind]
) -> Iterator[tuple[npt.NDArray[Any], pa.Array]]:
    """Yield the keys and values of a fact that a release's tables state, as they stand there."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            before = "" if path.parent.name == "records" else f"{CURATE}."
            inside = f"{before}facts." if before else ""
            wanted = ["source", f"{before}sha256_in", f"{inside}{of}", f"{inside}{fact}"]
            if not all(_has(file.schema_arrow, name) for name in wanted):
                continue
            for batch in file.iter_batches(_BATCH, columns=wanted):
                source, read, own, values = (_column(batch, name) for name in wanted)
                stated = pc.and_(pc.is_valid(values), pc.is_valid(read))
                hashes = pc.coalesce(own, read).filter(stated).to_pylist()
                yield (
                    _keys(hashes, (kinds[one] for one in source.filter(stated).to_pylist())),
                    values.filter(stated),
                )


def _has(schema: pa.Schema, name: str) -> bool:
    kind: Any = pa.struct(list(schema))
    for one in name.split("."):
        if not pa.types.is_struct(kind) or kind.get_field_index(one) < 0:
            return False
        kind = kind.field(one).type
    return True


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    first, *rest = name.split(".")
    return pc.struct_field(batch.column(first), rest) if rest else batch.column(first)


def _lay(at: Store, rows: Iterator[tuple[npt.NDArray[Any], pa.Array]]) -> None:
    """Write values as they come, and their places by key, sorted."""
    with scratch() as folder:
        every: list[npt.NDArray[Any]] = []
        writer = None
        for keys, values in rows:
            if not len(keys):
                continue
            batch = pa.record_batch({"value": values})
            if writer is None:
                writer = pa.ipc.new_file(str(folder / _VALUES), batch.schema)
            writer.write(batch)
            every.append(keys)
        if writer is None:
            return
        writer.close()
        keys = np.concatenate(every)
        _, first = np.unique(keys, return_index=True)
        table = pa.table(
            {"high": keys["high"][first], "low": keys["low"][first], "place": first.astype(np.int64)}
        )
        with pa.ipc.new_file(str(folder / _KEYS), table.schema) as out:
            out.write(table.combine_chunks().to_batches()[0])
        for name in (_VALUES, _KEYS):  # keys last: without them nothing is there
            at.upload(folder / name, name)


@dataclass(frozen=True)
class _Table:
    """Scores that were laid, mapped into memory."""

    high: npt.NDArray[np.uint64]  # ascending
    low: npt.NDArray[np.uint64]
    place: _Ints
    chunks: tuple[pa.Array, ...]
    starts: _Ints  # of each chunk

    def places(self, keys: npt.NDArray[Any]) -> _Ints:
        """Return where the scores of keys lie [n], -1 for none."""
        found = np.full(len(keys), -1, np.int64)
        at = np.searchsorted(self.high, keys["high"])
        inside = at < len(self.high)
        same = np.flatnonzero(inside)[
            (self.high[at[inside]] == keys["high"][inside]) & (self.low[at[inside]] == keys["low"][inside])
        ]
        found[same] = self.place[at[same]]
        return found

    def values(self, places: _Ints, kind: pa.DataType) -> pa.Array:
        """Return scores by place [n]."""
        of = np.searchsorted(self.starts, places, "right") - 1
        pieces, order = [], []
        for chunk in np.unique(of).tolist():
            mine = np.flatnonzero(of == chunk)
            pieces.append(self.chunks[chunk].take(pa.array(places[mine] - self.starts[chunk])))
            order.append(mine)
        back = np.argsort(np.concatenate(order), kind="stable")
        return pa.concat_arrays(pieces).take(pa.array(back)).cast(kind)


@lru_cache(maxsize=64)
def _table(laid: Carried) -> _Table:
    keys_at = laid.here()
    keys = pa.ipc.open_file(pa.memory_map(str(keys_at))).read_all()
    values = pa.ipc.open_file(pa.memory_map(str(keys_at.with_name(_VALUES)))).read_all().column("value")
    high, low, place = (keys.column(name).to_numpy() for name in ("high", "low", "place"))
    sizes = [len(chunk) for chunk in values.chunks]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
    return _Table(high, low, place, tuple(values.chunks), starts)
