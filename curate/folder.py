"""The release folder: what may be written there, who is working there, and how a release appears in it.

OUT is ours if it is empty, holds a manifest of ours, or a work folder that carries our lock. Nothing else is
ever replaced or removed.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
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
_WORK = ("units", "resolved", "scan", "release", "replaced", "takedown")  # what a run makes in OUT/work
LASTING = ("takedown",)  # what a run leaves where it is: the log of take-downs and their suppression list
JOURNAL = "takedown/journal.json"  # in OUT/work: a take-down that is all prepared, and not all done
_OURS = re.compile(
    r"(part|edited)-\d{5,}\.(parquet|jsonl\.zst)|pii-(sample|answers)\.jsonl|requests\.ndjson|impact-\d+\.json"
    r"|domains\.csv|(eu-art53|ca-ab2013|nist-ai-600-1|gdpr-record)\.(json|md)"
    r"|suppression\.parquet|superseded-[0-9a-f]{16}\.dsse\.json"
)


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
    ]
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
            _clear(work)
        yield work
        clean(out)


def clean(out: Path) -> None:
    """Remove what a run left in OUT/work, and OUT/work itself if nothing else is in it."""
    work = out / "work"
    _clear(work)
    (work / LOCK).unlink(missing_ok=True)
    if work.is_dir() and not any(work.iterdir()):
        work.rmdir()


def _clear(work: Path) -> None:
    for name in _WORK:
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
    for name in parts:
        if name not in LASTING:
            (staging / name).rename(out / name)
    sync(out)
    finish()


def with_lasting(out: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the manifest of a run with the files that lie in OUT from before and stay there."""
    found = []
    for path in sorted(path for name in LASTING for path in (out / name).glob("*")):
        rows = 1
        if path.suffix == ".parquet":
            rows = pq.read_metadata(path).num_rows
        elif path.suffix == ".ndjson":
            rows = path.read_bytes().count(b"\n")
        found.append(manifests.output(finished(path, rows), out))
    if not found:
        return manifest
    outputs = sorted([*manifest["outputs"], *found], key=lambda entry: str(entry["path"]))
    return manifests.revised(manifest, outputs=outputs)
