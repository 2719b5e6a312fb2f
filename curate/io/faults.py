"""What can be wrong with one record: the reader's reasons for quarantine."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson

FAULTS: dict[str, str] = {
    "read/not-json": "the line, or a column that holds JSON text, is not JSON (NaN and Infinity are not)",
    "read/not-object": "the line is JSON, but not an object",
    "read/invalid-utf8": "bytes that are not UTF-8, or an escaped lone surrogate, which UTF-8 cannot hold",
    "read/missing-field": "a field that the format needs is absent",
    "read/null-text": "a field that the format needs is null",
    "read/wrong-type": "a field is of another type: a text that is a number, turns that are no list, …",
    "read/no-common-prompt": "the two replies of a preference pair do not answer the same turns",
    "read/too-large": "more bytes than the source's max_record",
    "read/too-deep": "lists and objects nested deeper than JSON is written (orjson: 254)",
    "read/csv-columns": "more or fewer fields than the header has columns",
    "read/csv-syntax": "quotes that do not balance, or a carriage return inside a field without quotes",
}
"""Every reason that the reader gives, and what it means."""


class Fault(NamedTuple):
    """A record that could not be read; it goes to quarantine."""

    row: int  # the line of a text format, else the row, from 1
    reason: str  # a key of FAULTS
    detail: str  # what was found, never record text
    raw: bytes | None  # the line as it stands in the file; None if over the size limit or not a line


class Bad(Exception):
    """Raised while one record is converted; becomes a Fault."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
_KINDS |= {dict: "an object", type(None): "null"}


def kind_of(value: Any) -> str:
    """Return what a value is, in words, without showing it."""
    return _KINDS.get(type(value), f"a value of type {type(value).__name__}")


_DEEP = 250  # brackets without which no line is too deep


def too_deep(line: bytes, value: Any) -> bool:
    """Tell whether what a line held is nested so deep that it cannot be written as JSON again."""
    if line.count(b"[") + line.count(b"{") < _DEEP:
        return False
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:
        return True
    return False


def judge_line(line: bytes) -> tuple[str, str]:
    """Return reason and detail for a line that did not parse as JSON."""
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return "read/invalid-utf8", f"byte {error.start + 1} of the line is not UTF-8"
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError as error:
        if "surrogate" in error.msg:
            return "read/invalid-utf8", f"a lone surrogate is escaped near character {error.pos + 1}"
        return "read/not-json", f"{error.msg} at character {error.pos + 1}"
    raise ValueError("the line is JSON")  # only called for lines that orjson refused
