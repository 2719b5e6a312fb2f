"""Tokens packed into rows, as parquet: ``datasets.load_dataset`` reads them, and TRL takes them for prepared.

Columns of a row: ``input_ids``; ``labels``, -100 where nothing is learnt; ``position_ids``, from 0 in each piece;
``seq_lengths``, of the pieces, by which attention stays within them (TRL's name, ``trl.trainer.sft_trainer``); ``ids``,
of their records. All have as many tokens as they have, at most the length: nothing is padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from curate.exporting.encoder import Piece
from curate.exporting.packing import WINDOW, Packing, pack
from curate.io.write import ShardWriter, Stream

NOTHING = -100  # label that torch's cross_entropy ignores (ignore_index)
_INTS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        *((name, _INTS) for name in ("input_ids", "labels", "position_ids", "seq_lengths")),
        ("ids", pa.list_(pa.string())),
    ]
)
_ROWS = 256  # made into a table at a time


class Rows:
    """Packs pieces into rows and writes them, one split's shards into one folder."""

    def __init__(self, folder: Path, length: int, packing: Packing, shard_size: int) -> None:
        self._length, self._packing = length, packing
        self._writer = ShardWriter(Stream(folder, SCHEMA), shard_size)
        self._held: list[Piece] = []
        self.rows = self.tokens = self.learnt = 0

    def add(self, pieces: Sequence[Piece]) -> None:
        """Take in a record's pieces."""
        self._held += pieces
        while len(self._held) >= WINDOW:
            self._flush(self._held[:WINDOW])
            self._held = self._held[WINDOW:]

    def close(self) -> dict[Path, int]:
        """Write what is left; return the shards with their rows."""
        self._flush(self._held)
        self._writer.close()
        return {shard.path: shard.records for shard in self._writer.shards}

    def _flush(self, pieces: Sequence[Piece]) -> None:
        rows = pack([len(piece.ids) for piece in pieces], self._length, self._packing)
        for start in range(0, len(rows), _ROWS):
            self._writer.append(
                self._table([[pieces[at] for at in row] for row in rows[start : start + _ROWS]])
            )

    def _table(self, rows: Sequence[Sequence[Piece]]) -> pa.Table:
        pieces = [piece for row in rows for piece in row]
        sizes = np.array([len(piece.ids) for piece in pieces], np.int32)
        held = np.cumsum([0, *(len(row) for row in rows)])  # pieces before each row
        ends = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        ids, learnt = (np.concatenate([piece[field] for piece in pieces]) for field in (1, 2))
        positions = np.arange(ends[-1]) - np.repeat(ends[:-1], sizes)
        columns: dict[str, tuple[Any, Any]] = {
            "input_ids": (ends[held], ids),
            "labels": (ends[held], np.where(learnt, ids, NOTHING)),
            "position_ids": (ends[held], positions),
            "seq_lengths": (held, sizes),
            "ids": (held, [piece.name for piece in pieces]),
        }
        self.rows += len(rows)
        self.tokens += len(ids)
        self.learnt += int(learnt.sum())
        arrays = [
            pa.ListArray.from_arrays(
                pa.array(offsets, pa.int32()), pa.array(values, SCHEMA.field(name).type.value_type)
            )
            for name, (offsets, values) in columns.items()
        ]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)

    def told(self) -> dict[str, Any]:
        """Return what was written, for export.json. filled: share of the rows' places that hold a token."""
        places = self.rows * self._length
        filled = round(self.tokens / places, 4) if places else None
        return {"rows": self.rows, "tokens": self.tokens, "learnt": self.learnt, "filled": filled}
