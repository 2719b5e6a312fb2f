"""The turns of a batch laid flat, for rules that look at all of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from curate import record, rules
from curate.record import MESSAGES_EXTRA, REJECTED, ROLES, Batch

Mask: TypeAlias = npt.NDArray[np.bool_]
Extra: TypeAlias = list[dict[str, Any] | None]  # per turn its keys beyond role and content

SYSTEM, USER, ASSISTANT, TOOL = range(len(ROLES))
START = len(ROLES)
"""Stands before the first turn of every record."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Every turn of a batch, flat. Masks and roles are [turns]; turn t belongs to record owner[t]."""

    text: pa.StringArray  # none null
    role: npt.NDArray[np.int64]  # position in ROLES, -1 for any other
    before: npt.NDArray[np.int64]  # role of the turn before it in the record, START for the first
    owner: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]  # position in its record, from 0
    last: Mask
    blank: Mask
    calls: Mask  # whether the turn calls a tool, by its further keys
    offsets: npt.NDArray[np.int64]  # [records + 1]: record i owns turns offsets[i]:offsets[i + 1]
    extra: dict[int, Extra]  # by record; only those whose turns have further keys

    @classmethod
    def of(cls, batch: Batch) -> Turns:
        """Lay a batch of conversations flat."""
        text, offsets = record.turns(batch)
        lengths = np.diff(offsets)
        roles = pc.struct_field(record.content(batch).flatten(), "role")
        role = pc.fill_null(pc.index_in(roles, pa.array(ROLES)), -1).to_numpy().astype(np.int64)
        place = np.arange(len(text)) - np.repeat(offsets[:-1], lengths)
        owner = np.repeat(np.arange(batch.num_rows), lengths)
        last = place == lengths[owner] - 1
        before = np.where(place == 0, START, np.roll(role, 1))
        extra = _extras(batch)
        calls = np.zeros(len(text), bool)
        for row, keys in extra.items():
            marks = [bool(record.calls_of(turn)) for turn in keys[: lengths[row]]]
            calls[offsets[row] : offsets[row] + len(marks)] = marks
        return cls(text, role, before, owner, place, last, blank(text), calls, offsets, extra)

    @property
    def records(self) -> int:
        """Return how many records the batch has."""
        return len(self.offsets) - 1

    def by(self, *roles: int) -> Mask:
        """[turns] whether the turn has one of the roles."""
        return _any_of(self.role, roles)

    def after(self, *roles: int) -> Mask:
        """[turns] whether the turn before it in the record has one of the roles."""
        return _any_of(self.before, roles)

    @property
    def answered(self) -> Mask:
        """[records] whether the assistant has a turn, empty or not."""
        return np.bincount(self.owner[self.by(ASSISTANT)], minlength=self.records) > 0


def _any_of(values: npt.NDArray[np.int64], wanted: Iterable[int]) -> Mask:
    mask = np.zeros(len(values), bool)
    for one in wanted:
        mask |= values == one
    return mask


def _extras(batch: Batch) -> dict[int, Extra]:
    if MESSAGES_EXTRA not in batch.schema.names:
        return {}
    column = batch.column(MESSAGES_EXTRA)
    if column.null_count == batch.num_rows:
        return {}
    return {row: orjson.loads(value) for row, value in enumerate(column.to_pylist()) if value is not None}


def rejected(batch: Batch) -> pa.RecordBatch | None:
    """Return the rejected replies as conversations of their own; None where no record is a pair."""
    if REJECTED not in batch.schema.names or batch.column(REJECTED).null_count == batch.num_rows:
        return None
    return pa.record_batch({"messages": batch.column(REJECTED)})


def series(texts: pa.StringArray) -> pl.Series:
    """Return the texts as polars has them."""
    made = pl.from_arrow(texts)
    assert isinstance(made, pl.Series)
    return made


def found(texts: pa.StringArray | pl.Series, pattern: str) -> Mask:
    """[n] whether the pattern is found in each text, none of them null, in linear time.

    Polars rather than Arrow: it keeps the last 32 expressions that it compiled, and compiling costs more than looking.
    """
    texts = texts if isinstance(texts, pl.Series) else series(texts)
    return texts.str.contains(pattern).to_numpy()


def anywhere(texts: pl.Series, *patterns: str) -> tuple[bool, ...]:
    """Tell of each pattern whether it is found in any text, or across the border of two: a quick no for a whole batch.

    Not for patterns that ask where a text begins or ends.
    """
    if not len(texts) or not patterns:
        return (False,) * len(patterns)
    whole = texts.str.join("\n").alias("text").to_frame()
    text = pl.col("text")
    answers = whole.select(text.str.contains(pattern).alias(str(i)) for i, pattern in enumerate(patterns))
    return tuple(map(bool, answers.row(0)))


def blank(texts: pa.StringArray | pl.Series) -> Mask:
    """[n] whether a text has nothing that can be read."""
    return found(texts, rules.load("conversation").data["blank"])


def either(patterns: Iterable[str]) -> str:
    """Return one pattern that finds what any of the patterns finds."""
    return "|".join(f"(?:{pattern})" for pattern in patterns)
