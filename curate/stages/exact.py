"""Exact duplicates: records equal but for case, white space and Unicode's spellings of one character."""

from __future__ import annotations

import hashlib
import struct
import unicodedata
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import record
from curate.io.store import Store
from curate.kernels import cluster, parts, survivor, text
from curate.kernels.cluster import Buckets, Ints
from curate.kernels.survivor import PREFER, PREFER_HELP, Preference
from curate.kernels.text import Hashes
from curate.record import Batch
from curate.stage import Engine, Sketches
from curate.stages.dedup import conflicts as _conflicts
from curate.stages.dedup import deciding, nominated, shuffle
from curate.stages.dedup.against import NO_PAIRS, AgainstOptions, Earlier, Pairs, with_held
from curate.stages.dedup.candidates import (
    ROWS,
    Places,
    beside,
    candidates,
    file_names,
    from_bytes,
    one_batch,
    placed,
    to_bytes,
)
from curate.stages.dedup.deciding import Clusters, Totals
from curate.stages.dedup.resolved import Resolved, finish
from curate.stages.dedup.shuffle import Group, Slice, Sliced

_SCHEMA = pa.schema(
    [*survivor.COLUMNS, ("conversation", pa.bool_()), ("beside", pa.uint8())]
    + [(name, pa.uint64()) for name in ("key", "prompt", "answer")]
)

BYTES = 400
"""That a record may take which meets another: its row and hashes as they came and in order, and the decision."""

_DESCRIBED = 280  # bytes that a candidate may take in the task that reads it again
_HASHING = 128  # keys that could be grouped while one record is read again and hashed

_CONFLICTS = "exact.conflicts.arrow"

SIGNED = f"2.{text.SCHEME}"
"""What the signatures in an index depend on: raised with any change of theirs, and only then, since an index is
kept for releases to come, when the text may be gone."""


class Exact:
    """Keeps one record of each group of equal ones (barrier).

    Equal are records of one kind with the same turns: same roles, same text after NFKC, case folding and
    white space made single, the same calls of tools in them and, in a preference pair, the same reply that lost.
    A hash of 64 bits nominates them; those that it calls equal are read again and must agree in a BLAKE2b hash of
    128 bits (RFC 7693): two different records among a billion meet with a chance of 10^-21, and nobody can make two
    that do. The survivor is the best by :mod:`curate.kernels.survivor`.

    This is where equality of prompts is known, too, so here kept conversations are flagged whose answer contradicts
    another one's to an equal prompt (``conflicts``). The answer is the last assistant turn; everything before it,
    system and earlier turns and definitions of tools included, is the prompt.
    """

    name: ClassVar[str] = "exact"
    version: ClassVar[str] = f"3.{survivor.SCHEME}.unicode{unicodedata.unidata_version}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = (
        60  # that resolving holds at once if memory allows; else it takes more steps
    )

    class Options(AgainstOptions):
        """Options of ``exact``."""

        stage: ClassVar[str] = "exact"

        conflicts: bool = Field(
            True,
            description="Flag kept conversations of one prompt whose short answers contradict each other: yes and no, "
            "two numbers, two labels.",
        )

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
        """Return the survivor policy's columns and 64-bit hashes of each record's normalised content, and of parts."""
        conversation = pa.array(np.full(batch.num_rows, record.kind(batch) == "messages"))
        keys = (pa.array(hashes) for hashes in parts.keys(batch))
        columns = [*survivor.describe(batch), conversation, beside(batch), *keys]
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
        """Group equal records; find prompts with contradicting answers (curate.stages.dedup.conflicts)."""
        found = self._grouped(sketches, engine)
        if self.options.conflicts:
            totals = _conflicts.find(
                sketches, _CONFLICTS, "exact_cluster", "exact/conflicting-answer", engine
            )
            found.summary.update(totals.summary())
            found.findings += totals.findings("exact/conflicting-answer")
            found.flags = _CONFLICTS if totals.conflicting else None
        return found

    def _grouped(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Group equal records.

        Three maps with files between them (:mod:`curate.stages.dedup.nominated`): the keys by range, the buckets of
        each range, the candidates' hashes from the parts; then each range decides for itself. A task holds up
        to ``sketches.memory / engine.workers`` bytes, of up to BYTES per record that meets another.
        """
        options = self.options
        with shuffle.room(sketches) as store:
            earlier = Earlier.of(options, engine)
            counts = nominated.sizes(sketches.parts, engine)
            cut = shuffle.plan(
                sum(counts) + earlier.records, 1, sketches.memory, engine.workers, BYTES, _DESCRIBED
            )
            groups = earlier.behind(shuffle.grouped(sketches.parts, counts, cut.most), cut.most)
            found = nominated.nominate(groups, ["key"], cut, store, engine)
            places = Places.of(found, cut.memory // deciding.BYTES)
            places.save(store)
            files = places.numbers(found)
            answers = shuffle.run(
                _describe,
                [
                    _Described(group, shuffle.across(found.asked, group.number), names, store)
                    for group, names in zip(found.groups, files, strict=True)
                ],
                engine,
                found.met * _HASHING,
            )
            ranges = [
                _Range(number, shuffle.across(answers, number), places, earlier.roots, options, store)
                for number in range(cut.partitions)
            ]
            totals, left, candidates = Totals(options.max_cluster), [], 0
            for one in shuffle.run(_decide, ranges, engine, found.met * _HASHING):
                left.append(one.lines)
                totals.add(one.totals)
                candidates += one.candidates
            return finish(
                self.name,
                "exact_cluster",
                "exact/duplicate",
                sketches.store,
                places.files,
                totals,
                deciding.collected(left, places, store),
                (),
                {"records": found.records, "candidates": candidates},
                earlier.releases,
            )


@dataclass(frozen=True, slots=True)
class _Described:
    """Describe the records of a group that were asked after."""

    group: Group
    asked: tuple[Slice, ...]
    files: dict[tuple[str, str], int]
    store: Store


def _describe(task: _Described) -> Sliced:
    """Answer each partition with the records' rows and both halves of their hashes."""
    asked = [one.astype(np.int64) for one in shuffle.numbers(task.asked, task.store)]
    rows = np.sort(np.concatenate(asked))
    tables, hashes = [ROWS.empty_table()], [np.empty((0, 2), np.uint64)]
    for some in candidates(task.group, rows, task.files, whole=True):
        tables.append(some.table)
        if task.group.release >= 0:
            halves = some.part.table(["high", "low"]).take(pa.array(some.rows))
            hashes.append(np.column_stack([column.to_numpy() for column in halves.columns]))
        else:
            hashes += [content_hashes(batch.take(pa.array(mine))) for batch, mine in some.batches()]
    table, found = pa.concat_tables(tables).combine_chunks(), np.concatenate(hashes)
    with shuffle.slicing(task.store, f"described.{task.group.number}") as out:
        for mine in asked:
            at = np.searchsorted(rows, mine)
            out.add(*(shuffle.packed(to_bytes(table.take(pa.array(at))), found[at]) if len(at) else []))
    return out.done()


@dataclass(frozen=True, slots=True)
class _Range:
    """Decide on the records of one partition."""

    number: int
    described: tuple[Slice, ...]  # by group: as they were asked after
    places: Places
    roots: tuple[str, ...]
    options: Exact.Options
    store: Store


class _Left(NamedTuple):
    lines: Sliced
    totals: Totals
    candidates: int


def _decide(task: _Range) -> _Left:
    batches, hashes = [ROWS.empty_table()], [np.empty((0, 2), np.uint64)]
    for one in task.described:
        if len(content := one.read(task.store)):
            (rows, found), _ = shuffle.unpacked(content)
            batches.append(pa.Table.from_batches([from_bytes(rows)]))
            hashes.append(found)
    rows = pa.concat_tables(batches).combine_chunks()
    high, low = np.concatenate(hashes).T
    members, ends = shuffle.whole(task.store, f"buckets.{task.number}")
    is_own = rows.column("release").to_numpy() < 0
    pairs = _held(high, low, is_own)
    gone = ~is_own
    gone[pairs.record] = True
    chosen = np.zeros(len(gone), bool)
    chosen[cluster.selected(Buckets(members, ends), ~gone[members], 2).members] = True
    own = np.flatnonzero(chosen)
    batch = one_batch(rows)
    order = own[survivor.order(task.options.prefer, *placed(batch, own))]
    files = file_names(task.store)
    lines, totals = deciding.decide(
        batch, _group(high[order], low[order], order), files, task.options.max_cluster
    )
    lines = with_held(batch, pairs, task.roots, lines, totals)
    name = f"lines.{task.number}"
    return _Left(deciding.leave(lines, task.places, task.store, name), totals, len(own))


def _held(high: Hashes, low: Hashes, is_own: npt.NDArray[np.bool_]) -> Pairs:
    """Return which of the run's records an earlier release has too: of several, the first one stands."""
    if is_own.all():
        return NO_PAIRS
    order = np.lexsort((np.arange(len(high)), is_own, low, high))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
    first = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    held = is_own[order] & ~is_own[first]
    similarity = np.full((held.sum(), 3), np.nan)
    similarity[:, 0] = 1.0
    return Pairs(order[held], first[held], similarity)


def _group(high: Hashes, low: Hashes, order: Ints) -> Clusters:
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
    and the normalised text: no two different lists of turns make the same bytes. Calls and the reply that lost
    follow as further turns, whose role has part and place before it, behind a byte that begins no UTF-8. A document
    is one turn without a role; the kind of the record is the hash's personalisation, so it equals no conversation.
    """
    kind = record.kind(batch)
    said = record.utterances(batch)
    offsets = said.offsets
    data, bounds = text.buffers(text.normalise(said.text))
    view = data.data
    roles = pc.fill_null(said.role.cast(pa.binary()), b"").to_pylist()
    for place in np.flatnonzero(said.part != record.CONTENT).tolist():
        beside = struct.pack("<BBQ", 0xFF, said.part[place], said.turn[place])
        roles[place] = beside + roles[place]
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
