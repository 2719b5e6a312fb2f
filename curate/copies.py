"""Copies, on this machine's disk, of release folders in object storage."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from fsspec.registry import known_implementations

from curate.errors import CurateError, RecipeError, StorageError
from curate.io import files
from curate.io.store import Store

_COLLAPSED = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?=[^/])")  # what pathlib makes of a URL
_KEY = "suppression.key"  # which is looked for beside a release


def address(out: str | Path) -> str | None:
    """Return the URL of a release folder in object storage, None for a local folder.

    Raises RecipeError for a URL with a password, which would stand in the shell's history and in lists of processes,
    and for one where no release can be.
    """
    url = _COLLAPSED.sub(r"\1://", str(out), count=1)
    scheme, found, rest = url.partition("://")
    if found and not files.is_remote(url):
        raise RecipeError(f"{url}: is a folder of this machine; name it by its path, without {scheme}://")
    if not found:
        return None
    if files.public(url) != url:
        raise RecipeError(
            f"{files.public(url)}: was given with a user, a password or a signature; leave them out, and put "
            "credentials into the environment"
        )
    if scheme not in known_implementations:
        known = ", ".join(f"{name}://" for name in ("s3", "gs", "az"))
        raise RecipeError(f"{url}: no storage of the kind {scheme}:// is known; a release can be on {known}")
    odd = {"", ".", ".."} & {*rest.rstrip("/").split("/")}  # object storage has no folders to go up from
    if scheme in ("http", "https", "hf") or "::" in url or "/" not in rest.strip("/") or odd:
        raise RecipeError(
            f"{url}: is no place for a release; name a folder in a bucket, such as s3://bucket/release"
        )
    return url.rstrip("/")


class Copy:
    """A folder on this machine's disk for a release in object storage; it goes with this object."""

    def __init__(self, out: str | Path) -> None:
        url = address(out)
        assert url is not None
        self.url = url
        self.store = Store(url)
        top = tempfile.mkdtemp(prefix="curate-")
        self.remove = weakref.finalize(self, shutil.rmtree, top, ignore_errors=True)
        self.path = Path(top) / "copy"  # in a folder of its own: keys are looked for beside a release
        self.path.mkdir()

    def whole(self) -> Path:
        """Return the folder with the whole release in it."""
        there = self.store.sizes()
        self.fetch({name: size for name, size in there.items() if not name.startswith("work/")})
        return self.path

    def fetch(self, sizes: Mapping[str, int]) -> None:
        """Copy these files here, unless they are. Raises StorageError where the disk has no room for them."""
        missing = [name for name, size in sizes.items() if not self._is_here(name, size)]
        needed, free = sum(sizes[name] for name in missing), shutil.disk_usage(self.path).free
        if needed > free:
            raise StorageError(
                f"{self.url}: its copy needs {needed / 1e9:,.1f} GB, and {tempfile.gettempdir()} has "
                f"{free / 1e9:,.1f} GB free; free some, or name a folder on a larger disk in TMPDIR"
            )
        for name in missing:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        self.store.each(lambda name: self.store.download(name, self.path / name), missing)
        for name in missing:
            if (found := (self.path / name).stat().st_size) != sizes[name]:
                raise StorageError(
                    f"{self.url}/{name}: has {found:,} bytes, and had {sizes[name]:,} a moment ago: somebody is "
                    "writing there; try again"
                )

    def _is_here(self, name: str, size: int) -> bool:
        path = self.path / name
        return path.is_file() and path.stat().st_size == size


@contextmanager
def told(copy: Copy) -> Iterator[None]:
    """Let errors name the release in object storage, not its copy."""

    def of(text: str) -> str:
        text = text.replace(str(copy.path), copy.url).replace(str(copy.path.resolve()), copy.url)
        beside = f"{_KEY} (beside a release in object storage none is looked for: name it with key_file, or --key-file)"
        for parent in (copy.path.parent, copy.path.resolve().parent):
            text = text.replace(str(parent / _KEY), beside)
        return text

    try:
        yield
    except RecipeError as error:
        raise type(error)([of(problem) for problem in error.problems]) from None
    except CurateError as error:
        raise type(error)(of(str(error))) from None
