"""A release's tables, read row group by row group: data/ beside its records/, removed/ and edited originals."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard

from curate import keys, sealed
from curate.errors import IntegrityError, RecipeError
from curate.record import CURATE, MESSAGES, Batch
from curate.stages.suppressing.wanted import Ints

CONTENT = ("text", "messages")
_TYPES = {"messages": MESSAGES, "raw": pa.binary()}


@dataclass(frozen=True)
class Chunk:
    """One row group of one shard: ``id source locator`` and the columns asked for, null where there is none."""

    part: str  # data | removed | edited
    path: str  # of the shard, in the release; of data/ for kept records
    group: int
    first: int  # rows of this part before it
    table: pa.Table

    def column(self, name: str) -> pa.Array:
        """Return a column in one piece."""
        return self.table.column(name).combine_chunks()

    @cached_property
    def places(self) -> pa.Array:
        """Return what tells each record from all others: source NUL locator. Ids need not be unique."""
        return places(self.table)

    def contents(self) -> Iterator[tuple[Batch, Ints]]:
        """Yield the conversations and the documents, each as a batch and its rows here."""
        for name in CONTENT:
            there = pc.is_valid(self.table.column(name)).to_numpy()
            if rows := there.nonzero()[0].tolist():
                chosen = self.table.select(["id", name]).take(pa.array(rows)).combine_chunks()
                [batch] = chosen.to_batches()
                yield batch, there.nonzero()[0]


def places(table: pa.Table) -> pa.Array:
    """Return source NUL locator of every row."""
    joined = pc.binary_join_element_wise(table.column("source"), table.column("locator"), "\0")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


class Tables:
    """The tables of a release that hold records."""

    def __init__(self, out: Path, manifest: Mapping[str, Any], key_file: Path | None = None) -> None:
        """key_file: holds the key of removed/, where that is encrypted."""
        self.out, self._manifest, self._key_file = out, manifest, key_file

    def files(self, folder: str, stem: str = "part") -> list[Path]:
        """Return the shards of a folder, in order."""
        return sorted((self.out / folder).glob(f"{stem}-*"))

    def chunks(self, columns: Sequence[str] = (), only: pa.Array | None = None) -> Iterator[Chunk]:
        """Yield every row group of data/, removed/ and the edited originals, with these columns.

        Columns: any of ``author url text messages raw``. only: places; row groups that have none of them are left
        out, and not read.
        """
        yield from self._kept(columns, only)
        for stem, part in (("part", "removed"), ("edited", "edited")):
            yield from self._taken(stem, part, columns, only)

    def _kept(self, columns: Sequence[str], only: pa.Array | None) -> Iterator[Chunk]:
        first = 0
        wanted = [name for name in columns if name != "raw"]
        for records, data in zip(self.files("records"), self.files("data"), strict=True):
            about = pq.ParquetFile(records)
            sizes = [about.metadata.row_group(group).num_rows for group in range(about.num_row_groups)]
            own = _Groups(data, sizes, wanted)
            for group, size in enumerate(sizes):
                table = about.read_row_group(group, columns=["id", "source", "locator"])
                if only is None or pc.any(pc.is_in(places(table), only)).as_py():
                    held = own.read(group) if wanted else table
                    if held.num_rows != size:
                        raise IntegrityError(
                            f"{data}: is not aligned with {records}; curate verify says more"
                        )
                    for name in columns:
                        there = name in wanted
                        table = table.append_column(
                            name, held.column(name) if there else _nothing(name, size)
                        )
                    yield Chunk("data", f"data/{data.name}", group, first, table)
                first += size

    def _taken(self, stem: str, part: str, columns: Sequence[str], only: pa.Array | None) -> Iterator[Chunk]:
        first = 0
        for path in self.files("removed", stem):
            file = pq.ParquetFile(path)
            for group in range(file.num_row_groups):
                found = _told(self.opened(file, group, False, ["id", "source", _PLACE]), ())
                if columns and (only is None or pc.any(pc.is_in(places(found), only)).as_py()):
                    found = _told(self.opened(file, group, True, ["id", "source", CURATE, *columns]), columns)
                elif only is not None and not pc.any(pc.is_in(places(found), only)).as_py():
                    first += found.num_rows
                    continue
                yield Chunk(part, f"removed/{path.name}", group, first, found)
                first += found.num_rows

    def opened(self, file: Any, group: int, inside: bool, columns: Sequence[str]) -> pa.Table:
        """Return a row group of removed/; ``inside``: decrypted, where it is encrypted."""
        if sealed.is_sealed(file.schema_arrow):
            table = file.read_row_group(group)
            return sealed.unseal(table, self._removed_key) if inside else table
        names = [name for name in columns if name.partition(".")[0] in file.schema_arrow.names]
        return file.read_row_group(group, columns=names)

    @cached_property
    def _removed_key(self) -> bytes:
        made_with = (self._manifest["recipe"]["output"].get("encrypt_removed") or {}).get("fingerprint")
        if self._key_file is None:
            raise RecipeError(
                f"{self.out}: removed/ is encrypted, and what is to be erased may stand there; name the file with "
                f"its key (fingerprint {made_with}) with --removed-key"
            )
        key = keys.read(None, self._key_file, "takedown --removed-key")
        if keys.fingerprint(key) != made_with:
            raise IntegrityError(
                f"{self._key_file}: is not the key that removed/ was encrypted with: its fingerprint is "
                f"{keys.fingerprint(key)}, that one's {made_with}"
            )
        return key


_PLACE = f"{CURATE}.locator"


def _nothing(name: str, n: int) -> pa.Array:
    return pa.nulls(n, _TYPES.get(name, pa.string()))


def _told(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return rows of removed/ as a chunk holds them."""
    told = table.column(CURATE).combine_chunks()
    found = {name: table.column(name) for name in ("id", "source")}
    found["locator"] = pc.struct_field(told, "locator")
    for name in columns:
        if name == "raw" and told.type.get_field_index("raw") >= 0:
            found[name] = pc.struct_field(told, "raw")
        else:
            found[name] = table.column(name) if name in table.schema.names else _nothing(name, table.num_rows)
    return pa.table(found)


class _Groups:
    """Columns of a shard of data/, cut as the shard of records/ beside it is; read in ascending order."""

    def __init__(self, path: Path, sizes: Sequence[int], columns: Sequence[str]) -> None:
        self._columns = columns
        self._file = pq.ParquetFile(path) if path.suffix == ".parquet" else None
        self._lines = None if self._file is not None else enumerate(line_groups(path, sizes))

    def read(self, group: int) -> pa.Table:
        """Return one row group."""
        if self._file is not None:
            there = [name for name in self._columns if name in self._file.schema_arrow.names]
            table = self._file.read_row_group(group, columns=there)
            columns = {
                n: table.column(n) if n in there else _nothing(n, table.num_rows) for n in self._columns
            }
            return pa.table(columns)
        assert self._lines is not None
        lines = next(lines for number, lines in self._lines if number == group)
        rows = [orjson.loads(line) for line in lines]
        return pa.table(
            {n: pa.array([row.get(n) for row in rows], _TYPES.get(n, pa.string())) for n in self._columns}
        )


def line_groups(path: Path, sizes: Sequence[int]) -> Iterator[list[bytes]]:
    """Yield the lines of a shard of data/ that is JSON lines, row group by row group, without their ends."""
    with path.open("rb") as packed:
        unpacked = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
        with io.BufferedReader(unpacked) as lines:
            for size in sizes:
                yield [lines.readline().removesuffix(b"\n") for _ in range(size)]
