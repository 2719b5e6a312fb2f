"""Deduplication against earlier releases: what one of them holds is dropped, without its text.

The indexes' records stand behind the run's own in every list of records: they share keys with them as these do
with each other, and are compared by the same rule. They count as kept before any record of the run, so they
are compared with first, and what they hold takes no part in the run's own deduplication.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationInfo, field_serializer, model_validator

from curate.errors import RecipeError
from curate.kernels import cluster, survivor
from curate.kernels.cluster import Buckets
from curate.kernels.survivor import Census
from curate.kernels.text import Hashes
from curate.stage import Engine, SketchPart, StageOptions
from curate.stages.index import Index, verify
from curate.stages.resolved import DECISIONS, NONE_HELD, SIMILARITIES, Held, chosen

Ints = npt.NDArray[np.int64]


class AgainstOptions(StageOptions, ABC):
    """Options of a stage that can deduplicate against earlier releases."""

    stage: ClassVar[str]

    against: tuple[str, ...] = Field(
        (),
        description="Earlier releases with an index (output: {index: true}), by their folder or the index/ in it, "
        "relative to the recipe: records that one of them holds are dropped. Of equally similar records, the "
        "first release's stands.",
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
            found = [Index.open(self._beside / named, named, self.stage) for named in self.against]
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
    """Records of the run that an earlier release holds."""

    record: Ints  # [h] numbers, ascending
    by: Ints  # [h] numbers over all indexes' records
    similarity: npt.NDArray[np.float64]  # [h, 3] whole, prompt, response; NaN where there is none


@dataclass(frozen=True)
class Earlier:
    """The indexes that a stage deduplicates against, behind the run's own records."""

    indexes: tuple[Index, ...]
    own: tuple[SketchPart, ...]
    records: int  # of the run

    @classmethod
    def of(cls, options: AgainstOptions, own: Sequence[SketchPart], records: int, engine: Engine) -> Earlier:
        """Open the stage's indexes and hold their files to the manifests. Raises IntegrityError."""
        indexes = options.earlier()
        verify(indexes, engine)
        return cls(indexes, tuple(own), records)

    @property
    def parts(self) -> list[Any]:
        """Return the parts of the run, then those of the indexes."""
        return [*self.own, *self.theirs]

    @property
    def theirs(self) -> list[Any]:
        """Return the parts of all indexes (curate.stages.index.IndexPart)."""
        return [part for index in self.indexes for part in index.parts]

    @property
    def total(self) -> int:
        """Return the number of all records."""
        return self.records + sum(index.records for index in self.indexes)

    def split(self, found: Buckets) -> tuple[Buckets, Buckets]:
        """Return the buckets that have records of both run and indexes, and all buckets of the run alone."""
        if not self.indexes:
            return Buckets(found.members[:0], found.ends[:0]), found
        own = found.members < self.records
        of = cluster.bucket_of(found)
        ours = np.bincount(of[own], minlength=len(found.ends))
        both = (ours > 0) & (ours < np.diff(found.ends, prepend=0))
        return cluster.selected(found, both[of]), cluster.merge([cluster.selected(found, own, 2)])

    def left(self, found: Buckets, held: Pairs) -> Buckets:
        """Return the run's buckets without the records that a release holds."""
        if not len(held.record):
            return found
        gone = np.zeros(self.records, bool)
        gone[held.record] = True
        return cluster.merge([cluster.selected(found, ~gone[found.members], 2)])

    def equal(self, met: Buckets, hashed: Callable[[Ints], Hashes]) -> Pairs:
        """Return which of the run's records in these buckets a release has too.

        ``hashed`` returns the two halves [n, 2] of the content hashes of the run's records of these numbers.
        """
        numbers = np.unique(met.members).astype(np.int64)
        ours, theirs = np.split(numbers, [np.searchsorted(numbers, self.records)])
        halves = [np.empty((0, 2), np.uint64), hashed(ours) if len(ours) else np.empty((0, 2), np.uint64)]
        for table in chosen(self.theirs, theirs - self.records, ["high", "low"]):
            halves.append(np.column_stack([column.to_numpy() for column in table.columns]))
        high, low = np.concatenate(halves).T
        is_own = numbers < self.records
        order = np.lexsort((numbers, is_own, low, high))  # of equal ones, those of releases come first
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(high[order]) != 0) | (np.diff(low[order]) != 0)
        first = order[np.flatnonzero(new)][np.cumsum(new) - 1]
        held = is_own[order] & ~is_own[first]
        record, by = numbers[order[held]], numbers[first[held]] - self.records
        similarity = np.full((len(record), 3), np.nan)
        similarity[:, 0] = 1.0
        ascending = np.argsort(record)
        return Pairs(record[ascending], by[ascending], similarity)

    def decided(self, pairs: Pairs) -> Held:
        """Return the decisions on the records that a release holds."""
        if not self.indexes:
            return NONE_HELD
        own = [*survivor.KEYS, *survivor.COLUMNS.names]
        census = Census.take(pairs.record, chosen(self.own, pairs.record, own))
        kept, of = np.unique(pairs.by, return_inverse=True)
        ends = np.cumsum([index.records for index in self.indexes], dtype=np.int64)
        release = np.searchsorted(ends, kept, side="right")
        places = kept - np.concatenate([[0], ends])[release]
        marks = [
            f"{self.indexes[r].root}\0{place}".encode()
            for r, place in zip(release.tolist(), places.tolist(), strict=True)
        ]
        names = [hashlib.blake2b(mark, digest_size=8).hexdigest() for mark in marks]
        columns = {
            "row": pa.array(census.row),
            "id": _ids(self.own, pairs.record),
            "kept_id": _ids(self.theirs, kept).take(pa.array(of)),
            "cluster": pa.array(names, pa.string()).take(pa.array(of)),
            "release": pa.array(release[of].astype(np.int32)),
        }
        for name, values in zip(SIMILARITIES, pairs.similarity.T, strict=True):
            columns[name] = pa.array(values, mask=np.isnan(values))
        arrays = [columns.get(f.name, pa.nulls(len(pairs.record), f.type)) for f in DECISIONS]
        counts = np.bincount(release[of], minlength=len(self.indexes)).tolist()
        releases = [
            {**index.about, "records": index.records, "dropped": count}
            for index, count in zip(self.indexes, counts, strict=True)
        ]
        return Held(pa.table(arrays, schema=DECISIONS), census.file, census.files, releases)


def _ids(parts: Sequence[Any], records: Ints) -> pa.ChunkedArray:
    tables = chosen(parts, records, ["id"])
    return pa.chunked_array([chunk for table in tables for chunk in table.column("id").chunks], pa.string())
