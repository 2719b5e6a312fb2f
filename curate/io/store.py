"""The run's file system: a folder on a local disk or in object storage, through which workers share all they share.

Files and folders appear whole or not at all. On a disk that is temp + fsync + rename. Object storage has no rename:
there a file is one upload (in parts, where it is large), which appears when it is complete, and of a folder a chosen
file is uploaded last: a folder without it is not there.

Every request to object storage is tried again, with growing pauses, while that may help (curate.io.patience).
Credentials come from the environment alone, by the rules of the storage library. Whatever is shared is written by one
process and read by others only when it is complete, so no more is asked of the storage than that a reader sees a file
that was written before (S3 gives this since December 2020, as do Google's and Azure's).
"""

from __future__ import annotations

import datetime
import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from curate.errors import StorageError
from curate.io import files, removal
from curate.io.allowance import Allowance
from curate.io.patience import is_condition
from curate.io.patience import patiently as patiently
from curate.io.ranges import AT_ONCE, Ranges, Streamed
from curate.io.write import sync

T = TypeVar("T")

PART = 16 * 2**20  # bytes of one part of a large transfer
_MOST_PARTS = 10_000  # of one upload, in S3
_FIRST = 4 * 2**20  # bytes of the first request for a file of unknown size: most files are smaller
_SMALL = 256 * 2**10  # bytes of the least request for a file that is read here and there
_AT_ONCE = 16  # files that are transferred, copied or removed at a time
# Of the files that a process transfers, so much is in memory at a time, and in the storage library as much again.
_transfers = Allowance(files.UPLOADS * PART)


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
        whole = {"max_concurrency": 1} if self._is_s3 else {}  # in one request, without another for the size
        return bytes(self.ask(lambda fs, at: fs.cat_file(f"{at}/{name}", **whole), name))

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes [start:stop] of a file, in one request; fewer where it ends before."""
        if start >= stop:
            return b""
        if not self.is_remote:
            with (self.path / name).open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        try:
            return bytes(self.ask(lambda fs, at: fs.cat_file(f"{at}/{name}", start=start, end=stop), name))
        except OSError as error:
            if is_condition(error):  # the file ends before start
                return b""
            raise

    def write(self, name: str, content: bytes) -> None:
        """Write a file that is there whole or not at all."""
        if not self.is_remote:
            with self.writing(
                name
            ) as partial:  # whose name no other machine gives a file that it writes here
                partial.write_bytes(content)
            sync((self.path / name).parent)
        else:
            self._put(lambda fs, at: fs.pipe_file(f"{at}/{name}", content), name)

    def create(self, name: str, content: bytes) -> bool:
        """Write a small file unless there is one; tell whether it was written. content: like no other writer's.

        In object storage without conditional writes (of those here, S3 and Google's have them) a file that another
        process writes in the same moment may go unnoticed: read it back.
        """
        if not self.is_remote:
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                with (self.path / name).open("xb") as file:
                    file.write(content)
            except FileExistsError:
                return False
            return True
        try:
            self._put(lambda fs, at: fs.pipe_file(f"{at}/{name}", content, mode="create"), name)
        except OSError as error:
            if not (isinstance(error, FileExistsError) or is_condition(error)):
                raise
            return self.read(name) == content  # an answer that was lost is asked for again: it was we
        return True

    def replace(self, name: str, content: bytes, is_mine: Callable[[bytes], bool]) -> bool:
        """Write a small file again if it is still what is_mine knows; tell whether it was written.

        In S3 nobody can write in between; elsewhere that may happen in the moment between reading and writing.
        """
        match = {}
        try:
            if self._is_s3:
                match = {
                    "IfMatch": self.ask(lambda fs, at: fs.info(f"{at}/{name}", refresh=True)["ETag"], name)
                }
            if not is_mine(self.read(name)):
                return False
            if match:
                self.ask(lambda fs, at: fs.pipe_file(f"{at}/{name}", content, **match), name)
            else:
                self.write(name, content)
        except OSError as error:
            if not (isinstance(error, FileNotFoundError) or is_condition(error)):
                raise
            return False
        return True

    def written_at(self, name: str) -> datetime.datetime:
        """Return when a file was written, by the storage's own clock. Raises FileNotFoundError."""
        if not self.is_remote:
            return datetime.datetime.fromtimestamp((self.path / name).stat().st_mtime, datetime.UTC)
        found: datetime.datetime = self.ask(lambda fs, at: fs.modified(f"{at}/{name}"), name)
        return found if found.tzinfo else found.replace(tzinfo=datetime.UTC)

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a local path to write a file at; it appears under its name when the block ends without an error."""
        if not self.is_remote:
            final = self.path / name
            final.parent.mkdir(parents=True, exist_ok=True)
            partial = _partial(final)
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
            self.download(name, local)
            yield local

    @contextmanager
    def opened(self, name: str) -> Iterator[pa.NativeFile]:
        """Open a file for reading here and there; of a remote one only what is asked for is transferred."""
        if not self.is_remote:
            with pa.OSFile(str(self.path / name)) as file:
                yield file
            return
        fs, at = files.connect(self.url)
        ranges = Ranges(fs, f"{at.rstrip('/')}/{name}", f"{self.url}/{name}")
        with Streamed(ranges, _SMALL, ahead=0) as remote, pa.PythonFile(remote, "r") as file:
            yield file

    def download(self, name: str, local: Path) -> None:
        """Copy a file to a local one, a large one in parts at once. Raises FileNotFoundError."""
        if not self.is_remote:
            shutil.copyfile(self.path / name, local)
            return
        first = self.read_range(name, 0, _FIRST)
        if len(first) < _FIRST:
            local.write_bytes(first)
            return
        fs, at = files.connect(self.url)
        ranges = Ranges(fs, f"{at.rstrip('/')}/{name}", f"{self.url}/{name}")
        with _transfers.taking(min(ranges.size, AT_ONCE * PART)):
            ranges.download(local, PART)

    def upload(self, local: Path, name: str, may: Callable[[], None] = lambda: None) -> None:
        """Copy a local file here, whole or not at all. may: raises if it may not; asked before each try."""
        if not self.is_remote:
            with self.writing(name) as partial:
                shutil.copyfile(local, partial)
        else:
            size = local.stat().st_size
            part = max(PART, -(-size // _MOST_PARTS))
            parts = {"chunksize": part} if self._is_s3 else {}

            def request(fs: Any, at: str) -> None:
                may()
                fs.put_file(str(local), f"{at}/{name}", **parts)

            with _transfers.taking(min(size, files.UPLOADS * part)):
                self._put(request, name)

    def copy(self, name: str, new: str) -> None:
        """Copy a file in this folder to another name, without its bytes passing through this machine where it can."""
        if not self.is_remote:
            self.upload(self.path / name, new)
        else:
            self.ask(lambda fs, at: fs.cp_file(f"{at}/{name}", f"{at}/{new}"), name)

    def exists(self, name: str) -> bool:
        """Tell whether a file is there."""
        if not self.is_remote:
            return (self.path / name).is_file()
        return bool(self.ask(lambda fs, at: fs.isfile(f"{at}/{name}"), name))

    # -- the folder ---------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Return the bytes of every file in the folder and its folders, by its name from here; empty for none."""
        if not self.is_remote:
            found = ((path, path.relative_to(self.path).as_posix()) for path in self.path.rglob("*"))
            return {name: path.stat().st_size for path, name in sorted(found) if path.is_file()}
        try:
            at, listed = self.ask(lambda fs, at: (at, fs.find(at, detail=True)), "")
        except FileNotFoundError:
            return {}
        inside = {
            path[len(at) + 1 :]: about for path, about in sorted(listed.items()) if path.startswith(f"{at}/")
        }
        # Consoles make folders of their own: empty files whose names end in a slash.
        return {name: int(about["size"]) for name, about in inside.items() if name and not name.endswith("/")}

    def each(self, act: Callable[[str], object], names: Iterable[str]) -> None:
        """Do something with each of these files, several at once; raises what the first of them raised."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(act, names))

    @contextmanager
    def making(self, last: str) -> Iterator[Path]:
        """Give an empty local folder to fill; it appears here as one when the block ends without an error.

        last: the file without which the folder counts as not there. What was here before is replaced.
        """
        if self.is_remote:
            with scratch() as folder:
                yield folder
                names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
                if stale := self.sizes().keys() - names:
                    removal.remove_one(self, last)
                    removal.remove(self, stale)
                self.each(lambda name: self.upload(folder / name, name), sorted(names - {last}))
                self.upload(folder / last, last)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = _partial(self.path)
        partial.mkdir()
        try:
            yield partial
            for path in (*partial.rglob("*"), partial):
                sync(path)
            self.remove()
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
        inside = self.child(name) if name else self
        removal.remove(inside, inside.sizes())
        if name:
            removal.remove_one(self, name)

    def discard(self, names: Iterable[str]) -> None:
        """Remove these files, by their names from here, whichever of them are there."""
        if self.is_remote:
            removal.remove(self, names)
        else:
            for name in names:
                (self.path / name).unlink(missing_ok=True)

    @property
    def _is_s3(self) -> bool:
        return self.url.startswith(("s3://", "s3a://"))

    def _put(self, request: Callable[[Any, str], T], name: str) -> T:
        try:
            return self.ask(request, name)
        except FileNotFoundError:
            raise StorageError(
                f"{files.public(self.url)}: nothing can be written there; is the bucket there?"
            ) from None

    def ask(self, request: Callable[[Any, str], T], name: str = "") -> T:
        """Make a request to object storage: of its library's file system, and the folder's path there."""
        fs, at = files.connect(self.url)
        return patiently(lambda: request(fs, at.rstrip("/")), f"{self.url}/{name}".rstrip("/"))


def _partial(final: Path) -> Path:
    """Return a name for what is in the making: machines that share a disk have processes of one number."""
    return final.with_name(f"{final.name}.{os.getpid()}{secrets.randbelow(10**6):06d}.partial")


def _rename(partial: Path, final: Path, last: str) -> None:
    try:
        partial.rename(final)
    except OSError as error:
        # Another worker was faster; its bytes are the same, and somebody may be reading them.
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not (final / last).is_file():
            raise


@contextmanager
def scratch() -> Iterator[Path]:
    """Give an empty folder on this machine's disk (TMPDIR), which goes when the block ends."""
    with tempfile.TemporaryDirectory(prefix="curate-") as folder:
        yield Path(folder)
