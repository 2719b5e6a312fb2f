"""What a stage reads from the disk of the machine on which a run began, put where workers on other machines read it.

A stage that does has a method ``carried(store)``: it puts what it reads there and returns the stage that reads it
there. Needed where an engine's workers are on other machines, and only there.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from curate.io.store import Store

_WHOLE = ".whole"  # in a folder that was carried: written last
_fetched: dict[Carried, Path] = {}


@dataclass(frozen=True)
class Carried:
    """A file or folder in a store. Small, hashable and picklable."""

    store: Store
    name: str

    def here(self) -> Path:
        """Return its local path. From object storage it is fetched, once per process, with which the copy goes."""
        if not self.store.is_remote:
            return self.store.path / self.name
        if self not in _fetched or not _fetched[self].exists():
            folder = Path(tempfile.mkdtemp(prefix="curate-carried-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            for name in self.store.sizes():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with self.store.reading(name) as path:
                    shutil.copyfile(path, folder / name)
            _fetched[self] = folder / self.name
        return _fetched[self]


def carry(path: Path, store: Store, digest: str) -> Carried:
    """Put a local file or folder into a store, unless it is there. digest: of its content, in hex."""
    folder = store.child(digest)
    if not folder.exists(_WHOLE):
        with folder.making(_WHOLE) as partial:
            if path.is_dir():
                shutil.copytree(path, partial / path.name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
            else:
                shutil.copyfile(path, partial / path.name)
            (partial / _WHOLE).touch()
    return Carried(folder, path.name)
