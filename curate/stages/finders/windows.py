"""Where a recognizer of presidio's must look, so that it need not read the whole text.

A *window* is a part of the text around a place where a cheap pattern, the trigger, has found what every match
of the recognizer contains, out to the next character on either side that no match can contain. Run on its
windows, that character included, a recognizer finds what it finds in the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers
import regex
from presidio_analyzer import EntityRecognizer, PatternRecognizer, RecognizerResult
from presidio_analyzer.predefined_recognizers import PhoneRecognizer


class Narrow(NamedTuple):
    """Where a recognizer need not look."""

    trigger: str  # pattern of which every match of the recognizer contains a match; case matters
    stop: str  # a character that no match of the recognizer or of the trigger contains


# phonenumbers' own punctuation, and ASCII characters that its numbers with extensions never hold: all letters
# but those of ext., extensión, anexo, int.
_PHONE_GAP = (
    "[-x\u2010-\u2015\u2212\u30fc\uff0d-\uff0f \u00a0\u00ad\u200b\u2060\u3000()\uff08\uff09\uff3b\uff3d.\\["
    "\\]/~\u2053\u223c\uff5e]"
)
_NO_PHONE = "[\\n!\"$%&'*<>?@^_`{|}B-DF-HJ-MP-RU-WYZb-df-hj-mp-ru-wyz]"
# [a-z] matches four letters beyond ASCII where case is ignored.
_ALNUM = "[0-9A-Za-z\u0130\u0131\u017f\u212a]"
NARROW: Mapping[str, Narrow] = {
    "CreditCardRecognizer": Narrow(r"\d(?:[- ]?\d){12}", r"\n"),
    "CryptoRecognizer": Narrow(r"[1-3]" + _ALNUM + "{25}", r"\s"),  # bc1… or 1… or 3…
    "EmailRecognizer": Narrow(r"@\w", r"\s"),
    "IbanRecognizer": Narrow(r"[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[ -]?[A-Z0-9]{4}", r"\n"),
    "IpRecognizer": Narrow(r"\.[0-9]{1,3}\.|:[0-9A-Fa-f]{0,4}:", r"\s"),
    "MacAddressRecognizer": Narrow(r"[:-][0-9A-Fa-f]{2}[:-]|\.[0-9A-Fa-f]{4}\.", r"\s"),
    # Four digits are the least that any of the regions' numbers has.
    "PhoneRecognizer": Narrow(rf"\d(?:{_PHONE_GAP}{{0,4}}\d){{3}}", _NO_PHONE),
    "UsItinRecognizer": Narrow(r"9\d{2}[- ]?\d{2}[- ]?\d{4}", r"\n"),
    "UsSsnRecognizer": Narrow(r"[0-9]{3}[- .]?[0-9]{2}[- .]?[0-9]{4}", r"\n"),
}


class _Windows:
    """Cuts a text into windows."""

    def __init__(self, narrow: Narrow) -> None:
        self.trigger = regex.compile(narrow.trigger)
        self.stop = regex.compile(narrow.stop)
        self.stop_before = regex.compile(narrow.stop, regex.REVERSE)

    def of(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield what must be read: from stop to stop around each trigger, with both stop characters."""
        done = 0
        for hit in self.trigger.finditer(text):
            if hit.start() < done:
                continue
            before = self.stop_before.search(text, 0, hit.start())
            after = self.stop.search(text, hit.end())
            done = after.end() if after else len(text)
            yield before.start() if before else 0, done


class Reader:
    """One recognizer, run on windows of the text where it can be narrowed, else on all of it."""

    def __init__(self, recognizer: Any, narrow: Narrow | None, threshold: float) -> None:
        self.recognizer = recognizer
        self.threshold = threshold
        self.windows = _Windows(narrow) if narrow else None
        words = "|".join(re.escape(word.lower()) for word in recognizer.context or ())
        # A context word as a whole token: a run of letters and digits.
        self.context = re.compile(rf"(?<![^\W_])(?:{words})(?![^\W_])") if words else None
        self.needs_context = self._best_alone() < threshold

    def _best_alone(self) -> float:
        """Return the highest score that the recognizer can give without context."""
        kind = type(self.recognizer)
        if isinstance(self.recognizer, PhoneRecognizer):
            return float(self.recognizer.SCORE)
        stock = PatternRecognizer
        if kind.analyze is stock.analyze and kind.validate_result is stock.validate_result:
            return max(float(pattern.score) for pattern in self.recognizer.patterns)
        return 1.0  # it may raise a score by itself

    def has_context(self, lowered: str) -> bool:
        """Tell whether a text, given in lower case, holds one of the recognizer's context words."""
        return self.context is not None and self.context.search(lowered) is not None

    def read(self, text: str) -> list[Any]:
        """Return presidio's results for the text, before context."""
        if self.windows is None:
            return self._analyze(text)
        results = []
        for start, end in self.windows.of(text):
            for result in self._analyze(text[start:end]):
                result.start += start
                result.end += start
                results.append(result)
        return results

    def _analyze(self, text: str) -> list[Any]:
        if isinstance(self.recognizer, PhoneRecognizer):
            return self._phones(text)
        return list(self.recognizer.analyze(text, self.recognizer.supported_entities, None) or ())

    def _phones(self, text: str) -> list[Any]:
        recognizer = self.recognizer
        metadata = {
            RecognizerResult.RECOGNIZER_NAME_KEY: recognizer.name,
            RecognizerResult.RECOGNIZER_IDENTIFIER_KEY: recognizer.id,
        }
        search = (
            _phone_spans if len(text) < 100 else _phone_spans.__wrapped__
        )  # long windows do not come again
        spans = search(text, tuple(recognizer.supported_regions), recognizer.leniency)
        entity = recognizer.supported_entities[0]
        explain = recognizer._get_analysis_explanation
        found = [
            RecognizerResult(entity, a, b, recognizer.SCORE, explain(None), dict(metadata)) for a, b in spans
        ]
        return list(EntityRecognizer.remove_duplicates(found))


@lru_cache(maxsize=1 << 14)
def _phone_spans(text: str, regions: tuple[str, ...], leniency: int) -> tuple[tuple[int, int], ...]:
    """Return the phone numbers in a window: of any region that its digits suffice for."""
    digits = sum(map(str.isdecimal, text))
    international = "+" in text or "\uff0b" in text  # then the region does not matter
    spans = set()
    for region in regions:
        if international or digits >= _shortest(region):
            matcher = phonenumbers.PhoneNumberMatcher(text, region, leniency=leniency)
            spans |= {(match.start, match.end) for match in matcher}
    return tuple(sorted(spans))


@lru_cache(maxsize=256)
def _shortest(region: str) -> int:
    """Return how many digits the region's shortest number has."""
    numbers: Any = phonenumbers.PhoneMetadata.metadata_for_region(region)
    return int(min(length for length in numbers.general_desc.possible_length if length > 0))
