"""``curate diff``: what changed from one release to another, in its records and in what is said of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.govern import drift
from curate.ledger import connect, query, scan_parquet

_EXAMPLES = 10


@dataclass(frozen=True)
class Difference:
    """What changed from release A to release B; a part that did not change is empty."""

    releases: dict[str, dict[str, Any]]  # a, b: name, version, root
    relation: str | None  # where one release states that it replaces the other
    recipe: list[str]  # keys of the resolved recipe that differ
    software: list[dict[str, Any]]  # versions and rule packs
    inputs: list[dict[str, Any]]  # files that only one of them read, or that changed
    counts: list[dict[str, Any]]  # totals
    stages: list[dict[str, Any]]
    reasons: list[dict[str, Any]]
    sources: list[dict[str, Any]]
    mixture: list[dict[str, Any]]  # share of the kept records, by source
    languages: list[dict[str, Any]]  # the same by language
    licenses: list[dict[str, Any]]  # the same by license
    verdicts: list[dict[str, Any]]  # what the licenses together allow
    records: list[dict[str, Any]]  # how many records: kept in both and equal, kept in one alone, …
    fates: list[dict[str, Any]]  # (fate in A, fate in B, what changed, records) of ids that differ
    examples: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    takedowns: list[dict[str, Any]]
    answers: list[dict[str, Any]]  # a person's, in the datasheet
    drift: list[dict[str, Any]]  # dimensions in which the kept records are distributed otherwise
    measured: list[str]  # questions of the datasheet to which the run answers otherwise


def diff(a: Path, manifest_a: Mapping[str, Any], b: Path, manifest_b: Mapping[str, Any]) -> Difference:
    """Compare two releases. Records of one id are paired in order where several share it."""
    with connect(a) as db:
        for view in ("records", "ledger"):
            db.execute(f"CREATE VIEW {view}_b AS SELECT * FROM {scan_parquet((b / view).glob('part-*'))}")
        db.execute(f"CREATE TEMP TABLE paired AS {_PAIRED}")
        records = query(db, _RECORDS)
        fates = query(db, _CHANGED + _BY_FATE)
        examples = query(
            db, _CHANGED + f"SELECT id, a, b, changed FROM changed ORDER BY id LIMIT {_EXAMPLES}"
        )
    both = (manifest_a, manifest_b)
    sheets = (_sheet(a), _sheet(b))
    return Difference(
        releases={
            name: {key: m[key] for key in ("name", "version", "root")}
            for name, m in zip("ab", both, strict=True)
        },
        relation=_relation(*both),
        recipe=_changed_keys(manifest_a["recipe"], manifest_b["recipe"]),
        software=_values(_versions(manifest_a), _versions(manifest_b)),
        inputs=_values(_inputs(manifest_a), _inputs(manifest_b)),
        counts=_pairs(manifest_a["counts"], manifest_b["counts"]),
        stages=_pairs(_stage_numbers(manifest_a), _stage_numbers(manifest_b)),
        reasons=_pairs(_reason_numbers(manifest_a), _reason_numbers(manifest_b)),
        sources=_pairs(_source_numbers(manifest_a), _source_numbers(manifest_b)),
        mixture=_shares(*map(_kept_by_source, both)),
        languages=_shares(*(_kept_by(m, "languages", "language", "after") for m in both)),
        licenses=_shares(*(_kept_by(m, "licenses", "license", "records") for m in both)),
        verdicts=_values(_verdicts(manifest_a), _verdicts(manifest_b)),
        records=[row for row in records if row["records"]],
        fates=fates,
        examples=examples,
        findings=_findings(*both),
        takedowns=[
            told for told in manifest_b.get("takedowns", ()) if told not in manifest_a.get("takedowns", ())
        ],
        answers=_values(*(_said_by_a_person(sheet) for sheet in sheets)),
        drift=[asdict(one) for one in drift.compare(*both) if one.distance],
        measured=_measured(*sheets),
    )


# A record's fate is 'kept', or the reason that took it out; 'absent' where a release never saw it. Records that
# share an id are paired in order: n counts them.
_PAIRED = """
    WITH told AS (
        SELECT 'a' AS release, id, 'kept' AS fate, sha256_out AS content,
               coalesce(license_concluded, license_declared) AS license, language FROM records
        UNION ALL SELECT 'a', id, reason, NULL, NULL, NULL FROM ledger WHERE action IN ('drop', 'quarantine')
        UNION ALL SELECT 'b', id, 'kept', sha256_out,
               coalesce(license_concluded, license_declared), language FROM records_b
        UNION ALL SELECT 'b', id, reason, NULL, NULL, NULL FROM ledger_b WHERE action IN ('drop', 'quarantine')
    ), counted AS (
        SELECT *, row_number() OVER (PARTITION BY release, id ORDER BY fate, content) AS n FROM told
    ), fate_a AS (SELECT * FROM counted WHERE release = 'a'), fate_b AS (SELECT * FROM counted WHERE release = 'b')
    SELECT coalesce(fate_a.id, fate_b.id) AS id,
           coalesce(fate_a.fate, 'absent') AS a, coalesce(fate_b.fate, 'absent') AS b,
           coalesce(fate_a.content <> fate_b.content, false) AS content,
           fate_a.fate = 'kept' AND fate_b.fate = 'kept' AND fate_a.license IS DISTINCT FROM fate_b.license AS license,
           fate_a.fate = 'kept' AND fate_b.fate = 'kept' AND fate_a.language IS DISTINCT FROM fate_b.language
           AS language
    FROM fate_a FULL JOIN fate_b ON fate_a.id = fate_b.id AND fate_a.n = fate_b.n
"""
_RECORDS = """
    SELECT unnest(['kept in both, unchanged', 'kept in both, other content', 'kept in both, other license',
                   'kept in both, other language', 'kept in a alone', 'kept in b alone']) AS name,
           unnest([count(*) FILTER (a = 'kept' AND b = 'kept' AND NOT content),
                   count(*) FILTER (content), count(*) FILTER (license), count(*) FILTER (language),
                   count(*) FILTER (a = 'kept' AND b <> 'kept'), count(*) FILTER (a <> 'kept' AND b = 'kept')])
           AS records
    FROM paired
"""
_CHANGED = """
    WITH changed AS (
        SELECT id, a, b, concat_ws(', ', CASE WHEN content THEN 'other content' END,
               CASE WHEN license THEN 'other license' END, CASE WHEN language THEN 'other language' END) AS changed
        FROM paired WHERE a <> b OR content OR license OR language
    )
"""
_BY_FATE = """
    SELECT a, b, changed, count(*) AS records FROM changed GROUP BY ALL ORDER BY records DESC, a, b, changed
"""


def _relation(a: Mapping[str, Any], b: Mapping[str, Any]) -> str | None:
    for new, old, names in ((b, a, "b supersedes a"), (a, b, "a supersedes b")):
        if new.get("supersedes", {}).get("root") == old["root"]:
            return names
        if any(told.get("supersedes") == old["root"] for told in new.get("takedowns", ())):
            return names
    return None


def _versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    packs = {pack["path"]: f"{pack['version']} ({pack['sha256'][:12]})" for pack in manifest["rules"]}
    return {**manifest["software"], **packs}


def _inputs(manifest: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"{file['source']}: {file['path']}": f"{file['records']:,} records, sha256 {file['sha256'][:12]}"
        for file in manifest["inputs"]
    }


def _verdicts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    told = manifest.get("licenses", {})
    return {
        f"{kind}: {key.replace('_', ' ')}": _said(told[kind][key])
        for kind in ("collection", "merged")
        for key in (
            "verdict",
            "expression",
            "commercial",
            "derivatives",
            "attribution",
            "share_alike",
            "outbound",
        )
        if kind in told and key in told[kind]
    }


def _said(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else value


def _sheet(out: Path) -> Sequence[Mapping[str, Any]]:
    """Return the datasheet's questions as its file tells them: that file is rendered from the manifest."""
    path = out / "datasheet.json"
    if not path.is_file():
        return ()
    questions: Sequence[Mapping[str, Any]] = orjson.loads(path.read_bytes()).get("questions", ())
    return questions


def _said_by_a_person(sheet: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    found = {}
    for one in sheet:
        text = one["answer"] if one["answered_by"] == "person" else one["said"]
        found[one["question"]] = f"{text or 'not answered by a person'}{' (stale)' if one['stale'] else ''}"
    return found


def _measured(a: Sequence[Mapping[str, Any]], b: Sequence[Mapping[str, Any]]) -> list[str]:
    before = {one["id"]: [_words(line) for line in one["measured"]] for one in a}
    return [
        one["id"]
        for one in b
        if one["answered_by"] != "person"
        and one["id"] in before
        and before[one["id"]] != [_words(line) for line in one["measured"]]
    ]


def _words(line: Sequence[Any]) -> list[Any]:
    """Return what a line says, without where in the manifest it stands."""
    return [
        part if isinstance(part, str) else part.get("text") or _words(part.get("strong", ())) for part in line
    ]


def _findings(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = [{(found["reason"], found["message"]) for found in m["findings"]} for m in (a, b)]
    changes = [("gone", told[0] - told[1]), ("new", told[1] - told[0])]
    return [
        {"change": change, "reason": reason, "message": message}
        for change, found in changes
        for reason, message in sorted(found)
    ]


def _values(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"name": name, "a": a.get(name), "b": b.get(name)} for name in names if a.get(name) != b.get(name)
    ]


def _kept_by_source(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {source: counts["kept"] for source, counts in manifest["stages"][-1]["sources"].items()}


def _kept_by(manifest: Mapping[str, Any], table: str, key: str, count: str) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in manifest["statistics"][table]:
        name = row[key] or "unknown"
        total[name] = total.get(name, 0) + row[count]
    return total


def _shares(a: Mapping[str, int], b: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return what changed in a mixture: records, and shares of the release in percent."""
    whole = [sum(m.values()) or 1 for m in (a, b)]
    share: Callable[[int, int], str] = lambda n, i: f"{n / whole[i]:.2%}"  # noqa: E731
    names = sorted({*a, *b}, key=lambda name: (-max(a.get(name, 0), b.get(name, 0)), name))
    return [
        {
            "name": name,
            "a": a.get(name, 0),
            "b": b.get(name, 0),
            "share a": share(a.get(name, 0), 0),
            "share b": share(b.get(name, 0), 1),
        }
        for name in names
        if a.get(name, 0) * whole[1] != b.get(name, 0) * whole[0] or a.get(name, 0) != b.get(name, 0)
    ]


def _pairs(a: Mapping[str, int], b: Mapping[str, int]) -> list[dict[str, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return [
        {"name": name, "a": a.get(name, 0), "b": b.get(name, 0), "change": b.get(name, 0) - a.get(name, 0)}
        for name in names
        if a.get(name, 0) != b.get(name, 0)
    ]


def _stage_numbers(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {
        f"{stage['name']}: {name}": stage[name]
        for stage in manifest["stages"]
        for name in ("seen", "dropped", "quarantined", "edited", "flagged")
    }


def _reason_numbers(manifest: Mapping[str, Any]) -> dict[str, int]:
    return {reason: n for stage in manifest["stages"] for reason, n in stage["reasons"].items()}


def _source_numbers(manifest: Mapping[str, Any]) -> dict[str, int]:
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
        order = [
            [x["name"] for x in of if any(x["name"] == y["name"] for y in other)]
            for of, other in ((a, b), (b, a))
        ]
        found = _changed_keys({x["name"]: x for x in a}, {x["name"]: x for x in b}, at)
        return found if order[0] == order[1] else [*found, f"{at} (order)"]
    return [] if a == b else [at]
