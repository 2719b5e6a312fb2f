"""What a release's cluster table adds up to: how large, how alike, between which sources, under which licenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import clusters, licenses
from curate.ledger import query, scan_parquet
from curate.pipeline import Outcome
from curate.record import CURATE
from curate.unit import READ

if TYPE_CHECKING:
    import duckdb

# Clusters by their number of records: the largest of each class, and its name.
SIZES = ((2, "2"), (5, "3-5"), (10, "6-10"), (100, "11-100"), (None, "over 100"))
STEPS = 20  # classes of similarity from 0 to 1; full similarity is one more

# Two sources that hold the same records under different licenses: at least one of the licenses is wrong there.
# Chance alone brings records together, too: stock phrases, headers, texts that everybody quotes. Those are few, or
# a small share of both sources (22 of 23 public data sets, compared by exact and minhash at 0.8, had one record in
# common with all the others), while a copy of a data set, or of a part of one, is neither. So an overlap is reported
# from RELABELLED records that make up RELABELLED_SHARE of the smaller source. A small share of two large sources
# may still be a whole data set that both took in: RELABELLED_ANYWAY records always are reported.
RELABELLED = 10
RELABELLED_SHARE = 0.01
RELABELLED_ANYWAY = 1000
_EXAMPLES = 10  # pairs of ids that a finding names
_LABELS = 3  # pairs of licenses that a message names


def enrich(outcome: Outcome, folder: Path, memory: int) -> None:
    """Add to the summary of each stage that deduplicates what its part of the cluster table adds up to.

    ``sizes``: clusters around a record of this run, by their number of records; ``similarities``: dropped
    records by their similarity to the one kept; classes that have none are left out. Each pair of sources in
    ``overlap`` gets the ``share`` (0 to 1) that it is of the records of ``source`` that the stage saw.

    folder: holds clusters/, if any stage deduplicates. memory: bytes that DuckDB may use.
    """
    stages = clusters.stages(outcome.resolved)
    if not stages:
        return
    with clusters.connect(folder, memory) as database:
        _members(database, folder)
        sizes = query(database, _SIZES)
        alike = query(database, _ALIKE, [STEPS, STEPS])
    for stage in stages:
        summary = outcome.summaries[stage]
        summary["sizes"] = _sizes([row for row in sizes if row["stage"] == stage])
        summary["similarities"] = [_step(row) for row in alike if row["stage"] == stage]
        seen = outcome.tallies.get(stage, {})
        if "overlap" in summary:
            summary["overlap"] = [
                {**pair, "share": round(pair["records"] / seen[pair["source"]].seen, 6)}
                for pair in summary["overlap"]
            ]


def _members(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    tables = scan_parquet(folder.glob(f"{clusters.FOLDER}/part-*.parquet"))
    database.execute(f"CREATE VIEW members AS SELECT * FROM {tables}")


def _step(row: Mapping[str, Any]) -> dict[str, Any]:
    step = row["step"]
    return {"from": step / STEPS, "to": min(step + 1, STEPS) / STEPS, "records": row["records"]}


def _sizes(sizes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    found = []
    least = 2
    for most, name in SIZES:
        mine = [row for row in sizes if row["size"] >= least and (most is None or row["size"] <= most)]
        least = (most or 0) + 1
        if any(row["records"] for row in mine):
            count = sum(row["records"] // row["size"] for row in mine)
            found.append({"size": name, "clusters": count, "records": sum(row["records"] for row in mine)})
    return found


# `WHERE kept_release IS NULL` would be left to the parquet reader, which (DuckDB 2.0.0) takes all rows of a column
# that holds one string and nulls.
_SIZES = """
    SELECT stage, size, count(*) FILTER (kept_release IS NULL) AS records FROM members
    GROUP BY ALL ORDER BY stage, size
"""
_ALIKE = """
    SELECT stage, least(floor(similarity * ?), ?)::INTEGER AS step, count(*) AS records FROM members
    WHERE similarity IS NOT NULL GROUP BY ALL ORDER BY stage, step
"""


def relabelled(outcome: Outcome, folder: Path, memory: int) -> list[dict[str, Any]]:
    """Return a finding for each pair of sources that overlap much under different licenses.

    Counted are records dropped by any stage because of one in the other source, if both declare a license that
    can be told and not the same one, however spelled. folder: holds clusters/, if any stage deduplicates,
    records/ and removed/.
    """
    stages, read = clusters.stages(outcome.resolved), outcome.tallies[READ]
    if not stages:
        return []
    with clusters.connect(folder, memory) as database:
        _find_conflicts(database, folder)
        found = []
        for pair in query(database, _PAIRS):
            smaller = min(pair["a"], pair["b"], key=lambda source: read[source].seen)
            share = pair["records"] / read[smaller].seen
            enough = pair["records"] >= RELABELLED and share >= RELABELLED_SHARE
            if enough or pair["records"] >= RELABELLED_ANYWAY:
                found.append(_finding(database, pair, stages, f"{share:.1%} of those of {smaller}"))
        return found


def _find_conflicts(database: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Make the table ``conflicts``: each record dropped for one of another source with another license."""
    _members(database, folder)
    tables = {name: scan_parquet(folder.glob(f"{name}/part-*.parquet")) for name in ("records", "removed")}
    database.execute(_ACROSS)
    database.execute(_LABELLED.format(**tables, curate=CURATE))
    said = [row["license"] for row in query(database, _SAID)]
    database.execute("CREATE TABLE told (license VARCHAR, concluded VARCHAR)")
    known = [(text, concluded) for text in said if (concluded := licenses.resolve(text).concluded)]
    if known:
        database.executemany("INSERT INTO told VALUES (?, ?)", known)
    database.execute(_CONFLICTS)


def _finding(
    database: duckdb.DuckDBPyConnection, pair: Mapping[str, Any], stages: Sequence[str], share: str
) -> dict[str, Any]:
    which = [pair["a"], pair["b"]]
    counts = {row["stage"]: row["records"] for row in query(database, _PAIR_STAGES, which)}
    by_stage = ", ".join(f"{counts[stage]:,} by {stage}" for stage in stages if stage in counts)
    labels = query(database, _PAIR_LABELS, which)
    named = "; ".join(
        f"{row['license_a']} in {pair['a']}, {row['license_b']} in {pair['b']} ({row['records']:,})"
        for row in labels[:_LABELS]
    )
    more = f"; {len(labels) - _LABELS:,} more of such pairs" if len(labels) > _LABELS else ""
    return {
        "reason": "release/license-conflict",
        "severity": "warning",
        "message": f"sources {pair['a']} and {pair['b']} have {pair['records']:,} records in common ({share}; "
        f"{by_stage}) under different licenses: {named}{more}. One may be a relabelled copy of the other: find out "
        "which license is right before trusting either",
        "count": pair["records"],
        "examples": [f"{row['id']} → {row['kept_id']}" for row in query(database, _PAIR_EXAMPLES, which)],
    }


# Few records are dropped for one of another source: the other tables are only scanned for them.
_ACROSS = """
    CREATE TABLE across AS
    SELECT dropped.stage, dropped.id, dropped.source, dropped.locator,
           kept.id AS kept_id, kept.source AS kept_source, kept.locator AS kept_locator
    FROM members AS dropped JOIN members AS kept USING (stage, cluster)
    WHERE NOT dropped.kept AND kept.kept AND dropped.source <> kept.source
"""
_LABELLED = """
    CREATE TABLE labelled AS
    WITH wanted AS (
        SELECT source, locator FROM across UNION SELECT kept_source, kept_locator FROM across
    ), known AS (
        SELECT source, locator, license_declared AS license FROM {records}
        UNION ALL SELECT source, {curate}.locator, license FROM {removed}
    )
    SELECT source, locator, license FROM known SEMI JOIN wanted USING (source, locator)
"""
_SAID = "SELECT DISTINCT license FROM labelled WHERE license IS NOT NULL"
_CONFLICTS = """
    CREATE TABLE conflicts AS
    SELECT stage, id, kept_id, locator, source, least(source, kept_source) AS a, greatest(source, kept_source) AS b,
           if(source < kept_source, mine.concluded, theirs.concluded) AS license_a,
           if(source < kept_source, theirs.concluded, mine.concluded) AS license_b
    FROM across
    JOIN labelled AS dropped USING (source, locator)
    JOIN labelled AS kept ON kept.source = kept_source AND kept.locator = kept_locator
    JOIN told AS mine ON mine.license = dropped.license
    JOIN told AS theirs ON theirs.license = kept.license
    WHERE mine.concluded <> theirs.concluded
"""
_PAIRS = "SELECT a, b, count(*) AS records FROM conflicts GROUP BY ALL ORDER BY records DESC, a, b"
_PAIR_STAGES = "SELECT stage, count(*) AS records FROM conflicts WHERE a = ? AND b = ? GROUP BY ALL"
_PAIR_LABELS = """
    SELECT license_a, license_b, count(*) AS records FROM conflicts WHERE a = ? AND b = ?
    GROUP BY ALL ORDER BY records DESC, license_a, license_b
"""
_PAIR_EXAMPLES = f"""
    SELECT id, kept_id FROM conflicts WHERE a = ? AND b = ? ORDER BY source, id, locator LIMIT {_EXAMPLES}
"""
