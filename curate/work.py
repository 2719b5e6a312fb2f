"""OUT/work: who works there, what commands make there, and what of it goes when they have finished."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from curate import lock
from curate.io.room import noticed

Note: TypeAlias = Callable[[str], None]
JOURNAL = "takedown/journal.json"  # in OUT/work: a take-down that is all prepared, and not all done
LOCK = lock.NAME
RUN = (
    "units",
    "resolved",
    "scan",
    "carried",
    "marks",
    "scores",
    "shards",
    "release",
    "replaced",
)  # what a run makes there
ALL = (*RUN, "takedown", "tune")  # what any command makes there
_MADE = {
    "units": re.compile(r"[0-9a-f]{32}(\.\d+\.partial)?"),
    "resolved": re.compile(r"[0-9a-f]{32}(\.\d+\.partial)?"),
    "scan": re.compile(r"[0-9a-f]{64}(\.json|\.\d+\.tmp)"),
}  # the names in those of them that hold what many processes make; nobody else's are touched


@contextmanager
def working(
    out: Path, fresh: bool, clears: Sequence[str] = ALL, note: Note = lambda text: None
) -> Iterator[Path]:
    """Hold OUT/work for one command alone; what it clears is gone when it has finished, and kept when it has not.

    Raises RecipeError with who holds it. note: is told what is left there because it is not ours.
    """
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    with noticed(out), lock.held(work / LOCK, str(out)):
        if fresh:
            clear(work, RUN)
        yield work
        clean(out, clears, note)
    if os.name == "nt":  # which removes no file that is open
        with suppress(OSError):
            (work / LOCK).unlink(missing_ok=True)
            work.rmdir()


def clean(out: Path, names: Sequence[str] = ALL, note: Note = lambda text: None) -> None:
    """Remove what commands left in OUT/work, and OUT/work itself if nothing else is in it."""
    work = out / "work"
    clear(work, names)
    if os.name != "nt":
        (work / LOCK).unlink(missing_ok=True)
    kept = {name for name in ALL if name not in names} | {LOCK}
    left = sorted(path for path in work.iterdir() if path.name not in kept) if work.is_dir() else []
    for path in left:
        note(f"{path}: holds what is not curate's; it is left as it is")
    with suppress(OSError):  # there is something left
        work.rmdir()


def is_made(name: str, parts: Sequence[str] = ALL) -> bool:
    """Tell whether commands make a file or folder of this name, from OUT/work, in these parts of it."""
    part, _, rest = name.partition("/")
    return part in parts and (part not in _MADE or bool(_MADE[part].fullmatch(rest.partition("/")[0])))


def clear(work: Path, names: Sequence[str] = ALL) -> None:
    """Remove these parts of OUT/work, by default all, but nothing in them that has a name of somebody else's."""
    for name in names:
        if name not in _MADE:
            shutil.rmtree(work / name, ignore_errors=True)
            continue
        for path in (work / name).glob("*"):
            if not is_made(f"{name}/{path.name}"):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        with suppress(OSError):
            (work / name).rmdir()
