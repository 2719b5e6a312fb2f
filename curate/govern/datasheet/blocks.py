"""What a datasheet is made of, whatever it is rendered to: sections of paragraphs, lists, tables and charts.

Plain strings hold this project's own words, in which `code` and **strong** are marked as in Markdown. Whatever
comes from the manifest is a Value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from curate.govern.datasheet.values import Held, Value, count, written

LONGEST = 50  # rows of a table or lines of a list; the rest is in the manifest


@dataclass(frozen=True, slots=True)
class Strong:
    """Words set apart."""

    parts: tuple[str | Value, ...]


Part: TypeAlias = str | Value | Strong
Line: TypeAlias = tuple[Part, ...]
Cell: TypeAlias = str | Value | Line


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph."""

    line: Line


@dataclass(frozen=True, slots=True)
class Items:
    """A list; steps: one whose order counts."""

    lines: tuple[Line, ...]
    steps: bool = False


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section."""

    line: Line


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose last columns hold numbers; rest: how many rows are not shown, and where they are."""

    caption: str
    head: tuple[str | Value, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: int = 0
    rest: Line = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart: its name, its value and, behind it, wider and pale, the value to compare with."""

    name: Value
    value: Value
    behind: Value | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """A row of a forest plot: an effect, its interval, and the smallest effect that could be detected."""

    name: Value
    value: Value
    low: Value | None
    high: Value | None
    limit: Value | None
    tone: str = "plain"  # good | bad | plain


@dataclass(frozen=True, slots=True)
class Stack:
    """A row of a chart of shares that make a whole; rest: what they leave is one more."""

    name: Line
    shares: tuple[Value, ...]
    rest: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of bars, of a curve of (x, y) with a mark at one x, a forest plot with what its sides mean, or stacks."""

    name: str  # unique in the document
    title: str
    note: str  # what is drawn
    bars: tuple[Bar, ...] = ()
    curve: tuple[tuple[Value, Value], ...] = ()
    mark: Value | None = None
    spans: tuple[Span, ...] = ()
    sides: tuple[str, str] = ("", "")
    stacks: tuple[Stack, ...] = ()
    keys: tuple[Line, ...] = ()  # what the shares of a stack are of


Block: TypeAlias = Paragraph | Items | Heading | Table | Chart


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the datasheet."""

    name: str
    title: str
    blocks: tuple[Block, ...] = field(default=())


def say(*parts: Part) -> Paragraph:
    """Return a paragraph."""
    return Paragraph(parts)


def joined(values: Sequence[Part], by: str = ", ") -> Line:
    """Return values with a text between each two."""
    return tuple(part for value in values for part in (by, value))[1:]


def table(
    caption: str,
    head: Sequence[str | Value],
    rows: Sequence[tuple[Cell, ...]],
    numbers: int = 0,
    held: Held | None = None,
) -> Table:
    """Return a table, cut after LONGEST rows. held: the list that has an entry for each row, if one has."""
    shown = tuple(rows[:LONGEST])
    rest: Line = ()
    if len(rows) > LONGEST:
        if held is not None and len(held) == len(rows):
            left = count(held, LONGEST)
            rest = ("and ", left, f" more, in `manifest.json#{held.pointer}`")
        else:
            hidden = [_pointer(row) for row in rows[LONGEST:]]
            left = Value(written(len(hidden)), tuple(hidden), "count", len(hidden))
            rest = ("and ", left, " more, in `manifest.json`")
    return Table(caption, tuple(head), shown, numbers, rest)


def _pointer(row: tuple[Cell, ...]) -> str:
    """Return where a row's last value stands."""
    flat = [part for cell in row for part in (cell if isinstance(cell, tuple) else (cell,))]
    return next(part.pointers[-1] for part in reversed(flat) if isinstance(part, Value) and part.pointers)
