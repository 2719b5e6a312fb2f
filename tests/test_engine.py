"""The local engine: results in order, whatever dies, and within its budget."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from curate.engine import memory, worker
from curate.engine.local import LocalEngine, cores, report
from curate.errors import InputError, StageError

HERE = Path(__file__).parent


class Job(NamedTuple):
    """A number, and a folder in which the task counts its tries."""

    number: int
    folder: Path

    def tries(self) -> int:
        """Count this one, and return how many there were before."""
        before = len(list(self.folder.glob(f"{self.number}-*")))
        (self.folder / f"{self.number}-{before}").touch()
        return before


def jobs(folder: Path, count: int) -> list[Job]:
    return [Job(number, folder) for number in range(count)]


def double(job: Job) -> int:
    job.tries()
    report(1, job.number)
    return 2 * job.number


def dies_once(job: Job) -> int:
    if job.tries() == 0 and job.number % 3 == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * job.number


def dies_always(job: Job) -> int:
    if job.number == 5:
        job.tries()
        os._exit(7)
    return double(job)


def forgiving(job: Job) -> int:
    return -1 if job.number < 0 else dies_always(job)


def give_up(job: Job, deaths: int) -> Job:
    return job if deaths < 2 else job._replace(number=-1)


def blame(job: Job, deaths: int) -> Job:
    raise InputError(f"number {job.number} after {deaths}")


class Odd(Exception):
    """Can be sent, and cannot be received."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)


def fails(job: Job) -> int:
    errors: list[BaseException] = [
        StageError("one"),
        OSError(errno.ENOSPC, "No space left on device", "/some/file"),
        MemoryError(),
        ValueError("four"),
        Odd("a", "b"),
        SystemExit(0),
    ]
    raise errors[job.number]


def naps(job: Job) -> int:
    time.sleep(60 * (job.number > 0))
    return 0


def hold(job: Job) -> int:
    """Hold as many MB as the task's number says, for a while."""
    job.tries()
    block = bytearray(job.number * 10**6)
    block[::4096] = b"x" * len(block[::4096])
    time.sleep(0.7)
    return len(block)


def scratch_of(_: Job) -> str:
    return tempfile.gettempdir()


def threads_of(_: Job) -> tuple[int, int, int]:
    """Return how many threads the libraries of a worker may run: polars, numba, Arrow."""
    import numba
    import polars as pl
    import pyarrow as pa

    return pl.thread_pool_size(), numba.config.NUMBA_NUM_THREADS, pa.cpu_count()


def test_results_come_in_the_order_of_the_tasks_and_progress_is_told(tmp_path: Path) -> None:
    told: list[int] = []
    with LocalEngine(2, lambda records, nbytes: told.append(nbytes)) as engine:
        assert list(engine.map(double, jobs(tmp_path, 20))) == [2 * n for n in range(20)]
        first = engine.map(double, jobs(tmp_path, 9))
        second = engine.map(double, jobs(tmp_path, 9))
        assert [a + b for a, b in zip(first, second, strict=True)] == [4 * n for n in range(9)]
        assert sorted(told) == sorted([*range(20), *range(9), *range(9)])
        assert list(engine.map(double, [])) == []


def test_only_so_many_tasks_are_taken_up_before_their_results_are(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        results = engine.map(double, jobs(tmp_path, 50))
        assert next(results) == 0
        time.sleep(0.3)
        assert len(list(tmp_path.iterdir())) <= 9


def test_a_task_whose_worker_dies_is_tried_again_and_no_other_notices(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        assert list(engine.map(dies_once, jobs(tmp_path, 8))) == [2 * n for n in range(8)]
    assert len(list(tmp_path.iterdir())) == 8 + 3


def test_a_task_that_kills_three_workers_is_one_error_that_names_it(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        results = engine.map(dies_always, jobs(tmp_path, 9))
        assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
        with pytest.raises(StageError, match=r"task 6 of 9 of test_engine.dies_always: tried 3 times, and the "
                           r"worker ended with exit code 7"):  # fmt: skip
            next(results)
        assert len(list(tmp_path.glob("5-*"))) == 3
        assert list(engine.map(double, jobs(tmp_path, 3))) == [0, 2, 4]


def test_the_caller_says_what_is_tried_after_a_death(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        assert list(engine.map(forgiving, jobs(tmp_path, 7), give_up)) == [0, 2, 4, 6, 8, -1, 12]
        with pytest.raises(InputError, match="number 5 after 1; the worker ended with exit code 7"):
            list(engine.map(forgiving, jobs(tmp_path, 7), blame))


def test_exceptions_travel_as_they_are(tmp_path: Path) -> None:
    all_jobs = jobs(tmp_path, 6)
    with LocalEngine(2) as engine:

        def one(number: int) -> BaseException:
            with pytest.raises(BaseException) as caught:  # noqa: PT011  its type is what is asked for
                list(engine.map(fails, [all_jobs[number], all_jobs[number]]))
            return caught.value

        assert (type(one(0)), str(one(0))) == (StageError, "one")
        full = one(1)
        assert isinstance(full, OSError)
        assert (full.errno, full.filename) == (errno.ENOSPC, "/some/file")
        assert type(one(2)) is MemoryError
        assert "in fails" in str(one(3).__cause__)  # where it was raised, for a defect's sake
        assert "Odd, which cannot travel" in str(one(4))
        assert "a task called sys.exit(0)" in str(
            one(5)
        )  # which must not end the main process as if it were done


def test_workers_end_at_once_when_the_main_process_fails(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(KeyError), LocalEngine(2) as engine:
        _fail(engine, tmp_path)
    assert time.monotonic() - started < 30
    assert engine._pool is not None
    assert not engine._pool.workers


def _fail(engine: LocalEngine, folder: Path) -> None:
    results = engine.map(naps, jobs(folder, 4))
    assert next(results) == 0
    raise KeyError


MAIN = """
import sys, time; sys.path.insert(0, {here!r})
from pathlib import Path
import test_engine
from curate.engine.local import LocalEngine
if __name__ == "__main__":
    with LocalEngine(2) as engine:
        list(engine.map(test_engine.tell_and_nap, test_engine.jobs(Path({folder!r}), 4)))
"""


def tell_and_nap(job: Job) -> int:
    (job.folder / f"pid-{os.getpid()}").touch()
    time.sleep(60)
    return 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_the_main_process(tmp_path: Path, number: signal.Signals) -> None:
    code = tmp_path / "main.py"
    code.write_text(MAIN.format(here=str(HERE), folder=str(tmp_path)))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    main = subprocess.Popen([sys.executable, str(code)], env=environment)
    _until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    main.send_signal(number)
    main.wait()
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    _until(lambda: not list(tmp_path.glob("curate-*")))  # nor do their temporary files stay


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_temporary_files_of_workers_go_with_them(tmp_path: Path) -> None:
    with LocalEngine(2) as engine:
        folders = set(engine.map(scratch_of, jobs(tmp_path, 4)))
        assert all(Path(folder).is_dir() for folder in folders)
    assert not any(Path(folder).exists() for folder in folders)


def test_workers_share_the_cores_among_the_threads_of_their_libraries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in worker.THREADS:
        monkeypatch.delenv(name, raising=False)
    with LocalEngine(cores()) as engine:
        told = set(engine.map(threads_of, jobs(tmp_path, 2 * cores())))
    assert told == {(1, 1, 1)}


def test_a_budget_holds_so_many_workers_and_never_none() -> None:
    assert memory.workers_within(None, 7) == 7
    assert memory.workers_within(10**8, 7) == 1
    assert memory.workers_within(memory.expected(3), 7) == 3
    assert memory.workers_within(memory.expected(3) - 1, 7) == 2
    assert memory.workers_within(memory.expected(9), 7) == 7


@pytest.fixture
def budget(monkeypatch: pytest.MonkeyPatch) -> int:
    """So much that two tasks of 100 MB fit, and two of 300 do not."""
    if memory.held([os.getpid()], 1) is None:
        pytest.skip("this system does not tell what a process holds")
    with LocalEngine(2) as engine:
        pids = set(engine.map(_pid, range(8)))
        base = sum(memory.proportional(pid) for pid in [os.getpid(), *pids])
    monkeypatch.setattr(memory, "MAIN", 0)
    monkeypatch.setattr(memory, "WORKER", 1)
    return base + 500 * 10**6


def _pid(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def test_tasks_that_do_not_fit_together_are_done_one_by_one(tmp_path: Path, budget: int) -> None:
    numbers = [300, 301, 100, 302, 101]
    with LocalEngine(2, memory=budget) as engine:
        assert engine.workers == 2
        tasks = [Job(number, tmp_path) for number in numbers]
        assert list(engine.map(hold, tasks)) == [number * 10**6 for number in numbers]


def test_a_task_that_does_not_fit_alone_is_one_error_that_names_the_budget(
    tmp_path: Path, budget: int
) -> None:
    with LocalEngine(2, memory=budget) as engine:
        results = engine.map(hold, [Job(1, tmp_path), Job(900, tmp_path), Job(2, tmp_path)])
        assert next(results) == 10**6
        wanted = rf"task 2 of 3 of test_engine.hold: does not fit into --memory {round(budget / 1e6)}MB"
        with pytest.raises(StageError, match=wanted):
            next(results)
    assert len(list(tmp_path.glob("900-*"))) == 2


def test_a_containers_limit_counts_as_the_machines_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    whole = memory.machine()
    assert whole is not None
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.machine() == whole
    (tmp_path / "memory.max").write_text("123456789\n")
    assert memory.machine() == 123456789
