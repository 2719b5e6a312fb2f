"""A record as a trainer takes it: OpenAI-shaped turns, without the columns that a release needs to hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.errors import IntegrityError
from curate.record import MESSAGES_EXTRA, REJECTED


def told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of data/ as a record.

    It has ``messages`` or ``text``, whichever is its own; its turns have back what stood in them beside role and
    content (``tool_calls``, ``tool_call_id``, ``name``); ``rejected`` is there where there is one. All else is as it
    lies in data/, null where unknown. Raises IntegrityError for turns that do not fit what stands beside them.
    """
    extra = row.pop(MESSAGES_EXTRA, None)
    for name in ("text", "messages", REJECTED):
        if name in row and row[name] is None and (name == REJECTED or _is_other(row, name)):
            del row[name]
    if extra is not None and row.get("messages") is not None:
        row["messages"] = whole(row["messages"], extra, row.get("id"))
    return row


def _is_other(row: dict[str, Any], name: str) -> bool:
    other = "messages" if name == "text" else "text"
    return row.get(other) is not None


def whole(
    turns: Sequence[dict[str, Any]], extra: Sequence[dict[str, Any] | None], name: Any
) -> list[dict[str, Any]]:
    """Return turns with their further keys."""
    if len(turns) != len(extra):
        raise IntegrityError(
            f"{name}: {len(turns)} turns, and {len(extra)} in {MESSAGES_EXTRA}; 'curate verify' checks the release"
        )
    return [{**turn, **(keys or {})} for turn, keys in zip(turns, extra, strict=True)]
