"""The file layer: which files a source names, and how their bytes are reached.

A pattern is a path or glob (``*``, ``?``, ``[…]``, ``**`` for any number of folders) relative to the
recipe's folder, or a URL that fsspec opens (``s3://``, ``gs://``, ``hf://``, …), globs included. As in a
shell, a glob skips names that begin with a dot unless the pattern itself spells the dot.

A file has two names. Its *path* is what people see: relative to the recipe's folder, or the URL without
user, password and query. Its *location* is what opens it; it may hold a credential and is never shown.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from curate.errors import MissingExtra
from curate.source import Source
from curate.yamlfile import printable

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf"}  # URL scheme → our extra
READ_AHEAD = 8 * 2**20  # bytes per request on remote storage, where each request costs a round trip


@dataclass(frozen=True)
class Found:
    """A file that a source names."""

    source: str
    path: str
    location: str = field(repr=False)


def expand(source: Source, folder: Path) -> tuple[list[Found], list[str]]:
    """Return the files of a source, ordered by path, and what is wrong with its patterns.

    Raises MissingExtra where a URL needs a library that one of our extras brings.
    """
    found: dict[str, Found] = {}
    problems: list[str] = []
    for pattern in source.files:
        list_files = _list_remote if is_remote(pattern) else _list_local
        for location, problem in list_files(pattern, folder):
            if problem:
                problems.append(f"source {source.name!r}: {problem}")
                continue
            shown = public(location) if is_remote(location) else _relative(location, folder, pattern)
            # Arrow, JSON and what a release says of its inputs hold text, which not every name on a disk is.
            if no_text := next((name for name in (shown, location) if printable(name) != name), None):
                advice = "expected a path in UTF-8; rename it"
                problems.append(f"{printable(no_text)}: the name is not UTF-8; {advice}")
                continue
            held = found.get(location)
            if held is None or shown < held.path:  # one file, matched by two patterns
                found[location] = Found(source.name, shown, location)
    return sorted(found.values(), key=lambda file: file.path), problems


def is_remote(pattern: str) -> bool:
    """Tell whether a pattern is a URL of anything but the local file system."""
    scheme, found, _ = pattern.partition("://")
    return bool(found) and scheme not in ("file", "local")


def public(url: str) -> str:
    """Return a URL without user and password, and a web address without its query, which may be signed."""
    url = re.sub(r"(?<=://)[^/@\s]+@", "", url)
    return re.sub(r"(https?://[^\s?#]*)[?#]\S*", r"\1", url)


def _list_local(pattern: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    named = os.path.expanduser(pattern.partition("://")[2] if "://" in pattern else pattern)  # noqa: PTH111
    whole = Path(os.path.abspath(folder / named))  # noqa: PTH100 - keeps symbolic links
    if whole.exists() or whole.is_symlink() or not glob.has_magic(named):
        matches, literal = [str(whole)], True  # a name with brackets in it is first of all a name
    else:
        literal = False
        names = glob.glob(named, root_dir=folder, recursive=True)  # noqa: PTH207 - the pattern may be absolute
        matches = sorted(os.path.abspath(folder / name) for name in names)  # noqa: PTH100
        matches = [match for match in matches if not Path(match).is_dir()]
    if not matches or (literal and not whole.exists() and not whole.is_symlink()):
        yield "", _nothing(pattern, _around(whole))
        return
    for match in matches:
        if Path(match).is_file():
            yield match, None
        elif Path(match).is_dir():
            yield (
                "",
                f"{pattern!r} is a folder; expected files; write {pattern.rstrip('/') + '/**/*.jsonl'!r}",
            )
        else:
            name = printable(_relative(match, folder, pattern))
            yield (
                "",
                f"{name}: neither a file nor a folder (a broken link, or a pipe); expected a file; mend it",
            )


def _list_remote(pattern: str, folder: Path) -> Iterator[tuple[str, str | None]]:
    shown = public(pattern)
    try:
        fs, path = connect(pattern)
        if not glob.has_magic(path) or fs.exists(path):
            yield (pattern, None) if fs.exists(path) else ("", _nothing(shown, "nothing like it is there"))
            return
        listed = fs.glob(path, detail=True)
    except MissingExtra:
        raise
    except Exception as error:  # noqa: BLE001 - each storage library has exceptions of its own
        yield (
            "",
            f"{shown!r} cannot be listed ({why(error)}); check the address, the network and the credentials",
        )
        return
    hidden = any(part.startswith(".") for part in path.split("/"))
    matches = sorted(name for name, about in listed.items() if about.get("type") != "directory")
    matches = [m for m in matches if hidden or not any(part.startswith(".") for part in m.split("/"))]
    if not matches:
        yield "", _nothing(shown, "nothing like it is there")
    for match in matches:
        yield _locate(pattern, match), None


def _nothing(pattern: str, there: str) -> str:
    return (
        f"nothing matches {pattern!r}; {there}; correct the pattern, which is relative to the recipe's folder"
    )


def _around(whole: Path) -> str:
    """Return what the deepest folder of a pattern that exists has in it."""
    here = next(p for p in whole.parents if p.is_dir())
    try:
        inside = sorted(p for p in here.iterdir() if not p.name.startswith("."))
    except OSError as error:
        return f"{printable(here)} cannot be listed ({why(error)})"
    names = [printable(p.name) + "/" * p.is_dir() for p in inside]
    more = [f"and {len(names) - 8} more"] if len(names) > 8 else []
    has = f"has {', '.join(names[:8] + more)}" if names else "is empty"
    return f"{printable(here)} {has}"


def _relative(location: str, folder: Path, pattern: str) -> str:
    # A path outside of the recipe's folder that the recipe gives in full stays as it is given.
    base = os.path.abspath(folder)  # noqa: PTH100
    inside = Path(location).is_relative_to(base)
    if not inside and (Path(pattern).is_absolute() or pattern.startswith(("file://", "local://", "~"))):
        return Path(location).as_posix()
    return Path(os.path.relpath(location, base)).as_posix()


def _locate(pattern: str, match: str) -> str:
    """Return the URL of a match: fsspec lists names without scheme, some with a bucket, some without host."""
    if "://" in match:
        return match
    scheme, _, rest = pattern.partition("://")
    netloc = rest.partition("/")[0]
    user, at, host = netloc.rpartition("@")
    match = match.lstrip("/")
    return f"{scheme}://{user}{at}{match}" if match.startswith(f"{host}/") else f"{scheme}://{netloc}/{match}"


def connect(location: str) -> tuple[Any, str]:
    """Return the storage of a URL, and the path in it. Never for a local path: '::' has a meaning in a URL."""
    import fsspec
    from fsspec.registry import known_implementations

    scheme = location.partition("://")[0]
    try:
        fs, path = fsspec.core.url_to_fs(location)
    except ImportError:
        if scheme in EXTRAS:
            raise MissingExtra.of(f"inputs on {scheme}://", EXTRAS[scheme]) from None
        advice = known_implementations.get(scheme, {}).get("err", f"no library for {scheme}:// is installed")
        raise MissingExtra(f"inputs on {scheme}:// need another library: {advice}") from None
    return fs, path


def size(location: str) -> int:
    """Return a file's size in bytes. Raises OSError, or what the storage library raises."""
    if not is_remote(location):
        return Path(location).stat().st_size
    fs, path = connect(location)
    return int(fs.size(path))


@contextmanager
def opened(location: str) -> Iterator[BinaryIO]:
    """Open a file for reading. Raises OSError, or what the storage library raises; MissingExtra."""
    if is_remote(location):
        fs, path = connect(location)
        with fs.open(path, "rb", block_size=READ_AHEAD) as file:
            yield file
    else:
        with Path(location).open("rb") as file:
            yield file


@contextmanager
def opened_arrow(location: str, mapped: bool = False) -> Iterator[pa.NativeFile]:
    """Open a file for Arrow, which reads a local one without Python; mapped: into memory, page by page."""
    if is_remote(location):
        with opened(location) as file, pa.PythonFile(file, "r") as native:
            yield native
    else:
        with pa.memory_map(location) if mapped else pa.OSFile(location) as native:
            yield native


def why(error: BaseException) -> str:
    """Return why a file cannot be read, in words that hold neither record text nor a credential.

    Storage libraries quote addresses, headers and keys in their messages: of those only the type is told.
    """
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, ValueError) and str(error).startswith("Protocol not known"):
        return "no storage of this kind is known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return type(error).__name__
