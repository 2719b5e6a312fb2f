"""Samples by threshold: of each stratum the records of the lowest ranks, as many as it may have.

A record's *key* is a number of 128 bits, in two halves. A stratum keeps all records whose key is at most its limit:
the largest limit that keeps no more than asked for. A larger target therefore keeps what a smaller one keeps, and
records of one key stay or go together. Limits are found by radix selection over the parts' sketches: each pass
fixes eight bits of every limit that is looked for, so that what a pass holds depends on the number of strata and not
on the number of records, until what is left to choose from is little enough to be sorted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.stage import Engine
from curate.stages.dedup import shuffle

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

LAST = 2**128 - 1
_WORD = 2**64 - 1
_DIGITS = 16  # of eight bits, in a key
COLLECTED = 1 << 18  # records that may be sorted together, over all strata; any number gives the same limits


class Keys(NamedTuple):
    """Records of one part: their keys, what each counts for, and their stratum."""

    high: Words  # [n]
    low: Words  # [n]
    amount: Ints  # [n]
    strata: pa.DictionaryArray  # [n]


@dataclass(frozen=True, slots=True)
class Rule:
    """Limits of one dimension. Its strata are groups; those that it does not name make one, where it says so."""

    by: str  # dimension
    reason: str
    limits: Mapping[
        str, int
    ]  # stratum → the last key that stays, -1: none; strata that are not there stay whole
    named: frozenset[str] | None = None  # None: every group is a stratum
    asked: Mapping[str, int] | None = None  # stratum → how much it may have

    def strata(self, groups: pa.StringArray) -> pa.DictionaryArray:
        """Return the stratum of each record [n]."""
        return strata(groups, self.named)

    def stays(self, coded: pa.DictionaryArray, high: Words, low: Words) -> Mask:
        """Return which records [n] stay."""
        ends = [self.limits.get(name, LAST) for name in coded.dictionary.to_pylist()]
        return at_most(high, low, ends, coded.indices.to_numpy(zero_copy_only=False))


OTHERS = "*"  # in options and summaries: the groups that are not named


def strata(groups: pa.StringArray, named: frozenset[str] | None) -> pa.DictionaryArray:
    """Return the stratum of each record [n]: its group, or OTHERS for one that is not named."""
    coded = groups.dictionary_encode()
    if named is None:
        return coded
    names = [name if name in named else OTHERS for name in coded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(coded.indices).dictionary_encode()


def at_most(high: Words, low: Words, ends: Sequence[int], which: Ints) -> Mask:
    """Return which keys [n] are at most the end of their stratum; -1 is below all."""
    if not ends:
        return np.ones(len(high), bool)
    ends_high = np.array([max(end, 0) >> 64 for end in ends], np.uint64)[which]
    ends_low = np.array([max(end, 0) & _WORD for end in ends], np.uint64)[which]
    none = np.array([end < 0 for end in ends])[which]
    found: Mask = ((high < ends_high) | ((high == ends_high) & (low <= ends_low))) & ~none
    return found


class Reader(Protocol):
    """What makes keys of a part's sketches. Picklable."""

    def keys(self, part: Any) -> Keys:
        """Return the keys of the part's records that are to be chosen from."""
        ...


class Chosen(NamedTuple):
    """What becomes of a stratum."""

    last: int  # key that stays; -1: none
    records: int
    amount: int


@dataclass
class _Search:
    """The search for one stratum's limit: among the keys from ``first`` on that share its first ``depth`` digits."""

    first: int
    room: int  # what may still stay of these
    records: int  # how many these are
    before: Chosen  # what stays for certain

    def narrowed(self, counts: Ints, amounts: Ints, depth: int) -> None:
        ends = np.cumsum(amounts)
        digit = int(np.searchsorted(ends, self.room, "right"))  # the first whose keys do not all fit
        fits = int(ends[digit - 1]) if digit else 0
        kept = int(counts[:digit].sum())
        self.first |= digit << 8 * (_DIGITS - 1 - depth)
        self.before = Chosen(self.first - 1, self.before.records + kept, self.before.amount + fits)
        self.room -= fits
        self.records = int(counts[digit])


@dataclass(frozen=True)
class _Pass:
    """What one task looks at: a part, and the keys in play (first, last) by stratum."""

    part: Any
    reader: Reader
    ranges: Mapping[str, tuple[int, int]]
    depth: int = 0


def totals(parts: Sequence[Any], reader: Reader, engine: Engine, work: int) -> dict[str, tuple[int, int]]:
    """Return records and amount of each stratum, by name."""
    found: dict[str, tuple[int, int]] = {}
    for one in shuffle.run(_totals, [_Pass(part, reader, {}) for part in parts], engine, work):
        for name, (records, amount) in one.items():
            held = found.get(name, (0, 0))
            found[name] = (held[0] + records, held[1] + amount)
    return dict(sorted(found.items()))


def _totals(task: _Pass) -> dict[str, tuple[int, int]]:
    keys = task.reader.keys(task.part)
    names, which = _coded(keys.strata)
    records = np.bincount(which, minlength=len(names))
    amounts = _sums(which, keys.amount, len(names))
    return {name: (int(n), int(a)) for name, n, a in zip(names, records, amounts, strict=True) if n}


def select(
    parts: Sequence[Any],
    reader: Reader,
    targets: Mapping[str, int],
    held: Mapping[str, tuple[int, int]],
    engine: Engine,
    work: int,
    collected: int = COLLECTED,
) -> dict[str, Chosen]:
    """Return what stays of each stratum of ``targets``: as much as fits in its target, lowest keys first.

    held: records and amount of each stratum (:func:`totals`); one that fits whole is not looked at.
    """
    found = {name: Chosen(LAST, *held[name]) for name in targets if held[name][1] <= targets[name]}
    searches = {
        name: _Search(0, targets[name], held[name][0], Chosen(-1, 0, 0))
        for name in sorted(targets)
        if name not in found
    }
    for depth in range(_DIGITS):
        if not searches or sum(search.records for search in searches.values()) <= collected:
            break
        for name, (counts, amounts) in _histograms(parts, reader, searches, depth, engine, work).items():
            searches[name].narrowed(counts, amounts, depth)
    else:
        depth = _DIGITS
    if searches and depth < _DIGITS:
        for name, (keys, amounts) in _rest(parts, reader, searches, depth, engine, work).items():
            found[name] = _cut(searches[name], keys, amounts)
        searches = {}
    return {**found, **{name: search.before for name, search in searches.items()}}


def _ranges(searches: Mapping[str, _Search], depth: int) -> dict[str, tuple[int, int]]:
    width = 1 << 8 * (_DIGITS - depth)
    return {name: (search.first, search.first + width - 1) for name, search in searches.items()}


def _histograms(
    parts: Sequence[Any],
    reader: Reader,
    searches: Mapping[str, _Search],
    depth: int,
    engine: Engine,
    work: int,
) -> dict[str, tuple[Ints, Ints]]:
    tasks = [_Pass(part, reader, _ranges(searches, depth), depth) for part in parts]
    counts = np.zeros((len(searches), 256), np.int64)
    amounts = np.zeros_like(counts)
    for mine, sums in shuffle.run(_histogram, tasks, engine, work):
        counts += mine
        amounts += sums
    return {name: (counts[at], amounts[at]) for at, name in enumerate(searches)}


def _histogram(task: _Pass) -> tuple[Ints, Ints]:
    which, high, low, amount = _in_play(task)
    word, shift = (high, 56 - 8 * task.depth) if task.depth < 8 else (low, 56 - 8 * (task.depth - 8))
    digit = ((word >> np.uint64(shift)) & np.uint64(255)).astype(np.int64)
    cell, size = which * 256 + digit, len(task.ranges) * 256
    return np.bincount(cell, minlength=size).reshape(-1, 256), _sums(cell, amount, size).reshape(-1, 256)


def _rest(
    parts: Sequence[Any],
    reader: Reader,
    searches: Mapping[str, _Search],
    depth: int,
    engine: Engine,
    work: int,
) -> dict[str, tuple[npt.NDArray[Any], Ints]]:
    tasks = [_Pass(part, reader, _ranges(searches, depth), depth) for part in parts]
    found = shuffle.run(_in_play, tasks, engine, work)
    which, high, low, amount = (np.concatenate([one[k] for one in found]) for k in range(4))
    order = np.lexsort((low, high, which))
    which, keys, amount = which[order], np.column_stack([high, low])[order], amount[order]
    ends = np.searchsorted(which, np.arange(len(searches) + 1))
    return {
        name: (keys[ends[at] : ends[at + 1]], amount[ends[at] : ends[at + 1]])
        for at, name in enumerate(searches)
    }


def _cut(search: _Search, keys: npt.NDArray[Any], amounts: Ints) -> Chosen:
    """Return the limit among keys [n, 2] in order: the last one with which all up to it fit."""
    is_last = np.append(np.any(keys[1:] != keys[:-1], axis=1), True)
    ends = np.cumsum(amounts)
    fitting = np.flatnonzero(is_last & (ends <= search.room))
    if not len(fitting):
        return search.before
    at = int(fitting[-1])
    key = (int(keys[at, 0]) << 64) | int(keys[at, 1])
    return Chosen(key, search.before.records + at + 1, search.before.amount + int(ends[at]))


def _in_play(task: _Pass) -> tuple[Ints, Words, Words, Ints]:
    """Return stratum (its place in ``ranges``), key and amount of the part's records that are in play."""
    keys = task.reader.keys(task.part)
    names, which = _coded(keys.strata)
    known = {name: place for place, name in enumerate(task.ranges)}
    place = np.array([known.get(name, -1) for name in names], np.int64)
    bounds = [task.ranges.get(name, (0, -1)) for name in names]
    inside = at_most(keys.high, keys.low, [last for _, last in bounds], which)
    inside &= ~at_most(keys.high, keys.low, [first - 1 for first, _ in bounds], which)
    inside &= (place[which] >= 0) if len(names) else True
    return (
        (place[which] if len(names) else which)[inside],
        keys.high[inside],
        keys.low[inside],
        keys.amount[inside],
    )


def _coded(column: pa.DictionaryArray) -> tuple[list[str], Ints]:
    return column.dictionary.to_pylist(), column.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _sums(which: Ints, amounts: Ints, size: int) -> Ints:
    """Add whole numbers up by place: exact up to 2^53, as floats hold every whole number below (IEEE 754)."""
    return np.bincount(which, amounts, size).astype(np.int64)
