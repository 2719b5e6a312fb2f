"""A model named by a folder or by its id on the hub: what pins it, for every stage that takes one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curate.errors import RecipeError
from curate.io.carried import Carried, carry
from curate.io.store import Store

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# Weights for other libraries, which a hub model often has beside its own.
_FOREIGN = ["onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.gguf", "*.mlmodel"]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A model that was found: a folder with the hash of its files, or a hub id with its commit."""

    place: str
    commit: str | None  # of a model on the hub
    fingerprint: str
    kept: Carried | None = None  # where workers on other machines find the folder

    def carried(self, store: Store) -> Pinned:
        """Return the model as workers on other machines find it: a folder in the store, else the package or the hub."""
        folder = Path(self.place)
        if self.commit is not None or not folder.is_dir():
            return self
        return replace(self, kept=carry(folder, store, self.fingerprint))

    def found(self) -> str:
        """Return what libraries load: a folder or a package; a hub model is fetched whole."""
        if self.kept is not None:
            return str(self.kept.here())
        return self.place if self.commit is None else fetched(self.place, self.commit)


def named(
    model: str, revision: str | None, beside: Path, marks: tuple[str, ...], library: str, wanted: str
) -> Pinned:
    """Find a model: the folder of this name (relative to ``beside``), else the one on the hub.

    marks, library: as of :func:`local`. wanted: what is expected where there is neither, for the error.
    Of a hub model only a file of a few hundred bytes is fetched here, and nothing where the cache has it.
    Raises RecipeError where there is no such model.
    """
    folder = (beside / Path(model).expanduser()).absolute()
    if folder.is_dir():
        if revision is not None:
            raise RecipeError(f"model {model!r} is a folder, which has no revisions; take out revision")
        return local(model, folder, marks, library)
    if not _HUB_ID.fullmatch(model):
        raise RecipeError(f"model {model!r}: no such folder; expected {wanted}; correct it")
    found = commit(model, revision, marks)
    return Pinned(model, found, found)


def versions_of(libraries: Iterable[str]) -> str:
    """Return the versions of those libraries that are installed, without what tells their builds apart."""
    found = []
    for name in libraries:
        with suppress(PackageNotFoundError):  # some have packages of other names, too
            found.append(f"{name} {version(name).partition('+')[0]}")
    return ", ".join(found)


def local(model: str, folder: Path, marks: tuple[str, ...], library: str) -> Pinned:
    """Pin a model's folder, which must hold one of the files. Raises RecipeError where it does not."""
    if not any((folder / name).is_file() for name in marks):
        has = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise RecipeError(
            f"model {model!r}: the folder has {has}; expected {' or '.join(marks)}, as {library} saves a "
            "model; name such a folder"
        )
    return Pinned(str(folder), None, hash_of(folder))


def hash_of(folder: Path) -> str:
    """Return one SHA-256 over the names and contents of a folder's files, hidden and compiled ones left out."""
    stamps = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith((".", "__pycache__")) for part in name.parts):
            status = path.stat()
            stamps.append((str(path), name.as_posix(), status.st_size, status.st_mtime_ns))
    return _hash(tuple(stamps))


@lru_cache(maxsize=8)
def _hash(stamps: tuple[tuple[str, str, int, int], ...]) -> str:
    """Return one SHA-256 over the names and contents of files; size and time tell a changed one."""
    whole = hashlib.sha256()
    for path, name, _, _ in stamps:
        with Path(path).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


@lru_cache(maxsize=8)
def commit(model: str, revision: str | None, marks: tuple[str, ...]) -> str:
    """Return the commit that a hub model's revision stands for now; without a network, when it was fetched."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    known_only = False  # without a network, asking for a second file would only mean waiting again
    absent = f"model {model!r}: neither a folder relative to the recipe's nor"
    for name in marks:
        try:
            found = Path(hf_hub_download(model, name, revision=revision, local_files_only=known_only))
        except LocalEntryNotFoundError:
            known_only = True
        except GatedRepoError:
            raise RecipeError(
                f"model {model!r}: its owner asks for a login; accept the terms on its page and log in with "
                "'hf auth login'"
            ) from None
        except RepositoryNotFoundError:
            raise RecipeError(f"{absent} on the hub, or not public; correct the name") from None
        except RevisionNotFoundError:
            raise RecipeError(
                f"model {model!r} has no revision {revision!r}; name a branch, tag or commit"
            ) from None
        except EntryNotFoundError:
            pass
        except Exception as error:  # whatever else the hub or its client say, its kind is enough
            raise RecipeError(
                f"{absent} to be had from the hub ({type(error).__name__}); correct the name or revision, or log in "
                "with 'hf auth login'"
            ) from error
        else:
            return found.parent.name  # …/snapshots/<commit>/<name>
    raise RecipeError(
        f"{absent} in the hub's cache, and the hub gives none (no network, or it holds no "
        f"{' or '.join(marks)}); fetch it with 'hf download {model}' where there is a network, and set "
        "HF_HUB_OFFLINE=1 where there is none"
    )


def fetched(model: str, commit: str) -> str:
    """Return the folder of the hub's cache that holds a model, after all that it lacks has been fetched."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(model, revision=commit, ignore_patterns=[*_FOREIGN, "*.bin"]))
    if not any(folder.rglob("*.safetensors")):  # an older model, whose weights are pickled
        snapshot_download(model, revision=commit, ignore_patterns=_FOREIGN)
    return str(folder)
