"""A release folder in object storage: what a command needs of it is copied here, and what it changed goes back.

Object storage has neither locks nor renames. A lock is a file that is made only if it is not there (curate.lock). A
release is without its manifest while a run replaces its files, and the manifest is written last: no folder without one
is a release. What another command changes, such as a take-down, is written beside the release first, with a journal:
whoever comes next finishes what was stopped in between.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from curate import folder
from curate.copies import Copy, address, told
from curate.errors import RecipeError, StorageError
from curate.folder import Folder, Work
from curate.govern import audit, signing
from curate.govern import manifest as manifests
from curate.govern.descriptions import bom, card, spdx
from curate.io.scan import InputFile
from curate.io.store import Store
from curate.lock import Lease, leased
from curate.recipe import StageSpec
from curate.work import ALL, RUN, Note, is_made

_READ = (
    manifests.NAME,
    signing.NAME,
    card.NAME,
    bom.NAME,
    spdx.NAME,
)  # what a run looks at of an earlier release
_SWITCH = "work/switch"  # what a command is about to put in place, in files of the names they will have
_JOURNAL = "journal.json"  # in that folder, last: {"put": names, "remove": names}
_EARLIER = "work/earlier.json"  # the manifest of the release that a run is replacing


@contextmanager
def at(out: str | Path, note: Note) -> Iterator[Folder]:
    """Give a release folder to a run. note: is told what a person should know."""
    if address(out) is None:
        yield Folder(Path(out))
        return
    copy = Copy(out)
    try:
        with told(copy):
            yield _opened(copy, note)
    except BaseException:
        copy.remove()
        raise
    shutil.rmtree(copy.path / "work", ignore_errors=True)


@contextmanager
def reading(out: str | Path) -> Iterator[Path]:
    """Give a release folder to a command that reads it: a local one as it is, another copied here whole."""
    if address(out) is None:
        yield Path(out)
        return
    copy = Copy(out)
    try:
        with told(copy):
            yield fetched(copy)
    finally:
        copy.remove()


@contextmanager
def changing(out: str | Path, note: Note = lambda text: None) -> Iterator[Path]:
    """Give a release folder to a command that changes it: a local one as it is; of another a whole copy, held alone,
    from which all that is other than before goes back when the block ends without an error.
    """
    if address(out) is None:
        yield Path(out)
        return
    copy = Copy(out)
    try:
        with told(copy), leased(copy.store.child("work"), copy.url, note) as lease:
            remote = Remote(copy, note, lease)
            remote.finish_switch()
            remote.fetch(lambda name: not name.startswith("work/"))
            yield copy.path
            remote.switch()
    finally:
        copy.remove()


def fetched(copy: Copy) -> Path:
    """Return a whole copy of a release. Raises RecipeError where a change of it was stopped half-way."""
    if copy.store.exists(f"{_SWITCH}/{_JOURNAL}"):
        raise RecipeError(
            f"{copy.url}: a change of this release was stopped half-way; 'curate datasheet {copy.url}' finishes it"
        )
    if not copy.store.sizes():
        raise RecipeError(f"{copy.url}: there is no such folder; name a release")
    return copy.whole()


def _opened(copy: Copy, note: Note) -> Remote:
    remote = Remote(copy, note)
    if remote.is_switching:
        with leased(copy.store.child("work"), copy.url, note) as lease:
            remote = Remote(copy, note, lease)
            remote.finish_switch()
    wanted = {*_READ, f"{audit.FOLDER}/{audit.SAMPLE}"}
    lasting = tuple(f"{name}/" for name in (*folder.LASTING, "work/scan"))
    remote.fetch(lambda name: name in wanted or name.startswith(lasting))
    return remote


class Remote(Folder):
    """A release folder in object storage, as a run uses it."""

    def __init__(self, copy: Copy, note: Note, lease: Lease | None = None) -> None:
        super().__init__(copy.path)
        self.copy: Copy = copy
        self.shown = copy.url
        self.store: Store = copy.store
        self._note, self._lease = note, lease
        self._there = self.store.sizes()
        self._copied: dict[str, str] = {}  # what was copied here: name → SHA-256

    # -- what a run asks ----------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise RecipeError if writing a release here would touch something that is not ours."""
        folder.check(self.path, sorted(self._there))

    def check_inputs(self, files: Iterable[InputFile]) -> None:
        """Raise RecipeError if a source reads this folder."""
        inside = f"{self.shown.partition('://')[2]}/"
        for file in files:
            if file.location.partition("://")[2].startswith(inside):
                raise RecipeError(
                    f"source {file.source}: {file.path} lies in the release folder {self.shown}; write its pattern so "
                    "that it leaves that folder out, or name another --out"
                )

    def check_earlier(self, stages: Iterable[StageSpec]) -> None:
        """Do nothing: the releases that a stage deduplicates against are on a disk."""

    def scans(self, fresh: bool) -> Path | None:
        """Return where scans of an unfinished run are kept."""
        return None if fresh else self.path / "work" / "scan"

    def is_whole(self, entry: Any) -> bool:
        """Tell whether a file is there with as many bytes as a manifest lists; the storage answers for which."""
        return bool(self._there.get(entry["path"]) == entry["bytes"])

    def earlier(self) -> dict[str, Any]:
        """Return the manifest of the release that a run replaces, also where an earlier run was stopped at that."""
        found = super().earlier()
        if not found and _EARLIER in self._there:
            found = dict(orjson.loads(self.store.read(_EARLIER)))
        return found

    @contextmanager
    def working(self, fresh: bool, note: Note, clears: Sequence[str] = ALL) -> Iterator[Work]:
        """Hold OUT/work for one run alone; what it clears is gone when the run has finished."""
        work, local = self.store.child("work"), self.path / "work"
        with leased(work, self.shown, note) as self._lease:
            self._look_again()
            if fresh:
                work.discard(name for name in work.sizes() if is_made(name, RUN))
            scans = {path.relative_to(self.path).as_posix(): path for path in local.glob("scan/*.json")}
            new = [name for name in scans if name not in self._there]
            self.store.each(lambda name: self.store.upload(scans[name], name), new)
            local.mkdir(exist_ok=True)
            yield Work(work, local)
            self._clear(work, clears, note)

    def _look_again(self) -> None:
        """See what is there, now that nobody else writes. Raises StorageError where it is another release."""
        self._there = self.store.sizes()
        held = self._copied.get(manifests.NAME)
        now = self.store.read(manifests.NAME) if manifests.NAME in self._there else None
        if held != (None if now is None else hashlib.sha256(now).hexdigest()):
            raise StorageError(f"{self.shown}: another command changed the release just now; run again")

    def _clear(self, work: Store, clears: Sequence[str], note: Note) -> None:
        left = work.sizes()
        ours = [name for name in left if is_made(name, clears) or f"work/{name}" == _EARLIER]
        work.discard(ours)
        others = {
            name for name in left.keys() - {*ours} if not is_made(name) and not name.startswith(folder.LOCK)
        }
        for part in sorted({name.partition("/")[0] for name in others}):
            note(f"{work.url}/{part}: holds what is not curate's; it is left as it is")

    def publish(self, staging: Path, parts: Sequence[str], finish: Callable[[], None]) -> None:
        """Put a release in place of what is there: its parts, and what finish writes, the manifest last."""
        folder.publish(staging, self.path, parts, finish)
        listed = {entry["path"] for entry in manifests.load(self.path)["outputs"]}
        parts_of_all = (*folder.PARTS, folder.TUNE)
        old = {
            name for name in self._there if name.partition("/")[0] in parts_of_all and folder.is_ours(name)
        }
        put, gone = self._changed()
        gone = sorted({*gone, *(old - listed - self._local().keys())})
        self._may()
        if manifests.NAME in self._there:
            self.store.copy(manifests.NAME, _EARLIER)
        self.store.discard([manifests.NAME, signing.NAME])
        self._may()
        self.store.discard(gone)
        self._upload(name for name in put if name != manifests.NAME)
        self._may()
        # Nobody else's is written over, also where this process was stopped for long at this very line.
        if not self.store.create(manifests.NAME, (self.path / manifests.NAME).read_bytes()):
            raise StorageError(f"{self.shown}: another run has made a release there; this one stops here")

    def revise(self, write: Callable[[], None]) -> None:
        """Write documents, or a manifest with them, into the release that is there."""
        write()
        put, _ = self._changed()
        if manifests.NAME not in put:  # the same documents: only what is not there, or damaged
            local = self._local()
            put = [name for name in put if self._there.get(name) != local[name].stat().st_size]
        # The manifest that is there stays until the new one: with it goes what only it holds. Documents of another
        # are no release that looks whole, since it lists the hashes of what it renders to.
        self._upload(name for name in put if name != manifests.NAME)
        self._upload(name for name in put if name == manifests.NAME)

    def _upload(self, names: Iterable[str]) -> None:
        self.store.each(lambda name: self.store.upload(self.path / name, name, self._may), names)

    def _may(self) -> None:
        """Raise StorageError if the release has become another run's."""
        assert self._lease is not None
        self._lease.check()

    # -- a copy, and what was changed in it -----------------------------------------------------------------------

    def fetch(self, wanted: Callable[[str], bool]) -> None:
        """Copy files here."""
        names = [name for name in self._there if wanted(name)]
        self.copy.fetch({name: self._there[name] for name in names})
        self._copied = {name: _sha256(self.path / name) for name in names if not name.startswith("work/")}

    def _local(self) -> dict[str, Path]:
        found = ((path.relative_to(self.path).as_posix(), path) for path in self.path.rglob("*"))
        return {name: path for name, path in found if path.is_file() and not name.startswith("work/")}

    def _changed(self) -> tuple[list[str], list[str]]:
        """Return the files that are other than they came, and those that are gone."""
        local = self._local()
        put = [name for name, path in sorted(local.items()) if self._copied.get(name) != _sha256(path)]
        return put, sorted(self._copied.keys() - local.keys())

    @property
    def is_switching(self) -> bool:
        """Tell whether a change was stopped while it was put in place."""
        return f"{_SWITCH}/{_JOURNAL}" in self._there

    def switch(self) -> None:
        """Put what was changed in the copy in place, so that it can be finished by somebody else from any moment on."""
        put, gone = self._changed()
        if not put and not gone:
            return
        staged, local = self.store.child(_SWITCH), self._local()
        staged.remove()
        staged.each(lambda name: staged.upload(local[name], f"put/{name}"), put)
        self._may()
        staged.write(_JOURNAL, orjson.dumps({"put": put, "remove": gone}))
        self._follow()

    def finish_switch(self) -> None:
        """Finish a change that was stopped half-way, or forget one that had not begun."""
        if self.is_switching:
            self._note(f"{self.shown}: a change that was stopped half-way is finished")
            self._follow()
        elif any(name.startswith(f"{_SWITCH}/") for name in self._there):
            self.store.child(_SWITCH).remove()
        self._there = self.store.sizes()

    def _follow(self) -> None:
        def copy(name: str) -> None:
            self._may()
            self.store.copy(f"{_SWITCH}/put/{name}", name)

        journal = orjson.loads(self.store.read(f"{_SWITCH}/{_JOURNAL}"))
        self._may()
        rest = [name for name in journal["put"] if name != manifests.NAME]
        if manifests.NAME in journal["put"]:
            self.store.discard([manifests.NAME])
        self.store.discard(journal["remove"])
        self.store.each(copy, rest)
        if manifests.NAME in journal["put"]:
            copy(manifests.NAME)
        self._may()
        self.store.discard([f"{_SWITCH}/{_JOURNAL}"])
        self.store.child(_SWITCH).remove()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
