"""Which records are held out and which are trained on: whole clusters of duplicates, in the order of a hash.

A *group* is a connected component over everything that says that two records are duplicates: the clusters that
the release's stages stated, the ``kept_id`` of drops, and content that is equal once normalised. Held-out and
trained records never share a group, and a sample keeps the duplicates that a filter is there to find.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.errors import IntegrityError
from curate.handoff.shards import TRAIN
from curate.tuning.contract import Ints
from curate.tuning.records import Register

LARGEST = 20
"""A group of more than 1 / LARGEST of a sample would decide what the rest of it is: such groups together take their
share of the release, and no more than this of each. And no group with more than 1 / LARGEST of the wanted items, or
eight, is held out: all of it would be missing from training."""
_AS_NAMED: dict[str, Any] = {"glob": False, "hive_partitioning": False}  # a path may hold [, * or key=value
MOST = 0.2  # of the different contents of a release that may be held out


def draw(*parts: object) -> bytes:
    """Return 16 bytes that are random but for the parts: what every choice is ordered by."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).digest()


@dataclass(frozen=True)
class Groups:
    """Which records belong together. Records go by their number in the register."""

    of: Ints  # [n] the group of each record: the number of its first record
    members: dict[int, Ints]  # group → its records, ascending
    kept: frozenset[int]  # records that stood for another one at some stage
    stands_for: dict[int, list[int]]  # record that was dropped → the records that stood for it


def group(out: Path, register: Register) -> Groups:
    """Return the groups of a release. Raises IntegrityError for a cluster of records that are not there."""
    number = {key: at for at, key in enumerate(register.keys)}
    labels: list[tuple[Ints, Ints]] = [
        (np.arange(len(register)), _codes(register.frame[name])) for name in ("normal", "sha256")
    ]
    kept: set[int] = set()
    stands_for: dict[int, list[int]] = {}
    stated: set[str] = set()
    if shards := sorted((out / "clusters").glob("part-*.parquet")):
        table = pl.read_parquet(
            shards, columns=["stage", "cluster", "source", "locator", "kept"], **_AS_NAMED
        )
        stated = set(table["stage"].unique())
        names = (f"{source} {locator}" for source, locator in table["source", "locator"].iter_rows())
        try:
            records = np.fromiter((number[name] for name in names), np.int64, table.height)
        except KeyError:
            raise IntegrityError(
                f"{out}: clusters/ names a record that the release does not have; curate verify says more"
            ) from None
        labels.append(
            (records, _codes(table.select(pl.concat_str("stage", "cluster", separator=" "))["stage"]))
        )
        first = {code: at for at, code, own in zip(records.tolist(), labels[-1][1].tolist(), table["kept"], strict=True)
                 if own}  # fmt: skip
        kept |= set(first.values())
        for at, code, own in zip(records.tolist(), labels[-1][1].tolist(), table["kept"], strict=True):
            if not own and code in first:
                stands_for.setdefault(at, []).append(first[code])
    pairs = list(_told(out, register, stated))
    labels.append((np.array(pairs, np.int64).ravel(), np.repeat(np.arange(len(pairs)), 2)))
    for dropped, by in pairs:
        kept.add(by)
        stands_for.setdefault(dropped, []).append(by)
    of = connected(len(register), labels)
    order = np.argsort(of, kind="stable")
    starts = np.flatnonzero(np.diff(of[order], prepend=-1))
    members = {int(of[part[0]]): part for part in np.split(order, starts[1:]) if len(part)}
    return Groups(of, members, frozenset(kept), stands_for)


def _codes(values: pl.Series) -> Ints:
    codes: Ints = values.rank("dense").to_numpy().astype(np.int64)
    return codes


def _told(out: Path, register: Register, stated: set[str]) -> Iterator[tuple[int, int]]:
    """Yield the pairs of dropped and kept record that the ledger names for stages without clusters of their own."""
    paths = sorted((out / "ledger").glob("part-*.parquet"))
    lines = pl.scan_parquet(paths, **_AS_NAMED).filter(
        pl.col("kept_id").is_not_null(), ~pl.col("stage").is_in(list(stated))
    )
    pairs = lines.select("id", "kept_id").collect()
    if not pairs.height:
        return
    wanted = set(pairs["id"]) | set(pairs["kept_id"])
    by_id: dict[str, list[int]] = {}
    for at, name in enumerate(register.frame["id"]):
        if name in wanted:
            by_id.setdefault(name, []).append(at)
    for one, other in pairs.iter_rows():
        for dropped in by_id.get(one, ()):  # ids need not be unique: then all that have it belong together
            yield from ((dropped, by) for by in by_id.get(other, ()) if by != dropped)


def connected(n: int, labels: Sequence[tuple[Ints, Ints]]) -> Ints:
    """Return the least member of each record's component [n]: records that share a label are connected.

    labels: pairs of records and their labels, of equal length; a label means something within its pair only.
    """
    of = np.arange(n)
    while True:
        before = of.copy()
        for records, codes in labels:
            least = np.full(int(codes.max(initial=0)) + 1, n)
            np.minimum.at(least, codes, of[records])
            np.minimum.at(of, records, least[codes])
        of = of[of]  # a record's least is nearer to the component's
        if np.array_equal(of, before):
            return of


@dataclass(frozen=True)
class Choice:
    """Records by number, ascending."""

    held: Ints
    pool: Ints
    sampled: bool  # the pool is a part of what is left
    apart: Ints  # that the release keeps in another split than train: in no pool, held out or not
    notes: tuple[str, ...]


def choose(
    register: Register, groups: Groups, *, heldout: int, nbytes: int, longest: int | None = None
) -> Choice:
    """Hold out whole groups until ``heldout`` different contents are there; of the rest, take ``nbytes`` of content.

    longest: bytes of a response; records with a longer one count for nothing.
    """
    keys = register.keys
    names = {first: min(keys[at] for at in records) for first, records in groups.members.items()}
    notes: list[str] = []
    held = _held(register, groups, names, heldout, longest, notes)
    gone = set(held)
    apart = np.flatnonzero(register.frame["split"].fill_null(TRAIN).to_numpy() != TRAIN)
    gone |= set(groups.of[apart].tolist())
    rest = [first for first in groups.members if first not in gone]
    if len(apart):
        names_of = ", ".join(sorted(set(register.frame["split"].drop_nulls()) - {TRAIN}))
        notes.append(
            f"{len(apart):,} records that the release keeps apart from training ({names_of}) are in no arm, nor are "
            "duplicates of them; they are held out like any others"
        )
    pool, sampled = _pool(register, groups, names, keys, rest, nbytes, longest, notes)
    reserved = np.sort(np.concatenate([groups.members[first] for first in held] or [np.empty(0, np.int64)]))
    return Choice(reserved.astype(np.int64), pool, sampled, apart, tuple(notes))


def _usable(register: Register, longest: int | None) -> Any:
    """Return which records can be trained on, and asked about [n]."""
    trainable = register.column("trainable")
    return trainable if longest is None else trainable & (register.column("answer") <= longest)


def _held(
    register: Register,
    groups: Groups,
    names: dict[int, str],
    wanted: int,
    longest: int | None,
    notes: list[str],
) -> list[int]:
    trainable, normal = _usable(register, longest), register.column("normal")
    contents = len(np.unique(normal[trainable]))
    most = int(contents * MOST)
    if wanted > most:
        notes.append(
            f"{most:,} items are held out, not {wanted:,}: a fifth of the {contents:,} different records"
        )
        wanted = most
    largest = max(8, wanted // LARGEST)
    chosen, items = [], 0
    for first in sorted(groups.members, key=lambda one: draw("held out", names[one])):
        if items >= wanted:
            break
        mine = groups.members[first]
        mine = mine[trainable[mine]]
        count = len(np.unique(normal[mine]))
        if count and count <= largest and len(mine) <= largest:
            chosen.append(first)
            items += count
    return chosen


def _pool(
    register: Register, groups: Groups, names: dict[int, str], keys: list[str], rest: list[int], nbytes: int,
    longest: int | None, notes: list[str],
) -> tuple[Ints, bool]:  # fmt: skip
    sizes = np.where(_usable(register, longest), register.column("bytes"), 0)
    weights = {first: int(sizes[groups.members[first]].sum()) for first in rest}
    total = sum(weights.values())
    if total <= nbytes:
        whole = [groups.members[first] for first in rest] or [np.empty(0, np.int64)]
        return np.sort(np.concatenate(whole)).astype(np.int64), False
    most = nbytes // LARGEST
    order = sorted((first for first in rest if weights[first]), key=lambda one: draw("pool", names[one]))
    large = [first for first in order if weights[first] > most]
    taken, used = [], 0
    wanted = nbytes * sum(weights[first] for first in large) // total  # their share of the release
    for first in large:
        if used >= wanted:
            break
        share = max(most, weights[first] * nbytes // total)
        taken.append(_part(groups.members[first], sizes, min(share, wanted - used), keys, groups))
        used += int(sizes[taken[-1]].sum())
    for first in (first for first in order if weights[first] <= most):
        if used >= nbytes:
            break
        taken.append(groups.members[first])
        used += weights[first]
    if large:
        notes.append(
            f"{len(large)} groups of duplicates are each larger than a twentieth of the sample; together they have the "
            "share of it that they have of the release: of some of them, records drawn by a hash, and those that stand "
            "for these"
        )
    return np.sort(np.concatenate(taken)).astype(np.int64), True


def _part(mine: Ints, sizes: Ints, most: int, keys: list[str], groups: Groups) -> Ints:
    """Return records of a large group, in the order of a hash, with those that stood for them."""
    taken: set[int] = set()
    used = 0
    for at in sorted(mine.tolist(), key=lambda one: draw("part", keys[one])):
        waiting = [at]
        while waiting:
            one = waiting.pop()
            if one not in taken:
                taken.add(one)
                used += int(sizes[one])
                waiting += groups.stands_for.get(one, [])
        if used >= most:
            break
    return np.array(sorted(taken), np.int64)
