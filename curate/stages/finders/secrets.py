"""Secrets: keys and tokens that open something, by the forms their issuers gave them.

The patterns are detect-secrets' token detectors, those that look for a form rather than for high entropy or for a
variable's name, and some of our own (rules/secrets.yaml). One pass of a set of expressions over all texts says
which patterns may match in which; only those are run there, and line by line as detect-secrets does, on the lines
that hold what every match of them holds (:mod:`curate.stages.finders.triggers`). They are read as ASCII, which all
tokens are: no digit of another script and no space beyond it counts.

A find is the secret's value alone, not the name it is assigned to; of a private key it is the whole block up to
its END line. What detect-secrets' own filters take for a placeholder is left alone, by its value and not by the
line it stands in: ``{token}``, ``<token>``, ``$TOKEN``, alphabets, and what holds no letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from curate import rules
from curate.kernels.spans import Span
from curate.stages.finders import Finds
from curate.stages.finders.lookalikes import Exceptions
from curate.stages.finders.regexsets import Places, RegexSets
from curate.stages.finders.shapes import UnreadableError
from curate.stages.finders.triggers import Trigger, derive

PACK = "secrets"

_FAR = 1 << 16  # characters that a private key may have; one of 16,384 bits has 13,000
_BEFORE = re.compile(r"-+ ?\Z")
_END = re.compile(r"-+ ?END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)? ?-+|Private-(?:MAC|Hash): ?[0-9A-Fa-f]+")
_BEGIN = re.compile(r"BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File-")
# A run of base64 as keys are written, which no prose has.
_MATERIAL = re.compile(r"[A-Za-z0-9+/]{20,}")
# Where the END line is missing: the lines of base64, in code too (quotes, escaped line ends), and headers.
_LINES = re.compile(
    r"(?:(?:\s|\\[nrt]|[-\"'+,])*"
    r"(?:(?:Proc-Type|DEK-Info|Comment|Version|Subject|Encryption|Public-Lines|Private-Lines)\b[^\n\\]*|[A-Za-z0-9+/]{20,}={0,2}))+"
    r"(?:(?:\s|\\[nrt])+[A-Za-z0-9+/]+={1,2})?"
)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One expression of a kind and what of its matches is the secret."""

    kind: str
    name: str  # of the recognizer
    expression: re.Pattern[str]  # read line by line
    trigger: str | None  # what every match holds, if that is known, for sets of expressions
    held: re.Pattern[str] | None  # and for texts
    score: float
    whole: bool  # the whole match, whatever groups it has
    value: re.Pattern[str] | None  # what of that is the value
    more: re.Pattern[str] | None  # what may follow in the same word, where the expression stops short
    block: bool  # a private key's first line
    formal: Any  # a further test of the value, or None
    exceptions: Exceptions


class Secrets:
    """Finds secrets."""

    def __init__(self, kinds: Iterable[Mapping[str, Any]], hyperscan: bool | None = None) -> None:
        """Each kind is a rule of the pack: id, detector or patterns or both. hyperscan: as RegexSets has it."""
        self._patterns = [pattern for kind in kinds for pattern in _patterns(kind)]
        self._told = [number for number, pattern in enumerate(self._patterns) if pattern.trigger]
        self._anywhere = sorted({*range(len(self._patterns))} - {*self._told})
        self._hyperscan = hyperscan

    @cached_property
    def _sets(self) -> RegexSets:
        triggers = (self._patterns[number].trigger for number in self._told)
        return RegexSets([trigger for trigger in triggers if trigger], self._hyperscan)

    def find(self, texts: pa.Array) -> list[Finds]:
        """Return what is in each of the texts: string [n], null as empty → [n]."""
        found: list[Finds] = [[] for _ in range(len(texts))]
        told = self._places(texts)
        for at in range(len(texts)) if self._anywhere else told:
            places: dict[int, Places] = dict.fromkeys(self._anywhere)
            places |= {self._told[number]: where for number, where in told.get(at, {}).items()}
            try:
                found[at] = self._read(texts[at].as_py() or "", places)
            except Exception as error:  # noqa: BLE001  whatever it was, the text has not been read to its end
                found[at] = error
        return found

    def _places(self, texts: pa.Array) -> dict[int, Mapping[int, Places]]:
        """Return where each of the sets' expressions may match, by text.

        Of a text with digits of other scripts and the like the sets say nothing but that all may match anywhere. As
        such characters are in no secret, the sets are asked again with others in their place.
        """
        told = dict(self._sets.places(texts))
        unclear = [
            at for at, where in told.items() if len(where) == len(self._told) and not any(where.values())
        ]
        for at in unclear:
            del told[at]
        plainer = pa.array([_plainer(texts[at].as_py()) for at in unclear], pa.string())
        return told | {unclear[n]: where for n, where in self._sets.places(plainer)}

    def read(self, text: str) -> list[Span]:
        """Return what is in a text, every pattern run on every line: the slow way to the same finds."""
        lines = list(_lines(text, 0, len(text)))
        return _each_once(span for pattern in self._patterns for span in _in_lines(pattern, text, lines))

    def _read(self, text: str, places: Mapping[int, Places]) -> list[Span]:
        found: set[Span] = set()
        data = text.encode()
        for number, where in places.items():
            pattern = self._patterns[number]
            if where is not None:
                lines = _lines_at(text, data, where)
            elif pattern.held:
                lines = _held(pattern.held, text)
            else:
                lines = _lines(text, 0, len(text))
            found.update(_in_lines(pattern, text, lines))
        return _each_once(found)


def _each_once(spans: Iterable[Span]) -> list[Span]:
    """Return the spans in order; of several recognizers' for one place, the first by name."""
    firsts: dict[tuple[int, int, str], Span] = {}
    for span in sorted(spans):
        firsts.setdefault(span[:3], span)
    return list(firsts.values())


def _plainer(text: str) -> str:
    """Return the text with one of three characters for all beyond ASCII, of as many bytes in UTF-8."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    like = np.array([0xE9, 0x20AC, 0x1F600], np.uint32)[np.searchsorted([0x800, 0x10000], codes, "right")]
    return np.where(codes < 0x80, codes, like).tobytes().decode("utf-32-le")


def _held(held: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that an expression matches in, and where each begins."""
    done = 0
    for hit in held.finditer(text):
        if hit.start() >= done:
            start = text.rfind("\n", 0, hit.start()) + 1
            done = text.find("\n", hit.end()) % (len(text) + 1)  # -1 is the end
            yield from _lines(text, start, done)


def _lines_at(text: str, data: bytes, places: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield the lines that hold these bytes of the text's data, in order, and where each begins."""
    known, characters, done = 0, 0, 0
    for place in places:
        if place >= done:
            start = data.rfind(b"\n", 0, place + 1) + 1
            done = data.find(b"\n", place) % (len(data) + 1)
            characters += start - known if len(data) == len(text) else len(data[known:start].decode())
            known = start
            yield characters, data[start:done].decode()


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, str]]:
    for line in text[start:end].split("\n"):
        yield start, line
        start += len(line) + 1


def _in_lines(pattern: _Pattern, text: str, lines: Iterable[tuple[int, str]]) -> Iterator[Span]:
    for at, line in lines:
        for match in pattern.expression.finditer(line):
            for start, end in _places(pattern, match, text, at):
                real = not pattern.exceptions.covers(text, start, end)
                if real and not _placeholder(text[start:end]):
                    yield Span(start, end, pattern.kind, pattern.score, pattern.name)


def _places(pattern: _Pattern, match: re.Match[str], text: str, line_start: int) -> Iterator[tuple[int, int]]:
    """Yield where in the text the secrets of a match in one of its lines are."""
    if pattern.block:
        block = _block(text, line_start + match.start(), line_start + match.end())
        yield from [block] if block else []
        return
    groups = () if pattern.whole else [n for n in range(1, (match.re.groups or 0) + 1) if match[n]]
    for group in groups or (0,):
        start, end = (line_start + place for place in match.span(group))
        if pattern.value:
            value = pattern.value.search(text, start, end)
            if not value:
                continue
            start, end = value.span()
        if pattern.more and (more := pattern.more.match(text, end)):
            end = more.end()
        if pattern.formal is None or pattern.formal(text[start:end]):
            yield start, end


def _block(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Return where the private key whose first line holds characters start to end begins and ends.

    None where no key follows: the words stand in many a program and manual.
    """
    dashes = _BEFORE.search(text, max(0, start - 8), start)
    first = dashes.start() if dashes else start
    last = _END.search(text, end, end + _FAR)
    other = _BEGIN.search(text, end, end + _FAR)
    if last and not (other and other.start() < last.start()):
        return (first, last.end()) if _MATERIAL.search(text, end, last.start()) else None
    stop = other.start() if other else end + _FAR
    lines = _LINES.match(text, end, min(stop, len(text)))
    return (first, lines.end()) if lines and _MATERIAL.search(text, end, lines.end()) else None


def _placeholder(value: str) -> bool:
    """Tell whether detect-secrets would take a value for none, whatever the line around it."""
    from detect_secrets.filters import heuristic

    return bool(
        heuristic.is_templated_secret(value)
        or heuristic.is_prefixed_with_dollar_sign(value)
        or heuristic.is_sequential_string(value)
        or heuristic.is_not_alphanumeric_string(value)
    )


def _patterns(kind: Mapping[str, Any]) -> Iterator[_Pattern]:
    name = kind.get("detector", "")
    expressions = [
        (f"detect-secrets {name}", known.pattern, known.flags) for known in _detector(name).denylist
    ]
    expressions += [(f"Own {kind['id']}", pattern["regex"], 0) for pattern in kind.get("patterns", ())]
    for recognizer, written, flags in expressions:
        expression = re.compile(written, flags & ~re.UNICODE | re.ASCII)
        trigger = _trigger(expression)
        yield _Pattern(
            kind["id"],
            recognizer,
            expression,
            trigger.for_sets if trigger else None,
            re.compile(trigger.for_regex) if trigger else None,  # at runs five times as fast as regex
            kind["score"],
            kind.get("whole", False),
            re.compile(kind["value"]) if "value" in kind else None,
            re.compile(kind["more"]) if "more" in kind else None,
            kind.get("block", False),
            getattr(_detector(name), "is_formally_valid", None),
            Exceptions.of(kind.get("except", {})),
        )


def _detector(name: str) -> Any:
    """Return detect-secrets' class of that name; of no name, one without expressions."""
    from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
    from detect_secrets.plugins.base import RegexBasedDetector

    for detector in get_mapping_from_secret_type_to_class().values():
        if detector.__name__ == name and issubclass(detector, RegexBasedDetector):
            return detector
    if name:
        raise KeyError(f"detect-secrets has no token detector {name}")
    return type("None", (), {"denylist": ()})


def _trigger(expression: re.Pattern[str]) -> Trigger | None:
    try:
        return derive(expression.pattern, expression.flags)
    except UnreadableError:
        return None


def matches(rule: rules.Rule, example: str | list[str]) -> bool:
    """Tell whether a text holds what the rule looks for: how rules/secrets.yaml is tested.

    An example in pieces is one text: whole, it would alarm whatever searches repositories for secrets.
    """
    text = example if isinstance(example, str) else "".join(example)
    return any(span.type == rule.id for span in Secrets([{"id": rule.id, **rule.data}]).read(text))
