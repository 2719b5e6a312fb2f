"""Shards of data/ in blocks that can be read on their own: row groups of parquet, zstd frames of JSON lines."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from curate.errors import IntegrityError, RecipeError
from curate.io.cells import is_json_text, pylist

TRAIN = "train"  # the split of a shard that names none
_READ = 2**20  # bytes of a file in hand while its frames are looked for


class Rows(Protocol):
    """The records of one block."""

    def take(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return some of them, column by name, as they lie in the file; JSON text as what it says."""
        ...


class Block(NamedTuple):
    """Records that are read together."""

    path: str
    place: int  # parquet: number of the row group; JSON lines: where the frame begins, in bytes
    size: int  # JSON lines: bytes of the frame
    records: int

    def read(self, columns: Sequence[str] | None) -> Rows:
        """Return the block's records, of these columns or all. Raises IntegrityError where it cannot be read."""
        try:
            return _table(self, columns) if self.path.endswith(".parquet") else _lines(self, columns)
        except (OSError, pa.ArrowInvalid, zstandard.ZstdError) as error:
            raise _damaged(self.path, type(error).__name__) from None


class _Table(NamedTuple):
    batch: pa.RecordBatch
    texts: frozenset[str]  # columns of JSON text

    def take(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        taken = self.batch.take(pa.array(rows))
        columns = {name: pylist(taken.column(name)) for name in taken.schema.names}
        for name in self.texts:
            columns[name] = [None if value is None else orjson.loads(value) for value in columns[name]]
        names = list(columns)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]


class _Lines(NamedTuple):
    lines: list[bytes]
    columns: frozenset[str] | None

    def take(self, rows: npt.NDArray[np.int64]) -> list[dict[str, Any]]:
        found = [orjson.loads(self.lines[row]) for row in rows]
        if self.columns is None:
            return found
        return [{name: record[name] for name in record if name in self.columns} for record in found]


def _table(block: Block, columns: Sequence[str] | None) -> _Table:
    with pq.ParquetFile(block.path) as file:
        table = file.read_row_group(block.place, columns=None if columns is None else list(columns))
        texts = frozenset(field.name for field in table.schema if is_json_text(field))
    [batch] = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], table.schema)]
    return _Table(batch, texts)


def _lines(block: Block, columns: Sequence[str] | None) -> _Lines:
    with Path(block.path).open("rb") as file:
        file.seek(block.place)
        content = zstandard.ZstdDecompressor().decompressobj().decompress(file.read(block.size))
    lines = content.split(b"\n")[:-1]
    return _Lines(lines, None if columns is None else frozenset(columns))


def split_of(entry: Mapping[str, Any]) -> str:
    """Return the split that an output of data/ belongs to."""
    return str(entry.get("split", TRAIN))


def _data(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [entry for entry in manifest["outputs"] if entry["path"].startswith("data/")]


def splits_of(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the splits of a release, and how many records each has."""
    found: dict[str, int] = {}
    for entry in _data(manifest):
        found[split_of(entry)] = found.get(split_of(entry), 0) + entry["records"]
    return found


def training(
    folder: Path, manifest: Mapping[str, Any], split: str | None, *, verify: bool = False
) -> tuple[Block, ...]:
    """Return the blocks of a split's shards, or of all splits, in the manifest's order.

    Raises RecipeError for a split that is not there, IntegrityError, with the file's name, for one that is not as long
    as the manifest says or, with ``verify``, has another SHA-256.
    """
    known = splits_of(manifest)
    if split is not None and split not in known:
        raise RecipeError(f"split {split!r}: this release has {', '.join(known)}; name one of them")
    blocks: list[Block] = []
    for entry in _data(manifest):
        if split is None or split_of(entry) == split:
            path = folder / entry["path"]
            _check(path, entry, verify)
            found = _blocks(str(path), path.stat().st_size, path.stat().st_mtime_ns)
            if sum(block.records for block in found) != entry["records"]:
                raise _damaged(entry["path"], "it has another number of records than the manifest says")
            blocks += [block for block in found if block.records]
    return tuple(blocks)


def _check(path: Path, entry: Mapping[str, Any], verify: bool) -> None:
    name = entry["path"]
    if not path.is_file():
        raise _damaged(name, "it is not there")
    if (size := path.stat().st_size) != entry["bytes"]:
        raise _damaged(name, f"it has {size:,} bytes, and {entry['bytes']:,} in the manifest")
    if verify:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                raise _damaged(name, "its SHA-256 is another than in the manifest")


def _damaged(name: str, why: str) -> IntegrityError:
    return IntegrityError(
        f"{name}: {why}; 'curate verify' tells what else differs, 'curate run' makes it again"
    )


@lru_cache(maxsize=4096)
def _blocks(path: str, size: int, changed: int) -> tuple[Block, ...]:
    """Return a file's blocks. size, changed: of the file, so that another file of the name is read again."""
    try:
        if path.endswith(".parquet"):
            with pq.ParquetFile(path) as file:
                groups = [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)]
            return tuple(Block(path, n, 0, rows) for n, rows in enumerate(groups))
        return tuple(Block(path, *frame) for frame in _frames(Path(path)))
    except (OSError, pa.ArrowInvalid, zstandard.ZstdError) as error:
        raise _damaged(path, f"it cannot be read ({type(error).__name__})") from None


def _frames(path: Path) -> Iterator[tuple[int, int, int]]:
    """Yield each zstd frame of a file (RFC 8878) as: where it begins, its bytes, its lines.

    Nothing in the file tells where frames end or how many lines they have, so it is decompressed once.
    """
    with path.open("rb") as file:
        begin, held = 0, file.read(_READ)
        while held:
            frame, lines, size = zstandard.ZstdDecompressor().decompressobj(), 0, 0
            while True:
                lines += frame.decompress(held).count(b"\n")
                size += len(held)
                if frame.eof:
                    break
                if not (held := file.read(_READ)):
                    raise zstandard.ZstdError("a frame is cut")
            held = frame.unused_data
            size -= len(held)
            yield begin, size, lines
            begin += size
            held = held or file.read(_READ)
