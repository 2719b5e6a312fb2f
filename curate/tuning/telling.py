"""From a trial to what the manifest tells of it, beside what :mod:`curate.tuning.effects` concludes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from curate.tuning import effects
from curate.tuning.contract import Metric
from curate.tuning.measure import METRICS, weights
from curate.tuning.options import Asked
from curate.tuning.study import Study
from curate.tuning.trial import Trial, Values

FORMAT = 1
PASSES = "equal passes"


def study(trial: Trial, values: Values) -> Study:
    """Return what an analysis is of."""
    return Study(
        arms=trial.bench.arms,
        seeds=trial.bench.seeds,
        values=values.metrics,
        weights=weights(trial.bench),
        metrics=(*METRICS, *_of_tasks(trial)),
        items=trial.corpus.items,
        curves=values.curves,
        tokens=values.tokens,
        epochs=values.epochs,
    )


def _of_tasks(trial: Trial) -> list[Metric]:
    probes = trial.bench.probes
    if not probes.tasks:
        return []
    from curate.tuning import harness

    return harness.metrics(probes.tasks, probes.asked)


def with_passes(told: Mapping[str, Any], other: Study) -> dict[str, Any]:
    """Return what was told with the losses of runs in which every arm passed once over its own records.

    They are told as metrics of their own, "bpb@raw, equal passes", outside the family that verdicts rest on.
    """
    names = {name: f"{name}, {PASSES}" for name in other.panels if name.startswith("bpb@")}
    found = effects.analyse(other, base={})
    made = [
        {**one, "metric": names[one["metric"]], "primary": False, "holm": None}
        for one in found["contrasts"]
        if one["metric"] in names
    ]
    levels = {arm["name"]: arm["metrics"] for arm in found["arms"]}
    arms = [
        {**arm, "metrics": {**arm["metrics"], **{names[n]: levels[arm["name"]][n] for n in names}}}
        for arm in told["arms"]
    ]
    metrics = [
        {**metric, "name": names[metric["name"]], "title": f"{metric['title']}, {PASSES}"}
        for metric in found["metrics"]
        if metric["name"] in names
    ]
    return {
        **told,
        "arms": arms,
        "contrasts": [*told["contrasts"], *made],
        "metrics": [*told["metrics"], *metrics],
    }


def about(trial: Trial, asked: Asked) -> dict[str, Any]:
    """Return what was trained and asked: the manifest's keys format, base, setup, data and skipped."""
    base, corpus = trial.base, trial.corpus
    counts = dict(corpus.counts)
    counts["notes"] = [*counts.get("notes", ()), *trial.bench.probes.notes]
    return {
        "format": FORMAT,
        "base": {
            "name": base.name,
            "kind": base.kind,
            "family": base.family,
            "parameters": base.parameters,
            "hidden": base.hidden,
            "sha256": base.sha256,
            **({} if base.trained_on is None else {"trained_on": base.trained_on}),
        },
        "setup": {**asdict(trial.bench.setup), "seeds": list(trial.bench.seeds), "executor": asked.executor},
        "data": {**counts, "heldout_sha256": corpus.heldout_sha256},
        "skipped": [{"stage": stage, "why": why} for stage, why in corpus.noops.items()],
        "adapters": [],
    }


def latency(trial: Trial) -> float | None:
    """Return milliseconds per token of greedy answers under the base, the same for all arms; None without prompts."""
    from curate.tuning.measure import latency as timed

    setup = trial.bench.setup
    if not trial.bench.probes.prompts.ids:
        return None
    return timed(trial.base.model(setup.dtype, setup.device), trial.bench)
