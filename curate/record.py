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
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

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

RESERVED = frozenset(
    {*IDENTITY.names, *DESCRIPTION.names, *BOOKKEEPING.names, *LABELS, "text", "messages", "language", CURATE}
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
