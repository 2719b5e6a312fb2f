"""Megatron's indexed dataset: tokens in ``.bin``, and where each record stands in ``.idx``.

Layout of the index, little endian (megatron-core 0.16, ``megatron/core/datasets/indexed_dataset.py``): magic
``MMIDIDX\\0\\0``; version 1, uint64; code of the tokens' type, uint8 (4: int32, 8: uint16); number of sequences and of
document ends with a leading 0, uint64 each; then lengths of sequences in tokens, int32, their places in ``.bin`` in
bytes, int64, and the document ends, int64, counted in sequences. Each record is one sequence and one document. The
format has no masks: Megatron learns every token.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from curate.exporting.encoder import Piece

_MAGIC = b"MMIDIDX\x00\x00"
_SMALL = 65_500  # vocabularies below it are stored as uint16 (DType.optimal_dtype)
_CODES = {np.dtype("<i4"): 4, np.dtype("<u2"): 8}


class Indexed:
    """Writes one split: ``<stem>.bin`` and ``<stem>.idx``."""

    def __init__(self, stem: Path, vocabulary: int) -> None:
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._stem = stem
        self._type = np.dtype("<u2") if vocabulary < _SMALL else np.dtype("<i4")
        self._file = stem.with_name(stem.name + ".bin").open("wb")
        self._lengths: list[int] = []

    def add(self, piece: Piece) -> None:
        """Take in a record's tokens."""
        self._file.write(piece.ids.astype(self._type).tobytes())
        self._lengths.append(len(piece.ids))

    def close(self) -> dict[Path, int]:
        """Write the index; return the files with their records."""
        self._file.close()
        count = len(self._lengths)
        lengths = np.array(self._lengths, "<i4")
        ends = np.cumsum(lengths, dtype="<i8")
        places = (ends - lengths) * self._type.itemsize
        index = self._stem.with_name(self._stem.name + ".idx")
        head = struct.pack("<9sQBQQ", _MAGIC, 1, _CODES[self._type], count, count + 1)
        documents = np.arange(count + 1, dtype="<i8")
        index.write_bytes(head + lengths.tobytes() + places.astype("<i8").tobytes() + documents.tobytes())
        return {Path(self._file.name): count, index: count}

    def told(self) -> dict[str, Any]:
        """Return what was written, for export.json."""
        return {"tokens": sum(self._lengths), "type": self._type.name}
