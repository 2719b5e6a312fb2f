"""The release folder: what may be written there, who is working there, and how a release appears in it.

OUT is ours if it is empty, holds a manifest of ours, or a work folder that carries our lock. Nothing else is
ever replaced or removed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.copies import Copy
from curate.errors import IntegrityError, RecipeError, StorageError
from curate.govern import audit, documents
from curate.govern import manifest as manifests
from curate.io.scan import InputFile
from curate.io.store import Store
from curate.io.write import finished, sync
from curate.recipe import StageSpec
from curate.work import ALL, Note
from curate.work import JOURNAL as JOURNAL
from curate.work import LOCK as LOCK
from curate.work import RUN as RUN
from curate.work import clean as clean
from curate.work import clear as clear
from curate.work import working as working

PARTS = (
    *("data", "records", "leaves", "ledger", "removed", "clusters", "index", "audit", "disclosures"),
    "ATTRIBUTION.csv",
)
TUNE = "tune"  # what `curate tune` measured; goes when a run makes another release of the folder
LASTING = ("takedown",)  # what a run leaves where it is: the log of take-downs and their suppression list
_OURS = re.compile(
    r"(part|edited)-\d{5,}\.(parquet|jsonl\.zst)|pii-(sample|answers)\.jsonl|requests\.ndjson|impact-\d+\.json"
    r"|domains\.csv|(eu-art53|ca-ab2013|nist-ai-600-1|gdpr-record)\.(json|md)"
    r"|suppression\.parquet|superseded-[0-9a-f]{16}\.dsse\.json"
)
_TUNED = re.compile(r"report\.(json|html)|losses\.parquet|(adapters|base)/.+")  # of the files under tune/


def check(out: Path, there: Sequence[str] | None = None) -> None:
    """Raise RecipeError if writing a release to this folder would touch something that is not ours.

    there: names of the files in it, where ``out`` is only a copy of what is read of them.
    """
    if there is None:
        _check_place(out)
        there = _names(out)
    if f"work/{JOURNAL}" in there:
        raise RecipeError(
            f"--out {out}: a take-down was stopped half-way; run that 'curate takedown' again first"
        )
    if not there:
        return
    manifest = _manifest(out)
    if manifest is None and f"work/{LOCK}" not in there:
        held = sorted({name.split("/")[0] for name in there})
        raise RecipeError(
            f"--out {out}: holds {', '.join(held[:3])} and no release; name an empty or new folder"
        )
    if foreign := [name for name in there if not is_ours(name)]:
        raise RecipeError(
            f"--out {out}: {foreign[0].rstrip('/')} is no file of a release; move it, or name another folder"
        )
    documents.check(out)
    form = out / audit.FOLDER / audit.SAMPLE
    if manifest is not None and form.is_file() and not audit.is_blank(out, manifest):
        raise RecipeError(
            f"--out {out}: {form.relative_to(out)} was filled in; move it to another folder to keep it"
        )


def _check_place(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: is a file; name a folder")
    above = next((parent for parent in out.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise RecipeError(f"--out {out}: {above} is a file, so the folder cannot be made; name another")


def _names(out: Path) -> list[str]:
    """Return what lies in a folder: at its top, and in the places that a release has; folders end in a slash."""
    if not out.exists():
        return []
    found = list(out.iterdir())
    for name in (*PARTS, *LASTING):
        found += (out / name).glob("*")
    found += [path for path in (out / TUNE).rglob("*") if not path.is_dir()]
    found += [path for name in (LOCK, JOURNAL) if (path := out / "work" / name).is_file()]
    return sorted(f"{path.relative_to(out).as_posix()}{'' if path.is_file() else '/'}" for path in found)


def is_ours(name: str) -> bool:
    """Tell whether a run may replace or leave a file of OUT: it lies elsewhere than a release's, or is one of them."""
    part, _, rest = name.partition("/")
    if not rest or part not in (*PARTS, *LASTING, TUNE):
        return True
    return bool((_TUNED if part == TUNE else _OURS).fullmatch(rest))


def check_tune(out: Path) -> None:
    """Raise RecipeError if what a tune writes would touch something that is not ours, or a stopped take-down."""
    if (out / "work" / JOURNAL).is_file():
        raise RecipeError(f"{out}: a take-down was stopped half-way; run that 'curate takedown' again first")
    if foreign := _foreign_to_tune(out):
        raise RecipeError(
            f"{out}: {foreign[0]} is no file of a release, and a tune replaces the folder {TUNE}; move it elsewhere"
        )
    documents.check(out)


def _foreign_to_tune(out: Path) -> list[str]:
    files = sorted(path for path in (out / TUNE).rglob("*") if not path.is_dir())
    names = [path.relative_to(out / TUNE).as_posix() for path in files]
    return [f"{TUNE}/{name}" for name in names if not _TUNED.fullmatch(name)]


def check_inputs(out: Path, files: Iterable[InputFile]) -> None:
    """Raise RecipeError if a source reads the release folder: the next run would read this one's output."""
    here = out.resolve()
    for file in files:
        if "://" not in file.location and here in Path(file.location).resolve().parents:
            raise RecipeError(
                f"source {file.source}: {file.path} lies in the release folder {out}; "
                "write its pattern so that it leaves that folder out, or name another --out"
            )


def check_earlier(out: Path, stages: Iterable[StageSpec]) -> None:
    """Raise RecipeError if a stage deduplicates against the release that this run would replace."""
    here = out.resolve()
    for spec in stages:
        for index in getattr(spec.options, "earlier", tuple)():
            if index.folder.resolve() == here:
                raise RecipeError(
                    f"stage {spec.name}: against names {index.named}, which is the --out of this run: every record "
                    "would be dropped; write to another folder"
                )


def _manifest(out: Path) -> dict[str, Any] | None:
    """Return the manifest of the release in a folder, None where it holds none."""
    try:
        return manifests.load(out)
    except (RecipeError, IntegrityError):
        return None


@dataclass(frozen=True)
class Work:
    """Where a run works."""

    store: Store  # OUT/work, which all workers reach
    path: Path  # for this process alone, on the disk of this machine


class Folder:
    """A release folder on a disk, as a run uses it. That of curate.remote is in object storage."""

    copy: Copy | None = None  # of one that is elsewhere

    def __init__(self, path: Path) -> None:
        self.path = path  # where this process reads and writes it
        self.shown = str(path)
        self._held = b""  # the manifest that was here when it was checked

    def check(self) -> None:
        """Raise RecipeError if writing a release here would touch something that is not ours."""
        self._held = self._manifest()
        check(self.path)

    def _manifest(self) -> bytes:
        file = self.path / manifests.NAME
        return file.read_bytes() if file.is_file() else b""

    def _look_again(self) -> None:
        """Raise StorageError if the release changed before the lock was taken: by a take-down, perhaps."""
        if self._manifest() != self._held or (self.path / "work" / JOURNAL).is_file():
            raise StorageError(f"{self.shown}: another command changed the release just now; run again")

    def check_inputs(self, files: Iterable[InputFile]) -> None:
        """Raise RecipeError if a source reads this folder."""
        check_inputs(self.path, files)

    def check_earlier(self, stages: Iterable[StageSpec]) -> None:
        """Raise RecipeError if a stage deduplicates against the release that the run would replace."""
        check_earlier(self.path, stages)

    def earlier(self) -> dict[str, Any]:
        """Return the manifest of the release that a run is about to replace; empty where there is none."""
        return _manifest(self.path) or {}

    def scans(self, fresh: bool) -> Path | None:
        """Return where scans of an unfinished run are kept, None where nothing may be written yet."""
        # Scanning must not create the output folder: an input error leaves no trace.
        return self.path / "work" / "scan" if not fresh and (self.path / "work").is_dir() else None

    def is_whole(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether a file is here with the bytes that a manifest lists."""
        return is_whole(self.path / entry["path"], entry)

    def bring(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Make files that are here, as a manifest lists them, readable under the folder's path."""
        if self.copy is not None:
            self.copy.fetch({entry["path"]: entry["bytes"] for entry in entries if self.is_whole(entry)})

    @contextmanager
    def working(self, fresh: bool, note: Note, clears: Sequence[str] = ALL) -> Iterator[Work]:
        """Hold OUT/work for one run alone; what it clears is gone when the run has finished."""
        with working(self.path, False, clears, note) as work:
            self._look_again()
            if fresh:
                clear(work, RUN)
            yield Work(Store.at(work), work)

    def publish(self, staging: Path, parts: Sequence[str], finish: Callable[[], None]) -> None:
        """Put a release in place of what is here: its parts, and what finish writes, the manifest last."""
        publish(staging, self.path, parts, finish)

    def revise(self, write: Callable[[], None]) -> None:
        """Write documents, or a manifest with them, into the release that is here."""
        write()


def publish(staging: Path, out: Path, parts: Iterable[str], finish: Callable[[], None]) -> None:
    """Move the parts of a release into place, then let finish write its documents and, last, its manifest.

    The old manifest goes first: without one no folder is a release. The old parts are moved aside and go with
    OUT/work.
    """
    aside = out / "work" / "replaced"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    (out / manifests.NAME).unlink(missing_ok=True)
    for name in PARTS:
        if (out / name).exists():
            (out / name).rename(aside / name)
    if TUNE not in parts and (out / TUNE).exists():  # it measured another release
        (out / TUNE).rename(aside / TUNE)
    for name in parts:
        if name not in (*LASTING, TUNE):
            (staging / name).rename(out / name)
    sync(out)
    finish()


def with_tune(
    manifest: dict[str, Any], earlier: Mapping[str, Any], whole: Callable[[Mapping[str, Any]], bool]
) -> dict[str, Any]:
    """Return the manifest of a run with what was tuned on the same release, made earlier.

    whole: tells whether a file is there with the bytes that a manifest lists.

    Only if its files are there as they were: a tune that was stopped while it replaced another's leaves others.
    """
    tuned = earlier.get(TUNE)
    if not tuned or tuned["root"] != manifest["root"]:
        return manifest
    files = [entry for entry in earlier["outputs"] if entry["path"].startswith(f"{TUNE}/")]
    if not all(map(whole, files)):
        return manifest
    return manifests.revised(
        manifest,
        tune=tuned,
        outputs=sorted([*manifest["outputs"], *files], key=lambda entry: str(entry["path"])),
        timing={**manifest["timing"], TUNE: earlier["timing"][TUNE]},
    )


def is_whole(path: Path, entry: Mapping[str, Any]) -> bool:
    """Tell whether a file is there with the bytes that a manifest lists."""
    if not path.is_file() or path.stat().st_size != entry["bytes"]:
        return False
    with path.open("rb") as file:
        return bool(hashlib.file_digest(file, "sha256").hexdigest() == entry["sha256"])


def untuned(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as it was before anything was tuned: the release that a tune measures."""
    outputs = [entry for entry in manifest["outputs"] if not entry["path"].startswith(f"{TUNE}/")]
    left = {name: value for name, value in manifest.items() if name != TUNE}
    timing = {name: value for name, value in manifest["timing"].items() if name != TUNE}
    return manifests.revised(left, outputs=outputs, timing=timing)


def place_tune(
    staging: Path, out: Path, manifest: Mapping[str, Any], finish: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Put what was tuned in place of an earlier tune's, and return the manifest that lists it.

    manifest: with its key ``tune``. The release keeps its manifest all the time: a crash leaves a tune to repeat.
    """
    aside = out / "work" / "replaced"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    files = [path for path in sorted(staging.rglob("*")) if path.is_file()]
    listed = [manifests.output(finished(path, _rows(path)), staging.parent) for path in files]
    if (out / TUNE).exists():
        (out / TUNE).rename(aside / TUNE)
    staging.rename(out / TUNE)
    sync(out)
    others = [entry for entry in manifest["outputs"] if not entry["path"].startswith(f"{TUNE}/")]
    outputs = sorted([*others, *listed], key=lambda entry: str(entry["path"]))
    held = manifests.revised(manifest, outputs=outputs)
    finish(held)
    return held


def _rows(path: Path) -> int:
    """Return how many records a file holds, 1 for a file that holds none."""
    if path.suffix == ".parquet":
        return int(pq.read_metadata(path).num_rows)
    return path.read_bytes().count(b"\n") if path.suffix == ".ndjson" else 1


def with_lasting(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run with the files that lie in OUT from before and stay there."""
    found = []
    for path in sorted(path for name in LASTING for path in (out / name).glob("*")):
        found.append(manifests.output(finished(path, _rows(path)), out))
    if not found:
        return manifest
    outputs = sorted([*manifest["outputs"], *found], key=lambda entry: str(entry["path"]))
    return manifests.revised(manifest, outputs=outputs)
