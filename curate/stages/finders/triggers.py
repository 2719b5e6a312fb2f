"""What every match of a regular expression contains, derived from the expression itself.

A *trigger* is a cheaper expression: every match of the first holds a match of it. A *stop* is a character that
no match holds. Both together say where in a text the expression need not be tried. They are derived, not
written down, so that they hold for whatever patterns the installed presidio or a rule pack brings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from curate.stages.finders.shapes import (
    ANY,
    DIGIT,
    DIGITS,
    FOLDED,
    FOLDS,
    LETTERS,
    NOTHING,
    OTHERS,
    SPACES,
    WORD,
    Chain,
    Chars,
    Choice,
    Edge,
    NotAfter,
    Repeat,
    Shape,
    bits,
    characters,
    may_be_empty,
    outermost,
    read,
)

# How frequent a character is in text, roughly: of ASCII letters, digits, spaces and others, and of all beyond.
_SHARES = ((LETTERS, 0.75 / 52), (DIGIT, 0.03 / 10), (bits(" \n"), 0.07), (OTHERS, 0.06 / 64))
_BEYOND = 0.1
_FEW = 8  # branches
_FEW_HEADS = 4
_WIDE = 40  # a repeat of more is cut short: it costs a matcher of sets more than it tells


@dataclass(frozen=True, slots=True)
class Trigger:
    """Where a pattern can match."""

    for_sets: str  # for matchers of sets (hyperscan, RE2): no text with a character of SPECIAL in it
    for_regex: str  # for the module regex and any text
    stop: str  # a character class
    ahead: int | None  # characters behind a match that the pattern's assertions may look at; None: no bound
    bits: float  # how much a match tells
    heads: str = ""  # the few characters that every match begins with one of; none where they are many


@lru_cache(maxsize=1024)
def derive(pattern: str, flags: int) -> Trigger | None:
    """Return a pattern's trigger, or None where nothing is sure to be in every match.

    Raises UnreadableError for a pattern that is not understood.
    """
    expression = read(pattern, flags)
    branches = _branches(expression.shape)
    chosen = [_most_telling(branch) for branch in branches]
    if any(not parts for parts in chosen):
        return None
    as_sets = "|".join(sorted({"".join(_written(part, False) for part in parts) for parts in chosen}))
    as_regex = "|".join(sorted({"".join(_written(part, True) for part in parts) for parts in chosen}))
    stop = _class(characters(expression.shape), True, negated=True)
    told = min(sum(map(_bits, parts)) for parts in chosen)
    return Trigger(as_sets, as_regex, stop, expression.ahead, told, _heads(expression.shape))


def mention(words: Iterable[str]) -> str:
    """Return an expression for matchers of sets: one of these words, given in lower case, in either case."""
    return "|".join(sorted({"".join(map(_either, word)) for word in words}))


def _either(character: str) -> str:
    if ord(character) > 127:
        return "[\x80-\U0010ffff]"
    return f"[{_range(ord(character), ord(character))}{_range(*[ord(character.upper())] * 2)}]"


def _heads(shape: Shape) -> str:
    first = outermost(shape, last=False)
    few = not first.beyond and first.ascii.bit_count() <= _FEW_HEADS and not may_be_empty(shape)
    return "".join(chr(code) for code in range(128) if first.ascii >> code & 1) if few else ""


def _branches(shape: Shape) -> list[tuple[Shape, ...]]:
    """Return the shape's ways to match, one for each branch of the few that would otherwise be cut short."""
    parts = shape.parts if isinstance(shape, Chain) else (shape,)
    for at, part in enumerate(parts):
        if isinstance(part, Choice) and len(part.parts) <= _FEW and (len(parts) == 1 or _is_wide(part)):
            ways = [Chain((*parts[:at], *_parts(branch), *parts[at + 1 :])) for branch in part.parts]
            return [branch for way in ways for branch in _branches(way)]
    return [parts]


def _parts(shape: Shape) -> tuple[Shape, ...]:
    return shape.parts if isinstance(shape, Chain) else (shape,)


def _most_telling(parts: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return the run of parts, each with its fewest repetitions at the ends, that the fewest texts match."""
    runs = [_trimmed(run) for run in _runs(parts)]
    return max(runs, key=lambda run: sum(map(_bits, run)), default=())


def _runs(parts: tuple[Shape, ...]) -> Iterator[tuple[Shape, ...]]:
    """Cut at the parts that hold a wide repeat; what is sure of such a part stays at the ends it made."""
    run: list[Shape] = []
    for part in parts:
        if not _is_wide(part):
            run.append(part)
            continue
        yield (*run, *_least(part, last=False))
        run = [*_least(part, last=True)]
    yield tuple(run)


def _is_wide(shape: Shape) -> bool:
    match shape:
        case Repeat(part, _, most):
            return most is None or most > _WIDE or _is_wide(part)
        case Chain(parts) | Choice(parts):
            return any(map(_is_wide, parts))
    return False


def _least(shape: Shape, last: bool) -> tuple[Shape, ...]:
    """Return what a wide part surely begins (or ends) with."""
    if may_be_empty(shape):
        return ()
    if isinstance(shape, Repeat) and not _is_wide(shape.part):
        return (Repeat(shape.part, min(shape.least, _WIDE), min(shape.least, _WIDE)),)
    return (outermost(shape, last),)


def _trimmed(run: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Drop what the run's ends may do without, and assertions that a matcher of sets cannot make."""
    parts = list(run)
    while parts and (may_be_empty(parts[0]) and not _holds_at(parts, first=True)):
        parts.pop(0)
    while parts and (may_be_empty(parts[-1]) and not _holds_at(parts, first=False)):
        parts.pop()
    ends = (0, len(parts) - 1)
    parts = [
        part if at in ends and isinstance(part, Edge | NotAfter) else _bare(part)
        for at, part in enumerate(parts)
    ]
    if parts and not isinstance(parts[0], Edge | NotAfter):
        parts[0] = _fewest(parts[0], first=True)
    if parts and not isinstance(parts[-1], Edge):
        parts[-1] = _fewest(parts[-1], first=False)
    return tuple(parts)


def _bare(shape: Shape) -> Shape:
    """Return the shape without assertions."""
    match shape:
        case Chain(parts):
            return Chain(tuple(map(_bare, parts)))
        case Choice(parts):
            return Choice(tuple(map(_bare, parts)))
        case Repeat(part, least, most):
            return Repeat(_bare(part), least, most)
        case Edge() | NotAfter():
            return NOTHING
    return shape


def _holds_at(parts: Sequence[Shape], first: bool) -> bool:
    r"""Tell whether the assertion at an end is one that a matcher of sets makes, too.

    Its \b knows the word characters of ASCII only. Beside one of them it holds wherever regex's \b does.
    """
    end = parts[0] if first else parts[-1]
    rest = Chain(tuple(parts[1:] if first else parts[:-1]))
    if isinstance(end, NotAfter):
        return first and not may_be_empty(rest)
    if not isinstance(end, Edge) or may_be_empty(rest):
        return False
    beside = outermost(rest, last=not first)
    return not beside.ascii & ~WORD and not beside.beyond & ~(DIGITS | FOLDS)


def _fewest(shape: Shape, first: bool) -> Shape:
    match shape:
        case Repeat(part, least):
            return Repeat(part, least, least)
        case Choice(parts):
            return Choice(tuple(_fewest(part, first) for part in parts))
        case Chain(parts) if parts:
            at = 0 if first else len(parts) - 1
            return Chain((*parts[:at], _fewest(parts[at], first), *parts[at + 1 :]))
    return shape


def _bits(shape: Shape) -> float:
    """Return how much a match tells, in bits, were characters as frequent as in text and independent."""
    match shape:
        case Chars(ascii, beyond):
            shares = ((ascii & kind).bit_count() * share for kind, share in _SHARES)
            return -math.log2(min(sum(shares) + (_BEYOND if beyond == ANY else 0) + 1e-9, 1))
        case Chain(parts):
            return sum(map(_bits, parts))
        case Choice(parts):
            return -math.log2(sum(2 ** -min(_bits(part), 1000) for part in parts))
        case Repeat(part, least):
            return least * _bits(part)
    return 1.0  # an assertion


def _written(shape: Shape, for_regex: bool) -> str:
    match shape:
        case Chars():
            return _class(shape, for_regex)
        case Edge():
            return r"\b"
        case NotAfter(chars):
            return (
                f"(?<!{_class(chars, True)})" if for_regex else f"(?:^|{_class(chars, False, negated=True)})"
            )
        case Chain(parts):
            return "".join(_written(part, for_regex) for part in parts)
        case Choice(parts):
            return f"(?:{'|'.join(dict.fromkeys(_written(part, for_regex) for part in parts))})"
    return f"(?:{_written(shape.part, for_regex)}){_times(shape.least, shape.most)}"


def _times(least: int, most: int | None) -> str:
    if least == most:
        return "" if least == 1 else f"{{{least}}}"
    return f"{{{least},{'' if most is None else most}}}"


@lru_cache(maxsize=4096)
def _class(chars: Chars, for_regex: bool, negated: bool = False) -> str:
    """Return a character class. For sets, of the characters beyond ASCII all or none or spaces."""
    ranges = [_range(first, last) for first, last in _stretches(chars.ascii)]
    if chars.beyond == ANY:
        ranges.append("\x80-\U0010ffff")
    else:
        if chars.beyond & SPACES:
            ranges.append(
                r"\s" if for_regex else "\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
            )
        if chars.beyond & DIGITS and for_regex:
            ranges.append(r"\d")
        if chars.beyond & FOLDS and for_regex:
            ranges.append(FOLDED)
    return f"[{'^' if negated else ''}{''.join(ranges)}]"


def _range(first: int, last: int) -> str:
    ends = [re.sub(r"[^0-9A-Za-z]", lambda m: f"\\x{ord(m[0]):02x}", chr(code)) for code in (first, last)]
    return ends[0] if first == last else "-".join(ends)


def _stretches(code: int) -> Iterator[tuple[int, int]]:
    first: int | None = None
    for n in range(129):
        inside = n < 128 and bool(code >> n & 1)
        if inside and first is None:
            first = n
        elif not inside and first is not None:
            yield first, n - 1
            first = None
