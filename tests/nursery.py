"""A process that has imported the package, and forks a run per line it is told; runs are born fast, and die as told.

    python nursery.py          one JSON object per line: {recipe, out, workers, phase, event, ballast, log}

A run counts its own steps, phase by phase (a phase is a segment's title, or scan, a resolution, write, publish): a
step is an audited event that touches files. With ``phase`` it kills its whole process group by SIGKILL at step
``event`` of that phase, at the latest when the phase ends. With ``ballast`` it fills that folder's disk when the phase
begins. It writes the steps of every phase to ``log`` when it ends by itself, and the modules that it has imported,
which the nursery then imports for those that follow. For each line, the exit code is printed.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

sys.path.insert(0, str(Path(__file__).parent))

STEPS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.scandir",
    "os.listdir",
    "shutil.rmtree",
}


class Steps:
    """Counts what the run does, and kills it in time."""

    def __init__(self, task: dict[str, Any]) -> None:
        self.task = task
        self.phase = "start"
        self.counts: Counter[str] = Counter()

    def enter(self, phase: str) -> None:
        if self.phase == self.task.get("phase"):
            self._kill()
        self.phase = phase
        if phase == self.task.get("phase") and self.task.get("ballast"):
            self.task["phase"] = ""
            _fill(Path(self.task["ballast"]))

    def hear(self, event: str, _: object) -> None:
        if event in STEPS:
            self.counts[self.phase] += 1
            if self.phase == self.task.get("phase") and self.counts[self.phase] >= self.task["event"]:
                self._kill()

    def _kill(self) -> None:
        os.killpg(0, signal.SIGKILL)


def _fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 65536)
        except OSError:
            return


def _run(task: dict[str, Any]) -> int:
    from curate import release
    from curate.cli import main
    from curate.pipeline import Watch

    steps = Steps(task)
    publishes = {"write": "publish"}
    watch = Watch(
        lambda title, _: steps.enter(title), lambda: steps.enter(publishes.get(steps.phase, "between"))
    )
    run = release.run
    release.run = lambda *given, **named: run(*given, **{**named, "watch": watch})
    sys.addaudithook(steps.hear)
    code = main(["run", task["recipe"], "--out", task["out"], "--workers", str(task.get("workers", 1))])
    counts = dict(steps.counts)
    steps.enter("end")
    if "log" in task:
        Path(task["log"]).write_bytes(orjson.dumps({"steps": counts, "modules": sorted(sys.modules)}))
    return code


def _learn(log: Path) -> None:
    """Import what a run has imported. No more: a fork must not find threads, which running would start."""
    for name in orjson.loads(log.read_bytes())["modules"]:
        if name not in sys.modules and not name.startswith(("__", "numba.core", "nursery")):
            with suppress(ImportError):
                importlib.import_module(name)


def main() -> None:
    import curate.cli  # noqa: F401

    for line in sys.stdin.buffer:
        task = orjson.loads(line)
        child = os.fork()
        if not child:
            os.setpgid(0, 0)
            null = os.open(os.devnull, os.O_RDONLY)
            os.dup2(null, 0)
            errors = os.open(task["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(errors, 1)
            os.dup2(errors, 2)
            code = 99
            try:
                code = _run(task)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if task.get("log"):
            _learn(Path(task["log"]))
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
