"""A release's manifest.json as others read it: loaded, and held to its own root.

What stands in it is told in :mod:`curate.govern.manifest`, which writes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from curate.errors import IntegrityError, RecipeError
from curate.io import files
from curate.io.store import Store

FORMAT = "curate-manifest/1"
NAME = "manifest.json"
UNHASHED = ("created", "timing", "root")
SEAL = "sha256"  # in ``timing``: what root is for the rest, for created and timing


def root(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the manifest's hashed part, as JSON with sorted keys."""
    hashed = {key: value for key, value in manifest.items() if key not in UNHASHED}
    return hashlib.sha256(orjson.dumps(hashed, option=orjson.OPT_SORT_KEYS)).hexdigest()


def hold_to_root(out: Path, manifest: Mapping[str, Any], left: str) -> None:
    """Raise IntegrityError for a manifest that is not the one its root was computed of. left: what is not done then."""
    if (found := root(manifest)) != manifest.get("root"):
        raise IntegrityError(
            f"{out / NAME}: was changed after the run: its root is {manifest.get('root')}, its content hashes to "
            f"{found}; {left}"
        )


def seal(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what ``root`` leaves out: ``created`` and ``timing``, as JSON with sorted keys."""
    timing = {key: value for key, value in (manifest.get("timing") or {}).items() if key != SEAL}
    left = {"created": manifest.get("created"), "timing": timing}
    return hashlib.sha256(orjson.dumps(left, option=orjson.OPT_SORT_KEYS)).hexdigest()


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest with its ``root``, and with ``timing.sha256``, which tells a damage that root cannot."""
    timing = {**(manifest.get("timing") or {}), SEAL: seal(manifest)}
    return {**manifest, "timing": timing, "root": root(manifest)}


def dumps(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of manifest.json: the only ones that curate writes for this content."""
    return orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"


def load(out: Path) -> dict[str, Any]:
    """Read a release's manifest. Raises RecipeError if there is none, IntegrityError if it is not one of ours."""
    path = out / NAME
    if not path.is_file():
        hint = "; its run has not finished, run it again to go on" if (out / "work").is_dir() else ""
        raise RecipeError(f"{out}: not a release, it has no {NAME}{hint}")
    try:
        manifest = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise IntegrityError(
            f"{path}: not JSON (line {error.lineno}); restore it or run the recipe again"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise IntegrityError(f"{path}: 'format' is not {FORMAT!r}; this version of curate cannot read it")
    return manifest


def of_release(named: str, beside: Path) -> dict[str, Any]:
    """Read the manifest of a release that a recipe names: a folder relative to its own, or a URL. Raises as held."""
    return held(Store.at(named if files.is_remote(named) else beside / named), named)


def held(store: Store, named: str, otherwise: str = "") -> dict[str, Any]:
    """Read the manifest of the release in a store, held to its own root. otherwise: what else could have been named.

    Raises RecipeError if there is none, IntegrityError if it is not one of ours or was changed.
    """
    if not store.exists(NAME):
        raise RecipeError(
            f"found {named!r}, which is no release: there is no {NAME}; name the folder of a finished "
            f"release{otherwise}"
        )
    with store.reading(NAME) as path:
        manifest = load(path.parent)
    if (found := root(manifest)) != manifest.get("root"):
        raise IntegrityError(
            f"{named}: {NAME} was changed after its run: its root is {manifest.get('root')}, its content hashes to "
            f"{found}; restore it"
        )
    return manifest
