"""One look at one file: is it whole, where can it be cut, and what do its columns hold."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator

import orjson
import pyarrow as pa

from curate.io.columns import MOST_COLUMNS, Column, Observer
from curate.io.csvrows import CsvRow, rows_of
from curate.io.files import opened
from curate.io.layouts import HEAD, misfit, separator
from curate.io.lines import BLOCK, BrokenStream, blocks, reason_for, split
from curate.io.outline import Probe, Segment, Survey, Task, Unfit, refuse_twins
from curate.io.tables import damaged, survey_arrow, survey_parquet


def probe(task: Task) -> Probe:
    """Hash a file and check its first bytes. Never raises for what the file holds."""
    digest, length, head = hashlib.sha256(), 0, b""
    secret = hashlib.blake2b(digest_size=32, key=b"curate/secret/1")
    try:
        with opened(task.location) as file:
            while block := file.read(BLOCK):
                head = head or block[:HEAD]
                length += len(block)
                digest.update(block)
                secret.update(block)
    except Exception as error:  # noqa: BLE001 - each storage library has exceptions of its own
        return Probe(length, "", "", reason_for(error))
    return Probe(length, digest.hexdigest(), secret.hexdigest(), misfit(head, task.layout, task.compression))


def survey(task: Task) -> Survey:
    """Read all of a file that has to be read to know its records and columns; bounded in memory."""
    look = {"jsonl": _jsonl, "csv": _csv, "parquet": survey_parquet, "arrow": survey_arrow}[task.layout]
    try:
        found = look(task)
    except Unfit as error:
        return Survey(problem=str(error))
    except BrokenStream as error:
        return Survey(problem=reason_for(error))
    except (OSError, EOFError, UnicodeError, pa.ArrowException) as error:
        return Survey(problem=damaged(task.layout, error))
    if len(found.columns) > MOST_COLUMNS:
        return Survey(
            problem=f"more than {MOST_COLUMNS} different keys; expected the same few in every record; keep "
            "what varies under one key"
        )
    return found


def _jsonl(task: Task) -> Survey:
    observer = Observer(task.turns)
    segments: list[Segment] = []
    line_number = records = 0
    start, end, first_row, before = 0, 0, 1, 0  # of the segment that is being filled
    pieces = blocks(task.location, task.compression, size=min(BLOCK, task.step))
    for group in split(pieces, task.max_record):
        if line_number == 0:
            _refuse_json_document(group.lines[0], task.path)
        line_number += len(group.lines)
        records += _look_at_lines(group.lines, observer)
        if group.end - start >= task.step:
            segments.append(Segment(start, group.end, first_row, records - before, group.end - start))
            start, first_row, before = group.end, line_number + 1, records
        if len(observer.atoms) > MOST_COLUMNS:
            break
        end = group.end
    if line_number and end > start:
        segments.append(Segment(start, end, first_row, records - before, end - start))
    return Survey(records, tuple(segments), tuple(sorted(observer.columns().items())))


def _look_at_lines(lines: list[bytes | None], observer: Observer) -> int:
    """Show the lines' records to the observer; return how many records there are, good or bad."""
    records = len(lines)
    for line in lines:
        if line is None:
            continue
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError:
            if not line or line.isspace():
                records -= 1
            continue
        if type(record) is dict:
            observer.see(record, functools.partial(json.loads, line))
    return records


def _refuse_json_document(first: bytes | None, path: str) -> None:
    """Tell one JSON document over many lines from one record per line, by the first line."""
    opening = (first or b"").strip()
    lines_promised = not path.removesuffix(".gz").removesuffix(".zst").endswith(".json")
    if opening in (b"[", b"{") or (opening[:1] == b"[" and not lines_promised):
        kind, query = ("array", ".[]") if opening[:1] == b"[" else ("object", ".")
        raise Unfit(f"a JSON {kind} as a whole file; expected one object per line; convert it: jq -c {query}")


def _csv(task: Task) -> Survey:
    rows = _csv_rows(task)
    header = csv_header(next(rows, None))
    observer = Observer(task.turns)
    turns = [(i, name) for i, name in enumerate(header) if name in task.turns]
    records = 0
    for row in rows:
        records += 1
        for i, name in turns if row.cells is not None and len(row.cells) == len(header) else ():
            observer.look_at_text(name, (row.cells or [])[i])
    columns = {name: Column(frozenset({"str"}), frozenset(observer.keys.get(name, ()))) for name in header}
    whole = Segment(0, 0, 2, records, 0)  # a quoted field may hold newlines, so a csv file is never cut
    return Survey(records, (whole,), tuple(sorted(columns.items())))


def _csv_rows(task: Task) -> Iterator[CsvRow]:
    pieces = blocks(task.location, task.compression)
    return rows_of(split(pieces, task.max_record), separator(task.path), task.max_record)


def csv_header(row: CsvRow | None) -> list[str]:
    """Return the names of a csv file's columns; an empty name becomes column_<n>. Raises Unfit."""
    if row is None or row.cells is None:
        found = (
            "no header" if row is None or row.fault is None else f"a header that is broken ({row.fault[1]})"
        )
        raise Unfit(f"{found}; expected the columns' names in the first line; add or mend it")
    names = [name.strip() or f"column_{i}" for i, name in enumerate(row.cells, 1)]
    refuse_twins(names)
    return names
