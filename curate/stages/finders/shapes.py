"""What a regular expression's matches are made of: characters, and one after the other.

A *shape* admits at least what the expression does. Assertions are left out but for the two at the ends of an
expression that say much (a word's edge, no such character before), letters match in either case where the
expression says so, and of characters beyond ASCII only digits and spaces are told from the rest.
"""

from __future__ import annotations

import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, TypeAlias

import regex

# Beyond ASCII, in bits: digits, spaces, what matches an ASCII letter in the other case, everything.
DIGITS, SPACES, FOLDS, ANY = 1, 2, 4, 15
FOLDED = "\u0130\u0131\u017f\u212a"  # match i, I, s and k where case is ignored
_ASCII = (1 << 128) - 1


class UnreadableError(Exception):
    """The expression uses what is not known here."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character: of these ASCII ones (bit n is chr(n)), or of those beyond ASCII."""

    ascii: int
    beyond: int = 0


@dataclass(frozen=True, slots=True)
class Edge:
    r"""\b."""


@dataclass(frozen=True, slots=True)
class NotAfter:
    """No such character before."""

    chars: Chars


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other."""

    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of these."""

    parts: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """This so many times."""

    part: Shape
    least: int
    most: int | None


Shape: TypeAlias = Chars | Edge | NotAfter | Chain | Choice | Repeat
NOTHING = Chain(())


def bits(characters: Iterable[str]) -> int:
    """Return ASCII characters as bits."""
    total = 0
    for character in characters:
        total |= 1 << ord(character)
    return total


DIGIT, _UPPER, _LOWER, _FOLDING = map(bits, (digits, ascii_uppercase, ascii_lowercase, "iks"))
LETTERS = _UPPER | _LOWER
WORD = DIGIT | LETTERS | bits("_")
OTHERS = _ASCII & ~(DIGIT | LETTERS | bits(" \n"))
_SPACE = bits("\t\n\v\f\r \x1c\x1d\x1e\x1f")  # the last four in re, not in regex
_CATEGORIES = {
    op.CATEGORY_DIGIT: Chars(DIGIT, DIGITS),
    op.CATEGORY_NOT_DIGIT: Chars(_ASCII & ~DIGIT, ANY),
    op.CATEGORY_SPACE: Chars(_SPACE, SPACES),
    op.CATEGORY_NOT_SPACE: Chars(_ASCII & ~bits("\t\n\v\f\r "), ANY),
    op.CATEGORY_WORD: Chars(WORD, ANY),
    op.CATEGORY_NOT_WORD: Chars(_ASCII & ~WORD, ANY),
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression as read."""

    shape: Shape
    ahead: int | None  # characters behind a match that its assertions may look at; None: no bound


def read(pattern: str, flags: int) -> Expression:
    """Return the shape of what a pattern of the module ``regex`` (or ``re``) matches.

    Raises UnreadableError for what the standard library's parser of expressions does not know.
    """
    anywhere = regex.sub(r"\(\?i\)", "", pattern)  # regex allows it in the middle, where it counts for all
    ignore = bool(flags & _IGNORE) or anywhere != pattern
    try:
        tree = parser.parse(anywhere, flags & int(regex.MULTILINE | regex.DOTALL))
    except (re.error, RecursionError, OverflowError) as error:
        raise UnreadableError from error
    reader = _Reader()
    shape = reader.sequence(tree, ignore)
    return Expression(shape, reader.ahead)


_IGNORE = 2  # re.IGNORECASE, as the parser has it
_FAR = 1000  # characters; a lookahead that may read on for longer is one without bound


class _Reader:
    def __init__(self) -> None:
        self.groups: dict[int, Shape] = {}
        self.ahead: int | None = 1  # for a word's edge

    def sequence(self, tree: Any, ignore: bool) -> Shape:
        parts: list[Shape] = []
        for name, argument in tree:
            part = self.node(name, argument, ignore)
            parts += part.parts if isinstance(part, Chain) else [part]
        return parts[0] if len(parts) == 1 else Chain(tuple(parts))

    def node(self, name: Any, argument: Any, ignore: bool) -> Shape:
        if name in (op.LITERAL, op.NOT_LITERAL, op.IN, op.ANY):
            return _chars(name, argument, ignore)
        if name is op.BRANCH:
            return Choice(tuple(self.sequence(branch, ignore) for branch in argument[1]))
        if name is op.SUBPATTERN:
            group, add, remove, inner = argument
            shape = self.sequence(inner, (ignore or bool(add & _IGNORE)) and not remove & _IGNORE)
            if group is not None:
                self.groups[group] = shape
            return shape
        if name is op.ATOMIC_GROUP:
            return self.sequence(argument, ignore)
        if name in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
            least, most, inner = argument
            part = self.sequence(inner, ignore)
            return Repeat(part, int(least), None if most is op.MAXREPEAT else int(most))
        if name is op.GROUPREF and argument in self.groups:
            return self.groups[argument]
        return self.assertion(name, argument, ignore)

    def assertion(self, name: Any, argument: Any, ignore: bool) -> Shape:
        if name is op.AT:
            return Edge() if argument is op.AT_BOUNDARY else NOTHING
        if name not in (op.ASSERT, op.ASSERT_NOT):
            raise UnreadableError(str(name))
        direction, inner = argument
        shape = self.sequence(inner, ignore)  # counts the assertions in it
        if direction > 0:
            width = int(inner.getwidth()[1])
            far = width > _FAR or self.ahead is None
            self.ahead = None if far else (self.ahead or 0) + width
        elif name is op.ASSERT_NOT and len(inner) == 1 and isinstance(shape, Chars):
            kind, value = inner[0]
            if kind is op.LITERAL or (kind is op.IN and value[0][0] is not op.NEGATE):
                return NotAfter(Chars(shape.ascii & ~bits("\x1c\x1d\x1e\x1f")))
        return NOTHING


def _chars(name: Any, argument: Any, ignore: bool) -> Chars:
    if name is op.ANY:
        return Chars(_ASCII, ANY)
    if name is op.LITERAL:
        return _either_case(_range(argument, argument), ignore)
    if name is op.NOT_LITERAL:
        return Chars(_ASCII & ~(1 << argument if argument < 128 else 0), ANY)
    negated = argument[0][0] is op.NEGATE
    found = Chars(0)
    for kind, value in argument[negated:]:
        more = _member(kind, value)
        found = Chars(found.ascii | more.ascii, found.beyond | more.beyond)
    if not negated:
        return _either_case(found, ignore)
    # Left out are surely those alone that regex and re agree on.
    return Chars(_ASCII & ~(found.ascii & ~bits("\x1c\x1d\x1e\x1f")), ANY)


def _member(kind: Any, value: Any) -> Chars:
    if kind is op.LITERAL:
        return _range(value, value)
    if kind is op.RANGE:
        return _range(*value)
    if kind is op.CATEGORY and value in _CATEGORIES:
        return _CATEGORIES[value]
    raise UnreadableError(str(kind))


def _range(first: int, last: int) -> Chars:
    inside = (1 << max(min(last, 127) + 1, first)) - (1 << first) if first < 128 else 0
    return Chars(inside, ANY if last > 127 else 0)


def _either_case(chars: Chars, ignore: bool) -> Chars:
    if not ignore:
        return chars
    found = chars.ascii | (chars.ascii & _UPPER) << 32 | (chars.ascii & _LOWER) >> 32
    return Chars(found, chars.beyond | (FOLDS if found & _FOLDING else 0))


def any_of(parts: Iterable[Chars]) -> Chars:
    """Return the characters of all."""
    code = beyond = 0
    for part in parts:
        code |= part.ascii
        beyond |= part.beyond
    return Chars(code, beyond)


def characters(shape: Shape) -> Chars:
    """Return every character that a match may hold."""
    match shape:
        case Chars():
            return shape
        case Chain(parts) | Choice(parts):
            return any_of(map(characters, parts))
        case Repeat(part):
            return characters(part)
    return Chars(0)


def may_be_empty(shape: Shape) -> bool:
    """Tell whether a match may hold nothing."""
    match shape:
        case Chars():
            return False
        case Chain(parts):
            return all(map(may_be_empty, parts))
        case Choice(parts):
            return any(map(may_be_empty, parts))
        case Repeat(part, least):
            return least == 0 or may_be_empty(part)
    return True


def outermost(shape: Shape, last: bool) -> Chars:
    """Return every character that a match may begin (or end) with."""
    match shape:
        case Chars():
            return shape
        case Choice(parts):
            return any_of(outermost(part, last) for part in parts)
        case Repeat(part):
            return outermost(part, last)
        case Chain(parts):
            return any_of(_reached(parts[::-1] if last else parts, last))
    return Chars(0)


def _reached(parts: Sequence[Shape], last: bool) -> Iterable[Chars]:
    for part in parts:
        yield outermost(part, last)
        if not may_be_empty(part):
            return
