"""TRL's dataset types (trl 1.x, docs "Dataset formats and types"; ``trl.data_utils``), as JSON lines.

Conversations are conversational language modeling (``messages``), or with ``completion`` prompt-completion; preference
pairs have an explicit prompt; documents are ``text``. Definitions of tools are JSON text, which TRL reads.
"""

from __future__ import annotations

from curate.exporting import shapes
from curate.exporting.shapes import Kind, Record


def shape(record: Record, kind: Kind, completion: bool) -> Record:
    """Return a record as TRL takes it. Raises Skip where it cannot."""
    found = shapes.told(record)
    if kind == "documents":
        return {**found, "text": record["text"]}
    tools = shapes.tools_text(record)
    found |= {} if tools is None else {"tools": tools}
    if kind == "preferences":
        parts = dict(zip(("prompt", "chosen", "rejected"), shapes.pair(record), strict=True))
    else:
        turns = shapes.answered(record["messages"])
        if completion and len(turns) < 2:
            raise shapes.Skip("no prompt")
        parts = (
            {"prompt": turns[:-1], "completion": turns[-1:]}
            if completion
            else {"messages": record["messages"]}
        )
    return {**found, **{name: [shapes.with_objects(turn) for turn in turns] for name, turns in parts.items()}}
