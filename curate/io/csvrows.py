"""csv as RFC 4180 has it, one record at a time, bad ones included. Every field is a string, never guessed."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import NamedTuple

from curate.io.lines import Lines


class CsvRow(NamedTuple):
    """One record, or what is wrong with it."""

    row: int  # the line it begins on, from 1
    cells: list[str] | None
    fault: tuple[str, str] | None  # reason, detail
    raw: bytes | None  # its lines as they stand in the file; None if over the size limit


class _TooLarge(Exception):
    pass


class _Feed:
    """Gives lines to csv.reader and remembers which of them the current record is made of."""

    def __init__(self, groups: Iterator[Lines], limit: int) -> None:
        self._lines = (line for group in groups for line in group.lines)
        self._limit = limit
        self.number = 0  # of the last line given
        self.begin()

    def begin(self) -> None:
        """Start a new record."""
        self.raw: list[bytes] = []
        self.bytes = 0
        self.broken = False

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self.bytes += len(line or b"")
        if line is None or self.bytes > self._limit:
            raise _TooLarge
        self.raw.append(line)
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError:
            self.broken = True
            return line.decode(errors="replace") + "\n"


def rows_of(groups: Iterator[Lines], separator: str, limit: int) -> Iterator[CsvRow]:
    """Yield the records of a csv file, its header first; blank lines are no records.

    A record of more than limit bytes, which an opened and never closed quote makes, is given up where it
    crosses the limit; reading goes on with the next line.
    """
    csv.field_size_limit(max(csv.field_size_limit(), limit))
    feed = _Feed(groups, limit)
    reader = csv.reader(feed, delimiter=separator, strict=True)
    while True:
        feed.begin()
        row = feed.number + 1
        cells: list[str] | None = None
        fault: tuple[str, str] | None = None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _TooLarge:
            fault = "read/too-large", f"more than {limit} bytes"
        except csv.Error as error:
            fault = "read/csv-syntax", str(error).partition(" - ")[0]
        if fault:
            reader = csv.reader(feed, delimiter=separator, strict=True)
        elif feed.broken:
            cells, fault = None, ("read/invalid-utf8", "a field is not UTF-8")
        if cells == []:
            continue
        raw = None if fault and fault[0] == "read/too-large" else b"\n".join(feed.raw)
        yield CsvRow(row, cells, fault, raw)
