"""The datasheet's section on personal data: what was searched for and how well, what was not, and what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from curate.govern.audit import FOLDER, KINDS, QUESTIONS, SAMPLE
from curate.govern.markdown import number, table


def section(manifest: Mapping[str, Any]) -> str:
    """Return the section as Markdown; empty if no stage searched for personal data."""
    parts = [
        part
        for stage in manifest["recipe"]["stages"]
        if "coverage" in stage
        for part in _stage(stage, manifest)
    ]
    return "\n\n".join(["## Personal data", *parts, *_audit(manifest)]) if parts else ""


def _stage(stage: Mapping[str, Any], manifest: Mapping[str, Any]) -> Iterator[str]:
    coverage = stage["coverage"]
    records, edits = Counter[str](), Counter[str]()
    for row in manifest["statistics"]["edits"]:
        records[row["reason"]] += row["records"]
        edits[row["reason"]] += row["edits"]
    decided = next(told for told in manifest["stages"] if told["name"] == stage["name"])["reasons"]
    rows, silent = [], []
    for kind in coverage["searched"]:
        reason = f"{stage['name']}/{kind['kind']}"
        measured = kind.get("measured") or {}
        if not measured and not decided.get(reason):
            silent.append(f"`{kind['kind']}`")
            continue
        rows.append(
            (
                f"`{kind['kind']}`",
                kind["by"],
                _ratio(measured.get("precision")),
                _ratio(measured.get("recall")),
                measured.get("on", "not measured")
                + (f", {number(measured['n'])}" if "n" in measured else ""),
                decided.get(reason, 0),
                records[reason],
                edits[reason],
            )
        )
    head = (
        "kind",
        "searched by",
        "precision",
        "recall",
        "measured on, finds",
        "records",
        "kept, edited",
        "edits",
    )
    yield (
        "Searched for, with the precision and recall that were measured on labelled text, which is not this text: "
        "read them as what to expect at best. Records: those in which the kind was found; kept, edited: those of "
        f"them in the release.\n\n{table(head, rows, 3)}"
    )
    if silent:
        yield f"Searched for too, found nowhere, and not measured for want of labelled text: {', '.join(silent)}."
    reasons: dict[str, list[str]] = {}
    for missing in coverage["not_searched"]:
        reasons.setdefault(missing["why"], []).append(missing["kind"])
    if reasons:
        lines = [f"- {', '.join(kinds)}: {why}" for why, kinds in reasons.items()]
        yield (
            "**Not searched for**, so that nothing is said of whether the release holds it:\n\n"
            + "\n".join(lines)
        )


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _audit(manifest: Mapping[str, Any]) -> Iterator[str]:
    path = f"{FOLDER}/{SAMPLE}"
    drawn = next((entry["records"] for entry in manifest["outputs"] if entry["path"] == path), 0)
    if not drawn:
        return
    told = manifest.get("audit")
    if told is None:
        yield (
            f"**Residual risk: not judged.** A random sample of {drawn:,} kept records waits in `{path}` for a "
            "person to say of each whether personal data is left (`curate audit`)."
        )
        return
    left, wrong = told[QUESTIONS[0]], told[QUESTIONS[1]]
    yield (
        f"**Residual risk.** Of a random sample of {drawn:,} kept records a person judged {left['answered']:,}: "
        f"personal data is left in {_share(left, told)}.{_bounds(left)}{_kinds(told[KINDS])} Of {wrong['answered']:,} "
        f"edited records, {_share(wrong, told)} were edited wrongly. Intervals are exact (Clopper-Pearson)."
    )


def _share(found: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    if "share" not in found:
        return f"{found['yes']:,}"
    bounds = f"{found['low']:.1%} to {found['high']:.1%}"
    return f"{found['yes']:,} ({found['share']:.1%}; {told['confidence']:.0%} interval {bounds})"


def _bounds(left: Mapping[str, Any]) -> str:
    if "records_in_release" not in left:
        return ""
    low, high = left["records_in_release"]
    return f" In the whole release that is {low:,} to {high:,} records."


def _kinds(kinds: Mapping[str, int]) -> str:
    return f" Kinds left: {', '.join(f'{kind} {n:,}' for kind, n in kinds.items())}." if kinds else ""
