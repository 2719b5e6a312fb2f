"""Deduplication against earlier releases: what one of them holds is dropped, without its text.

The indexes' records stand behind the run's own in every list of records: they share keys with them as these do
with each other, and are compared by the same rule. They count as kept before any record of the run, so they
are compared with first, and what they hold takes no part in the run's own deduplication.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, model_validator

from curate.errors import RecipeError
from curate.io import files
from curate.io.store import Store
from curate.stage import Engine, StageOptions
from curate.stages.dedup.deciding import Totals, count_lines, marked, similarities
from curate.stages.dedup.decisions import FILE, LINES
from curate.stages.dedup.index import Index, verify
from curate.stages.dedup.shuffle import Group, grouped

Ints = npt.NDArray[np.int64]


class AgainstOptions(StageOptions, ABC):
    """Options of a stage that can deduplicate against earlier releases."""

    stage: ClassVar[str]

    against: tuple[str, ...] = Field(
        (),
        description="Earlier releases with an index (output: {index: true}), by their folder or the index/ in it, "
        "relative to the recipe, or its URL in object storage: records that one of them holds are dropped. Of "
        "equally similar records, the first release's stands.",
    )

    _beside: Path = PrivateAttr(default=Path())
    _earlier: tuple[Index, ...] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _is_beside(self, info: ValidationInfo) -> AgainstOptions:
        self._beside = Path((info.context or {}).get("folder", ".")).absolute()
        return self

    @abstractmethod
    def scheme(self) -> dict[str, Any]:
        """Return what the stage's signatures depend on: only indexes of an equal scheme can be compared."""

    def earlier(self) -> tuple[Index, ...]:
        """Open the indexes. Raises RecipeError for one that is not there or does not fit, IntegrityError."""
        if self._earlier is None:
            stores = [
                Store.at(named if files.is_remote(named) else self._beside / named) for named in self.against
            ]
            found = [
                Index.open(store, named, self.stage)
                for store, named in zip(stores, self.against, strict=True)
            ]
            for place, index in enumerate(found):
                index.check(self.scheme())
                if first := next((one.named for one in found[:place] if one.root == index.root), None):
                    raise RecipeError(f"found {index.named!r}, the same release as {first!r}; take one out")
            self._earlier = tuple(found)
        return self._earlier

    def fingerprint(self) -> str | None:
        """Return the roots of the releases: what they hold counts, not where they lie. Raises as earlier()."""
        return f"against {' '.join(index.root for index in self.earlier())}" if self.against else None

    def notes(self) -> list[str]:
        """Return which releases count as kept before any record of this run."""
        return [
            f"Deduplicated against the index of release {index.name} {index.version} (root `{index.root}`, "
            f"{index.records:,} records): what it holds was dropped here."
            for index in self.earlier()
        ]

    @field_serializer("against", when_used="json")
    def _by_name(self, against: tuple[str, ...]) -> list[str]:
        return [f"{index.name} {index.version}" for index in self.earlier()]


class Pairs(NamedTuple):
    """Records of the run that an earlier release holds. Both go by their index in a table of ROWS."""

    record: Ints  # [h]
    by: Ints  # [h]
    similarity: npt.NDArray[np.float64]  # [h, 3] whole, prompt, response; NaN where there is none


NO_PAIRS = Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)))


@dataclass(frozen=True)
class Earlier:
    """The indexes that a stage deduplicates against, behind the run's own records."""

    indexes: tuple[Index, ...]

    @classmethod
    def of(cls, options: AgainstOptions, engine: Engine) -> Earlier:
        """Open the stage's indexes and hold their files to the manifests. Raises IntegrityError."""
        indexes = options.earlier()
        verify(indexes, engine)
        return cls(indexes)

    @property
    def records(self) -> int:
        """Return the number of the indexes' records."""
        return sum(index.records for index in self.indexes)

    @property
    def roots(self) -> tuple[str, ...]:
        """Return what names the releases."""
        return tuple(index.root for index in self.indexes)

    @property
    def releases(self) -> list[dict[str, Any]]:
        """Return name, version, root and number of records of each release."""
        return [{**index.about, "records": index.records} for index in self.indexes]

    def behind(self, groups: list[Group], most: int) -> list[Group]:
        """Return the groups of the run, and behind them those of the indexes, of at most so many records."""
        for number, index in enumerate(self.indexes):
            sizes = [part.records for part in index.parts]
            groups = [*groups, *grouped(index.parts, sizes, most, groups, number)]
        return groups


def with_held(
    rows: pa.RecordBatch, pairs: Pairs, roots: Sequence[str], lines: pa.Table, totals: Totals
) -> pa.Table:
    """Return the decisions on the records that a release holds among others, and count them."""
    if not len(pairs.record):
        return lines
    release, place = (rows.column(name).to_numpy()[pairs.by] for name in ("release", "row"))
    names = marked(f"{roots[r]}\0{p}" for r, p in zip(release.tolist(), place.tolist(), strict=True))
    ids, at, by = rows.column("id"), pa.array(pairs.record), pa.array(pairs.by)
    columns = {
        FILE: rows.column("file").take(at),
        "row": rows.column("row").take(at),
        "id": ids.take(at),
        "kept_id": ids.take(by),
        "kept": pa.nulls(len(at), pa.string()),
        "cluster": names,
        "release": pa.array(release),
        **similarities(pairs.similarity, np.zeros(len(at), bool)),
    }
    held = pa.table([columns[name] for name in LINES.names], schema=LINES)
    totals.held.update(release.tolist())
    count_lines(totals, held)
    both = pa.concat_tables([lines, held])
    order = np.lexsort((both.column("row").to_numpy(), both.column(FILE).to_numpy()))
    return both.take(pa.array(order)).combine_chunks()
