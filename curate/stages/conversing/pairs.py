"""Rules on preference pairs: the reply that lost against the one that won."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.record import MESSAGES_EXTRA, REJECTED_EXTRA, ROLES, Batch
from curate.stages.conversing.turns import blank, rejected

SAME, EMPTY, NO_REPLY = (f"conversation/{n}" for n in ("same-replies", "empty-rejected", "rejected-no-reply"))
RULES = (SAME, EMPTY, NO_REPLY)


def pairs(batch: Batch) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield rule, record and evidence of what is wrong with the batch's pairs, in the order of RULES."""
    if (replies := rejected(batch)) is None:
        return
    column = replies.column("messages")
    texts, offsets = record.turns(replies)
    lengths = np.diff(offsets)
    is_pair = column.is_valid().to_numpy(zero_copy_only=False)
    for row in _same_end(batch, replies, np.flatnonzero(is_pair & (lengths > 0))):
        yield SAME, row, {"turns": int(lengths[row])}
    roles = pc.struct_field(column.flatten(), "role")
    known = pc.is_in(roles, pa.array(ROLES)).to_numpy(zero_copy_only=False)
    spoken = pc.fill_null(pc.equal(roles, "assistant"), False).to_numpy(zero_copy_only=False)
    silent = blank(texts) & spoken
    owner = np.repeat(np.arange(batch.num_rows), lengths)
    said = np.bincount(owner[spoken & ~silent], minlength=batch.num_rows)
    calling = [
        row
        for row in np.flatnonzero(is_pair & (said == 0)).tolist()
        if any(_calls(batch, REJECTED_EXTRA, row))
    ]
    said[calling] = 1  # a reply without text that calls a tool
    for row in np.flatnonzero(is_pair & (said == 0)).tolist():
        yield EMPTY, row, {"turns": int(lengths[row])}
    begins = np.zeros(batch.num_rows, bool)
    some = np.flatnonzero(lengths > 0)
    begins[some] = spoken[offsets[some]]
    strangers = np.bincount(owner[~known], minlength=batch.num_rows) > 0
    for row in np.flatnonzero(is_pair & (lengths > 0) & (~begins | strangers)).tolist():
        yield NO_REPLY, row, {"turns": int(lengths[row])}


def _same_end(batch: Batch, replies: Batch, rows: np.ndarray[Any, np.dtype[np.int64]]) -> Iterator[int]:
    """Yield the records whose messages end in the rejected reply, white space around its turns apart."""
    mine, ends = record.turns(batch)
    theirs, their_ends = record.turns(replies)
    rows = rows[np.diff(ends)[rows] >= np.diff(their_ends)[rows]]
    last = pc.utf8_trim_whitespace(mine.take(pa.array(ends[rows + 1] - 1)))
    lost = pc.utf8_trim_whitespace(theirs.take(pa.array(their_ends[rows + 1] - 1)))
    for row in rows[pc.equal(last, lost).to_numpy(zero_copy_only=False)]:
        whole, reply = (one[int(row)].as_py() for one in (record.content(batch), replies.column("messages")))
        tail = whole[len(whole) - len(reply) :]
        if [_told(turn) for turn in tail] != [_told(turn) for turn in reply]:
            continue
        calls = [_calls(batch, name, int(row)) for name in (MESSAGES_EXTRA, REJECTED_EXTRA)]
        mine_called, theirs_called = (called[-len(reply) :] for called in calls)
        if any(mine_called) == any(theirs_called) and (not any(mine_called) or mine_called == theirs_called):
            yield int(row)


def _calls(batch: Batch, name: str, row: int) -> list[str]:
    """Return the calls of a record's turns as text, turn by turn; an empty list where nothing stands beside them."""
    value = batch.column(name)[row].as_py() if name in batch.schema.names else None
    return [] if value is None else [record.told_calls(keys) for keys in orjson.loads(value)]


def _told(turn: Mapping[str, str | None]) -> tuple[str | None, str]:
    return turn["role"], (turn["content"] or "").strip()
