"""manifest.json: the sole source of truth of a release.

``created`` and ``timing`` are the only parts that may differ between two runs of the same thing; ``root`` is
a hash over everything else, and ``timing.sha256`` one over these two.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate import rules
from curate.govern import signing
from curate.io.manifest import FORMAT as FORMAT
from curate.io.manifest import NAME as NAME
from curate.io.manifest import dumps, sealed
from curate.io.manifest import hold_to_root as hold_to_root
from curate.io.manifest import load as load
from curate.io.manifest import root as root
from curate.io.scan import SourcePlan
from curate.io.write import Shard, write_bytes
from curate.outcome import Tally
from curate.pipeline import Outcome
from curate.recipe import Recipe
from curate.shards import WrittenIndex
from curate.software import software
from curate.unit import READ

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
    measured: Mapping[str, Any],
    findings: Sequence[Mapping[str, Any]],
    gates: Sequence[Mapping[str, Any]],
    timing: Mapping[str, Any],
    index: WrittenIndex | None = None,
    tree: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put the manifest together; ``root`` is computed last. measured: parts counted from the tables, by key."""
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
        "counts": _overall(totals, order, measured["statistics"]),
        **measured,
        "findings": list(findings),
        "gates": list(gates),
        "outputs": [output(shard, folder) for name in sorted(shards) for shard in shards[name]],
        "timing": dict(timing),
        **({} if tree is None else {"merkle": dict(tree)}),
        **({} if index is None else {"index": _index(index)}),
    }
    return sealed(manifest)


def revised(manifest: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return the manifest with some of its parts changed, or added, and the root of that."""
    return sealed({**manifest, **changes})


def save(manifest: Mapping[str, Any], out: Path) -> None:
    """Write manifest.json, whole or not at all. A signature over another one goes first."""
    content = dumps(manifest)
    signing.retire(out, {NAME: content})
    write_bytes(out / NAME, content)


def output(shard: Shard, folder: Path) -> dict[str, Any]:
    """Return a written file as the manifest lists it, its path relative to the folder."""
    return {
        "path": shard.path.relative_to(folder).as_posix(),
        "bytes": shard.bytes,
        "sha256": shard.sha256,
        "records": shard.records,
        **({} if shard.split is None else {"split": shard.split}),
    }


def _index(index: WrittenIndex) -> dict[str, Any]:
    return {
        "records": sum(shard.records for shard in index.shards),
        "bytes": sum(shard.bytes for shard in index.shards),
        "stages": index.schemes,
    }


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
