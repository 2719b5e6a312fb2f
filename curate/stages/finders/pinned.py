"""Finds a model for names by folder, installed package or hub id, and says what pins it."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from curate.errors import MissingExtra, RecipeError
from curate.stages._embeddings import Pinned, _fetched, _hash

Kind: TypeAlias = Literal["spacy", "transformers", "gliner"]

_MARKS = {
    "spacy": ("meta.json",),
    "transformers": ("config.json",),
    "gliner": ("gliner_config.json", "config.json"),
}
_EXTRAS = {
    "spacy": ("", ()),
    "transformers": ("ner", ("torch", "transformers")),
    "gliner": ("gliner", ("gliner",)),
}
_LIBRARIES = {
    "spacy": ("spacy", "thinc"),
    "transformers": ("tokenizers", "torch", "transformers"),
    "gliner": ("gliner", "torch", "transformers"),
}
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def find(kind: Kind, model: str, revision: str | None, beside: Path) -> Pinned:
    """Find a model: the folder of this name (relative to ``beside``), else the package or the hub's model.

    Of a hub model only a file of a few hundred bytes is fetched here, and nothing where the cache has it.
    Raises RecipeError where there is no such model, MissingExtra where the libraries are not installed.
    """
    extra, libraries = _EXTRAS[kind]
    if any(find_spec(name) is None for name in libraries):
        raise MissingExtra.of(f"names by a {kind} model", extra)
    folder = (beside / Path(model).expanduser()).absolute()
    if folder.is_dir():
        if revision is not None:
            raise RecipeError(f"model {model!r} is a folder, which has no revisions; take out revision")
        return _local(kind, model, folder)
    if kind == "spacy":
        return _package(model, revision)
    if not _HUB_ID.fullmatch(model):
        raise RecipeError(
            f"model {model!r}: no such folder; expected one with {' or '.join(_MARKS[kind])}, relative to the "
            "recipe's folder, or a hub id such as dslim/bert-base-NER; correct it"
        )
    commit = _commit(kind, model, revision)
    return Pinned(model, commit, commit)


def outline(kind: Kind, pinned: Pinned) -> dict[str, Any]:
    """Return what the model's own file says of it: spaCy's meta.json or config.json; empty for GLiNER."""
    if kind == "gliner":
        return {}
    if pinned.commit is None:
        folder = Path(pinned.place)
        if not folder.is_dir():
            folder = _folder_of(pinned.place)
        path = folder / _MARKS[kind][0]
    else:
        path = _fetch(pinned.place, _MARKS[kind][0], pinned.commit)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def place(pinned: Pinned) -> str:
    """Return what the libraries load: a folder or a package; a hub model is fetched whole."""
    return pinned.place if pinned.commit is None else _fetched(pinned.place, pinned.commit)


def versions(kind: Kind) -> str:
    """Return the versions of the libraries on which finds depend, without what tells their builds apart."""
    found = []
    for name in ("presidio-analyzer", *_LIBRARIES[kind]):
        try:
            found.append(f"{name} {version(name).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _local(kind: Kind, model: str, folder: Path) -> Pinned:
    if not any((folder / name).is_file() for name in _MARKS[kind]):
        has = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise RecipeError(
            f"model {model!r}: the folder has {has}; expected {' or '.join(_MARKS[kind])}, as {kind} saves a "
            "model; name such a folder"
        )
    return Pinned(str(folder), None, _hash_of(folder))


def _package(model: str, revision: str | None) -> Pinned:
    if not re.fullmatch(r"\w+", model) or find_spec(model) is None:
        raise RecipeError(
            f"spaCy pipeline {model!r}: neither a folder relative to the recipe's nor installed; install it "
            f"with 'python -m spacy download {model}', or name a folder that spaCy saved"
        )
    folder = _folder_of(model)
    if revision is not None or not (folder / "meta.json").is_file():
        problem = "has no revisions; take out revision" if revision else "is no spaCy pipeline; name another"
        raise RecipeError(f"model {model!r} is a package, which {problem}")
    return Pinned(model, None, _hash_of(folder))


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path(package)


def _hash_of(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of a folder's files, hidden and compiled ones left out."""
    stamps = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in name.parts):
            status = path.stat()
            stamps.append((str(path), name.as_posix(), status.st_size, status.st_mtime_ns))
    return _hash(tuple(stamps))


def _commit(kind: Kind, model: str, revision: str | None) -> str:
    """Return the commit that a hub model's revision stands for now; without a network, when it was fetched."""
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    for mark in _MARKS[kind]:
        try:
            return _fetch(model, mark, revision).parent.name  # …/snapshots/<commit>/<mark>
        except LocalEntryNotFoundError:
            break
        except EntryNotFoundError:
            continue
        except Exception as error:  # a gated, hidden or absent model, or a revision that it has not
            raise RecipeError(
                f"model {model!r}: neither a folder relative to the recipe's nor to be had from the hub "
                f"({type(error).__name__}); correct the name or revision, or log in with 'hf auth login'"
            ) from error
    raise RecipeError(
        f"model {model!r}: neither a folder relative to the recipe's nor in the hub's cache, and the hub gives "
        f"none (no network, or it holds no {' or '.join(_MARKS[kind])}); fetch it with 'hf download {model}' "
        "where there is a network, and set HF_HUB_OFFLINE=1 where there is none"
    )


def _fetch(model: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(model, name, revision=revision))
