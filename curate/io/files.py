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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa

from curate.errors import MissingExtra
from curate.io.patience import patiently
from curate.io.patience import public as public
from curate.io.patience import why as why
from curate.io.ranges import BLOCK, Patient, Ranges, Spilled, Streamed
from curate.source import Source
from curate.yamlfile import printable

EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "hf": "hf"}  # URL scheme → our extra
EXTRAS |= dict.fromkeys(("az", "abfs", "abfss"), "az")
_RANGED = EXTRAS.keys() - {"hf"} | {"memory"}  # whose libraries answer a range with one request
_S3 = ("s3", "s3a")
UPLOADS = 4  # parts of one file that are sent at a time; each is in memory


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
        there = patiently(lambda: fs.exists(path), shown)
        if there or not glob.has_magic(path):
            yield (pattern, None) if there else ("", _nothing(shown, "nothing like it is there"))
            return
        listed = patiently(lambda: fs.glob(path, detail=True), shown)
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
        fs, path = fsspec.core.url_to_fs(location, **_options(scheme))
    except ImportError:
        if scheme in EXTRAS:
            raise MissingExtra.of(f"files on {scheme}://", EXTRAS[scheme]) from None
        advice = known_implementations.get(scheme, {}).get("err", f"no library for {scheme}:// is installed")
        raise MissingExtra(f"files on {scheme}:// need another library: {advice}") from None
    if scheme in _S3:
        fs.retries = 1  # what s3fs would try again, we do
    return fs, path


def _options(scheme: str) -> dict[str, Any]:
    """Return how a storage library is set up; what FSSPEC_<SCHEME>_… says in the environment goes before it.

    Listings are never kept: another worker's file would not be seen. Requests are tried again by patience.patiently;
    botocore does so too, a few times, since it alone can repeat one part of a large upload.
    """
    from fsspec.config import conf

    if scheme not in EXTRAS:
        return {}
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in _S3:
        retries = {"mode": "standard", "max_attempts": 3}
        options |= {"config_kwargs": {"retries": retries}, "max_concurrency": UPLOADS}
    given = {name for one in (_S3 if scheme in _S3 else (scheme,)) for name in conf.get(one, {})}
    return {name: value for name, value in options.items() if name not in given}


def size(location: str) -> int:
    """Return a file's size in bytes. Raises OSError, StorageError, or what the storage library raises."""
    if not is_remote(location):
        return Path(location).stat().st_size
    fs, path = connect(location)
    return patiently(lambda: int(fs.size(path)), location)


@contextmanager
def opened(location: str) -> Iterator[BinaryIO]:
    """Open a file for reading. Raises OSError, StorageError, or what the storage library raises; MissingExtra.

    A remote file is read ahead in large requests, and a request that fails is made again.
    """
    if not is_remote(location):
        with Path(location).open("rb") as file:
            yield file
        return
    fs, path = connect(location)
    scheme = location.partition("://")[0]
    if scheme in _RANGED:
        with Streamed(Ranges(fs, path, location)) as streamed:
            yield cast(BinaryIO, streamed)
        return
    file = patiently(lambda: fs.open(path, "rb", block_size=BLOCK), location)
    with file:
        yield cast(BinaryIO, Patient(file, location)) if scheme in EXTRAS else file


@contextmanager
def opened_arrow(location: str, mapped: bool = False) -> Iterator[pa.NativeFile]:
    """Open a file for Arrow, which reads a local one without Python; mapped: into memory, page by page."""
    if is_remote(location) and location.partition("://")[0] in _RANGED:
        fs, path = connect(location)
        with Spilled(Ranges(fs, path, location)) as spilled, pa.PythonFile(spilled, "r") as native:
            yield native
    elif is_remote(location):
        with opened(location) as file, pa.PythonFile(file, "r") as native:
            yield native
    else:
        with pa.memory_map(location) if mapped else pa.OSFile(location) as native:
            yield native
