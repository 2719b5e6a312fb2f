"""What the tables are made of: the finished folders of one unit, and stretches of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.store import Store
from curate.outcome import batches
from curate.pipeline import Chain
from curate.record import FACT, Batch
from curate.stages.mixing.mixed import TRAIN

RECORDS = "records.arrow"
SPLIT = "split"  # the fact that tells which split a record is in
Ints: TypeAlias = npt.NDArray[np.int64]
_BUNDLE_RECORDS = (
    65_536  # of a task that reads whole units: small units share one, so that it is worth its while
)
_BUNDLE_UNITS = 32


@dataclass(frozen=True, slots=True)
class Trail:
    """One unit's finished folders, a segment each, and their files: what a worker needs to know of a chain.

    It may stand for a stretch of the unit: the records of rows ``first`` ≤ row < ``stop`` (None: to the end).
    offset: where in records.arrow a batch begins before which all rows are less than ``first``; 0: not known.
    split: the kept records are those of this split alone (None: all).
    """

    source: str
    folders: tuple[tuple[Store, tuple[str, ...]], ...]
    first: int = 0
    stop: int | None = None
    offset: int = 0
    split: str | None = None

    @classmethod
    def of(cls, chain: Chain) -> Trail:
        """Return the trail of a chain."""
        return cls(chain.plan.source.name, tuple((done.folder, done.files) for done in chain.done))

    def stretch(self, first: int, stop: int | None, offset: int) -> Trail:
        """Return the trail of a part of the unit."""
        return dataclasses.replace(self, first=first, stop=stop, offset=offset)

    def beside(self, folder: Store, file: str) -> Trail:
        """Return the trail with a file of another folder among its own."""
        return dataclasses.replace(self, folders=((folder, (file,)), *self.folders))

    @property
    def kept(self) -> Store:
        """Return the folder of the records that are kept in the end."""
        return self.folders[-1][0]

    def named(self, name: str) -> list[tuple[Store, str]]:
        """Return the files of that name, stages in order."""
        return [
            (folder, file) for folder, files in self.folders for file in files if file.startswith(f"{name}.")
        ]

    def batches(self, folder: Store, file: str, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Stream the stretch's rows of one of its files, which ascend. columns: with ``_row``."""
        yield from self._within(batches(folder, file, columns))

    def records(self) -> Iterator[Batch]:
        """Stream the stretch's kept records."""
        found = self._within(batch for _, batch in placed(self.kept, self.offset))
        if self.split is None:
            yield from found
            return
        for batch in found:
            for split, some in by_split(batch):
                if split == self.split:
                    yield some

    def _within(self, found: Iterator[Batch]) -> Iterator[Batch]:
        for batch in found:
            if not batch.num_rows:
                continue
            rows = batch.column("_row")
            if self.stop is not None and rows[0].as_py() >= self.stop:
                return
            if rows[-1].as_py() < self.first:
                continue
            if rows[0].as_py() < self.first or (self.stop is not None and rows[-1].as_py() >= self.stop):
                inside = pc.greater_equal(rows, self.first)
                if self.stop is not None:
                    inside = pc.and_(inside, pc.less(rows, self.stop))
                batch = batch.filter(inside)
            if batch.num_rows:
                yield batch


def by_split(batch: Batch) -> Iterator[tuple[str, Batch]]:
    """Yield the splits that a batch has records of, by name, with these records. One of no split is to train on."""
    if FACT + SPLIT not in batch.schema.names:
        yield TRAIN, batch
        return
    column = pc.fill_null(batch.column(FACT + SPLIT).cast(pa.string()), TRAIN)
    names = sorted(pc.unique(column).to_pylist())
    if len(names) == 1:
        yield names[0], batch
        return
    for name in names:
        yield name, batch.filter(pc.equal(column, name))


def in_order(splits: Iterable[str]) -> list[str]:
    """Return splits as a release has them: what is trained on, then the others by name."""
    return sorted(splits, key=lambda split: (split != TRAIN, split))


def placed(folder: Store, offset: int = 0) -> Iterator[tuple[int, Batch]]:
    """Stream the kept records of a unit, each batch with its offset in the file, from a batch's offset on."""
    with (
        folder.reading(RECORDS) as path,
        pa.OSFile(str(path)) as file,
        pa.ipc.open_stream(file) as stream,
    ):
        if offset:
            file.seek(offset)
        while True:
            at = file.tell()
            try:
                batch = stream.read_next_batch()
            except StopIteration:
                return
            yield at, batch


def bundles(chains: Sequence[Chain]) -> list[list[int]]:
    """Return numbers of chains, in order, that one task reads together.

    What depends on the input alone decides: the source, and how many records the units had.
    """
    found: list[list[int]] = []
    held, source = 0, ""
    for number, chain in enumerate(chains):
        if (
            not found
            or chain.plan.source.name != source
            or held + chain.unit.records > _BUNDLE_RECORDS
            or len(found[-1]) >= _BUNDLE_UNITS
        ):
            found.append([])
            held, source = 0, chain.plan.source.name
        found[-1].append(number)
        held += chain.unit.records
    return found
