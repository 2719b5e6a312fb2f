"""A bench: everything that runs need, in one folder, so that any process or machine can do any run.

::

    bench.pickle          the bench
    runs/<arm>--<seed>/   a finished run: result.npz, and adapter/ (PEFT's format)

A run's folder appears whole (temp + fsync + rename); a rerun skips what is there.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate.io.write import sync
from curate.tuning.contract import Arm, Encoded, Result, Run, Setup
from curate.tuning.measure.probes import Probes

NAME = "bench.pickle"
RESULT = "result.npz"
ADAPTER = "adapter"


@dataclass(frozen=True)
class Bench:
    """What every run shares."""

    setup: Setup
    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    train: Encoded  # the corpus's texts: what Arm.members counts in
    held: Encoded  # the held-out items
    probes: Probes

    def arm(self, name: str) -> Arm:
        """Return an arm by its name."""
        return next(arm for arm in self.arms if arm.name == name)

    def runs(self) -> list[Run]:
        """Return every run, by seed and then by arm, so that whole seeds are finished first."""
        return [Run(arm.name, seed) for seed in self.seeds for arm in self.arms]


def save(bench: Bench, folder: Path) -> None:
    """Write a bench into a folder, unless it is there: it holds the same then, since the folder's name is a hash."""
    if (folder / NAME).is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{NAME}.partial"
    partial.write_bytes(pickle.dumps(bench))  # our own folder, our own classes: nothing foreign is unpickled
    partial.replace(folder / NAME)


def load(folder: Path) -> Bench:
    """Return the bench of a folder."""
    bench: Bench = pickle.loads((folder / NAME).read_bytes())
    return bench


def unfinished(folder: Path, runs: Iterable[Run]) -> list[Run]:
    """Return the runs that have left no result yet."""
    return [run for run in runs if not (folder / "runs" / run.name / RESULT).is_file()]


def room(folder: Path, run: Run) -> Path:
    """Return an empty folder to prepare a run's files in; :func:`commit` makes it the run's."""
    partial = folder / "runs" / f"{run.name}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def commit(folder: Path, result: Result, partial: Path) -> None:
    """Make a run's result, and what else lies in its room, appear in one step."""
    told = {"tokens": result.tokens, "epochs": result.epochs, "seconds": dict(result.seconds)}
    values = {f"value:{name}": array for name, array in result.values.items()}
    np.savez(partial / RESULT, curve=result.curve, told=np.array(json.dumps(told)), **values)  # type: ignore[arg-type]
    for path in sorted(partial.rglob("*")):
        sync(path)
    final = folder / "runs" / result.run.name
    shutil.rmtree(final, ignore_errors=True)
    partial.rename(final)
    sync(final.parent)


def result(folder: Path, run: Run) -> Result:
    """Return a finished run's result."""
    with np.load(folder / "runs" / run.name / RESULT) as held:
        told = json.loads(str(held["told"]))
        values = {name.removeprefix("value:"): held[name] for name in held.files if name.startswith("value:")}
        return Result(run, values, held["curve"], told["tokens"], told["epochs"], told["seconds"])
