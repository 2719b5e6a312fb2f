"""Who works in a release folder: one run at a time, on one machine or on many.

On a disk the system's own lock decides (POSIX flock, Windows' msvcrt), which ends with its process however that ends;
what stands in the file only tells who it is. Object storage has no locks: there a file that is made only if it is not
there is one. Who holds it writes it again every half minute, and a lock that was not written for five is nobody's.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import orjson

from curate.errors import RecipeError, StorageError
from curate.io.patience import public
from curate.io.store import Store

NAME = "curate.lock"
BEAT = 30.0  # seconds between two signs of life of who holds a lock in object storage
STALE = 300.0  # seconds without one, after which it is gone
SETTLE = (
    2.0  # seconds in which every write of the same moment has arrived, for a storage without conditional ones
)
_FAR = 2**20  # the byte that Windows locks: one that it locks can be read by nobody else
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    host: str = ""
    process: int = 0
    since: str = ""
    machine: str = ""  # one start of one machine, and one space of process ids
    token: str = ""
    ended: bool = False  # stopped, and lets go

    @classmethod
    def here(cls) -> Holder:
        """Return this process, as of now."""
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(socket.gethostname(), os.getpid(), since, _machine(), uuid.uuid4().hex)

    @classmethod
    def of(cls, content: bytes) -> Holder:
        """Read what stands in a lock; whatever else stands there is nobody who can be told."""
        try:
            return cls(**orjson.loads(content))
        except (ValueError, TypeError):
            text = content.strip()
            return cls(process=int(text)) if text.isdigit() else cls()

    def dumps(self) -> bytes:
        """Return what stands in the lock."""
        return orjson.dumps(asdict(self))

    def __str__(self) -> str:
        where = f" on {self.host}, since {self.since}" if self.host else ""
        return f"process {self.process}{where}"

    @property
    def is_gone(self) -> bool:
        """Tell whether it is known that the process has ended; of another machine's it is not."""
        if self.ended:
            return True
        if not self.machine or self.machine != _machine():
            return False
        return not _runs(self.process)


@functools.cache
def _machine() -> str:
    parts = [socket.gethostname(), f"{uuid.getnode():x}"]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with contextlib.suppress(OSError):
            named = Path(path)
            parts.append(str(named.readlink()) if named.is_symlink() else named.read_text().strip())
    return uuid.uuid5(uuid.NAMESPACE_OID, " ".join(parts)).hex


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, os.kill(…, 0) would end the process
        import ctypes

        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, process)  # type: ignore[attr-defined]
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)  # type: ignore[attr-defined]
        return bool(handle)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


@contextlib.contextmanager
def held(path: Path, shown: str) -> Iterator[None]:
    """Hold a lock on a disk. Raises RecipeError with who holds it. shown: the release folder."""
    file = _taken(path, shown)
    try:
        file.seek(0)
        file.truncate()
        file.write(Holder.here().dumps())
        file.flush()
        yield
    finally:
        file.close()


def _taken(path: Path, shown: str) -> IO[bytes]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)  # who held it before may have removed it with the file
        file = path.open("a+b")
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            holder = Holder.of(file.read())
            file.close()
            # A file system without locks: what stands in the file has to do.
            if error.errno in _HELD or not (holder.is_gone or holder.process in (0, os.getpid())):
                advice = "" if error.errno in _HELD else f"; if it is gone, remove {path}"
                raise RecipeError(f"--out {shown}: another run ({holder}) is working there{advice}") from None
            return path.open("a+b")
        # Who held it before may have removed the file between our opening and our locking it.
        with contextlib.suppress(OSError):
            if os.name == "nt" or os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return file
        file.close()


def _lock(file: IO[bytes]) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lease:
    """A lock in object storage, held by this process."""

    def __init__(self, store: Store, holder: Holder) -> None:
        self._store, self._holder = store, holder
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def check(self) -> None:
        """Raise StorageError if another run has taken the lock: it took this one for dead.

        To be called before whatever changes the release: a process, or its machine, may be stopped at any moment, and
        go on when the release is another's.
        """
        if not self._is_ours():
            raise StorageError(
                f"{public(self._store.url)}/{NAME}: another run has taken over while this one gave no sign "
                "of life; this one stops here, and changes nothing more"
            )

    def _is_ours(self) -> bool:
        try:
            return self._is_mine(self._store.read(NAME))
        except FileNotFoundError:
            return False

    def _is_mine(self, content: bytes) -> bool:
        return Holder.of(content).token == self._holder.token

    def _beat(self) -> None:
        while not self._ends.wait(BEAT):
            with contextlib.suppress(
                Exception
            ):  # a storage that fails for a moment; the next sign of life may arrive
                self._store.replace(NAME, self._holder.dumps(), self._is_mine)

    def start(self) -> None:
        """Begin to give signs of life."""
        self._thread.start()

    def end(self, *, done: bool) -> None:
        """Let go: of a run that is done the file goes, of one that stopped it stays, and says so."""
        self._ends.set()
        self._thread.join()
        if not self._is_ours():
            return
        if done:
            self._store.discard([NAME])
        else:
            self._store.write(NAME, replace(self._holder, ended=True).dumps())


@contextlib.contextmanager
def leased(store: Store, shown: str, note: Callable[[str], None]) -> Iterator[Lease]:
    """Hold a lock in object storage. Raises RecipeError with who holds it. note: is told what was taken over."""
    holder = Holder.here()
    _take(store, holder, shown, note)
    lease = Lease(store, holder)
    lease.start()
    try:
        yield lease
    except BaseException:
        with contextlib.suppress(
            Exception
        ):  # the storage may be what failed; the lock becomes stale by itself
            lease.end(done=False)
        raise
    lease.end(done=True)


def _take(store: Store, holder: Holder, shown: str, note: Callable[[str], None]) -> None:
    try:
        other = Holder.of(store.read(NAME))
    except FileNotFoundError:
        if store.create(NAME, holder.dumps()):
            if store.create(NAME, holder.dumps() + b"\n"):  # it made what was there: it knows no conditions
                _settled(store, holder, shown)
            return
        other = Holder.of(store.read(NAME))
    if not other.is_gone and (silent := _silence(store, holder.token)) < STALE:
        raise RecipeError(
            f"--out {shown}: another run ({other}) is working there; if it is gone, its lock ends {STALE / 60:.0f} "
            f"minutes after its last sign of life, which was {silent:.0f} s ago"
        )
    if not other.ended:
        note(f"{shown}: an earlier run ({other}) ended without letting go; its lock is taken over")
    store.replace(NAME, holder.dumps(), lambda content: Holder.of(content) == other)
    _settled(store, holder, shown)


def _settled(store: Store, holder: Holder, shown: str) -> None:
    """Wait until whoever else took the lock in the same moment has written it, and see whose it is."""
    time.sleep(SETTLE)
    try:
        now = Holder.of(store.read(NAME))
    except FileNotFoundError:  # who took it has finished
        now = Holder()
    if now.token != holder.token:
        raise RecipeError(f"--out {shown}: another run ({now}) is working there")


def _silence(store: Store, token: str) -> float:
    """Return for how many seconds the lock was not written, by the storage's own clock."""
    probe = f"{NAME}.{token[:8]}"
    store.write(probe, b"")
    try:
        return (store.written_at(probe) - store.written_at(NAME)).total_seconds()
    finally:
        store.discard([probe])
