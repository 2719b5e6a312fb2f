"""Telephone numbers as phonenumbers finds them, without parsing what cannot be one.

phonenumbers parses every group of digits for every region. Here a group is parsed for a region only where its
digits, less the prefixes that the region knows, fit one of the patterns of the region's numbers: what phonenumbers
asks of them after parsing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import phonenumbers
from phonenumbers import phonenumbermatcher as matching

from curate.stages.finders.triggers import Trigger, derive

_INNER: Any = matching
# A candidate without an extension, or with one after an x: the number is then in the groups before it.
_PLAIN = re.compile(r"[+ ()\[\]-]*[0-9 ()\[\]./~-]*(?:[xX][0-9 ()\[\]./~-]*){0,2}")
_PLUS = frozenset("+\uff0b")
_ABROAD = 8  # digits: an international prefix has two at least; no country's code and shortest number fewer than six
_LONGEST = 32  # digits: more than any number with all its prefixes
_TYPES = (
    *("fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost"),
    *("personal_number", "voip", "uan", "pager", "voicemail"),
)
MOST_GROUPS = 8000
"""Groups of digits after which phonenumbers may give up on a text (65,535 candidates, of up to eight each)."""


@dataclass(frozen=True)
class Region:
    """What is known of a region's numbers."""

    name: str

    @cached_property
    def metadata(self) -> Any:
        """Return what phonenumbers carries."""
        return phonenumbers.PhoneMetadata.metadata_for_region(self.name)

    @cached_property
    def shared(self) -> list[Any]:
        """Return the metadata of all regions with its country code: a number may turn out to be theirs."""
        code = self.metadata.country_code
        names = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[code]
        return [phonenumbers.PhoneMetadata.metadata_for_region(name) for name in names]

    @cached_property
    def valid(self) -> str:
        """Return a pattern of the valid national numbers, and some more."""
        kinds = (getattr(metadata, kind) for metadata in self.shared for kind in _TYPES)
        patterns = (kind.national_number_pattern for kind in kinds if kind)
        return "|".join(sorted({pattern for pattern in patterns if pattern and pattern != "NA"}))

    @cached_property
    def shortest(self) -> int:
        """Return how many digits the shortest valid number has."""
        kinds: list[Any] = [
            (kind.possible_length or metadata.general_desc.possible_length)
            for metadata in self.shared
            for name in _TYPES
            if (kind := getattr(metadata, name)) and kind.national_number_pattern
        ]
        return min(int(length) for lengths in kinds for length in lengths if length > 0)

    @cached_property
    def dialled(self) -> re.Pattern[str] | None:
        """Return a pattern of every way to dial a valid number within the country; None where that is not known.

        They are, by ``phonenumberutil.parse``, to put before it the country code and the national prefix, each or
        neither.
        """
        prefixes = {
            metadata.national_prefix_for_parsing or "" for metadata in (self.metadata, self.shared[0])
        }
        rules = {
            metadata.national_prefix_transform_rule or "" for metadata in (self.metadata, self.shared[0])
        }
        if any(rule and not re.fullmatch(r"\\\d", rule) for rule in rules):
            return None  # it adds digits
        prefix = "|".join(f"(?:{prefix})" for prefix in sorted(prefixes) if prefix)
        before = f"(?:{self.metadata.country_code}(?:{prefix})?)?(?:{prefix})?"
        if any(rules):
            before = r"\d{0,10}"  # a carrier's code is taken out, too
        return re.compile(rf"(?:{before})(?:{self.valid})")

    @cached_property
    def abroad(self) -> re.Pattern[str]:
        """Return a pattern of the prefix of numbers of other countries."""
        return re.compile(self.metadata.international_prefix or "(?!)")

    def may_have(self, digits: str) -> bool:
        """Tell whether digits dialled in the region may be a valid number."""
        if self.dialled is None or self.dialled.fullmatch(digits):
            return True
        prefix = self.abroad.match(digits)
        return prefix is not None and _international(digits[prefix.end() :])


class Phones:
    """Finds what ``phonenumbers.PhoneNumberMatcher`` finds for any of the regions."""

    def __init__(self, regions: Iterable[str], leniency: int) -> None:
        """The leniency is phonenumbers'; below VALID (1) nothing can be ruled out."""
        self.regions = tuple(Region(name) for name in dict.fromkeys(regions))
        self.leniency = leniency
        self.hopeful = lru_cache(maxsize=1 << 16)(self._hopeful)
        self.dialling = lru_cache(maxsize=1 << 16)(self._regions_of)

    @cached_property
    def trigger(self) -> Trigger:
        """Return where a number can be."""
        derived = derive(_INNER._PATTERN.pattern, _INNER._PATTERN.flags)
        assert derived is not None
        least = min((region.shortest for region in self.regions), default=1)
        if self.leniency < phonenumbers.Leniency.VALID:
            least = 1
        gap = f"[{_INNER._VALID_PUNCTUATION}X]{{0,4}}"  # an x among it, and case does not count
        forms = [
            _row(["0-9"] * (least + 1), gap),
            *(_row(heads, gap) for heads in self._shortest_forms(least)),
        ]
        return replace(derived, for_sets="|".join(forms), for_regex=_row([r"\d"] * least, gap), bits=99.0)

    def _shortest_forms(self, least: int) -> Iterator[list[str]]:
        """Yield the digits at each place of the valid numbers with the fewest, by their first three."""
        if least != 4 or any(region.dialled is None for region in self.regions):
            yield ["0-9"] * least
            return
        valid = re.compile("|".join(region.valid for region in self.regions if region.shortest == least))
        found = {text[:3] for text in (f"{number:04}" for number in range(10_000)) if valid.fullmatch(text)}
        for head in sorted({text[:2] for text in found}):
            third = "".join(sorted(text[2] for text in found if text[:2] == head))
            yield [head[0], head[1], third, "0-9"]

    def spans(self, text: str) -> set[tuple[int, int]]:
        """Return the numbers in a text: start and end."""
        at = 0
        seen: dict[int, tuple[int, str] | None] = {}
        wanted: set[Region] = set()
        while candidate := self._candidate(text, at, seen):
            wanted.update(self.hopeful(candidate[1]))
            at = candidate[0] + len(candidate[1])
        return {span for region in wanted for span in self._of_region(text, region, seen)}

    def _of_region(
        self, text: str, region: Region, seen: dict[int, tuple[int, str] | None]
    ) -> Iterator[tuple[int, int]]:
        """Do what PhoneNumberMatcher does, but for candidates without hope."""
        matcher: Any = _Matcher(text, region, self)
        at = 0
        while candidate := self._candidate(text, at, seen):
            start, digits = candidate
            at = start + len(digits)
            if region in self.hopeful(digits) and (match := matcher._extract_match(digits, start)):
                at = match.end
                yield match.start, match.end

    @staticmethod
    def _candidate(text: str, at: int, seen: dict[int, tuple[int, str] | None]) -> tuple[int, str] | None:
        """Return the first candidate from a place on, as PhoneNumberMatcher cuts it."""
        if at not in seen:
            match = _INNER._PATTERN.search(text, at)
            if match:
                second = _INNER._SECOND_NUMBER_START_PATTERN.search(match.group())
                seen[at] = (match.start(), match.group()[: second.start()] if second else match.group())
            else:
                seen[at] = None
        return seen[at]

    def _hopeful(self, candidate: str) -> tuple[Region, ...]:
        """Return the regions that a candidate, or a part of it, may have a number of."""
        if _INNER._SLASH_SEPARATED_DATES.search(candidate):
            return ()
        if self.leniency < phonenumbers.Leniency.VALID:
            return self.regions
        if not _PLAIN.fullmatch(candidate):
            most = sum(map(str.isalnum, candidate))  # phonenumbers takes letters for digits, sometimes
            anyway = bool(_PLUS & {*candidate})
            return tuple(
                region
                for region in self.regions
                if anyway or region.dialled is None or most >= min(region.shortest, _ABROAD)
            )
        groups = re.findall("[0-9]+", candidate)
        # The parts that phonenumbers tries begin and end between groups.
        runs: set[tuple[int, str]] = set()
        for first in range(len(groups)):
            run = ""
            for group in groups[first:]:
                if len(run := run + group) > _LONGEST:
                    break
                runs.add((first, run))
        found = {region for _, run in runs for region in self.dialling(run)}
        if "+" in candidate and any(_international(run) for at, run in runs if at == 0):
            return self.regions
        return tuple(region for region in self.regions if region in found)

    def _regions_of(self, digits: str) -> tuple[Region, ...]:
        return tuple(region for region in self.regions if region.may_have(digits))


class _Matcher(phonenumbers.PhoneNumberMatcher):
    """Parses what may be a number only."""

    def __init__(self, text: str, region: Region, phones: Phones) -> None:
        super().__init__(text, region.name, leniency=phones.leniency)
        self._region = region
        self._phones = phones

    def _parse_and_verify(self, candidate: str, offset: int) -> Any:
        if self._region not in self._phones.hopeful(candidate):
            return None
        return super()._parse_and_verify(candidate, offset)


@lru_cache(maxsize=1 << 12)
def _international(digits: str) -> bool:
    """Tell whether digits may be a country code and a valid number of that country's."""
    for length in (1, 2, 3):
        for name in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length] or 0), ()):
            if name == "001":  # of no country
                return True
            dialled = _region(name).dialled
            if dialled is None or dialled.fullmatch(digits[length:]):
                return True
    return False


_region = lru_cache(maxsize=512)(Region)


def _row(places: Iterable[str], gap: str) -> str:
    return gap.join(f"[{place}]" for place in places)
