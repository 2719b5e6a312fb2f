"""What the manifest says of a release's licenses: counts, verdicts, disagreements, whom to name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import ledger, licenses
from curate.govern.licensing import output, tables, verdicts
from curate.ledger import query, scan_parquet
from curate.stages.license import disagree

if TYPE_CHECKING:
    import duckdb

NAMED = 50  # authors of one license and source that are named; ATTRIBUTION.csv names all


def measure(folder: Path, recipe: Mapping[str, Any], memory: int) -> dict[str, Any]:
    """Return the manifest's part ``licenses``.

    folder: holds data/ and records/. recipe: resolved. memory: bytes that the run may hold. Where no license
    stage ran, the license of a record is what its declaration names.
    """
    judged = any(stage["name"] == "license" for stage in recipe["stages"])
    with ledger.database(memory) as database:
        database.execute(
            f"CREATE VIEW records AS SELECT * FROM {scan_parquet(tables.shards(folder, 'records'))}"
        )
        rows = query(database, _ROWS)
        authors = _authors(database, folder)
    for row in rows:
        row["license"] = row["concluded"] if judged else licenses.resolve(row["declared"]).concluded
    generated = output.generated(recipe["sources"])
    mix, edited = _mix(rows, generated)
    named = {key for expression in mix for key in licenses.ids(expression)}
    asked = {key for license_id in named for key in verdicts.duties(license_id)}
    return {
        "records": _by_source(rows),
        **verdicts.judge(mix, edited),
        "disagreements": _disagreements(rows),
        "detected": _detected(rows),
        "generated": generated,
        "authors": authors,
        "terms": [_told(key) for key in sorted(named)],
        "wording": {key: text for key, text in licenses.obligations().items() if key in asked},
    }


def _mix(
    rows: Iterable[Mapping[str, Any]], generated: Iterable[Mapping[str, Any]]
) -> tuple[Counter[str | None], Counter[str | None]]:
    """Return records, and those of them that were edited, by what holds for them: license and terms of output."""
    mix: Counter[str | None] = Counter()
    edited: Counter[str | None] = Counter()
    for row in rows:
        terms = {entry["license"] for entry in generated if entry["source"] == row["source"]} - {None}
        held = row["license"]
        if held is not None and terms:
            held = licenses.resolve(" AND ".join(f"({part})" for part in (held, *sorted(terms)))).concluded
        mix[held] += row["records"]
        edited[held] += row["edited"]
    return mix, edited


def _by_source(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    records: Counter[tuple[str, str | None]] = Counter()
    edited: Counter[tuple[str, str | None]] = Counter()
    for row in rows:
        records[row["source"], row["license"]] += row["records"]
        edited[row["source"], row["license"]] += row["edited"]
    ordered = sorted(records, key=lambda key: (key[0], key[1] is None, key[1] or ""))
    return [
        {"source": source, "license": name, "records": records[source, name], "edited": edited[source, name]}
        for source, name in ordered
    ]


def _disagreements(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for row in rows:
        declared = licenses.resolve(row["declared"]).concluded
        if declared and row["detected"] and disagree(declared, row["detected"]):
            found[row["source"], declared, row["detected"]] += row["records"]
    return [
        {
            "source": source,
            "declared": declared,
            "detected": detected,
            "records": count,
            "detected_is_stricter": licenses.rank(detected) > licenses.rank(declared),
        }
        for (source, declared, detected), count in sorted(found.items())
    ]


def _detected(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return by source how many records have a license that was detected, and for how many it was concluded."""
    found: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row["detected"]:
            held = found.setdefault((row["source"], row["detected"]), [0, 0])
            held[0] += row["records"]
            held[1] += row["records"] if licenses.says_nothing(row["declared"]) else 0
    return [
        {"source": source, "license": name, "records": records, "concluded": concluded}
        for (source, name), (records, concluded) in sorted(found.items())
    ]


def _told(license_id: str) -> dict[str, Any]:
    one = licenses.get(license_id)
    return {
        "id": one.id,
        "name": one.name,
        "url": licenses.page(one.id),
        **{name: getattr(one.terms, name) for name in one.terms.__slots__},
        "obligations": list(verdicts.duties(one.id)),
        "results_free": one.results_free,
        "notes": one.notes or None,
    }


def _authors(database: duckdb.DuckDBPyConnection, folder: Path) -> list[dict[str, Any]]:
    """Return who wrote the records, by source and license: how many authors, and those of most records."""
    names = tables.columns(folder)
    if names is None:
        database.execute("CREATE TABLE wrote (source VARCHAR, license VARCHAR, author VARCHAR)")
        for part in tables.lines(folder, ["source", "license", "author"], "author"):
            database.register("part", part)
            database.execute("INSERT INTO wrote SELECT * FROM part WHERE author IS NOT NULL")
    elif "author" in names:
        shards = scan_parquet(tables.shards(folder, "data"))
        database.execute(
            f"CREATE VIEW wrote AS SELECT source, license, author FROM {shards} WHERE author IS NOT NULL"
        )
    else:
        return []
    database.execute("CREATE TABLE told (license VARCHAR, concluded VARCHAR)")
    said = [row["license"] for row in query(database, "SELECT DISTINCT license FROM wrote")]
    if known := [(text, licenses.resolve(text).concluded) for text in said if text]:
        database.executemany("INSERT INTO told VALUES (?, ?)", known)
    found: dict[tuple[str, str | None], dict[str, Any]] = {}
    for row in query(database, _AUTHORS, [NAMED]):
        key = (row["source"], row["license"])
        entry = {"source": key[0], "license": key[1], "authors": row["authors"], "named": []}
        named = found.setdefault(key, entry)["named"]
        named.append({"author": row["author"], "records": row["records"]})
    return list(found.values())


_ROWS = """
    SELECT source, license_declared AS declared, license_detected AS detected, license_concluded AS concluded,
           count(*) AS records, count(edits) AS edited
    FROM records GROUP BY ALL ORDER BY ALL
"""
_AUTHORS = """
    WITH counted AS (
        SELECT source, concluded AS license, author, count(*) AS records
        FROM wrote LEFT JOIN told USING (license) GROUP BY ALL
    ), placed AS (
        SELECT *, row_number() OVER (PARTITION BY source, license ORDER BY records DESC, author) AS place,
               count(*) OVER (PARTITION BY source, license) AS authors
        FROM counted
    )
    SELECT source, license, author, records, authors FROM placed WHERE place <= ?
    ORDER BY source, license NULLS LAST, place
"""
