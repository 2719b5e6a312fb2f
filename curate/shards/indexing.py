"""The index of a release, written by an engine (:mod:`curate.stages.dedup.index`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.io import write
from curate.io.sizes import record_sizes
from curate.io.store import Store, scratch
from curate.io.write import RowGroups, Shard, Stream
from curate.outcome import SKETCH, batches, batches_of, schema_of
from curate.pipeline import Chain, Part, segments
from curate.recipe import StageSpec
from curate.record import FACT
from curate.shards.cutting import Block, Cutter, Sampler, ratio, shard_starts
from curate.shards.encoding import Encoded, fetched
from curate.shards.trails import RECORDS, SPLIT, bundles, in_order
from curate.stage import Engine
from curate.stages.dedup import index
from curate.stages.mixing.mixed import TRAIN

_SIGNED = "signed"  # in the release's folder, while the index is written


@dataclass(frozen=True)
class WrittenIndex:
    """An index that was written: its shards, and the scheme of each stage's part of it."""

    shards: list[Shard]
    schemes: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Signing:
    """Units to index, each into a file of a store. numbers: of the units."""

    numbers: tuple[int, ...]
    units: tuple[index.Signing, ...]
    store: Store
    splits: bool = False  # their records are in splits


@dataclass
class Signed:
    """What was signed of one split (None: of all records): its units, and what they take."""

    numbers: list[int] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class Encoding:
    """A shard of the index. pieces: (file, first row, last row + 1) of the units' indexes; None: to its end."""

    number: int
    pieces: tuple[tuple[str, int, int | None], ...]
    schema: pa.Schema
    store: Store
    to: Store


def write_index(
    stages: Sequence[StageSpec],
    chains: Sequence[Chain],
    to: Store,
    folder: Path,
    shard_size: int,
    engine: Engine,
) -> WrittenIndex:
    """Write index/ into a store and fetch it into ``folder``: one row per kept record, in the order of data/."""
    barriers = [
        (segment.index, cast(index.Indexed, spec.stage_class()(spec.options)))
        for segment in segments(stages)
        if (spec := segment.sketches) is not None and hasattr(spec.stage_class(), "signatures")
    ]
    built = tuple(stage for _, stage in barriers)
    store = to.child(_SIGNED)
    store.clear()
    tasks = []
    splits = any(FACT + SPLIT in done.facts for chain in chains for done in chain.done)
    for bundle in bundles(chains):
        numbers, units = [], []
        for number in bundle:
            done = chains[number].done
            # Where nothing was left of a unit, there is no sketch of it.
            if all(f"{SKETCH}.arrow" in done[place].files for place, _ in barriers):
                seen = tuple(Part(done[place].folder) for place, _ in barriers)
                units.append(index.Signing(Part(done[-1].folder), built, seen, Path()))
                numbers.append(number)
        if numbers:
            tasks.append(Signing(tuple(numbers), tuple(units), store, splits))
    signed: dict[str | None, Signed] = {}
    for found in engine.map(sign, tasks):
        for split, some in found.items():
            held = signed.setdefault(split, Signed())
            held.numbers += some.numbers
            held.blocks += some.blocks
    whole = index.schema(built)
    encodings = [
        Encoding(number, pieces, whole, store, to)
        for number, pieces in enumerate(_pieces(*_in_line(signed, len(chains)), shard_size))
    ]
    shards = [fetched(shard, to, folder) for shard in engine.map(encode, encodings)]
    store.remove()
    return WrittenIndex(shards, {stage.name: stage.options.scheme() for stage in built})


def sign(task: Signing) -> dict[str | None, Signed]:
    """Write the units' indexes, and return what they will take; of a unit whose records are in splits, one for each."""
    made: dict[str | None, tuple[Signed, Cutter, Sampler]] = {}
    for number, unit in zip(task.numbers, task.units, strict=True):
        for split, path in _written(task, number, unit):
            signed, cutter, sampler = made.setdefault(split, (Signed(), Cutter(), Sampler()))
            signed.numbers.append(number)
            at = 0
            for batch in batches_of(path):
                sizes = record_sizes(batch)
                cutter.add(number, np.arange(at, at + len(sizes)), sizes, begins=not at)
                sampler.add(batch, sizes)
                at += len(sizes)
    for signed, cutter, sampler in made.values():
        signed.blocks = cutter.blocks(ratio([sampler]))
    return {split: signed for split, (signed, _, _) in made.items()}


def _written(task: Signing, number: int, unit: index.Signing) -> Iterator[tuple[str | None, Path]]:
    """Write the index of a unit, and yield its files while they are still on this machine."""
    if not task.splits:
        with task.store.writing(_name(number, None)) as path:
            index.sign(replace(unit, path=path))
            yield None, path
        return
    with scratch() as folder:
        whole = folder / "whole"
        index.sign(replace(unit, path=whole))
        in_split = _splits(unit.kept)
        for split in in_order(pc.unique(in_split).to_pylist()):
            with task.store.writing(_name(number, split)) as path:
                with pa.ipc.new_stream(str(path), index.schema(unit.stages)) as writer:
                    at = 0
                    for batch in batches_of(whole):
                        mine = pc.equal(in_split.slice(at, batch.num_rows), split)
                        writer.write_batch(batch.filter(mine))
                        at += batch.num_rows
                yield split, path


def _splits(kept: Any) -> pa.StringArray:
    """Return the split of each of a unit's records."""
    name = FACT + SPLIT
    if name not in schema_of(kept.folder, RECORDS).names:
        return pa.array([TRAIN] * sum(batch.num_rows for batch in kept.records(["_row"])), pa.string())
    stated = [batch.column(name).cast(pa.string()) for batch in kept.records([name])]
    return pc.fill_null(pa.chunked_array(stated, pa.string()), TRAIN).combine_chunks()


def _name(number: int, split: str | None) -> str:
    return f"{number:08d}.arrow" if split is None else f"{number:08d}.{split}.arrow"


def _in_line(signed: Mapping[str | None, Signed], units: int) -> tuple[dict[int, str], list[Block]]:
    """Return the files of all units by number, and the blocks, a split after the other: numbers go on over splits."""
    names: dict[int, str] = {}
    blocks: list[Block] = []
    splits = [None] if None in signed else in_order(split for split in signed if split is not None)
    for place, split in enumerate(splits if signed else ()):
        names |= {place * units + number: _name(number, split) for number in signed[split].numbers}
        blocks += [replace(block, unit=block.unit + place * units) for block in signed[split].blocks]
    return names, blocks


def _pieces(
    names: Mapping[int, str], blocks: Sequence[Block], shard_size: int
) -> Iterator[tuple[tuple[str, int, int | None], ...]]:
    """Yield what each shard holds: they end as all shards do (:mod:`curate.shards.cutting`)."""
    starts = [block for block, _ in shard_starts(blocks, shard_size)]
    if not starts:
        yield ()
    for at, start in enumerate(starts):
        end = starts[at + 1] if at + 1 < len(starts) else None
        yield tuple(
            (
                name,
                start.row if number == start.unit else 0,
                end.row if end is not None and number == end.unit else None,
            )
            for number, name in names.items()
            if number >= start.unit and (end is None or (number, 0) < (end.unit, end.row))
        )


def encode(task: Encoding) -> Encoded:
    """Write a shard of the index."""
    stream = Stream(Path(index.FOLDER), task.schema)
    name = (stream.folder / write.shard_name(stream, task.number)).as_posix()
    groups = RowGroups([task.schema])
    with task.to.writing(name) as path:
        file = write.shard_file(stream, path)
        for piece in task.pieces:
            for table in _rows(task.store, *piece):
                for [group] in groups.add([table]):
                    file.write(group)
        for [group] in groups.rest():
            file.write(group)
        if not file.records:
            file.write(task.schema.empty_table())
        file.close()
        shard = write.finished(path, file.records)
    return Encoded(index.FOLDER, name, shard.bytes, shard.sha256, shard.records)


def _rows(store: Store, name: str, first: int, stop: int | None) -> Iterator[pa.Table]:
    at = 0
    for batch in batches(store, name):
        begin, end = max(first - at, 0), batch.num_rows if stop is None else min(stop - at, batch.num_rows)
        at += batch.num_rows
        if begin < end:
            yield pa.Table.from_batches([batch.slice(begin, end - begin)])
