"""What is done to a finished release: its datasheet rendered again, an audit taken in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.errors import IntegrityError, RecipeError
from curate.govern import audit as audits
from curate.govern import documents
from curate.govern import manifest as manifests
from curate.io.write import finished, write_text
from curate.release import Release, finish, load


def datasheet(out: str | Path) -> list[Path]:
    """Render every document from the manifest again and return the files written (``curate datasheet``)."""
    release = load(out)
    _held_to_root(release)
    return documents.write(release.path, release.manifest)


def audit(out: str | Path, form: str | Path) -> dict[str, Any]:
    """Take in a filled-in form of the residual audit and return what it says (``curate audit``).

    The answers, without any text, go into ``audit/``, their shares and intervals into the manifest and the
    datasheet. Raises RecipeError for a form of another sample or with answers that are none.
    """
    release = load(out)
    _held_to_root(release)
    if release.path.resolve() in Path(form).resolve().parents:
        raise RecipeError(
            f"{form}: lies in the release, which the next run replaces; fill in a copy elsewhere"
        )
    told, answers = audits.judge(Path(form), release.path, release.manifest)
    path = release.path / audits.FOLDER / audits.ANSWERS
    write_text(path, answers.decode())
    entry = manifests.output(finished(path, answers.count(b"\n")), release.path)
    others = [held for held in release.manifest["outputs"] if held["path"] != entry["path"]]
    outputs = sorted([*others, entry], key=lambda held: str(held["path"]))
    finish(release.path, manifests.revised(release.manifest, audit=told, outputs=outputs))
    return told


def _held_to_root(release: Release) -> None:
    if (found := manifests.root(release.manifest)) != release.manifest.get("root"):
        raise IntegrityError(
            f"{release.path / manifests.NAME}: was changed after the run: its root is "
            f"{release.manifest.get('root')}, its content hashes to {found}; nothing is rendered from it"
        )
