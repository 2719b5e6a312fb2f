"""Cuts a batch into passages and takes some of them out again."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import record
from curate.kernels import text
from curate.record import Batch

On: TypeAlias = Literal["response", "prompt", "both"]
Ints: TypeAlias = npt.NDArray[np.int64]
Hashes: TypeAlias = npt.NDArray[np.uint64]
Mask: TypeAlias = npt.NDArray[np.bool_]

# Scripts written without spaces, by how Unicode's names of their letters and digits begin: Han, kana, Thai,
# Lao, Khmer, Burmese.
_HAN_KANA = ("CJK", "IDEOGRAPHIC", "HANGZHOU", "HIRAGANA", "HENTAIGANA", "KATAKANA", "HALFWIDTH KATAKANA")
_UNSPACED = (*_HAN_KANA, "THAI", "LAO", "KHMER", "MYANMAR")
_LETTERS = 0x40000  # letters and digits lie in planes 0 to 3

# What a sketch remembers of a passage in a record: its hash, and the characters of all its occurrences there.
SKETCH = pa.schema(
    [
        (
            "passages",
            pa.list_(pa.struct([("high", pa.uint64()), ("low", pa.uint64()), ("characters", pa.int64())])),
        ),
        ("length", pa.int64()),  # characters of the record
    ]
)


class Span(NamedTuple):
    """Characters start to end of a text that go with one of its blocks."""

    block: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Cutting:
    """What counts as a passage, and in which turns passages are looked for."""

    unit: Literal["paragraph", "line"]
    on: On
    min_words: int
    min_chars: int
    protect_code: bool

    def turns(self, batch: Batch) -> Mask:
        """Return which turns of the batch, flat, are looked at."""
        if record.kind(batch) == "text":
            return np.ones(batch.num_rows, bool)
        roles = pc.fill_null(pc.struct_field(record.content(batch).flatten(), "role"), "")
        answers = pc.equal(roles, "assistant").to_numpy(zero_copy_only=False)
        asks = ~answers & pc.not_equal(roles, "system").to_numpy(zero_copy_only=False)
        chosen: dict[On, Mask] = {"response": answers, "prompt": asks, "both": answers | asks}
        return chosen[self.on]


@dataclass(frozen=True, slots=True)
class Passages:
    """A batch's turns, cut into blocks [b], and those of the blocks that are passages long enough [p]."""

    data: npt.NDArray[np.uint8]
    offsets: Ints  # [turns + 1] each turn's bytes in data
    owner: Ints  # [turns] the turn's record
    turn: Ints  # [turns] its place in the record, from 0
    text: Ints  # [b] the block's turn
    start: Ints  # [b] bytes in data: whole lines, without the break behind the last one
    end: Ints  # [b]
    gap: Ints  # [b] line breaks before the block
    which: Ints  # [p] the passage's block
    high: Hashes  # [p] first half of the hash of the passage's normalised form
    low: Hashes  # [p] second half

    @classmethod
    def of(cls, batch: Batch, how: Cutting) -> Passages:
        """Cut a batch; no Python object is made per passage."""
        from curate.kernels import passages

        flat, bounds = record.turns(batch)
        data, offsets = _buffers(flat.cast(pa.large_string()))
        most = _lines(data[offsets[0] : offsets[-1]]) + len(flat)
        places = [np.empty(most, np.int64) for _ in range(4)]
        code = np.empty(most, bool)
        of, start, end, gap = places
        by_line = how.unit == "line"
        n = passages.cut(
            data, offsets, how.turns(batch), by_line, how.protect_code, of, start, end, code, gap
        )
        of, start, end, gap = (column[:n].copy() for column in places)
        which = np.flatnonzero(~code[:n])
        normal, normal_offsets = _buffers(text.normalise(_texts(data, start[which], end[which])))
        long = np.empty(len(which), bool)
        high, low = np.empty(len(which), np.uint64), np.empty(len(which), np.uint64)
        passages.measure(normal, normal_offsets, _kinds(), how.min_words, how.min_chars, long, high, low)
        owner = np.repeat(np.arange(batch.num_rows), np.diff(bounds))
        turn = np.arange(len(flat)) - np.repeat(bounds[:-1], np.diff(bounds))
        return cls(
            data, offsets, owner, turn, of, start, end, gap, which[long], high[long], low[long]
        )  # fmt: skip

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return each record's different passages (SKETCH), sorted by hash."""
        rows = batch.num_rows
        lengths = characters_of(batch)
        owner = self.owner[self.text[self.which]]
        texts = _texts(self.data, self.start[self.which], self.end[self.which])
        characters = pc.utf8_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
        order = np.lexsort((self.low, self.high, owner))
        owner, high, low = owner[order], self.high[order], self.low[order]
        first = np.ones(len(order), bool)
        first[1:] = (owner[1:] != owner[:-1]) | (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        starts = np.flatnonzero(first)
        sums = np.add.reduceat(characters[order], starts) if len(starts) else characters
        structs = pa.StructArray.from_arrays(
            [pa.array(high[starts]), pa.array(low[starts]), pa.array(sums)],
            fields=list(SKETCH.field("passages").type.value_type),
        )
        bounds = np.zeros(rows + 1, np.int32)
        np.cumsum(np.bincount(owner[starts], minlength=rows), out=bounds[1:])
        return pa.record_batch(
            [pa.ListArray.from_arrays(pa.array(bounds), structs), pa.array(lengths)], schema=SKETCH
        )

    def emptied(self, removed: Mask) -> Mask:
        """Return which turns [turns] would be left without a block, were the removed blocks [b] taken out."""
        turns = len(self.owner)
        gone = np.bincount(self.text[removed], minlength=turns)
        emptied: Mask = (gone > 0) & (gone == np.bincount(self.text, minlength=turns))
        return emptied

    def cuts(self, removed: Mask) -> tuple[Ints, Ints]:
        """Return which bytes of data go with each removed block [b]: starts and ends, in the blocks' order.

        One separator goes with each passage: of a run of passages that go, the widest of the separators in
        and around it stays, the first of equals; so no two passages grow together and no gap grows. What
        stands before the first block of a text and behind its last one stays. Of texts that lose all their
        blocks the answer is meaningless.
        """
        gone = np.flatnonzero(removed)
        own = self.text[gone]
        begins = np.ones(len(gone), bool)
        begins[1:] = (np.diff(gone) > 1) | (own[1:] != own[:-1])
        first = gone[begins]
        last = gone[np.roll(begins, -1)]  # each run's last block stands before the next one's first
        next_gap = self.gap[np.minimum(last + 1, len(self.gap) - 1)]
        stays = np.where(self.gap[first] >= next_gap, first, last + 1)
        for run in np.flatnonzero(last > first).tolist():
            stays[run] = first[run] + np.argmax(self.gap[first[run] : last[run] + 2])
        text = np.concatenate([[-1], self.text, [-1]])
        stays = np.where(text[last + 2] != text[last + 1], last + 1, stays)  # nothing stands behind it
        stays = np.where(text[first] != text[first + 1], first, stays)
        before = gone < np.repeat(stays, last - first + 1)  # goes with the separator before it, or behind it
        starts = np.where(before, self.end[gone - 1], self.start[gone])
        ends = np.where(before, self.end[gone], self.start[np.minimum(gone + 1, len(self.start) - 1)])
        return starts, ends

    def take_out(self, turn: int, cuts: Iterable[tuple[int, int, int]]) -> tuple[str, list[Span]]:
        """Return a turn's text without the bytes of data cut from it, and the same cuts in characters.

        cuts: block, start and end of each, in order.
        """
        base = int(self.offsets[turn])
        raw = self.data[base : self.offsets[turn + 1]].tobytes()
        pieces: list[str] = []
        spans: list[Span] = []
        at = chars = 0
        for block, start, end in cuts:
            kept = raw[at : start - base].decode()
            pieces.append(kept)
            start_chars = chars + len(kept)
            chars = start_chars + len(raw[start - base : end - base].decode())
            spans.append(Span(block, start_chars, chars))
            at = end - base
        return "".join([*pieces, raw[at:].decode()]), spans

    def place(self, block: int) -> tuple[int, int]:
        """Return the characters of its turn that a block takes."""
        base = self.offsets[self.text[block]]
        start = len(self.data[base : self.start[block]].tobytes().decode())
        return start, start + len(self.data[self.start[block] : self.end[block]].tobytes().decode())


def with_turns(batch: Batch, edited: dict[int, dict[int, str]]) -> pa.Array:
    """Return the content column with new texts in place: record → turn → text."""
    column = record.content(batch)
    rows = sorted(edited)
    values: list[Any] = column.take(pa.array(rows, pa.int64())).to_pylist()
    for position, row in enumerate(rows):
        if record.kind(batch) == "text":
            values[position] = edited[row][0]
        else:
            for turn, new in edited[row].items():
                values[position][turn] = {**values[position][turn], "content": new}
    places = np.arange(len(column))
    places[rows] = len(column) + np.arange(len(rows))
    return pa.concat_arrays([column, pa.array(values, column.type)]).take(pa.array(places))


def _buffers(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Return the array's UTF-8 bytes and the offsets [n + 1] of each text in them, without a copy."""
    _, offsets, data = texts.buffers()
    if not len(texts) or offsets is None:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8) if data else np.empty(0, np.uint8), bounds


def characters_of(batch: Batch) -> Ints:
    """Return how many characters each record has."""
    flat, bounds = record.turns(batch)
    before = np.zeros(len(flat) + 1, np.int64)
    np.cumsum(pc.utf8_length(flat).to_numpy(zero_copy_only=False), out=before[1:])
    return np.diff(before[bounds])


def _lines(data: npt.NDArray[np.uint8]) -> int:
    """Return how many line breaks there are at most: bytes that are one or end one."""
    low = int(np.count_nonzero(data - np.uint8(10) < 4))  # LF VT FF CR; smaller bytes wrap around
    return low + sum(int(np.count_nonzero(data == last)) for last in (0x85, 0xA8, 0xA9))  # NEL LS PS


def _texts(data: npt.NDArray[np.uint8], starts: Ints, ends: Ints) -> pa.LargeStringArray:
    """Return texts that lie in a buffer with gaps between them."""
    bounds = np.column_stack([starts, ends]).ravel()
    bounds = np.append(bounds, bounds[-1:])  # texts and the gaps behind them, the last of which is empty
    if not len(bounds):
        return pa.array([], pa.large_string())
    both = pa.LargeStringArray.from_buffers(len(bounds) - 1, pa.py_buffer(bounds), pa.py_buffer(data))
    return both.take(pa.array(np.arange(0, len(bounds) - 1, 2)))


@lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.uint8]:
    """Return what every code point counts for: [0x110000] of OTHER, LETTER, UNSPACED."""
    from curate.kernels.passages import LETTER, OTHER, UNSPACED

    table = np.full(0x110000, OTHER, np.uint8)
    for code in range(_LETTERS):
        char = chr(code)
        if char.isalnum():
            table[code] = UNSPACED if unicodedata.name(char, "").startswith(_UNSPACED) else LETTER
    return table
