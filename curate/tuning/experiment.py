"""The story of a tune on one page: release → arms → tokens → runs → effects → manifest, report and datasheet."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import folder as out_folder
from curate import keys
from curate.copies import address
from curate.engine.local import LocalEngine
from curate.errors import IntegrityError, MissingExtra, RecipeError
from curate.govern import manifest as manifests
from curate.release import Release, finish, load
from curate.tuning.contract import Corpus, Setup
from curate.tuning.options import Asked, Options
from curate.tuning.trial import Trial, Values, Watch, carry_out, prepare

if TYPE_CHECKING:
    from curate.tuning.selftest import Row

BYTES_PER_TOKEN = {"tiny": 2.4}  # of English, about: how much text the pool is drawn to hold
OTHER_BYTES_PER_TOKEN = 4.2
LONGEST = 512  # tokens of a row: longer ones hold more of a text, and cost more (masks grow with the square)
STEP = {
    "cpu": 512,
    "cuda": 4096,
}  # tokens of a step and arm: what fills a core, and what a large GPU wants at least
HUNDRED = 100
PAYS = 20_000_000  # tokens from which compiling (up to 90 s) is sooner than not
SECOND_RATE = 2.0  # times the first: on the other side of the formula's own value, of which the first is half


@dataclass(frozen=True)
class Tuned:
    """What a tune measured."""

    path: Path
    told: dict[str, Any]  # manifest["tune"]
    timing: dict[str, Any]  # manifest["timing"]["tune"]


@dataclass(frozen=True)
class Plan:
    """What a tune would do."""

    base: str
    seeds: int
    tokens: int  # of a run, at most
    arms: tuple[tuple[str, str, int], ...]  # name, kind, records
    runs: int
    heldout: int  # items
    skipped: Mapping[str, str]  # filter → why it has no arm


@dataclass(frozen=True)
class Judged:
    """A self-test: what was measured where the truth is known."""

    told: dict[str, Any]
    rows: list[Row]
    seconds: float

    @property
    def passed(self) -> bool:
        """Tell whether all came out as the truth has it."""
        return all(row["passed"] for row in self.rows)


def tune(
    out: str | Path,
    *,
    second: bool = True,
    calibrate: bool = False,
    executor: str = "auto",
    workers: int | None = None,
    removed_key: str | Path | None = None,
    fresh: bool = False,
    watch: Any = None,
    **wanted: Any,
) -> Tuned:
    """Measure what each filter of a release did to a model, and enter it in the release (``curate tune``).

    wanted: keys of the recipe's part ``tune`` (base, seeds, arms, tokens, budget, mixture, heldout, eval, tasks,
    rate), over the recipe's own. second: confirm effects under 1 % at a second learning rate. calibrate: also measure
    the rate of false positives. removed_key: file with the key of an encrypted removed/. A tune that was stopped goes
    on where it was, unless ``fresh``. Raises RecipeError for what cannot be done as asked, IntegrityError for a release
    that is not as its manifest says.
    """
    from curate.tuning import publish

    started = time.perf_counter()
    asked = Asked.of(executor, workers, second, calibrate)
    watch = watch or Watch()
    release = _release(out)
    options = Options.of(release.path, release.manifest["recipe"].get("tune", {}), wanted)
    if calibrate and len(options.seeds) < 2:
        raise RecipeError(
            "--calibrate: found 1 seed, which tells nothing of the noise of training; allowed: 2 and more (--seeds)"
        )
    out_folder.check_tune(release.path)
    with out_folder.working(release.path, fresh=False, clears=("tune", "replaced")) as work:
        _unchanged(release)
        if fresh:
            out_folder.clear(work, ("tune",))
        base, base_seconds = _opened(options.base, watch)
        watch.begin("arms", 0)
        length = min(base.length, LONGEST)
        corpus = _corpus(release, options, length, work, removed_key, workers)
        setup = _setup(options, base, length, len(corpus.arms))
        trial = prepare(corpus, base, setup, options.seeds, **_probing(release, options))
        watch.end()
        asked = replace(asked, passes="passes" in options.budgets[1:])
        told, seconds, values = measured(trial, work / "tune", asked, watch)
        staging = work / "tune" / "placed" / out_folder.TUNE
        told = {**told, "root": release.manifest["root"], "adapters": publish.stage(trial, values, staging)}
        timing = {"wall_seconds": time.perf_counter() - started, "base_seconds": base_seconds, **seconds}
        manifest = manifests.revised(
            release.manifest, tune=told, timing={**release.manifest["timing"], out_folder.TUNE: timing}
        )
        out_folder.check_tune(release.path)
        _unchanged(release)
        out_folder.place_tune(staging, release.path, manifest, lambda held: finish(release.path, held))
    return Tuned(release.path, told, timing)


def plan(out: str | Path, *, removed_key: str | Path | None = None, **wanted: Any) -> Plan:
    """Return what :func:`tune` would do (``curate tune --dry-run``): builds the arms, trains and writes nothing."""
    release = _release(out)
    options = Options.of(release.path, release.manifest["recipe"].get("tune", {}), wanted)
    with tempfile.TemporaryDirectory() as scratch:
        corpus = _corpus(release, options, LONGEST, Path(scratch), removed_key, None)
    return Plan(
        base=options.base,
        seeds=len(options.seeds),
        tokens=options.tokens,
        arms=tuple((arm.name, arm.kind, len(arm.of(options.seeds[0]))) for arm in corpus.arms),
        runs=len(corpus.arms) * len(options.seeds) * len(options.budgets),
        heldout=len(corpus.items),
        skipped=dict(corpus.noops),
    )


def self_test(
    *, executor: str = "auto", workers: int | None = None, fresh: bool = False, watch: Any = None
) -> Judged:
    """Tune a synthetic corpus whose truth is known, and judge what was measured (``curate tune --self-test``)."""
    from curate.tuning import selftest
    from curate.tuning.base import open_base

    started = time.perf_counter()
    asked = Asked.of(executor, workers, second=False, calibrate=False)
    watch = watch or Watch()
    planned = selftest.plan()
    with tempfile.TemporaryDirectory() as scratch:
        watch.begin("base", HUNDRED)
        base = open_base("tiny", device="cpu", train=planned.base, tick=_percents(watch))
        watch.end()
        setup = Setup(base="tiny", rate=base.rate(), **planned.setup)
        trial = prepare(planned.corpus, base, setup, planned.seeds)
        told, _, _ = measured(trial, Path(scratch), asked, watch)
    return Judged(told, selftest.judge(told), time.perf_counter() - started)


def measured(
    trial: Trial, work: Path, asked: Asked, watch: Any
) -> tuple[dict[str, Any], dict[str, Any], Values]:
    """Train, compare and confirm; return the manifest's ``tune`` (but root and adapters), its timing, the values."""
    from curate.tuning import calibration, effects, telling, verdicts

    about = {"kind": trial.base.kind, "parameters": trial.base.parameters}
    values = carry_out(trial, work, "train", asked, watch)
    study = telling.study(trial, values)
    calibrated = calibration.calibrated(trial, work, asked, watch) if asked.calibrate else None
    told = effects.analyse(study, base=about, calibration=calibrated)
    if asked.second and (doubted := verdicts.needs_second(told["contrasts"])):
        rate = trial.bench.setup.rate * SECOND_RATE
        again = trial.at_rate(rate, {name for pair in doubted for name in pair})
        other = carry_out(again, work, "train at a second rate", asked, watch)
        told = effects.confirm(told, study, telling.study(again, other), {"rate": rate}, base=about)
    if asked.passes:
        again = trial.under(replace(trial.bench.setup, budget="passes", adapters=False))
        other = carry_out(again, work, "train in equal passes", asked, watch)
        told = telling.with_passes(told, telling.study(again, other))
    told = {**told, **telling.about(trial, asked), **({"calibration": calibrated} if calibrated else {})}
    return told, {"arms": values.seconds, "latency_ms_per_token": telling.latency(trial)}, values


def _release(out: str | Path) -> Release:
    """Return a release as it was before it was tuned. Raises IntegrityError where its manifest was changed."""
    if (url := address(out)) is not None:
        raise RecipeError(
            f"{url}: a release in object storage is not tuned there; copy it to a disk, tune it, and copy it back "
            "(for S3: 'aws s3 sync'), manifest.json last"
        )
    release = load(out)
    manifests.hold_to_root(release.path, release.manifest, "nothing is tuned from it")
    return replace(release, manifest=out_folder.untuned(release.manifest))


def _unchanged(release: Release) -> None:
    """Raise IntegrityError if the release is not the one that was opened: an audit or a run entered it since."""
    if _release(release.path).manifest["root"] != release.manifest["root"]:
        raise IntegrityError(
            f"{release.path}: was changed while it was measured; tune it again: runs that are done and hold are kept"
        )


def _opened(name: str, watch: Any) -> tuple[Any, float]:
    """Return a base, trained now if it is the tiny one and was never needed before, and the seconds that took."""
    try:
        import peft  # noqa: F401  the last of the extra's libraries to be needed, hours later perhaps
        import scipy  # noqa: F401
        import torch
    except ImportError:
        raise MissingExtra.of("fine-tunes", "tune") from None
    from curate.tuning.base import open_base

    started = time.perf_counter()
    watch.begin("base", HUNDRED)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = open_base(name, device=device, tick=_percents(watch))
    watch.end()
    return base, time.perf_counter() - started


def _percents(watch: Any) -> Callable[[int, int], None]:
    """Return a callback for (done, of all) that advances a watch by as many hundredths."""
    told = 0

    def tick(done: int, of: int) -> None:
        nonlocal told
        while told < HUNDRED * done // of:
            told += 1
            watch.advance("")

    return tick


def _corpus(
    release: Release,
    options: Options,
    length: int,
    work: Path,
    removed_key: str | Path | None,
    workers: int | None,
) -> Corpus:
    from curate.tuning import arms

    key = None if removed_key is None else keys.read(None, Path(removed_key), "--removed-key")
    dense = BYTES_PER_TOKEN.get(options.base, OTHER_BYTES_PER_TOKEN)
    with LocalEngine(workers) as engine:
        return arms.build(
            release,
            wanted=options.arms,
            seeds=options.seeds,
            nbytes=int(options.tokens * dense),
            longest=int(length * dense),
            heldout=options.heldout,
            evals=options.evals,
            engine=engine,
            work=work / "tune",
            removed_key=key,
        )


def _setup(options: Options, base: Any, length: int, arms: int) -> Setup:
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Setup(
        base=options.base,
        length=length,
        rows=max(1, STEP[device] // length),
        tokens=options.tokens,
        rate=options.rate or base.rate(),
        budget=options.budgets[0],
        mixture=options.mixture,
        device=device,
        dtype="bfloat16" if device == "cuda" else "float32",
        compiled=device == "cuda" and arms * len(options.seeds) * options.tokens > PAYS,
    )


def _probing(release: Release, options: Options) -> dict[str, Any]:
    """Return what answers are judged by: the release's own search for personal data, its languages; and tasks."""
    from curate.tuning.filters import filters

    found: dict[str, Any] = {"tasks": options.tasks}
    for stage in filters(release):
        if stage.name == "pii" and stage.spec is not None:
            found["pii"] = stage.spec.options
        elif stage.name == "language" and stage.spec is not None:
            found["languages"] = getattr(stage.spec.options, "allow", None)
    return found
