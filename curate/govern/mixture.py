"""What a release is a mixture of, before and after every stage: counted from records/, data/ and removed/.

By source, license class, language and task (:mod:`curate.stages.mixing.groups`), in records and in bytes of content
(UTF-8; of edited records as they are at last). A record that a stage removed before its language or task was told is
in no group, so these are counted from the stage on that tells them. Records that a suppression list took out stand in
no table and are not counted.

A *shift* is how far a stage moved a mixture: the total variation distance between the shares of records before and
after it, half the sum of their absolute differences. Removing records at random moves shares, too. ``by_chance`` is
what so many records removed at random from these exceed with a chance of at most 0.1 %, whatever the shares. With m
removed of N and n = N - m left, TV changes by at most 1/n if one removed record changes places with one that stays,
so by the concentration inequality for sampling without replacement of El-Yaniv and Pechyony (2009, Transductive
Rademacher Complexity and its Applications, JAIR 35, lemma 2)

    P(TV >= E TV + t) <= exp(-2 t² n (N - 1/2) / m · (1 - 1 / (2 max(m, n)))),

and E TV <= 1/2 Σ sqrt(p (1 - p) m / (n (N - 1))), the groups' hypergeometric standard deviations (Jensen).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.govern import contents
from curate.stages.mixing.groups import DIMENSIONS, NONE, STATED_BY, UNKNOWN, license_class
from curate.unit import READ

LISTED = 12  # groups of a dimension that are told by name; the rest is told as one
CHANCE = 1e-3


def measure(
    folder: Path, recipe: Mapping[str, Any], memory: int, listed: int | None = LISTED
) -> dict[str, Any]:
    """Return the manifest's part ``mixture``. recipe: resolved. Holds a row group at a time, and the groups.

    listed: groups of a dimension that are told by name; null for all.
    ``dimensions``: of each the groups, and of a group ``records`` and ``bytes`` as they enter each of ``stages``, and
    at last in the release; null where they cannot be told. ``shifts``: of each stage that removed records.
    """
    order = [READ, *(stage["name"] for stage in recipe["stages"])]
    counts = _Counts(order, license_is_judged="license" in order)
    for records, sizes in contents.kept(folder):
        counts.add(records, pa.repeat(pa.scalar(len(order)), records.num_rows), sizes)
    for removed, sizes in contents.removed(folder):
        stages = pc.index_in(removed.column("stage"), pa.array(order))
        counts.add(removed, stages, sizes)
    dimensions: list[dict[str, Any]] = []
    shifts: list[dict[str, Any]] = []
    for dimension in DIMENSIONS:
        start = counts.known_from(dimension)
        if start is None:
            continue
        table = counts.entering(dimension, start)
        dimensions.append(_told(dimension, order, start, table, counts.has_bytes, listed))
        shifts += _shifts(dimension, order, start, {name: held[0] for name, held in table.items()})
    return {"stages": order, "dimensions": dimensions, "shifts": shifts}


@dataclass
class _Counts:
    """Records and bytes by the place where they ended, dimension and group."""

    order: Sequence[str]
    license_is_judged: bool
    has_bytes: bool = True
    held: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})
    told: dict[str, set[int]] = field(default_factory=lambda: {name: set() for name in DIMENSIONS})

    def add(self, table: pa.Table, ends: pa.Array, sizes: Any) -> None:
        """Count records. ends: the places of the stages that removed them [n]; behind the last for the kept."""
        places = ends.to_numpy(zero_copy_only=False).astype(np.int64)
        self.has_bytes &= sizes is not None
        nbytes = np.zeros(len(places), np.int64) if sizes is None else sizes
        for dimension in DIMENSIONS:
            names, which = self._groups(table, dimension, places)
            cell = places * len(names) + which
            found, at = np.unique(cell, return_inverse=True)
            records, amounts = np.bincount(at), np.bincount(at, nbytes)
            for one, n, amount in zip(found.tolist(), records.tolist(), amounts.tolist(), strict=True):
                row = self.held[dimension].setdefault(
                    names[one % len(names)], np.zeros((2, len(self.order) + 1), np.int64)
                )
                row[:, one // len(names)] += (n, int(amount))

    def _groups(self, table: pa.Table, dimension: str, places: Any) -> tuple[list[str], Any]:
        """Return names of groups, and which of them each record is in [n]."""
        judged = self.license_is_judged or "license" not in table.column_names
        column = {"license": "license_concluded" if judged else "license"}.get(dimension, dimension)
        values = table.column(column).combine_chunks()
        coded = values.cast(pa.string()).dictionary_encode()
        names = coded.dictionary.to_pylist()
        self.told[dimension] |= set(places[values.is_valid().to_numpy(zero_copy_only=False)].tolist())
        if dimension == "license":
            names = [license_class(name) for name in names]
        missing = UNKNOWN if dimension == "license" else NONE
        which = pc.fill_null(coded.indices, len(names)).to_numpy(zero_copy_only=False).astype(np.int64)
        return [*names, missing], which

    def known_from(self, dimension: str) -> int | None:
        """Return the place of the stage from which on every record has a group; None where none is ever told."""
        if dimension == "source":
            return 0
        stage = STATED_BY[dimension]
        if stage in self.order:
            return list(self.order).index(stage)
        if dimension == "license":
            return min(1, len(self.order) - 1)
        places = self.told[dimension]
        return min(*places, len(self.order) - 1) if places else None

    def entering(self, dimension: str, start: int) -> dict[str, Any]:
        """Return each group's records and bytes as they enter each stage from ``start`` on, and at last."""
        found = {}
        for name, ends in sorted(self.held[dimension].items()):
            table = np.flip(np.cumsum(np.flip(ends, axis=1), axis=1), axis=1)
            if table[0, start]:
                found[name] = table
        return found


def _told(
    dimension: str, order: Sequence[str], start: int, table: Mapping[str, Any], has_bytes: bool,
    listed: int | None = LISTED,
) -> dict[str, Any]:  # fmt: skip
    """Return a dimension as the manifest holds it: its largest groups by name, the rest as one."""
    ordered = sorted(table, key=lambda name: (-int(table[name][0, start]), name))

    def line(names: Sequence[str]) -> dict[str, Any]:
        whole = sum((table[name] for name in names), np.zeros((2, len(order) + 1), np.int64))
        unknown = [None] * start
        records, nbytes = ([*unknown, *row[start:].tolist()] for row in whole)
        return {"records": records, "bytes": nbytes if has_bytes else None}

    named = ordered[:listed]
    rest = ordered[len(named) :]
    return {
        "dimension": dimension,
        "known_from": order[start],
        "groups": [{"group": name, **line([name])} for name in named],
        "others": {"groups": len(rest), **line(rest)} if rest else None,
        "all": line(ordered),
    }


def _shifts(
    dimension: str, order: Sequence[str], start: int, table: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    for place in range(start, len(order)):
        before = {name: int(row[place]) for name, row in table.items()}
        after = {name: int(row[place + 1]) for name, row in table.items()}
        if sum(after.values()) in (0, sum(before.values())):
            continue
        yield {"stage": order[place], "dimension": dimension, **shift(before, after)}


def shift(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, Any]:
    """Return how far a stage moved the shares of groups, from records before and after it; neither may be empty.

    ``group`` is the one whose share changed most; ``before`` and ``after`` are its records.
    """
    whole, left = sum(before.values()), sum(after.values())
    moved = {name: after[name] * whole - before[name] * left for name in before}  # of whole * left
    most = min(moved, key=lambda name: (-abs(moved[name]), name))
    return {
        "seen": whole,
        "kept": left,
        "shift": round(sum(map(abs, moved.values())) / (2 * whole * left), 6),
        "by_chance": round(by_chance(before.values(), left), 6),
        "group": most,
        "before": before[most],
        "after": after[most],
    }


def by_chance(before: Iterable[int], left: int) -> float:
    """Return the shift that is exceeded with a chance of at most CHANCE where ``left`` records stay at random.

    before: records of each group. At most 1; the module's docstring has the bound.
    """
    counts = sorted(before)
    whole = sum(counts)
    gone = whole - left
    if not gone or not left or whole < 2:
        return 0.0
    spread = gone / (left * (whole - 1))
    expected = 0.5 * math.fsum(math.sqrt(n / whole * (1 - n / whole) * spread) for n in counts)
    exponent = 2 * left * (whole - 0.5) / gone * (1 - 1 / (2 * max(gone, left)))
    return min(1.0, expected + math.sqrt(math.log(1 / CHANCE) / exponent))


def after_erasing(before: Mapping[str, Any] | None, found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the mixture of a release that kept no removed/, after records were erased from it.

    before: as its manifest had it; null for one of an earlier version. found: as its tables give it now, every group
    by name, without what stages removed. What entered a stage is less by what was erased; the shifts are those of
    the run.
    """
    if before is None:
        return found
    now = {
        (one["dimension"], group["group"]): group for one in found["dimensions"] for group in one["groups"]
    }
    totals = {one["dimension"]: one["all"] for one in found["dimensions"]}

    def less(row: Mapping[str, Any], end: Mapping[str, Any] | None) -> dict[str, Any]:
        made = dict(row)
        for key in ("records", "bytes"):
            if row[key] is not None:
                gone = row[key][-1] - (end[key][-1] if end is not None and end[key] is not None else 0)
                made[key] = [None if n is None else n - gone for n in row[key]]
        return made

    dimensions = []
    for one in before["dimensions"]:
        groups = [less(row, now.get((one["dimension"], row["group"]))) for row in one["groups"]]
        whole = less(one["all"], totals.get(one["dimension"]))
        others = one["others"]
        if others is not None:  # what is left of all
            others = {
                **others,
                **{key: _rest(whole[key], [row[key] for row in groups]) for key in ("records", "bytes")},
            }
        dimensions.append({**one, "groups": groups, "others": others, "all": whole})
    return {**before, "dimensions": dimensions}


def _rest(
    whole: list[int | None] | None, parts: Sequence[list[int | None] | None]
) -> list[int | None] | None:
    if whole is None:
        return None
    return [
        None if n is None else n - sum((part or [])[at] or 0 for part in parts) for at, n in enumerate(whole)
    ]
