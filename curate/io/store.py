"""The run's file system: a folder on a local disk or in object storage, through which workers share all they share.

Files and folders appear whole or not at all. On a disk that is temp + fsync + rename. Object storage has no rename:
there a file is one upload (in parts, where it is large), which appears when it is complete, and of a folder a chosen
file is uploaded last: a folder without it is not there.

Every request to object storage is tried again, with growing pauses, unless the answer is that something does not
exist or may not be touched. Credentials come from the environment alone, by the rules of the storage library.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from curate.errors import StorageError
from curate.io import files
from curate.io.write import sync, write_bytes

T = TypeVar("T")

TRIES = 8  # of a request; the pauses between them add up to about 25 s
FIRST_PAUSE = 0.1  # seconds; doubles from try to try, half of it by chance
_PART = 32 * 2**20  # bytes of one part of a large upload
_FINAL = (FileNotFoundError, PermissionError, FileExistsError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True)
class Store:
    """A folder that all workers of a run reach. Small, and picklable: a task names it, and the worker opens it."""

    url: str  # an absolute local path, or a URL without credentials

    @classmethod
    def at(cls, folder: str | Path) -> Store:
        """Return the store of a folder: a local path, or a URL."""
        if isinstance(folder, str) and files.is_remote(folder):
            return cls(folder.rstrip("/"))
        return cls(str(Path(folder).absolute()))

    @property
    def name(self) -> str:
        """Return the folder's own name."""
        return self.url.rpartition("/")[2]

    @property
    def is_remote(self) -> bool:
        """Tell whether the folder is in object storage."""
        return files.is_remote(self.url)

    @property
    def path(self) -> Path:
        """Return the local folder. Raises ValueError where there is none."""
        if self.is_remote:
            raise ValueError(f"{self.url} is no local folder")
        return Path(self.url)

    def child(self, name: str) -> Store:
        """Return a folder in this one."""
        return Store(f"{self.url}/{name}")

    # -- one file -----------------------------------------------------------------------------------------------

    def read(self, name: str) -> bytes:
        """Return a file's bytes. Raises FileNotFoundError."""
        if not self.is_remote:
            return (self.path / name).read_bytes()
        return bytes(self._ask(lambda fs, at: fs.cat_file(f"{at}/{name}"), name))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes [start:stop] of a file, in one request."""
        if start >= stop:
            return b""
        if not self.is_remote:
            with (self.path / name).open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        return bytes(self._ask(lambda fs, at: fs.cat_file(f"{at}/{name}", start=start, end=stop), name))

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there whole or not at all."""
        if not self.is_remote:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(self.path / name, content)
        else:
            self._ask(lambda fs, at: fs.pipe_file(f"{at}/{name}", content), name)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a local path to write a file at; it appears under its name when the block ends without an error."""
        if not self.is_remote:
            final = self.path / name
            final.parent.mkdir(parents=True, exist_ok=True)
            partial = final.with_name(f"{final.name}.{os.getpid()}.partial")
            try:
                yield partial
                sync(partial)
                partial.replace(final)
            finally:
                partial.unlink(missing_ok=True)
            return
        with scratch() as folder:
            local = folder / name.rpartition("/")[2]
            yield local
            self.upload(local, name)

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """Give a local path to read a file at. A remote one is a copy that goes when the block ends.

        A copy that was mapped into memory stays readable (POSIX).
        """
        if not self.is_remote:
            yield self.path / name
            return
        with scratch() as folder:
            local = folder / name.rpartition("/")[2]
            self._ask(lambda fs, at: fs.get_file(f"{at}/{name}", str(local)), name)
            yield local

    @contextmanager
    def opened(self, name: str) -> Iterator[pa.NativeFile]:
        """Open a file for reading here and there; of a remote one only what is asked for is transferred."""
        if not self.is_remote:
            with pa.OSFile(str(self.path / name)) as file:
                yield file
            return
        remote = self._ask(lambda fs, at: fs.open(f"{at}/{name}", "rb", cache_type="none"), name)
        with remote, pa.PythonFile(_Patient(remote), "r") as file:
            yield file

    def upload(self, local: Path, name: str) -> None:
        """Copy a local file here, whole or not at all."""
        if not self.is_remote:
            with self.writing(name) as partial:
                shutil.copyfile(local, partial)
        else:
            self._ask(lambda fs, at: fs.put_file(str(local), f"{at}/{name}", chunksize=_PART), name)

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
        if not self.is_remote:
            return (self.path / name).is_file()
        return bool(self._ask(lambda fs, at: fs.isfile(f"{at}/{name}"), name))

    # -- the folder ---------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file in the folder and its folders, by its name from here; empty for none."""
        if not self.is_remote:
            found = ((path, path.relative_to(self.path).as_posix()) for path in self.path.rglob("*"))
            return {name: path.stat().st_size for path, name in sorted(found) if path.is_file()}
        listed = self._ask(lambda fs, at: (at, fs.find(at, detail=True)), "")
        return {path[len(listed[0]) + 1 :]: int(about["size"]) for path, about in sorted(listed[1].items())}

    @contextmanager
    def making(self, last: str) -> Iterator[Path]:
        """Give an empty local folder to fill; it appears here as one when the block ends without an error.

        last: the file without which the folder counts as not there. What was here before is replaced.
        """
        if self.is_remote:
            with scratch() as folder:
                yield folder
                names = sorted(
                    path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
                )
                for name in sorted(names, key=lambda name: name == last):
                    self.upload(folder / name, name)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f"{self.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            for path in (*partial.rglob("*"), partial):
                sync(path)
            shutil.rmtree(self.path, ignore_errors=True)
            _rename(partial, self.path, last)
            sync(self.path.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def clear(self) -> None:
        """Make the folder anew, empty."""
        self.remove()
        if not self.is_remote:
            self.path.mkdir(parents=True)

    def remove(self, name: str = "") -> None:
        """Remove a file or a folder in this one, or the whole folder; nothing where it is not there."""
        if not self.is_remote:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            return
        try:
            self._ask(lambda fs, at: fs.rm(f"{at}/{name}".rstrip("/"), recursive=True), name)
        except FileNotFoundError:
            return

    def _ask(self, request: Callable[[Any, str], T], name: str) -> T:
        fs, at = files.connect(self.url)
        return patiently(lambda: request(fs, at.rstrip("/")), f"{self.url}/{name}".rstrip("/"))


def _rename(partial: Path, final: Path, last: str) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        # Another worker was faster; its bytes are the same, and somebody may be reading them.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not (final / last).is_file():
            raise


class _Patient:
    """A remote file whose reads are tried again."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        at = self._file.tell()

        def again() -> bytes:
            self._file.seek(at)
            return bytes(self._file.read(size))

        return patiently(again, "a file that is being read")

    def seek(self, place: int, whence: int = 0) -> int:
        return int(self._file.seek(place, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def size(self) -> int:
        return int(self._file.size)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True


def patiently(request: Callable[[], T], what: str) -> T:
    """Make a request, again and again if it fails. Raises as it does where trying again is no use, else StorageError.

    The libraries quote addresses, headers and keys in their messages: of those only the type is told.
    """
    for attempt in range(TRIES):
        try:
            return request()
        except _FINAL:
            raise
        except Exception as error:  # noqa: BLE001 - each storage library has exceptions of its own
            if attempt == TRIES - 1:
                raise StorageError(
                    f"{files.public(what)}: object storage did not answer {TRIES} times ({files.why(error)}); nothing "
                    "finished is lost: run again when it does"
                ) from None
            time.sleep(FIRST_PAUSE * 2**attempt * random.uniform(0.5, 1.0))
    raise AssertionError


@contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder on this machine's disk (TMPDIR), which goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        yield Path(folder)
