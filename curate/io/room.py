"""A disk that is full: whichever library met it, one clear line says which disk it is and what to do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.errors import CurateError, StorageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_WORDS = tuple(
    os.strerror(code) for code in sorted(_FULL)
)  # as libraries quote them that raise errors of their own


@contextmanager
def noticed(*folders: Path) -> Iterator[None]:
    """Turn what goes wrong inside because a disk is full into a StorageError; anything else passes.

    folders: where the block writes, besides the folder of temporary files.
    """
    try:
        yield
    except CurateError:
        raise
    except Exception as error:
        if (told := full(error, *folders)) is None:
            raise
        raise told from None


def full(error: BaseException, *folders: Path) -> StorageError | None:
    """Return the error that says so if a full disk is behind another error, None if something else is."""
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    if not any(_is_full(one) for one in chain):
        return None
    named = [
        Path(one.filename) for one in chain if isinstance(one, OSError) and isinstance(one.filename, str)
    ]
    where = _tightest([path.parent for path in named] or [*folders, Path(tempfile.gettempdir())])
    free = shutil.disk_usage(where).free
    over = (
        "a quota is used up"
        if any(getattr(one, "errno", 0) == errno.EDQUOT for one in chain)
        else "no space is left"
    )
    return StorageError(
        f"{where}: {over} on its disk ({free / 1e6:,.1f} MB free); what is finished is kept: make room there, or use "
        "another disk (--out for the release, TMPDIR for temporary files), then run the same command again"
    )


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL
    return not isinstance(error, CurateError) and any(words in str(error) for words in _WORDS)


def _tightest(folders: list[Path]) -> Path:
    """Return the folder with the least room; of one that is not there, what stands above it."""
    there = [
        next(path for path in (folder, *folder.absolute().parents) if path.is_dir()) for folder in folders
    ]
    return min(there, key=lambda folder: shutil.disk_usage(folder).free)
