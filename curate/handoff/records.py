"""The training records of a release, to be iterated over: shuffled by a seed, shared out, resumable in mid-epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq

from curate.errors import RecipeError
from curate.handoff.order import Ints, Order, Share, Window
from curate.handoff.shards import Block, Rows, training
from curate.handoff.turns import told
from curate.record import MESSAGES_EXTRA
from curate.yamlfile import nearest

if TYPE_CHECKING:
    from curate.handoff.torchdata import TorchRecords

WINDOW = 16  # row groups mixed together: up to 256 MB of content, or 262,144 records
_TAKEN = 1024  # records made into Python's objects at a time
_ORDER = (
    "release",
    "split",
    "shuffle",
    "window",
    "shard",
    "even",
)  # what an order, and a place in it, depend on


@dataclass
class Records:
    """The records of a split, as dicts (:func:`curate.handoff.turns.told`). Made by ``Release.records``."""

    blocks: tuple[Block, ...] = field(repr=False)
    release: str  # its root
    split: str | None = None
    columns: tuple[str, ...] | None = None
    shuffle: int | None = None
    epoch: int = 0
    window: int | None = WINDOW
    shard: tuple[int, int] = (0, 1)  # rank, and how many there are
    even: bool = False
    start: int = 0  # records of the order, of all ranks together, that are left out
    keep: Any = field(default=None, repr=False)  # the copy of a release in object storage, which goes with it
    _taken: int = field(default=0, init=False, repr=False)  # of the rank's records, by the latest iterator
    _resumed: int = field(default=0, init=False, repr=False)  # where the next iterator begins

    def __post_init__(self) -> None:
        problems = []
        rank, world = self.shard
        if not 0 <= rank < world:
            problems.append(f"shard {self.shard}: is (rank, number of ranks), ranks from 0")
        if self.shuffle is not None and (self.shuffle < 0 or self.epoch < 0):
            problems.append(f"shuffle {self.shuffle}, epoch {self.epoch}: are 0 or more")
        if self.window is not None and self.window < 1:
            problems.append(
                f"window {self.window}: is a number of row groups, at least 1, or None for all of them"
            )
        if problems:
            raise RecipeError(problems)

    def __getstate__(self) -> dict[str, Any]:
        return {
            **self.__dict__,
            "keep": None,
        }  # workers read the copy that the process that started them keeps

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self._taken, self._resumed = self._resumed, 0
        return self._counted(self.given(self.share(), self._taken))

    def _counted(self, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for record in records:
            self._taken += 1
            yield record

    def __len__(self) -> int:
        """Return how many records this rank is given."""
        share = self.share()
        stop = self.order.records if share.stop is None else share.stop
        return max(0, -(-(stop - share.start - share.rank) // share.world))

    @property
    def order(self) -> Order:
        """Return the order of this epoch."""
        return Order([block.records for block in self.blocks], self.shuffle, self.epoch, self.window)

    def share(self, worker: int = 0, workers: int = 1, batch: int = 1) -> Share:
        """Return what this rank is given of it, or one of its workers."""
        (rank, world), records = self.shard, self.order.records
        stop = records - (records - self.start) % world if self.even else None
        return Share(self.start, stop, rank, world, worker, workers, batch)

    def given(self, share: Share, skip: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the records of a share, but the first ``skip``. What is skipped is not read."""
        order = self.order
        for window in order.windows():
            rows = order.rows(window) if self._reaches(window, order, share) else np.zeros(0, np.int64)
            mine = rows[share.of(window.begin, len(rows))]
            if skip >= len(mine):
                skip -= len(mine)
                continue
            mine, skip = mine[skip:], 0
            yield from self._read(window, mine)

    def _reaches(self, window: Window, order: Order, share: Share) -> bool:
        count = sum(order.sizes[block] for block in window.blocks)
        return len(share.of(window.begin, count)) > 0

    def _read(self, window: Window, rows: Ints) -> Iterator[dict[str, Any]]:
        """Yield records of a window by their places in it."""
        blocks = [self.blocks[number] for number in window.blocks]
        ends = np.cumsum([block.records for block in blocks])
        owners = np.searchsorted(ends, rows, side="right")
        inside = rows - np.concatenate([[0], ends])[owners]
        needed = set(owners.tolist())
        held = {
            number: block.read(self._physical()) for number, block in enumerate(blocks) if number in needed
        }
        for begin in range(0, len(rows), _TAKEN):
            part = slice(begin, begin + _TAKEN)
            yield from _gathered(held, owners[part], inside[part])

    def _physical(self) -> list[str] | None:
        if self.columns is None:
            return None
        beside = (
            [MESSAGES_EXTRA] if "messages" in self.columns and MESSAGES_EXTRA in _names(self.blocks) else []
        )
        return [*dict.fromkeys([*self.columns, *beside])]

    def after(self, records: int) -> Records:
        """Return the rest of the epoch behind so many records of the order, of all ranks together."""
        return replace(self, start=self.start + records)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, each of which has its own order; the next iterator gives all of it."""
        self.epoch, self.start, self._taken, self._resumed = epoch, 0, 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the latest iterator is, to go on from in another process."""
        return {**self._settled(), "epoch": self.epoch, "start": self.start, "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator begin where another was. Raises RecipeError for a place in another order."""
        check_same(self._settled(), state)
        self.epoch, self.start = state["epoch"], state["start"]
        self._taken = self._resumed = state["taken"]

    def _settled(self) -> dict[str, Any]:
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in _ORDER
        }

    def torch(self, batch_size: int = 1) -> TorchRecords:
        """Return an ``IterableDataset`` of torch for a DataLoader of that ``batch_size`` and any number of workers."""
        from curate.handoff.torchdata import TorchRecords

        return TorchRecords(self, batch_size)


def opened(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    columns: Sequence[str] | None,
    split: str | None,
    verify: bool,
    keep: Any,
    **how: Any,
) -> Records:
    """Return the records of a release's folder; how: further fields of :class:`Records`. Raises as that and
    :func:`curate.handoff.shards.training` do, and RecipeError for a column that data/ does not have.
    """
    blocks = training(folder, manifest, split, verify=verify)
    wanted = None if columns is None else tuple(columns)
    if problems := _unknown(blocks, wanted):
        raise RecipeError(problems)
    return Records(blocks, manifest["root"], split, wanted, keep=keep, **how)


def check_same(mine: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    """Raise RecipeError where a state was taken of something else, with what differs."""
    problems = [
        f"state_dict: was taken with {name} {state.get(name)!r}, and here it is {value!r}"
        for name, value in mine.items()
        if state.get(name) != value
    ]
    if problems:
        raise RecipeError(
            [*problems, "a place in one order says nothing of another: load it into what it was taken of"]
        )


def _gathered(held: Mapping[int, Rows], owners: Ints, inside: Ints) -> Iterator[dict[str, Any]]:
    found: list[Any] = [None] * len(owners)
    for number in np.unique(owners).tolist():
        places = np.flatnonzero(owners == number)
        for place, row in zip(places.tolist(), held[number].take(inside[places]), strict=True):
            found[place] = row
    yield from map(told, found)


def _names(blocks: Sequence[Block]) -> list[str]:
    """Return the columns of data/; none where that is not known without reading records."""
    if not blocks or not blocks[0].path.endswith(".parquet"):
        return [MESSAGES_EXTRA]
    return list(pq.read_schema(blocks[0].path).names)


def _unknown(blocks: Sequence[Block], columns: Sequence[str] | None) -> list[str]:
    if columns is None or not blocks:
        return []
    known = (
        _names(blocks)
        if blocks[0].path.endswith(".parquet")
        else list(blocks[0].read(None).take(np.zeros(1, np.int64))[0])
    )
    return [
        f"columns: data/ has no column {name!r}{nearest(name, known)}"
        for name in columns
        if name not in known
    ]
