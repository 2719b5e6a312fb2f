"""What a person should look at in a release's licenses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_SHOWN = 3  # pairs that one message names


def findings(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the findings that the manifest's part ``licenses`` gives."""
    return [*_disagreements(section), *_verdicts(section), *_generated(section)]


def _finding(
    reason: str, message: str, count: int, examples: Sequence[str] = (), severity: str = "warning"
) -> dict[str, Any]:
    return {
        "reason": f"release/{reason}",
        "severity": severity,
        "message": message,
        "count": count,
        "examples": list(examples),
    }


def _disagreements(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    for source in sorted({row["source"] for row in section["disagreements"]}):
        rows = [row for row in section["disagreements"] if row["source"] == source]
        ordered = sorted(rows, key=lambda row: (-row["records"], row["declared"], row["detected"]))
        said = "; ".join(
            f"{row['detected']} where {row['declared']} is declared ({row['records']:,}"
            f"{', asks for more' if row['detected_is_stricter'] else ''})"
            for row in ordered[:_SHOWN]
        )
        more = f"; {len(ordered) - _SHOWN} more of such pairs" if len(ordered) > _SHOWN else ""
        count = sum(row["records"] for row in rows)
        stricter = any(row["detected_is_stricter"] for row in rows)
        advice = "the declared license stays the concluded one"
        advice += (
            "; what the records say asks for more: find out which is right, or set disagreement: quarantine"
            if stricter
            else ""
        )
        records = "1 record" if count == 1 else f"{count:,} records"
        found.append(
            _finding(
                "license-disagreement",
                f"{records} of source {source} {'says' if count == 1 else 'say'} another license than is declared: "
                f"{said}{more}; {advice}",
                count,
            )
        )
    return found


def _verdicts(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    if section["collection"]["verdict"] == "conflict":
        reasons = " ".join(section["collection"]["reasons"])
        found.append(
            _finding("collection-conflict", f"the release may not be published as it is: {reasons}", 1)
        )
    if pairs := section["conflicts"]:
        named = " ".join(dict.fromkeys(pair["reason"] for pair in pairs[:_SHOWN]))
        more = f" {len(pairs) - _SHOWN} more of such pairs." if len(pairs) > _SHOWN else ""
        found.append(
            _finding(
                "merge-conflict",
                f"the records may stand side by side but not become one work, as packing may make them: {named}{more}",
                len(pairs),
                [f"{pair['a']} × {pair['b']}" for pair in pairs[:10]],
                "note",  # nothing is merged yet
            )
        )
    return found


def _generated(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    counts: dict[str, int] = {}
    for row in section["records"]:
        counts[row["source"]] = counts.get(row["source"], 0) + row["records"]
    found = []
    for entry in section["generated"]:
        held = counts.get(entry["source"], 0)
        records = "1 record" if held == 1 else f"{held:,} records"
        told = f"{records} of source {entry['source']} {'was' if held == 1 else 'were'} written by {entry['model']}"
        if entry["license"]:
            found.append(
                _finding(
                    "output-terms",
                    f"{told}, whose terms of output bind whoever trains on them ({entry['license']}): read them "
                    "against what is to be trained",
                    held,
                )
            )
        elif not entry["read"]:
            state = "are not among those known here" if entry["stated"] else "are not stated"
            found.append(_finding("output-terms", f"{told}, whose terms of output {state}: read them", held))
    return [entry for entry in found if entry["count"]]
