"""A recognizer of presidio's, run only where its patterns can match.

A *window* is a part of the text without a stop: from the last character before a trigger's match that no match
of the pattern can hold to the next one behind it. A match lies in one window, so the pattern is tried in windows
alone; it sees the text before them, and of the text behind them as much as its assertions look at.
"""

from __future__ import annotations

from curate.stages.finders import light  # noqa: F401  before presidio

# isort: split

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import regex
from presidio_analyzer import EntityRecognizer, PatternRecognizer
from presidio_analyzer.pattern_recognizer import REGEX_TIMEOUT_SECONDS
from presidio_analyzer.predefined_recognizers import IbanRecognizer, PhoneRecognizer

from curate.stages.finders.phones import MOST_GROUPS, Phones
from curate.stages.finders.shapes import UnreadableError
from curate.stages.finders.triggers import Trigger, derive

_GROUPS = re.compile(r"\d+")


class Hit(NamedTuple):
    """What a recognizer found, before context."""

    start: int
    end: int
    score: float


class Search(Protocol):
    """One thing that a recognizer looks for."""

    best: float  # the highest score that it gives

    @property
    def trigger(self) -> Trigger | None:
        """Return where it may be found; None: anywhere."""
        ...

    def search(self, text: str, windows: Iterable[tuple[int, int]]) -> Iterator[Hit]:
        """Yield what is found in the windows, ends exclusive, in no order."""
        ...


class Windows:
    """Cuts texts into the windows of one trigger."""

    def __init__(self, trigger: Trigger) -> None:
        self._trigger = trigger.for_regex
        self._stop = regex.compile(trigger.stop)
        self._stop_before = regex.compile(trigger.stop, regex.REVERSE)

    @cached_property
    def _find(self) -> Any:
        return regex.compile(self._trigger).finditer

    def around(self, text: str, places: Iterable[int] | None) -> Iterator[tuple[int, int]]:
        """Yield the windows that hold these characters, in order, or without them all with the trigger in it."""
        if places is None:
            places = (match.end() - 1 for match in self._find(text))
        done = -1
        for place in places:
            if place < done:
                continue
            before = self._stop_before.search(text, 0, place + 1)
            start = before.end() if before else 0
            if start > place:
                continue  # the place of a match that begins in another text
            after = self._stop.search(text, place)
            done = after.start() if after else len(text)
            yield start, done


class PatternSearch:
    """One pattern of a recognizer, searched as PatternRecognizer does."""

    def __init__(self, recognizer: PatternRecognizer, pattern: Any) -> None:
        flags = int(recognizer.global_regex_flags)
        self.trigger = _trigger(pattern.regex, flags)
        self._pattern = pattern.regex, flags
        self._score = float(pattern.score)
        stock = PatternRecognizer
        made = type(recognizer)
        self._validate = None if made.validate_result is stock.validate_result else recognizer.validate_result
        invalid = None if made.invalidate_result is stock.invalidate_result else recognizer.invalidate_result
        self._invalidate = invalid
        self.best = 1.0 if self._validate else self._score

    @cached_property
    def _find(self) -> Any:
        return regex.compile(*self._pattern).finditer  # when it is first needed: some take long to compile

    def search(self, text: str, windows: Iterable[tuple[int, int]]) -> Iterator[Hit]:
        """Yield what is found in the windows. Raises TimeoutError as the module regex does."""
        ahead = self.trigger.ahead if self.trigger else None
        if ahead is None:  # an assertion may read to the end of the text, once is enough
            ahead, windows = 0, [(0, len(text))]
        heads = self.trigger.heads if self.trigger else ""
        for first, last in windows:
            if heads and not any(text.find(head, first, last) >= 0 for head in heads):
                continue
            end = min(len(text), last + ahead)
            for match in self._find(text, first, end, timeout=REGEX_TIMEOUT_SECONDS):
                if match.start() >= last:
                    break  # cut short, perhaps; it has a window of its own
                if (score := self._judge(match.group())) > 0:
                    yield Hit(match.start(), match.end(), score)

    def _judge(self, value: str) -> float:
        """Return the score of a match: 0 where it is none."""
        if not value:
            return 0.0
        score = self._score
        if self._validate and (valid := self._validate(value)) is not None:
            score = float(EntityRecognizer.MAX_SCORE if valid else EntityRecognizer.MIN_SCORE)
        if self._invalidate and self._invalidate(value):
            return 0.0
        return score


class IbanSearch:
    """IbanRecognizer, which cuts its matches shorter until their check digits fit."""

    best = 1.0

    def __init__(self, recognizer: IbanRecognizer) -> None:
        self._recognizer = recognizer
        [pattern] = recognizer.patterns
        self.trigger = _trigger(pattern.regex, int(recognizer.global_regex_flags))

    def search(self, text: str, windows: Iterable[tuple[int, int]]) -> Iterator[Hit]:
        """Yield what is found in the windows, read with the characters beside them."""
        for first, last in windows:
            begin = max(0, first - 1)
            part = text[begin : last + 1] if self.trigger else text
            for result in self._recognizer.analyze(part, self._recognizer.supported_entities):
                yield Hit(result.start + begin, result.end + begin, result.score)


class PhoneSearch:
    """PhoneRecognizer, and those that leave out some of what it finds."""

    def __init__(self, recognizer: PhoneRecognizer) -> None:
        self._recognizer = recognizer
        self._all = type(recognizer) is PhoneRecognizer
        self._phones = Phones(recognizer.supported_regions, recognizer.leniency)
        self.best = float(recognizer.SCORE)

    @cached_property
    def trigger(self) -> Trigger | None:
        """Return where a number can be."""
        return self._phones.trigger

    def search(self, text: str, windows: Iterable[tuple[int, int]]) -> Iterator[Hit]:
        """Yield what is found in the windows, read with the characters beside them."""
        if len(text) > 2 * MOST_GROUPS and sum(1 for _ in _GROUPS.finditer(text)) > MOST_GROUPS:
            yield from WholeSearch(self._recognizer).search(text, ())
            return
        for first, last in windows:
            begin = max(0, first - 1)
            part = text[begin : last + 1]
            if self._all:
                yield from (Hit(a + begin, b + begin, self.best) for a, b in self._phones.spans(part))
                continue
            for hit in WholeSearch(self._recognizer).search(part, ()):
                yield Hit(hit.start + begin, hit.end + begin, hit.score)


class WholeSearch:
    """Any recognizer, run on the whole text."""

    trigger: Trigger | None = None
    best = 1.0

    def __init__(self, recognizer: Any) -> None:
        self._recognizer = recognizer

    def search(self, text: str, windows: Iterable[tuple[int, int]]) -> Iterator[Hit]:
        """Yield what is found in the text."""
        del windows
        recognizer = self._recognizer
        for result in recognizer.analyze(text, recognizer.supported_entities, None) or ():
            yield Hit(result.start, result.end, float(result.score))


def searches(recognizer: Any) -> list[Search]:
    """Return what a recognizer looks for, each to be narrowed by itself where that is safe."""
    made = type(recognizer)
    if isinstance(recognizer, PhoneRecognizer):
        return [PhoneSearch(recognizer)]
    if made.analyze is IbanRecognizer.analyze and len(recognizer.patterns) == 1:
        return [IbanSearch(recognizer)]
    if made.analyze is PatternRecognizer.analyze:
        return [PatternSearch(recognizer, pattern) for pattern in recognizer.patterns]
    return [WholeSearch(recognizer)]


def _trigger(pattern: str, flags: int) -> Trigger | None:
    try:
        return derive(pattern, flags)
    except UnreadableError:
        return None


def without_duplicates(hits: Sequence[Hit]) -> list[Hit]:
    """Return the hits without those that another of no lower score contains, as EntityRecognizer does."""
    kept: list[Hit] = []
    near: list[Hit] = []  # of those kept, the ones that reach this far
    for hit in sorted(set(hits), key=lambda h: (h.start, h.start - h.end, -h.score)):
        near = [other for other in near if other.end >= hit.start]
        if not any(hit.end <= other.end and hit.score <= other.score for other in near):
            kept.append(hit)
            near.append(hit)
    return kept
