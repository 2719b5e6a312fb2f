"""What becomes of a value that was found: the operators of the stage pii.

=========  ==================================  ===  ==================================================
operator   writes                              key  equal values
=========  ==================================  ===  ==================================================
replace    ``<EMAIL_ADDRESS>``                 no   equal, as all of their kind are
number     ``<EMAIL_ADDRESS_1>``               no   equal within a record
mask       ``********************``            no   cannot be told
hash       ``<EMAIL_ADDRESS:3f9c02ab41d7c0…>``  yes  equal in all records, runs and releases
surrogate  ``anna.berg41@example.org``         yes  the same, where the kind has stand-ins
encrypt    ``<EMAIL_ADDRESS:kqhtrb…>``         yes  the same, where written alike; reversible with the key
drop       nothing: the record is dropped
keep       the value: the find is flagged
=========  ==================================  ===  ==================================================
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

from curate.kernels.spans import Span, outside
from curate.stages.operators import surrogates, tokens
from curate.stages.operators.values import same

Operator: TypeAlias = Literal["replace", "number", "mask", "hash", "surrogate", "encrypt", "drop", "keep"]
KEYED: frozenset[str] = frozenset({"hash", "surrogate", "encrypt"})


class Hand:
    """Writes something in the values' place, and knows its own writing when it reads it."""

    def __init__(self, operators: Mapping[str, Operator], key: bytes, known: Iterable[str]) -> None:
        """operators: of every kind looked for; known: kinds whose tokens an earlier run may have written."""
        self._operators = dict(operators)
        self._key = key
        self._token = tokens.pattern({*known, *operators})
        standing_in = frozenset(kind for kind, operator in operators.items() if operator == "surrogate")
        self._stand_in = surrogates.pattern(standing_in)

    def left_to_do(self, text: str, spans: Iterable[Span]) -> list[Span]:
        """Return the spans without what an operator has written: tokens, stand-ins, masks.

        What sticks out of a token is left to do; a span that holds a stand-in and more is left whole, as the
        stand-in may be part of a longer value.
        """
        held = [token.span() for token in self._token.finditer(text)] if "<" in text else []
        ours = [found.span() for found in self._stand_in.finditer(text)] if self._stand_in else []
        left = [span for span in spans if not _lies_in(span, ours)]
        if held:
            left = [_trimmed(text, part) for part in outside(left, held)]
        return [span for span in left if any(map(str.isalnum, text[span.start : span.end]))]

    def numbers(self, turns: Iterable[str]) -> Numbers:
        """Return a record's numbers, which begin after those that already stand in its turns."""
        taken: dict[str, int] = {}
        for text in turns:
            for token in self._token.finditer(text) if "<" in text else ():
                if token[2]:
                    taken[token[1]] = max(taken.get(token[1], 0), int(token[2]))
        return Numbers(taken)

    def instead(self, kind: str, value: str, numbers: Numbers) -> str:
        """Return what stands in a value's place."""
        match self._operators[kind]:
            case "mask":
                return "*" * len(value)
            case "number":
                return f"<{kind}_{numbers.of(kind, value)}>"
            case "hash":
                return f"<{kind}:{tokens.pseudonym(self._key, kind, value)}>"
            case "encrypt":
                return tokens.seal(self._key, kind, value)
            case "surrogate":
                return surrogates.surrogate(self._key, kind, value) or f"<{kind}>"
            case _:
                return f"<{kind}>"


class Numbers:
    """The numbers of one record's values: each kind's in the order in which its values are asked for."""

    def __init__(self, taken: Mapping[str, int]) -> None:
        """taken: the highest number of each kind that is not free."""
        self._last = dict(taken)
        self._given: dict[tuple[str, str], int] = {}

    def of(self, kind: str, value: str) -> int:
        """Return the value's number, the same however it is written."""
        key = kind, same(kind, value)
        if key not in self._given:
            self._given[key] = self._last[kind] = self._last.get(kind, 0) + 1
        return self._given[key]


def _lies_in(span: Span, ranges: Sequence[tuple[int, int]]) -> bool:
    """Tell whether one of the ranges, in order and apart, holds the whole span."""
    at = bisect_right(ranges, span.start, key=lambda r: r[0]) - 1
    return at >= 0 and span.end <= ranges[at][1]


def _trimmed(text: str, span: Span) -> Span:
    """Return the span without the white space at its ends."""
    value = text[span.start : span.end]
    start = span.start + len(value) - len(value.lstrip())
    return span._replace(start=start, end=max(start, span.start + len(value.rstrip())))
