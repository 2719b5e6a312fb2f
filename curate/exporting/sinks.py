"""What takes records in and leaves files: JSON lines by kind, tar shards, tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias

import orjson

from curate.errors import MissingExtra
from curate.exporting import mds, shapes
from curate.exporting.encoder import Encoder, Longer
from curate.exporting.megatron import Indexed
from curate.exporting.packing import Packing
from curate.exporting.shapes import Kind, Record, Skip
from curate.exporting.tokens import Rows
from curate.exporting.writing import Tally
from curate.io.cells import foreign

Shape: TypeAlias = Callable[[Record, Kind], Record]
Notes: TypeAlias = Callable[[Mapping[tuple[str, Kind], str]], Mapping[str, str]]


class Sink(Protocol):
    """Writes records into a folder."""

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        ...

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the files, with how many records or rows each has, and what export.json says of them."""
        ...


class Lines:
    """JSON lines, a file for each kind of records and split, and a file that tells a trainer of them."""

    def __init__(self, folder: Path, shape: Shape, notes: Notes | None) -> None:
        self._folder, self._shape, self._notes = folder, shape, notes
        self._files: dict[tuple[str, Kind], BinaryIO] = {}
        self._counts: dict[Path, int] = {}

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        for record in records:
            try:
                kind = shapes.kind(record)
                line = orjson.dumps(self._shape(record, kind), foreign, orjson.OPT_APPEND_NEWLINE)
            except Skip as skip:
                tally.skip(skip.reason)
                continue
            path = self._folder / kind / f"{split}.jsonl"
            if (split, kind) not in self._files:
                path.parent.mkdir(exist_ok=True)
                self._files[split, kind] = path.open("wb")
            self._files[split, kind].write(line)
            self._counts[path] = self._counts.get(path, 0) + 1
            tally.exported += 1

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the files with their records."""
        for file in self._files.values():
            file.close()
        if self._notes is not None:
            names = {key: f"{key[1]}/{key[0]}.jsonl" for key in self._files}
            for name, content in self._notes(names).items():
                (self._folder / name).write_text(content)
        return self._counts, {}


class Tars:
    """Tar shards as the library webdataset writes them: one ``.json`` for each record, key its number in the split."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        try:
            from webdataset import TarWriter
        except ModuleNotFoundError:
            raise MissingExtra.of("exports to webdataset", "webdataset") from None
        self._make, self._folder, self._shard_size = TarWriter, folder, shard_size
        self._split = ""
        self._open: Any = None
        self._path = folder
        self._bytes = self._shards = self._number = 0
        self._counts: dict[Path, int] = {}

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        if split != self._split:
            self._finish()
            self._split, self._shards, self._number = split, 0, 0
        for record in records:
            if self._open is None:
                self._path = self._folder / f"{split}-{self._shards:06d}.tar"
                self._open = self._make(str(self._path), encoder=False, mtime=0, user="", group="")
                self._shards, self._bytes = self._shards + 1, 0
            content = orjson.dumps(record, foreign)
            self._bytes += self._open.write({"__key__": f"{self._number:09d}", "json": content})
            self._number += 1
            self._counts[self._path] = self._counts.get(self._path, 0) + 1
            tally.exported += 1
            if self._bytes >= self._shard_size:
                self._finish()

    def _finish(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the shards with their records."""
        self._finish()
        return self._counts, {}


class Mosaic:
    """MDS shards (:mod:`curate.exporting.mds`)."""

    def __init__(self, folder: Path, shard_size: int) -> None:
        self._folder, self._shard_size = folder, shard_size
        self._shards: dict[tuple[str, Kind], mds.Shards] = {}

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        for record in records:
            try:
                kind = shapes.kind(record)
                columns = mds.shape(record, kind)
            except Skip as skip:
                tally.skip(skip.reason)
                continue
            if (split, kind) not in self._shards:
                self._shards[split, kind] = mds.Shards(self._folder / kind / split, kind, self._shard_size)
            self._shards[split, kind].add(columns)
            tally.exported += 1

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the shards with their records."""
        files: dict[Path, int] = {}
        for shards in self._shards.values():
            files |= shards.close()
        return files, {}


class Packed:
    """Rows of tokens in parquet, a folder for each split."""

    def __init__(
        self, folder: Path, encoder: Encoder, length: int, longer: Longer, packing: Packing, shard_size: int
    ) -> None:
        self._folder, self._encoder, self._longer = folder, encoder, longer
        self._how = (length, packing, shard_size)
        self._rows: dict[str, Rows] = {}

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        rows = self._rows.setdefault(split, Rows(self._folder / split, *self._how))
        for pieces in self._encoder.encode(records, self._how[0], self._longer):
            if isinstance(pieces.made, Skip):
                tally.skip(pieces.made.reason)
            else:
                rows.add(pieces.made)
                tally.exported += 1
                tally.cut += pieces.cut

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the shards with their rows."""
        files: dict[Path, int] = {}
        for rows in self._rows.values():
            files |= rows.close()
        told = {split: rows.told() for split, rows in self._rows.items()}
        return files, {"tokenizer": self._encoder.told(), "splits": told}


class Whole:
    """Megatron's indexed datasets, one for each split."""

    def __init__(self, folder: Path, encoder: Encoder) -> None:
        self._folder, self._encoder = folder, encoder
        self._splits: dict[str, Indexed] = {}

    def add(self, split: str, records: Sequence[Record], tally: Tally) -> None:
        """Take in records, and count what becomes of each."""
        if split not in self._splits:
            largest = max(self._encoder.tokenizer.get_vocab().values())
            self._splits[split] = Indexed(self._folder / split, largest + 1)
        for pieces in self._encoder.encode(records, None, "skip"):
            if isinstance(pieces.made, Skip):
                tally.skip(pieces.made.reason)
            else:
                [piece] = pieces.made
                self._splits[split].add(piece)
                tally.exported += 1

    def close(self) -> tuple[dict[Path, int], dict[str, Any]]:
        """Finish; return the files with their records."""
        files: dict[Path, int] = {}
        for indexed in self._splits.values():
            files |= indexed.close()
        told = {split: indexed.told() for split, indexed in self._splits.items()}
        return files, {"tokenizer": self._encoder.told(), "splits": told}
