"""Shingle sets of the candidates on disk: written part by part, joined into one mapped array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.kernels.parts import Shingling
from curate.kernels.text import Hashes, Offsets
from curate.record import Batch

VIEWS = 4  # sets of a record: prompt and response by words, then both by words and symbols


def write(
    folder: Path, name: str, batches: Iterable[Batch], rows: npt.NDArray[np.int64], how: Shingling
) -> None:
    """Write the sets of the records at ``rows`` (sorted positions in the batches' sequence).

    ``<name>.sizes.npy`` [len(rows), VIEWS] holds how many members each of a record's sets has,
    ``<name>.hashes`` the sets themselves, sorted, one after the other, as raw little-endian 64-bit numbers.
    """
    sizes = []
    with (folder / f"{name}.hashes").open("wb") as file:
        for batch in _chosen(batches, rows):
            members, bounds = _sets(batch, how)
            file.write(members.data)
            sizes.append(np.diff(bounds).reshape(-1, VIEWS))
    np.save(folder / f"{name}.sizes.npy", np.concatenate(sizes))


def _chosen(batches: Iterable[Batch], rows: npt.NDArray[np.int64]) -> Iterator[Batch]:
    start = 0
    for batch in batches:
        first, last = np.searchsorted(rows, (start, start + batch.num_rows))
        if first < last:
            yield batch.take(rows[first:last] - start)
        start += batch.num_rows


def _sets(batch: Batch, how: Shingling) -> tuple[Hashes, Offsets]:
    """Return each record's sets (Shingling.views), one after the other, and offsets [VIEWS * n + 1]."""
    from curate.kernels import compiled

    sides = how.views(batch)
    lengths = np.stack([np.diff(offsets) for _, offsets in sides], axis=1).ravel()
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    members = np.empty(bounds[-1], np.uint64)
    for part, (hashes, offsets) in enumerate(sides):
        # Entry j of a record's shingles moves from offsets[record] + j to bounds[VIEWS * record + part] + j.
        moved = np.repeat(bounds[part:-1:VIEWS] - offsets[:-1], np.diff(offsets))
        members[moved + np.arange(len(hashes))] = hashes
    set_bounds = np.empty_like(bounds)
    compiled.sort_sets(members, bounds, set_bounds)
    return members[: set_bounds[-1]], set_bounds


def join(folder: Path, names: Sequence[str]) -> tuple[Hashes, Offsets]:
    """Join the files of :func:`write` into one, mapped, and return it with bounds [n, VIEWS + 1].

    Record i (of all names in order) has as its set v ``hashes[bounds[i, v]:bounds[i, v + 1]]``.
    """
    sizes = np.concatenate([np.load(folder / f"{name}.sizes.npy") for name in names])
    whole = folder / "candidates.hashes"
    with whole.open("wb") as out:
        for name in names:
            with (folder / f"{name}.hashes").open("rb") as file:
                while block := file.read(1 << 24):
                    out.write(block)
            (folder / f"{name}.hashes").unlink()
            (folder / f"{name}.sizes.npy").unlink()
    ends = np.cumsum(sizes.ravel()).reshape(-1, VIEWS)
    bounds = np.column_stack([ends[:, -1] - sizes.sum(axis=1), ends])
    # An empty file cannot be mapped; it is what candidates without a shingle leave.
    return np.memmap(whole, np.uint64, "r") if ends[-1, -1] else np.empty(0, np.uint64), bounds
