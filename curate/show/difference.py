"""What changed between two releases, as the terminal shows it."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.text import Text

from curate.govern.difference import Difference
from curate.govern.drift import ALPHA, LIMIT
from curate.show import rows

_TABLES = {
    "software": "Software and rule packs",
    "inputs": "Input files",
    "counts": "Counts",
    "stages": "Stages",
    "reasons": "Reasons",
    "sources": "Sources",
    "mixture": "Mixture of the kept records, by source",
    "languages": "Mixture by language",
    "licenses": "Mixture by license",
    "verdicts": "What the licenses together allow",
    "findings": "Findings",
    "answers": "A person's answers in the datasheet",
}
_NUMBERS = ("a", "b", "change", "share a", "share b")


def difference(d: Difference) -> Group:
    """Return what changed between two releases."""
    parts: list[Any] = []
    if d.recipe:
        parts.append(Text("recipe changed at: " + ", ".join(d.recipe)))
    for name, title in _TABLES.items():
        if found := getattr(d, name):
            numeric = isinstance(found[0].get("a"), int)
            parts.append(rows(title, found, _NUMBERS if numeric else ()))
    if d.drift:
        parts.append(_drift(d.drift))
    if d.measured:
        parts.append(Text("measured answers of the datasheet that differ: " + ", ".join(d.measured)))
    if d.takedowns:
        told = [
            f"take-down {t['request']}: {t['records']:,} kept records, {t['near_duplicates']:,} near-duplicates"
            for t in d.takedowns
        ]
        parts.append(Text("\n".join(told)))
    if d.fates:
        parts.append(rows("Records", d.records, ("records",)))
        parts.append(rows("Records whose fate, content, license or language changed", d.fates, ("records",)))
        parts.append(rows("Examples", d.examples, ()))
    if not parts:
        return Group(Text("no difference"))
    heads = [f"{key}: {r['name']} {r['version']}, root {r['root'][:16]}…" for key, r in d.releases.items()]
    heads += [d.relation] if d.relation else []
    return Group(Text("\n".join(heads)), *parts)


def _drift(found: list[dict[str, Any]]) -> Group:
    told = [
        {
            "dimension": one["dimension"],
            "distance": f"{one['distance']:.3f}",
            "p": f"{one['p']:.4f}",
            "most changed": one["label"] if one["label"] is not None else "all others",
            "share a": f"{one['share_a']:.2%}",
            "share b": f"{one['share_b']:.2%}",
            "verdict": "drifted" if one["drifted"] else "small" if one["p"] <= ALPHA else "as by chance",
        }
        for one in found
    ]
    title = f"Drift of the kept records (drifted: distance above {LIMIT}, p at most {ALPHA})"
    return rows(title, told, ("distance", "p", "share a", "share b"))
