"""Spans of a text: settle overlaps, put something in their place, and find the way back.

Offsets count code points from 0, end exclusive, as Python's do. The slow twin is tests/reference/spans.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple


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
    return [
        span._replace(start=_original(span.start, edits, True), end=_original(span.end, edits, False))
        for span in spans
    ]


def _original(offset: int, edits: Sequence[Edit], opening: bool) -> int:
    """Return the original offset of one in the edited text: inside an edit, the edit's start or end."""
    shift = 0  # edited minus original, up to here
    for edit in edits:
        start = edit.start + shift
        end = start + len(edit.text)
        if offset < start or (offset == start and not opening):
            break
        if offset < end or (offset == end and not opening):
            return edit.start if opening else edit.end
        shift = end - edit.end
    return offset - shift
