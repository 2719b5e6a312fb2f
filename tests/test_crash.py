"""Whatever ends a run, and whenever: the next one goes on to the same bytes, and nothing looks finished that is not."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import RECIPE, contents, make_corpus

import curate
from curate.cli import main
from curate.govern.verify import verify

HERE = Path(__file__).parent
RECORDS = 60
PER_PHASE = int(os.environ.get("CURATE_KILLS", "1"))  # kills


class Nursery:
    """Runs in processes of their own (nursery.py)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, out: Path, **task: Any) -> int:
        """Run the folder's recipe and return the exit code, negative for a signal."""
        self.begin(out, **task)
        return self.end()

    def begin(self, out: Path, **task: Any) -> None:
        told = {
            "recipe": str(self.folder / "curate.yaml"),
            "out": str(out),
            "err": str(self.folder / "err"),
            **task,
        }
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE))
        self._process.stdin.flush()

    def end(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    @property
    def said(self) -> str:
        return (self.folder / "err").read_text()

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    make_corpus(tmp_path, RECORDS)
    (tmp_path / "curate.yaml").write_text(RECIPE)
    held = Nursery(tmp_path)
    yield held
    held.close()


def _whole_or_none(out: Path) -> None:
    """A folder with a manifest is a release that verifies."""
    if (out / "manifest.json").exists():
        assert verify(out).ok


def test_a_run_killed_at_any_step_goes_on_to_the_same_bytes(nursery: Nursery, tmp_path: Path) -> None:
    log = tmp_path / "steps.json"
    assert nursery.run(tmp_path / "calm", log=str(log)) == 0, nursery.said
    calm = contents(tmp_path / "calm")
    steps = {phase: count for phase, count in orjson.loads(log.read_bytes())["steps"].items() if count > 2}
    assert {"scan", "exact: resolve", "minhash: resolve", "write", "publish"} < set(steps)
    assert sum(title.startswith(("read →", "exact →", "minhash →")) for title in steps) == 3

    out, kills = tmp_path / "out", []
    recipe = (tmp_path / "curate.yaml").read_text()
    (tmp_path / "curate.yaml").write_text(recipe.replace('version: "1"', 'version: "0"'))
    assert nursery.run(out) == 0  # an earlier release, which the killed runs are to replace
    (tmp_path / "curate.yaml").write_text(recipe)
    shutil.copytree(out, tmp_path / "earlier")
    rng = random.Random(20)
    for phase, count in steps.items():
        for part in range(PER_PHASE):
            event = 1 + int((part + rng.random()) * count / PER_PHASE)
            code = nursery.run(out, phase=phase, event=event)
            assert code == -signal.SIGKILL, (phase, event, nursery.said)
            kills.append((phase, event))
            _whole_or_none(out)
            if (out / "manifest.json").exists() and curate.load(out).manifest["version"] == "1":
                assert (
                    phase == "publish"
                )  # it was killed when all was done: once more from the earlier release
                shutil.rmtree(out)
                shutil.copytree(tmp_path / "earlier", out)
    assert len(kills) >= 10 * PER_PHASE
    assert nursery.run(out) == 0, nursery.said
    assert contents(out) == calm
    assert not (out / "work").exists()


def test_a_run_of_several_processes_killed_at_any_moment_goes_on_to_the_same_bytes(
    nursery: Nursery, tmp_path: Path
) -> None:
    started = time.monotonic()
    assert nursery.run(tmp_path / "calm", workers=2) == 0, nursery.said
    length = time.monotonic() - started
    rng = random.Random(21)
    out = tmp_path / "out"
    codes = []
    for part in range(3):
        nursery.begin(out, workers=2)
        time.sleep(length * (part + rng.random()) / 4)
        _kill_group(nursery, out)
        codes.append(nursery.end())
        _whole_or_none(out)
    assert -signal.SIGKILL in codes
    assert nursery.run(out, workers=2) == 0, nursery.said
    assert contents(out) == contents(tmp_path / "calm")


def _kill_group(nursery: Nursery, out: Path) -> None:
    children = Path(f"/proc/{nursery._process.pid}/task/{nursery._process.pid}/children")
    for child in children.read_text().split():
        os.killpg(int(child), signal.SIGKILL)


def test_workers_killed_while_they_work_change_nothing(tmp_path: Path) -> None:
    make_corpus(tmp_path, RECORDS)
    (tmp_path / "curate.yaml").write_text(RECIPE)
    calm = curate.run(tmp_path / "curate.yaml", tmp_path / "calm", workers=1)
    rng = random.Random(22)
    ticks = 0
    killed: list[int] = []

    def tick(records: int, nbytes: int) -> None:
        nonlocal ticks
        ticks += 1
        if ticks % 5 == 0 and len(killed) < 4 and (workers := active_children()):
            killed.append(rng.choice(sorted(worker.pid or 0 for worker in workers)))
            os.kill(killed[-1], signal.SIGKILL)

    shaken = curate.run(tmp_path / "curate.yaml", tmp_path / "shaken", workers=2, batch_size=7, tick=tick)
    assert len(killed) == 4
    assert contents(shaken.path) == contents(calm.path)


def test_ctrl_c_stops_all_processes_and_the_next_run_goes_on(nursery: Nursery, tmp_path: Path) -> None:
    # A terminal sends it to every process of the group, the workers among them.
    (tmp_path / "slow.yaml").write_text(RECIPE + "  - toys:Slow\n")
    out = tmp_path / "out"
    nursery.begin(out, workers=2, recipe=str(tmp_path / "slow.yaml"))
    _until(lambda: (out / "work" / "units").is_dir() and any((out / "work" / "units").glob("*.partial")))
    children = Path(f"/proc/{nursery._process.pid}/task/{nursery._process.pid}/children")
    (main_process,) = map(int, children.read_text().split())
    workers = Path(f"/proc/{main_process}/task").glob("*/children")
    pids = [int(pid) for path in workers for pid in path.read_text().split()]
    os.killpg(main_process, signal.SIGINT)
    assert nursery.end() == 130
    assert "stopped; what is finished is kept" in nursery.said
    assert "Traceback" not in nursery.said
    _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert nursery.run(out) == 0, nursery.said
    assert nursery.run(tmp_path / "calm") == 0
    assert contents(out) == contents(tmp_path / "calm")


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_line_and_the_next_run_with_room_goes_on(
    nursery: Nursery, tmp_path: Path, small_disk: Path
) -> None:
    log = tmp_path / "steps.json"
    assert nursery.run(tmp_path / "calm", log=str(log)) == 0, nursery.said
    phases = [phase for phase, count in orjson.loads(log.read_bytes())["steps"].items() if count > 2]
    for phase in phases:
        if phase in ("scan", "start", "between"):
            continue
        out = small_disk / "out"
        code = nursery.run(out, phase=phase, event=10**9, ballast=str(small_disk))
        assert code == 1, (phase, code, nursery.said)
        error = nursery.said.splitlines()[-1]
        assert error.startswith(f"error: {small_disk}"), (phase, nursery.said)
        assert "no space is left on its disk (0.0 MB free)" in error
        assert "make room there" in error
        assert "Traceback" not in nursery.said
        (small_disk / "ballast").unlink()
        _whole_or_none(out)
    assert nursery.run(out) == 0, nursery.said
    assert contents(out) == contents(tmp_path / "calm")


def test_a_disk_that_refuses_any_write_is_one_clear_line(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fsync, left = os.fsync, 10**9

    def refusing(file: int) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    monkeypatch.setattr(os, "fsync", refusing)
    command = ["run", str(corpus / "curate.yaml"), "--workers", "1", "--out"]
    assert main([*command, str(corpus / "calm")]) == 0
    rng = random.Random(23)
    for _ in range(6):
        left = rng.randrange(4)
        assert main([*command, str(corpus / "out")]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "no space is left on its disk" in error
        assert "run the same command again" in error
    left = 10**9
    assert main([*command, str(corpus / "out")]) == 0
    assert contents(corpus / "out") == contents(corpus / "calm")
