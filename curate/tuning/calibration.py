"""A/A calibration: how often the analysis sees an effect where there is none, and what common random numbers save.

Every null arm is, for each seed, an independent random draw of the same number of raw records: the arms are
exchangeable, so whatever name a run bears within its seed, no contrast has an effect. The runs are named anew many
times, and each naming goes through the very analysis that a real tune goes through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from curate.tuning import effects, inference, telling
from curate.tuning.contract import Arm, Corpus
from curate.tuning.options import Asked
from curate.tuning.study import Study
from curate.tuning.trial import Trial, carry_out

FILTERS = 3  # that the null arms pretend to: arms = 3 + 2 * FILTERS
SHARE = 0.9  # of raw that an arm draws: about what one filter leaves
FAMILIES = 400
LEVEL = inference.LEVEL


def calibrated(
    trial: Trial, work: Path, asked: Asked, watch: Any, families: int = FAMILIES
) -> dict[str, Any]:
    """Train null arms as a trial's own were, twice, and return what :class:`curate.govern.effects.schema.Tune` tells.

    That is 2 * (3 + 2 * FILTERS) runs for each seed: with common random numbers, and each with its own.
    """
    setup = replace(trial.bench.setup, adapters=False)
    losses = trial.at_rate(setup.rate, ())  # nothing else is asked for
    null = corpus(trial.corpus, trial.bench.seeds).arms
    studies = {}
    for paired, title in ((True, "calibrate"), (False, "calibrate: independent")):
        own = losses.under(replace(setup, paired=paired), null)
        studies[paired] = telling.study(own, carry_out(own, work, title, asked, watch))
    return {**false_positives(studies[True], families), **variance_ratio(studies[True], studies[False])}


def corpus(real: Corpus, seeds: Sequence[int], filters: int = FILTERS, share: float = SHARE) -> Corpus:
    """Return the corpus with null arms alone, named as the arms of a real tune are.

    Of a raw arm with n records each draws ``share * n``, by its name and seed.
    """
    raw = next(arm for arm in real.arms if arm.kind == "raw")
    stages = tuple(f"null{number}" for number in range(1, filters + 1))
    shapes: list[tuple[str, Any, str | None]] = [("raw", "raw", None), ("random_drop", "random", None)]
    shapes += [(f"only_{stage}", "alone", stage) for stage in stages]
    shapes += [(f"without_{stage}", "without", stage) for stage in stages]
    shapes.append(("full", "full", None))
    arms = []
    for place, (name, kind, stage) in enumerate(shapes):
        members = {}
        for seed in seeds:
            records = raw.of(seed)
            drawn = np.random.default_rng([seed, place]).choice(
                len(records), int(share * len(records)), replace=False
            )
            members[seed] = records[np.sort(drawn)]
        arms.append(Arm(name, kind, stage, stages, members, rate=1 - share))
    return replace(real, arms=tuple(arms), noops={}, secrets=(), duplicated=())


def false_positives(study: Study, families: int = FAMILIES, seed: int = 0) -> dict[str, Any]:
    """Return how many of ``families`` relabelled families have a contrast that Holm's correction leaves below 5 %.

    study: of null arms. low, high: Clopper & Pearson's interval of the rate, as if families were independent; all
    are relabellings of the same runs, so with few runs the truth may lie somewhat further out.
    """
    generator = np.random.default_rng(seed)
    values = study.values["bpb"]
    arms, seeds = values.shape[:2]
    found = 0
    for _ in range(families):
        order = generator.permuted(np.tile(np.arange(arms), (seeds, 1)), axis=1)  # [S, A]: within each seed
        named = values[order.T, np.arange(seeds)]
        relabelled = replace(study, values={"bpb": named})
        made = effects.contrasts(relabelled, draws=0)
        found += any(one["holm"] is not None and one["holm"] < LEVEL for one in made)
    low, high = inference.clopper_pearson(found, families)
    return {
        "relabelled": families,
        "false_positives": found,
        "rate": found / families,
        "low": low,
        "high": high,
    }


def variance_ratio(paired: Study, independent: Study) -> dict[str, float]:
    """Return how many times common random numbers make the residual variance of the primary metric smaller.

    paired, independent: the same null arms, trained with ``Setup.paired`` and without. low, high: 95 % interval of the
    ratio of two variances (F distribution).
    """
    top, over = inference.residual(independent.panels[independent.primary][0].runs)
    bottom, under = inference.residual(paired.panels[paired.primary][0].runs)
    ratio = top / bottom
    reach = [float(special.fdtri(over, under, point)) for point in (0.975, 0.025)]
    return {"variance_ratio": ratio, "ratio_low": ratio / reach[0], "ratio_high": ratio / reach[1]}
