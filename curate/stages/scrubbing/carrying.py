"""Finds again, in a record, what was found in it: the same value, as a whole word, wherever it stands.

In time linear in the record's length, however many values there are: the texts are read once, and each word or
group of digits is looked up. The slow twin is tests/reference/spans.py.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TypeAlias

from curate.kernels.spans import Span

CARRIED = "carried-over"
LEAST_CARRIED = 5  # letters and digits: a shorter value means something else too often
_RUN = re.compile(r"[^\W_]+")
_NO_WORD = re.compile(r"[\W_]+")
_SPACES = re.compile(r"\s+")
_HAS_DIGIT = re.compile(r"\d")
_GROUPS = re.compile(r"\d(?:[ .()/-]{0,2}\d)*")

# By a value's first run of letters and digits: by the signs before it and its length: the values.
_Words: TypeAlias = dict[str, dict[tuple[int, int], dict[str, Span]]]


def carried_over(turns: Sequence[str], found: Sequence[Iterable[Span]]) -> list[list[Span]]:
    """Return, per turn, the places where a value that was found stands once more, as a whole word.

    Case counts for words, not where the value holds a digit or an at sign; digits alone may be grouped otherwise.
    Only values of LEAST_CARRIED letters and digits or more; the score and the type are those of its first find.
    """
    values = _Values()
    for text, spans in zip(turns, found, strict=True):
        for span in sorted(spans):
            values.add(text[span.start : span.end], span)
    return [
        _beyond(values.places(text), spans) if values else []
        for text, spans in zip(turns, found, strict=True)
    ]


@dataclass
class _Values:
    """The values of a record, to be looked up."""

    exact: _Words = field(default_factory=dict)
    folded: _Words = field(default_factory=dict)
    digits: dict[int, dict[str, Span]] = field(default_factory=dict)  # by length

    def __bool__(self) -> bool:
        return bool(self.exact or self.folded or self.digits)

    def add(self, value: str, span: Span) -> None:
        bare = _NO_WORD.sub("", value)
        if len(bare) < LEAST_CARRIED:
            return
        if bare.isdecimal():
            self.digits.setdefault(len(bare), {}).setdefault(bare, span)
            return
        folds = "@" in value or _HAS_DIGIT.search(value) is not None
        written = _SPACES.sub(" ", value).strip()
        written = _folded(written) if folds else written
        run = _RUN.search(written)
        if run is None:
            raise AssertionError("letters and digits, and no run of them")
        words = self.folded if folds else self.exact
        by_form = words.setdefault(run.group(), {})
        by_form.setdefault((run.start(), len(written)), {}).setdefault(written, span)

    def places(self, text: str) -> Iterator[Span]:
        """Yield all places of the values in a text."""
        if self.digits:
            yield from self._grouped(text)
        if not (self.exact or self.folded):
            return
        single = _SPACES.sub(" ", text)
        shifts = _shifts(text) if len(single) < len(text) else None
        for words, written in ((self.exact, single), (self.folded, _folded(single) if self.folded else "")):
            for span in _looked_up(words, written) if words else ():
                yield span if shifts is None else _back(span, *shifts)

    def _grouped(self, text: str) -> Iterator[Span]:
        for groups in _GROUPS.finditer(text):
            at = [n for n, char in enumerate(groups.group(), groups.start()) if char.isdecimal()]
            bare = "".join([text[n] for n in at])
            for first, start in enumerate(at):
                if start and text[start - 1].isalnum():
                    continue
                for length, values in self.digits.items():
                    if (span := values.get(bare[first : first + length])) is None:
                        continue
                    end = at[first + length - 1] + 1
                    if not text[end : end + 1].isalnum():
                        yield span._replace(start=start, end=end, recognizer=CARRIED)


def _looked_up(words: _Words, text: str) -> Iterator[Span]:
    for run in _RUN.finditer(text):
        for (lead, length), values in words.get(run.group(), {}).items():
            start = run.start() - lead
            end = start + length
            span = values.get(text[start:end]) if start >= 0 else None
            if span is not None and not (
                text[end : end + 1].isalnum() or (start and text[start - 1].isalnum())
            ):
                yield span._replace(start=start, end=end, recognizer=CARRIED)


def _folded(text: str) -> str:
    """Return the text in small letters, as many as it has characters."""
    small = text.lower()
    if len(small) == len(text):
        return small
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)


def _shifts(text: str) -> tuple[list[int], list[int]]:
    """Return from which offsets on, in a text with single spaces, the original's are greater by how much."""
    starts, shifts, shift = [0], [0], 0
    for spaces in _SPACES.finditer(text):
        if (more := len(spaces.group()) - 1) > 0:
            starts.append(spaces.start() - shift + 1)
            shift += more
            shifts.append(shift)
    return starts, shifts


def _back(span: Span, starts: Sequence[int], shifts: Sequence[int]) -> Span:
    first, last = (shifts[bisect_right(starts, at) - 1] for at in (span.start, span.end - 1))
    return span._replace(start=span.start + first, end=span.end + last)


def _beyond(places: Iterable[Span], spans: Iterable[Span]) -> list[Span]:
    """Return the places that lie in none of the spans."""
    known = sorted(spans)
    starts = [span.start for span in known]
    reach = list(accumulate((span.end for span in known), max))
    return [
        place
        for place in places
        if (before := bisect_right(starts, place.start)) == 0 or reach[before - 1] < place.end
    ]
