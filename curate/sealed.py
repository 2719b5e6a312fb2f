"""removed/ encrypted: whoever has no key sees which records were removed and why, and nothing of what they hold.

A sealed table keeps ``id source license`` and, of the column ``curate``, what was decided and where the record was
read. Everything else, hashes of the content included, is in the column ``sealed``: the record as one Arrow record
batch (IPC message), encrypted by AES-256-SIV (RFC 5297) with source and locator authenticated. It is deterministic,
so the same run gives the same bytes. Its length tells about how long the record is, and two records that are equal
in every column and were read from the same place would be equal when sealed; no two are read from one place.
"""

from __future__ import annotations

import base64

import pyarrow as pa
import pyarrow.compute as pc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from curate import keys, record
from curate.errors import IntegrityError

SEALED = "sealed"
_SCHEMA = b"curate.sealed"  # key of the file's metadata that holds the schema of what was sealed
_OPEN = ("id", "source", "license")
_SECRET = ("sha256_in", "raw")  # of the column curate: a hash of a short text can be guessed
_FACTS, _HASHES = "facts", "_of"  # … and so are the facts that end so (curate.scores)


def schema(whole: pa.Schema) -> pa.Schema:
    """Return the schema that a table of removed records has once it is sealed."""
    decided = pa.struct(
        [_shown(field) for field in whole.field(record.CURATE).type if field.name not in _SECRET]
    )
    fields = [whole.field(name) for name in _OPEN]
    fields += [pa.field(record.CURATE, decided), pa.field(SEALED, pa.binary(), nullable=False)]
    return pa.schema(fields, {_SCHEMA: base64.b64encode(whole.serialize().to_pybytes())})


def _shown(field: pa.Field) -> pa.Field:
    if field.name != _FACTS:
        return field
    return pa.field(_FACTS, pa.struct([fact for fact in field.type if not fact.name.endswith(_HASHES)]))


def is_sealed(found: pa.Schema) -> bool:
    """Tell whether a table of removed records is sealed."""
    return SEALED in found.names and _SCHEMA in (found.metadata or {})


def seal(table: pa.Table, key: bytes) -> pa.Table:
    """Return removed records sealed under a key (of any length: a key of its own is derived from it)."""
    cipher = _cipher(key)
    places = _places(table)
    [batch] = table.combine_chunks().to_batches() or [None]
    boxes = [cipher.encrypt(_message(batch, i), [place]) for i, place in enumerate(places)]
    wanted = schema(table.schema)
    decided = table.column(record.CURATE).combine_chunks()
    shown = wanted.field(record.CURATE).type
    struct = _only(decided, shown)
    columns = [table.column(name) for name in _OPEN]
    return pa.table([*columns, struct, pa.array(boxes, pa.binary())], schema=wanted)


def _only(column: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    """Return a struct's fields that a type has, and of the facts in it those that it has."""
    found = []
    for field in kind:
        values = pc.struct_field(column, field.name)
        found.append(_only(values, field.type) if field.name == _FACTS else values)
    return pa.StructArray.from_arrays(found, fields=list(kind))


def _message(batch: pa.RecordBatch, at: int) -> bytes:
    """Return one record as an IPC message. Taken out, since of a slice the neighbors' bits and offsets would show."""
    message: bytes = batch.take(pa.array([at])).serialize().to_pybytes()
    return message


def unseal(table: pa.Table, key: bytes) -> pa.Table:
    """Return sealed records as they were. Raises IntegrityError where the key is another, or a byte has changed."""
    whole = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(table.schema.metadata[_SCHEMA])))
    cipher = _cipher(key)
    batches = []
    for place, box in zip(_places(table), table.column(SEALED).to_pylist(), strict=True):
        try:
            message = cipher.decrypt(box, [place])
        except InvalidTag:
            where = place.decode().replace("\0", " ")
            raise IntegrityError(
                f"removed record {where}: cannot be decrypted: the key is not the one it was encrypted with, or "
                "the record was changed"
            ) from None
        batches.append(pa.ipc.read_record_batch(pa.py_buffer(message), whole))
    return pa.Table.from_batches(batches, whole)


def _places(table: pa.Table) -> list[bytes]:
    locators = pc.struct_field(table.column(record.CURATE), "locator").to_pylist()
    stages = pc.struct_field(
        table.column(record.CURATE), "stage"
    ).to_pylist()  # an edited record may be edited twice
    sources = table.column("source").to_pylist()
    return ["\0".join(map(str, place)).encode() for place in zip(sources, locators, stages, strict=True)]


def _cipher(key: bytes) -> AESSIV:
    return AESSIV(keys.derived(key, b"removed", 64))
