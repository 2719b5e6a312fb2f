"""From cells to batches: content, ids, descriptions and the untouched rest."""

from __future__ import annotations

import datetime
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.cells import MISSING, Cells
from curate.io.faults import Bad, Fault
from curate.io.formats import OPTIONAL, REQUIRED
from curate.io.pairs import read_pair
from curate.io.scan import InputFile, SourcePlan
from curate.io.turns import (
    KEYS,
    SHAREGPT_ROLES,
    Conversation,
    Turns,
    beside,
    optional,
    parsed,
    read_turns,
    text,
    with_system,
)
from curate.record import MESSAGES, MESSAGES_EXTRA, REJECTED, REJECTED_EXTRA, TURN, Batch

_BESIDE = {MESSAGES_EXTRA: "extra", REJECTED: "rejected", REJECTED_EXTRA: "rejected_extra"}


class Chunk(NamedTuple):
    """Some records of a unit and the faults between them."""

    batch: Batch
    faults: tuple[Fault, ...]  # by row
    seen: int  # batch.num_rows + len(faults)


class Content(NamedTuple):
    """What the records hold, without the bad ones."""

    column: pa.Array
    digests: list[str]  # SHA-256 in hex of record.canonical
    beside: dict[str, pa.Array]  # column → what stands beside the turns
    bad: dict[int, tuple[str, str]]  # position → reason, detail


def convert(
    plan: SourcePlan, file: InputFile, cells: Cells, rows: Sequence[int], faults: Sequence[Fault]
) -> Chunk:
    """Return a chunk of records that stand at these rows of the file; faults: what was bad already."""
    content = _texts(plan, cells) if plan.format == "text" else _conversations(plan, cells)
    if content.bad:
        found = [Fault(rows[i], *bad, cells.raw(i)) for i, bad in content.bad.items()]
        faults = sorted([*faults, *found], key=lambda fault: fault.row)
        good = [i for i in range(len(rows)) if i not in content.bad]
        cells, rows = cells.take(good), [rows[i] for i in good]
    n = len(rows)
    described = {
        role: _described(cells, plan.fields.get(role)) for role in ("license", "url", "author", "created")
    }
    described["license"] = [own or plan.source.license for own in described["license"]]
    columns: dict[str, Any] = {
        "id": pa.array(_ids(plan, file, cells, rows), pa.string()),
        "source": pa.repeat(pa.scalar(plan.source.name), n),
        ("text" if plan.format == "text" else "messages"): content.column,
        **{name: pa.array(values, pa.string()) for name, values in described.items()},
        **content.beside,
        "_path": pa.repeat(pa.scalar(file.path), n),
        "_row": pa.array(rows, pa.int64()),
        "_sha256": pa.array(content.digests, pa.string()),
    }
    arrays = [columns[f.name] if f.name in columns else cells.array(f) for f in plan.schema]
    batch = pa.RecordBatch.from_arrays(arrays, schema=plan.schema)
    return Chunk(batch, tuple(faults), n + len(faults))


def _ids(plan: SourcePlan, file: InputFile, cells: Cells, rows: Sequence[int]) -> list[str]:
    source, positional = plan.source.name, f"{plan.source.name}/{plan.stems.get(file.path, file.path)}"
    name = plan.fields.get("id")
    if name is None:
        return [f"{positional}/{row}" for row in rows]
    own = [_id(value) for value in cells.values(name)]
    return [f"{positional}/{row}" if i is None else f"{source}/{i}" for i, row in zip(own, rows, strict=True)]


def _id(value: Any) -> str | None:
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # an integer column that met a null on its way through a data frame
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _described(cells: Cells, name: str | None) -> list[str | None]:
    if name is None:
        return [None] * len(cells)
    return [_as_text(value) for value in cells.values(name)]


def _as_text(value: Any) -> str | None:
    """Return a description as a string; null and blank ones as null."""
    if value is None or value is MISSING:
        return None
    if not isinstance(value, str):
        if isinstance(value, datetime.date | datetime.time):
            value = value.isoformat()
        else:
            value = orjson.dumps(value).decode() if isinstance(value, list | dict | bool) else str(value)
    return value if value.strip() else None


def _texts(plan: SourcePlan, cells: Cells) -> Content:
    name = plan.fields["text"]
    bad: dict[int, tuple[str, str]] = {}
    column = cells.strings(name)
    if column is None:
        values = cells.values(name)
        for i, value in enumerate(values):
            try:
                text(value, name)
            except Bad as fault:
                bad[i] = fault.reason, fault.detail
        column = pa.array([None if i in bad else value for i, value in enumerate(values)], pa.string())
    if cells.limit is not None:
        sizes = pc.binary_length(column)
        if (pc.max(sizes).as_py() or 0) > cells.limit:
            lengths = enumerate(sizes.to_pylist())
            bad |= {i: _too_large(cells.limit) for i, length in lengths if (length or 0) > cells.limit}
    if bad:
        column = column.take(pa.array([i for i in range(len(column)) if i not in bad], pa.int64()))
    return Content(column, text_sha256(column), {}, bad)


def text_sha256(column: pa.StringArray) -> list[str]:
    """Return what record.content_sha256 returns for a column of texts, from Arrow's own bytes: no copies."""
    _, offsets, data = column.buffers()
    if data is None:
        return [hashlib.sha256().hexdigest()] * len(column)
    ends = memoryview(offsets).cast("i")[column.offset : column.offset + len(column) + 1].tolist()
    view = memoryview(data)
    return [hashlib.sha256(view[a:b]).hexdigest() for a, b in itertools.pairwise(ends)]


def _too_large(limit: int) -> tuple[str, str]:
    return "read/too-large", f"more than {limit} bytes"


def _conversations(plan: SourcePlan, cells: Cells) -> Content:
    beside: dict[str, list[Any]] = {name: [] for name in _BESIDE if name in plan.schema.names}
    turns: list[Turns] = []
    digests: list[str] = []
    bad: dict[int, tuple[str, str]] = {}
    for i, found in enumerate(_read_conversations(plan, cells, not beside)):
        if isinstance(found, Bad):
            bad[i] = found.reason, found.detail
            continue
        canonical = orjson.dumps(found.turns)  # the bytes of record.canonical; the tests hold it to that
        if cells.limit is not None and len(canonical) + len(orjson.dumps(found.rejected)) > cells.limit:
            bad[i] = _too_large(cells.limit)
            continue
        turns.append(found.turns)
        digests.append(hashlib.sha256(canonical).hexdigest())
        for name, values in beside.items():
            values.append(getattr(found, _BESIDE[name]))
    columns = {
        name: _messages(values) if name == REJECTED else pa.array(values, pa.string())
        for name, values in beside.items()
    }
    return Content(_messages(turns), digests, columns, bad)


def _messages(turns: Sequence[Turns | None]) -> pa.ListArray:
    flat = [turn for conversation in turns for turn in conversation or ()]
    offsets = list(itertools.accumulate((len(one or ()) for one in turns), initial=0))
    parts = [pa.array([turn[i] for turn in flat], pa.string()) for i in (0, 1)]
    structs = pa.StructArray.from_arrays(parts, fields=list(TURN))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=MESSAGES)


def _read_conversations(plan: SourcePlan, cells: Cells, plain: bool) -> Iterator[Conversation | Bad]:
    """Yield each record's turns and what stands beside them; or what is wrong with it.

    plain: no turn of the source has anything but role and content, and no record a second reply.
    """
    roles = [*REQUIRED[plan.format], *OPTIONAL[plan.format]]
    if plain and plan.format in KEYS and "system" not in plan.fields:
        renamed = SHAREGPT_ROLES if plan.format == "sharegpt" else {}
        quick = cells.turns(plan.fields[roles[0]], *KEYS[plan.format], renamed)
        if quick is not None:
            yield from map(Conversation, quick)
            return
    columns = [cells.values(plan.fields[role]) if role in plan.fields else None for role in roles]
    absent = [MISSING] * len(cells)
    readers: dict[str, Callable[..., Conversation]] = {"alpaca": _alpaca, "preference": read_pair}
    read = readers.get(plan.format) or functools.partial(_turns, plan.format)
    names = dict(plan.fields)
    for values in zip(*(absent if column is None else column for column in columns), strict=True):
        try:
            yield read(names, *values)
        except Bad as bad:
            yield bad


def _alpaca(names: dict[str, str], instruction: Any, output: Any, context: Any, system: Any) -> Conversation:
    asked = text(instruction, names["instruction"])
    answer = text(output, names["output"])
    if more := optional(context, names.get("input", "input")):
        asked = f"{asked}\n\n{more}" if asked else more
    turns = [("user", asked), ("assistant", answer)]
    prompt = optional(system, names.get("system", "system"))
    return Conversation([("system", prompt), *turns] if prompt else turns)


def _turns(format_: str, names: dict[str, str], value: Any, system: Any = None) -> Conversation:
    name = names["conversations" if format_ == "sharegpt" else "messages"]
    turns, extra = read_turns(parsed(value, name), name, format_)
    turns, extra = with_system(optional(system, names.get("system", "system")), turns, extra)
    return Conversation(turns, beside(extra))
