"""What can be made again from the manifest and the tables: totals, measures, derived files, documents."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
from pyarrow.parquet import ParquetFile

from curate import __version__
from curate.govern import derived, measures
from curate.govern.verify.report import Outcome
from curate.io.manifest import NAME
from curate.ledger import connect, query

MEMORY = 10**9  # bytes that DuckDB may use
_REMOVING = {"drop": "dropped", "quarantine": "quarantined"}


def totals(out: Path, manifest: Mapping[str, Any], outcome: Outcome) -> None:
    """Check that the counts add up, and that records/, removed/ and ledger/ have the rows that they tell of."""
    counts, stages = manifest["counts"], manifest["stages"]
    outcome.counted = {"seen": counts["seen"], "stages": len(stages)}
    outcome.said = (
        f"{counts['seen']:,} seen = {counts['kept']:,} kept + {counts['dropped']:,} dropped + "
        f"{counts['quarantined']:,} quarantined, in all and in {len(stages):,} stages"
    )
    _sums(counts, "counts", outcome)
    before = None
    for stage in stages:
        where = f"stage {stage['name']}"
        _sums(stage, where, outcome)
        for key in ("seen", "kept", "dropped", "quarantined", "edited", "flagged"):
            if sum(source[key] for source in stage["sources"].values()) != stage[key]:
                outcome.wrong(NAME, f"{where}: {key} of its sources does not add up to {stage[key]:,}")
        if before is not None and stage["seen"] != before:
            outcome.wrong(NAME, f"{where}: saw {stage['seen']:,} records, the stage before kept {before:,}")
        before = stage["kept"]
    if before != counts["kept"] or (stages and stages[0]["seen"] != counts["seen"]):
        outcome.wrong(NAME, "counts: seen and kept are not those of the first and the last stage")
    for key in ("dropped", "quarantined"):
        if sum(stage[key] for stage in stages) != counts[key]:
            outcome.wrong(NAME, f"counts: {key} of the stages does not add up to {counts[key]:,}")
    _tables(out, manifest, outcome)
    _splits(out, manifest, outcome)


def _splits(out: Path, manifest: Mapping[str, Any], outcome: Outcome) -> None:
    """Hold the shards to the splits that they are listed for: records/ states each record's, a null is ``train``."""
    listed = {
        entry["path"]: entry for entry in manifest["outputs"] if entry["path"].startswith("records/part-")
    }
    if all("split" not in entry for entry in listed.values()):
        return
    of_data = {
        entry["path"].partition("/")[2].partition(".")[0]: entry.get("split")
        for entry in manifest["outputs"]
        if entry["path"].startswith("data/part-")
    }
    for path, entry in listed.items():
        if not (out / path).is_file():
            continue  # told elsewhere
        with ParquetFile(out / path) as file:
            held = {"train"} if "split" not in file.schema_arrow.names else set()
            for group in range(file.num_row_groups if not held else 0):
                column = file.read_row_group(group, columns=["split"]).column("split")
                held |= {"train" if split is None else split for split in pc.unique(column).to_pylist()}
        if held - {entry.get("split")}:
            outcome.wrong(
                path, f"holds records of the split {min(held - {entry.get('split')})}, not only of its own"
            )
        if of_data.get(Path(path).stem) != entry.get("split"):
            outcome.wrong(NAME, f"{path} is listed for another split than the shard of data/ beside it")


def _sums(counts: Mapping[str, int], where: str, outcome: Outcome) -> None:
    if counts["seen"] != counts["kept"] + counts["dropped"] + counts["quarantined"]:
        outcome.wrong(NAME, f"{where}: seen is not kept + dropped + quarantined")


def _tables(out: Path, manifest: Mapping[str, Any], outcome: Outcome) -> None:
    """Hold the tables' rows to the counts."""
    with connect(out) as connection:
        views = {row["name"] for row in query(connection, "SELECT view_name AS name FROM duckdb_views()")}
        held = query(connection, "SELECT count(*) AS n FROM records")[0]["n"]
        decided = query(connection, "SELECT stage, action, reason, count(*) AS n FROM ledger GROUP BY ALL")
        removed = {
            name: query(connection, f"SELECT {_STAGE}, count(*) AS n FROM {name} GROUP BY ALL")
            for name in ("removed", "edited")
            if name in views
        }
        suppressed = query(connection, _SUPPRESSED)
    kept = manifest["counts"]["kept"]
    if held != kept:
        outcome.wrong("records", f"{held:,} rows, the manifest counts {kept:,} kept")
    actions: defaultdict[str, Counter[str]] = defaultdict(Counter)
    reasons: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in decided:
        actions[row["stage"]][row["action"]] += row["n"]
        reasons[row["stage"]][row["reason"]] += row["n"]
    for stage in manifest["stages"]:
        name = stage["name"]
        if reasons[name] != Counter(stage["reasons"]):
            outcome.wrong("ledger", f"stage {name}: the reasons do not add up to those of the manifest")
        for action, key in _REMOVING.items():
            if actions[name][action] != stage[key]:
                said = f"stage {name}: {actions[name][action]:,} rows {action}, the manifest counts {stage[key]:,}"
                outcome.wrong("ledger", said)
    for view, rows in removed.items():
        _removed(manifest, view, [*rows, *(suppressed if view == "removed" else ())], outcome)
    if strange := sorted(set(actions) - {stage["name"] for stage in manifest["stages"]}):
        outcome.wrong("ledger", f"has decisions of the stage {strange[0]}, which the manifest does not know")


def _removed(
    manifest: Mapping[str, Any], view: str, rows: Sequence[Mapping[str, Any]], outcome: Outcome
) -> None:
    """Hold removed/ to the stages' counts; a take-down erases records there, too, and counts how many at most."""
    erased = sum(t["records"] + t["near_duplicates"] for t in manifest.get("takedowns") or ())
    where = "removed/part-*" if view == "removed" else "removed/edited-*"
    found: Counter[tuple[str, str]] = Counter()
    for row in rows:
        found[row["stage"], row["action"]] += row["n"]
    short = 0
    for stage in manifest["stages"]:
        for action, key in (_REMOVING if view == "removed" else {"edit": "edited"}).items():
            held, wanted = found.pop((stage["name"], action), 0), stage[key]
            short += wanted - held
            if held > wanted or wanted - held > erased:
                said = f"stage {stage['name']}: {held:,} records {key}, the manifest counts {wanted:,}"
                outcome.wrong(where, said)
    if short > erased and not outcome.findings and view == "removed":
        outcome.wrong(where, f"{short:,} records are missing, and take-downs erased {erased:,}")
    if found:
        outcome.wrong(where, "holds records that no stage of the manifest removed")


_STAGE = "curate.stage AS stage, curate.action AS action"
# What a suppression list holds is counted and goes nowhere, not even into removed/.
_SUPPRESSED = """
    SELECT stage, action, count(*) AS n FROM ledger
    WHERE id LIKE '%/suppressed-%' AND action IN ('drop', 'quarantine') GROUP BY ALL
"""


def measured(out: Path, manifest: Mapping[str, Any], outcome: Outcome) -> None:
    """Check that what the manifest counts from the tables is what they hold."""
    if not any(entry["path"].startswith("removed/") for entry in manifest["outputs"]):
        outcome.skip("removed/ was not kept, and some of it was counted there")
        return
    again = measures.measure(out, manifest["recipe"], MEMORY)
    for key, value in again.items():
        if at := _difference(orjson.loads(orjson.dumps(value)), manifest.get(key), f"/{key}"):
            outcome.wrong(NAME, f"{at} is not what the tables hold")
    outcome.counted = {"parts": len(again)}
    outcome.said = f"{', '.join(again)} counted again"


def _difference(a: Any, b: Any, at: str) -> str | None:
    """Return the JSON pointer of the first place where two values differ, None where they do not."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [*a, *(key for key in b if key not in a)]
        places = (
            f"{at}/{key}" if (key in a) != (key in b) else _difference(a[key], b[key], f"{at}/{key}")
            for key in keys
        )
        return next((place for place in places if place), None)
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        places = (_difference(x, y, f"{at}/{i}") for i, (x, y) in enumerate(zip(a, b, strict=True)))
        return next((place for place in places if place), None)
    return None if a == b and type(a) is type(b) else at


def made(out: Path, manifest: Mapping[str, Any], outcome: Outcome) -> None:
    """Make the derived files again, in a folder of their own, and compare."""
    listed = {entry["path"] for entry in manifest["outputs"]}
    ours = {path for path in listed if path.split("/")[0] in derived.MAKERS}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for path in listed - ours:
            (scratch / path).parent.mkdir(parents=True, exist_ok=True)
            _link(out / path, scratch / path)
        again = derived.write(scratch, MEMORY)
        found = {
            shard.path.relative_to(scratch).as_posix(): shard.path
            for shards in again.values()
            for shard in shards
        }
        for path in sorted(ours | set(found)):
            if path not in found:
                outcome.wrong(path, "is not among the files that the tables give")
            elif path not in ours:
                outcome.wrong(path, "the tables give this file, and the manifest does not list it")
            elif said := difference((out / path).read_bytes(), found[path].read_bytes()):
                outcome.wrong(path, f"{said} what the tables give{_version(manifest)}")
    outcome.counted = {"files": len(ours)}
    outcome.said = f"{len(ours):,} files made again from the tables"


def _link(target: Path, path: Path) -> None:
    try:
        path.symlink_to(target.resolve())
    except OSError:  # a system that keeps links to administrators
        shutil.copyfile(target, path)


def documents(
    out: Path,
    manifest: Mapping[str, Any],
    rendered: Mapping[str, bytes],
    signed: Mapping[str, str],
    found: Mapping[str, tuple[int, str]],
    outcome: Outcome,
) -> None:
    """Compare every document with what the manifest gives, and with what was signed.

    signed: SHA-256 of what the statement names; found: of what is there.
    """
    for path, content in rendered.items():
        if path not in found:
            outcome.wrong(path, f"is missing{_version(manifest)}")
        elif said := difference((out / path).read_bytes(), content):
            outcome.wrong(path, f"{said} what the manifest gives{_version(manifest)}")
        elif signed and signed.get(path) != found[path][1]:
            outcome.wrong(path, "is not the document that was signed")
    outcome.counted = {"documents": len(rendered)}
    outcome.said = f"{len(rendered):,} documents rendered again from the manifest"


def difference(there: bytes, wanted: bytes) -> str | None:
    """Say where a file differs from the wanted one: by line where it is text, else by byte; None where it does not."""
    if there == wanted:
        return None
    at = len(there) if wanted.startswith(there) else _first_difference(there, wanted)
    if b"\0" in wanted or b"\0" in there[:at]:
        return f"byte {at + 1:,} differs from"
    line = wanted.count(b"\n", 0, at) + 1
    return f"line {line:,} differs from"


def _first_difference(a: bytes, b: bytes) -> int:
    """Return where two files differ first; a is not the beginning of b."""
    same, other = 0, len(a)  # the beginnings of these lengths are the same, and are not
    while other - same > 1:
        middle = (same + other) // 2
        if a[same:middle] == b[same:middle]:
            same = middle
        else:
            other = middle
    return same


def _version(manifest: Mapping[str, Any]) -> str:
    """Say so where another version of curate wrote the release: its documents need not be the same."""
    theirs = (manifest.get("software") or {}).get("curate")
    return (
        ""
        if theirs == __version__
        else f" (made by curate {theirs}, this is {__version__}: verify with that one)"
    )
