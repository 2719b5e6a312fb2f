"""What one look at a file finds out, in plain data that travels between processes and into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import orjson

from curate.io.columns import Column
from curate.io.layouts import Compression, Layout

VERSION = 2  # raised whenever the same bytes could get another survey


@dataclass(frozen=True)
class Task:
    """A file to look at."""

    path: str
    location: str
    layout: Layout
    compression: Compression | None
    max_record: int
    turns: tuple[str, ...]  # columns whose strings may be turns as JSON text
    step: int  # bytes between two places where a file of lines can be cut


class Probe(NamedTuple):
    """A file's size and hash, or what is wrong with it: found; expected; what to do."""

    bytes: int
    sha256: str
    secret: str  # a keyed hash of the same bytes that no file of a release ever holds
    problem: str | None


class Segment(NamedTuple):
    """A stretch of a file that can be read by itself."""

    start: int  # decompressed byte offset, row group or record batch
    stop: int
    first_row: int
    records: int
    bytes: int  # decompressed


@dataclass(frozen=True)
class Survey:
    """What a file holds, or what is wrong with it."""

    records: int = 0
    segments: tuple[Segment, ...] = ()
    columns: tuple[tuple[str, Column], ...] = ()
    problem: str | None = None

    def to_json(self) -> bytes:
        """Return the survey of a sound file as JSON."""
        columns = [(name, column.to_json()) for name, column in self.columns]
        segments = [list(part) for part in self.segments]
        return orjson.dumps({"records": self.records, "segments": segments, "columns": columns})

    @classmethod
    def from_json(cls, text: bytes) -> Survey:
        """Return the survey that to_json wrote."""
        data = orjson.loads(text)
        columns = tuple((name, Column.from_json(column)) for name, column in data["columns"])
        return cls(data["records"], tuple(Segment(*part) for part in data["segments"]), columns)


class Unfit(Exception):
    """The file is not what its name says; the message says what was found; expected; what to do."""


def refuse_twins(names: list[str]) -> None:
    """Raise Unfit if a column's name occurs twice."""
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise Unfit(f"the column {twins[0]!r} appears twice; expected different names; rename one of them")
