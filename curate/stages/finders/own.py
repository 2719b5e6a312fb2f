"""The recognizers that a rule asks for: presidio's class, and our own from the patterns that stand in the pack.

Imported only by the functions that need it: presidio imports spaCy.
"""

from __future__ import annotations

from curate.stages.finders import light  # noqa: F401  before presidio

# isort: split

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import regex
import tldextract
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer, predefined_recognizers
from presidio_analyzer.predefined_recognizers.generic.iban_patterns import regex_per_country

from curate.stages.finders.words import LANGUAGE


class Own(PatternRecognizer):  # type: ignore[misc]  # presidio has no type information
    """A recognizer whose patterns stand in a rule pack, with a score each, and whose finds must pass checks."""

    def __init__(
        self,
        entity: str,
        patterns: Sequence[Mapping[str, Any]],
        context: Sequence[str] = (),
        checks: Sequence[str] = (),
    ) -> None:
        """Raise KeyError for a check that is not in CHECKS."""
        compiled = [Pattern(pattern["name"], pattern["regex"], pattern["score"]) for pattern in patterns]
        super().__init__(entity, f"Own {entity}", LANGUAGE, compiled, context=list(context))
        self.checks = [CHECKS[name] for name in checks]

    def invalidate_result(self, pattern_text: str) -> bool:
        """Tell whether what a pattern found fails a check.

        Not ``validate_result``, which would raise every number that passes to a score of 1, and of the numbers
        that look alike one in ten does.
        """
        return not all(check(pattern_text) for check in self.checks)


def recognizers(kind: Mapping[str, Any]) -> Iterator[EntityRecognizer]:
    """Yield the recognizers of one kind, a rule's data with its id: presidio's class, then our own patterns.

    ``checksum_suffices: false`` takes from presidio's class the habit of raising whatever passes its check to
    a score of 1; what fails is still left out.
    """
    context = kind.get("context")
    if name := kind.get("recognizer"):
        made = getattr(predefined_recognizers, name)
        if not kind.get("checksum_suffices", True):
            made = _keeping_the_score(made)
        yield made(supported_language=LANGUAGE, context=context)
    if patterns := kind.get("patterns"):
        yield Own(kind["id"], patterns, context or (), kind.get("checks", ()))


@cache
def _keeping_the_score(made: type[PatternRecognizer]) -> type[PatternRecognizer]:
    """Return a recognizer of that name whose finds keep their pattern's score where they pass the check."""

    def validate_result(self: PatternRecognizer, pattern_text: str) -> bool | None:
        return False if made.validate_result(self, pattern_text) is False else None

    return type(made.__name__, (made,), {"validate_result": validate_result, "__module__": made.__module__})


def luhn_valid(text: str) -> bool:
    """Tell whether the text's digits pass the Luhn check (ISO/IEC 7812-1, annex B) and are not all equal."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def iban_valid(text: str) -> bool:
    """Tell whether it has the length and form of its country's account numbers and remainder 1 (ISO 13616-1).

    The forms are those that presidio carries, from the registry of SWIFT.
    """
    number = "".join(filter(str.isalnum, text)).upper()
    form = regex_per_country.get(number[:2])
    if not form or not number.isascii() or not regex.fullmatch(form, number):
        return False
    return int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1


def host_valid(text: str) -> bool:
    """Tell whether a web address names a host under a public top-level domain, as the IANA's root zone has it.

    Read from the Public Suffix List that tldextract carries, never from the network, so that one release of it
    gives the same answer everywhere.
    """
    parts = _domains()(text)
    return bool(parts.domain and parts.suffix)


@cache
def _domains() -> tldextract.TLDExtract:
    return tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)


def uen_valid(text: str) -> bool:
    """Tell whether a Singaporean entity number ends with its check letter, by presidio's weights.

    Presidio's own test of the second form also asks for today's year, so that its answer changes with time.
    """
    number = text.upper()
    made = predefined_recognizers.SgUenRecognizer
    if len(number) == 9:
        return bool(made.validate_uen_format_a(number))
    if number[0].isalpha():
        return bool(made.validate_uen_format_c(number))
    total = sum(int(n) * w for n, w in zip(number[:-1], made.UEN_FORMAT_B_WEIGHT, strict=True))
    return bool(number[-1] == made.UEN_FORMAT_B_ALPHABET[total % 11])


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "host": host_valid,
    "iban": iban_valid,
    "luhn": luhn_valid,
    "uen": uen_valid,
}
"""What the patterns of a rule may be held to: ``checks`` in the packs."""
