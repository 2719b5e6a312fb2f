"""Shingle sets of the candidates on disk: written part by part, joined into one mapped array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from curate.kernels.parts import BITMAP, Sets


def write(folder: Path, name: str, found: Iterable[Sets]) -> None:
    """Write the sets of one part's records.

    ``<name>.hashes`` holds the sets as raw little-endian 64-bit numbers, ``<name>.bounds.npy`` where in it
    they are, ``<name>.bitmaps.npy`` the bitmaps: fields of curate.kernels.parts.Sets.
    """
    bounds, bitmaps, written = [], [], 0
    with (folder / f"{name}.hashes").open("wb") as file:
        for some in found:
            file.write(some.hashes.data)
            bounds.append(some.bounds + written)
            bitmaps.append(some.bitmaps)
            written += len(some.hashes)
    np.save(folder / f"{name}.bounds.npy", np.concatenate(bounds))
    np.save(folder / f"{name}.bitmaps.npy", np.concatenate(bitmaps))


def join(folder: Path, names: Sequence[str], memory: int) -> Sets:
    """Join the files of :func:`write`: the records of all names in order.

    Sets of up to ``memory`` bytes are read, larger ones mapped from one file.
    """
    if not names:
        return Sets(np.empty(0, np.uint64), np.zeros((0, 3), np.int64), np.zeros((0, BITMAP), np.uint64))
    files = [folder / f"{name}.hashes" for name in names]
    sizes = np.array([file.stat().st_size // 8 for file in files], np.int64)
    starts = np.cumsum(sizes) - sizes
    total = int(sizes.sum())
    whole = folder / "candidates.hashes"
    # An empty file cannot be mapped; it is what candidates without a shingle leave.
    fits = total * 8 <= memory or not total
    hashes = np.empty(total, np.uint64) if fits else np.memmap(whole, np.uint64, "w+", shape=total)
    for file, start, size in zip(files, starts.tolist(), sizes.tolist(), strict=True):
        with file.open("rb") as source:
            source.readinto(hashes[start : start + size].view(np.uint8).data)
        file.unlink()
    bounds = [
        np.load(folder / f"{name}.bounds.npy") + start
        for name, start in zip(names, starts.tolist(), strict=True)
    ]
    bitmaps = [np.load(folder / f"{name}.bitmaps.npy") for name in names]
    return Sets(hashes, np.concatenate(bounds), np.concatenate(bitmaps))
