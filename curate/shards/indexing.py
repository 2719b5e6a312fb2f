"""The index of a release, written by an engine (:mod:`curate.stages.index`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa

from curate.io import write
from curate.io.sizes import record_sizes
from curate.io.store import Store
from curate.io.write import RowGroups, Shard, Stream
from curate.outcome import SKETCH, batches, batches_of
from curate.pipeline import Chain, Part, segments
from curate.recipe import StageSpec
from curate.shards.cutting import Block, Cutter, Sampler, ratio, shard_starts
from curate.shards.encoding import Encoded, fetched
from curate.shards.trails import bundles
from curate.stage import Engine
from curate.stages import index

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
            tasks.append(Signing(tuple(numbers), tuple(units), store))
    blocks = [block for found in engine.map(sign, tasks) for block in found]
    whole = index.schema(built)
    numbers = sorted({number for task in tasks for number in task.numbers})
    encodings = [
        Encoding(number, pieces, whole, store, to)
        for number, pieces in enumerate(_pieces(numbers, blocks, shard_size))
    ]
    shards = [fetched(shard, to, folder) for shard in engine.map(encode, encodings)]
    store.remove()
    return WrittenIndex(shards, {stage.name: stage.options.scheme() for stage in built})


def sign(task: Signing) -> list[Block]:
    """Write the units' indexes, and return what they will take."""
    cutter, sampler = Cutter(), Sampler()
    for number, unit in zip(task.numbers, task.units, strict=True):
        with task.store.writing(_name(number)) as path:
            index.sign(replace(unit, path=path))
            at = 0
            for batch in batches_of(path):
                sizes = record_sizes(batch)
                cutter.add(number, np.arange(at, at + len(sizes)), sizes, begins=not at)
                sampler.add(batch, sizes)
                at += len(sizes)
    return cutter.blocks(ratio([sampler]))


def _name(number: int) -> str:
    return f"{number:08d}.arrow"


def _pieces(
    numbers: Sequence[int], blocks: Sequence[Block], shard_size: int
) -> Iterator[tuple[tuple[str, int, int | None], ...]]:
    """Yield what each shard holds: they end as all shards do (:mod:`curate.shards.cutting`)."""
    starts = [block for block, _ in shard_starts(blocks, shard_size)]
    if not starts:
        yield ()
    for at, start in enumerate(starts):
        end = starts[at + 1] if at + 1 < len(starts) else None
        yield tuple(
            (
                _name(number),
                start.row if number == start.unit else 0,
                end.row if end is not None and number == end.unit else None,
            )
            for number in numbers
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
