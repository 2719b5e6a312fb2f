"""Presidio's recognizers over many texts at once: what AnalyzerEngine.analyze answers, without reading all of it.

One pass over the texts (:mod:`curate.stages.finders.regexsets`) tells which patterns may match where; only there
are presidio's own patterns, checks and phone numbers tried (:mod:`curate.stages.finders.windows`), and only near
what they find are context words looked for (:mod:`curate.stages.finders.context`). A pattern whose score cannot
reach the threshold is not tried at all, one that needs a context word not where the text has none.
"""

from __future__ import annotations

from curate.stages.finders import light  # noqa: F401  before presidio

# isort: split

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import tldextract.tldextract
from presidio_analyzer import EntityRecognizer
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer, LemmaContextAwareEnhancer

from curate.kernels.spans import Span
from curate.stages.finders.context import Surroundings
from curate.stages.finders.regexsets import Places, RegexSets
from curate.stages.finders.triggers import mention
from curate.stages.finders.windows import Hit, Search, Windows, searches, without_duplicates
from curate.stages.finders.words import Words

# Bits; of a pattern that tells less and needs a context word, the word is looked for first: it is rarer.
_TELLING = 5


class RegexTimeoutError(Exception):
    """A pattern took longer than presidio allows (REGEX_TIMEOUT_SECONDS); the text has not been scanned."""


class _Heedful(logging.Logger):
    """Presidio's logger: repeats nothing, as some lines hold the text, and raises where a scan was cut short.

    Presidio logs a regular expression's time-out as a warning and goes on as if nothing had been found. It
    must be heard whatever the application's logging is set to.
    """

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  its name in logging
        """Never: nothing is repeated."""
        return False

    def warning(self, msg: object, *_: object, **__: object) -> None:
        """Raise RegexTimeoutError for a time-out."""
        if "timed out" in str(msg):
            raise RegexTimeoutError


def heed_timeouts() -> None:
    """Turn what presidio only logs into an error, and keep record text out of logs."""
    logging.getLogger("presidio-analyzer").__class__ = _Heedful


def go_offline() -> None:
    """Keep tldextract, which knows the top-level domains of e-mail addresses, from fetching a newer list.

    It carries a list of its own, so the same release of it gives the same answer everywhere.
    """
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


class Reader:
    """One recognizer with its threshold."""

    def __init__(self, recognizer: Any, boost: Callable[[float], float]) -> None:
        if type(recognizer).enhance_using_context is not EntityRecognizer.enhance_using_context:
            raise TypeError(f"{recognizer.name} looks for context in a way of its own")
        [self.entity] = recognizer.supported_entities
        self.name = recognizer.name
        thresholds = recognizer.score_thresholds
        self.threshold = thresholds.get(self.entity, thresholds.get("default", 0.0))
        self.context = sorted({word.lower() for word in recognizer.context or ()})
        self.searches: list[tuple[Search, bool]] = []  # each with whether it needs a context word
        for search in searches(recognizer):
            if search.best >= self.threshold:
                self.searches.append((search, False))
            elif self.context and boost(search.best) >= self.threshold:
                self.searches.append((search, True))

    def speaks_of(self, lowered: str) -> bool:
        """Tell whether a text, given in lower case, holds one of the context words, if only within a word."""
        return any(word in lowered for word in self.context)


class Sweep:
    """Runs recognizers over texts."""

    def __init__(
        self,
        recognizers: Sequence[Any],
        words: Words,
        enhancer: LemmaContextAwareEnhancer,
        hyperscan: bool | None = None,
    ) -> None:
        """Thresholds are the recognizers' own (``score_thresholds``)."""
        go_offline()
        heed_timeouts()
        self.words = words
        self.enhancer = enhancer
        self.whole_word = enhancer.context_matching_mode == "whole_word"
        self.readers = [Reader(recognizer, self._boost) for recognizer in recognizers]
        numbers: dict[str, int] = {}
        anywhere: set[int] = set()  # of expressions that tell whether to look, not where
        self.plan: list[tuple[Reader, list[tuple[Search, bool, int | None, Windows | None]]]] = []
        for reader in self.readers:
            steps: list[tuple[Search, bool, int | None, Windows | None]] = []
            for search, needs_context in reader.searches:
                trigger = search.trigger
                number: int | None = None
                if trigger:
                    weak = needs_context and trigger.bits < _TELLING
                    expression = mention(reader.context) if weak else trigger.for_sets
                    number = numbers.setdefault(expression, len(numbers))
                    anywhere |= {number} if weak else set()
                steps.append((search, needs_context, number, Windows(trigger) if trigger else None))
            if steps:
                self.plan.append((reader, steps))
        self.everywhere = any(number is None for _, steps in self.plan for *_, number, _ in steps)
        self.anywhere = frozenset(anywhere)
        self.sets = RegexSets(list(numbers), hyperscan)

    def over(self, texts: pa.Array) -> list[list[Span] | Exception]:
        """Return the finds of each text, of several recognizers perhaps and within each other, in no order.

        Where a text could not be read to its end, why.
        """
        answers: list[list[Span] | Exception] = [[] for _ in range(len(texts))]
        for index, found in self._places(texts):
            scalar = texts[index]
            try:
                answers[index] = self._read(scalar.as_py() or "", scalar.as_buffer(), found)
            except TimeoutError:
                answers[index] = RegexTimeoutError()
            except Exception as error:  # noqa: BLE001  whatever it was, the text has not been read to its end
                answers[index] = error
        return answers

    def _places(self, texts: pa.Array) -> Iterable[tuple[int, Mapping[int, Places]]]:
        if not self.everywhere:
            return self.sets.places(texts)
        known = dict(self.sets.places(texts))
        return ((index, known.get(index, {})) for index in range(len(texts)))

    def _read(self, text: str, data: Any, found: Mapping[int, Places]) -> list[Span]:
        """Return the finds in a text, given the places by trigger, as bytes of its data."""
        places = found if data is None or data.size == len(text) else _as_characters(found, data)
        lowered: str | None = None
        near = Surroundings(self.words, text, self.enhancer.context_prefix_count + 1, self._behind)
        spans: list[Span] = []
        for reader, steps in self.plan:
            hits: list[Hit] = []
            speaks: bool | None = None
            for search, needs_context, number, windows in steps:
                if number is not None and number not in places:
                    continue
                if needs_context:
                    if speaks is None:
                        lowered = text.lower() if lowered is None else lowered
                        speaks = reader.speaks_of(lowered)
                    if not speaks:
                        continue
                if windows and number is not None:
                    around = windows.around(text, None if number in self.anywhere else places[number])
                    hits += search.search(text, around)
                else:
                    hits += search.search(text, [(0, len(text))])
            if len(hits) > 1:
                hits = without_duplicates(hits)
            if hits and reader.context and speaks is None:
                lowered = text.lower() if lowered is None else lowered
                speaks = reader.speaks_of(lowered)
            for hit in hits:
                score = self._raised(hit, reader, near) if speaks else hit.score
                if score >= reader.threshold:
                    spans.append(Span(hit.start, hit.end, reader.entity, score, reader.name))
        return spans

    def _raised(self, hit: Hit, reader: Reader, near: Surroundings) -> float:
        """Return the score of a hit, raised where a context word stands near it."""
        raised = self._boost(hit.score)
        if raised < reader.threshold or hit.score >= ContextAwareEnhancer.MAX_SCORE:
            return hit.score
        return raised if near.hold(hit.start, reader.context, self.whole_word) else hit.score

    def _boost(self, score: float) -> float:
        """Return a score with a context word, as LemmaContextAwareEnhancer has it."""
        raised = score + self.enhancer.context_similarity_factor
        raised = max(raised, self.enhancer.min_score_with_context_similarity)
        return float(min(raised, ContextAwareEnhancer.MAX_SCORE))

    @property
    def _behind(self) -> int:
        return int(self.enhancer.context_suffix_count) + 1


def _as_characters(found: Mapping[int, Places], data: Any) -> dict[int, Places]:
    """Return places in bytes of UTF-8 as places in characters: of each byte, the character that it belongs to."""
    begins = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    character = np.cumsum(begins, dtype=np.int64) - 1
    return {
        number: None if places is None else character[np.asarray(places)].tolist()
        for number, places in found.items()
    }


def settled(spans: Sequence[Span]) -> list[Span]:
    """Return the spans as AnalyzerEngine leaves them, sorted: by type, none that another of no lower score contains.

    Of recognizers that agree on all, the first by name is named.
    """
    if len(spans) < 2:
        return list(spans)
    named: dict[tuple[str, int, int, float], str] = {}
    for span in spans:
        key = (span.type, span.start, span.end, span.score)
        named[key] = min(span.recognizer, named.get(key, span.recognizer))
    kept: list[Span] = []
    for entity in {span.type for span in spans}:
        hits = [Hit(span.start, span.end, span.score) for span in spans if span.type == entity]
        kept += [Span(h.start, h.end, entity, h.score, named[entity, *h]) for h in without_duplicates(hits)]
    return sorted(kept)
