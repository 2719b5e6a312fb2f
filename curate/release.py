"""The story on one page: recipe → read → stages → shards → ledger → manifest → documents."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import clusters, inspect, ledger, merkle, pipeline, remote, scores, shards
from curate import folder as out_folder
from curate.copies import Copy, told
from curate.copies import address as url_of
from curate.engine import AnyEngine, RayEngine, check_engine, open_engine
from curate.engine.local import LocalEngine, Tick, cores
from curate.engine.memory import expected, machine
from curate.errors import IntegrityError, RecipeError
from curate.forecast import Plan, check_disk, forecast, spare
from curate.govern import audit as audits
from curate.govern import (
    derived,
    difference,
    disclosures,
    documents,
    drift,
    measures,
    overlap,
    representation,
)
from curate.govern import findings as alarms
from curate.govern import manifest as manifests
from curate.govern.datasheet import answers, charts
from curate.govern.licensing import findings as licensing
from curate.handoff import TRAIN, WINDOW, Records, opened, splits_of
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
UNKNOWN_MEMORY = 4 * 10**9  # the budget where a system does not tell what it has


@dataclass(frozen=True)
class Release:
    """A finished release folder."""

    path: Path
    manifest: dict[str, Any]
    reused: bool = False  # it was there already, made of the same things
    copy: Copy | None = None  # of a release in object storage, which path is a copy of

    @property
    def place(self) -> str:
        """Return the folder's path, or its URL."""
        return str(self.path) if self.copy is None else self.copy.url

    def explain(self, record_id: str) -> inspect.Story:
        """Tell one record's whole story. Raises RecipeError if the release never saw the id."""
        return inspect.explain(self._here(), self.manifest, record_id)

    def ledger(self) -> duckdb.DuckDBPyRelation:
        """Return the ledger as a DuckDB relation, to filter and aggregate."""
        return ledger.connect(self._here()).table("ledger")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the records to train on, in the order of the shards: see :meth:`records`."""
        return iter(self.records())

    def __len__(self) -> int:
        """Return how many records there are to train on: those of the split train."""
        return self.splits.get(TRAIN, 0)

    def __bool__(self) -> bool:
        """Be true: a release without records is one."""
        return True

    @property
    def splits(self) -> dict[str, int]:
        """Return the release's splits, and how many records each has."""
        return splits_of(self.manifest)

    def records(
        self,
        *,
        columns: Sequence[str] | None = None,
        split: str | None = TRAIN,
        shuffle: int | None = None,
        epoch: int = 0,
        window: int | None = WINDOW,
        shard: tuple[int, int] = (0, 1),
        even: bool = False,
        verify: bool = False,
    ) -> Records:
        """Return the records of a split (None: of all) for a trainer: dicts, with ``len``, ``state_dict``, ``torch``.

        columns: to read, default all. shuffle: seed of the order, which epoch changes; None is the order of the shards.
        window: row groups mixed together (None: all, each order as likely as any other; all are then in memory).
        shard: rank and number of ranks, each of which gets its own records, with ``even`` all the same number, the
        order's last few left out. verify: compute every shard's SHA-256 first. Raises RecipeError for an argument that
        cannot be, IntegrityError, with the file's name, for a shard that is not as the manifest says.
        """
        how = {"shuffle": shuffle, "epoch": epoch, "window": window, "shard": shard, "even": even}
        return opened(
            self._here(), self.manifest, columns=columns, split=split, verify=verify, keep=self.copy, **how
        )

    def _here(self) -> Path:
        return self.path if self.copy is None else self.copy.whole()

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
    _check_arguments(engine, address, workers, batch_size)
    budget = _memory(memory)
    given = _answers(checked)
    watch = watch or pipeline.Watch()
    with remote.at(out or checked.folder / "release", watch.note) as home:
        home.check()
        checked = suppress.honour(checked, home.path)
        limit = (
            None if engine == "ray" and memory is None else budget
        )  # what this machine has says nothing of a cluster
        with open_engine(engine, address, workers, limit, tick, checked.folder) as mapper:
            if isinstance(mapper, RayEngine) and home.copy is None:
                mapper.check_folder(home.path)
            watch.begin("scan", 0)
            plans = scan(checked.sources, checked.folder, mapper, home.scans(fresh))
            watch.end()
            home.check_inputs([file for plan in plans for file in plan.files])
            home.check_earlier(checked.stages)
            if not fresh and (held := _up_to_date(home, checked, plans, given, watch)):
                return held
            check_disk(checked, plans, home.shown)
            if isinstance(mapper, LocalEngine) and budget < expected(1):
                watch.note(_scanty(budget))
            left = spare(budget, mapper.workers) if isinstance(mapper, LocalEngine) else mapper.memory()
            with home.working(fresh, watch.note) as work:
                known = work.store.child(scores.FOLDER)
                if not fresh:
                    scores.lay(checked.stages, home.earlier(), home.path, home.is_whole, home.bring, known)
                outcome = pipeline.execute(
                    checked.stages,
                    plans,
                    mapper,
                    work.store,
                    memory=left,
                    batch_records=batch_size or BATCH_RECORDS,
                    watch=watch,
                )
                watch.begin("write", 0)
                charts.start()
                manifest = _write(
                    checked,
                    plans,
                    outcome,
                    work.path / "release",
                    mapper,
                    min(left, budget),
                    started,
                    work.store.child("release"),
                )
                for note in scores.reused(checked.stages, manifest, work.path / "release", known):
                    watch.note(note)
                earlier = home.earlier()
                manifest = answers.enter(manifest, given, earlier)
                manifest = out_folder.with_tune(
                    out_folder.with_lasting(home.path, manifest), earlier, home.is_whole
                )
                watch.end()
                parts = sorted({entry["path"].split("/")[0] for entry in manifest["outputs"]})
                home.publish(work.path / "release", parts, lambda: finish(home.path, manifest))
    return Release(home.path, manifest, copy=home.copy)


def finish(out: Path, manifest: dict[str, Any]) -> None:
    """Write every document of a release, then its manifest, without which no folder is a release."""
    documents.write(out, manifest)
    manifests.save(manifest, out)


def plan(
    recipe: str | Path = "curate.yaml",
    out: str | Path | None = None,
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    memory: str | int | None = None,
) -> Plan:
    """Return what a run would do (``curate run --dry-run``): runs a sample in a scratch folder, writes nothing else.

    Its times and sizes are of this machine, whatever the engine. Raises as :func:`run` does.
    """
    _check_arguments(engine, address, workers, None)
    checked = load_recipe(recipe)
    with remote.at(out or checked.folder / "release", pipeline.Watch().note) as home:
        checked = suppress.honour(checked, home.path)
        with LocalEngine(workers) as mapper:
            plans = scan(checked.sources, checked.folder, mapper)
        return forecast(checked, plans, workers or cores(), _memory(memory), _rehearse, home.shown)


def _rehearse(
    recipe: Recipe,
    plans: tuple[SourcePlan, ...],
    outcome: pipeline.Outcome,
    folder: Path,
    engine: LocalEngine,
    memory: int,
) -> None:
    """Write the release of a sample, as a run does (curate.forecast.rehearsal)."""
    finish(folder, _write(recipe, plans, outcome, folder, engine, memory, time.perf_counter()))


def load(out: str | Path) -> Release:
    """Open a finished release. Raises RecipeError if the folder holds none. One in object storage is copied here."""
    if url_of(out) is None:
        return Release(Path(out), manifests.load(Path(out)))
    copy = Copy(out)
    with told(copy):
        return Release(copy.path, manifests.load(remote.fetched(copy)), copy=copy)


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
    engine: AnyEngine,
    memory: int,
    started: float,
    shared: Store | None = None,
) -> dict[str, Any]:
    """Write every table into a staging folder and return the manifest of what was written.

    shared: where workers write, from which the tables are fetched; by default the staging folder itself.
    """
    shutil.rmtree(staging, ignore_errors=True)
    shared = shared or Store.at(staging)
    shared.remove()
    output = recipe.output
    seal = merkle.seed(plans)
    key = recipe.removed_key()
    written = shards.write(
        plans, outcome.chains, shared, staging, output.format, output.shard_size, memory, seal, engine, key
    )
    for source, count in written.duplicate_ids.items():  # seen only now that every id is known
        tally = outcome.tallies[READ][source]
        tally.flagged += count
        tally.reasons[shards.DUPLICATE_ID] += count
    written.shards["clusters"] = clusters.write(outcome.resolved, staging, output.shard_size, memory)
    overlap.enrich(outcome, staging, memory)
    measured = measures.measure(staging, recipe.resolved(), memory)
    found = [
        *outcome.findings,
        *overlap.relabelled(outcome, staging, memory),
        *licensing.findings(measured["licenses"]),
        *alarms.findings(outcome, written.duplicate_ids),
        *alarms.shifts(recipe.gates, measured["mixture"]),
        *representation.findings(measured),
        *disclosures.contradictions({"recipe": recipe.resolved(), **measured}),
    ]
    gates = alarms.gates(recipe.gates, outcome, measured["mixture"])
    if told := measured.get("drift"):
        found += drift.findings(told)
        gates.append(drift.gate(told))
    index = None
    if output.index:
        index = shards.write_index(recipe.stages, outcome.chains, shared, staging, output.shard_size, engine)
        written.shards["index"] = index.shards
    if size := next((spec.options.audit for spec in recipe.stages if hasattr(spec.options, "audit")), 0):
        written.shards[audits.FOLDER] = audits.draw(outcome.chains, staging, size, engine)
    written.shards.update(derived.write(staging, memory))
    if shared.is_remote:
        shared.remove()
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
    problems = check_engine(engine, address)
    if workers is not None and workers < 1:
        problems.append(f"--workers {workers}: at least 1")
    if batch_size is not None and batch_size < 1:
        problems.append(f"--batch-size {batch_size}: at least 1")
    if problems:
        raise RecipeError(problems)


def _memory(given: str | int | None) -> int:
    """Return the memory budget in bytes: as given, else half of what the machine has."""
    if given is None:
        return (machine() or 2 * UNKNOWN_MEMORY) // 2
    try:
        budget: int = parse_size(given)
    except ValueError as error:
        raise RecipeError(f"--memory: {error}") from None
    if budget < LEAST_MEMORY:
        raise RecipeError(f"--memory {given}: too little to work in; at least {LEAST_MEMORY // 10**6}MB")
    return budget


def _scanty(budget: int) -> str:
    """Say that a budget in bytes is less than one process takes: from a single one nothing can be taken back."""
    return (
        f"--memory {budget // 10**6}MB: one process is reckoned to take up to {expected(1) // 10**6}MB; this run has "
        "only one, and may take more than its budget"
    )


def _answers(recipe: Recipe) -> dict[str, Any] | None:
    """Return a person's answers for the datasheet, None where the recipe names no file of them."""
    return None if recipe.answers is None else answers.read(recipe.folder / recipe.answers, recipe.answers)


def _up_to_date(
    home: out_folder.Folder,
    recipe: Recipe,
    plans: tuple[SourcePlan, ...],
    given: dict[str, Any] | None,
    watch: pipeline.Watch,
) -> Release | None:
    """Return the release that is already there if it was made of the same things and no byte of it has changed.

    A person's answers are no part of that: new ones enter the release as it is.
    """
    try:
        held = manifests.load(home.path)
    except (RecipeError, IntegrityError):
        return None
    same = (
        held["recipe_sha256"] == recipe.sha256()
        and held["software"] == software()
        and held["inputs"] == manifests.inputs(plans)
        and held["root"] == manifests.root(held)
    )
    if same:
        charts.start()
    if not same or not all(map(home.is_whole, held["outputs"])):
        return None
    manifest = answers.enter(held, given)

    def write() -> None:
        documents.write(home.path, manifest)
        if manifest["root"] != held["root"]:
            manifests.save(manifest, home.path)

    with home.working(
        False, watch.note, out_folder.RUN
    ):  # takes the lock, and clears what a stopped run left
        home.revise(write)
    return Release(home.path, manifest, reused=True, copy=home.copy)
