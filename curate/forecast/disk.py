"""Disk: what is free where a run writes, and a cheap refusal of a run that cannot fit."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from curate.errors import StorageError
from curate.forecast.growth import Scale
from curate.io.files import is_remote
from curate.io.scan import SourcePlan
from curate.pipeline import segments
from curate.recipe import Recipe

# What a run writes at least, as shares of its input and bytes per record. Measured (benchmarks/disk.py) on 18
# instruction sets, on 47 MB of documents and on random words; stated is the least of them, so that no run that would
# fit is refused. Text that compresses better than any of these, or mostly duplicates, takes less.
WORK_SHARE = 0.25  # of a segment: records as Arrow, compressed by lz4
SKETCH_BYTES = 60  # of a record in a segment that a barrier ends
RELEASE_SHARE = 0.2  # data/, records/, ledger/ …, compressed by zstd
RELEASE_BYTES = 60


def least(recipe: Recipe, plans: Sequence[SourcePlan]) -> tuple[int, int]:
    """Return the bytes that work/ and the release take at least."""
    scale = Scale.of(plans)
    parts = segments(recipe.stages)
    sketches = sum(part.sketches is not None for part in parts)
    work = len(parts) * WORK_SHARE * scale.nbytes + sketches * SKETCH_BYTES * scale.records
    release = RELEASE_SHARE * scale.nbytes + RELEASE_BYTES * scale.records
    return round(work), round(release)


class Place(NamedTuple):
    """Where a run writes, and what there is."""

    named: str
    holds_work: bool  # not only the release
    free: int  # bytes, those among them that an earlier run's work/ takes and this one uses again
    replaced: int  # bytes of the earlier release there, which lies beside the new one until that is whole


def place(out: str | Path) -> Place:
    """Return the place of a release folder, or of a URL: then the machine's own disk (TMPDIR) has the release first."""
    if isinstance(out, str) and is_remote(out):
        where = Path(tempfile.gettempdir())
        return Place(f"TMPDIR ({where}), where the release is made", False, room(where), 0)
    out = Path(out)
    held = _size(out / "work")
    return Place(f"the disk of {out}", True, room(out) + held, _size(out) - held)


def check_disk(recipe: Recipe, plans: Sequence[SourcePlan], out: str | Path) -> None:
    """Raise StorageError if a disk has too little room for what the run will write at least.

    Cheap: from the scan's sizes alone. What an earlier run left in work/ counts as free: it is used again, or goes.
    """
    work, release = least(recipe, plans)
    where = place(out)
    needed = work + release if where.holds_work else release
    if where.free < needed:
        parts = f"its units {shown_size(work)}, the release {shown_size(release)}"
        raise StorageError(
            f"{where.named} has {shown_size(where.free)} free, and this run needs {shown_size(needed)} there at least "
            f"({parts if where.holds_work else 'the release'}); free some, name a folder on a larger disk, or run "
            "fewer sources at a time; nothing was written"
        )


def room(folder: Path) -> int:
    """Return the bytes free on the disk of a folder, which need not be there yet."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def shown_size(nbytes: int) -> str:
    """Return a size for people, as a recipe writes it: 1.5 GB."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if nbytes >= size:
            return f"{nbytes / size:,.1f} {unit}"
    return f"{nbytes / 1000:,.0f} KB"


def _size(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                status = Path(where, name).lstat()
            except OSError:  # it has gone
                continue
            total += getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
    return total
