"""Every document of a release: a projection of its manifest, so the same manifest gives the same bytes.

A renderer takes the manifest and returns files: their paths in the release, and their bytes. Whatever a renderer
says, the manifest holds; so ``curate verify`` renders all of them again and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from curate.errors import RecipeError
from curate.govern import datasheet, disclosures, effects, lineage, signing
from curate.govern.descriptions import bom, card, croissant, spdx
from curate.govern.licensing import documents as licensing
from curate.io.write import write_bytes

Manifest: TypeAlias = Mapping[str, Any]
Renderer: TypeAlias = Callable[[Manifest], Mapping[str, bytes]]

RENDERERS: tuple[Renderer, ...] = (
    datasheet.render,
    croissant.render,
    card.render,
    bom.render,
    spdx.render,
    disclosures.render,
    lineage.render,
    licensing.render,
    effects.render,
)

_ON_REQUEST = {
    bom.NAME: b'"curate:root"',
    spdx.NAME: b'"name": "curate ',
}  # each with what tells that it is ours


def render(manifest: Manifest) -> dict[str, bytes]:
    """Return every document, by its path in the release."""
    return {path: content for renderer in RENDERERS for path, content in renderer(manifest).items()}


def check(out: Path) -> None:
    """Raise RecipeError if a document would replace a README.md that no release made."""
    path = out / card.NAME
    if path.is_file() and not card.is_ours(path.read_bytes()):
        raise RecipeError(
            f"{path}: was not made by curate, and would be replaced by the card; move it elsewhere"
        )


def write(out: Path, manifest: Manifest) -> list[Path]:
    """Write every document of a release and return their paths. A signature over other ones goes first."""
    check(out)
    written = []
    rendered = render(manifest)
    signing.retire(out, rendered)
    for name, mark in _ON_REQUEST.items():  # one of an earlier release that this recipe no longer asks for
        if name not in rendered and (out / name).is_file() and mark in (out / name).read_bytes():
            (out / name).unlink()
    for path, content in rendered.items():
        (out / path).parent.mkdir(exist_ok=True)
        write_bytes(out / path, content)
        written.append(out / path)
    return written
