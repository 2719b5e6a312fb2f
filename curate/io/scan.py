"""Run through all input before anything is written: what there is, what is wrong, how it is cut."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa

from curate.errors import InputError
from curate.io.columns import FROM, JSON_TEXT, Column, unite
from curate.io.declared import changed, uncovered
from curate.io.files import Found, expand
from curate.io.formats import PAIR_KEYS, TURN_KEYS, Format, Shape, settle, turn_columns
from curate.io.layouts import Compression, Layout, layout_of, stem
from curate.io.outline import VERSION, Probe, Segment, Survey, Task
from curate.io.survey import probe, survey
from curate.record import FACT, MESSAGES, MESSAGES_EXTRA, REJECTED, REJECTED_EXTRA, RESERVED, Kind, schema
from curate.source import Source
from curate.stage import Engine

UNIT_BYTES = 8 * 2**20  # the least decompressed bytes in a unit, unless the file ends
MOST_UNITS = 1024  # of one plain file
MOST_COMPRESSED_UNITS = 16  # of one compressed file: each unpacks all that lies before it


@dataclass(frozen=True)
class InputFile:
    """A file that was read through and found sound."""

    source: str
    path: str  # as people see it: relative to the recipe's folder (posix), or a URL without credentials
    location: str = field(repr=False)  # what opens it
    bytes: int
    sha256: str  # of the bytes as stored
    secret: str = field(repr=False)  # a keyed hash of them, never published: curate.merkle makes salts of it
    layout: Layout
    compression: Compression | None
    records: int  # good or bad; blank lines are no records


@dataclass(frozen=True)
class Unit:
    """The smallest piece of work: a stretch of one file.

    start and stop are decompressed byte offsets at line starts (jsonl), row groups (parquet) or record
    batches (arrow file). A csv file or an Arrow stream is one unit. A unit of a compressed file has to
    unpack the file up to its start, so such a file has few units.
    """

    file: InputFile
    start: int
    stop: int
    first_row: int  # number, from 1, of the unit's first line or row
    records: int


@dataclass(frozen=True)
class SourcePlan:
    """A source as it will be read: files by path, units by position."""

    source: Source
    format: Format
    fields: Mapping[str, str]  # role → column of the input
    schema: pa.Schema  # of every batch
    files: tuple[InputFile, ...]
    units: tuple[Unit, ...]
    stems: Mapping[str, str] = field(default_factory=dict)  # path → what positional ids call the file


def scan(
    sources: Sequence[Source],
    folder: Path,
    engine: Engine,
    cache: Path | None = None,
    *,
    unit_bytes: int = UNIT_BYTES,
) -> tuple[SourcePlan, ...]:
    """Look at every file of every source; return one plan per source, in their order.

    folder: what the sources' paths are relative to. cache: a folder that keeps what was found out about a
    file, by content, so that a second scan only hashes. unit_bytes: the least size of a unit.

    One engine task is one file, so a single large file is scanned on one core (units are for the reading).
    Raises InputError with all problems of all files (each line: path, what was found, what was expected,
    what to do), a hash that is not the declared one among them; MissingExtra where a URL needs a library that
    is not installed.
    """
    problems: list[str] = []
    tasks: list[list[Task]] = []  # per source
    unsound: set[str] = set()  # sources that no plan can be made for
    for source in sources:
        found, wrong = expand(source, folder)
        some, more = _tasks(source, found, unit_bytes)
        tasks.append(some)
        wrong += more
        wrong = wrong or uncovered(source, [file.path for file in found])
        problems += wrong
        if wrong:
            unsound.add(source.name)
    named = list(dict.fromkeys(task for some in tasks for task in some))
    probes = dict(zip(named, engine.map(probe, named), strict=True))
    surveys = _surveys(
        {task: seen.sha256 for task, seen in probes.items() if not seen.problem}, engine, cache
    )
    for source, some in zip(sources, tasks, strict=True):
        if wrong := changed(source, {task.path: probes[task].sha256 for task in some if probes[task].sha256}):
            problems += wrong
            unsound.add(source.name)
    faulty = {task: problem for task in named if (problem := probes[task].problem or surveys[task].problem)}
    problems += [f"{task.path}: {problem}" for task, problem in faulty.items()]
    plans: list[SourcePlan] = []
    for source, some in zip(sources, tasks, strict=True):
        if source.name in unsound or not faulty.keys().isdisjoint(some):
            continue  # what is wrong with its files has been said
        plan, wrong = _plan(source, [(task, probes[task], surveys[task]) for task in some], unit_bytes)
        problems += wrong
        plans += [plan] if plan else []
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
    return tuple(plans)


def _tasks(source: Source, found: Iterable[Found], step: int) -> tuple[list[Task], list[str]]:
    tasks, problems = [], []
    for file in found:
        try:
            layout, compression = layout_of(file.path)
        except ValueError as error:
            problems.append(f"{file.path}: {error}")
            continue
        turns = turn_columns(source)
        tasks.append(Task(file.path, file.location, layout, compression, source.max_record, turns, step))
    return tasks, problems


def _surveys(hashes: Mapping[Task, str], engine: Engine, cache: Path | None) -> dict[Task, Survey]:
    """Return the survey of every file, from the cache where it is there. hashes: file → SHA-256."""
    paths = (
        {task: cache / f"{_cache_key(task, sha256)}.json" for task, sha256 in hashes.items()} if cache else {}
    )
    known = {task: kept for task, path in paths.items() if (kept := _recall(path))}
    fresh = [task for task in hashes if task not in known]
    for task, found in zip(fresh, engine.map(survey, fresh), strict=True):
        known[task] = found
        if cache and not found.problem:
            _remember(paths[task], found)
    return known


def _cache_key(task: Task, sha256: str) -> str:
    suffixes = task.path.rpartition("/")[2].removeprefix(stem(task.path)).lower()
    about = [VERSION, sha256, suffixes, task.max_record, task.turns, task.step]
    return hashlib.sha256(orjson.dumps(about)).hexdigest()


def _recall(path: Path) -> Survey | None:
    try:
        return Survey.from_json(path.read_bytes())
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or not whole: it is found out again


def _remember(path: Path, found: Survey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    fresh.write_bytes(found.to_json())
    fresh.replace(path)


def _plan(
    source: Source, looked: Sequence[tuple[Task, Probe, Survey]], unit_bytes: int
) -> tuple[SourcePlan | None, list[str]]:
    columns = {task.path: dict(found.columns) for task, _, found in looked}
    shape, problems = settle(source, columns)
    if shape is None:
        return None, problems
    files: list[InputFile] = []
    units: list[Unit] = []
    for task, seen, found in looked:
        layout = (seen.bytes, seen.sha256, seen.secret, task.layout, task.compression, found.records)
        file = InputFile(source.name, task.path, task.location, *layout)
        files.append(file)
        units += cut(file, found.segments, unit_bytes)
    kind: Kind = "text" if shape.format == "text" else "messages"
    whole = schema(kind, _extra(shape, columns.values()))
    stems = _stems([file.path for file in files])
    return SourcePlan(source, shape.format, shape.fields, whole, tuple(files), tuple(units), stems), []


def cut(file: InputFile, segments: Sequence[Segment], unit_bytes: int) -> list[Unit]:
    """Join a file's segments to units of at least unit_bytes; of a file of lines there are only so many."""
    total = sum(segment.bytes for segment in segments)
    least = unit_bytes
    if file.layout == "jsonl":
        least = max(unit_bytes, total // (MOST_COMPRESSED_UNITS if file.compression else MOST_UNITS))
    units: list[Unit] = []
    first, weight, records = 0, 0, 0
    for i, segment in enumerate(segments):
        weight, records = weight + segment.bytes, records + segment.records
        if weight >= least or i == len(segments) - 1:
            if records:
                units.append(
                    Unit(file, segments[first].start, segment.stop, segments[first].first_row, records)
                )
            first, weight, records = i + 1, 0, 0
    return units


def _extra(shape: Shape, files: Iterable[Mapping[str, Column]]) -> list[pa.Field]:
    """Return the fields of the columns that no role consumes, ordered by name."""
    columns: dict[str, list[Column]] = {}
    for found in files:
        for name, column in found.items():
            columns.setdefault(name, []).append(column)
    used = set(shape.fields.values())
    reserved = {*RESERVED, MESSAGES_EXTRA, REJECTED_EXTRA} if shape.format != "text" else set(RESERVED)
    fields = []
    known = PAIR_KEYS if shape.format == "preference" else TURN_KEYS[shape.format]
    roles_of = {
        MESSAGES_EXTRA: ("messages", "conversations", "prompt", "chosen"),
        REJECTED_EXTRA: ("rejected",),
    }
    for name, roles in roles_of.items():
        turns = [column for role in roles for column in columns.get(shape.fields.get(role, ""), ())]
        if frozenset().union(*(column.turn_keys for column in turns)) - known:
            fields.append(pa.field(name, pa.string(), metadata=JSON_TEXT))
    if shape.format == "preference":
        fields.append(pa.field(REJECTED, MESSAGES))
    taken = reserved | columns.keys()
    for name in sorted(columns.keys() - used):
        shown = name
        while shown in reserved or shown.startswith(FACT) or (shown != name and shown in taken):
            shown = f"input_{shown}"
        taken.add(shown)
        type_, as_text = unite(columns[name])
        metadata = {**(JSON_TEXT if as_text else {}), **({FROM: name.encode()} if shown != name else {})}
        fields.append(pa.field(shown, type_, metadata=metadata or None))
    return sorted(fields, key=lambda extra: str(extra.name))


def _stems(paths: Sequence[str]) -> dict[str, str]:
    """Return what positional ids call each file: its stem, or its path where two files share a stem."""
    names: dict[str, str] = {}
    for shorten in (stem, _without_suffixes, str):
        tried = {path: shorten(path) for path in paths}
        held = list(tried.values())
        names |= {path: name for path, name in tried.items() if path not in names and held.count(name) == 1}
    return names


def _without_suffixes(path: str) -> str:
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}{stem(path)}"
