"""The datasheet's section on languages: what was told of how many records, and what the telling is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.govern.markdown import share, table

STAGE = "language"


def section(manifest: Mapping[str, Any]) -> str:
    """Return the section as Markdown; empty if no stage told a language."""
    rows = manifest["statistics"]["languages"]
    if not rows:
        return ""
    found = [(row["language"], row["source"], row["before"], row["after"]) for row in rows]
    parts = [
        "## Languages",
        *notes(manifest),
        "Of the records that reached the language stage: by the language it told (before), and those in the "
        "release (after).",
        table(("language", "source", "before", "after"), found, 2),
        _untold(manifest["statistics"].get("languages_untold", ())),
    ]
    return "\n\n".join(part for part in parts if part)


def notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the language stage has to say of its engine, which stands beside the histogram alone."""
    stages = manifest["recipe"]["stages"]
    told = bool(manifest["statistics"]["languages"])
    return [note for stage in stages if told and stage["name"] == STAGE for note in stage.get("notes", ())]


def _untold(rows: Any) -> str:
    """Return how many records were undetermined, not linguistic, or of more than one language."""
    if not rows:
        return ""
    cells = []
    for row in rows:
        judged = row["judged"]
        counts = [
            f"{row[kind]:,} ({share(row[kind], judged)})"
            for kind in ("undetermined", "not_linguistic", "mixed")
        ]
        cells.append((row["source"], judged, *counts, row["mixed_kept"]))
    head = ("source", "judged", "undetermined", "not linguistic", "mixed", "mixed, in the release")
    intro = "Of these, without a language (too short, or not linguistic), or with a second one:"
    return f"{intro}\n\n{table(head, cells, 5)}"
