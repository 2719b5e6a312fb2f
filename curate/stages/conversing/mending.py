"""Repairs laid over a batch: every turn, every rejected reply, every document; what is found and what is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record, rules
from curate.record import MESSAGES, REJECTED, TURN, Batch
from curate.stages.conversing.repairs import LEAKED, OF_DOCUMENTS, Mended, mend, told
from curate.stages.conversing.turns import anywhere, either, found, rejected, series

_Places = dict[str, dict[int, dict[int, int]]]  # rule → record → turn → places found


class MendedBatch(NamedTuple):
    """A batch after its repairs."""

    content: pa.Array | None  # None where nothing was changed
    beside: dict[str, pa.Array]
    found: list[tuple[str, int, Mapping[str, Any]]]  # rule, record, evidence


def mended_batch(batch: Batch, asked: Mapping[str, bool]) -> MendedBatch:
    """Look for damage in all texts of a batch and undo it; asked: rule → whether what it finds is undone."""
    if record.kind(batch) == "text":
        return _documents(batch, {rule: undo for rule, undo in asked.items() if rule in OF_DOCUMENTS})
    ours = _Conversations(batch, lambda row: "")
    mend_ours = ours.mend(asked)
    content, beside, theirs_found = ours.rebuilt(mend_ours), dict[str, pa.Array](), _Places()
    if (pairs := rejected(batch)) is not None:
        theirs = _Conversations(pairs, ours.whole)
        mend_theirs = theirs.mend(asked)
        theirs_found = theirs.places(mend_theirs)
        if (replies := theirs.rebuilt(mend_theirs)) is not None:
            beside[REJECTED] = replies
    ours_found = ours.places(mend_ours)
    evidence: list[tuple[str, int, Mapping[str, Any]]] = []
    for rule in asked:
        mine, other = ours_found.get(rule, {}), theirs_found.get(rule, {})
        for row in sorted({*mine, *other}):
            evidence.append((rule, row, told(rule, mine.get(row, {}), other.get(row, {}))))
    if content is None and beside:
        content = record.content(batch)
    return MendedBatch(content, beside, evidence)


def _documents(batch: Batch, asked: Mapping[str, bool]) -> MendedBatch:
    texts = record.turns(batch)[0]
    after = mend(texts, asked, lambda row: str(texts[row].as_py()))
    evidence: list[tuple[str, int, Mapping[str, Any]]] = [
        (rule, row, {"count": count}) for rule, rows in after.counts.items() for row, count in rows.items()
    ]
    return MendedBatch(None if after.text is texts else after.text, {}, evidence)


class _Conversations:
    """The turns of a batch, with the way from a turn to its record."""

    def __init__(self, batch: Batch, beside: Callable[[int], str]) -> None:
        """beside: record → further text that tells what the record is about."""
        self._column = record.content(batch)
        self._texts, self._offsets = record.turns(batch)
        self._owner = np.repeat(np.arange(batch.num_rows), np.diff(self._offsets))
        self._beside = beside

    def whole(self, row: int) -> str:
        """Return all texts of a record."""
        inside = self._texts.slice(self._offsets[row], self._offsets[row + 1] - self._offsets[row])
        return "\n".join([*inside.to_pylist(), self._beside(row)])

    def mend(self, asked: Mapping[str, bool]) -> Mended:
        """Mend every turn."""
        leaks = self._leaks() if LEAKED in asked else ()
        return mend(self._texts, asked, lambda position: self.whole(int(self._owner[position])), leaks)

    def _leaks(self) -> frozenset[int]:
        """Return the answers that hold another speaker's turn, in records where nobody else speaks of such marks."""
        data = rules.load("conversation").rule(LEAKED).data
        texts = series(self._texts)
        hits = (
            np.flatnonzero(found(texts, data["hint"]))
            if anywhere(texts, data["hint"])[0]
            else np.empty(0, int)
        )
        if len(hits):
            hits = hits[found(self._texts.take(pa.array(hits)), either(data["cuts"].values()))]
        if not len(hits):
            return frozenset()
        roles = pc.struct_field(self._column.flatten(), "role")
        said: npt.NDArray[np.bool_] = pc.fill_null(pc.equal(roles, "assistant"), False).to_numpy(
            zero_copy_only=False
        )
        hits = hits[said[hits]]
        others = np.flatnonzero(~said & np.isin(self._owner, self._owner[hits]))
        marked = others[found(self._texts.take(others), data["marks"])]
        return frozenset(hits[~np.isin(self._owner[hits], self._owner[marked])].tolist())

    def places(self, after: Mended) -> _Places:
        """Return what was found by rule, record and turn."""
        places: _Places = {}
        for rule, positions in after.counts.items():
            for position, count in positions.items():
                row = int(self._owner[position])
                turn = int(position - self._offsets[row])
                places.setdefault(rule, {}).setdefault(row, {})[turn] = count
        return places

    def rebuilt(self, after: Mended) -> pa.Array | None:
        """Return the column with the mended turns, None where nothing was changed; a null stays a null."""
        if after.text is self._texts:
            return None
        flat = self._column.flatten()
        contents = pc.struct_field(flat, "content")
        contents = pc.if_else(pc.is_null(contents), pa.scalar(None, pa.string()), after.text)
        structs = pa.StructArray.from_arrays([pc.struct_field(flat, "role"), contents], fields=list(TURN))
        ends = pa.array(self._offsets, pa.int32())
        return pa.ListArray.from_arrays(ends, structs, type=MESSAGES, mask=self._column.is_null())
