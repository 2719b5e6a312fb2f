"""Every document of a release: a projection of its manifest, so the same manifest gives the same bytes.

A renderer takes the manifest and returns files: their paths in the release, and their bytes. Whatever a renderer
says, the manifest holds; so ``curate verify`` renders all of them again and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from curate.govern import datasheet
from curate.io.write import write_bytes

Manifest: TypeAlias = Mapping[str, Any]
Renderer: TypeAlias = Callable[[Manifest], Mapping[str, bytes]]

RENDERERS: tuple[Renderer, ...] = (datasheet.render,)


def render(manifest: Manifest) -> dict[str, bytes]:
    """Return every document, by its path in the release."""
    return {path: content for renderer in RENDERERS for path, content in renderer(manifest).items()}


def write(out: Path, manifest: Manifest) -> list[Path]:
    """Write every document of a release and return their paths."""
    written = []
    for path, content in render(manifest).items():
        (out / path).parent.mkdir(exist_ok=True)
        write_bytes(out / path, content)
        written.append(out / path)
    return written
