"""Suppression: what was taken down does not come back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from curate.errors import RecipeError
from curate.io.carried import Carried, carry
from curate.io.store import Store
from curate.recipe import Recipe, StageSpec
from curate.record import Batch
from curate.stage import Decision, StageOptions, Verdict
from curate.stages.suppressing import suppression
from curate.stages.suppressing.suppression import KEY_NAME, NAME, Secret
from curate.stages.suppressing.wanted import CONTAINED, Wanted, lines

FOLDER = "takedown"  # in a release: the log of its take-downs and its suppression list
TARGET = "curate.stages.suppress:Suppress"


class Listed(BaseModel):
    """A list that a run honours. Where it lies and where its key is are of no concern to the result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    named: str = Field(
        description="as the recipe names it; of the release that the run replaces, its path there"
    )
    sha256: str
    entries: int
    path: Path = Field(exclude=True, repr=False)
    key_file: Path | None = Field(None, exclude=True, repr=False)
    key_env: str | None = Field(None, exclude=True, repr=False)


class Suppress:
    """Drops what a suppression list holds, as it is read: by id, author, URL, domain, text or near-duplicate.

    It is the first stage of every run that has a list to honour; no recipe names it among its stages. What it
    drops goes nowhere: not into removed/, and into the ledger under a keyed hash of its id.
    """

    name: ClassVar[str] = "suppress"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ()

    class Options(StageOptions):
        """The lists."""

        lists: tuple[Listed, ...] = Field(min_length=1)

    def __init__(self, options: Options) -> None:
        self.options = options
        self._kept: dict[str, tuple[Carried, Secret]] = {}  # SHA-256 of a list → where it is, its keys

    def carried(self, store: Store) -> Suppress:
        """Return the stage as workers on other machines can use it (curate.io.carried).

        The lists are in the store. Their keys travel with the stage, and are written nowhere.
        """
        found = copy(self)
        found._kept = {
            one.sha256: (carry(one.path, store, one.sha256), suppression.read_key(one.key_env, one.key_file))
            for one in self.options.lists
        }
        return found

    def judge(self, batch: Batch) -> Verdict:
        """Drop each record that any list holds, with the first reason of id, author, url, text, near-duplicate."""
        reasons: dict[int, str] = {}
        for listed in self._opened():
            for row, kind in listed.find(batch):
                reasons.setdefault(row, kind)
        decisions = [Decision(row, "drop", f"{self.name}/{kind}") for row, kind in reasons.items()]
        return Verdict.of(batch.num_rows, decisions)

    def masked(self, ids: pa.Array, sources: pa.Array) -> pa.Array:
        """Return what the ledger calls records that were dropped."""
        secret = self._opened()[0].secret
        pairs = zip(sources.to_pylist(), ids.to_pylist(), strict=True)
        return pa.array([secret.masked(source, name) for source, name in pairs], pa.string())

    def holds(self, ids: pa.Array, raw: pa.BinaryArray) -> pa.BooleanArray:
        """Tell which lines that could not be read as records a list holds, or hold what it has."""
        batch = pa.record_batch([ids, lines(raw)], ["id", "text"])
        rows = {row for listed in self._opened() for row in listed.find_in_lines(batch)}
        return pa.array([row in rows for row in range(batch.num_rows)], pa.bool_())

    def _opened(self) -> list[_List]:
        found = []
        for one in self.options.lists:
            if one.sha256 not in self._kept:
                found.append(_open(one.path, one.sha256, one.key_env, one.key_file))
                continue
            kept, secret = self._kept[one.sha256]
            found.append(_open_kept(kept, secret))
        return found


@lru_cache(maxsize=64)
def _open(path: Path, sha256: str, variable: str | None, key_file: Path | None) -> _List:
    """Read a list once per process; ``sha256`` makes a file that was replaced a new one."""
    return _List(path, suppression.read_key(variable, key_file))


def _open_kept(kept: Carried, secret: Secret) -> _List:
    """Read a list once per process; each unit of work brings its own copy of the keys."""
    if kept not in _kept_lists:
        _kept_lists[kept] = _List(kept.here(), secret)
    return _kept_lists[kept]


_kept_lists: dict[Carried, _List] = {}


class _List:
    """One list, ready to be searched."""

    def __init__(self, path: Path, secret: Secret) -> None:
        self.secret = secret
        table = suppression.read(path).table
        kinds = table.column("kind")
        held = {kind: table.filter(pc.equal(kinds, kind)) for kind in suppression.KINDS}
        for kind in ("text", "record", "passage"):
            suppression.ruled(held[kind], path)
        self._values = {kind: frozenset(rows.column("value").to_pylist()) for kind, rows in held.items()}
        self._screens = {kind: np.unique(held[kind].column("screen").to_numpy()) for kind in ("id", "text")}
        self._records = [
            Wanted(rows, rule, texts=False, key=secret.shingles)
            for rule, rows in suppression.ruled(held["record"], path)
        ]
        self._passages = []
        for contained in (False, True):
            mine = held["passage"].filter(pc.equal(held["passage"].column("contained"), contained))
            for rule, rows in suppression.ruled(mine, path):
                self._passages.append((Wanted(rows, rule, texts=True, key=secret.shingles), contained))

    def find(self, batch: Batch) -> Iterator[tuple[int, str]]:
        """Yield the records that the list holds, and why; a record may come more than once."""
        yield from ((row, "id") for row in self._of_ids(batch))
        yield from (
            (row, "author") for row in self._of_values(batch, "author", lambda n: [suppression.author(n)])
        )
        yield from ((row, "url") for row in self._of_values(batch, "url", lambda u: [suppression.url(u)[0]]))
        yield from ((row, "url") for row in self._of_domains(batch))
        yield from ((row, "text") for row in self._of_texts(batch))
        for wanted in self._records:
            yield from (
                (row, "near-duplicate") for row in np.flatnonzero(wanted.find(batch).entry >= 0).tolist()
            )
        for wanted, contained in self._passages:
            found = wanted.find(batch)
            hit = found.entry >= 0
            if contained:
                hit |= found.share >= CONTAINED
            for row in np.flatnonzero(hit).tolist():
                yield row, "text" if found.similarity[row] == 1 else "near-duplicate"

    def find_in_lines(self, batch: Batch) -> Iterator[int]:
        """Yield the lines, as documents, that are in the list or hold what is in it."""
        yield from (row for row, _ in self.find(batch))
        for wanted in (*self._records, *(passage for passage, _ in self._passages)):
            yield from np.flatnonzero(wanted.held_by(batch)).tolist()

    def _of_values(self, batch: Batch, kind: str, of: Any, column: str | None = None) -> Iterator[int]:
        held, name = self._values[kind], column or kind
        if not held or name not in batch.schema.names:
            return
        coded = pc.dictionary_encode(batch.column(name))
        known = [
            any(self.secret.value(kind, one) in held for one in of(value))
            for value in coded.dictionary.to_pylist()
        ]
        for row, code in enumerate(coded.indices.to_pylist()):
            if code is not None and known[code]:
                yield row

    def _of_domains(self, batch: Batch) -> Iterator[int]:
        def of(address: str) -> list[str]:
            return list(suppression.domains(suppression.url(address)[1]))

        yield from self._of_values(batch, "domain", of, "url")

    def _of_ids(self, batch: Batch) -> list[int]:
        if not len(self._screens["id"]):
            return []
        names = batch.column("id")
        rows = self._screened(pa.record_batch([names], ["text"]), "id")
        return [row for row in rows if self.secret.value("id", names[row].as_py()) in self._values["id"]]

    def _of_texts(self, batch: Batch) -> list[int]:
        rows = self._screened(batch, "text") if len(self._screens["text"]) else []
        if not rows:
            return []
        values = self.secret.contents(batch.take(pa.array(rows)))
        return [row for row, value in zip(rows, values, strict=True) if value in self._values["text"]]

    def _screened(self, batch: Batch, kind: str) -> list[int]:
        """Return the rows worth a keyed hash of 256 bits, which costs as much as all else together."""
        found: list[int] = np.flatnonzero(np.isin(self.secret.screens(batch), self._screens[kind])).tolist()
        return found


def honour(recipe: Recipe, out: Path) -> Recipe:
    """Return the recipe with the stage suppress in front, if there is a list to honour.

    Honoured are the lists that the recipe names, and that of the release in ``out``, which the run replaces.
    Raises RecipeError where a list or its key is missing.
    """
    asked = recipe.suppress
    named = [] if asked is None else [(name, recipe.folder / name) for name in asked.lists]
    own = out / FOLDER / NAME
    if own.is_file() and own.resolve() not in [path.resolve() for _, path in named]:
        named.append((f"{FOLDER}/{NAME}", own))
    beside = out.resolve().parent / KEY_NAME
    if not named and beside.is_file():
        raise RecipeError(
            f"{beside}: is the key of a suppression list, so records were taken down here, and {out} has no list; name "
            f"the list in the recipe: 'suppress: {{lists: [FOLDER/{NAME}], key_file: {KEY_NAME}}}', or move the key "
            "away if this run has nothing to do with it"
        )
    if not named:
        return recipe
    places: list[tuple[str | None, Path | None]] = []
    if asked is not None:
        places.append((asked.key_env, None if asked.key_file is None else recipe.folder / asked.key_file))
    places += [(None, beside)] if beside.is_file() else []
    lists = tuple(_listed(name, path, places, beside) for name, path in named)
    options = Suppress.Options(lists=tuple(sorted(lists, key=lambda one: (one.sha256, one.named))))
    return replace(recipe, stages=(StageSpec(Suppress.name, TARGET, options), *recipe.stages))


def _listed(name: str, path: Path, places: list[tuple[str | None, Path | None]], beside: Path) -> Listed:
    held = suppression.read(path)
    for kind in ("text", "record", "passage"):
        suppression.ruled(held.table.filter(pc.equal(held.table.column("kind"), kind)), path)
    for variable, key_file in places:
        if suppression.read_key(variable, key_file).fingerprint == held.fingerprint:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Listed(
                named=Path(name).as_posix(),
                sha256=digest,
                entries=held.table.num_rows,
                path=path.resolve(),
                key_file=None if key_file is None else key_file.resolve(),
                key_env=variable,
            )
    state = "the key given is another" if places else f"there is no {beside}"
    raise RecipeError(
        f"{path}: what was taken down must not come back, and {state}; put the key that the list was made with "
        f"(fingerprint {held.fingerprint}) there, or name it in the recipe: 'suppress: {{lists: "
        f"[…/{FOLDER}/{NAME}], key_file: FILE}}'"
    )
