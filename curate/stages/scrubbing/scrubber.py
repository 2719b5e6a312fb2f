"""Takes what finders find out of records: in rounds until nothing more is found, the same value everywhere.

An edit changes what stands next to what, so an edited text is read again, and what only then shows is taken out
of the original too. All offsets are the original's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Protocol

import numpy as np
import pyarrow as pa

from curate.kernels.spans import Edit, Span, replace, resolve, trace_back, widen
from curate.stages.finders import Finds
from curate.stages.operators import Hand, Numbers
from curate.stages.scrubbing.carrying import carried_over

_ROUNDS = 8  # times that a record is read again; two have nearly always been enough


class Search(Protocol):
    """All finders of a stage as one."""

    def find(self, texts: pa.Array, offsets: Sequence[int]) -> list[Finds]:
        """Return what is in each turn: string [n]; record i owns turns offsets[i]:offsets[i + 1]."""
        ...


class UnsettledError(Exception):
    """Editing kept uncovering more."""


@dataclass
class Scrubbed:
    """A record that something was found in: its turns, the finds in them, and the turns without them."""

    row: int
    turns: list[str]
    kept: list[list[Span]]  # finds of kinds that are only flagged, per turn
    raw: list[set[Span]]  # all other finds so far
    leads: list[int]  # characters at the beginning of each turn that are read with it and never changed
    found: list[list[Span]] = field(default_factory=list)  # those settled: they do not overlap
    edited: list[str] = field(default_factory=list)
    error: Exception | None = None  # why it was not read to its end
    _edits: list[list[Edit]] = field(default_factory=list)
    _plainly: set[tuple[int, Span]] = field(default_factory=set)
    _shown: list[tuple[int, Span]] = field(default_factory=list)  # what the last reading showed

    def settle(self, hand: Hand, consistent: bool) -> bool:
        """Settle the finds, edit the turns, and tell whether the turns are now other than before."""
        before = self.edited or self.turns
        numbers = hand.numbers(self.turns)
        more = carried_over(self.turns, self.raw) if consistent else [[] for _ in self.turns]
        self.found = [
            resolve([*spans, *_behind(lead, widen(text, hand.left_to_do(text, carried)))])
            for text, spans, carried, lead in zip(self.turns, self.raw, more, self.leads, strict=True)
        ]
        self._edits = [
            [Edit(s.start, s.end, self._instead(turn, s, hand, numbers)) for s in spans]
            for turn, spans in enumerate(self.found)
        ]
        self.edited = [replace(text, edits) for text, edits in zip(self.turns, self._edits, strict=True)]
        if self.edited != before or not self._shown:
            self._shown = []
            return self.edited != before
        # What showed reaches over several edits that stand side by side, and covers no more than they do.
        self._plainly |= {(turn, find) for turn, span in self._shown for find in _met(span, self.found[turn])}
        self._shown = []
        return self.settle(hand, consistent)

    def _instead(self, turn: int, span: Span, hand: Hand, numbers: Numbers) -> str:
        if (turn, span) in self._plainly:
            return f"<{span.type}>"
        return hand.instead(span.type, self.turns[turn][span.start : span.end], numbers)

    def add(self, turn: int, spans: Iterable[Span]) -> None:
        """Take in what was found in the edited turn.

        What covers no more than an edit did means that the edit's own text looks like a value where it stands; it
        is then replaced plainly.
        """
        settled = self.found[turn]
        starts = [span.start for span in settled]
        widened = widen(self.turns[turn], trace_back(spans, self._edits[turn]))
        for span in _behind(self.leads[turn], widened):
            at = bisect_right(starts, span.start) - 1  # they do not overlap: no other can hold the span
            known = [other for other in settled[max(0, at) : at + 1] if span.end <= other.end]
            self._plainly |= {(turn, other) for other in known}
            if not known:
                self.raw[turn].add(span)
                self._shown.append((turn, span))


def _behind(lead: int, spans: Iterable[Span]) -> list[Span]:
    """Return what of the spans lies behind a lead."""
    if not lead:
        return list(spans)
    return [span._replace(start=max(span.start, lead)) for span in spans if span.end > lead]


def _met(span: Span, finds: Sequence[Span]) -> list[Span]:
    """Return which of some finds, in order and without overlaps, share a character with a span."""
    first = bisect_right(finds, span.start, key=lambda find: find.end)
    return list(takewhile(lambda find: find.start < span.end, finds[first:]))


class Scrubber:
    """Finds and takes out."""

    def __init__(self, search: Search, hand: Hand, keeps: Collection[str], consistent: bool) -> None:
        """keeps: kinds that are flagged and left; consistent: a value found goes wherever it stands in a record."""
        self.search = search
        self.hand = hand
        self.keeps = frozenset(keeps)
        self.consistent = consistent

    def scrub(
        self, texts: pa.Array, offsets: Sequence[int], leads: Sequence[int] | None = None
    ) -> list[Scrubbed]:
        """Return the records with finds, by row: string [n] turns; record i owns turns offsets[i]:offsets[i + 1].

        leads [n]: characters at the beginning of each turn that are only read, by default none.
        """
        records = self._first(texts, offsets, leads)
        waiting = [record for record in records if self._settled(record)]
        for _ in range(_ROUNDS):
            if not waiting:
                break
            waiting = self._round(waiting)
        for record in waiting:
            record.error = UnsettledError()
        return records

    def _first(self, texts: pa.Array, offsets: Sequence[int], leads: Sequence[int] | None) -> list[Scrubbed]:
        """Read everything once; a text that holds nothing is never made a Python object."""
        finds = self.search.find(texts, offsets)
        held = [turn for turn, found in enumerate(finds) if found]
        records: dict[int, Scrubbed] = {}
        for turn, row in zip(held, (np.searchsorted(offsets, held, side="right") - 1).tolist(), strict=True):
            start = int(offsets[row])
            if row not in records:
                turns = texts.slice(start, int(offsets[row + 1]) - start).to_pylist()
                before = [0] * len(turns) if leads is None else list(leads[start : start + len(turns)])
                records[row] = Scrubbed(row, turns, [[] for _ in turns], [set() for _ in turns], before)
            self._take(records[row], turn - start, finds[turn])
        return [record for record in records.values() if record.error or any(record.raw) or any(record.kept)]

    def _take(self, record: Scrubbed, turn: int, found: Finds) -> None:
        if isinstance(found, Exception):
            record.error = record.error or found
            return
        text = record.turns[turn]
        spans = _behind(record.leads[turn], widen(text, self.hand.left_to_do(text, found)))
        record.kept[turn] = resolve(span for span in spans if span.type in self.keeps)
        record.raw[turn].update(span for span in spans if span.type not in self.keeps)

    def _settled(self, record: Scrubbed) -> bool:
        """Settle a record and tell whether it must be read again."""
        return record.error is None and record.settle(self.hand, self.consistent)

    def _round(self, waiting: Sequence[Scrubbed]) -> list[Scrubbed]:
        """Read edited records again, take what shows out too, and return those to be read once more."""
        texts = pa.array([text for record in waiting for text in record.edited], pa.string())
        offsets = np.cumsum([0, *(len(record.turns) for record in waiting)]).tolist()
        finds = self.search.find(texts, offsets)
        again = []
        for record, start in zip(waiting, offsets, strict=False):
            shown = False
            for turn, found in enumerate(finds[start : start + len(record.turns)]):
                if isinstance(found, Exception):
                    record.error = record.error or found
                elif found:
                    left = self.hand.left_to_do(record.edited[turn], found)
                    if more := [span for span in left if span.type not in self.keeps]:
                        record.add(turn, more)
                        shown = True
            if shown and self._settled(record):
                again.append(record)
        return again
