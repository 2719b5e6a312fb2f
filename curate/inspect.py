"""Looking into a release: one record's story."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate import context
from curate.errors import IntegrityError, RecipeError
from curate.io.manifest import load
from curate.ledger import connect, query, rows_of
from curate.record import CURATE
from curate.stages.dedup.resolved import OF_RELEASE


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
    represented_by: tuple[Step, ...]  # of a duplicate: what became of the record kept for it, to the end
    license: str | None
    language: str | None
    context: tuple[str, ...] = ()  # what stands around each find of personal data, itself masked


def explain(out: Path, manifest: dict[str, Any], record_id: str) -> Story:
    """Return one record's story. Raises RecipeError if the release never saw the id."""
    kept = rows_of((out / "records").glob("part-*"), record_id, _ABOUT)
    removed = rows_of((out / "removed").glob("part-*"), record_id, (CURATE,))
    with connect(out) as db:
        decided = query(db, "SELECT * FROM ledger WHERE id = ?", [record_id])
        if not kept and not decided:
            erased = ", or a take-down erased it" if manifest.get("takedowns") else ""
            raise RecipeError(f"{out}: no record has the id {record_id!r}{erased}{_similar(db, record_id)}")
        twins = query(db, _TWINS, [record_id, f"%{OF_RELEASE}"])
        gone = [row for row in decided if row["action"] in ("drop", "quarantine")]
        represented = _represented(db, out, gone[0]) if gone and not kept else ()
    places = [_place(out, row, row["locator"], "data") for row in kept]
    places += [_place(out, row, row[CURATE]["locator"], "removed") for row in removed]
    first = (kept or [{}])[0]
    return Story(
        id=record_id,
        source=(kept or decided)[0]["source"],
        fate="kept" if kept else {"drop": "dropped", "quarantine": "quarantined"}[gone[0]["action"]],
        places=tuple(places),
        steps=tuple(_steps([stage["name"] for stage in manifest["stages"]], decided, bool(kept))),
        duplicates=tuple(row["id"] for row in twins),
        represented_by=represented,
        license=first.get("license_concluded") or first.get("license_declared"),
        language=first.get("language"),
        context=tuple(_context(out, record_id, decided)),
    )


def _context(out: Path, record_id: str, decided: Sequence[dict[str, Any]]) -> list[str]:
    spans: dict[str, list[dict[str, Any]]] = {}
    for row in decided:
        found = orjson.loads(row["evidence"] or "{}").get("spans")
        if isinstance(found, list) and all(isinstance(span, dict) and set(span) >= _PLACE for span in found):
            spans.setdefault(row["stage"], []).extend(found)
    return [line for stage, found in spans.items() for line in context.masked(out, record_id, stage, found)]


_PLACE = {"type", "turn", "start", "end", "score"}  # of a find of personal data
_ABOUT = ("source", "locator", "license_declared", "license_concluded", "language")


# The kept record of an earlier release may have the id of one of this release.
_TWINS = "SELECT id FROM ledger WHERE kept_id = ? AND action = 'drop' AND reason NOT LIKE ? ORDER BY id"
_GONE = "SELECT * FROM ledger WHERE id = ? AND action IN ('drop', 'quarantine')"


def _represented(db: Any, out: Path, row: dict[str, Any]) -> tuple[Step, ...]:
    """Follow a duplicate to the record that stands for it: a later stage may have removed that one too."""
    steps: list[Step] = []
    while (kept_id := row["kept_id"]) is not None and kept_id not in [step.kept_id for step in steps]:
        if row["reason"].endswith(OF_RELEASE):
            held = orjson.loads(row["evidence"])["release"]
            there = _there(out, held["root"], kept_id)
            steps.append(Step("release", "keep", kept_id=kept_id, evidence={"release": held, **there}))
            break
        rows = query(db, _GONE, [kept_id])
        if not rows:
            steps.append(Step("release", "keep", kept_id=kept_id))
            break
        row = rows[0]
        steps.append(Step(row["stage"], row["action"], row["reason"], row["score"], kept_id))
    return tuple(steps)


def _there(out: Path, root: str, record_id: str) -> dict[str, Any]:
    """Return the folder of an earlier release and the record's places in it; nothing if it is not found.

    Looked at are the folders beside ``out``, and those of its name in the folders beside the one it is in.
    """
    here = out.resolve().parent
    for folder in (*_folders(here), *(folder / out.resolve().name for folder in _folders(here.parent))):
        try:
            manifest = load(folder)
        except (RecipeError, IntegrityError, OSError):
            continue
        if manifest.get("root") == root:
            kept = rows_of((folder / "records").glob("part-*"), record_id, ("locator",))
            return {
                "folder": str(folder),
                "places": [_place(folder, row, row["locator"], "data") for row in kept],
            }
    return {}


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # not ours to read
        return []


def _place(out: Path, row: dict[str, Any], locator: str, folder: str) -> dict[str, Any]:
    shard = row["file"]
    if folder == "data":  # data/ is aligned with records/, whatever its format
        found = next((out / "data").glob(shard.removesuffix(".parquet") + ".*"), None)
        shard = shard if found is None else found.name
    return {"read_from": locator, "now": f"{folder}/{shard}", "row": row["row"]}


def _steps(stages: Sequence[str], decided: Sequence[dict[str, Any]], kept: bool) -> list[Step]:
    """Return each stage's say, up to the one that removed the record; of a shared id, all that was said."""
    steps = []
    for stage in stages:
        rows = [row for row in decided if row["stage"] == stage]
        if not rows:
            steps.append(Step(stage, "keep"))
        for row in rows:
            evidence = orjson.loads(row["evidence"]) if row["evidence"] else None
            steps.append(Step(stage, row["action"], row["reason"], row["score"], row["kept_id"], evidence))
        if not kept and any(row["action"] in ("drop", "quarantine") for row in rows):
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
