"""Looking into releases: one record's story, and what differs between two releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.errors import IntegrityError
from curate.ledger import connect, query


@dataclass(frozen=True)
class Step:
    """One stage's say on a record."""

    stage: str
    action: str  # keep | drop | edit | quarantine | flag
    reason: str | None = None
    score: float | None = None
    kept_id: str | None = None
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True)
class Story:
    """What happened to a record. Several records may share an id: then each has a place of its own."""

    id: str
    source: str
    fate: str  # kept | dropped | quarantined
    places: tuple[dict[str, Any], ...]  # where it was read, and where it is now
    steps: tuple[Step, ...]
    duplicates: tuple[str, ...]  # ids of the records that were dropped because they resemble this one
    license: str | None
    language: str | None


@dataclass(frozen=True)
class Difference:
    """What changed from release A to release B."""

    recipe: list[str]  # keys of the resolved recipe that differ
    counts: list[dict[str, Any]]  # totals
    stages: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    fates: list[dict[str, Any]]  # (fate in A, fate in B, records) for ids whose fate or content differs
    examples: list[dict[str, Any]]


def explain(out: Path, manifest: dict[str, Any], record_id: str) -> Story:
    """Return one record's story. Raises IntegrityError if the release never saw the id."""
    with connect(out) as db:
        kept = query(db, _KEPT.format(files=_list(out, "records")), [record_id])
        removed = []
        if (out / "removed").is_dir():
            removed = query(db, _REMOVED.format(files=_list(out, "removed")), [record_id])
        decided = query(db, "SELECT * FROM ledger WHERE id = ?", [record_id])
        if not kept and not removed and not decided:
            raise IntegrityError(f"{out}: no record has the id {record_id!r}{_similar(db, record_id)}")
        twins = query(
            db, "SELECT id FROM ledger WHERE kept_id = ? AND action = 'drop' ORDER BY id", [record_id]
        )
    places = [_place(out, row, "data") for row in kept] + [_place(out, row, "removed") for row in removed]
    first = (kept or [{}])[0]
    gone = [row for row in decided if row["action"] in ("drop", "quarantine")]
    fate = "kept" if kept else {"drop": "dropped", "quarantine": "quarantined"}[gone[0]["action"]]
    return Story(
        id=record_id,
        source=(kept or removed or decided)[0]["source"],
        fate=fate,
        places=tuple(places),
        steps=tuple(_steps([stage["name"] for stage in manifest["stages"]], decided)),
        duplicates=tuple(row["id"] for row in twins),
        license=first.get("license_concluded") or first.get("license_declared"),
        language=first.get("language"),
    )


_KEPT = """
    SELECT id, source, locator, license_declared, license_concluded, language, filename, file_row_number AS n
    FROM read_parquet({files}, filename = true, file_row_number = true) WHERE id = ? ORDER BY locator
"""
_REMOVED = """
    SELECT id, source, locator, filename, file_row_number AS n
    FROM read_parquet({files}, filename = true, file_row_number = true) WHERE id = ? ORDER BY locator
"""


def _list(out: Path, name: str) -> str:
    names = ", ".join(
        "'" + str(path).replace("'", "''") + "'" for path in sorted((out / name).glob("part-*.parquet"))
    )
    return f"[{names}]"


def _place(out: Path, row: dict[str, Any], folder: str) -> dict[str, Any]:
    shard = Path(row["filename"]).name
    if folder == "data":  # data/ is aligned with records/, whatever its format
        shard = next((out / "data").glob(shard.removesuffix(".parquet") + ".*")).name
    return {"read_from": row["locator"], "now": f"{folder}/{shard}", "row": row["n"] + 1}


def _steps(stages: Sequence[str], decided: Sequence[dict[str, Any]]) -> list[Step]:
    steps = []
    for stage in stages:
        rows = [row for row in decided if row["stage"] == stage]
        if not rows:
            steps.append(Step(stage, "keep"))
        for row in rows:
            evidence = orjson.loads(row["evidence"]) if row["evidence"] else None
            steps.append(Step(stage, row["action"], row["reason"], row["score"], row["kept_id"], evidence))
        if any(row["action"] in ("drop", "quarantine") for row in rows):
            break
    return steps


def _similar(db: Any, record_id: str) -> str:
    if "/" not in record_id:
        return "; ids look like <source>/<id>"
    sql = """
        SELECT id FROM (SELECT id FROM records UNION SELECT id FROM ledger)
        ORDER BY jaro_winkler_similarity(id, ?) DESC, id LIMIT 1
    """
    nearest = query(db, sql, [record_id])
    return f"; did you mean {nearest[0]['id']!r}?" if nearest else ""


def diff(a: Path, manifest_a: dict[str, Any], b: Path, manifest_b: dict[str, Any]) -> Difference:
    """Return what changed from release A to release B."""
    with connect(a) as db:
        for view in ("records", "ledger"):
            db.execute(f"CREATE VIEW {view}_b AS SELECT * FROM read_parquet({_list(b, view)})")
        fates = query(
            db,
            _FATES + "SELECT a, b, content, count(*) AS records FROM changed "
            "GROUP BY ALL ORDER BY records DESC, a, b",
        )
        examples = query(db, _FATES + "SELECT id, a, b, content FROM changed ORDER BY id LIMIT 10")
    return Difference(
        recipe=_changed_keys(manifest_a["recipe"], manifest_b["recipe"]),
        counts=_pairs(manifest_a["counts"], manifest_b["counts"]),
        stages=_pairs(_stage_numbers(manifest_a), _stage_numbers(manifest_b)),
        reasons=_pairs(_reason_numbers(manifest_a), _reason_numbers(manifest_b)),
        sources=_pairs(_source_numbers(manifest_a), _source_numbers(manifest_b)),
        fates=fates,
        examples=examples,
    )


# A record's fate is 'kept', or the reason that took it out; 'absent' where a release never saw it.
_FATES = """
    WITH fate_a AS (
        SELECT id, 'kept' AS fate, sha256_out AS content FROM records
        UNION ALL SELECT id, reason, NULL FROM ledger WHERE action IN ('drop', 'quarantine')
    ), fate_b AS (
        SELECT id, 'kept' AS fate, sha256_out AS content FROM records_b
        UNION ALL SELECT id, reason, NULL FROM ledger_b WHERE action IN ('drop', 'quarantine')
    ), changed AS (
        SELECT coalesce(fate_a.id, fate_b.id) AS id, coalesce(fate_a.fate, 'absent') AS a,
               coalesce(fate_b.fate, 'absent') AS b,
               CASE WHEN fate_a.content <> fate_b.content THEN 'other content' ELSE '' END AS content
        FROM fate_a FULL JOIN fate_b ON fate_a.id = fate_b.id
        WHERE fate_a.fate IS DISTINCT FROM fate_b.fate OR fate_a.content <> fate_b.content
    )
"""


def _pairs(a: dict[str, int], b: dict[str, int]) -> list[dict[str, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"name": name, "a": a.get(name, 0), "b": b.get(name, 0), "change": b.get(name, 0) - a.get(name, 0)}
        for name in names
        if a.get(name, 0) != b.get(name, 0)
    ]


def _stage_numbers(manifest: dict[str, Any]) -> dict[str, int]:
    return {
        f"{stage['name']}: {name}": stage[name]
        for stage in manifest["stages"]
        for name in ("seen", "dropped", "quarantined", "edited", "flagged")
    }


def _reason_numbers(manifest: dict[str, Any]) -> dict[str, int]:
    return {reason: n for stage in manifest["stages"] for reason, n in stage["reasons"].items()}


def _source_numbers(manifest: dict[str, Any]) -> dict[str, int]:
    last = manifest["stages"][-1]["sources"]
    read = {f"{source}: read": counts["seen"] for source, counts in manifest["stages"][0]["sources"].items()}
    return read | {f"{source}: kept": counts["kept"] for source, counts in last.items()}


def _changed_keys(a: Any, b: Any, at: str = "") -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = []
        for key in sorted({*a, *b}):
            found += _changed_keys(a.get(key), b.get(key), f"{at}.{key}" if at else str(key))
        return found
    if (
        isinstance(a, list)
        and isinstance(b, list)
        and all(isinstance(x, dict) and "name" in x for x in [*a, *b])
    ):
        return _changed_keys({x["name"]: x for x in a}, {x["name"]: x for x in b}, at)
    return [] if a == b else [at]
