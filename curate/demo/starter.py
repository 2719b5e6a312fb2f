"""``curate init``: the starter recipe, the source manifests and the demo corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path

from curate.demo import corpus
from curate.errors import RecipeError
from curate.rules import data_folder


def templates_folder() -> Path:
    """Return the folder of recipes and source manifests, in a wheel or in a checkout."""
    return data_folder("manifests")


def init(folder: Path | str = ".") -> list[Path]:
    """Write ``curate.yaml``, ``manifests/``, ``data/`` and ``truth.jsonl`` into a folder.

    Each source manifest gets the hashes of the files just written; ``manifests/schema/`` is what editors check it by.

    Returns the files written, in that order. Raises RecipeError if the folder cannot be written to and,
    before anything is written, if one of the files exists already; the message names all that do.
    """
    folder = Path(folder)
    templates = templates_folder()
    copies = {folder / "curate.yaml": templates / "recipes" / "starter.yaml"}
    schema = Path("schema") / "source.schema.json"
    copies[folder / "manifests" / schema] = templates / schema
    for path in (Path("answers.yaml"), Path("schema") / "answers.schema.json"):
        copies[folder / "manifests" / path] = templates / path
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
        for name in corpus.SOURCES:
            _declare(folder, name)
    except OSError as error:
        raise RecipeError(
            f"{folder}: cannot be written to: {error.strerror}; give init another folder"
        ) from None
    return targets


def _declare(folder: Path, source: str) -> None:
    """Add the hashes of a source's files to its manifest: other versions of pyarrow write other bytes."""
    lines = ["# What `curate run` holds the files to; print a hash with: sha256sum FILE", "sha256:"]
    for path in sorted((folder / "data" / source).iterdir()):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        lines.append(f"  {path.relative_to(folder).as_posix()}: {digest}")
    with (folder / "manifests" / "sources" / f"{source}.yaml").open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
