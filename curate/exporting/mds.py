"""MosaicML Streaming's MDS shards, one folder for each kind of records and split, for ``StreamingDataset(local=…)``.

Layout of a shard, little endian (mosaicml-streaming 0.13, ``streaming/base/format/mds/writer.py``): number of samples,
uint32; where each begins, and where the last ends, in bytes of the file, uint32; the columns, JSON; then the samples:
the size of each column, uint32, and its bytes. ``index.json`` lists the shards. Written here because that library takes
no numpy of 2.2 or later and no transformers of 5 or later.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from curate.exporting import shapes, trl
from curate.exporting.shapes import Kind, Record
from curate.io.cells import foreign

SHARD_SIZE = "64MB"  # its own default
LARGEST = 2**32 - 2**24  # bytes of a shard, about: places in it are 32-bit
_TOLD = {"id": "str", "source": "str", "license": "json", "language": "json"}
_COLUMNS: Mapping[
    Kind, Mapping[str, str]
] = {  # encoding by column, in the order of names, as its writer has them
    "conversations": {**_TOLD, "messages": "json", "tools": "json"},
    "preferences": {**_TOLD, "prompt": "json", "chosen": "json", "rejected": "json", "tools": "json"},
    "documents": {**_TOLD, "text": "str"},
}


def shape(record: Record, kind: Kind) -> Record:
    """Return a record's columns, as TRL has them. Raises Skip where it has none."""
    found = trl.shape(record, kind, False)
    return found if kind == "documents" else {**found, "tools": shapes.tools(record)}


class Shards:
    """Writes one kind of records of one split."""

    def __init__(self, folder: Path, kind: Kind, shard_size: int) -> None:
        folder.mkdir(parents=True)
        self._folder, self._shard_size = folder, shard_size
        self._columns = dict(sorted(_COLUMNS[kind].items()))
        self._held: list[bytes] = []
        self._bytes = 0
        self._listed: list[dict[str, Any]] = []
        self.files: dict[Path, int] = {}

    def add(self, record: Record) -> None:
        """Take in a record's columns."""
        cells = [
            str(record[name]).encode() if encoding == "str" else orjson.dumps(record[name], foreign)
            for name, encoding in self._columns.items()
        ]
        sample = np.array([len(cell) for cell in cells], "<u4").tobytes() + b"".join(cells)
        self._held.append(sample)
        self._bytes += len(sample)
        if self._bytes >= self._shard_size:
            self._flush()

    def close(self) -> dict[Path, int]:
        """Write what is left, and the index; return the files with their records."""
        if self._held:
            self._flush()
        index = {"version": 2, "shards": self._listed}
        (self._folder / "index.json").write_bytes(orjson.dumps(index, option=orjson.OPT_SORT_KEYS))
        return self.files

    def _flush(self) -> None:
        about = {
            "version": 2, "format": "mds", "compression": None, "hashes": [], "size_limit": self._shard_size,
            "column_names": [*self._columns], "column_encodings": [*self._columns.values()],
            "column_sizes": [None] * len(self._columns),
        }  # fmt: skip
        columns = orjson.dumps(about, option=orjson.OPT_SORT_KEYS)
        head = 4 + 4 * (len(self._held) + 1) + len(columns)
        places = head + np.cumsum([0, *map(len, self._held)])
        content = b"".join(
            [np.uint32(len(self._held)).tobytes(), places.astype("<u4").tobytes(), columns, *self._held]
        )
        path = self._folder / f"shard.{len(self._listed):05d}.mds"
        path.write_bytes(content)
        self.files[path] = len(self._held)
        raw = {"basename": path.name, "bytes": len(content), "hashes": {}}
        self._listed.append({**about, "samples": len(self._held), "raw_data": raw, "zip_data": None})
        self._held, self._bytes = [], 0
