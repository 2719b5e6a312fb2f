"""Takes what finders find out of records: in rounds until nothing more is found, the same value everywhere.

An edit changes what stands next to what, so an edited text is read again, and what only then shows is taken out
of the original too. All offsets are the original's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pyarrow as pa

from curate.kernels.spans import Edit, Span, replace, resolve, trace_back, widen
from curate.stages.finders import Finds
from curate.stages.operators import Hand, Numbers

CARRIED = "carried-over"
LEAST_CARRIED = 5  # letters and digits: a shorter value means something else too often
_ROUNDS = 8  # times that a record is read again; two have nearly always been enough
_NO_WORD = re.compile(r"[\W_]+")
_HAS_DIGIT = re.compile(r"\d")


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
    found: list[list[Span]] = field(default_factory=list)  # those settled: they do not overlap
    edited: list[str] = field(default_factory=list)
    error: Exception | None = None  # why it was not read to its end
    _edits: list[list[Edit]] = field(default_factory=list)
    _plainly: set[tuple[int, Span]] = field(default_factory=set)

    def settle(self, hand: Hand, consistent: bool) -> bool:
        """Settle the finds, edit the turns, and tell whether the turns are now other than before."""
        before = self.edited or self.turns
        numbers = hand.numbers(self.turns)
        more = carried_over(self.turns, self.raw) if consistent else [[] for _ in self.turns]
        self.found = [
            resolve([*spans, *widen(text, hand.left_to_do(text, carried))])
            for text, spans, carried in zip(self.turns, self.raw, more, strict=True)
        ]
        self._edits = [
            [Edit(s.start, s.end, self._instead(turn, s, hand, numbers)) for s in spans]
            for turn, spans in enumerate(self.found)
        ]
        self.edited = [replace(text, edits) for text, edits in zip(self.turns, self._edits, strict=True)]
        return self.edited != before

    def _instead(self, turn: int, span: Span, hand: Hand, numbers: Numbers) -> str:
        if (turn, span) in self._plainly:
            return f"<{span.type}>"
        return hand.instead(span.type, self.turns[turn][span.start : span.end], numbers)

    def add(self, turn: int, spans: Iterable[Span]) -> None:
        """Take in what was found in the edited turn.

        What covers no more than an edit did means that the edit's own text looks like a value where it stands; it
        is then replaced plainly.
        """
        settled = set(self.found[turn])
        for span in widen(self.turns[turn], trace_back(spans, self._edits[turn])):
            known = {other for other in settled if other.start <= span.start and span.end <= other.end}
            self._plainly |= {(turn, other) for other in known}
            if not known:
                self.raw[turn].add(span)


class Scrubber:
    """Finds and takes out."""

    def __init__(self, search: Search, hand: Hand, keeps: Collection[str], consistent: bool) -> None:
        """keeps: kinds that are flagged and left; consistent: a value found goes wherever it stands in a record."""
        self.search = search
        self.hand = hand
        self.keeps = frozenset(keeps)
        self.consistent = consistent

    def scrub(self, texts: pa.Array, offsets: Sequence[int]) -> list[Scrubbed]:
        """Return the records with finds, by row: string [n] turns; record i owns turns offsets[i]:offsets[i + 1]."""
        records = self._first(texts, offsets)
        waiting = [record for record in records if self._settled(record)]
        for _ in range(_ROUNDS):
            if not waiting:
                break
            waiting = self._round(waiting)
        for record in waiting:
            record.error = UnsettledError()
        return records

    def _first(self, texts: pa.Array, offsets: Sequence[int]) -> list[Scrubbed]:
        """Read everything once; a text that holds nothing is never made a Python object."""
        finds = self.search.find(texts, offsets)
        held = [turn for turn, found in enumerate(finds) if found]
        records: dict[int, Scrubbed] = {}
        for turn, row in zip(held, (np.searchsorted(offsets, held, side="right") - 1).tolist(), strict=True):
            start = int(offsets[row])
            if row not in records:
                turns = texts.slice(start, int(offsets[row + 1]) - start).to_pylist()
                records[row] = Scrubbed(row, turns, [[] for _ in turns], [set() for _ in turns])
            self._take(records[row], turn - start, finds[turn])
        return [record for record in records.values() if record.error or any(record.raw) or any(record.kept)]

    def _take(self, record: Scrubbed, turn: int, found: Finds) -> None:
        if isinstance(found, Exception):
            record.error = record.error or found
            return
        text = record.turns[turn]
        spans = widen(text, self.hand.left_to_do(text, found))
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


def carried_over(turns: Sequence[str], found: Sequence[Iterable[Span]]) -> list[list[Span]]:
    """Return, per turn, the places where a value that was found stands once more, as a whole word.

    Case counts for words, not where the value holds a digit or an at sign; digits alone may be grouped otherwise.
    Only values of LEAST_CARRIED letters and digits or more; the score and the type are those of its first find.
    """
    values: dict[str, tuple[Span, str]] = {}
    known: Counter[str] = Counter()
    for text, spans in zip(turns, found, strict=True):
        for span in sorted(spans):
            value = text[span.start : span.end]
            bare = _bare(value, _folds(value))
            if len(bare) >= LEAST_CARRIED:
                values.setdefault(bare, (span, value))
                known[bare] += 1
    carried: list[list[Span]] = [[] for _ in turns]
    if not values:
        return carried
    bare_turns = [_bare(text, False) for text in turns]
    folded = (
        [text.lower() for text in bare_turns]
        if any(_folds(value) for _, value in values.values())
        else bare_turns
    )
    for bare, (span, value) in values.items():
        if sum(text.count(bare) for text in (folded if _folds(value) else bare_turns)) <= known[bare]:
            continue  # it stands nowhere else
        pattern = _anywhere(value)
        for turn, text in enumerate(turns):
            for match in pattern.finditer(text):
                carried[turn].append(span._replace(start=match.start(), end=match.end(), recognizer=CARRIED))
    return [
        [s for s in again if not any(o.start <= s.start and s.end <= o.end for o in spans)]
        for again, spans in zip(carried, found, strict=True)
    ]


def _folds(value: str) -> bool:
    """Tell whether case does not count in a value."""
    return "@" in value or _HAS_DIGIT.search(value) is not None


def _bare(text: str, folds: bool) -> str:
    bare = _NO_WORD.sub("", text)
    return bare.lower() if folds else bare


def _anywhere(value: str) -> re.Pattern[str]:
    """Compile what matches the value wherever it stands as a whole word."""
    bare = _NO_WORD.sub("", value)
    words = r"\s+".join(map(re.escape, value.split()))
    form = r"[ .()/-]{0,2}".join(bare) if bare.isdecimal() else words
    return re.compile(rf"(?<![^\W_]){form}(?![^\W_])", re.IGNORECASE if _folds(value) else re.NOFLAG)
