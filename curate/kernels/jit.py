"""The decorator of compiled functions, with a compilation cache that can always be written.

Import numba through here: where the cache lies must be settled before numba is first imported.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


def cache_folder(package: Path, user_cache: Path) -> Path | None:
    """Return where compiled code is kept, or None where numba's own choice, beside the source, is writable.

    The user's cache folder comes next. The last resort is a fresh temporary folder that only this process and
    its children use: a folder of a known name in a shared place could hold somebody else's code.
    """
    if _writable(package):
        return None
    folder = user_cache / "curate" / "numba"
    return folder if _writable(folder) else Path(tempfile.mkdtemp(prefix="curate-numba-"))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _load_numba() -> Any:
    if "NUMBA_CACHE_DIR" not in os.environ:
        user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
        folder = cache_folder(Path(__file__).parent / "__pycache__", user_cache)
        if folder is not None:
            os.environ["NUMBA_CACHE_DIR"] = str(folder)  # worker processes inherit it
    import numba

    # Somebody may have imported numba before us; it reads the variable once, at its import.
    numba.config.CACHE_DIR = os.environ.get("NUMBA_CACHE_DIR", "")
    return numba


_numba = _load_numba()


def kernel(function: F) -> F:
    """Compile a function at its first call (numba, no Python objects, no GIL) and cache the machine code.

    Every kernel lives in one file: numba drops a cached function when the function's own file changes, but
    not when a file that it calls into does.
    """
    compiled: F = _numba.njit(cache=True, nogil=True)(function)
    return compiled
