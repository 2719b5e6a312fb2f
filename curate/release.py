"""The story on one page: recipe → read → stages → shards → ledger → manifest → datasheet."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import inspect, ledger, pipeline, shards
from curate.engine.local import LocalEngine, Tick, cores
from curate.errors import IntegrityError, RecipeError
from curate.forecast import Plan, forecast
from curate.govern import datasheet as sheet
from curate.govern import findings as alarms
from curate.govern import manifest as manifests
from curate.govern import statistics
from curate.io.scan import SourcePlan, scan
from curate.io.write import write_text
from curate.recipe import Recipe, parse_size
from curate.recipe import load as load_recipe
from curate.unit import READ

if TYPE_CHECKING:
    import duckdb

BATCH_RECORDS = 1024
_PARTS = ("data", "records", "ledger", "removed")
_DOCUMENTS = ("datasheet.md",)


@dataclass(frozen=True)
class Release:
    """A finished release folder."""

    path: Path
    manifest: dict[str, Any]
    reused: bool = False  # it was there already, made of the same things

    def explain(self, record_id: str) -> inspect.Story:
        """Tell one record's whole story. Raises IntegrityError if the release never saw the id."""
        return inspect.explain(self.path, self.manifest, record_id)

    def ledger(self) -> duckdb.DuckDBPyRelation:
        """Return the ledger as a DuckDB relation, to filter and aggregate."""
        return ledger.connect(self.path).table("ledger")

    @property
    def failed_gates(self) -> list[dict[str, Any]]:
        """Return the recipe's gates that this release misses."""
        return [gate for gate in self.manifest["gates"] if not gate["passed"]]


def run(
    recipe: str | Path = "curate.yaml",
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    memory: str | int | None = None,
    batch_size: int | None = None,
    fresh: bool = False,
    watch: pipeline.Watch | None = None,
    tick: Tick | None = None,
) -> Release:
    """Run a recipe into a release folder (default: ``release`` beside the recipe); resumes by default.

    Raises RecipeError for what is wrong with the recipe or the arguments, InputError for input that cannot
    be read (before anything is written), StageError for a stage that broke its contract.
    """
    started = time.perf_counter()
    checked = load_recipe(recipe)
    folder = Path(out) if out is not None else checked.folder / "release"
    _check_arguments(engine, address, workers, batch_size)
    _check_folder(folder)
    watch = watch or pipeline.Watch()
    with LocalEngine(workers, tick) as mapper:
        watch.begin("scan", 0)
        plans = scan(checked.sources, checked.folder, mapper, _cache(folder, fresh))
        watch.end()
        if not fresh and (held := _up_to_date(folder, checked, plans)):
            return held
        with _working(folder, fresh) as work:
            outcome = pipeline.execute(
                checked.stages,
                plans,
                mapper,
                work,
                memory=_memory(memory),
                batch_records=batch_size or BATCH_RECORDS,
                watch=watch,
            )
            watch.begin("write", 0)
            manifest = _write(checked, plans, outcome, work / "release", started)
            watch.end()
            _publish(work / "release", folder, manifest, checked.output.keep_removed)
    return Release(folder, manifest)


def plan(
    recipe: str | Path = "curate.yaml", *, workers: int | None = None, memory: str | int | None = None
) -> Plan:
    """Return what a run would do (``curate run --dry-run``): reads recipe and input, writes nothing."""
    checked = load_recipe(recipe)
    with LocalEngine(workers) as mapper:
        plans = scan(checked.sources, checked.folder, mapper)
    return forecast(checked, plans, workers or cores(), _memory(memory))


def load(out: str | Path) -> Release:
    """Open a finished release. Raises IntegrityError if the folder holds none."""
    return Release(Path(out), manifests.load(Path(out)))


def explain(out: str | Path, id: str) -> inspect.Story:
    """Tell one record's whole story (``curate explain``)."""
    return load(out).explain(id)


def diff(out_a: str | Path, out_b: str | Path) -> inspect.Difference:
    """Return what changed between two releases, by stage, reason and source (``curate diff``)."""
    a, b = load(out_a), load(out_b)
    return inspect.diff(a.path, a.manifest, b.path, b.manifest)


def datasheet(out: str | Path) -> list[Path]:
    """Render the datasheet from the manifest again and return the files written (``curate datasheet``)."""
    release = load(out)
    if (found := manifests.root(release.manifest)) != release.manifest.get("root"):
        raise IntegrityError(
            f"{release.path / manifests.NAME}: was changed after the run: its root is "
            f"{release.manifest.get('root')}, its content hashes to {found}; no datasheet is rendered from it"
        )
    return _documents(release.path, release.manifest)


def _documents(out: Path, manifest: dict[str, Any]) -> list[Path]:
    write_text(out / "datasheet.md", sheet.markdown(manifest))
    return [out / name for name in _DOCUMENTS]


def _write(
    recipe: Recipe, plans: tuple[SourcePlan, ...], outcome: pipeline.Outcome, staging: Path, started: float
) -> dict[str, Any]:
    """Write every table into a staging folder and return the manifest of what was written."""
    shutil.rmtree(staging, ignore_errors=True)
    written = shards.write(plans, outcome.chains, staging, recipe.output.format, recipe.output.shard_size)
    for source, count in written.duplicate_ids.items():  # seen only now that every id is known
        tally = outcome.tallies[READ][source]
        tally.flagged += count
        tally.reasons[shards.DUPLICATE_ID] += count
    measured = statistics.measure(staging)
    found = [*outcome.findings, *alarms.findings(outcome, written.duplicate_ids)]
    gates = alarms.gates(recipe.gates, outcome)
    outputs = {
        name: files
        for name, files in written.shards.items()
        if name != "removed" or recipe.output.keep_removed
    }
    timing = _timing(outcome, time.perf_counter() - started)
    return manifests.build(recipe, plans, outcome, outputs, staging, measured, found, gates, timing)


def _timing(outcome: pipeline.Outcome, wall: float) -> dict[str, Any]:
    stages = {}
    for name, by_source in outcome.tallies.items():
        seconds = sum(tally.seconds for tally in by_source.values())
        nbytes = sum(tally.bytes for tally in by_source.values())
        speed = nbytes / seconds / 1e6 if seconds else None
        stages[name] = {
            "cpu_seconds": round(seconds, 3),
            "bytes": nbytes,
            "mb_per_cpu_second": speed and round(speed, 2),
        }
    read = sum(tally.bytes for tally in outcome.tallies[READ].values())
    return {
        "wall_seconds": round(wall, 3),
        "bytes": read,
        "mb_per_second": round(read / wall / 1e6, 3),
        "stages": stages,
    }


def _publish(staging: Path, out: Path, manifest: dict[str, Any], keep_removed: bool) -> None:
    """Move the tables into place. The manifest goes first and comes last: no release is without one."""
    (out / manifests.NAME).unlink(missing_ok=True)
    for name in _PARTS:
        shutil.rmtree(out / name, ignore_errors=True)
        if name != "removed" or keep_removed:
            (staging / name).rename(out / name)
    _documents(out, manifest)
    manifests.save(manifest, out)


def _check_arguments(engine: str, address: str | None, workers: int | None, batch_size: int | None) -> None:
    problems = []
    if engine != "local":
        problems.append(f"--engine {engine}: this version runs 'local' only")
    if address is not None:
        problems.append("--address: only a cluster has one, and the local engine has no use for it")
    if workers is not None and workers < 1:
        problems.append(f"--workers {workers}: at least 1")
    if batch_size is not None and batch_size < 1:
        problems.append(f"--batch-size {batch_size}: at least 1")
    if problems:
        raise RecipeError(problems)


def _check_folder(out: Path) -> None:
    """Refuse a folder that holds something else: what stands under our names would be replaced."""
    if not out.exists():
        return
    if not out.is_dir():
        raise RecipeError(f"--out {out}: is a file; name a folder")
    ours = (out / manifests.NAME).exists() or (out / "work").is_dir()
    held = sorted(path.name for path in out.iterdir())
    if held and not ours:
        raise RecipeError(
            f"--out {out}: holds {', '.join(held[:3])} and no release; name an empty or new folder"
        )


def _cache(out: Path, fresh: bool) -> Path | None:
    # Scanning must not create the output folder: an input error leaves no trace.
    return out / "work" / "scan" if not fresh and (out / "work").is_dir() else None


def _memory(given: str | int | None) -> int:
    """Return the memory budget in bytes: as given, else half of what the machine has."""
    if given is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        return parse_size(given)
    except ValueError as error:
        raise RecipeError(f"--memory: {error}") from None


def _up_to_date(out: Path, recipe: Recipe, plans: tuple[SourcePlan, ...]) -> Release | None:
    """Return the release that is already there if it was made of the same things and is whole."""
    try:
        held = load(out)
    except IntegrityError:
        return None
    same = (
        held.manifest["recipe_sha256"] == recipe.sha256()
        and held.manifest["software"] == manifests.software()
        and held.manifest["inputs"] == manifests.inputs(plans)
        and held.manifest["root"] == manifests.root(held.manifest)
    )
    files = [(out / entry["path"], entry["bytes"]) for entry in held.manifest["outputs"]]
    whole = all(path.is_file() and path.stat().st_size == size for path, size in files)
    return replace(held, reused=True) if same and whole else None


@contextmanager
def _working(out: Path, fresh: bool) -> Iterator[Path]:
    """Hold OUT/work for one run alone; it is gone when the run has finished, and kept when it has not."""
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("a+") as lock:
        _lock(lock, out)
        if fresh:
            for name in ("units", "resolved", "scan", "release"):
                shutil.rmtree(work / name, ignore_errors=True)
        yield work
        shutil.rmtree(work, ignore_errors=True)


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
