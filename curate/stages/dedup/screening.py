"""From buckets to entries: which of the records that met are worth reading again, and what each of them is in.

::

    planes    map over groups       bits of the minima of the records that each partition asks after
    screen    map over partitions   which of them resemble another of a bucket
    number    map over groups       the candidates: those that do so in any partition, numbered
    enter     map over partitions   for each group its candidates' buckets; which candidates belong together
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from curate.io.store import Store
from curate.kernels import cluster
from curate.kernels.cluster import Buckets, Ints
from curate.kernels.text import Hashes
from curate.stage import Engine
from curate.stages.dedup import shuffle
from curate.stages.dedup.nominated import Nominated
from curate.stages.dedup.shuffle import Group, Slice, Sliced

BYTES = (
    64  # per key that a partition may hold, if every record meets another: planes, buckets and whom they name
)
_NONE = np.uint32(2**32 - 1)  # in place of a number: no candidate
_MET, _STAYS = np.uint8(1), np.uint8(2)


class Screened(NamedTuple):
    """The candidates. Those of a group are numbered one after the other, in files ``candidates.G``."""

    starts: Ints  # [groups + 1] number of each group's first candidate
    characters: int  # code points of all of them
    met: int  # records that share a bucket with another
    numbered: tuple[
        Sliced, ...
    ]  # by group: for each partition, the numbers in the group of those it asked after


def planes(found: Nominated, engine: Engine) -> tuple[Sliced, ...]:
    """Answer each partition with the planes of the records that it asks after, 32 bytes each."""
    tasks = [_Planes(group, shuffle.across(found.asked, group.number), found.store) for group in found.groups]
    return tuple(shuffle.run(_planes, tasks, engine, found.met))


@dataclass(frozen=True, slots=True)
class _Planes:
    group: Group
    asked: tuple[Slice, ...]
    store: Store


def _planes(task: _Planes) -> Sliced:
    found = []
    for part in task.group.parts:
        column = part.table(["planes"]).column("planes").combine_chunks()
        values = np.asarray(column.flatten())
        found.append(values.reshape(len(column), -1) if len(column) else np.empty((0, 0), np.uint64))
    width = max((table.shape[1] for table in found), default=0)
    every = np.concatenate(
        [np.empty((0, width), np.uint64), *(table.reshape(len(table), width) for table in found)]
    )
    del found
    with shuffle.slicing(task.store, f"planes.{task.group.number}") as out:
        for rows in shuffle.numbers(task.asked, task.store):
            out.add(every[rows])
    return out.done()


def screen(
    found: Nominated,
    drawn: Sequence[Sliced],
    needed: int,
    engine: Engine,
    *,
    shared: bool = False,
    gone: Sequence[Sliced] = (),
) -> Screened:
    """Find the candidates among the records of the run, or of the run and indexes.

    shared: only buckets that both have records in count, and both are candidates; otherwise only those of the
    run, without those that are ``gone``: of each group, for each partition, whether (1) the records that it asks
    after are held by an earlier release. A record of a group holds 12 bytes at most in a task.
    """
    asked = len(found.asked)
    tasks = [
        _Screen(
            number,
            shuffle.across(drawn, number),
            shuffle.across(gone, number),
            found.asked[number],
            len(found.own),
            shared,
            needed,
            found.store,
        )
        for number in range(asked)
    ]
    flags = shuffle.run(_screen, tasks, engine, 4 * found.met)
    groups = found.groups if shared else found.own
    to_number = [
        _Number(
            group, shuffle.across(found.asked, group.number), shuffle.across(flags, group.number), found.store
        )
        for group in groups
    ]
    numbered = shuffle.run(_number, to_number, engine, found.met)
    starts = np.cumsum([0, *(one.candidates for one in numbered)], dtype=np.int64)
    return Screened(
        starts,
        sum(one.characters for one in numbered),
        sum(one.met for one in numbered),
        tuple(one.numbers for one in numbered),
    )


@dataclass(frozen=True, slots=True)
class _Screen:
    number: int
    planes: tuple[Slice, ...]  # by group
    gone: tuple[Slice, ...]  # by group of the run
    asked: Sliced
    own: int  # groups of the run
    shared: bool
    needed: int
    store: Store


def _screen(task: _Screen) -> Sliced:
    """Write of each record that the partition asks after whether it met others and whether it stays, by group."""
    members, ends = shuffle.whole(task.store, f"buckets.{task.number}")
    found = Buckets(members, ends)
    counts = np.diff(task.asked.ends, prepend=0) // 4
    count, own = int(counts.sum()), int(counts[: task.own].sum())
    if task.shared:
        of = cluster.bucket_of(found)
        ours = np.bincount(of[members < own], minlength=len(ends))
        found = cluster.selected(found, ((ours > 0) & (ours < np.diff(ends, prepend=0)))[of])
    elif task.gone or own < count:
        left = members < own
        if task.gone:
            held = np.concatenate(shuffle.numbers(task.gone, task.store, "u1"))
            left[left] = held[members[left]] == 0
        found = cluster.merge([cluster.selected(found, left, 2)])
    flags = np.zeros(count, np.uint8)
    flags[found.members] |= _MET
    drawn = np.empty(sum(one.stop - one.start for one in task.planes) // 8, np.uint64)
    at = 0
    for one in task.planes:
        some = np.frombuffer(one.read(task.store), np.uint64)
        drawn[at : at + len(some)] = some
        at += len(some)
    if len(drawn):
        stays = cluster.plausible(found, drawn.reshape(count, -1), task.needed)
        flags[stays] |= _STAYS
    else:  # too few permutations to have planes
        flags[found.members] |= _STAYS
    with shuffle.slicing(task.store, f"left.{task.number}") as out:
        out.add(*shuffle.packed(found.members, found.ends))
    with shuffle.slicing(task.store, f"flags.{task.number}") as out:
        for mine in np.split(flags, np.cumsum(counts)[:-1]):
            out.add(mine)
    return out.done()


@dataclass(frozen=True, slots=True)
class _Number:
    group: Group
    asked: tuple[Slice, ...]  # by partition
    flags: tuple[Slice, ...]
    store: Store


class _Numbered(NamedTuple):
    numbers: Sliced  # by partition
    candidates: int
    characters: int
    met: int


def _number(task: _Number) -> _Numbered:
    """Number the group's candidates; tell each partition the numbers of the records that it asks after."""
    group = task.group
    found = np.zeros(group.records, np.uint8)
    asked = shuffle.numbers(task.asked, task.store)
    for rows, flags in zip(asked, shuffle.numbers(task.flags, task.store, "u1"), strict=True):
        found[rows] |= flags
    stays = (found & _STAYS) > 0
    rows = np.flatnonzero(stays)
    number = np.full(group.records, _NONE, np.uint32)
    number[rows] = np.arange(len(rows), dtype=np.uint32)
    with shuffle.slicing(task.store, f"numbers.{group.number}") as out:
        for one in asked:
            out.add(number[one])
    with shuffle.slicing(task.store, f"candidates.{group.number}") as all_of_them:
        all_of_them.add(rows.astype(np.uint32))
    characters = 0
    for part, mine in group.chosen(rows) if group.release < 0 else ():
        characters += int(part.table(["length"]).column("length").to_numpy()[mine].sum())
    return _Numbered(out.done(), len(rows), characters, int((found & _MET).sum(dtype=np.int64)))


class Entered(NamedTuple):
    """What the candidates are in."""

    entries: tuple[Sliced, ...]  # of each partition: by group, its candidates' numbers and then their buckets
    joined: tuple[str, ...]  # files with pairs of candidates that belong together


def enter(found: Nominated, screened: Screened, join: bool, engine: Engine) -> Entered:
    """Write, for each group, in which buckets its candidates are; buckets of one candidate are none."""
    tasks = [
        _Enter(number, shuffle.across(screened.numbered, number), screened.starts, join, found.store)
        for number in range(len(found.asked))
    ]
    entries = shuffle.run(_enter, tasks, engine, found.met)
    return Entered(tuple(entries), tuple(f"joined.{number}" for number in range(len(tasks)) if join))


@dataclass(frozen=True, slots=True)
class _Enter:
    number: int
    numbers: tuple[Slice, ...]  # by group
    starts: Ints  # of the groups' candidates
    join: bool
    store: Store


def _enter(task: _Enter) -> Sliced:
    members, ends = shuffle.whole(task.store, f"left.{task.number}")
    numbers = shuffle.numbers(task.numbers, task.store)
    firsts = np.cumsum([0, *map(len, numbers)])
    number = np.concatenate(numbers)
    found = cluster.selected(Buckets(members, ends), number[members] != _NONE, 2)
    group = np.searchsorted(firsts, found.members, "right") - 1
    order = np.argsort(group.astype(np.uint16 if len(numbers) < 2**16 else np.int64), kind="stable")
    candidates = number[found.members[order]]
    of = cluster.bucket_of(found)[order].astype(np.uint32)
    cuts = np.searchsorted(group[order], np.arange(len(numbers) + 1))
    with shuffle.slicing(task.store, f"entries.{task.number}") as out:
        for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            out.add(candidates[start:stop], of[start:stop])
    if task.join:
        every = number + np.repeat(task.starts[:-1], np.diff(firsts))
        with shuffle.slicing(task.store, f"joined.{task.number}") as pairs:
            pairs.add(_pairs(found, every))
    return out.done()


def _pairs(found: Buckets, number: Ints) -> Hashes:
    """Return pairs of numbers [p, 2] that join all members of each bucket: fewer than there are members."""
    from curate.kernels import buckets

    parents = np.arange(len(number))
    buckets.components(found.members.astype(np.int64), found.ends, parents)
    joined: npt.NDArray[np.int64] = np.flatnonzero(parents != np.arange(len(number)))
    return np.stack([number[joined], number[parents[joined]]], axis=1).astype(np.uint64)
