"""The evaluation files that a recipe names: found, read once per process, hashed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from curate.errors import RecipeError
from curate.stages.contamination import evals
from curate.stages.contamination.evals import Fields, Item

_BATCH = 4096  # texts that are counted at a time


class Wanted(BaseModel):
    """The columns of evaluation files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: tuple[str, ...] = Field((), description="columns that make the question, joined in this order")
    answer: tuple[str, ...] = Field((), description="columns of the answer, each matched by itself")
    choices: str | None = Field(None, description="column of the choices")

    @field_validator("question", "answer", mode="before")
    @classmethod
    def _one_or_more(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value


class File(NamedTuple):
    """A file as it was when it was found."""

    name: str  # as the recipe names it, * filled in
    path: Path
    size: int
    changed: int  # ns


class Files(NamedTuple):
    """What a recipe's options name. Hashable: equal as long as nothing has changed."""

    against: tuple[File, ...]
    tasks: tuple[File, ...]
    common: tuple[File, ...]
    fields: Fields


@dataclass(frozen=True, eq=False)
class Evals:
    """Evaluation items that were read."""

    items: tuple[Item, ...]
    files: tuple[dict[str, Any], ...]  # path, sha256, items; in the order of the items
    sha256: str  # of all that answers depend on
    named_common: tuple[File, ...] = field(repr=False)

    def common(self) -> Iterator[pa.Array]:
        """Yield the texts of the files named as common, some at a time."""
        for file in self.named_common:
            texts = ["\n\n".join((*one.questions, *one.answers)) for one in evals.read(file.path, file.name)]
            for start in range(0, len(texts), _BATCH):
                yield pa.array(texts[start : start + _BATCH], pa.large_string())


def find(
    folder: Path, against: Sequence[str], tasks: Sequence[str], common: Sequence[str], wanted: Wanted
) -> Files:
    """Find the files that patterns name, in order of their names. Raises RecipeError where one names none."""
    fields = Fields(wanted.question, wanted.answer, wanted.choices)
    return Files(_found(folder, against), _found(folder, tasks), _found(folder, common), fields)


def _found(folder: Path, patterns: Sequence[str]) -> tuple[File, ...]:
    found: dict[str, File] = {}
    for pattern in patterns:
        given = Path(pattern).expanduser()
        start = Path(given.anchor) if given.is_absolute() else folder
        inside = str(given.relative_to(given.anchor)) if given.is_absolute() else pattern
        paths = [path for path in start.glob(inside) if path.is_file()] if inside != "." else []
        if not paths:
            raise RecipeError(
                f"{pattern!r}: no such file, relative to the recipe's folder; allowed: a file's name, in which "
                "* and ** stand for any; correct it"
            )
        for path in paths:
            # An absolute path tells of this machine alone: its last part names the file.
            name = path.name if given.is_absolute() else Path(os.path.relpath(path, folder)).as_posix()
            told = path.stat()
            if name in found and found[name].path != path:
                raise RecipeError(f"{pattern!r}: two evaluation files are called {name}; rename one")
            found[name] = File(name, path, told.st_size, told.st_mtime_ns)
    return tuple(found[name] for name in sorted(found))


@lru_cache(maxsize=4)
def read(files: Files) -> Evals:
    """Read all items. Raises RecipeError for a file that cannot be read, and MissingExtra for tasks without it."""
    items: list[Item] = []
    told: list[dict[str, Any]] = []
    readers: list[tuple[tuple[File, ...], Callable[[File], list[Item]]]] = [
        (files.against, lambda file: evals.read(file.path, file.name, files.fields)),
        (files.tasks, lambda file: evals.of_task(file.path, file.name)),
    ]
    for named, reader in readers:
        for file in named:
            found = reader(file)
            items += found
            told.append({"path": file.name, "sha256": _sha256(file.path), "items": len(found)})
    whole = hashlib.sha256()
    for file in files.common:
        whole.update(f"common\0{file.name}\0{_sha256(file.path)}\n".encode())
    for one in told:
        whole.update(f"{one['path']}\0{one['sha256']}\n".encode())
    for item in items:  # a task's data lies in files that it alone knows
        whole.update(repr((item.line, item.questions, item.answers)).encode())
    return Evals(tuple(items), tuple(told), whole.hexdigest(), files.common)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
