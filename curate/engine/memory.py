"""Memory of a run: what its processes hold, how many workers a budget holds, and how to give memory back.

Held is the proportional set size (PSS, proc_pid_smaps(5)): a page that k processes share counts 1/k in each, so that
the sum over a tree is what the tree takes. Where the system tells none of it, nothing is measured or refused.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable
from pathlib import Path

# Measured on this package at its default batch size (benchmarks/real.py, peaks of PSS while units are done).
MAIN = 250 * 10**6
"""Bytes that the main process takes beside what a barrier's resolving holds."""
WORKER = 400 * 10**6
"""Bytes that a worker takes."""
NEAR = 0.85
"""Share of a budget from which no further task is handed out."""
FULL = 0.95
"""Share of a budget at which a task is taken back: between two looks it goes on growing."""
_CGROUP = Path("/sys/fs/cgroup")
_SURE = 0.7  # share of a budget up to which resident sizes, which are cheap and never too small, settle it


def workers_within(budget: int | None, asked: int) -> int:
    """Return how many workers a budget in bytes holds: at most those asked for, at least one.

    One worker is the main process itself, which then takes what it takes and a worker's share beside that.
    """
    if budget is None:
        return asked
    room = (budget - MAIN) // WORKER
    return max(1, min(asked, room))


def expected(workers: int) -> int:
    """Return the bytes that a run with so many workers takes, beside what a barrier's resolving holds."""
    return MAIN + workers * WORKER


def held(processes: Iterable[int], budget: int) -> int | None:
    """Return the bytes that processes take together; None where the system does not tell.

    Sums well below the budget are of resident sizes, which count shared pages more than once: they cost less to read.
    """
    processes = tuple(processes)
    resident = [_resident(process) for process in processes]
    if None in resident:
        return None
    total = sum(size or 0 for size in resident)
    return total if total < _SURE * budget else sum(map(proportional, processes))


def proportional(process: int) -> int:
    """Return a process's PSS in bytes, its resident size where the system does not tell, 0 where it is gone."""
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_bytes().splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return _resident(process) or 0


def _resident(process: int) -> int | None:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_bytes().split()[1])
    except OSError:
        return 0 if Path("/proc/self/statm").exists() else None  # it has ended; or this is no Linux
    except IndexError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def machine() -> int | None:
    """Return the bytes of memory that there are for this process: the machine's, or its container's limit if that is
    less (cgroup v2 memory.max, v1 memory.limit_in_bytes); None where the system does not tell.
    """
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limits.append(int((_CGROUP / name).read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return min(limits)


def release() -> None:
    """Give back to the system what this process's libraries keep for later."""
    if "pyarrow" in sys.modules:
        sys.modules["pyarrow"].default_memory_pool().release_unused()
    try:
        ctypes.CDLL(None).malloc_trim(0)  # glibc's
    except (AttributeError, OSError, TypeError):
        return


def killings() -> int:
    """Return how many processes the system has killed for want of memory since it started, as far as it tells."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
