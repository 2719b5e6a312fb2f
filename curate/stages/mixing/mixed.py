"""The stage that ``mix`` resolves to, and how it sees records: as they are judged, and as sketches of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from curate.record import Batch
from curate.stage import Decision, Verdict
from curate.stages.mixing import ranks
from curate.stages.mixing import sides as _sides
from curate.stages.mixing.groups import groups
from curate.stages.mixing.selecting import Keys, Mask, Reader, Rule, Words
from curate.stages.mixing.sides import Links, Staying

TRAIN = "train"  # the split of records that are in no other
ALL = "all"  # the dimension of a rule on all records together, and its only group
WORD = 2**64


def column_of(by: str) -> str:
    """Return the column of the sketches that holds a dimension's groups."""
    return by if by == "source" else f"by_{by}"


def _groups_of(table: pa.Table, by: str) -> pa.StringArray:
    if by == ALL:
        return pa.repeat(pa.scalar(ALL), table.num_rows)
    return table.column(column_of(by)).combine_chunks()


def _staying(table: pa.Table, rules: Sequence[Rule], high: Words, low: Words) -> Mask:
    stays = np.ones(table.num_rows, bool)
    for rule in rules:
        stays &= rule.stays(rule.strata(_groups_of(table, rule.by)), high, low)
    return stays


@dataclass(frozen=True)
class Records(Reader, Staying):
    """Records by their keys, those that the rules leave, in the strata of one more rule."""

    rules: tuple[Rule, ...]
    by: str = ALL
    named: frozenset[str] | None = None
    counts_bytes: bool = False

    def _table(self, part: Any) -> pa.Table:
        wanted = {column_of(by) for by in (self.by, *(rule.by for rule in self.rules)) if by != ALL}
        return part.table(["high", "low", *sorted(wanted), *(["bytes"] if self.counts_bytes else [])])

    def keys(self, part: Any) -> Keys:
        """Return what the rules leave."""
        table = self._table(part)
        high, low = (table.column(name).to_numpy() for name in ("high", "low"))
        stays = np.flatnonzero(_staying(table, self.rules, high, low))
        rows = table.take(pa.array(stays))
        amount = rows.column("bytes").to_numpy() if self.counts_bytes else np.ones(len(stays), np.int64)
        asking = Rule(self.by, "", {}, self.named)
        return Keys(high[stays], low[stays], amount, asking.strata(_groups_of(rows, self.by)))

    def stays(self, part: Any) -> Mask:
        """Return which records the rules leave."""
        table = self._table(part)
        high, low = (table.column(name).to_numpy() for name in ("high", "low"))
        return _staying(table, self.rules, high, low)


@dataclass(frozen=True)
class Sides(Reader):
    """The same records by the place of their side, from the first that is still free; one stratum."""

    records: Records
    links: Links
    seed: int
    first: int

    def keys(self, part: Any) -> Keys:
        """Return what stays and is in no split yet."""
        stays = self.records.stays(part)
        side = places(self.links, part.table(["prompt"]).column("prompt").to_numpy()[stays], self.seed)
        free = side[side >= np.uint64(self.first)] if self.first < WORD else side[:0]
        strata = pa.repeat(pa.scalar(ALL), len(free)).dictionary_encode()
        return Keys(free, np.zeros(len(free), np.uint64), np.ones(len(free), np.int64), strata)


def places(links: Links, prompts: Words, seed: int) -> Words:
    """Return the place of each record's side among all sides [n]: splits are stretches of it."""
    return ranks.mixed(links.of(prompts), f"split/{seed}")


@dataclass(frozen=True)
class Split:
    """A stretch of places."""

    name: str
    last: int  # place; the first is behind the split before


@dataclass
class Mixed:
    """What ``mix`` resolves to: limits by group, and the places of the splits."""

    name: str
    seed: int
    rules: tuple[Rule, ...]
    splits: tuple[Split, ...] = ()
    links: Links = field(default_factory=Links)
    findings: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)

    def judge(self, batch: Batch) -> Verdict:
        """Drop what is over a limit; state the split of what stays."""
        high, low = ranks.keys(batch, self.seed)
        stays = np.ones(batch.num_rows, bool)
        decisions: list[Decision] = []
        for rule in self.rules:
            of = pa.repeat(pa.scalar(ALL), batch.num_rows) if rule.by == ALL else groups(batch, rule.by)  # type: ignore[arg-type]
            gone = stays & ~rule.stays(rule.strata(of), high, low)
            stays &= ~gone
            decisions += self._decisions(rule, of, np.flatnonzero(gone), high)
        facts = None
        if self.splits:
            side = places(self.links, _sides.prompts(batch), self.seed)
            facts = pa.record_batch({"split": pa.array(self._split(side), pa.string(), mask=~stays)})
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _decisions(self, rule: Rule, of: pa.StringArray, rows: Any, high: Words) -> Iterator[Decision]:
        for row, group in zip(rows.tolist(), of.take(pa.array(rows)).to_pylist(), strict=True):
            evidence = {"by": rule.by, "group": group, "rank": f"{int(high[row]):016x}"}
            yield Decision(row, "drop", rule.reason, None, evidence)

    def _split(self, places: Words) -> Any:
        names = np.array([*(split.name for split in self.splits), TRAIN], object)
        ends = np.array([split.last for split in self.splits], object)
        found = np.full(len(places), len(ends))
        for number in range(len(ends) - 1, -1, -1):
            if ends[number] >= 0:
                found[places <= np.uint64(ends[number])] = number
        return names[found]
