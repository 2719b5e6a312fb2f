"""A record's two parts, prompt and response: their band keys and their shingle sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
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

_ODD = np.uint64(0x9E3779B97F4A7C15)
_SALTS = np.array([0x8F14E45FCEEA167B, 0x5A105E8B9D40E133], np.uint64)  # of numbers, by part

BITMAP = 16  # numbers of 64 bits in a record's bitmap: enough for sets of some hundred shingles


class Sets(NamedTuple):
    """Shingle sets of n records: prompt and response by words, then both by words and symbols if that counts."""

    hashes: Hashes  # in no order
    bounds: Offsets  # [n, 3 or 5]: set v of record i is hashes[bounds[i, v]:bounds[i, v + 1]]
    bitmaps: Bitmaps  # [n, BITMAP] of the first two sets: bounds what two records can share


def turns(batch: Batch, *, whole: bool = False) -> Turns:
    """Return the batch's turns for the kernels, without what stands beside them. A document has one, its response.

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
    """Return 64-bit hashes [n], equal for records whose texts (curate.record.utterances) are equal once normalised."""
    return _normal_keys(_spoken(record.utterances(batch)))[0]


def _spoken(said: record.Utterances) -> Turns:
    """Return texts of records for the kernels; what an assistant says, calls, and the reply that lost are response."""
    from curate.kernels import reading

    data, offsets = text.buffers(said.text.cast(pa.large_string()))
    answers = pc.fill_null(pc.equal(said.role, "assistant"), False).to_numpy(zero_copy_only=False)
    asked = said.role.is_valid().to_numpy(zero_copy_only=False) & ~answers & (said.part == record.CONTENT)
    parts = np.where(asked, reading.PROMPT, reading.RESPONSE).astype(np.uint8)
    return reading.Turns(data, offsets[:-1], offsets[1:], np.zeros(len(parts), np.bool_), parts, said.offsets)


def _normal_keys(spoken: Turns) -> tuple[Hashes, Hashes]:
    """Return a hash of each record's normalised texts [n] and of each text [u], 0 of an empty one."""
    from curate.kernels import reading

    records = len(spoken.first) - 1
    keys, todo = np.empty(records, np.uint64), np.ones(records, np.bool_)
    pieces, how = np.zeros(len(spoken.parts), np.uint64), folding.characters()
    text.read(
        spoken,
        todo,
        lambda turns, room, first: reading.normal_keys(turns, how, room, first, todo, keys, pieces),
    )
    return keys, pieces


class Keys(NamedTuple):
    """64-bit hashes of n records' normalised texts."""

    whole: Hashes  # as normal_keys
    prompt: Hashes  # of what stands before the answer; that of the whole where there is no answer to a prompt
    answer: Hashes  # 0 where there is none, or no prompt


def keys(batch: Batch) -> Keys:
    """Return the hashes of whole records and, of conversations, those of prompt and answer.

    The answer is the last assistant turn with its calls, the prompt every turn before it, each with its role, with
    the calls in them and, where the batch has a column ``tools``, the definitions there. What stands behind the
    answer, and the reply that lost, are of neither.
    """
    from curate.kernels import reading

    said = record.utterances(batch)
    whole, pieces = _normal_keys(_spoken(said))
    if record.kind(batch) == "text":
        return Keys(whole, whole, np.zeros_like(whole))
    last = last_answers(said)[np.repeat(np.arange(batch.num_rows), np.diff(said.offsets))]
    of_turn = said.part < record.REPLY  # and none of the calls in that
    prompt, answer = np.empty_like(whole), np.empty_like(whole)
    reading.fold_pieces(said.offsets, pieces, _codes(said), of_turn & (said.turn < last), prompt)
    reading.fold_pieces(said.offsets, pieces, _codes(said), of_turn & (said.turn == last), answer)
    none = (prompt == 0) | (answer == 0)
    if "tools" in batch.schema.names:
        prompt = (prompt ^ _tools(batch.column("tools"))) * _ODD
    return Keys(whole, np.where(none, whole, prompt), np.where(none, np.uint64(0), answer))


def last_answers(said: record.Utterances) -> npt.NDArray[np.int64]:
    """Return the place of each record's last assistant turn among its turns [n], -1 where it has none."""
    last = np.full(len(said.offsets) - 1, -1, np.int64)
    spoken = pc.fill_null(pc.equal(said.role, "assistant"), False).to_numpy(zero_copy_only=False)
    chosen = np.flatnonzero(spoken & (said.part == record.CONTENT))
    last[np.searchsorted(said.offsets, chosen, "right") - 1] = said.turn[
        chosen
    ]  # ascending: the last one stays
    return last


def beside_keys(batch: Batch) -> Hashes | None:
    """Return hashes [n] of what stands beside records' turns, normalised: calls, each with its place, and replies.

    0 where nothing does, and null where that is so of the whole batch.
    """
    from curate.kernels import reading

    said = record.utterances(batch)
    beside = said.part != record.CONTENT
    if not beside.any():
        return None
    ends = np.concatenate([[0], np.cumsum(beside)])[said.offsets]
    kept = pa.array(np.flatnonzero(beside))
    said = record.Utterances(
        said.text.take(kept), ends, said.part[beside], said.turn[beside], said.role.take(kept)
    )
    keys = np.empty(batch.num_rows, np.uint64)
    _, pieces = _normal_keys(_spoken(said))
    # One more: also an empty reply is one.
    reading.fold_pieces(ends, pieces + np.uint64(1), _codes(said), np.ones(len(pieces), np.bool_), keys)
    return keys


def _codes(said: record.Utterances) -> Hashes:
    """Return what of each text [u] is no content: its part, its role, and the place of its turn where that is told."""
    roles = pc.fill_null(pc.index_in(said.role, pa.array(record.ROLES)), len(record.ROLES))
    codes: Hashes = roles.to_numpy(zero_copy_only=False).astype(np.uint64) * np.uint64(4) + said.part
    places = np.where(said.part == record.CONTENT, 0, said.turn).astype(np.uint64)  # contents stand in order
    return codes + places * np.uint64(64)


def _tools(column: pa.Array) -> Hashes:
    """Return a hash of each record's definitions of tools, 0 for none."""
    told = [None if one is None else orjson.dumps(one, default=str) for one in column.to_pylist()]
    digests = (b"" if one is None else hashlib.blake2b(one, digest_size=8).digest() for one in told)
    return np.array([int.from_bytes(one, "little") for one in digests], np.uint64)


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
    numbers: bool = False  # whether conversations with different numbers never meet

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

        So is a hash of the numbers in each part (``numbers``), and one of what stands beside the turns
        (:func:`beside_keys`), whatever their size: records of which these differ never meet, but for two hashes of
        64 bits that are the same.
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
        if (beside := beside_keys(batch)) is not None:
            keys ^= beside
        if self.numbers and record.kind(batch) == "messages":
            keys ^= self.number_keys(batch)
        return keys, planes

    def number_keys(self, batch: Batch) -> Hashes:
        """Return hashes [n] of the different numbers in ASCII digits, in the parts that count; 0 for none."""
        from curate.kernels import numbers, reading

        spoken = turns(batch, whole=self.on == "whole")
        salts = _SALTS[spoken.parts]
        if self.on in ("prompt", "response"):
            salts[spoken.parts != (reading.PROMPT if self.on == "prompt" else reading.RESPONSE)] = 0
        sizes = np.diff(np.concatenate([[0], np.cumsum(spoken.ends - spoken.starts)])[spoken.first])
        keys = np.empty(batch.num_rows, np.uint64)
        table = reading.table(int(sizes.max(initial=0)) // 2 + 1)
        numbers.number_keys(spoken.data, spoken.starts, spoken.ends, spoken.first, salts, table, keys)
        return keys

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
