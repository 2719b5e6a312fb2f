"""The decorator of compiled functions, with a compilation cache that is always writable and never stale.

Import numba through here.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder(package: Path, user_cache: Path) -> Path:
    """Return a folder for compiled code: beside the source, else in the user's cache, else a temporary one.

    The last is a fresh folder that only this process and its children use: a folder of a known name in a
    shared place could hold somebody else's code.
    """
    if _writable(package):
        return package
    folder = user_cache / "curate" / "kernels"
    if _writable(folder):
        return folder
    fresh = Path(tempfile.mkdtemp(prefix="curate-kernels-"))
    atexit.register(shutil.rmtree, fresh, ignore_errors=True)
    return fresh


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def version(package: Path) -> str:
    """Return a hash of every source file in a folder.

    numba compiles a cached function anew when the function's own file changes, but not when a file that it
    calls into does. So the cache's folder carries the hash of all.
    """
    sources = sorted(package.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:16]


@lru_cache(maxsize=1)
def cache() -> str:
    """Return the folder that compiled code is kept in."""
    here = Path(__file__).parent
    if not (set_to := os.environ.get("CURATE_KERNELS")) or not _writable(Path(set_to)):
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        folder = cache_folder(here / "__pycache__", user_cache)
        os.environ["CURATE_KERNELS"] = str(folder)  # worker processes take the same
    return str(Path(os.environ["CURATE_KERNELS"]) / f"kernels-{version(here)}")


def kernel(function: F) -> F:
    """Compile a function at its first call (numba, no Python objects, no GIL) and cache the machine code.

    Kernels make no arrays: their callers do. So no references are counted, which in a loop over short records
    took half of the time.
    """
    return _compiled(function)


def making_arrays(function: F) -> F:
    """Compile a function that makes arrays of its own."""
    return _compiled(function, _nrt=True)


def part(function: F) -> F:
    """Compile a function into whatever kernel calls it."""
    return _compiled(function, forceinline=True)


def _compiled(function: F, **options: Any) -> F:
    import numba

    # numba takes the folder from here when the function is declared; other users' functions keep theirs.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache()
    try:
        options = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False, **options}
        compiled: F = numba.njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before
    return compiled
