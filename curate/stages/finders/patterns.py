"""presidio-analyzer without a model and without the network, and a faster way to the same results.

Presidio runs every recognizer over the whole text and tokenises it for context words, found or not. The fast
way runs a recognizer only on windows of the text (:mod:`curate.stages.finders.windows`), or not at all where its own
scores lie below its threshold and the text has none of its context words, and looks for context words only
around what was found. :meth:`Scanner.plain` is presidio's own path, the twin that the tests hold
:meth:`Scanner.scan` against.

Imported only by the function that needs it: presidio imports spaCy.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import regex
import tldextract.tldextract
from presidio_analyzer import (
    AnalyzerEngine,
    Pattern,
    PatternRecognizer,
    RecognizerRegistry,
    predefined_recognizers,
)
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer, LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from spacy.lang.en.stop_words import STOP_WORDS

from curate.stages.finders.windows import NARROW, Narrow, Reader

LANGUAGE = "en"  # presidio's name for the one set of recognizers in use; the text may be in any language
REACH = 2000  # characters within which context words are looked for
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_SPACE = regex.compile(r"\s")
_SPACE_BEFORE = regex.compile(r"\s", regex.REVERSE)


class RegexTimeoutError(Exception):
    """A pattern took longer than presidio allows (REGEX_TIMEOUT_SECONDS); the text has not been scanned."""


class Found(NamedTuple):
    """One piece of personal data: characters start to end of the text."""

    start: int
    end: int
    type: str
    score: float


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


class _Words(NlpEngine):  # type: ignore[misc]  # presidio has no type information
    """The least that presidio needs to find context words: tokens, with the lower-case token as its lemma.

    A blank spaCy pipeline has empty lemmas, which silently switches context off. Tokens are runs of letters
    and digits, or single other characters, so that a token depends on its neighbours only and ``user_phone``
    holds the word ``phone``.
    """

    # A context word must not be skipped as a stop word ("call me at …").
    stop_words = frozenset(STOP_WORDS) - {"call"}

    def load(self) -> None:
        """Nothing to load."""

    def is_loaded(self) -> bool:
        """Always."""
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """Tokenise."""
        matches = list(_TOKEN.finditer(text))
        tokens = [match.group() for match in matches]
        lemmas = [token.lower() for token in tokens]
        return NlpArtifacts([], tokens, [match.start() for match in matches], lemmas, self, language)

    def process_batch(
        self, texts: Iterable[str], language: str, **_: Any
    ) -> Iterator[tuple[str, NlpArtifacts]]:
        """Tokenise one text after the other."""
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:
        """Tell whether the word says nothing about what follows."""
        return word in self.stop_words

    def is_punct(self, word: str, language: str) -> bool:
        """Tell whether the token is no word. Numbers are none, so that they do not hide the words around."""
        return not any(map(str.isalpha, word))

    def get_supported_entities(self) -> list[str]:
        """None: there is no model."""
        return []

    def get_supported_languages(self) -> list[str]:
        """Return the one name in use."""
        return [LANGUAGE]


class _Own(PatternRecognizer):  # type: ignore[misc]
    """A recognizer whose patterns stand in the rule pack."""

    def __init__(self, entity: str, patterns: Sequence[Mapping[str, Any]], context: list[str], luhn: bool):
        compiled = [Pattern(p["name"], p["regex"], p["score"]) for p in patterns]
        super().__init__(entity, f"Own {entity}", LANGUAGE, compiled, context=context)
        self.luhn = luhn

    def invalidate_result(self, pattern_text: str) -> bool:
        # not validate_result, which would raise every number that passes to a score of 1, and one in ten does
        return self.luhn and not luhn_valid(pattern_text)


def luhn_valid(text: str) -> bool:
    """Tell whether the text's digits pass the Luhn check (ISO/IEC 7812-1, annex B) and are not all equal."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


class Scanner:
    """Finds personal data of the given kinds."""

    def __init__(self, kinds: Iterable[Mapping[str, Any]]) -> None:
        """Each kind is a rule of the pack: id, threshold, and recognizer or patterns or both."""
        self.words = _Words()
        self.enhancer = LemmaContextAwareEnhancer(context_matching_mode="whole_word")
        self.readers: list[Reader] = []
        for kind in kinds:
            for recognizer in _recognizers(kind):
                recognizer.score_thresholds = {"default": kind["threshold"]}
                narrow = NARROW.get(type(recognizer).__name__)
                if isinstance(recognizer, _Own) and "narrow" in kind:
                    narrow = Narrow(**kind["narrow"])
                self.readers.append(Reader(recognizer, narrow, kind["threshold"]))
        self.engine = AnalyzerEngine(
            registry=RecognizerRegistry([reader.recognizer for reader in self.readers]),
            nlp_engine=self.words,
            supported_languages=[LANGUAGE],
            context_aware_enhancer=self.enhancer,
        )

    def plain(self, text: str) -> list[Found]:
        """Return what presidio's own engine finds, sorted."""
        return found(self.engine.analyze(text, LANGUAGE))

    def scan(self, text: str) -> list[Any]:
        """Return presidio's results from the thresholds up, in no order, contained ones included.

        Without those that another result of their type contains (``remove_duplicates``), they are those of
        :meth:`plain`. Raises whatever a recognizer raises, and RegexTimeoutError.
        """
        results = []
        lowered = text.lower()
        for reader in self.readers:
            if reader.needs_context and not reader.has_context(lowered):
                continue
            found_here = reader.read(text)
            near = bool(found_here) and reader.has_context(lowered)
            for result in found_here:
                raised = self._with_context(text, result, reader) if near else result
                if raised.score >= reader.threshold:
                    results.append(raised)
        return results

    def _with_context(self, text: str, result: Any, reader: Reader) -> Any:
        """Return the result, its score raised where a context word stands near it."""
        best = max(
            result.score + self.enhancer.context_similarity_factor,
            self.enhancer.min_score_with_context_similarity,
        )
        if result.score >= ContextAwareEnhancer.MAX_SCORE or best < reader.threshold:
            return result
        start, end = self._surroundings(text, result.start)
        near = text[start:end]
        if not reader.has_context(near.lower()):
            return result
        result.start -= start
        result.end -= start
        artifacts = self.words.process_text(near, LANGUAGE)
        [raised] = self.enhancer.enhance_using_context(near, [result], artifacts, [reader.recognizer])
        raised.start += start
        raised.end += start
        return raised

    def _surroundings(self, text: str, at: int) -> tuple[int, int]:
        """Return the part of the text, cut at white space, that holds every token context is looked for in.

        Presidio looks at the last six keywords up to the token at ``at`` and at the first from there on,
        however far. Here no farther than some REACH characters, or a long table of numbers would be read
        again and again.
        """
        needed = self.enhancer.context_prefix_count + 1
        start = here = _space_before(text, at)
        reach = 100
        while start and reach < REACH and self._keywords(text[start:here]) < needed:
            start = _space_before(text, max(0, here - reach))
            reach *= 3
        needed = self.enhancer.context_suffix_count + 1
        end = here = _space_after(text, at)
        reach = 20
        while end < len(text) and reach < REACH and self._keywords(text[here:end]) < needed:
            end = _space_after(text, min(len(text), here + reach))
            reach *= 3
        return start, end

    def _keywords(self, text: str) -> int:
        tokens = (token.group().lower() for token in _TOKEN.finditer(text))
        words = self.words
        return sum(
            1 for t in tokens if not words.is_stopword(t, LANGUAGE) and not words.is_punct(t, LANGUAGE)
        )


def _space_before(text: str, at: int) -> int:
    """Return where the run of non-space characters around ``at`` begins."""
    space = _SPACE_BEFORE.search(text, 0, at)
    return space.end() if space else 0


def _space_after(text: str, at: int) -> int:
    """Return where the run of non-space characters around ``at`` ends."""
    space = _SPACE.search(text, at)
    return space.start() if space else len(text)


def found(results: Iterable[Any]) -> list[Found]:
    """Return presidio's results as plain values, sorted."""
    return sorted(Found(r.start, r.end, r.entity_type, r.score) for r in results)


def _recognizers(kind: Mapping[str, Any]) -> Iterator[Any]:
    """Yield presidio's recognizer of this kind and the rule pack's own."""
    context = kind.get("context")
    if name := kind.get("recognizer"):
        yield getattr(predefined_recognizers, name)(supported_language=LANGUAGE, context=context)
    if patterns := kind.get("patterns"):
        yield _Own(kind["id"], patterns, context or [], kind.get("checksum") == "luhn")


def go_offline() -> None:
    """Keep tldextract, which knows the top-level domains of e-mail addresses, from fetching a newer list.

    It carries a list of its own, so the same release of it gives the same answer everywhere.
    """
    tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def heed_timeouts() -> None:
    """Turn what presidio only logs into an error, and keep record text out of logs."""
    logging.getLogger("presidio-analyzer").__class__ = _Heedful
