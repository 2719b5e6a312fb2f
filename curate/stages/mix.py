"""Stage ``mix``: how much of each group a release holds, and which records are kept apart to validate with.

Which of a group's records stay is told by their rank, a keyed hash of their content as it was read: not by their
place, their order or the worker. So the same records stay however they are read, and a larger cap keeps all that a
smaller one keeps. No record is taken twice: whoever wants more of a group than there is trains more epochs of it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, field_validator, model_validator

from curate.record import Batch
from curate.stage import Engine, Sketches, StageOptions
from curate.stages.mixing import ranks as _ranks
from curate.stages.mixing import sides
from curate.stages.mixing.groups import Dimension, groups
from curate.stages.mixing.limits import Resolving, dimensions
from curate.stages.mixing.mixed import TRAIN, Mixed, column_of
from curate.stages.mixing.sides import CLUSTERS

Much: TypeAlias = Annotated[int, Field(ge=0, strict=True)]
Weight: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_SPLIT_NAME = r"[a-z][a-z0-9_]*"


class Mix:
    """Keeps of each group no more than asked for (barrier), and states in which split a record is."""

    name: ClassVar[str] = "mix"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ("licenses",)

    class Options(StageOptions):
        """Caps, weights and splits; at least one of them. Groups are named as ``by`` tells them."""

        caps: dict[Dimension, dict[str, Much]] = Field(
            default_factory=dict,
            description="by source, license, language or task: the most that a group may have; '*' caps each group "
            "that is not named. {language: {de: 500}}",
        )
        weights: dict[Dimension, dict[str, Weight]] = Field(
            default_factory=dict,
            description="by one of these: the shares that the groups shall have of what is left by the caps, in "
            "proportion; '*' stands for all groups that are not named, together; 0 takes a group out. The total is "
            "the largest that meets them: no record is taken twice. {source: {forum: 0.3, '*': 0.7}}",
        )
        size: int | None = Field(
            None, ge=1, strict=True, description="the most that all groups may have together"
        )
        count: Literal["records", "bytes"] = Field(
            "records",
            description="what caps, weights and size count: records, or bytes of their content in UTF-8",
        )
        splits: dict[str, int | float] = Field(
            default_factory=dict,
            description="what is kept apart of the records that stay, by name: a share (0.02), which keeps a record "
            "on its side in later releases too, or at most so many records; the rest is 'train'. {validation: 0.02}",
        )
        seed: int = Field(1, ge=0, description="another seed takes another sample")

        @field_validator("splits", mode="after")
        @classmethod
        def _splits(cls, value: dict[str, int | float]) -> dict[str, int | float]:
            return _checked_splits(value)

        @model_validator(mode="after")
        def _asks(self) -> Mix.Options:
            if not (self.caps or self.weights or self.size or self.splits):
                raise ValueError(
                    "found nothing to do; allowed: caps, weights, size or splits; write {caps: {source: {forum: 500}}}"
                )
            if len(self.weights) > 1:
                names = ", ".join(sorted(self.weights))
                raise ValueError(
                    f"weights: found {len(self.weights)} ({names}); allowed: one of these, as shares by one seldom "
                    "leave those by another; make the others caps"
                )
            for by, shares in self.weights.items():
                if not sum(shares.values()) > 0:
                    raise ValueError(f"weights: all of {by} are 0; allowed: at least one above 0")
            return self

        def notes(self) -> list[str]:
            """Say what the sample is, for the datasheet."""
            told = []
            if self.caps or self.weights or self.size:
                told.append(
                    "Of each group that has more than asked for, the records of the lowest ranks were kept: a keyed "
                    "hash of a record's content, so that chance chose, and chooses the same again. None was repeated."
                )
            if self.splits:
                told.append(
                    "Records of one normalised prompt, and those that one cluster links, stand on one side of a "
                    "split. Records alike to a lesser degree than the deduplicating stages look for may stand on "
                    "both."
                )
            return told

    def __init__(self, options: Options) -> None:
        self.options = options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return each record's groups, key and, as asked for, size, prompt and clusters."""
        options = self.options
        high, low = _ranks.keys(batch, options.seed)
        columns: dict[str, Any] = {"high": high, "low": low}
        columns |= {column_of(by): groups(batch, by) for by in dimensions(options) if by != "source"}
        if options.count == "bytes":
            columns["bytes"] = _ranks.content_bytes(batch)
        if options.splits:
            columns["prompt"] = sides.prompts(batch)
            columns |= dict(zip(CLUSTERS, sides.clusters(batch), strict=True))
        return pa.record_batch({name: pa.array(column) for name, column in columns.items()})

    def resolve(self, sketches: Sketches, engine: Engine) -> Mixed:
        """Find the limits of each dimension, one after the other, then those of the splits.

        Raises RecipeError for a group that no record is in, and for one that has no weight.
        """
        return Resolving(self.options, sketches, engine).resolved()


def _checked_splits(value: dict[str, int | float]) -> dict[str, int | float]:
    for name, size in value.items():
        if not re.fullmatch(_SPLIT_NAME, name) or name == TRAIN:
            raise ValueError(
                f"{name!r}: allowed: a name of a-z, 0-9 and '_' that is not {TRAIN!r}, which the rest is; rename it"
            )
        if isinstance(size, bool) or not (0 < size < 1 if isinstance(size, float) else size >= 1):
            raise ValueError(
                f"{name}: found {size}; allowed: a share above 0 and below 1, or a whole number of records; "
                f"write {{{name}: 0.02}} or {{{name}: 500}}"
            )
    if (whole := sum(size for size in value.values() if isinstance(size, float))) >= 1:
        raise ValueError(
            f"the shares come to {whole:g}; allowed: less than 1, so that some are left to train on"
        )
    return value
