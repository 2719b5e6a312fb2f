"""The datasheet's section on duplicates: what each stage looked for, found, and did not look at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from curate.govern.markdown import number, table

WIDEST = 12  # sources that a matrix shows: more columns fit no page
PAIRS = 30  # of sources, shown where there are more sources
_ASKED = ("similarity", "recall")
_LABELS = {
    "records": "records seen",
    "too_long": "longer than the model reads",
    "left_out": "not compared",
    "met": "that share a key with another",
    "candidates": "read again as candidates",
    "verified_pairs": "pairs compared exactly",
    "accepted_pairs": "pairs similar enough",
    "capped_buckets": "groups of look-alikes too large to compare all",
    "skipped_comparisons": "comparisons left out in these",
    "clusters": "clusters",
    "dropped": "records dropped",
    "largest_cluster": "records of the largest cluster",
}
_IN_TEXT = ("bands", "rows")  # told elsewhere than in the table


def is_deduplicating(stage: Mapping[str, Any]) -> bool:
    """Tell whether a stage of the manifest states clusters of duplicates."""
    resolution = stage.get("resolution", {})
    return "overlap" in resolution or "sizes" in resolution


def section(manifest: Mapping[str, Any]) -> str:
    """Return the section as Markdown; empty if no stage deduplicates."""
    options = {stage["name"]: stage["options"] for stage in manifest["recipe"]["stages"]}
    parts = [
        part
        for stage in manifest["stages"]
        if is_deduplicating(stage)
        for part in _stage(stage["name"], options[stage["name"]], stage["resolution"])
    ]
    if not parts:
        return ""
    intro = (
        "Of each cluster of records that are alike, one is kept; every other is compared with that one itself. "
        "`clusters/` names them all."
    )
    return "\n\n".join(["## Duplicates", intro, *parts])


def _stage(name: str, options: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    parts = [f"### {name}", _asked(options, found), _numbers(found), _curve(found), _sizes(found)]
    if "similarity" in options:
        parts.append(_similarities(found))
    return [part for part in (*parts, _overlap(found.get("overlap", ()))) if part]


def _asked(options: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    asked = [f"{key} {number(options[key])}" for key in _ASKED if key in options]
    text = f"Asked for: {', '.join(asked)}." if asked else ""
    if "bands" in found and "rows" in found:
        text += f" Compared by {found['bands']:,} bands × {found['rows']:,} rows"
        if "predicted_recall" in found:
            chance = _chance(found["predicted_recall"])
            text += f", which find a pair of the similarity asked for with a chance of {chance}"
        text += "."
    return text.strip()


def _chance(value: float) -> str:
    """Return a chance with four decimals, rounded down: only what is certain reads as certain."""
    return f"{math.floor(value * 1e4) / 1e4:.4f}"


def _numbers(found: Mapping[str, Any]) -> str:
    told = {key: value for key, value in found.items() if not isinstance(value, (list, tuple, dict))}
    if all(key in told for key in _IN_TEXT):
        told = {key: value for key, value in told.items() if key not in (*_IN_TEXT, "predicted_recall")}
    rows = [(_LABELS.get(key, key.replace("_", " ")), number(value)) for key, value in told.items()]
    for release in found.get("against", ()):
        label = f"records dropped, too, as release {release['name']} {release['version']} holds them"
        rows.append((label, number(release["dropped"])))
    return table(("", "number"), rows, 1) if rows else ""


def _curve(found: Mapping[str, Any]) -> str:
    if "s_curve" not in found:
        return ""
    rows = [(f"{similarity:.2f}", _chance(chance)) for similarity, chance in found["s_curve"]]
    note = "Chance that a pair becomes a candidate, by its similarity; candidates are compared exactly:"
    return f"{note}\n\n{table(('similarity', 'chance'), rows, 2)}"


def _sizes(found: Mapping[str, Any]) -> str:
    rows = [(size["size"], size["clusters"], size["records"]) for size in found.get("sizes", ())]
    if not rows:
        return ""
    return f"Clusters by size:\n\n{table(('records in a cluster', 'clusters', 'records'), rows, 2)}"


def _similarities(found: Mapping[str, Any]) -> str:
    rows = []
    for step in found.get("similarities", ()):
        least, end = f"{step['from']:.2f}", f"{step['to']:.2f}"
        rows.append((f"{least} to below {end}" if least != end else least, step["records"]))
    if not rows:
        return ""
    head = ("similarity", "records dropped")
    return f"Dropped records by their similarity to the record kept:\n\n{table(head, rows, 1)}"


def _overlap(pairs: Sequence[Mapping[str, Any]]) -> str:
    if not pairs:
        return ""
    sources = sorted({pair[side] for pair in pairs for side in ("source", "kept_source")})
    what = (
        "Overlap of sources: records dropped because of a kept one, and what share they are of those of their "
        "source that this stage saw."
    )
    if len(sources) > WIDEST:
        first = sorted(pairs, key=lambda pair: (-pair["records"], pair["source"], pair["kept_source"]))[
            :PAIRS
        ]
        rows = [(pair["source"], pair["kept_source"], _cell(pair)) for pair in first]
        note = "Only the pairs with the most records are shown; `manifest.json` has all."
        shown = note if len(pairs) > PAIRS else ""
        head = ("source of the dropped", "source of the kept", "records")
        return f"{what} {shown}".strip() + f"\n\n{table(head, rows, 1)}"
    cells = {(pair["source"], pair["kept_source"]): _cell(pair) for pair in pairs}
    dropped, kept = (sorted({pair[side] for pair in pairs}) for side in ("source", "kept_source"))
    matrix = [(source, *(cells.get((source, other), "–") for other in kept)) for source in dropped]
    head = ("dropped \\ kept", *kept)
    return f"{what} Rows: source of the dropped; columns: of the kept.\n\n{table(head, matrix, len(kept))}"


def _cell(pair: Mapping[str, Any]) -> str:
    return f"{pair['records']:,}" + (f" ({pair['share']:.1%})" if "share" in pair else "")
