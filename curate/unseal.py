"""``curate reveal``: the kept records of a release with their encrypted values restored, for whoever has the key."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from curate import keys, sealed
from curate.copies import Copy, address, told
from curate.errors import IntegrityError, RecipeError
from curate.io.cells import is_json_text
from curate.io.manifest import load
from curate.record import MESSAGES_EXTRA, REJECTED, REJECTED_EXTRA
from curate.stages.operators import tokens
from curate.stages.scrubbing import beside as _beside


def reveal(
    out: str | Path,
    ids: Sequence[str] = (),
    *,
    key_file: str | Path | None = None,
    key_env: str | None = None,
    removed: bool = False,
) -> Iterator[dict[str, Any]]:
    """Yield the records of data/ that hold an encrypted value, or those of the given ids, with all values restored.

    Records come in the order of data/ with all its columns; nothing is written. A value that the key did not
    encrypt, such as one that stood in the input, is left as it stands. Yields nothing where the release holds
    nothing encrypted. With ``removed``, the records of removed/ instead: all, or those of the ids, decrypted.
    Raises RecipeError without a key, or for an id that no such record has; IntegrityError for another key than
    the release's.
    """
    if address(out) is not None:
        copy = Copy(out)
        with told(copy):
            found = reveal(copy.whole(), ids, key_file=key_file, key_env=key_env, removed=removed)
        return _while_there(copy, found)
    out = Path(out)
    if (key_file is None) == (key_env is None):
        raise RecipeError(
            "reveal needs the key that the release was encrypted with: give key_file or key_env"
        )
    key = keys.read(key_env, None if key_file is None else Path(key_file), "reveal")
    manifest = load(out)
    made_with = _removed_fingerprint(manifest) if removed else _fingerprint(manifest)
    if made_with is not None and made_with != keys.fingerprint(key):
        raise IntegrityError(
            f"{out}: was encrypted with another key: its fingerprint is {made_with}, that of the key given is "
            f"{keys.fingerprint(key)}; give the key that pii had in that run"
        )
    if removed:
        return _removed(out, tuple(ids), key if made_with is not None else None)
    return _restored(out, tuple(ids), key if made_with is not None else None)


def _while_there(copy: Copy, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with told(copy):
        yield from records
    copy.remove()


def _removed_fingerprint(manifest: dict[str, Any]) -> str | None:
    place = manifest["recipe"]["output"].get("encrypt_removed")
    return None if place is None else str(place["fingerprint"])


def _removed(out: Path, ids: Sequence[str], key: bytes | None) -> Iterator[dict[str, Any]]:
    found = set()
    for path in sorted((out / "removed").glob("*.parquet")):
        file = pq.ParquetFile(path)
        for group in range(file.num_row_groups):
            table = file.read_row_group(group)
            if ids:
                table = table.filter(pc.is_in(table.column("id"), pa.array(ids, pa.string())))
            if key is not None:
                table = sealed.unseal(table, key)
            texts = [field.name for field in table.schema if is_json_text(field)]
            for row in table.to_pylist():
                found.add(row["id"])
                yield row | {name: orjson.loads(row[name]) for name in texts if row[name] is not None}
    if missing := [record_id for record_id in ids if record_id not in found]:
        raise RecipeError(
            f"{out}: no removed record has the id {missing[0]!r}; curate explain tells its story"
        )


def _fingerprint(manifest: dict[str, Any]) -> str | None:
    """Return the fingerprint of the key that values were encrypted with, null where none were."""
    for stage in manifest["recipe"]["stages"]:
        options = stage["options"]
        operators = [options.get("operator"), *(options.get("operators") or {}).values()]
        if stage["name"] == "pii" and "encrypt" in operators:
            return str(stage["fingerprint"]).split("; ")[0]  # a model may be named behind it
    return None


def _restored(out: Path, ids: Sequence[str], key: bytes | None) -> Iterator[dict[str, Any]]:
    found = set()
    for row in _rows(out):
        wanted = row["id"] in ids
        opened = 0 if key is None else _restore(row, key)
        found |= {row["id"]} if wanted else set()
        if wanted or (opened and not ids):
            yield row
    if missing := [record_id for record_id in ids if record_id not in found]:
        raise RecipeError(f"{out}: no kept record has the id {missing[0]!r}; curate explain tells its story")


def _restore(row: dict[str, Any], key: bytes) -> int:
    """Restore the values of one record in place; return how many."""
    restored = 0
    if row.get("text"):
        row["text"], restored, _ = tokens.unseal(key, row["text"])
    for turn in row.get("messages") or ():
        if turn["content"]:
            turn["content"], opened, _ = tokens.unseal(key, turn["content"])
            restored += opened
    return restored + _restore_beside(row, key)


def _restore_beside(row: dict[str, Any], key: bytes) -> int:
    """Restore the values beside a conversation's turns in place; return how many."""
    restored = 0

    def opened(_: str, text: str) -> str:
        nonlocal restored
        found, count, _closed = tokens.unseal(key, text)
        restored += count
        return found

    for name, turns in ((MESSAGES_EXTRA, "messages"), (REJECTED_EXTRA, REJECTED)):
        if row.get(name):
            spoken = _beside.roles(row.get(turns))
            row[name] = _beside.walk(row[name], spoken, lambda part, turn: opened)
    for turn in row.get(REJECTED) or () if isinstance(row.get(REJECTED), list) else ():
        if turn["content"]:
            turn["content"] = opened("", turn["content"])
    return restored


def _rows(out: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of data/ as plain values, columns of JSON text as what they say."""
    for path in sorted((out / "data").glob("part-*")):
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            texts = [field.name for field in file.schema_arrow if is_json_text(field)]
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_pylist():
                    row |= {name: orjson.loads(row[name]) for name in texts if row[name] is not None}
                    yield row
        else:
            with path.open("rb") as packed:
                lines = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
                yield from map(orjson.loads, io.BufferedReader(lines))
