"""The record in flight: column names, content views and content hashes.

A *batch* is a ``pyarrow.RecordBatch`` whose records all come from one source and are all of one kind:

* ``text`` batches (documents) have a column ``text``: string;
* ``messages`` batches (conversations) have ``messages``: list<struct<role: string, content: string>>.

Both have ``id source license url author created`` (strings, null where unknown), the source's own extra
columns untouched, the bookkeeping columns of :data:`BOOKKEEPING`, and one ``fact:<name>`` column for every
fact that a stage has stated so far.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

Batch: TypeAlias = pa.RecordBatch
Kind: TypeAlias = Literal["text", "messages"]

TURN = pa.struct([("role", pa.string()), ("content", pa.string())])
MESSAGES = pa.list_(TURN)

IDENTITY = pa.schema([("id", pa.string()), ("source", pa.string())])
DESCRIPTION = pa.schema([(name, pa.string()) for name in ("license", "url", "author", "created")])

BOOKKEEPING = pa.schema(
    [
        ("_path", pa.string()),  # the input file as the recipe names it
        ("_row", pa.int64()),  # position in that file, from 1: the line of a text format, else the row
        ("_sha256", pa.string()),  # hex digest of the content as it was read (content_sha256)
    ]
)
LABELS = ("_stage_name", "_stage", "_action", "_reason", "_raw")
"""Columns that a unit's removed records have in addition: what was decided, and a fault's bytes."""

FACT = "fact:"
# Facts that every release's records/ has, null where no stage stated them; other facts follow by name.
FACTS = pa.schema(
    [
        ("license_declared", pa.string()),
        ("license_detected", pa.string()),
        ("license_concluded", pa.string()),
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("edits", pa.list_(pa.struct([("reason", pa.string()), ("count", pa.int32())]))),
        ("cluster", pa.string()),
    ]
)
OWN_FACTS = frozenset({"id", "source", "locator", "sha256_in", "sha256_out", "edits", "leaf", "salt"})
"""Columns of records/ that only the pipeline fills; no stage may state a fact of that name."""

CURATE = "curate"
"""The column of removed/ that tells what was decided: apart from the record's own columns, whatever their names."""

MESSAGES_EXTRA = "messages_extra"
"""Column beside ``messages``: JSON text, per turn its keys beyond role and content (tool calls), or null."""
REJECTED = "rejected"
"""Column beside ``messages`` (MESSAGES): of a preference pair the reply that lost; ``messages`` ends in the other."""
REJECTED_EXTRA = "rejected_extra"
"""Column beside ``rejected``: of its turns what ``messages_extra`` is of the others'."""
BESIDE = (MESSAGES_EXTRA, REJECTED, REJECTED_EXTRA)

RESERVED = frozenset(
    {
        *(*IDENTITY.names, *DESCRIPTION.names, *BOOKKEEPING.names, *LABELS),
        *("text", "messages", "language", REJECTED, CURATE),
    }
)
"""Names an input's extra column cannot keep: such a column travels as ``input_<name>``."""

ROLES = ("system", "user", "assistant", "tool")


def schema(kind: Kind, extra: Iterable[pa.Field] = ()) -> pa.Schema:
    """Return the schema of a batch as it leaves the reader; extra columns stand in the given order."""
    content = pa.field("text", pa.string()) if kind == "text" else pa.field("messages", MESSAGES)
    return pa.schema([*IDENTITY, content, *DESCRIPTION, *extra, *BOOKKEEPING])


def kind(batch: Batch) -> Kind:
    """Tell whether the batch holds documents or conversations."""
    return "messages" if "messages" in batch.schema.names else "text"


def content(batch: Batch) -> pa.Array:
    """Return the column that holds the records' content: [n] string, or [n] list of turns."""
    return batch.column(kind(batch))


def turns(batch: Batch) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
    """Return every turn's text, flat, and offsets [n + 1]: record i owns turns offsets[i]:offsets[i + 1].

    A document is one turn. A null turn counts as an empty one.
    """
    column = content(batch)
    if pa.types.is_string(column.type):
        return pc.fill_null(column, ""), np.arange(len(column) + 1, dtype=np.int64)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = np.zeros(len(column) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return pc.fill_null(pc.struct_field(column.flatten(), "content"), ""), offsets


def texts(batch: Batch) -> list[str]:
    """Return each record's whole text; the turns of a conversation are joined by an empty line."""
    flat, offsets = turns(batch)
    pieces: list[str] = flat.to_pylist()
    if kind(batch) == "text":
        return pieces
    return ["\n\n".join(pieces[a:b]) for a, b in itertools.pairwise(offsets)]


class Utterances(NamedTuple):
    """Every text of a batch that a model may be shown: turns, the calls in them, rejected replies."""

    text: pa.StringArray  # [u], none null
    offsets: npt.NDArray[np.int64]  # [n + 1]: record i owns utterances offsets[i]:offsets[i + 1]
    part: npt.NDArray[np.uint8]  # [u] CONTENT, CALLS, REPLY or REPLY_CALLS
    turn: npt.NDArray[np.int64]  # [u] place of its turn in messages, or in the rejected reply, from 0
    role: pa.StringArray  # [u] of its turn; null in a document


CONTENT, CALLS, REPLY, REPLY_CALLS = range(4)
"""Parts of a record: a turn's content, the calls of tools in a turn; the same of the rejected reply."""


def utterances(batch: Batch) -> Utterances:
    """Return every text of the batch: of each record its turns in order, its calls, its rejected reply and
    the calls in that.

    Calls are told as ``name(arguments)``, one a line, arguments as JSON with sorted keys: without their ids, which
    differ in records that are alike in all else. Where nothing stands beside the turns, this is :func:`turns`.
    """
    flat, offsets = turns(batch)
    lengths = np.diff(offsets)
    owner, place = np.repeat(np.arange(batch.num_rows), lengths), _places(offsets)
    messages = kind(batch) == "messages"
    roles = (
        pc.struct_field(content(batch).flatten(), "role") if messages else pa.nulls(len(flat), pa.string())
    )
    found = [(flat, owner, np.full(len(flat), CONTENT, np.uint8), place, roles)]
    names = batch.schema.names
    if messages and MESSAGES_EXTRA in names and batch.column(MESSAGES_EXTRA).null_count < batch.num_rows:
        found.append(_calls(batch.column(MESSAGES_EXTRA), roles, offsets, CALLS))
    if messages and REJECTED in names and batch.column(REJECTED).null_count < batch.num_rows:
        replies, ends = turns(pa.record_batch({"messages": batch.column(REJECTED)}))
        whose = np.repeat(np.arange(batch.num_rows), np.diff(ends))
        part = np.full(len(replies), REPLY, np.uint8)
        spoken = pc.struct_field(batch.column(REJECTED).flatten(), "role")
        found.append((replies, whose, part, _places(ends), spoken))
        if REJECTED_EXTRA in names and batch.column(REJECTED_EXTRA).null_count < batch.num_rows:
            found.append(_calls(batch.column(REJECTED_EXTRA), spoken, ends, REPLY_CALLS))
    if len(found) == 1:
        return Utterances(flat, offsets, found[0][2], place, roles)
    text, role = (pa.concat_arrays([one[column] for one in found]) for column in (0, 4))
    owners, parts, places = (np.concatenate([one[column] for one in found]) for column in (1, 2, 3))
    order = np.argsort(owners, kind="stable")
    ends = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=batch.num_rows))])
    return Utterances(text.take(order), ends, parts[order], places[order], role.take(order))


def _places(offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))


def _calls(
    extra: pa.StringArray, roles: pa.StringArray, offsets: npt.NDArray[np.int64], code: int
) -> tuple[Any, ...]:
    """Return the calls of a batch's turns, as :func:`utterances` puts them together."""
    found = [
        (told, row, turn)
        for row, value in enumerate(extra.to_pylist())
        if value is not None
        for turn, keys in enumerate(orjson.loads(value))
        if (told := told_calls(keys))
    ]
    whose, place = (np.array([one[k] for one in found], np.int64) for k in (1, 2))
    spoken = roles.take(pa.array(offsets[:-1][whose] + place))
    part = np.full(len(found), code, np.uint8)
    return pa.array([one[0] for one in found], pa.string()), whose, part, place, spoken


def calls_of(keys: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the calls in a turn's further keys as {name, arguments}: OpenAI's ``tool_calls`` or ``function_call``.

    Arguments are as they stand there: JSON text by OpenAI's specification, an object in many datasets.
    """
    if not keys:
        return []
    listed = keys.get("tool_calls") or [keys.get("function_call")]
    listed = listed if isinstance(listed, list) else [listed]
    called = [one.get("function", one) if isinstance(one, dict) else one for one in listed if one]
    return [one if isinstance(one, dict) else {"name": None, "arguments": one} for one in called]


def told_calls(keys: Mapping[str, Any] | None) -> str:
    """Return the calls in a turn's further keys as text; see :func:`utterances`."""
    lines = []
    for call in calls_of(keys):
        lines.append(f"{call.get('name')}({_told_arguments(call.get('arguments'))})")
    return "\n".join(lines)


def _told_arguments(arguments: Any) -> str:
    """Return arguments as JSON with sorted keys; text that is none, or is nested too deep to be sorted, as it is."""
    if not isinstance(arguments, str):
        return orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS).decode()
    try:
        return orjson.dumps(orjson.loads(arguments), option=orjson.OPT_SORT_KEYS).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return arguments


def prompts_and_responses(batch: Batch) -> tuple[list[str], list[str]]:
    """Split each record into what a model is shown and what it learns to say.

    Of a conversation, the response is every assistant turn and the prompt every other turn, each joined by
    an empty line. A document has no prompt: it is all response.
    """
    if kind(batch) == "text":
        whole = texts(batch)
        return [""] * len(whole), whole
    prompts, responses = [], []
    for messages in content(batch).to_pylist():
        parts: dict[bool, list[str]] = {False: [], True: []}
        for turn in messages or ():
            parts[turn["role"] == "assistant"].append(turn["content"] or "")
        prompts.append("\n\n".join(parts[False]))
        responses.append("\n\n".join(parts[True]))
    return prompts, responses


def canonical(value: str | Sequence[dict[str, Any]] | None) -> bytes:
    """Return the bytes of content that are hashed: UTF-8 text, or compact JSON [[role, content], …]."""
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode()
    return orjson.dumps([[turn["role"], turn["content"]] for turn in value])


def content_sha256(column: pa.Array) -> pa.StringArray:
    """Return the SHA-256 (FIPS 180-4) of each record's canonical content, in hex."""
    return pa.array(
        [hashlib.sha256(canonical(value)).hexdigest() for value in column.to_pylist()], pa.string()
    )


def with_content(batch: Batch, new: pa.Array) -> Batch:
    """Return the batch with its content column replaced."""
    name = kind(batch)
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), new)


def with_column(batch: Batch, name: str, values: pa.Array) -> Batch:
    """Return the batch with a column replaced, or appended where it is new."""
    index = batch.schema.get_field_index(name)
    field = pa.field(name, values.type)
    return batch.append_column(field, values) if index < 0 else batch.set_column(index, field, values)


def locator(path: str, row: int) -> str:
    """Return where a record was read: ``<file>#<row>``, rows from 1."""
    return f"{path}#{row}"
