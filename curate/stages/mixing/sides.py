"""Which records must stand on one side of a split: near-duplicates of one cluster, and those of one prompt.

A record's *side* is the 64-bit hash of its normalised prompt (all turns but the assistant's; of a record without
one, its whole content). Records of one cluster have the same side, whatever their prompts: their prompts are linked,
and of prompts that are linked, over any number of steps, the smallest hash stands for all. Only clusters of which
several records are still there link anything, which is few: a deduplicating stage leaves one of each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels import parts
from curate.record import FACT, MESSAGES, Batch
from curate.stage import Engine
from curate.stages.dedup import shuffle
from curate.stages.mixing.selecting import Ints, Mask, Words

CLUSTERS = ("cluster", "exact_cluster", "semantic_cluster")  # facts
_HELD = 64  # bytes per hash while clusters are counted
_NO_WORDS: Words = np.empty(0, np.uint64)


def _nothing() -> Words:
    return _NO_WORDS


def prompts(batch: Batch) -> Words:
    """Return the 64-bit hash of each record's normalised prompt [n]; without one, of its content."""
    whole: Words = parts.normal_keys(batch)
    if record.kind(batch) == "text":
        return whole
    column = record.content(batch)
    turns = column.flatten()
    asked = pc.not_equal(pc.fill_null(pc.struct_field(turns, "role"), ""), "assistant")
    _, offsets = record.turns(batch)
    ends = np.concatenate([[0], np.cumsum(asked.to_numpy(zero_copy_only=False))])[offsets]
    lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), turns.filter(asked), MESSAGES)
    keys = parts.normal_keys(pa.record_batch({"messages": lists}))
    found: Words = np.where(np.diff(ends) > 0, keys, whole)
    return found


def clusters(batch: Batch) -> list[pa.UInt64Array]:
    """Return a hash of each record's cluster [n] by fact, null where it is in none."""
    found = []
    for name in CLUSTERS:
        if FACT + name not in batch.schema.names:
            found.append(pa.nulls(batch.num_rows, pa.uint64()))
            continue
        coded = batch.column(FACT + name).dictionary_encode()
        hashes = [None if one is None else _hash(f"{name}/{one}") for one in coded.dictionary.to_pylist()]
        found.append(pa.array(hashes, pa.uint64()).take(coded.indices))
    return found


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class Links:
    """Prompts that share a side with another one: of each, the hash that stands for all that are linked."""

    prompts: Words = field(default_factory=_nothing)  # [k] ascending
    sides: Words = field(default_factory=_nothing)  # [k]

    def of(self, found: Words) -> Words:
        """Return the side of each prompt [n]."""
        if not len(self.prompts):
            return found
        at = np.minimum(np.searchsorted(self.prompts, found), len(self.prompts) - 1)
        linked: Words = np.where(self.prompts[at] == found, self.sides[at], found)
        return linked


class Staying(Protocol):
    """Tells which records of a part are still there. Picklable."""

    def stays(self, part: Any) -> Mask:
        """Return which of the part's records [n] are."""
        ...


@dataclass(frozen=True)
class _Look:
    part: Any
    staying: Staying
    number: int = 0  # of the range of hashes that is looked at
    ranges: int = 1
    shared: Words = field(default_factory=_nothing)


def links(parts: Sequence[Any], staying: Staying, engine: Engine, work: int, memory: int) -> Links:
    """Link the prompts of clusters of which several records stay. memory: bytes that may be held at once."""
    ranges = 1 + work * len(CLUSTERS) * _HELD // max(memory, 1)
    prompts, ends = [_NO_WORDS], [_NO_WORDS]
    for number in range(ranges):
        looks = [_Look(part, staying, number, ranges) for part in parts]
        seen = np.concatenate([_NO_WORDS, *shuffle.run(_seen, looks, engine, work)])
        found, counts = np.unique(seen, return_counts=True)
        if not len(shared := found[counts > 1]):
            continue
        looks = [_Look(part, staying, number, ranges, shared) for part in parts]
        for asked, cluster in shuffle.run(_shared, looks, engine, work):
            prompts.append(asked)
            ends.append(cluster)
    return linked(np.concatenate(prompts), np.concatenate(ends))


def _hashes(task: _Look) -> Iterable[tuple[Words, Ints]]:
    """Yield the clusters of the part's staying records that are in the range, and whose they are."""
    stays = task.staying.stays(task.part)
    table = task.part.table(list(CLUSTERS))
    for name in CLUSTERS:
        column = table.column(name).combine_chunks()
        valid = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False) & stays)
        words = pc.fill_null(column, 0).to_numpy(zero_copy_only=False)[valid]
        # The upper half, scaled: the range of a hash.
        mine = ((words >> np.uint64(32)) * np.uint64(task.ranges) >> np.uint64(32)) == np.uint64(task.number)
        yield words[mine], valid[mine]


def _seen(task: _Look) -> Words:
    return np.concatenate([words for words, _ in _hashes(task)])


def _shared(task: _Look) -> tuple[Words, Words]:
    asked = task.part.table(["prompt"]).column("prompt").to_numpy()
    prompts, found = [_NO_WORDS], [_NO_WORDS]
    for words, whose in _hashes(task):
        hit = np.isin(words, task.shared)
        prompts.append(asked[whose[hit]])
        found.append(words[hit])
    return np.concatenate(prompts), np.concatenate(found)


def linked(prompts: Words, clusters: Words) -> Links:
    """Return the sides of prompts that clusters link. prompts, clusters [e]: a record's prompt is in its cluster."""
    names, of = np.unique(prompts, return_inverse=True)
    _, to = np.unique(clusters, return_inverse=True)
    side: npt.NDArray[np.int64] = np.arange(len(names))
    while len(names):  # labels travel over clusters, and by pointer jumping, until none changes
        least = np.full(to.max() + 1, len(names))
        np.minimum.at(least, to, side[of])
        new = side.copy()
        np.minimum.at(new, of, least[to])
        new = np.minimum(new, new[new])
        if np.array_equal(new, side):
            break
        side = new
    return Links(names, names[side])
