"""A command, watched: the memory of its whole process tree every 50 ms, its CPU and wall seconds, its disk's peak.

RSS counts a page that processes share once for each of them; PSS (Linux, /proc/PID/smaps_rollup, kernel 4.14) counts
it once. Reading PSS walks a process's page tables, so it is taken every half second and whenever RSS has grown by 2 %.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from curate.engine.memory import proportional

EVERY = 0.05  # seconds between two looks at the memory
_PSS_EVERY = 0.5
_TREE_EVERY = 0.25
_DISK_EVERY = 1.0
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Watched:
    """What a command took. Memory and disk in bytes."""

    status: int = 0
    stdout: str = ""
    wall: float = 0.0
    cpu: float = 0.0  # of all processes
    rss: int = 0  # peak of the sum over the tree
    pss: int = 0
    disk: int = 0  # peak of the folder
    at: dict[str, dict[str, int]] = field(default_factory=dict)  # what the folder's state was → peaks
    parts: list[tuple[str, int, int, int]] = field(
        default_factory=list
    )  # at the peak: who, RSS, anonymous, files


def watch(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> Watched:
    """Run a command and watch its process tree, and the bytes in a folder."""
    found = Watched()
    before, started = os.times(), time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    disk = threading.Thread(target=_disk, args=(process, folder, found), daemon=True)
    memory = threading.Thread(target=_memory, args=(process, folder, found), daemon=True)
    disk.start()
    memory.start()
    assert process.stdout is not None
    found.stdout = process.stdout.read()
    found.status = process.wait()
    found.wall = time.monotonic() - started
    memory.join()
    disk.join()
    after = os.times()
    found.cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return found


def tree(root: int) -> list[int]:
    """Return the process and all that it, and they, have started."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if (name := folder.name).isdigit():
            try:
                text = Path(f"/proc/{name}/stat").read_text()
            except OSError:
                continue  # it has ended
            children.setdefault(int(text.rpartition(")")[2].split()[1]), []).append(int(name))
    found, waiting = [], [root]
    while waiting:
        one = waiting.pop()
        found.append(one)
        waiting += children.get(one, [])
    return found


def _memory(process: subprocess.Popen[str], folder: Path, found: Watched) -> None:
    due = known = 0.0
    pids: list[int] = []
    while process.poll() is None:
        now = time.monotonic()
        if now >= known:  # looking for new processes reads all of /proc
            known, pids = now + _TREE_EVERY, tree(process.pid)
        parts = [part for pid in pids if (part := _status(pid, process.pid))]
        rss = sum(part[1] for part in parts)
        phase = found.at.setdefault(_phase(folder), {"rss": 0, "pss": 0})
        phase["rss"] = max(phase["rss"], rss)
        if now >= due or rss > found.rss * 1.02:
            due = now + _PSS_EVERY
            pss = sum(map(proportional, pids))
            found.pss, phase["pss"] = max(found.pss, pss), max(phase["pss"], pss)
        if rss > found.rss:
            found.rss, found.parts = rss, parts
        time.sleep(EVERY)


def _status(pid: int, root: int) -> tuple[str, int, int, int] | None:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    sizes = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key in ("VmRSS", "RssAnon", "RssFile", "RssShmem"):
            sizes[key] = int(value.split()[0]) * 1024
    if "VmRSS" not in sizes:
        return None  # ending
    name = "main" if pid == root else f"process {pid}"
    return name, sizes["VmRSS"], sizes["RssAnon"], sizes["RssFile"] + sizes["RssShmem"]


def _phase(folder: Path) -> str:
    """Tell how far a run into this folder is, by what lies in it."""
    work = folder / "work"
    if (work / "release").is_dir():
        return "write: " + ", ".join(sorted(path.name for path in (work / "release").iterdir()))
    done = len(list((work / "resolved").glob("*/stage.pickle"))) if (work / "resolved").is_dir() else 0
    begun = len(list((work / "resolved").iterdir())) if (work / "resolved").is_dir() else 0
    if begun > done:
        return f"resolve {done}"
    if (work / "units").is_dir():
        return f"segment {done}"
    return "documents" if (folder / "data").is_dir() else "scan"


def _disk(process: subprocess.Popen[str], folder: Path, found: Watched) -> None:
    while process.poll() is None:
        found.disk = max(found.disk, size(folder))
        time.sleep(_DISK_EVERY)


def size(folder: Path) -> int:
    """Return the bytes that a folder takes on disk."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(where, name).lstat().st_blocks * 512
            except OSError:
                continue  # it has gone
    return total
