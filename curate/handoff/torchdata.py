"""The records of a release as an IterableDataset of torch: each record once over all ranks and workers.

The k-th batch of a DataLoader is the same for any number of workers, provided that it has this dataset's batch size and
hands on batches in their order, as it does unless told otherwise. So a training that has taken k batches goes on with
:meth:`TorchRecords.after`, whatever the workers had read ahead. torchdata's StatefulDataLoader asks each worker's copy
for its ``state_dict`` instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from curate.errors import RecipeError
from curate.handoff.records import check_same

if TYPE_CHECKING:
    from curate.handoff.records import Records


class TorchRecords(IterableDataset):  # type: ignore[misc]  # torch is not looked into
    """Records for a DataLoader. batch_size: that of the DataLoader; 1 where it has none."""

    def __init__(self, records: Records, batch_size: int = 1) -> None:
        if batch_size < 1:
            raise RecipeError(f"batch_size {batch_size}: at least 1, the DataLoader's own")
        self.records, self.batch_size = records, batch_size
        # In memory that workers share: those that outlive an epoch (persistent_workers) see the next one, too.
        self._epoch = torch.tensor(records.epoch).share_memory_()
        self._taken = self._resumed = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        records = self._here()
        worker, workers = _worker()
        self._taken, self._resumed = self._resumed, 0
        return self._counted(records.given(records.share(worker, workers, self.batch_size), self._taken))

    def _counted(self, records: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for record in records:
            self._taken += 1
            yield record

    def __len__(self) -> int:
        """Return how many records this rank is given, over all its workers."""
        return len(self._here())

    def _here(self) -> Records:
        epoch = int(self._epoch)
        return self.records if epoch == self.records.epoch else replace(self.records, epoch=epoch, start=0)

    def set_epoch(self, epoch: int) -> None:
        """Go to an epoch, each of which has its own order; the next iterator gives all of it."""
        self._epoch.fill_(epoch)
        self._taken = self._resumed = 0

    def after(self, batches: int) -> TorchRecords:
        """Return the rest of the epoch behind so many batches of every rank."""
        world = self.records.shard[1]
        return TorchRecords(self._here().after(batches * self.batch_size * world), self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Return where this process's copy is: in a worker, of what this worker is given."""
        return {**self._settled(), **self._here().state_dict(), "taken": self._taken}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iterator begin where another was. Raises RecipeError for a place in another order."""
        check_same(self._settled(), state)
        self.records.load_state_dict({**state, "taken": 0})
        self._epoch.fill_(self.records.epoch)
        self._taken = self._resumed = state["taken"]

    def _settled(self) -> dict[str, Any]:
        worker, workers = _worker()
        return {"batch_size": self.batch_size, "worker": worker, "workers": workers}


def _worker() -> tuple[int, int]:
    """Return this process's number among the DataLoader's workers, and how many there are."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
