"""Removing files from object storage: many with a request, and all of them."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from curate.errors import StorageError
from curate.io.patience import public

if TYPE_CHECKING:
    from curate.io.store import Store

_KEYS = 1000  # of one request to remove files, in S3
_ROUNDS = 3


def remove(store: Store, names: Iterable[str]) -> None:
    """Remove these files of a folder in object storage, and see to it that they are gone. Raises StorageError."""
    wanted = sorted(names)
    if any(map(glob.has_magic, (store.url, *wanted))):  # fsspec would take such a name for a pattern
        store.each(lambda name: remove_one(store, name), wanted)
        return
    for _ in range(_ROUNDS):  # s3fs does not tell of single files that could not be removed
        for i in range(0, len(wanted), _KEYS):
            group = wanted[i : i + _KEYS]
            store.ask(lambda fs, at, group=group: _many(fs, [f"{at}/{name}" for name in group]))  # type: ignore[misc]
        if not wanted or not (wanted := sorted(store.sizes().keys() & set(wanted))):
            return
    raise StorageError(
        f"{public(store.url)}/{wanted[0]}: could not be removed; check that the credentials may delete, and that "
        "nothing locks the file"
    )


def remove_one(store: Store, name: str) -> None:
    """Remove a file of a folder in object storage, if it is there."""
    store.ask(lambda fs, at: _one(fs, f"{at}/{name}"), name)


def _many(fs: Any, paths: list[str]) -> None:
    try:
        fs.rm(paths)
    except FileNotFoundError:  # of a library that stops at the first that is not there
        for path in paths:
            _one(fs, path)


def _one(fs: Any, path: str) -> None:
    try:
        fs.rm_file(path)
    except FileNotFoundError:
        return
