"""Spans of a text: settle overlaps, put something in their place, and find the way back.

Offsets count code points from 0, end exclusive, as Python's do. The slow twin is tests/reference/spans.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import regex

_CLUSTER = regex.compile(r"\X")
# Characters that begin a cluster of their own unless one of a few prefixed signs stands before them.
_BEGINS = regex.compile(r"[\x20-\x7e\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fff]", regex.REVERSE)


class Span(NamedTuple):
    """One find: characters start to end of a text."""

    start: int
    end: int
    type: str
    score: float
    recognizer: str = ""  # what found it


class Edit(NamedTuple):
    """Characters start to end become another text."""

    start: int
    end: int
    text: str


def resolve(spans: Iterable[Span]) -> list[Span]:
    """Return spans that do not overlap and together cover the same characters, in order.

    Of spans that overlap the one of the highest score wins, then the longest, then the first. What sticks out
    of the losers goes to the winner before it, or to the first one, so that no character of any find is left.
    """
    settled: list[Span] = []
    for group in _overlapping(sorted(set(spans))):
        winners: list[Span] = []
        for span in sorted(group, key=lambda s: (-s.score, s.start - s.end, s.start, s.type)):
            if all(span.end <= winner.start or winner.end <= span.start for winner in winners):
                winners.append(span)
        winners.sort()
        starts = [group[0].start, *(winner.start for winner in winners[1:])]
        ends = [*starts[1:], max(span.end for span in group)]
        settled += [w._replace(start=a, end=b) for w, a, b in zip(winners, starts, ends, strict=True)]
    return settled


def _overlapping(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """Cut sorted spans into groups that share no character."""
    group: list[Span] = []
    reach = 0
    for span in spans:
        if group and span.start >= reach:
            yield group
            group = []
        reach = max(reach, span.end) if group else span.end
        group.append(span)
    if group:
        yield group


def widen(text: str, spans: Iterable[Span]) -> list[Span]:
    """Return the spans, each out to the ends of the characters that a reader sees and it would cut in two.

    What a reader sees as one character is a grapheme cluster (Unicode UAX #29): a letter with its marks, an
    emoji with its skin tone, a flag.
    """
    return [
        span._replace(start=_cluster(text, span.start)[0], end=_cluster(text, span.end)[1]) for span in spans
    ]


def _cluster(text: str, at: int) -> tuple[int, int]:
    """Return the ends of the grapheme cluster around an offset, or the offset twice if it is between two."""
    start = end = at
    while 0 < start < len(text) and not (text[start - 1 : start + 1].isascii() and text[start] != "\n"):
        begins = _BEGINS.search(text, 0, start)
        clusters = _CLUSTER.finditer(text, begins.start() if begins else 0)
        cluster = next(found for found in clusters if found.end() >= start)
        if cluster.end() == start:
            break
        start, end = cluster.start(), max(end, cluster.end())
    return start, end


def outside(spans: Iterable[Span], held: Sequence[tuple[int, int]]) -> Iterator[Span]:
    """Yield the parts of spans that lie in none of the held ranges, which are in order and do not overlap."""
    for span in spans:
        start = span.start
        for a, b in held[bisect_right(held, start, key=lambda r: r[1]) :]:
            if a >= span.end:
                break
            if start < a:
                yield span._replace(start=start, end=a)
            start = b
        if start < span.end:
            yield span._replace(start=start)


def replace(text: str, edits: Sequence[Edit]) -> str:
    """Return the text with the edits made. They must be in order and must not overlap."""
    pieces = []
    done = 0
    for edit in edits:
        if edit.start < done or edit.end < edit.start:
            raise ValueError(f"edit {edit.start}:{edit.end} overlaps the one before it, which ends at {done}")
        pieces += [text[done : edit.start], edit.text]
        done = edit.end
    return "".join([*pieces, text[done:]])


def trace_back(spans: Iterable[Span], edits: Sequence[Edit]) -> list[Span]:
    """Return where spans of the edited text lie in the original; what cuts into an edit takes it all."""
    places: list[tuple[int, int]] = []  # of the edits in the edited text
    shift = 0  # edited minus original, up to here
    for edit in edits:
        start = edit.start + shift
        places.append((start, start + len(edit.text)))
        shift = places[-1][1] - edit.end
    return [
        span._replace(
            start=_original(span.start, edits, places, True), end=_original(span.end, edits, places, False)
        )
        for span in spans
    ]


def _original(offset: int, edits: Sequence[Edit], places: Sequence[tuple[int, int]], opening: bool) -> int:
    """Return the original offset of one in the edited text: inside an edit, the edit's start or end.

    An offset where two things meet belongs to what it opens, or to what it closes.
    """
    # The last edit that begins before the offset, or at it if the offset opens something.
    last = bisect_right(places, offset if opening else offset - 1, key=lambda place: place[0]) - 1
    if last < 0:
        return offset
    end = places[last][1]
    if offset < end or (offset == end and not opening):
        return edits[last].start if opening else edits[last].end
    return offset - end + edits[last].end
