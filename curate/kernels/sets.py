"""Shingle sets of the candidates on disk: written part by part, joined into one mapped array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from curate.kernels.parts import BITMAP, VIEWS, Sets


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


def join(folder: Path, names: Sequence[str]) -> Sets:
    """Join the files of :func:`write` into one, mapped: the records of all names in order."""
    whole = folder / "candidates.hashes"
    bounds, bitmaps = [], []
    written = 0
    with whole.open("wb") as out:
        for name in names:
            part = folder / f"{name}.hashes"
            with part.open("rb") as file:
                while block := file.read(1 << 24):
                    out.write(block)
            bounds.append(np.load(folder / f"{name}.bounds.npy") + written // 8)
            bitmaps.append(np.load(folder / f"{name}.bitmaps.npy"))
            written += part.stat().st_size
            for file_name in (f"{name}.hashes", f"{name}.bounds.npy", f"{name}.bitmaps.npy"):
                (folder / file_name).unlink()
    # An empty file cannot be mapped; it is what candidates without a shingle leave.
    hashes = np.memmap(whole, np.uint64, "r") if written else np.empty(0, np.uint64)
    none = np.empty((0, VIEWS + 1), np.int64), np.empty((0, BITMAP), np.uint64)
    return Sets(hashes, np.concatenate([none[0], *bounds]), np.concatenate([none[1], *bitmaps]))
