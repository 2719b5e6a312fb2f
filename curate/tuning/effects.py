"""From what the runs left to what the manifest tells: arms, contrasts, groups, verdicts and controls.

Every contrast is declared by the arms alone (:func:`curate.tuning.study.declared`), before any run; Holm corrects
over all of them that ask of data, on the primary metric. All else (other metrics, groups) is exploratory, with p-values
uncorrected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from curate.govern.effects.schema import ArmTold, Contrast, Estimate, Group
from curate.govern.holm import holm
from curate.tuning import inference, verdicts
from curate.tuning.contract import Arm, Floats, Metric
from curate.tuning.inference import Panel
from curate.tuning.study import LEAST, Declared, Study, check, declared

ONE_PERCENT = 0.01  # the effect that a contrast's power is told for
CURVE = 32  # points


def analyse(
    study: Study, *, base: Mapping[str, Any], calibration: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the keys of the manifest's ``tune`` that follow from the values (see the schema's Tune).

    They are primary, metrics, arms, contrasts, filters, groups, controls, limits and noise. base: its ``kind``.
    Effects under 1 % are ``unconfirmed`` until :func:`confirm` is told of a second study. Raises CurateError for values
    that are no numbers: a training that diverged.
    """
    check(study)
    compared = contrasts(study)
    told: dict[str, Any] = {
        "primary": study.primary,
        "metrics": [
            {**asdict(metric), "name": name, "set": of} for name, (_, metric, of) in study.panels.items()
        ],
        "arms": [_arm(study, arm) for arm in study.arms],
        "contrasts": compared,
        "noise": noise(study),
    }
    told["groups"] = _groups(study, compared)
    told["controls"] = verdicts.controls(compared, study.primary, calibration, len(study.seeds))
    return _judged(study, told, base)


def confirm(
    told: Mapping[str, Any],
    first: Study,
    second: Study,
    name: Mapping[str, float],
    *,
    base: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what was told with the verdicts that a second learning rate or base allows.

    second: the same corpus with other training, at least the arms that :func:`verdicts.needs_second` names; the more
    arms it has, the more degrees of freedom. name: what is told of it, such as {"rate": 0.004}.
    """
    check(second)
    entered = []
    for one in told["contrasts"]:
        if one["primary"] and {one["arm"], one["reference"]} <= set(second.places):
            panel = second.panels[one["metric"]][0]
            found = inference.compare(panel, second.places[one["arm"]], second.places[one["reference"]])
            one = {**one, "second": {**name, "relative": found.effect / abs(found.reference), "p": found.p}}
        entered.append(one)
    return _judged(first, {**told, "contrasts": entered}, base)


def contrasts(study: Study, draws: int = inference.DRAWS) -> list[Contrast]:
    """Return every declared contrast on every metric, the primary one's first, with Holm's correction over those."""
    asked = declared(study.arms)
    family = sum(one.question != "privacy" for one in asked)
    order = sorted(study.panels, key=lambda name: name != study.primary)
    made: list[Contrast] = []
    for name in order:
        panel, metric, _ = study.panels[name]
        wanted = [one for one in asked if _speaks(one, metric)]
        drawn = inference.bootstrap(panel, draws, _number(name)) if wanted and draws else None
        for one in wanted:
            made.append(_contrast(study, one, name, panel, metric, family, drawn))
    primary = [one for one in made if one["primary"]]
    for contrast, corrected in zip(primary, holm([one["p"] for one in primary]), strict=True):
        contrast["holm"] = corrected
    return made


def noise(study: Study) -> dict[str, float]:
    """Return how noisy the primary metric is: shares of its mean, and the residual's degrees (0: one seed)."""
    panel = study.panels[study.primary][0]
    variance, degrees = inference.residual(panel.runs)
    mean = abs(float(panel.runs.mean())) or 1.0
    errors = [
        inference.compare(panel, study.places[one.arm], study.places[one.reference]).se
        for one in declared(study.arms)
        if one.question != "privacy"
    ]
    se = float(np.median(errors)) / mean if errors else 0.0
    return {"residual_sd": variance**0.5 / mean, "se": se, "degrees": float(degrees)}


def _judged(study: Study, told: dict[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    seeds = len(study.seeds)
    filters = verdicts.filters(told["contrasts"], study.primary, study.cpu, seeds)
    limits = verdicts.limits(base, study.primary, seeds, told["noise"], told["controls"], study.texts)
    return {**told, "filters": filters, "limits": limits}


def _speaks(one: Declared, metric: Metric) -> bool:
    """Whether a contrast is declared on a metric: canaries are in the arms of that name alone, and asked of there."""
    if metric.name.startswith("canary_"):
        return one.question == "privacy"
    return one.question != "privacy" or metric.family == "privacy"


def _contrast(
    study: Study,
    one: Declared,
    name: str,
    panel: Panel,
    metric: Metric,
    family: int,
    drawn: Floats | None,
) -> Contrast:
    arm, reference = study.places[one.arm], study.places[one.reference]
    found = inference.compare(panel, arm, reference)
    primary = name == study.primary and one.question != "privacy"
    relative = metric.family == "loss" and name != "gap" and found.reference > 0
    size = found.reference if relative else 1.0
    looked = ONE_PERCENT * size if relative else inference.residual(panel.runs)[0] ** 0.5
    among = family if primary else 1
    low, high = found.low, found.high
    if drawn is not None:
        low, high = np.quantile(drawn[:, arm] - drawn[:, reference], [0.025, 0.975]).tolist()
    return Contrast(
        arm=one.arm,
        reference=one.reference,
        stage=one.stage,
        question=one.question,
        metric=name,
        primary=primary,
        effect=found.effect,
        relative=found.effect / size if relative else None,
        low=found.low,
        high=found.high,
        boot_low=low,
        boot_high=high,
        p=found.p,
        holm=None,
        mde=inference.detectable(found.se, found.degrees, among) / size if found.se else None,
        power=inference.power(looked, found.se, found.degrees, among) if found.se and looked else None,
    )


def _arm(study: Study, arm: Arm) -> ArmTold:
    place = study.places[arm.name]
    estimates = {name: inference.level_of(panel, place) for name, (panel, _, _) in study.panels.items()}
    held = study.curves.get(arm.name, ())
    curve = np.mean([one[: min(map(len, held))] for one in held], axis=0) if len(held) else np.zeros(0)
    points = [
        float(block.mean()) for block in np.array_split(curve, min(CURVE, len(curve)) or 1) if len(block)
    ]
    return ArmTold(
        name=arm.name,
        kind=arm.kind,
        stage=arm.stage,
        records=len(arm.of(study.seeds[0])),
        tokens=study.tokens.get(arm.name, 0),
        epochs=study.epochs.get(arm.name, 0.0),
        metrics={name: Estimate(value=v, low=low, high=high) for name, (v, low, high) in estimates.items()},
        curve=points,
    )


def _groups(study: Study, compared: Sequence[Contrast]) -> list[Group]:
    """Return the effect of all filters and of each on every large enough part of the primary metric's items."""
    held = study.panels[study.primary][2]
    asked = [one for one in compared if one["primary"] and one["question"] == "whole"]
    asked += [one for one in verdicts.resting(compared).values() if one not in asked]
    made = []
    for by in ("category", "language", "source"):
        names = [getattr(item.text, by) if held in item.sets else None for item in study.items]
        for name in sorted({one for one in names if one is not None}):
            weights = study.weights["bpb"] * np.array([one == name for one in names])
            items = int((weights > 0).sum())
            part = inference.part(study.values["bpb"], weights, study.clusters)
            if part is None or part.units < LEAST:
                continue
            for one in asked:
                arm, reference = study.places[one["arm"]], study.places[one["reference"]]
                found = inference.compare(Panel((part,)), arm, reference)
                share = [part / found.reference for part in (found.effect, found.low, found.high)]
                told = Group(
                    by=by,
                    name=name,
                    items=items,
                    contrast=verdicts.title(one),
                    relative=share[0],
                    low=share[1],
                    high=share[2],
                )
                made.append(told)
    return made


def _number(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")
