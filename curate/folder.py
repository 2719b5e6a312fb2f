"""The release folder: what may be written there, who is working there, and how a release appears in it.

OUT is ours if it is empty, holds a manifest of ours, or a work folder that carries our lock. Nothing else is
ever replaced or removed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from curate.errors import IntegrityError, RecipeError
from curate.govern import audit, documents
from curate.govern import manifest as manifests
from curate.io.scan import InputFile
from curate.io.write import finished, sync
from curate.recipe import StageSpec

PARTS = (
    *("data", "records", "leaves", "ledger", "removed", "clusters", "index", "audit", "disclosures"),
    "ATTRIBUTION.csv",
)
LOCK = "curate.lock"
_WORK = (
    "units",
    "resolved",
    "scan",
    "release",
    "replaced",
    "takedown",
    "tune",
)  # what a run makes in OUT/work
TUNE = "tune"  # what `curate tune` measured; goes when a run makes another release of the folder
LASTING = ("takedown",)  # what a run leaves where it is: the log of take-downs and their suppression list
JOURNAL = "takedown/journal.json"  # in OUT/work: a take-down that is all prepared, and not all done
_OURS = re.compile(
    r"(part|edited)-\d{5,}\.(parquet|jsonl\.zst)|pii-(sample|answers)\.jsonl|requests\.ndjson|impact-\d+\.json"
    r"|domains\.csv|(eu-art53|ca-ab2013|nist-ai-600-1|gdpr-record)\.(json|md)"
    r"|suppression\.parquet|superseded-[0-9a-f]{16}\.dsse\.json"
)
_TUNED = re.compile(r"report\.(json|html)|losses\.parquet|(adapters|base)/.+")  # of the files under tune/


def check(out: Path) -> None:
    """Raise RecipeError if writing a release to this folder would touch something that is not ours."""
    if out.exists() and not out.is_dir():
        raise RecipeError(f"--out {out}: is a file; name a folder")
    above = next((parent for parent in out.absolute().parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise RecipeError(f"--out {out}: {above} is a file, so the folder cannot be made; name another")
    if not out.exists():
        return
    if (out / "work" / JOURNAL).is_file():
        raise RecipeError(
            f"--out {out}: a take-down was stopped half-way; run that 'curate takedown' again first"
        )
    held = sorted(path.name for path in out.iterdir())
    if not held:
        return
    manifest = _manifest(out)
    if manifest is None and not (out / "work" / LOCK).is_file():
        raise RecipeError(
            f"--out {out}: holds {', '.join(held[:3])} and no release; name an empty or new folder"
        )
    foreign = [
        path.relative_to(out).as_posix()
        for name in (*PARTS, *LASTING)
        for path in sorted((out / name).glob("*"))
        if not (path.is_file() and _OURS.fullmatch(path.name))
    ] + _foreign_to_tune(out)
    if foreign:
        raise RecipeError(
            f"--out {out}: {foreign[0]} is no file of a release; move it, or name another folder"
        )
    documents.check(out)
    form = out / audit.FOLDER / audit.SAMPLE
    if manifest is not None and form.is_file() and not audit.is_blank(out, manifest):
        raise RecipeError(
            f"--out {out}: {form.relative_to(out)} was filled in; move it to another folder to keep it"
        )


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


@contextmanager
def working(out: Path, fresh: bool) -> Iterator[Path]:
    """Hold OUT/work for one run alone; it is gone when the run has finished, and kept when it has not."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    with (work / LOCK).open("a+") as lock:
        _lock(lock, out)
        if fresh:
            clear(work)
        yield work
        clean(out)


def clean(out: Path) -> None:
    """Remove what a run left in OUT/work, and OUT/work itself if nothing else is in it."""
    work = out / "work"
    clear(work)
    (work / LOCK).unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def clear(work: Path, *names: str) -> None:
    """Remove these parts of OUT/work, all of them by default."""
    for name in names or _WORK:
        shutil.rmtree(work / name, ignore_errors=True)


def _lock(file: Any, out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # not on this system: two runs into one folder go unnoticed there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        raise RecipeError(
            f"--out {out}: another run (process {file.read().strip()}) is working there"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


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


def with_tune(manifest: dict[str, Any], earlier: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return the manifest of a run with what was tuned on the same release, made earlier.

    Only if its files are there as they were: a tune that was stopped while it replaced another's leaves others.
    """
    tuned = earlier.get(TUNE)
    if not tuned or tuned["root"] != manifest["root"]:
        return manifest
    files = [entry for entry in earlier["outputs"] if entry["path"].startswith(f"{TUNE}/")]
    if not all(is_whole(out / entry["path"], entry) for entry in files):
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
