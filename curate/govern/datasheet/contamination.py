"""The datasheet's section on evaluation items: which sets were looked for, and what was found of them."""

from __future__ import annotations

from curate.govern.datasheet.blocks import Cell, Section, say, table
from curate.govern.datasheet.values import Held, short_hash, show

_CAPTION = "Evaluation items looked for, and found"
_COUNTS = ("items", "told", "found", "removed", "flagged")


def section(m: Held) -> Section:
    """Return the section; empty if no evaluation set was looked for."""
    held = m.get("contamination")
    if not held:
        return Section("contamination", "Evaluation items")
    rows: list[tuple[Cell, ...]] = [
        (show(row["path"]).as_code(), short_hash(row["sha256"]), *(show(row[name]) for name in _COUNTS))
        for row in held
    ]
    head = ("file", "SHA-256", "items", "that can be told", "found", "records removed", "records flagged")
    what = say(
        "Records that hold items of these evaluation sets were looked for by their words. Found: items that some "
        "record held. The ledger names each record's items by file and line, with their overlap. Paraphrases, "
        "translations and tasks with other numbers are not found, nor items that say too little."
    )
    return Section(
        "contamination", "Evaluation items", (what, table(_CAPTION, head, rows, len(_COUNTS), held))
    )
