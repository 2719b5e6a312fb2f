"""Finds a model for names by folder, installed package or hub id, and says what pins it."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from curate.errors import MissingExtra, RecipeError
from curate.stages.pinned import Pinned, commit, hash_of, local, versions_of

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
        return local(model, folder, _MARKS[kind], kind)
    if kind == "spacy":
        return _package(model, revision)
    if not _HUB_ID.fullmatch(model):
        raise RecipeError(
            f"model {model!r}: no such folder; expected one with {' or '.join(_MARKS[kind])}, relative to the "
            "recipe's folder, or a hub id such as dslim/bert-base-NER; correct it"
        )
    found = commit(model, revision, _MARKS[kind])
    return Pinned(model, found, found)


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
    return pinned.found()


def versions(kind: Kind) -> str:
    """Return the versions of the libraries on which finds depend, without what tells their builds apart."""
    return versions_of(("presidio-analyzer", *_LIBRARIES[kind]))


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
    return Pinned(model, None, hash_of(folder))


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else Path(package)


def _fetch(model: str, name: str, revision: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(model, name, revision=revision))
