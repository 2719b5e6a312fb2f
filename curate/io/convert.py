"""From cells to batches: content, ids, descriptions and the untouched rest."""

from __future__ import annotations

import datetime
import functools
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.cells import MISSING, Cells, json_text
from curate.io.faults import Bad, Fault, kind_of
from curate.io.formats import OPTIONAL, REQUIRED
from curate.io.scan import InputFile, SourcePlan
from curate.record import MESSAGES, MESSAGES_EXTRA, TURN, Batch

Turns: TypeAlias = list[tuple[str, str]]  # role, content

SHAREGPT_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function"), "tool"),
    "system": "system",
}
"""Roles of sharegpt turns; any other passes as it is, for the conversation stage to judge."""

_KEYS = {"openai": ("role", "content"), "sharegpt": ("from", "value")}
_CALLS = ("tool_calls", "function_call")  # a turn that has one may do without content


class Chunk(NamedTuple):
    """Some records of a unit and the faults between them."""

    batch: Batch
    faults: tuple[Fault, ...]  # by row
    seen: int  # batch.num_rows + len(faults)


class Content(NamedTuple):
    """What the records hold, without the bad ones."""

    column: pa.Array
    digests: list[str]  # SHA-256 in hex of record.canonical
    extra: list[str | None] | None  # JSON text: keys of turns beyond role and content
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
        "_path": pa.repeat(pa.scalar(file.path), n),
        "_row": pa.array(rows, pa.int64()),
        "_sha256": pa.array(content.digests, pa.string()),
    }
    if content.extra is not None:
        columns[MESSAGES_EXTRA] = pa.array(content.extra, pa.string())
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
                _string(value, name)
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
    return Content(column, text_sha256(column), None, bad)


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


def _string(value: Any, name: str) -> str:
    if type(value) is str:
        return value
    raise _not(value, name, "a string")


def _not(value: Any, name: str, wanted: str) -> Bad:
    if value is MISSING:
        return Bad("read/missing-field", f"{name!r} is missing")
    if value is None:
        return Bad("read/null-text", f"{name!r} is null")
    return Bad("read/wrong-type", f"{name!r} is {kind_of(value)}; expected {wanted}")


def _conversations(plan: SourcePlan, cells: Cells) -> Content:
    extra: list[str | None] | None = [] if MESSAGES_EXTRA in plan.schema.names else None
    turns: list[Turns] = []
    digests: list[str] = []
    bad: dict[int, tuple[str, str]] = {}
    for i, found in enumerate(_read_conversations(plan, cells, extra is None)):
        if isinstance(found, Bad):
            bad[i] = found.reason, found.detail
            continue
        conversation, more = found
        canonical = orjson.dumps(conversation)  # the bytes of record.canonical; the tests hold it to that
        if cells.limit is not None and len(canonical) > cells.limit:
            bad[i] = _too_large(cells.limit)
            continue
        turns.append(conversation)
        digests.append(hashlib.sha256(canonical).hexdigest())
        if extra is not None:
            extra.append(more)
    return Content(_messages(turns), digests, extra, bad)


def _messages(turns: Sequence[Turns]) -> pa.ListArray:
    flat = [turn for conversation in turns for turn in conversation]
    offsets = list(itertools.accumulate(map(len, turns), initial=0))
    parts = [pa.array([turn[i] for turn in flat], pa.string()) for i in (0, 1)]
    structs = pa.StructArray.from_arrays(parts, fields=list(TURN))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=MESSAGES)


def _read_conversations(
    plan: SourcePlan, cells: Cells, plain: bool
) -> Iterator[tuple[Turns, str | None] | Bad]:
    """Yield each record's turns and, as JSON text, what else its turns have; or what is wrong with it.

    plain: no turn of the source has anything but role and content.
    """
    roles = [*REQUIRED[plan.format], *OPTIONAL[plan.format]]
    read = functools.partial(_alpaca if plan.format == "alpaca" else _conversation, plan)
    if plain and plan.format != "alpaca" and "system" not in plan.fields:
        renamed = SHAREGPT_ROLES if plan.format == "sharegpt" else {}
        quick = cells.turns(plan.fields[roles[0]], *_KEYS[plan.format], renamed)
        if quick is not None:
            yield from ((conversation, None) for conversation in quick)
            return
    columns = [cells.values(plan.fields[role]) if role in plan.fields else None for role in roles]
    absent = [MISSING] * len(cells)
    for values in zip(*(absent if column is None else column for column in columns), strict=True):
        try:
            yield read(*values)
        except Bad as bad:
            yield bad


def _alpaca(plan: SourcePlan, instruction: Any, output: Any, context: Any, system: Any) -> tuple[Turns, None]:
    names = plan.fields
    asked = _string(instruction, names["instruction"])
    answer = _string(output, names["output"])
    if more := _optional(context, names.get("input", "input")):
        asked = f"{asked}\n\n{more}" if asked else more
    turns = [("user", asked), ("assistant", answer)]
    prompt = _optional(system, names.get("system", "system"))
    return ([("system", prompt), *turns] if prompt else turns), None


def _optional(value: Any, name: str) -> str:
    return "" if value is None or value is MISSING else _string(value, name)


def _conversation(plan: SourcePlan, value: Any, system: Any = None) -> tuple[Turns, str | None]:
    sharegpt = plan.format == "sharegpt"
    name = plan.fields["conversations" if sharegpt else "messages"]
    role_key, content_key = _KEYS[plan.format]
    if type(value) is str:  # a csv field, or a column of JSON text
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise Bad("read/not-json", f"{name!r}: {error.msg} at character {error.pos + 1}") from None
    if type(value) is not list:
        raise _not(value, name, "a list of turns")
    turns: Turns = []
    extra: list[dict[str, Any] | None] = []
    if prompt := _optional(system, plan.fields.get("system", "system")):
        turns.append(("system", prompt))
        extra.append(None)
    for i, turn in enumerate(value, 1):
        if type(turn) is not dict:
            raise Bad("read/wrong-type", f"turn {i} of {name!r} is {kind_of(turn)}; expected an object")
        role = turn.get(role_key, MISSING)
        content = turn.get(content_key, MISSING)
        if content is None or content is MISSING:
            content = "" if any(turn.get(call) for call in _CALLS) else content
        if type(role) is not str or type(content) is not str:
            _string(role, f"{name}[{i}].{role_key}")
            _string(content, f"{name}[{i}].{content_key}")
        turns.append((SHAREGPT_ROLES.get(role, role) if sharegpt else role, content))
        more = {k: v for k, v in turn.items() if v is not None and k != role_key and k != content_key}
        extra.append(more or None)
    return turns, json_text(extra) if any(extra) else None
