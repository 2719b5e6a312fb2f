"""A record's two parts, prompt and response: their band keys and their shingle sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels import folding, minhash, text
from curate.kernels.minhash import Bands
from curate.kernels.text import Hashes, Offsets
from curate.record import Batch

if TYPE_CHECKING:
    from curate.kernels.reading import Cutting, Turns

On: TypeAlias = Literal["both", "prompt", "response", "whole"]
Bitmaps: TypeAlias = npt.NDArray[np.uint64]

BITMAP = 16  # numbers of 64 bits in a record's bitmap: enough for sets of some hundred shingles


class Sets(NamedTuple):
    """Shingle sets of n records: prompt and response by words, then both by words and symbols if that counts."""

    hashes: Hashes  # in no order
    bounds: Offsets  # [n, 3 or 5]: set v of record i is hashes[bounds[i, v]:bounds[i, v + 1]]
    bitmaps: Bitmaps  # [n, BITMAP] of the first two sets: bounds what two records can share


def turns(batch: Batch, *, whole: bool = False) -> Turns:
    """Return the batch's turns for the kernels. A document has one, its response.

    Of a conversation, what the assistant says is the response, all else the prompt; ``whole`` makes all turns
    the response.
    """
    from curate.kernels import reading

    flat, first = record.turns(batch)
    data, offsets = text.buffers(flat.cast(pa.large_string()))
    parts = np.full(len(flat), reading.RESPONSE, np.uint8)
    if record.kind(batch) == "messages" and not whole:
        roles = pc.fill_null(pc.struct_field(record.content(batch).flatten(), "role"), "")
        answers = pc.equal(roles, "assistant").to_numpy(zero_copy_only=False)
        parts = np.where(answers, reading.RESPONSE, reading.PROMPT).astype(np.uint8)
    folded = np.zeros(len(flat), np.bool_)
    return reading.Turns(data, offsets[:-1], offsets[1:], folded, parts, first)


def normal_keys(batch: Batch) -> Hashes:
    """Return 64-bit hashes [n], equal for records whose turns are equal once normalised."""
    from curate.kernels import reading

    keys, todo = np.empty(batch.num_rows, np.uint64), np.ones(batch.num_rows, np.bool_)
    how = folding.characters()
    text.read(
        turns(batch),
        todo,
        lambda turns, room, first: reading.normal_keys(turns, how, room, first, todo, keys),
    )
    return keys


@dataclass(frozen=True, slots=True)
class Shingling:
    """What makes shingles of a record: words per shingle, and which part of a conversation counts.

    A document has one part, its response. ``whole`` makes a conversation one part too: all turns in order.
    ``prompt`` and ``response`` drop the other part; a record that lacks the part asked for is judged by the
    one that it has, so records without a response do not all count as the same.
    """

    ngram: int
    on: On
    symbols: bool = True  # whether sets by words and symbols are made too

    def band_keys(
        self, batch: Batch, threshold: float, cut: Bands, num_perm: int, seed: int
    ) -> tuple[Hashes, Hashes]:
        """Return [bands, n] 64-bit keys, and [n, words] of bits of the minima (minhash.plane_words).

        Records with an equal key in any band are candidates.

        One signature serves a rule on two parts: shingles are salted by part, so the union's intersection is
        Ip + Ir and its union Up + Ur. By the mediant inequality (Ip + Ir) / (Up + Ur) lies between Ip / Up
        and Ir / Ur. A pair with both parts at or above the threshold is so in the union as well, and the
        banding's recall holds for it. The reverse is not so; that is what verification is for.

        A digest of each part's set, where the set is small (minhash.small_set_limit), is hashed into every
        key. Records that cannot be similar because their small sets differ then share no bucket, at no loss:
        it keeps thousands of one template's short answers apart.
        """
        from curate.kernels import sketch

        a, b = minhash.lanes(num_perm, seed)
        row = np.empty(len(a), np.uint32)
        held = np.empty(minhash.small_set_limit(threshold) + 1, np.uint64)
        keys = np.empty((cut.bands, batch.num_rows), np.uint64)
        planes = np.empty((batch.num_rows, minhash.plane_words(num_perm)), np.uint64)
        cutting, how, todo = self._cutting(), folding.characters(), np.ones(batch.num_rows, np.bool_)
        text.read(
            turns(batch, whole=self.on == "whole"),
            todo,
            lambda turns, room, first: sketch.band_keys(
                turns, cutting, how, room, a, b, cut.rows, row, held, first, todo, keys, planes
            ),
        )
        return keys, planes

    def sets(self, batch: Batch, rows: npt.NDArray[np.int64] | None = None) -> Sets:
        """Return the shingle sets of the records at ``rows`` (ascending), or of every record."""
        from curate.kernels import compare

        spoken = turns(batch, whole=self.on == "whole")
        todo = np.ones(batch.num_rows, np.bool_)
        if rows is not None:
            todo[:] = False
            todo[rows] = True
        chosen = todo.copy()
        size = int((spoken.ends - spoken.starts)[np.repeat(todo, np.diff(spoken.first))].sum())
        out = np.empty(0, np.uint64)
        bounds = np.zeros((batch.num_rows + 1, 5 if self.symbols else 3), np.int64)
        bitmaps = np.zeros((batch.num_rows, BITMAP), np.uint64)
        cutting, how = self._cutting(), folding.characters()

        def step(turns: Turns, room: Any, first: int) -> int:
            nonlocal out
            out = text.grown(out, bounds[-1, 0], room, size)
            done: int = compare.record_sets(turns, cutting, how, room, first, todo, out, bounds, bitmaps)
            return done

        text.read(spoken, todo, step)
        return Sets(out[: bounds[-1, 0]], bounds[:-1][chosen], bitmaps[chosen])

    def _cutting(self) -> Cutting:
        from curate.kernels import reading

        on = {"prompt": reading.ONLY_PROMPT, "response": reading.ONLY_RESPONSE}.get(self.on, reading.BOTH)
        return reading.Cutting(self.ngram, text.SALTS, on)
