"""A rehearsal: a sample goes through a run's real segments in a process of its own, which is measured.

Three times: all of it once, which loads what the stages need (start-up; some of it is loaded for the first duplicate
or the first find only); then a few records of each stretch and all of them again, so that the cost of a unit and the
cost of a byte can be told apart.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from curate import pipeline
from curate.engine.local import LocalEngine
from curate.errors import CurateError, StageError
from curate.forecast.sample import Sample, few
from curate.io.store import Store, scratch
from curate.outcome import Tally
from curate.recipe import Recipe

FEW = 4  # records of a stretch in the short pass
MEMORY = 10**9  # bytes that a rehearsal may hold; a sample never comes near them
BATCH_RECORDS = 1024
_EVERY = 0.01  # seconds between two looks at the memory

Write: TypeAlias = Callable[[Recipe, Any, pipeline.Outcome, Path, Any, int], None]


class Held(NamedTuple):
    """Memory of a process, in bytes: what is its own, and pages of files, which processes share."""

    own: int
    shared: int

    @property
    def all(self) -> int:
        """Return the resident size."""
        return self.own + self.shared


NOTHING = Held(0, 0)


@dataclass
class Step:
    """What one step took: a segment, a resolution, or the writing of the release."""

    title: str
    records: int = 0  # that entered it
    seconds: float = 0.0  # CPU
    wall: float = 0.0
    disk: int = 0  # bytes by which work/ grew
    before: Held = NOTHING
    peak: Held = NOTHING


@dataclass
class Pass:
    """One pass of a sample through all steps."""

    records: int
    units: int
    steps: list[Step] = field(default_factory=list)
    tallies: dict[str, dict[str, Tally]] = field(default_factory=dict)
    release: dict[str, int] = field(default_factory=dict)  # part of the release → bytes


@dataclass
class Rehearsal:
    """What was measured. Sizes in bytes, CPU time in seconds."""

    sample: Sample
    few: Sample  # of the short pass
    startup: float  # until a process has loaded what a run needs, and built the stages
    base: Held  # its memory then: that of a main process that leaves the work to others
    load: Pass
    short: Pass
    full: Pass


def rehearse(recipe: Recipe, sample: Sample, write: Write) -> Rehearsal:
    """Rehearse in a spawned process, with a work/ of its own that goes when it ends.

    write: writes a release into a folder, as a run does; a module's function. Raises as the run would.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    with scratch() as folder:
        process = context.Process(target=_child, args=(theirs, recipe, sample, write, str(folder)))
        process.start()
        theirs.close()
        try:
            found = ours.recv()
        except EOFError:
            process.join()
            killed = (
                "most likely killed for want of memory"
                if process.exitcode == -9
                else "of an error of its own"
            )
            raise StageError(f"the process that worked on a sample died, {killed}") from None
        except BaseException:  # nobody waits for it any more
            process.terminate()
            raise
        finally:
            process.join()
    if isinstance(found, CurateError):
        raise found
    assert isinstance(found, Rehearsal)
    return found


def _child(answer: Connection, recipe: Recipe, sample: Sample, write: Write, folder: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main process, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        found: Any = _rehearsed(recipe, sample, write, Path(folder))
    except CurateError as error:
        found = error
    answer.send(found)
    answer.close()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _rehearsed(recipe: Recipe, sample: Sample, write: Write, folder: Path) -> Rehearsal:
    for spec in recipe.stages:
        pickle.dumps(spec.stage_class()(spec.options))
    base, startup = memory(), time.process_time()
    (folder / "few").mkdir()
    short = few(sample, FEW, folder / "few")
    load, low, high = (
        _pass(recipe, one, write, folder / name)
        for name, one in (("load", sample), ("short", short), ("full", sample))
    )
    return Rehearsal(sample, short, startup, base, load, low, high)


def _pass(recipe: Recipe, sample: Sample, write: Write, folder: Path) -> Pass:
    work = folder / "work"
    work.mkdir(parents=True)
    found = Pass(sample.records, sample.units)
    meter = _Meter(folder, found.steps)
    watch = pipeline.Watch(meter.begin, meter.end)
    with LocalEngine(1) as engine, meter:
        outcome = pipeline.execute(
            recipe.stages, sample.plans, engine, Store.at(work),
            memory=MEMORY, batch_records=BATCH_RECORDS, watch=watch, whole=False,
        )  # fmt: skip
        found.tallies = outcome.tallies
        watch.begin("write", 0)
        write(recipe, sample.plans, outcome, folder / "release", engine, MEMORY)
        watch.end()
    for part in sorted((folder / "release").iterdir()):
        found.release[part.name] = size(part)
    return found


class _Meter:
    """Measures steps as a pipeline's watch reports them."""

    def __init__(self, folder: Path, steps: list[Step]) -> None:
        self._folder, self._steps = folder, steps
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._peak = NOTHING
        self._disk = 0

    def __enter__(self) -> _Meter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def begin(self, title: str, records: int) -> None:
        """Begin a step."""
        self._peak = memory()
        self._steps.append(Step(title, records, before=self._peak))
        self._cpu, self._wall = time.process_time(), time.perf_counter()

    def end(self) -> None:
        """End it."""
        step = self._steps[-1]
        step.seconds, step.wall = time.process_time() - self._cpu, time.perf_counter() - self._wall
        step.peak = max(self._peak, memory(), key=lambda held: held.all)
        held = size(self._folder)
        step.disk, self._disk = held - self._disk, held

    def _look(self) -> None:
        while not self._stop.wait(_EVERY):
            self._peak = max(self._peak, memory(), key=lambda held: held.all)


def memory() -> Held:
    """Return what this process has in memory; where there is no /proc its peak so far, as its own; on Windows none."""
    try:
        _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_bytes().split())
        page = os.sysconf("SC_PAGE_SIZE")
        return Held((resident - shared) * page, shared * page)
    except OSError:
        if sys.platform == "win32":
            return NOTHING
        import resource

        unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB elsewhere
        return Held(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, 0)


def size(path: Path) -> int:
    """Return the bytes that a file or folder takes on disk."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    statuses = [file.stat() for file in files]
    return sum(getattr(status, "st_blocks", -(-status.st_size // 512)) * 512 for status in statuses)
