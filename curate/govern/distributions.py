"""How the kept records are distributed: what drift between two releases is told from, by their manifests alone.

Counts, never records: a manifest says of each *dimension* how many records have which value, so that a later release
can be compared with this one when its shards are gone. A value that few records share is not named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq

from curate.govern.licensing import tables
from curate.ledger import database, query, scan_parquet

NAMED = 200  # values of a dimension that are named: the commonest
RARE = 5  # a value of fewer records is not named: it could tell of one
NONE = "none"  # the label of records that have no value
OTHER = None  # the label of all others together
_STEPS = 4  # bins per doubling of a length

_FACTS = ("source", "language", "license", "task", "topic")  # by value, where a stage states them


def measure(folder: Path, memory: int) -> list[dict[str, Any]]:
    """Return the dimensions of a release's tables: {name, ordered, counts: [[label, records], …]}.

    A dimension is there if its fact is. Values stand by their number of records; those of an *ordered* dimension by
    themselves: lengths in UTF-8 bytes, in bins of a quarter of an octave, each named by its least length. The label
    null stands for all values that are not named. memory: bytes that the run may hold.
    """
    records = tables.shards(folder, "records")
    held = pq.read_schema(records[0]).names if records else []
    found = []
    with database(memory) as connection:
        connection.execute(f"CREATE VIEW records AS SELECT * FROM {scan_parquet(records)}")
        for name in _FACTS:
            column = "coalesce(license_concluded, license_declared)" if name == "license" else name
            if name in held or name == "license":
                sql = f"SELECT {column} AS label, count(*) AS n FROM records GROUP BY ALL"
                counts: Counter[str] = Counter()
                for row in query(connection, sql):
                    counts[str(row["label"] or NONE)] += int(row["n"])  # a license may be stated as "none"
                if name != "language" or set(counts) != {NONE}:
                    found.append(by_value(name, counts))
        if "pii" in held:
            sql = "SELECT count(*) FILTER (len(pii) > 0) AS n, count(*) AS whole FROM records"
            row = query(connection, sql)[0]
            found.append(yes_or_no("personal data", row["n"], row["whole"] - row["n"]))
        whole = query(connection, "SELECT count(*) AS n FROM records")[0]["n"]
        ledger = tables.shards(folder, "ledger")
        if ledger:
            dropped = query(connection, _DUPLICATES.format(scan_parquet(ledger)))[0]["n"]
            found.append(yes_or_no("duplicates", dropped, whole))
    for name, lengths in _lengths(folder, memory).items():
        if lengths:
            found.append(by_length(name, lengths))
    return found


_DUPLICATES = "SELECT count(*) AS n FROM {} WHERE action = 'drop' AND kept_id IS NOT NULL"


def yes_or_no(name: str, yes: int, no: int) -> dict[str, Any]:
    """Return a dimension of two values."""
    return {"name": name, "ordered": False, "counts": [["no", no], ["yes", yes]]}


def by_value(name: str, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return a dimension of how many records have which value."""
    ranked = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    named: list[list[Any]] = [[label, n] for label, n in ranked[:NAMED] if n >= RARE]
    if other := sum(counts.values()) - sum(counts[label] for label, _ in ranked[: len(named)]):
        named.append([OTHER, other])
    return {"name": name, "ordered": False, "counts": named}


def by_length(name: str, lengths: Mapping[int, int]) -> dict[str, Any]:
    """Return a dimension of how many records have which length, in bytes."""
    bins: Counter[int] = Counter()
    for length, n in lengths.items():
        bins[floor_of(length)] += n
    return {"name": name, "ordered": True, "counts": [[str(least), bins[least]] for least in sorted(bins)]}


def floor_of(length: int) -> int:
    """Return the least length of the bin that a length falls into: four per doubling; up to 7 each has its own."""
    spare = max(length.bit_length() - _STEPS.bit_length(), 0)
    return length >> spare << spare


def _lengths(folder: Path, memory: int) -> dict[str, Counter[int]]:
    """Return how many records have how many bytes in their prompt, and in their response or text."""
    shards = tables.shards(folder, "data")
    found: dict[str, Counter[int]] = {"prompt length": Counter(), "length": Counter()}
    if shards and shards[0].suffix == ".parquet":
        _parquet(shards, memory, found)
    else:
        _lines(folder, found)
    return found


def _parquet(shards: Sequence[Path], memory: int, found: dict[str, Counter[int]]) -> None:
    names = pq.read_schema(shards[0]).names
    with database(memory) as connection:
        for name, sql in _LENGTHS.items():
            parts = [part for column, part in sql.items() if column in names]
            for part in parts:
                counted = (
                    f"SELECT {part} AS length, count(*) AS n FROM {scan_parquet(shards)} GROUP BY length"
                )
                for row in query(connection, counted):
                    if row["length"] is not None:
                        found[name][int(row["length"])] += row["n"]


def _turns(chosen: str) -> str:
    """Return SQL for the bytes of a conversation's chosen turns, null for a record that is none."""
    return (
        f"CASE WHEN messages IS NOT NULL THEN coalesce(list_sum(list_transform(messages, lambda turn: "
        f"CASE WHEN turn.role {chosen} 'assistant' THEN coalesce(strlen(turn.content), 0) ELSE 0 END)), 0) END"
    )


_LENGTHS = {
    "prompt length": {"messages": _turns("<>")},
    "length": {"messages": _turns("="), "text": "strlen(text)"},
}


def _lines(folder: Path, found: dict[str, Counter[int]]) -> None:
    for table, _ in tables.aligned(folder, ("text", "messages"), ("id",)):
        texts, conversations = (table.column(name).to_pylist() for name in ("text", "messages"))
        found["length"].update(len(text.encode()) for text in texts if text is not None)
        for messages in conversations:
            if messages is None:
                continue
            sides = {True: 0, False: 0}
            for turn in orjson.loads(messages):
                sides[turn["role"] == "assistant"] += len((turn["content"] or "").encode())
            found["length"][sides[True]] += 1
            found["prompt length"][sides[False]] += 1
