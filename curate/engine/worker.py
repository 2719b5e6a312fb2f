"""A worker: a spawned process that does one task at a time, and has a pipe to the main process of its own.

Its own, because a process that is killed while it holds the lock of a shared queue stops all others. Spawned (not
forked), because Arrow, polars and numba run threads, and a forked child inherits their locks.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from curate.engine import memory
from curate.engine.tasks import Item
from curate.errors import CurateError, StageError

READY, TICK, DONE, FAILED = "ready", "tick", "done", "failed"
_RELEASE = b"release"
_PATIENCE = 5.0  # seconds that an idle worker has to end
# Libraries read these when they are imported: so many threads may each of them run.
THREADS = (
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"),
    *("POLARS_MAX_THREADS", "RAYON_NUM_THREADS"),
)
_started = threading.Lock()  # the environment is changed by one start at a time


class Worker:
    """The main process's end of a worker."""

    def __init__(self, number: int, folder: Path, threads: int) -> None:
        """Start one. folder: where its temporary files go. threads: that its libraries may run, each."""
        context = multiprocessing.get_context("spawn")
        self.number = number
        self.item: Any = None  # the tasks.Item that it works on
        self.given = 0  # tasks that it has had
        self.ready = self.released = False  # it has started; it has given back what it did not use
        self.folder = folder / f"{number}"
        self.folder.mkdir()
        self.killings = memory.killings()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, str(self.folder), threads), name=f"curate-{number}", daemon=True
        )
        with theirs, _environment(threads), _no_interrupt():
            self.process.start()

    def give(self, item: Item) -> None:
        """Hand out a task. A worker that is dead takes it, and is found dead."""
        self.item, self.given, self.released = item, self.given + 1, False
        self._send(item.payload)

    def release(self) -> None:
        """Ask an idle worker to give back memory that it does not use."""
        self.released = True
        self._send(_RELEASE)

    def _send(self, message: bytes) -> None:
        try:
            self.pipe.send_bytes(message)
        except (BrokenPipeError, ConnectionError):
            return  # its sentinel tells

    def told(self) -> Iterator[tuple[Any, ...]]:
        """Yield what it has sent. Ends where it has sent no more, or has died."""
        while True:
            try:
                if not self.pipe.poll():
                    return
                message = self.pipe.recv_bytes()
            except (EOFError, OSError):  # it was killed, in the middle of a message perhaps
                return
            try:
                yield pickle.loads(message)
            except Exception as error:  # noqa: BLE001  a result that can be sent and not be received
                yield FAILED, error, ""

    def died(self) -> str | None:
        """Return how it died; None if it lives."""
        if connection.wait([self.process.sentinel], 0):
            self.process.join()
        code = self.process.exitcode
        if code is None:
            return None
        if code >= 0:
            return f"ended with exit code {code}"
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        if -code != getattr(signal, "SIGKILL", 9):
            return f"was killed by {name}"
        if memory.killings() > self.killings:
            return f"was killed by {name}: the system was out of memory"
        return f"was killed by {name}: by somebody, or by the system for want of memory"

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self.process.kill()

    def hang_up(self) -> None:
        """Let an idle worker end."""
        self.pipe.close()

    def wait(self) -> None:
        """Wait until it has ended, not for ever, and remove its temporary files."""
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def _environment(threads: int) -> Iterator[None]:
    with _started:
        before = {name: os.environ.get(name) for name in THREADS}
        os.environ.update({name: str(threads) for name, value in before.items() if value is None})
        try:
            yield
        finally:
            for name in (name for name, value in before.items() if value is None):
                os.environ.pop(name, None)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Let a child begin with Ctrl-C blocked: that is for the main process, which ends its workers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.getfd()  # starting it, which every first start does, would unblock
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Any, folder: str, threads: int) -> None:
    """Be a worker: do one task after the other until the main process closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    limit_arrow(threads)
    from curate.engine import local

    sending = threading.Lock()

    def send(message: bytes) -> None:
        with sending:
            pipe.send_bytes(message)

    local.listen(lambda records, nbytes: send(pickle.dumps((TICK, records, nbytes))))
    try:
        send(pickle.dumps((READY,)))
        while True:
            message = pipe.recv_bytes()
            if message == _RELEASE:
                memory.release()
            else:
                send(outcome_of(message))
    except (EOFError, OSError):
        return  # nobody waits any more


def limit_arrow(threads: int) -> None:
    """Let Arrow use so many threads."""
    import pyarrow as pa

    pa.set_cpu_count(threads)


def outcome_of(message: bytes) -> bytes:
    """Do a task and return what became of it, to be sent: its result, or the exception as it is."""
    try:
        function, task = pickle.loads(message)
        return bytes(ForkingPickler.dumps((DONE, function(task))))
    except BaseException as error:  # noqa: BLE001  whatever it is, it is for the main process to raise
        if isinstance(error, SystemExit):  # raised there it would end the run as if it were done
            error = StageError(f"a task called sys.exit({error.code!r})").with_traceback(error.__traceback__)
        trace = "" if isinstance(error, CurateError) else "".join(traceback.format_exception(error))
        try:
            told = pickle.dumps((FAILED, error, trace))
            pickle.loads(told)  # some exceptions can be sent, and not be received
        except Exception:  # noqa: BLE001
            told = pickle.dumps(
                (FAILED, StageError(f"{type(error).__name__}, which cannot travel between processes"), trace)
            )
        return told


def _die_with_parent() -> None:
    """End this worker when the main process is gone, killed perhaps: nobody would ever take its result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        folder = Path(tempfile.gettempdir())
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # the last one removes the folder of all
            folder.parent.rmdir()
        os._exit(1)


def most_at_once(workers: int) -> int:
    """Return how many workers the system lets one process wait for."""
    return min(workers, 30) if sys.platform == "win32" else workers  # two handles each, of 63 (Windows)
