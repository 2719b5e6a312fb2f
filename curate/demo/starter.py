"""``curate init``: the starter recipe, the source manifests and the demo corpus."""

from __future__ import annotations

from pathlib import Path

from curate.demo import corpus
from curate.errors import RecipeError
from curate.rules import data_folder


def templates_folder() -> Path:
    """Return the folder of recipes and source manifests, in a wheel or in a checkout."""
    return data_folder("manifests")


def init(folder: Path | str = ".") -> list[Path]:
    """Write ``curate.yaml``, ``manifests/sources/*.yaml``, ``data/`` and ``truth.jsonl`` into a folder.

    Returns the files written, in that order. Raises RecipeError if the folder cannot be written to and,
    before anything is written, if one of the files exists already; the message names all that do.
    """
    folder = Path(folder)
    templates = templates_folder()
    copies = {folder / "curate.yaml": templates / "recipes" / "starter.yaml"}
    for name in corpus.SOURCES:
        copies[folder / "manifests" / "sources" / f"{name}.yaml"] = templates / "sources" / f"{name}.yaml"
    targets = [*copies, *corpus.paths(folder)]
    if taken := [path for path in targets if path.exists()]:
        problems = [f"{path} exists; init overwrites nothing" for path in taken]
        raise RecipeError([*problems, "move these away, or give init another folder: curate init DIR"])
    try:
        for path, template in copies.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(template.read_bytes())
        corpus.write(folder)
    except OSError as error:
        raise RecipeError(
            f"{folder}: cannot be written to: {error.strerror}; give init another folder"
        ) from None
    return targets
