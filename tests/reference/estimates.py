"""Slow, readable twins of curate.tuning.inference: least squares by a design matrix, loops instead of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from curate.tuning.contract import Floats, Ints


def runs(values: Floats, weights: Floats) -> Floats:
    """Return sum(values) / sum(weights) of every run."""
    arms, seeds, units = values.shape
    made = np.zeros((arms, seeds))
    for arm in range(arms):
        for seed in range(seeds):
            total = 0.0
            for unit in range(units):
                total += values[arm, seed, unit]
            made[arm, seed] = total / sum(weights)
    return made


def least_squares(table: Floats, arm: int, reference: int) -> tuple[float, float, float, int]:
    """Fit value = arm + seed by ordinary least squares; return (effect, its SE, residual variance, degrees).

    One column for each arm, and for each seed but the first.
    """
    arms, seeds = table.shape
    rows, answers = [], []
    for a in range(arms):
        for s in range(seeds):
            rows.append([float(a == i) for i in range(arms)] + [float(s == j) for j in range(1, seeds)])
            answers.append(table[a, s])
    design, answer = np.array(rows), np.array(answers)
    fitted = np.linalg.lstsq(design, answer, rcond=None)[0]
    degrees = len(answer) - np.linalg.matrix_rank(design)
    variance = float(((answer - design @ fitted) ** 2).sum() / degrees)
    wanted = np.zeros(design.shape[1])
    wanted[arm], wanted[reference] = 1.0, -1.0
    spread = wanted @ np.linalg.inv(design.T @ design) @ wanted
    return float(wanted @ fitted), math.sqrt(variance * spread), variance, int(degrees)


def crossed(values: Floats) -> tuple[float, float]:
    """Return the ANOVA estimates (between units, unit x seed) of the variance of a mean of values [S, n]."""
    seeds, units = values.shape
    grand = values.mean()
    between = sum((values[:, i].mean() - grand) ** 2 for i in range(units)) / (units - 1) / units
    rest = 0.0
    for s in range(seeds):
        for i in range(units):
            rest += (values[s, i] - values[s].mean() - values[:, i].mean() + grand) ** 2
    return float(between), rest / (seeds - 1) / (units - 1) / seeds / units


def holm(p: Sequence[float]) -> list[float]:
    """Return the least family level at which Holm's procedure rejects each hypothesis, found by trying levels."""
    levels = sorted({min(1.0, one * count) for one in p for count in range(1, len(p) + 1)})
    found = [1.0] * len(p)
    for level in reversed(levels):
        for place in _rejected(p, level):
            found[place] = level
    return found


def _rejected(p: Sequence[float], level: float) -> list[int]:
    kept: list[int] = []
    for rank, place in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        if p[place] * (len(p) - rank) > level:
            break
        kept.append(place)
    return kept


def resampled(values: Floats, weights: Floats, units: Ints, seeds: Ints) -> Floats:
    """Return the metric of every arm on drawn units and seeds, deviations over seeds stretched."""
    arms, count, _ = values.shape
    made = []
    for arm in range(arms):
        of = [
            sum(values[arm, seed, unit] for unit in units) / sum(weights[unit] for unit in units)
            for seed in range(count)
        ]
        middle, drawn = sum(of) / count, sum(of[seed] for seed in seeds) / count
        made.append(middle + math.sqrt(count / (count - 1)) * (drawn - middle))
    return np.array(made)
