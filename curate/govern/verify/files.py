"""The files of a release: that each is there with the bytes that are listed, and no other."""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from curate.govern import signing
from curate.govern.verify import rows
from curate.govern.verify.report import Outcome
from curate.io.manifest import NAME

ALLOWED = ("work/*", signing.NAME, signing.SUPERSEDED.format(root="*"))
"""Files that the manifest does not list: of an unfinished run, and signatures."""
_THREADS = 8  # SHA-256 frees the interpreter; more threads than cores hide the disk


def digests(out: Path, paths: Iterable[str]) -> dict[str, tuple[int, str]]:
    """Return size in bytes and SHA-256 in hex of the files that are there and can be read."""
    with ThreadPoolExecutor(min(_THREADS, (os.cpu_count() or 1) * 2)) as threads:
        wanted = sorted(set(paths))
        return {
            path: digest
            for path, digest in zip(wanted, threads.map(lambda p: _digest(out / p), wanted), strict=True)
            if digest is not None
        }


def _digest(path: Path) -> tuple[int, str] | None:
    if not path.is_file():  # a pipe or a device would be read forever
        return None
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return file.tell(), digest
    except OSError:
        return None


def differing(manifest: Mapping[str, Any], found: Mapping[str, tuple[int, str]]) -> list[str]:
    """Return the listed files that are missing or have other bytes, as the manifest lists them."""
    return [e["path"] for e in manifest["outputs"] if found.get(e["path"]) != (e["bytes"], e["sha256"])]


def outputs(
    out: Path, manifest: Mapping[str, Any], found: Mapping[str, tuple[int, str]], outcome: Outcome
) -> None:
    """Check presence, size and SHA-256 of every file that the manifest lists."""
    entries = manifest["outputs"]
    outcome.counted = {"files": len(entries), "bytes": sum(size for size, _ in found.values())}
    outcome.said = f"{len(entries):,} files, {sum(entry['bytes'] for entry in entries):,} bytes, by SHA-256"
    for entry in entries:
        path, size, digest = entry["path"], entry["bytes"], entry["sha256"]
        if path not in found:
            outcome.wrong(path, "is missing, or cannot be read")
        elif found[path][0] != size:
            outcome.wrong(
                path, f"has {found[path][0]:,} bytes, the manifest says {size:,}{_readable(out / path)}"
            )
        elif found[path][1] != digest:
            said = f"SHA-256 is {found[path][1][:16]}…, the manifest says {digest[:16]}…"
            outcome.wrong(path, said + _readable(out / path))
    if len({entry["path"] for entry in entries}) < len(entries):
        outcome.wrong(NAME, "lists a file twice")


def _readable(path: Path) -> str:
    """Say where a parquet file can no longer be read, if it cannot."""
    if path.suffix == ".parquet":
        try:
            for _ in rows.tables(path):
                pass
        except rows.UnreadableError as error:
            return f"; {error.said}"
    return ""


def others(out: Path, listed: Iterable[str], outcome: Outcome) -> None:
    """Check that nothing is in the folder that neither the manifest nor a document's name accounts for."""
    known = {NAME, *listed}
    found = 0
    for path in _walk(out):
        found += 1
        if path not in known and not any(_matches(path, pattern) for pattern in ALLOWED):
            outcome.wrong(path, "is in the folder, and nothing lists it")
    outcome.counted = {"files": found}
    outcome.said = f"none among the {found:,} in the folder"


def _matches(path: str, pattern: str) -> bool:
    """Tell whether a path is one that a pattern allows; only what lies right in takedown/ is a signature."""
    deep = pattern.endswith("/*")
    return fnmatch.fnmatchcase(path, pattern) and (deep or path.count("/") == pattern.count("/"))


def _walk(out: Path) -> Iterator[str]:
    """Yield every file and link below a folder, by path; links are not followed."""
    for folder, names, files in os.walk(out):
        names.sort()
        here = Path(folder)
        linked = [name for name in names if (here / name).is_symlink()]
        for name in sorted([*files, *linked]):
            yield (here / name).relative_to(out).as_posix()
