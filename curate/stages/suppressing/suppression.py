"""The suppression list: what was taken down, in a form that tells a run to leave it out, and nobody what it was.

A list is a parquet file, one row per thing that must not come back (:data:`SCHEMA`). It holds no text, id, author
or URL, only hashes under keys that HKDF-SHA256 (RFC 5869) derives from one secret key, which lies elsewhere:

* ``id``, ``author``, ``url``, ``domain``: HMAC-SHA256 (RFC 2104) of kind and value;
* ``text``: HMAC-SHA256 of the 128-bit hash that the stage ``exact`` compares records by;
* of all these, to look them up fast, SipHash-2-4 of the 64-bit hash that ``exact`` finds candidates by;
* ``record``, ``passage``: the shingle sets of a record, or of a text, each hash under SipHash-2-4, so that a later
  run computes the exact Jaccard similarity with it. How many shingles a text has can be seen.

Without the key, nobody can test a guess against a list.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import keys
from curate.errors import IntegrityError, RecipeError
from curate.kernels import parts, text
from curate.record import BESIDE, Batch
from curate.stages.dedup.resembling import VIEWS
from curate.stages.exact import content_hashes
from curate.stages.suppressing.wanted import Hashes, Key, Rule

FORMAT = "curate-suppression/1"
NAME = "suppression.parquet"
KEY_NAME = "suppression.key"
KINDS = ("id", "author", "url", "domain", "text", "record", "passage")
SCHEMA = pa.schema(
    [
        ("request", pa.int32()),  # number of the take-down
        ("kind", pa.string()),  # one of KINDS
        ("value", pa.binary(32)),  # HMAC-SHA256; null for shingle sets
        ("screen", pa.uint64()),  # SipHash-2-4 of a text's, or a value's, 64-bit hash: to look it up fast
        ("contained", pa.bool_()),  # of a passage: also what contains it
        ("rule", pa.string()),  # of a text or shingle sets: JSON of what they were made by
        *((view, pa.list_(pa.uint64())) for view in VIEWS),  # ascending
    ]
)


class Secret:
    """The keys of a suppression list."""

    def __init__(self, key: bytes) -> None:
        self._value = _derived(key, b"values", 32)
        halves = _derived(key, b"shingles", 16)
        self.shingles: Key = (int.from_bytes(halves[:8], "little"), int.from_bytes(halves[8:], "little"))
        self.fingerprint = hmac.digest(key, b"curate suppression key", "sha256").hex()[:16]

    def value(self, kind: str, value: str | bytes) -> bytes:
        """Return the keyed hash of a value of a kind."""
        content = value.encode() if isinstance(value, str) else value
        return hmac.digest(self._value, kind.encode() + b"\0" + content, "sha256")

    def masked(self, source: str, record_id: str) -> str:
        """Return the name under which the ledger files a record that was suppressed."""
        return f"{source}/suppressed-{self.value('ledger', record_id).hex()[:16]}"

    def contents(self, batch: Batch) -> list[bytes]:
        """Return the keyed hash of each record's normalised turns, whatever stands beside them."""
        return [self.value("text", two.tobytes()) for two in content_hashes(_turns_alone(batch))]

    def screens(self, batch: Batch) -> Hashes:
        """Return the keyed 64-bit hash [n] of each record's normalised turns."""
        from curate.kernels import finding

        found = parts.normal_keys(_turns_alone(batch))
        low, high = self.shingles
        finding.keyed(found, np.uint64(low), np.uint64(high), found)
        return found


def _turns_alone(batch: Batch) -> Batch:
    """Return the batch without what stands beside the turns: a take-down is of what was said."""
    return batch.drop_columns([name for name in BESIDE if name in batch.schema.names])


def _derived(key: bytes, purpose: bytes, length: int) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), length, None, b"curate suppression " + purpose).derive(key)


def new_key(path: Path) -> None:
    """Write a new secret key, readable by its owner alone. Raises FileExistsError rather than replace one."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(32) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_key(variable: str | None, path: Path | None) -> Secret:
    """Read the secret key. Raises RecipeError where there is none."""
    return Secret(keys.read(variable, path, "the suppression list"))


class List(NamedTuple):
    """A suppression list that was read."""

    table: pa.Table
    fingerprint: str  # of the key that it was made with


def read(path: Path) -> List:
    """Read a list. Raises RecipeError where there is none, IntegrityError for a file that is no list of ours."""
    if not path.is_file():
        raise RecipeError(f"{path}: there is no such suppression list; name takedown/{NAME} of a release")
    try:
        table = pq.read_table(path, partitioning=None)
        about = orjson.loads((table.schema.metadata or {})[b"curate"])
        if about["format"] != FORMAT or table.schema.names != SCHEMA.names:
            raise ValueError
        return List(table.cast(SCHEMA), about["key"])
    except (pa.ArrowException, KeyError, ValueError, TypeError):
        raise IntegrityError(f"{path}: is no suppression list of format {FORMAT}; restore it") from None


def write(path: Path, table: pa.Table, secret: Secret) -> None:
    """Write a list; the same rows give the same bytes."""
    about = {"curate": orjson.dumps({"format": FORMAT, "key": secret.fingerprint})}
    with pq.ParquetWriter(path, SCHEMA.with_metadata(about), compression="zstd") as writer:
        writer.write_table(table.cast(SCHEMA).replace_schema_metadata(about))


def rows(request: int, kind: str, values: Iterable[str], secret: Secret) -> pa.Table:
    """Return rows that hold nothing but keyed hashes of values; equal ones once."""
    held = sorted({secret.value(kind, value): value for value in values}.items())
    spelled = pa.record_batch([pa.array([value for _, value in held], pa.string())], ["text"])
    columns = {
        "value": pa.array([value for value, _ in held], pa.binary(32)),
        "screen": pa.array(secret.screens(spelled), pa.uint64()),
    }
    return _rows(request, kind, columns, len(held))


def texts(request: int, batches: Iterable[Batch], secret: Secret) -> pa.Table:
    """Return the rows of records' texts; equal ones once."""
    held: dict[bytes, int] = {}
    for batch in batches:
        held |= dict(zip(secret.contents(batch), secret.screens(batch).tolist(), strict=True))
    values = sorted(held)
    columns = {
        "value": pa.array(values, pa.binary(32)),
        "screen": pa.array([held[value] for value in values], pa.uint64()),
        "rule": pa.array([_TEXT_RULE] * len(values), pa.string()),
    }
    return _rows(request, "text", columns, len(values))


def sets(request: int, kind: str, table: pa.Table, rule: Rule, contained: bool) -> pa.Table:
    """Return the rows of shingle sets, a table of VIEWS made under the key."""
    n = table.num_rows
    columns = {view: table.column(view) for view in VIEWS}
    columns["contained"] = pa.array([contained] * n, pa.bool_())
    columns["rule"] = pa.array([_told(rule)] * n, pa.string())
    return _rows(request, kind, columns, n)


def _rows(request: int, kind: str, columns: dict[str, Any], n: int) -> pa.Table:
    known = {
        "request": pa.array([request] * n, pa.int32()),
        "kind": pa.array([kind] * n, pa.string()),
        **columns,
    }
    return pa.table([known.get(f.name, pa.nulls(n, f.type)) for f in SCHEMA], schema=SCHEMA)


SIGNED = f"1.{text.SCHEME}"
"""What hashes of texts depend on."""
_TEXT_RULE = orjson.dumps({"version": SIGNED}).decode()


def _told(rule: Rule) -> str:
    return orjson.dumps(rule._asdict(), option=orjson.OPT_SORT_KEYS).decode()


def ruled(table: pa.Table, path: Path) -> list[tuple[Rule, pa.Table]]:
    """Return the rows of shingle sets by their rule.

    Raises RecipeError if some row was made by another version, whose hashes mean nothing here.
    """
    found = []
    for told in sorted(set(table.column("rule").drop_null().to_pylist())):
        mine = table.filter(pc.equal(table.column("rule"), told))
        made_by = orjson.loads(told)
        wanted = SIGNED if told == _TEXT_RULE or "ngram" not in made_by else Rule().version
        if made_by["version"] != wanted:
            raise RecipeError(
                f"{path}: was made by {made_by['version']}, this version of curate hashes texts by {wanted}: it "
                "would not recognise them; run with the version that made the list, or take down again"
            )
        if "ngram" in made_by:
            found.append((Rule(**made_by), mine))
    return found


def author(name: str) -> str:
    """Return an author's name as names are compared: Unicode NFKC, case folded, one space where there is any."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


_ABSOLUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//")  # RFC 3986, sections 3.1 and 4.2


@lru_cache(maxsize=4096)
def host(name: str) -> str:
    """Return a host's name as hosts are compared: lower case, punycode, no dot at the end."""
    name = name.strip().rstrip(".").lower()
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        return name


def url(address: str) -> tuple[str, str]:
    """Return a URL as URLs are compared, without scheme, user, fragment or slash at its end; and its host.

    ``HTTPS://Example.org:443/a/`` is ``example.org/a``. Path and query keep their case.
    """
    address = address.strip()
    try:
        split = urlsplit(address if _ABSOLUTE.match(address) else f"//{address}")
        place, port = host(split.hostname or ""), split.port
    except ValueError:  # no URL: compared as it stands
        return address, ""
    where = place if port in (None, 80, 443) else f"{place}:{port}"
    query = f"?{split.query}" if split.query else ""
    return where + split.path.rstrip("/") + query, place


def domains(place: str) -> Sequence[str]:
    """Return the names of a host and of all domains that it is in: ``a.b.c``, ``b.c``, ``c``."""
    labels = place.split(".")
    return [".".join(labels[i:]) for i in range(len(labels))] if place else []
