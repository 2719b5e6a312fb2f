"""manifest.json: the sole source of truth of a release.

``created`` and ``timing`` are the only parts that may differ between two runs of the same thing; ``root`` is
a hash over everything else.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from curate import rules
from curate.errors import IntegrityError, RecipeError
from curate.io.scan import SourcePlan
from curate.io.write import Shard, write_text
from curate.outcome import Tally
from curate.pipeline import Outcome
from curate.recipe import Recipe
from curate.software import software
from curate.unit import READ

FORMAT = "curate-manifest/1"
NAME = "manifest.json"
UNHASHED = ("created", "timing", "root")
_COUNTS = ("seen", "kept", "dropped", "quarantined", "edited", "flagged")


def inputs(plans: Sequence[SourcePlan]) -> list[dict[str, Any]]:
    """Return every input file with its hash, in canonical order."""
    return [
        {
            "source": file.source,
            "path": file.path,
            "bytes": file.bytes,
            "sha256": file.sha256,
            "records": file.records,
        }
        for plan in plans
        for file in plan.files
    ]


def build(
    recipe: Recipe,
    plans: Sequence[SourcePlan],
    outcome: Outcome,
    shards: Mapping[str, Sequence[Shard]],
    folder: Path,
    statistics: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    gates: Sequence[Mapping[str, Any]],
    timing: Mapping[str, Any],
) -> dict[str, Any]:
    """Put the manifest together; ``root`` is computed last."""
    order = [READ, *(spec.name for spec in recipe.stages)]
    totals = {name: _total(outcome.tallies.get(name, {})) for name in order}
    resolved = recipe.resolved()
    versions = {stage["name"]: stage["version"] for stage in resolved["stages"]}
    packs = sorted({pack for stage in resolved["stages"] for pack in stage["rules"]})
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": recipe.name,
        "version": recipe.version,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "software": software(),
        "recipe": resolved,
        "recipe_sha256": recipe.sha256(),
        "rules": [_rule_pack(name) for name in packs],
        "sources": [
            {"name": plan.source.name, "format": plan.format, "fields": dict(sorted(plan.fields.items()))}
            for plan in plans
        ],
        "inputs": inputs(plans),
        "stages": [
            {
                "name": name,
                **({"version": versions[name]} if name in versions else {}),
                **_counts(totals[name]),
                "reasons": dict(sorted(totals[name].reasons.items())),
                "sources": {s: _counts(t) for s, t in sorted(outcome.tallies.get(name, {}).items())},
                **({"resolution": outcome.summaries[name]} if name in outcome.summaries else {}),
            }
            for name in order
        ],
        "counts": _overall(totals, order, statistics),
        "statistics": dict(statistics),
        "findings": list(findings),
        "gates": list(gates),
        "outputs": [
            {
                "path": shard.path.relative_to(folder).as_posix(),
                "bytes": shard.bytes,
                "sha256": shard.sha256,
                "records": shard.records,
            }
            for name in sorted(shards)
            for shard in shards[name]
        ],
        "timing": dict(timing),
    }
    manifest["root"] = root(manifest)
    return manifest


def root(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the manifest's hashed part, as JSON with sorted keys."""
    hashed = {key: value for key, value in manifest.items() if key not in UNHASHED}
    return hashlib.sha256(orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def save(manifest: Mapping[str, Any], out: Path) -> None:
    """Write manifest.json, whole or not at all."""
    write_text(out / NAME, orjson.dumps(manifest, option=orjson.OPT_INDENT_2).decode() + "\n")


def load(out: Path) -> dict[str, Any]:
    """Read a release's manifest. Raises RecipeError if there is none, IntegrityError if it is not one of ours."""
    path = out / NAME
    if not path.is_file():
        hint = "; its run has not finished, run it again to go on" if (out / "work").is_dir() else ""
        raise RecipeError(f"{out}: not a release, it has no {NAME}{hint}")
    try:
        manifest = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise IntegrityError(
            f"{path}: not JSON (line {error.lineno}); restore it or run the recipe again"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise IntegrityError(f"{path}: 'format' is not {FORMAT!r}; this version of curate cannot read it")
    return manifest


def _rule_pack(name: str) -> dict[str, str]:
    pack = rules.load(name)
    return {"path": pack.path, "version": str(pack.version), "sha256": pack.sha256}


def _total(by_source: Mapping[str, Tally]) -> Tally:
    total = Tally()
    for tally in by_source.values():
        total.add(tally)
    return total


def _counts(tally: Tally) -> dict[str, int]:
    return {name: getattr(tally, name) for name in _COUNTS}


def _overall(
    totals: Mapping[str, Tally], order: Sequence[str], statistics: Mapping[str, Any]
) -> dict[str, int]:
    return {
        "seen": totals[READ].seen,
        "kept": totals[order[-1]].kept,
        "dropped": sum(tally.dropped for tally in totals.values()),
        "quarantined": sum(tally.quarantined for tally in totals.values()),
        "edited": statistics["edited_records"],
        "flagged": sum(tally.flagged for tally in totals.values()),
    }
