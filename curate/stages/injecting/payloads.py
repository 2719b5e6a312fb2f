"""Payloads of rules/injection.yaml, searched in many texts at once.

One expression of all that the rules' matches must hold, over the flat texts in Arrow, says which texts are read;
only in those the rules' own expressions run (RE2: linear time whatever the text). Where letters are spaced out or
glued together the same expressions are used without gaps and word edges between the words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from curate import rules

PACK = "injection"
_SPACES = r"\s\x{A0}\x{2000}-\x{200A}\x{202F}\x{205F}\x{3000}"
_LOOSE, _GLUED = "loose", "glued"


class Hit(NamedTuple):
    """Characters start to end of a text match a rule's pattern."""

    rule: str  # its id
    pattern: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Rule:
    id: str
    hidden: bool  # counts only in text that is not shown
    near: str  # what every match holds, but for rules of hidden text
    loose: Mapping[str, Any]  # compiled, by the pattern's name
    glued: Mapping[str, Any]
    any_loose: Any  # compiled: one of them
    any_glued: Any


@lru_cache(maxsize=1)
def _rules() -> tuple[_Rule, ...]:
    pack = rules.load(PACK)
    found = []
    for rule in pack.rules:
        if (patterns := rule.data.get("patterns")) is None:
            continue
        written = {
            form: {name: _expanded(pattern, pack.data["macros"], form) for name, pattern in patterns.items()}
            for form in (_LOOSE, _GLUED)
        }
        compiled = {
            form: {name: _compile(f"(?i){pattern}") for name, pattern in one.items()}
            for form, one in written.items()
        }
        whole = {form: _compile(f"(?i){_any_of(one.values())}") for form, one in written.items()}
        hidden = rule.data.get("within") == "hidden"
        near = _expanded(rule.data.get("near", ""), pack.data["macros"], _LOOSE)
        found.append(_Rule(rule.id, hidden, near, compiled[_LOOSE], compiled[_GLUED], *whole.values()))
    return tuple(found)


_MEMORY = 1 << 26  # bytes that RE2 may use for one expression, before it takes the slow way


def _options() -> Any:
    options = re2.Options()
    options.max_mem = _MEMORY
    options.log_errors = False  # the slow way is no error
    return options


def _compile(pattern: str) -> Any:
    return re2.compile(pattern, _options())


def _expanded(pattern: str, macros: Mapping[str, str], form: str) -> str:
    pattern = pattern.replace("{{ai}}", macros["ai"]).replace("{{s}}", _SPACES)
    if form == _GLUED:
        return pattern.replace("{{gap}}", "(?:)").replace("{{b}}", "")
    return pattern.replace("{{gap}}", macros["gap"]).replace("{{b}}", macros["b"])


def _any_of(patterns: Any) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


@lru_cache(maxsize=1)
def _near() -> str:
    """Return one expression: each match of a rule for text in plain sight holds a match of it."""
    return f"(?i){_any_of(rule.near for rule in _rules() if rule.near)}"


@lru_cache(maxsize=1)
def _which() -> Any:
    """Return the expressions of :func:`_near` as a set, in the order of the rules that have one."""
    found = re2.Set.SearchSet(_options())
    for rule in _rules():
        if rule.near:
            found.Add(f"(?i){rule.near}")
    found.Compile()
    return found


def _asked(data: bytes) -> Sequence[_Rule]:
    """Return the rules that may match in a text in plain sight."""
    if compiled(_near()).search(data) is None:
        return ()
    rules_ = [rule for rule in _rules() if rule.near]
    # A set that runs out of memory says that nothing matches, and something does: then all are asked.
    return [rules_[number] for number in sorted(_which().Match(data))] or rules_


class Joined:
    """Texts as one, so that an expression that was compiled once runs over all of them."""

    def __init__(self, texts: pa.StringArray) -> None:
        """Take string [n], none null."""
        lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
        self._starts = np.cumsum(lengths + len(BETWEEN)) - lengths - len(BETWEEN)
        self._ends = self._starts + lengths
        column = texts.cast(pa.large_string())
        lists = pa.LargeListArray.from_arrays(pa.array([0, len(column)], pa.int64()), column)
        joined = pc.binary_join(lists, pa.scalar(BETWEEN, pa.large_string()))
        self._data = joined[0].as_buffer().to_pybytes() if len(texts) else b""

    def holding(self, pattern: str) -> list[int]:
        """Return which texts may hold a match (RE2), ascending: all that do, and now and then a neighbor."""
        search, data, ends = compiled(pattern).search, self._data, self._ends
        found: list[int] = []
        at = 0
        while (match := search(data, at)) is not None:
            first = int(np.searchsorted(ends, match.start(), "left"))
            last = int(np.searchsorted(self._starts, max(match.end() - 1, match.start()), "right"))
            found += range(first, last)
            if last >= len(ends):
                break
            at = int(self._starts[last])
        return found


BETWEEN = "\n\0\n"  # between two texts: neither a word's part nor a space alone


def in_texts(texts: pa.StringArray, joined: Joined) -> dict[int, list[Hit]]:
    """Return the payloads in plain sight by text: string [n], none null."""
    hits = {}
    for at in joined.holding(_near()):
        if listed := list(in_text(texts[at].as_py())):
            hits[at] = listed
    return hits


def in_text(text: str, hidden: bool = False, glued: bool = False) -> Iterator[Hit]:
    """Yield the payloads in one text, rule by rule, pattern by pattern, in order.

    hidden: the text is not shown to a reader, so rules for hidden text count; glued: no gaps between words.
    """
    data = text.encode()
    for rule in _rules() if hidden or glued else _asked(data):
        if rule.hidden and not hidden:
            continue
        if (rule.any_glued if glued else rule.any_loose).search(data) is None:
            continue
        for name, pattern in (rule.glued if glued else rule.loose).items():
            for match in pattern.finditer(data):
                start = len(data[: match.start()].decode())
                yield Hit(rule.id, name, start, start + len(match.group().decode()))


# --- mentions ------------------------------------------------------------------------------------------------

_OPENS = {"“": "”", "‘": "’", "«": "»", "「": "」", "『": "』", "„": "“", "‹": "›"}
_LINE = 300  # characters of a line before and after a match that may hold its quotation marks


def quoted(text: str, start: int, end: int) -> bool:
    """Tell whether a match stands in quotation marks that open and close around it, in its line."""
    before = text[max(0, start - _LINE) : start].rpartition("\n")[2]
    after = text[end : end + _LINE].partition("\n")[0]
    if before.rstrip("*_ ([{")[-1:] in tuple("\"'`“‘«「『„‹|"):
        return True
    if any(before.count(mark) % 2 and mark in after for mark in '"`'):
        return True
    return any(before.rfind(a) > before.rfind(b) and b in after for a, b in _OPENS.items())


@lru_cache(maxsize=1)
def discusses() -> str:
    """Return the expression (RE2) for records that speak of attacks."""
    return str(rules.load(PACK).data["discusses"])


def speak_of_attacks(texts: Sequence[str]) -> bool:
    """Tell whether one of the texts speaks of attacks."""
    pattern = compiled(discusses())
    return any(pattern.search(text) is not None for text in texts)


@lru_cache(maxsize=64)
def compiled(pattern: str) -> Any:
    """Return the expression compiled (RE2), once per process."""
    return _compile(pattern)
