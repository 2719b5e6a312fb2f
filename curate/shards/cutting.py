"""Where shards begin and end, decided before a byte of them is written, so that they can be written side by side.

The rule, for each table: records in order make *blocks*, each ending with the record that brings it to
``write.GROUP_BYTES`` or ``write.GROUP_RECORDS``, or with its bundle of units (:func:`curate.shards.trails.bundles`);
all ledger lines of a record are in one block. What a block takes on disk is estimated: the records' own sizes times
how far a sample of its bundle, ``SAMPLE`` bytes of every ``STRIDE``, is packed by zstd as the columns of an Arrow
record batch; of sealed records, times what sealing adds. A shard ends with the block that takes it to ``shard_size``.
On public data shards so cut came within a fifth of the wanted size.

Nothing here depends on batches, workers or the machine. records/ and leaves/ follow the cuts of data/. Where a stage
states splits (fact ``split``), each is cut on its own, and kept records stand in the order of the splits first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from curate.io import write
from curate.io.sizes import record_sizes
from curate.outcome import merged
from curate.record import FACT, Batch
from curate.shards.trails import Ints, Trail, by_split, in_order, placed

KEPT = "kept"
SAMPLE = 2**17  # bytes
STRIDE = 16 * 10**6
_SEALED = 64  # records of a sample that are serialised one by one, as sealing does
_SIV = 16  # bytes that encryption adds to a record (RFC 5297)


@dataclass(frozen=True, slots=True)
class Block:
    """Records that stay together. unit, row, offset: where they begin (:class:`curate.shards.trails.Trail`)."""

    unit: int  # its number
    row: int  # 0: with the unit
    offset: int
    records: int
    bytes: int  # as the records' own sizes add up
    disk: float = 0.0  # estimate


@dataclass(frozen=True)
class Stretch:
    """The part of the records that one shard of a table holds."""

    trails: tuple[Trail, ...]
    first: int  # how many records of the table stand before it
    split: str | None = None  # that its records are in


@dataclass(frozen=True)
class Measuring:
    """Units whose rows are to be measured. numbers: of the units, over all."""

    numbers: tuple[int, ...]
    trails: tuple[Trail, ...]
    sealed: bool  # removed records will be encrypted
    splits: bool = False  # kept records are in splits


class Cutter:
    """Cuts the records of one table into blocks, as they come."""

    def __init__(self) -> None:
        self.done: list[Block] = []
        self._open: Block | None = None

    def add(self, unit: int, rows: Ints, sizes: Ints, offset: int = 0, begins: bool = False) -> None:
        """Take records of a unit: their rows [n], ascending, and sizes [n]. begins: they are its first."""
        at = 0
        while at < len(rows):
            held = self._open or Block(unit, 0 if begins and not at else int(rows[at]), offset, 0, 0)
            take, nbytes = write.group_end(sizes[at:], held.records, held.bytes)
            full = write.is_full(held.records + take, nbytes)
            end = at + take
            if full and end < len(rows) and rows[end] == rows[end - 1]:
                more = int(np.searchsorted(rows, rows[end - 1], "right"))
                nbytes, take, end = nbytes + int(sizes[end:more].sum()), more - at, more
            held = replace(held, records=held.records + take, bytes=nbytes)
            self._open = held
            if full:
                self.finish()
            at = end

    def finish(self) -> None:
        """End the block that is open."""
        if self._open is not None:
            self.done.append(self._open)
            self._open = None

    def blocks(self, ratio: float) -> list[Block]:
        """Return all blocks. ratio: bytes on disk per byte."""
        self.finish()
        return [replace(block, disk=block.bytes * ratio) for block in self.done]


@dataclass
class Sampler:
    """Packs a sample of one stream of records."""

    sealed: bool = False
    raw: int = 0
    packed: int = 0
    _at: int = 0
    _held: list[tuple[Batch, int]] = field(default_factory=list)  # with their sizes

    def add(self, batch: Batch, sizes: Ints) -> None:
        """Take the next records and their sizes [n]."""
        begins = self._at + np.cumsum(sizes) - sizes
        self._at += int(sizes.sum())
        chosen = begins % STRIDE < SAMPLE
        edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False)).reshape(-1, 2)
        for start, stop in edges.tolist():
            if start:
                self.flush()
            self._held.append((batch.slice(start, stop - start), int(sizes[start:stop].sum())))
        if len(chosen) and not chosen[-1]:
            self.flush()

    def flush(self) -> None:
        """Pack what was held: a run of records next to each other."""
        if not self._held:
            return
        whole = pa.Table.from_batches([batch for batch, _ in self._held])
        if self.sealed:
            some = whole.slice(0, _SEALED)
            for i in range(some.num_rows):
                [row] = some.take(pa.array([i])).combine_chunks().to_batches()
                self.packed += row.serialize().size + _SIV
            self.raw += int(record_sizes(some).sum())
        else:
            options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=write.ZSTD_LEVEL))
            # Taken, not sliced: of a slice the neighbors' bits would show, and so how the records came in batches.
            taken = whole.combine_chunks().take(pa.array(np.arange(whole.num_rows)))
            for batch in taken.combine_chunks().to_batches():
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
                    start = sink.tell()
                    writer.write_batch(batch)
                    self.packed += sink.tell() - start
            self.raw += sum(size for _, size in self._held)
        self._held = []


def ratio(samplers: Iterable[Sampler]) -> float:
    """Return how many bytes on disk a byte becomes; 1 where there was nothing to pack."""
    raw = packed = 0
    for sampler in samplers:
        sampler.flush()
        raw, packed = raw + sampler.raw, packed + sampler.packed
    return packed / raw if raw else 1.0


def measure(task: Measuring) -> dict[str, list[Block]]:
    """Return the blocks of some units' rows: of ``kept``, ``removed``, ``edited`` and ``ledger``.

    Where there are splits, of ``kept/<split>`` in place of ``kept``.
    """
    found = {KEPT if split is None else f"{KEPT}/{split}": blocks for split, blocks in _kept(task).items()}
    for kind in ("removed", "edited", "ledger"):
        cutter, samplers = Cutter(), []
        for number, trail in zip(task.numbers, task.trails, strict=True):
            own = [Sampler(task.sealed and kind != "ledger") for _ in trail.named(kind)]
            samplers += own
            sized = [
                _sized(trail, *file, sampler) for file, sampler in zip(trail.named(kind), own, strict=True)
            ]
            begins = True
            for table in merged(sized, [("_row", "ascending")]):
                cutter.add(number, table["_row"].to_numpy(), table["size"].to_numpy(), begins=begins)
                begins = False
        found[kind] = cutter.blocks(ratio(samplers))
    return found


def _kept(task: Measuring) -> dict[str | None, list[Block]]:
    made: dict[str | None, tuple[Cutter, Sampler]] = {}
    for number, trail in zip(task.numbers, task.trails, strict=True):
        seen: dict[str | None, pa.Schema] = {}
        for offset, batch in placed(trail.kept):
            if not batch.num_rows:
                continue
            for split, some in by_split(batch) if task.splits else [(None, batch)]:
                cutter, sampler = made.setdefault(split, (Cutter(), Sampler()))
                shown = some.select([n for n in some.schema.names if not n.startswith((FACT, "_"))])
                begins = split not in seen
                if shown.schema != seen.get(split):
                    sampler.flush()
                    seen[split] = shown.schema
                sizes = record_sizes(shown)
                cutter.add(number, some.column("_row").to_numpy(), sizes, offset, begins)
                sampler.add(shown, sizes)
    return {split: cutter.blocks(ratio([sampler])) for split, (cutter, sampler) in made.items()}


def _sized(trail: Trail, folder: object, file: str, sampler: Sampler) -> Iterator[pa.Table]:
    for batch in trail.batches(folder, file):  # type: ignore[arg-type]
        sizes = record_sizes(batch)
        sampler.add(batch, sizes)
        yield pa.table({"_row": batch.column("_row"), "size": sizes})


def shard_starts(blocks: Sequence[Block], shard_size: int) -> list[tuple[Block, int]]:
    """Return the block with which each shard begins, and how many records stand before it."""
    found: list[tuple[Block, int]] = []
    records, disk = 0, 0.0
    for block in blocks:
        if not found or disk >= shard_size:
            found.append((block, records))
            disk = 0.0
        records, disk = records + block.records, disk + block.disk
    return found


def stretches(trails: Sequence[Trail], blocks: Sequence[Block], shard_size: int) -> list[Stretch]:
    """Return what the shards of a table hold, in order; one that holds nothing for a table without records."""
    starts = shard_starts(blocks, shard_size)
    found = []
    for number, (start, before) in enumerate(starts):
        end = starts[number + 1][0] if number + 1 < len(starts) else None
        last = len(trails) - 1 if end is None else end.unit - (end.row == 0)
        held = []
        for unit in range(start.unit, last + 1):
            first, offset = (start.row, start.offset) if unit == start.unit else (0, 0)
            stop = end.row if end is not None and unit == end.unit else None
            held.append(trails[unit].stretch(first, stop, offset))
        found.append(Stretch(tuple(held), before))
    return found or [Stretch((), 0)]


def split_stretches(
    trails: Sequence[Trail], blocks: Mapping[str, Sequence[Block]], shard_size: int
) -> list[Stretch]:
    """Return what the shards of kept records hold, a split after the other: none holds records of two.

    blocks: by kind, as :func:`measure` names them.
    """
    splits = in_order(kind.partition("/")[2] for kind in blocks if kind.startswith(f"{KEPT}/"))
    if not splits:
        return stretches(trails, blocks.get(KEPT, ()), shard_size)
    found: list[Stretch] = []
    before = 0
    for split in splits:
        mine = blocks[f"{KEPT}/{split}"]
        for stretch in stretches([replace(trail, split=split) for trail in trails], mine, shard_size):
            found.append(replace(stretch, first=stretch.first + before, split=split))
        before += sum(block.records for block in mine)
    return found
