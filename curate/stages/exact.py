"""Exact duplicates: records equal but for case, white space and Unicode's spellings of one character."""

from __future__ import annotations

import hashlib
import struct
import tempfile
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import record
from curate.kernels import parts, survivor, text
from curate.kernels.survivor import PREFER, PREFER_HELP, Census, Preference
from curate.record import Batch
from curate.stage import Engine, Sketches, SketchPart
from curate.stages.against import AgainstOptions, Earlier
from curate.stages.nominated import ReadBack, nominate, read_back
from curate.stages.resolved import Clusters, Resolved, chosen, settle

_SCHEMA = pa.schema([*survivor.COLUMNS, ("conversation", pa.bool_()), ("key", pa.uint64())])

SIGNED = f"1.{text.SCHEME}"
"""What the signatures in an index depend on: raised with any change of theirs, and only then, since an index is
kept for releases to come, when the text may be gone."""


class Exact:
    """Keeps one record of each group of equal ones (barrier).

    Equal are records of one kind with the same turns: same roles, same text after NFKC, case folding and
    white space made single. A hash of 64 bits nominates them; those that it calls equal are read again and
    must agree in a BLAKE2b hash of 128 bits (RFC 7693): two different records among a billion meet with a
    chance of 10^-21, and nobody can make two that do. The survivor is the best by
    :mod:`curate.kernels.survivor`.
    """

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = f"2.{survivor.SCHEME}.unicode{unicodedata.unidata_version}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = 30  # that resolving holds at once, for forecasts

    class Options(AgainstOptions):
        """Options of ``exact``."""

        stage: ClassVar[str] = "exact"

        prefer: tuple[Preference, ...] = Field(PREFER, description=PREFER_HELP)
        max_cluster: int = Field(
            1000, ge=2, description="A group of more equal records than this is reported."
        )

        def scheme(self) -> dict[str, Any]:
            """Return what keys and hashes depend on."""
            return {"version": SIGNED}

    def __init__(self, options: Options) -> None:
        self.options = options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return the survivor policy's columns and a 64-bit hash of each record's normalised content."""
        conversation = pa.array(np.full(batch.num_rows, record.kind(batch) == "messages"))
        columns = [*survivor.describe(batch), conversation, pa.array(parts.normal_keys(batch))]
        return pa.record_batch(columns, schema=_SCHEMA)

    @property
    def indexed(self) -> pa.Schema:
        """Return what an index keeps of a record: the 64-bit hash, and both halves of the 128-bit one."""
        return pa.schema([(name, pa.uint64()) for name in ("key", "high", "low")])

    def signatures(self, batch: Batch) -> pa.RecordBatch:
        """Return both halves of each record's 128-bit hash."""
        high, low = content_hashes(batch).T
        return pa.RecordBatch.from_pydict({"high": pa.array(high), "low": pa.array(low)})

    def resolve(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Group equal records; holds about 30 bytes per record, then 100 per candidate."""
        records = sum(part.table(["_row"]).num_rows for part in sketches.parts)
        earlier = Earlier.of(self.options, sketches.parts, records, engine)
        with tempfile.TemporaryDirectory(dir=sketches.store.path) as scratch:
            folder = Path(scratch)
            found = nominate(earlier.parts, earlier.total, ["key"], sketches.memory, engine, folder)
            met, found = earlier.split(found)
            held = earlier.equal(met, lambda chosen: _hashes(sketches.parts, chosen, engine, folder))
            candidates = np.sort(earlier.left(found, held).members).astype(np.int64)
            high, low = _hashes(sketches.parts, candidates, engine, folder).T
        columns = [*survivor.KEYS, *survivor.COLUMNS.names]
        census = Census.take(candidates, chosen(sketches.parts, candidates, columns), self.options.prefer)
        return settle(
            self.name,
            "exact_cluster",
            "exact/duplicate",
            _group(high[census.order], low[census.order], census.order),
            census,
            sketches,
            self.options.max_cluster,
            (),
            {"records": records, "candidates": len(candidates)},
            earlier.decided(held),
        )


def _hashes(
    parts: Sequence[SketchPart], records: npt.NDArray[np.int64], engine: Engine, folder: Path
) -> npt.NDArray[np.uint64]:
    """Read the records (numbers, ascending) again; return their content hashes [n, 2]."""
    names = read_back(parts, records, _write_hashes, engine, folder)
    found = [np.load(folder / f"{name}.hashes.npy") for name in names]
    return np.concatenate([np.empty((0, 2), np.uint64), *found])


def _write_hashes(task: ReadBack) -> None:
    hashes = [content_hashes(batch.take(pa.array(rows))) for batch, rows in task.batches()]
    np.save(Path(task.folder) / f"{task.name}.hashes.npy", np.concatenate(hashes))


def _group(
    high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64], order: npt.NDArray[np.int64]
) -> Clusters:
    """Make a cluster of each group of equal hashes [n], given in policy order, around its first record."""
    by_hash = np.lexsort((low, high))  # stable: a group stays in policy order
    high, low = high[by_hash], low[by_hash]
    first = np.ones(len(order), bool)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    starts = np.flatnonzero(first)
    sizes = np.diff(np.append(starts, len(order)))
    shared = np.repeat(sizes > 1, sizes)
    member = order[by_hash][shared]
    kept = np.repeat(order[by_hash][starts], sizes)[shared]
    similarity = np.full((len(member), 3), np.nan)
    similarity[:, 0] = 1.0
    return Clusters(member, kept, similarity)


def content_hashes(batch: Batch) -> npt.NDArray[np.uint64]:
    """Return the BLAKE2b-128 of each record's normalised content as two numbers: [n, 2].

    Hashed are, of each turn, the UTF-8 lengths of role and text as two little-endian 64-bit numbers, the role
    and the normalised text: no two different lists of turns make the same bytes. A document is one turn
    without a role; the kind of the record is the hash's personalisation, so it equals no conversation.
    """
    kind = record.kind(batch)
    flat, offsets = record.turns(batch)
    data, bounds = text.buffers(text.normalise(flat))
    view = data.data
    if kind == "text":
        roles = [b""] * len(flat)
    else:
        named = pc.struct_field(record.content(batch).flatten(), "role").cast(pa.binary())
        roles = pc.fill_null(named, b"").to_pylist()
    out = bytearray()
    ends = bounds.tolist()
    for start, end in zip(offsets.tolist(), offsets[1:].tolist(), strict=False):
        digest = hashlib.blake2b(digest_size=16, person=kind.encode())
        for turn in range(start, end):
            size = ends[turn + 1] - ends[turn]
            digest.update(struct.pack("<QQ", len(roles[turn]), size) + roles[turn])
            digest.update(view[ends[turn] : ends[turn + 1]])
        out += digest.digest()
    return np.frombuffer(bytes(out), np.uint64).reshape(-1, 2)
