"""In which order records are given, and to whom: arithmetic alone, nothing is read.

*Blocks* (row groups) are put in an order, *windows* of neighbouring blocks are cut from it, and the records of a
window are put in an order. Both orders sort by keys of Philox4x64-10 (Salmon et al., "Parallel random numbers:
as easy as 1, 2, 3", SC11), seeded through numpy's SeedSequence by (seed, epoch, which): numpy promises the streams of
both for all versions (NEP 19), which it does not of its own permutations. Where one window holds all blocks, every
order of the records is as likely as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
_BLOCKS, _WITHIN = 0, 1  # which order a key is for


class Window(NamedTuple):
    """Blocks that are in memory together."""

    number: int
    begin: int  # how many records of the order stand before it
    blocks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of all records in one epoch."""

    sizes: Sequence[int]  # records of each block
    seed: int | None  # None: as they lie in the shards
    epoch: int
    window: int | None  # blocks mixed together; None: all

    @property
    def records(self) -> int:
        """Return how many there are."""
        return sum(self.sizes)

    def windows(self) -> Iterator[Window]:
        """Yield the windows, in order. Without a shuffle each is one block."""
        count = len(self.sizes)
        order = np.arange(count) if self.seed is None else self._shuffled(_BLOCKS, 0, count)
        step = 1 if self.seed is None else self.window or max(count, 1)
        begin = 0
        for number, start in enumerate(range(0, count, step)):
            blocks = tuple(order[start : start + step].tolist())
            yield Window(number, begin, blocks)
            begin += sum(self.sizes[block] for block in blocks)

    def rows(self, window: Window) -> Ints:
        """Return the order within a window [its records]: places in its blocks, one after the other."""
        count = sum(self.sizes[block] for block in window.blocks)
        return np.arange(count) if self.seed is None else self._shuffled(_WITHIN, window.number, count)

    def _shuffled(self, which: int, number: int, count: int) -> Ints:
        seeds = np.random.SeedSequence((self.seed or 0, self.epoch, which, number))
        return np.argsort(np.random.Philox(seeds).random_raw(count), kind="stable").astype(np.int64)


@dataclass(frozen=True, slots=True)
class Share:
    """Which records of the order one reader is given.

    Ranks take turns, record by record; a rank's workers take turns, batch by batch, as torch's DataLoader asks them.
    So the records of all ranks' k-th batches are the same for any number of workers, and together the same for any
    number of ranks whose batches together are as large.
    """

    start: int = 0  # records of the order that nobody is given
    stop: int | None = None  # where it ends; None: at its end
    rank: int = 0
    world: int = 1
    worker: int = 0
    workers: int = 1
    batch: int = 1

    def of(self, begin: int, count: int) -> Ints:
        """Return which of ``count`` records from place ``begin`` on are the reader's: places from 0, ascending."""
        end = begin + count if self.stop is None else min(begin + count, self.stop)
        head = self.start + self.rank
        first = head if head >= begin else begin + (head - begin) % self.world
        places: Ints = np.arange(first, max(end, first), self.world, dtype=np.int64)
        turns = (places - head) // self.world // self.batch
        mine: Ints = places[turns % self.workers == self.worker] - begin
        return mine
