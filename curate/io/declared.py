"""Files held to the hashes that a source manifest declares for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from curate.io.files import public
from curate.source import Source
from curate.yamlfile import printable


def uncovered(source: Source, paths: Iterable[str]) -> list[str]:
    """Return what is wrong with the names under a source's ``sha256``: all its files must be there, and no others.

    paths: the source's files as people see them. A file is named by its path, or by its name alone where no other
    file of the source has that name.
    """
    if source.sha256 is None:
        return []
    paths = sorted(paths)
    named = _named(source, paths)
    problems = []
    if missing := [path for path in paths if path not in named]:
        more = f" ({len(missing)} files are not)" if len(missing) > 1 else ""
        problems.append(
            f"{missing[0]}: is not under sha256 of source {source.name!r}{more}; expected every file of the source "
            "there, or no sha256; add its hash once you know that the file is the right one"
        )
    used = set(named.values())
    for name in sorted(source.sha256):
        if name not in used:
            twins = sum(_last(path) == name for path in paths)
            found = (
                f"{twins} files have that name" if twins > 1 else f"no file of source {source.name!r} is that"
            )
            problems.append(
                f"{printable(public(name))}: stands under sha256 of source {source.name!r}, but {found}; expected a "
                "file that its patterns match, by its path; correct the name, restore the file, or take it out"
            )
    return problems


def changed(source: Source, hashes: Mapping[str, str]) -> list[str]:
    """Return a line for every file whose bytes are not those that its source declares. hashes: path → SHA-256."""
    if source.sha256 is None:
        return []
    named = _named(source, hashes)
    return [
        f"{path}: SHA-256 is {hashes[path]}; expected {expected}, which source {source.name!r} declares; restore "
        "that file, or declare the new hash once you know why it changed"
        for path in sorted(named)
        if (expected := source.sha256[named[path]]) != hashes[path]
    ]


def _named(source: Source, paths: Iterable[str]) -> dict[str, str]:
    """Return what names each file under sha256: file → name there."""
    declared = {public(name).removeprefix("./"): name for name in source.sha256 or ()}
    paths = list(paths)
    twins = Counter(_last(path) for path in paths)
    found = {}
    for path in paths:
        if path in declared:
            found[path] = declared[path]
        elif _last(path) in declared and twins[_last(path)] == 1:
            found[path] = declared[_last(path)]
    return found


def _last(path: str) -> str:
    return path.rpartition("/")[2]
