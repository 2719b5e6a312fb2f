"""What a take-down leaves on record: the manifest, the request log, the impact report and the suppression list."""

from __future__ import annotations

import datetime
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from curate.govern import drift, profile, representation
from curate.govern import findings as alarms
from curate.govern import manifest as manifests
from curate.govern.takedown.erasing import STAGE, Erased
from curate.govern.takedown.matching import Matched
from curate.govern.takedown.request import Request
from curate.parts import Gates
from curate.stages.suppressing import suppression, wanted
from curate.stages.suppressing.suppression import Secret
from curate.stages.suppressing.wanted import Rule

REQUESTS = "requests.ndjson"
_COUNTS = ("seen", "kept", "dropped", "quarantined", "edited", "flagged")
_BETWEEN = re.compile(r"[\s,;()'\"→]+")


def now() -> str:
    """Return the time, to the second, in UTC."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def listed(
    earlier: pa.Table | None, number: int, request: Request, matched: Matched, erased: Erased, rule: Rule,
    secret: Secret, manifest: Mapping[str, Any],
) -> pa.Table:  # fmt: skip
    """Return the suppression list with what this take-down adds to it.

    Ids that only say in which row of a file a record stood are left out, unless nothing else is known of it as it
    was read (removed/, which held that, was not kept): where the file changes, they name other records.
    """
    stable = {source["name"] for source in manifest["sources"] if "id" in source["fields"]}
    unknown = matched.nowhere | (set() if manifest["recipe"]["output"]["keep_removed"] else erased.edited)
    named = [n for n, source in matched.erased.items() if source in stable or n in unknown]
    found = [] if earlier is None else [earlier]
    values = {"id": named, "author": request.authors, "url": request.urls, "domain": request.hosts}
    for kind, some in values.items():
        found.append(suppression.rows(number, kind, some, secret))
    found.append(suppression.texts(number, erased.texts, secret))
    targets = matched.targets
    if not manifest["recipe"]["output"]["keep_removed"]:
        # What was dropped because of these is known by id alone, and that may be no more than a row's number.
        targets = erased.texts
    if targets:
        sets = [wanted.of_records(batch, rule, secret.shingles) for batch in targets]
        found.append(suppression.sets(number, "record", _distinct(pa.concat_tables(sets)), rule, False))
    if request.texts:
        sets = [wanted.of_texts(request.texts, rule, secret.shingles)]
        found.append(suppression.sets(number, "passage", sets[0], rule, request.contained))
    return pa.concat_tables(found).combine_chunks()


def _distinct(sets: pa.Table) -> pa.Table:
    """Return each set once, in an order that tells nothing."""
    rows = {orjson.dumps(row): row for row in sets.to_pylist()}
    return pa.Table.from_pylist([rows[told] for told in sorted(rows)], sets.schema)


def revised(
    manifest: Mapping[str, Any], content: bytes, number: int, request: Request, matched: Matched, erased: Erased,
    times: Mapping[str, str], outputs: Sequence[Mapping[str, Any]], measured: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return the manifest of what is left. content: the bytes of the one before."""
    kept = Counter(place.partition("\0")[0] for place in {row.place for row in matched.kept})
    reasons = Counter(f"{STAGE}/{matched.kinds[row.place]}" for row in matched.kept)
    told = _cleared(manifest, matched, erased)
    counts, gone = dict(manifest["counts"]), sum(kept.values())
    counts["kept"] -= gone
    counts["dropped"] += gone
    if "edited_records" in measured.get("statistics", {}):
        counts["edited"] = measured["statistics"]["edited_records"]
    merkle = dict(manifest.get("merkle") or {})
    changes: dict[str, Any] = {
        **measured,
        "created": times["done"],
        "stages": _staged(told["stages"], kept, reasons),
        "counts": counts,
        **_judged(manifest, told["findings"], measured),
        "outputs": sorted(outputs, key=lambda entry: str(entry["path"])),
        "supersedes": {"root": manifest["root"], "manifest_sha256": hashlib.sha256(content).hexdigest()},
        "takedowns": [
            *manifest.get("takedowns", ()),
            entry(number, request, matched, erased, times, manifest),
        ],
    }
    if merkle:
        changes["merkle"] = {**merkle, "erased": merkle.get("erased", 0) + gone}
    if "index" in manifest:
        own = [entry for entry in outputs if entry["path"].startswith("index/")]
        totals = {name: sum(entry[name] for entry in own) for name in ("records", "bytes")}
        changes["index"] = {**manifest["index"], **totals}
    rest = {key: part for key, part in manifest.items() if key not in profile.PARTS or key in measured}
    return manifests.revised(rest, **changes)


def _judged(
    manifest: Mapping[str, Any], findings: Sequence[dict[str, Any]], measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Return findings and gates, those again that come of what was counted again: both give the same numbers."""
    limits = Gates(max_mixture_shift=(manifest["recipe"].get("gates") or {}).get("max_mixture_shift"))
    again = alarms.shifts(limits, measured["mixture"])
    gates = alarms.shift_gate(limits, measured["mixture"])
    old = ["/mixture-shift"]
    if "representation" in measured:
        again += representation.findings(measured)
        old.append("/representation")
    if told := measured.get("drift"):
        again += drift.findings(told)
        gates.append(drift.gate(told))
        old.append("drift/shifted")
    new = {gate["gate"]: gate for gate in gates}
    return {
        "findings": [*(one for one in findings if not one["reason"].endswith(tuple(old))), *again],
        "gates": [new.get(gate["gate"], gate) for gate in manifest.get("gates", ())],
    }


def entry(
    number: int, request: Request, matched: Matched, erased: Erased, times: Mapping[str, str],
    manifest: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return what the manifest says of this take-down."""
    return {
        "request": number,
        "reference": request.reference,
        **times,
        "by": request.kinds,
        "records": matched.records - matched.near,
        "near_duplicates": matched.near,
        "removed": len({row.place for row in matched.kept}),
        "shards": sorted(erased.shards),
        "supersedes": manifest["root"],
    }


def _staged(
    stages: Sequence[dict[str, Any]], kept: Mapping[str, int], reasons: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return the funnel with one row for all take-downs: it saw what the run kept."""
    rest = [stage for stage in stages if stage["name"] != STAGE]
    held = next((stage for stage in stages if stage["name"] == STAGE), None)
    if held is None:
        last = rest[-1]
        sources = {
            source: {**dict.fromkeys(_COUNTS, 0), "seen": n["kept"], "kept": n["kept"]}
            for source, n in last["sources"].items()
        }
        whole = {**dict.fromkeys(_COUNTS, 0), "seen": last["kept"], "kept": last["kept"]}
        held = {"name": STAGE, **whole, "reasons": {}, "sources": sources}
    held = {**held, "sources": {source: dict(n) for source, n in held["sources"].items()}}
    for source, n in kept.items():
        for totals in (held, held["sources"][source]):
            totals["kept"] -= n
            totals["dropped"] += n
    held["reasons"] = dict(sorted((Counter(held["reasons"]) + Counter(reasons)).items()))
    return [*rest, held]


def _cleared(manifest: Mapping[str, Any], matched: Matched, erased: Erased) -> dict[str, Any]:
    """Return findings and stages without anything that names an erased record."""
    names = set(matched.erased) | erased.hashes | {place.partition("\0")[2] for place in matched.kinds}

    def cleared(value: Any) -> Any:
        if isinstance(value, str):
            return "erased" if _names_one(value, names) else value
        if isinstance(value, list):
            return [cleared(one) for one in value if not (isinstance(one, str) and _names_one(one, names))]
        return {key: cleared(one) for key, one in value.items()} if isinstance(value, dict) else value

    findings = []
    for finding in manifest["findings"]:
        one = cleared(finding)
        if one.get("message") == "erased":  # a sentence loses the name alone
            one["message"] = "".join(
                "erased" if part in names else part
                for part in re.split(r"([\s,;()'\"→]+)", finding["message"])
            )
        findings.append(one)
    return {"findings": findings, "stages": cleared(list(manifest["stages"]))}


def _names_one(text: str, names: set[str]) -> bool:
    return text in names or not names.isdisjoint(_BETWEEN.split(text))


def logged(request: Request, matched: Matched, entry: Mapping[str, Any], secret: Secret) -> bytes:
    """Return the line of the request log: its criteria as keyed hashes."""
    line = {
        **entry,
        "criteria": request.hashed(secret),
        "contained": request.contained,
        "containing_left": len(matched.containing),
        "key": secret.fingerprint,
    }
    return orjson.dumps(line) + b"\n"


def impact(
    out: Path, manifest: Mapping[str, Any], request: Request, matched: Matched, shards: Sequence[str]
) -> dict[str, Any]:
    """Return what the take-down reaches, and what it cannot: without any id, so that it may be kept."""
    reasons = Counter(matched.kinds.values()) + Counter({"id": len(matched.nowhere)})
    parts: dict[str, int] = {}
    for part in ("data", "removed", "edited"):
        parts[part] = len({row.place for row in matched.found if row.part == part})
    return {
        "by": request.kinds,
        "records": matched.records - matched.near,
        "near_duplicates": matched.near,
        "reasons": dict(sorted(reasons.items())),
        "rows": parts,
        "containing_left": len(matched.containing),
        "shards": sorted(shards),
        "inputs": _inputs(manifest, matched),
        "releases": [_this(out, manifest), *_others(out, manifest, matched)],
        "adapters": _adapters(out),
        "errata": f"{matched.records:,} records were erased on request, {parts['data']:,} of them from data/",
        "beyond": "Copies of this release, backups, and models trained on it are not reached by this command.",
    }


def _inputs(manifest: Mapping[str, Any], matched: Matched) -> list[dict[str, Any]]:
    """Return the input files that the erased records were read from: the text still lies there."""
    files: Counter[tuple[str, str]] = Counter()
    for place in matched.kinds:
        source, _, locator = place.partition("\0")
        files[source, locator.rpartition("#")[0]] += 1
    return [{"source": source, "path": path, "records": n} for (source, path), n in sorted(files.items())]


def _this(out: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    named = {key: manifest[key] for key in ("name", "version", "root")}
    return {"folder": out.resolve().name, **named, "why": "is taken down from"}


def _others(out: Path, manifest: Mapping[str, Any], matched: Matched) -> list[dict[str, Any]]:
    """Return the releases beside this one that hold such ids, or were deduplicated against this one."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from curate.errors import CurateError

    roots = {manifest["root"], *(entry["supersedes"] for entry in manifest.get("takedowns", ()))}
    ids = pa.array(sorted(matched.erased), pa.string())
    here, found = out.resolve(), []
    near = [*_folders(here.parent), *(folder / here.name for folder in _folders(here.parent.parent))]
    for folder in sorted({path for path in near if path != here}):
        try:
            other = manifests.load(folder)
            against = {
                one.get("root")
                for stage in other["stages"]
                for one in stage.get("resolution", {}).get("against", ())
            }
            held = 0
            for path in sorted((folder / "records").glob("part-*.parquet")):
                column = pq.read_table(path, columns=["id"], partitioning=None).column("id")
                held += pc.sum(pc.is_in(column, ids)).as_py() or 0
        except (CurateError, OSError, KeyError, pa.ArrowException):
            continue
        why = [f"holds {held:,} records of these ids"] if held else []
        why += ["was deduplicated against this release"] if against & roots else []
        if why:
            named = {key: other[key] for key in ("name", "version", "root")}
            shown = folder.name if folder.parent == here.parent else f"{folder.parent.name}/{folder.name}"
            found.append({"folder": shown, **named, "why": "; ".join(why)})
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:  # not ours to read
        return []


def _adapters(out: Path) -> list[str]:
    """Return the adapters under OUT/tune, which were trained on this release."""
    return [f"tune/adapters/{path.name}" for path in _folders(out / "tune" / "adapters")]
