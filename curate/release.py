"""The story on one page: recipe → read → stages → shards → ledger → manifest → documents."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import clusters, inspect, ledger, merkle, pipeline, shards
from curate import folder as out_folder
from curate.doubled import DUPLICATE_ID
from curate.engine.local import LocalEngine, Tick, cores
from curate.errors import IntegrityError, RecipeError
from curate.forecast import Plan, forecast
from curate.govern import audit as audits
from curate.govern import derived, difference, disclosures, documents, measures, overlap
from curate.govern import findings as alarms
from curate.govern import manifest as manifests
from curate.govern.datasheet import answers, charts
from curate.govern.licensing import findings as licensing
from curate.io.scan import SourcePlan, scan
from curate.io.store import Store
from curate.recipe import Recipe
from curate.recipe import load as load_recipe
from curate.software import software
from curate.source import parse_size
from curate.stages import suppress
from curate.unit import READ

if TYPE_CHECKING:
    import duckdb

BATCH_RECORDS = 1024
LEAST_MEMORY = 256 * 10**6


@dataclass(frozen=True)
class Release:
    """A finished release folder."""

    path: Path
    manifest: dict[str, Any]
    reused: bool = False  # it was there already, made of the same things

    def explain(self, record_id: str) -> inspect.Story:
        """Tell one record's whole story. Raises RecipeError if the release never saw the id."""
        return inspect.explain(self.path, self.manifest, record_id)

    def ledger(self) -> duckdb.DuckDBPyRelation:
        """Return the ledger as a DuckDB relation, to filter and aggregate."""
        return ledger.connect(self.path).table("ledger")

    @property
    def failed_gates(self) -> list[dict[str, Any]]:
        """Return the recipe's gates that this release misses."""
        return [gate for gate in self.manifest["gates"] if gate["passed"] is False]


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
    budget = _memory(memory)
    given = _answers(checked)
    out_folder.check(folder)
    checked = suppress.honour(checked, folder)
    watch = watch or pipeline.Watch()
    with LocalEngine(workers, tick) as mapper:
        watch.begin("scan", 0)
        plans = scan(checked.sources, checked.folder, mapper, _cache(folder, fresh))
        watch.end()
        out_folder.check_inputs(folder, [file for plan in plans for file in plan.files])
        out_folder.check_earlier(folder, checked.stages)
        if not fresh and (held := _up_to_date(folder, checked, plans, given)):
            return held
        with out_folder.working(folder, fresh) as work:
            outcome = pipeline.execute(
                checked.stages,
                plans,
                mapper,
                Store.at(work),
                memory=budget,
                batch_records=batch_size or BATCH_RECORDS,
                watch=watch,
            )
            watch.begin("write", 0)
            charts.start()
            manifest = _write(checked, plans, outcome, work / "release", mapper, budget, started)
            earlier = _earlier(folder)
            manifest = answers.enter(manifest, given, earlier)
            manifest = out_folder.with_tune(out_folder.with_lasting(folder, manifest), earlier, folder)
            watch.end()
            parts = sorted({entry["path"].split("/")[0] for entry in manifest["outputs"]})
            out_folder.publish(work / "release", folder, parts, lambda: finish(folder, manifest))
    return Release(folder, manifest)


def finish(out: Path, manifest: dict[str, Any]) -> None:
    """Write every document of a release, then its manifest, without which no folder is a release."""
    documents.write(out, manifest)
    manifests.save(manifest, out)


def plan(
    recipe: str | Path = "curate.yaml", *, workers: int | None = None, memory: str | int | None = None
) -> Plan:
    """Return what a run would do (``curate run --dry-run``): reads recipe and input, writes nothing."""
    checked = load_recipe(recipe)
    checked = suppress.honour(checked, checked.folder / "release")
    with LocalEngine(workers) as mapper:
        plans = scan(checked.sources, checked.folder, mapper)
    return forecast(checked, plans, workers or cores(), _memory(memory))


def load(out: str | Path) -> Release:
    """Open a finished release. Raises RecipeError if the folder holds none."""
    return Release(Path(out), manifests.load(Path(out)))


def explain(out: str | Path, id: str) -> inspect.Story:
    """Tell one record's whole story (``curate explain``)."""
    return load(out).explain(id)


def diff(out_a: str | Path, out_b: str | Path) -> difference.Difference:
    """Return what changed between two releases, by stage, reason and source (``curate diff``)."""
    a, b = load(out_a), load(out_b)
    return difference.diff(a.path, a.manifest, b.path, b.manifest)


def _write(
    recipe: Recipe,
    plans: tuple[SourcePlan, ...],
    outcome: pipeline.Outcome,
    staging: Path,
    engine: LocalEngine,
    memory: int,
    started: float,
) -> dict[str, Any]:
    """Write every table into a staging folder and return the manifest of what was written."""
    shutil.rmtree(staging, ignore_errors=True)
    output = recipe.output
    seal = merkle.seed(plans)
    written = shards.write(
        plans, outcome.chains, staging, output.format, output.shard_size, memory, seal, recipe.removed_key()
    )
    for source, count in written.duplicate_ids.items():  # seen only now that every id is known
        tally = outcome.tallies[READ][source]
        tally.flagged += count
        tally.reasons[DUPLICATE_ID] += count
    written.shards["clusters"] = clusters.write(outcome.resolved, staging, output.shard_size, memory)
    overlap.enrich(outcome, staging, memory)
    measured = measures.measure(staging, recipe.resolved(), memory)
    found = [
        *outcome.findings,
        *overlap.relabelled(outcome, staging, memory),
        *licensing.findings(measured["licenses"]),
        *alarms.findings(outcome, written.duplicate_ids),
        *disclosures.contradictions({"recipe": recipe.resolved(), **measured}),
    ]
    gates = alarms.gates(recipe.gates, outcome)
    index = None
    if output.index:
        index = shards.write_index(recipe.stages, outcome.chains, staging, output.shard_size, engine)
        written.shards["index"] = index.shards
    if size := next((spec.options.audit for spec in recipe.stages if hasattr(spec.options, "audit")), 0):
        written.shards[audits.FOLDER] = audits.draw(outcome.chains, staging, size)
    written.shards.update(derived.write(staging, memory))
    outputs = {
        name: files for name, files in written.shards.items() if name != "removed" or output.keep_removed
    }
    timing = _timing(outcome, time.perf_counter() - started)
    return manifests.build(
        recipe, plans, outcome, outputs, staging, measured, found, gates, timing, index, written.tree
    )


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


def _cache(out: Path, fresh: bool) -> Path | None:
    # Scanning must not create the output folder: an input error leaves no trace.
    return out / "work" / "scan" if not fresh and (out / "work").is_dir() else None


def _memory(given: str | int | None) -> int:
    """Return the memory budget in bytes: as given, else half of what the machine has."""
    if given is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    try:
        budget: int = parse_size(given)
    except ValueError as error:
        raise RecipeError(f"--memory: {error}") from None
    if budget < LEAST_MEMORY:
        raise RecipeError(f"--memory {given}: too little to work in; at least {LEAST_MEMORY // 10**6}MB")
    return budget


def _answers(recipe: Recipe) -> dict[str, Any] | None:
    """Return a person's answers for the datasheet, None where the recipe names no file of them."""
    return None if recipe.answers is None else answers.read(recipe.folder / recipe.answers, recipe.answers)


def _earlier(out: Path) -> dict[str, Any]:
    """Return the manifest of the release that a run is about to replace; empty where there is none."""
    try:
        return load(out).manifest
    except (RecipeError, IntegrityError):
        return {}


def _up_to_date(
    out: Path, recipe: Recipe, plans: tuple[SourcePlan, ...], given: dict[str, Any] | None
) -> Release | None:
    """Return the release that is already there if it was made of the same things and no byte of it has changed.

    A person's answers are no part of that: new ones enter the release as it is.
    """
    try:
        held = load(out)
    except (RecipeError, IntegrityError):
        return None
    same = (
        held.manifest["recipe_sha256"] == recipe.sha256()
        and held.manifest["software"] == software()
        and held.manifest["inputs"] == manifests.inputs(plans)
        and held.manifest["root"] == manifests.root(held.manifest)
    )
    if same:
        charts.start()
    if not same or not all(
        out_folder.is_whole(out / entry["path"], entry) for entry in held.manifest["outputs"]
    ):
        return None
    manifest = answers.enter(held.manifest, given)
    with out_folder.working(out, fresh=False):  # takes the lock, and clears what a stopped run left
        documents.write(out, manifest)
        if manifest["root"] != held.manifest["root"]:
            manifests.save(manifest, out)
        return replace(held, manifest=manifest, reused=True)
