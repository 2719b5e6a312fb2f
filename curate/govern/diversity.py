"""The manifest's part ``diversity``: tasks, topics, lengths and turns, of what was read and of what was kept.

Counts are of records; ``before`` are those that the stage ``profile`` saw, ``after`` those in the release.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.ledger import query

if TYPE_CHECKING:
    import duckdb

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
VERBS, NOUNS = 20, 5  # that are listed: verbs, and nouns of each
LEAST = 5  # records of a task that is listed by its noun
MOST_TURNS = 10  # records with more are counted together
_QUESTION = "question: "
_SIDES = ("before", "after")


def measure(connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """Return the part. connection: has the view ``told``, one row a record, ``stage`` null where it is kept."""
    tasks, topics = (query(connection, _COUNTS.format(column=name)) for name in ("task", "topic"))
    turns = query(connection, _COUNTS.format(column="turns"))
    questions = [
        {**_sides(row), "word": row["value"].removeprefix(_QUESTION)} for row in tasks if _asks(row["value"])
    ]
    return {
        "records": {side: sum(row[side] for row in turns) for side in _SIDES},
        "tasks": _summary(tasks),
        "verbs": _verbs([row for row in tasks if row["value"] is not None and not _asks(row["value"])]),
        "questions": sorted(questions, key=lambda row: (-row["before"], row["word"])),
        "topics": _summary(topics),
        "topic": [{"topic": row["value"], **_sides(row)} for row in topics if row["value"] is not None],
        "lengths": [
            {"part": part, **_lengths(query(connection, _COUNTS.format(column=f"words_{part}")))}
            for part in ("prompt", "response")
        ],
        "turns": _turns(turns),
    }


def _asks(task: str | None) -> bool:
    return task is not None and task.startswith(_QUESTION)


def _sides(row: Mapping[str, int]) -> dict[str, int]:
    return {side: row[side] for side in _SIDES}


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int | float]]:
    """Return of how many records one was told, how many different ones, and how many they amount to."""
    told = [row for row in rows if row["value"] is not None]
    return {
        "told": {side: sum(row[side] for row in told) for side in _SIDES},
        "different": {side: sum(row[side] > 0 for row in told) for side in _SIDES},
        "effective": {side: effective(row[side] for row in told) for side in _SIDES},
    }


def effective(counts: Iterable[int]) -> float:
    """Return how many equally frequent kinds are as diverse as these: the Hill number of order 1 (Hill 1973).

    It is exp of Shannon's entropy; 0 for none.
    """
    held = sorted(count for count in counts if count)
    if not held:
        return 0.0
    whole = sum(held)
    return round(math.exp(math.fsum(n / whole * math.log(whole / n) for n in held)), 2)


def _verbs(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the most frequent verbs, each with its most frequent nouns."""
    found: dict[str, list[tuple[str | None, Mapping[str, int]]]] = defaultdict(list)
    for row in rows:
        verb, _, noun = row["value"].partition(" ")
        found[verb].append((noun or None, row))
    verbs: list[dict[str, Any]] = []
    for verb, held in found.items():
        nouns: list[dict[str, Any]] = [
            {"noun": noun, **_sides(row)} for noun, row in held if noun is not None and row["before"] >= LEAST
        ]
        nouns.sort(key=lambda row: (-row["before"], row["noun"]))
        sums = {side: sum(row[side] for _, row in held) for side in _SIDES}
        verbs.append({"verb": verb, **sums, "nouns": nouns[:NOUNS]})
    return sorted(verbs, key=lambda row: (-row["before"], row["verb"]))[:VERBS]


def _lengths(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the quantiles of a part's words, and how many records have 0, 1, 2 to 3, 4 to 7, … words."""
    told = sorted((row for row in rows if row["value"] is not None), key=lambda row: int(row["value"]))
    bins: dict[int, dict[str, int]] = {}
    for row in told:
        size = int(row["value"]).bit_length()
        held = bins.setdefault(size, {"from": 1 << size >> 1, "to": (1 << size) - 1, "before": 0, "after": 0})
        for side in _SIDES:
            held[side] += row[side]
    return {
        "quantiles": [
            {
                "quantile": q,
                **{side: _quantile([(row["value"], row[side]) for row in told], q) for side in _SIDES},
            }
            for q in QUANTILES
        ],
        "bins": [bins[size] for size in sorted(bins)],
    }


def _quantile(counts: Sequence[tuple[int, int]], q: float) -> int | None:
    """Return the least value that at least a share q of the records do not exceed; counts by value, ascending."""
    whole = sum(count for _, count in counts)
    so_far = 0
    for value, count in counts:
        so_far += count
        if count and so_far >= q * whole:
            return value
    return None


def _turns(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, int]]:
    """Return how many records have so many turns; the last entry stands for as many or more."""
    found: dict[int, dict[str, int]] = {}
    for row in sorted(rows, key=lambda row: int(row["value"])):
        turns = min(row["value"], MOST_TURNS)
        held = found.setdefault(turns, {"turns": turns, "before": 0, "after": 0})
        for side in _SIDES:
            held[side] += row[side]
    return list(found.values())


_COUNTS = """
    SELECT {column} AS value, count(*) AS before, count(*) FILTER (stage IS NULL) AS after
    FROM told GROUP BY ALL ORDER BY before DESC, value NULLS LAST
"""
