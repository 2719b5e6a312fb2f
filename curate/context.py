"""What stands around the personal data of a record, with the data itself masked: for a person who must judge a find.

The ledger holds places, never values; the text is read from the release at the moment it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.kernels.spans import Span, resolve
from curate.ledger import rows_of
from curate.record import CURATE

AROUND = 40  # characters shown on either side
MASK = "█"
WIDEST = 12  # characters of a mask: the length of a value is no secret, but a page of blocks tells nothing


def masked(out: Path, record_id: str, stage: str, spans: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one line per find, ``turn 0: … Write to ████████████, please``; none where the original is not kept.

    Every find of the stage in the record is masked, not only the one the line is about. ``spans`` are those of
    the record's decisions of this stage: type, turn, start and end in characters of the turn as the stage saw it.
    """
    turns = _original(out, record_id, stage)
    if turns is None:
        return []
    lines = []
    for turn in sorted({span["turn"] for span in spans}):
        text = turns[turn]
        finds = resolve(Span(s["start"], s["end"], s["type"], s["score"]) for s in spans if s["turn"] == turn)
        for find in finds:
            before = _hidden(text, max(0, find.start - AROUND), find.start, finds)
            after = _hidden(text, find.end, min(len(text), find.end + AROUND), finds)
            more = ("…" if find.start > AROUND else "", "…" if len(text) > find.end + AROUND else "")
            shown = f"{more[0]}{before}{_mask(find)}{after}{more[1]}"
            lines.append(f"turn {turn}, {find.type}: {' '.join(shown.split())}")
    return lines


def _mask(find: Span) -> str:
    return MASK * min(find.end - find.start, WIDEST)


def _hidden(text: str, start: int, end: int, finds: Iterable[Span]) -> str:
    """Return characters start to end of the text, what any find covers masked."""
    pieces, done = [], start
    for find in finds:
        if find.end > start and find.start < end:
            pieces += [text[done : max(done, find.start)], _mask(find)]
            done = max(done, find.end)
    return "".join([*pieces, text[done:end]])


def _original(out: Path, record_id: str, stage: str) -> list[str] | None:
    """Return the record's turns as the stage saw them, of the one record of that id; None if they are not kept."""
    rows = rows_of((out / "removed").glob("*.parquet"), record_id, ("text", "messages", CURATE))
    found = [row for row in rows if row[CURATE]["stage"] == stage]
    if len(found) != 1 or not {"text", "messages"} & found[0].keys():  # ids need not be unique; may be sealed
        return None
    if found[0].get("messages") is not None:
        return [turn["content"] or "" for turn in found[0]["messages"]]
    return [found[0].get("text") or ""]
