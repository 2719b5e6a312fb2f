"""The manifest's part ``representation``: groups that records mention, before and after each stage that removes any.

What a group is, and what its counts do not say, stands in rules/representation.yaml. A stage is compared with blind
removal, source by source (curate.govern.ratios). It is told as a finding where records that mention a group are
removed MATERIAL times as often as others, in LEAST records at least, and so often that chance would do it in one
release of twenty for any of all the groups and stages together (Holm). Not all that is told is wrong: a filter that
looks for a language removes its country's name, too. It is what a person should know before trusting the filter.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate import rules
from curate.govern.holm import holm
from curate.govern.ratios import Stratum, compare, rounded
from curate.ledger import query

if TYPE_CHECKING:
    import duckdb

LEVEL = 0.05  # chance of any false alarm in a release
MATERIAL = (
    1.25  # risk ratio from which a difference is told: the inverse of the four-fifths rule (29 CFR 1607.4 D)
)
LEAST = 10  # removed records that mention the group
_NAMED = 5  # groups that a finding names


def measure(connection: duckdb.DuckDBPyConnection, stages: Sequence[str]) -> dict[str, Any]:
    """Return the part. connection: has the view ``told``; stages: those after the stage ``profile``, in order.

    Per stage and group: records that mention it, and others, seen and removed; the risk ratio within sources, its
    95 % interval, the one-sided p-value, and that adjusted for all of the part; ``told`` where it is a finding.
    """
    left = _Counts(query(connection, _RECORDS), query(connection, _MENTIONS))
    whole = left.totals()
    kept = {row["group"]: row["records"] for row in query(connection, _KEPT)}
    found = []
    for stage in stages:
        gone = left.of(stage)
        if gone.records:
            found.append(_stage(stage, left, gone))
            left.take(stage)
    tests = [test for one in found for test in one["groups"]]
    for test, adjusted in zip(tests, map(rounded, holm([test["p"] for test in tests])), strict=True):
        test["adjusted"] = adjusted
        is_more = test["ratio"] is None or test["ratio"] > MATERIAL
        test["told"] = is_more and adjusted <= LEVEL and test["removed"] >= LEAST
    return {
        "level": LEVEL,
        "material": MATERIAL,
        "least": LEAST,
        "groups": [
            {"group": group, "before": whole[group], "after": kept.get(group, 0)}
            for group in groups()
            if whole.get(group)
        ],
        "stages": found,
    }


def groups() -> list[str]:
    """Return the names of the groups, in the rule pack's order."""
    return [rule.id for rule in rules.load("representation").rules]


class _Counts:
    """Records by source, and by source and group: those that are left, and those that each stage removes."""

    def __init__(self, records: Sequence[Mapping[str, Any]], mentions: Sequence[Mapping[str, Any]]) -> None:
        self._removed: dict[str | None, _Gone] = defaultdict(_Gone)
        for row in records:
            self._removed[row["stage"]].sources[row["source"]] = row["records"]
        for row in mentions:
            self._removed[row["stage"]].groups[row["group"], row["source"]] = row["records"]
        self.sources: dict[str, int] = defaultdict(int)
        self.groups: dict[tuple[str, str], int] = defaultdict(int)
        for gone in self._removed.values():
            for source, count in gone.sources.items():
                self.sources[source] += count
            for key, count in gone.groups.items():
                self.groups[key] += count

    def totals(self) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for (group, _), count in self.groups.items():
            found[group] += count
        return found

    def of(self, stage: str) -> _Gone:
        return self._removed[stage]

    def take(self, stage: str) -> None:
        """Take away what a stage removes."""
        for source, count in self._removed[stage].sources.items():
            self.sources[source] -= count
        for key, count in self._removed[stage].groups.items():
            self.groups[key] -= count


class _Gone:
    def __init__(self) -> None:
        self.sources: dict[str, int] = {}
        self.groups: dict[tuple[str, str], int] = {}

    @property
    def records(self) -> int:
        return sum(self.sources.values())


def _stage(stage: str, left: _Counts, gone: _Gone) -> dict[str, Any]:
    tests = []
    for group in groups():
        strata = [
            Stratum(
                seen := left.groups.get((group, source), 0),
                removed := gone.groups.get((group, source), 0),
                left.sources[source] - seen,
                gone.sources.get(source, 0) - removed,
            )
            for source in sorted(left.sources)
            if left.sources[source]
        ]
        if not any(one.seen for one in strata):
            continue
        sums = [sum(values) for values in zip(*strata, strict=True)]
        tests.append(
            {"group": group, **dict(zip(Stratum._fields, sums, strict=True)), **compare(strata)._asdict()}
        )
    return {"stage": stage, "seen": sum(left.sources.values()), "removed": gone.records, "groups": tests}


def findings(measured: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a finding for each stage that removes a group's records more often than others of the same source."""
    found = []
    for stage in measured.get("representation", {}).get("stages", ()):
        told = [test for test in stage["groups"] if test["told"]]
        if not told:
            continue
        told.sort(key=lambda test: (-(test["ratio"] or float("inf")), test["group"]))
        more = f"; and {len(told) - _NAMED:,} more groups" if len(told) > _NAMED else ""
        found.append(
            {
                "reason": f"{stage['stage']}/representation",
                "severity": "warning",
                "message": f"{stage['stage']} removed records that mention a group more often than others: "
                + "; ".join(_said(test) for test in told[:_NAMED])
                + more,
                "count": max(test["removed"] for test in told),
                "examples": [],
            }
        )
    return found


def _said(test: Mapping[str, Any]) -> str:
    counts = f"{test['removed']:,} of {test['seen']:,}"
    if test["ratio"] is None:
        return f"{test['group']} ({counts}), of the others none"
    return f"{test['group']} ({counts}), {test['ratio']:.2f} times as often ({test['low']:.2f} to {test['high']:.2f})"


_RECORDS = "SELECT stage, source, count(*) AS records FROM told GROUP BY ALL ORDER BY ALL"
_MENTIONS = """
    SELECT stage, source, "group", count(*) AS records
    FROM (SELECT stage, source, unnest(mentions) AS "group" FROM told) GROUP BY ALL ORDER BY ALL
"""
_KEPT = """
    SELECT "group", count(*) AS records FROM (SELECT unnest(mentions) AS "group" FROM told WHERE stage IS NULL)
    GROUP BY ALL ORDER BY ALL
"""
