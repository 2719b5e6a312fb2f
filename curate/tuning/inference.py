"""Statistics of runs: effects with their intervals, Holm's correction, bootstrap, power. Formulas only.

A metric has one value per arm, seed and unit (an item, probe or sample). Its value for a run is
``sum(values) / sum(weights)``: bits per byte weighs items by their bytes, a share weighs each unit 1.

**What an interval covers.** A difference of two arms is estimated from few runs and from one sample of units, and
both are random (Miller, arXiv 2411.00640, on units; Madaan et al., arXiv 2406.10229, on seeds). With
y[s, i] = difference of the arms' values = effect + seed + unit + unit x seed, the mean over S seeds and n units has

    variance = (runs) / S + (units) / n + (units x seeds) / (n S)

The variance between runs estimates the first and the last term together, the variance between units (paired:
each is its own control) the second and the last; the last, counted twice, is subtracted (the ANOVA estimator of
two crossed random factors: Searle, Casella & McCulloch, Variance Components, 1992, ch. 4). Hence the interval
speaks of other seeds *and* of other held-out text of the same kind; not of other bases, nor of other training data.

**Variance between runs.** Two-way model arm + seed: residual of (A - 1)(S - 1) degrees, pooled over all arms.
Common random numbers make arms that share much of their data agree more than others do, so the residual is not the
same for every pair: simulated with two of twelve arms at twice or three times the noise, the pooled variance alone
gives families of 11 true nulls up to 14 % false positives instead of 5 %. Each contrast therefore uses its own
variance over seeds (S - 1 degrees) moderated by the pooled one, which counts as :data:`PRIOR` degrees: the
posterior variance of Smyth (2004, "Linear models and empirical Bayes methods", eq. in section 3), with a fixed
prior, as a dozen contrasts cannot estimate one. Degrees are those of the prior and the own
variance, or fewer where the pooled residual has few itself (Satterthwaite 1946).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from curate.tuning.contract import Floats, Ints

LEVEL = 0.05  # two-sided; intervals are of 95 %
POWER = 0.8
PRIOR = 6  # degrees of freedom that the pooled variance counts for beside a contrast's own; see above
DRAWS = 2000
_BLOCK = 4_000_000  # draws x units held at once: 32 MB


@dataclass(frozen=True)
class Part:
    """Units that one ratio is taken over."""

    values: Floats  # [A, S, n]
    weights: Floats  # [n]

    @cached_property
    def runs(self) -> Floats:
        """Return the ratio for every run [A, S]."""
        ratios: Floats = self.values.sum(axis=2) / self.weights.sum()
        return ratios

    @property
    def units(self) -> int:
        """Return the number of units."""
        return len(self.weights)

    @property
    def freedom(self) -> float:
        """Return the degrees of freedom of a variance between units: n - 1, or fewer where some weigh far more.

        By Satterthwaite of the sum of squared deviations, each weighed by its share of the ratio (Bell & McCaffrey
        2002, Survey Methodology 28:169-181, without the covariances of the residuals).
        """
        squares = (self.weights / self.weights.sum()) ** 2
        return float(squares.sum() ** 2 / (squares**2).sum()) * (1 - 1 / self.units)


@dataclass(frozen=True)
class Panel:
    """One metric: a ratio over some units, or the difference of two such ratios."""

    parts: tuple[Part, ...]  # the second, if any, is subtracted from the first

    @cached_property
    def runs(self) -> Floats:
        """Return the metric's value for every run [A, S]."""
        runs = self.parts[0].runs
        for part in self.parts[1:]:
            runs = runs - part.runs
        return runs

    @property
    def units(self) -> int:
        """Return the number of units of the first part."""
        return self.parts[0].units


@dataclass(frozen=True)
class Difference:
    """One arm compared with another."""

    effect: float  # arm minus reference
    reference: float  # the reference's value, a mean over seeds
    se: float
    degrees: float
    p: float  # two-sided
    low: float
    high: float


def part(values: Floats, weights: Floats, clusters: Ints | None = None) -> Part | None:
    """Return the units that have a weight; None if none has. clusters: [n], numbers from 0.

    Units of one cluster (near-copies of one another) are no independent evidence: they are merged into one unit,
    which leaves the ratio as it is and makes every error below a clustered one (Miller, arXiv 2411.00640, sec. 2.2).
    """
    used = weights > 0
    values, weights = values[..., used], weights[used]
    if not len(weights):
        return None
    if clusters is not None:
        order = np.argsort(clusters[used], kind="stable")
        starts = np.flatnonzero(np.diff(clusters[used][order], prepend=-1))
        if len(starts) < len(order):
            values = np.add.reduceat(values[..., order], starts, axis=2)
            weights = np.add.reduceat(weights[order], starts)
    return Part(values, weights)


def residual(runs: Floats) -> tuple[float, int]:
    """Return the variance that the model arm + seed leaves in ``runs`` [A, S], and its degrees of freedom.

    ANOVA of a two-way table without replication (Scheffé, The Analysis of Variance, 1959, ch. 4). With one arm or
    one seed there is none: (0, 0).
    """
    arms, seeds = runs.shape
    degrees = (arms - 1) * (seeds - 1)
    if not degrees:
        return 0.0, 0
    rest = runs - runs.mean(1, keepdims=True) - runs.mean(0) + runs.mean()
    return float((rest**2).sum() / degrees), degrees


def run_variance(runs: Floats, arm: int, reference: int) -> tuple[float, float]:
    """Return the variance of a difference's mean over seeds, and its degrees; see the module's text."""
    seeds = runs.shape[1]
    pooled, degrees = residual(runs)
    if not degrees:
        return 0.0, 0.0
    own = float(np.var(runs[arm] - runs[reference], ddof=1))
    prior = min(PRIOR, degrees)
    moderated = (prior * 2 * pooled + (seeds - 1) * own) / (prior + seeds - 1)
    # The pooled residual holds the contrast's own: what each of its squares weighs, with how many degrees.
    other = prior / degrees / (prior + seeds - 1)
    mine = other + 1 / (prior + seeds - 1)
    worth = 1 / (mine**2 * (seeds - 1) + other**2 * (degrees - seeds + 1))
    return moderated / seeds, min(worth, float(prior + seeds - 1))


def unit_variance(difference: Part) -> tuple[float, float]:
    """Return two variances of a ratio's mean over seeds: between units, and of unit x seed.

    ``difference`` holds one row: the paired differences [1, S, n], or an arm's values. Of a ratio each unit counts
    by its deviation y - ratio * weight (linearisation: Cochran, Sampling Techniques, 1977, eq. 6.13), stretched as a
    heavy unit draws the ratio to itself (HC2: MacKinnon & White 1985, J. Econometrics 29:305-325; n / (n - 1) where
    all weigh the same). Both are 0 where there is one unit, the second also where there is one seed.
    """
    values, weights, units = difference.values[0], difference.weights, difference.units
    seeds, total = len(values), weights.sum()
    if units < 2:
        return 0.0, 0.0
    apart = values - difference.runs[0][:, None] * weights  # [S, n], each seed sums to 0
    mean = apart.mean(0)
    scale = 1 / (1 - weights / total) / total**2
    between = float((scale * mean**2).sum())
    if seeds < 2:
        return between, 0.0
    crossed = float((scale * (apart - mean) ** 2).sum()) / (seeds * (seeds - 1))
    return between, crossed


def compare(panel: Panel, arm: int, reference: int, level: float = LEVEL) -> Difference:
    """Return the difference of two arms with its interval of ``1 - level`` and p-value (Student's t).

    Degrees of freedom by Satterthwaite (1946) from those of the two variances. With one seed, or no residual, only
    units are random: the interval is that of *these runs* and says nothing of others.
    Where nothing varies the p-value is 1 if the arms are equal, else the sign test's over units (2 / 2^n): a
    metric at its floor in every run is no proof of anything, nor an error.
    """
    effect = float((panel.runs[arm] - panel.runs[reference]).mean())
    between, crossed, freedom = 0.0, 0.0, 0.0
    for held in panel.parts:
        paired = Part(held.values[[arm]] - held.values[[reference]], held.weights)
        apart, both = unit_variance(paired)
        between, crossed, freedom = between + apart, crossed + both, freedom + held.freedom
    spread, degrees = run_variance(panel.runs, arm, reference)
    units = max(0.0, between - crossed)
    variance = spread + units
    value = float(panel.runs[reference].mean())
    if variance <= (1e-12 * abs(value)) ** 2:  # rounding of sums, not noise
        same = abs(effect) <= 1e-12 * abs(value)
        p = 1.0 if same else min(1.0, 2.0 ** (1 - panel.units))
        return Difference(0.0 if same else effect, value, 0.0, max(degrees, 1.0), p, effect, effect)
    share = (spread**2 / degrees if degrees else 0.0) + (units**2 / freedom if freedom else 0.0)
    degrees = variance**2 / share
    se = math.sqrt(variance)
    p = float(2 * special.stdtr(degrees, -abs(effect) / se))
    reach = float(special.stdtrit(degrees, 1 - level / 2)) * se
    return Difference(effect, value, se, degrees, p, effect - reach, effect + reach)


def level_of(panel: Panel, arm: int) -> tuple[float, float | None, float | None]:
    """Return an arm's value, a mean over seeds, and its 95 % interval over seeds and units.

    The variance over seeds is the mean of the arms' own; as arms share seeds it has S - 1 degrees, not A (S - 1).
    No interval with one seed, nor where nothing varies: that no answer of 64 had it says little of the next.
    """
    seeds = panel.runs.shape[1]
    value = float(panel.runs[arm].mean())
    if seeds < 2:
        return value, None, None
    spread = float(panel.runs.var(axis=1, ddof=1).mean()) / seeds
    units = sum(
        max(0.0, between - crossed)
        for between, crossed in (
            unit_variance(Part(held.values[[arm]], held.weights)) for held in panel.parts
        )
    )
    if not spread + units:
        return value, None, None
    freedom = max(sum(held.freedom for held in panel.parts), 1.0)
    degrees = (spread + units) ** 2 / (spread**2 / (seeds - 1) + units**2 / freedom)
    reach = float(special.stdtrit(degrees, 1 - LEVEL / 2)) * math.sqrt(spread + units)
    return value, value - reach, value + reach


def bootstrap(panel: Panel, draws: int = DRAWS, seed: int = 0) -> Floats:
    """Return [draws, A] values of the metric, seeds and units drawn anew with replacement, each on its own.

    Crossed ("pigeonhole") bootstrap (Owen 2007, Ann. Appl. Stat. 1:386-411). The same draws serve all arms, so a
    difference of two columns is paired. Deviations over seeds are stretched by sqrt(S / (S - 1)), as S drawn seeds
    vary that much less than S new ones would; with few seeds it is still too narrow at its ends (3 seeds have 10
    different draws), which is why no verdict rests on it.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    arms, seeds = panel.runs.shape
    values = np.zeros((draws, arms, seeds))
    for sign, held in zip((1, -1), panel.parts, strict=False):
        block = max(1, _BLOCK // held.units)
        for start in range(0, draws, block):
            values[start : start + block] += sign * _redrawn(held, min(block, draws - start), generator)
    middle = values.mean(2)
    chosen = generator.integers(0, seeds, (draws, seeds))
    means = np.take_along_axis(values, chosen[:, None, :], axis=2).mean(2)
    stretch = math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 0.0
    result: Floats = middle + stretch * (means - middle)
    return result


def _redrawn(held: Part, draws: int, generator: np.random.Generator) -> Floats:
    """Return [draws, A, S]: the ratio of every run over units drawn with replacement."""
    units = held.units
    drawn = generator.integers(0, units, (draws, units)) + units * np.arange(draws)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=draws * units).reshape(draws, units).astype(float)
    sums = counts @ held.values.reshape(-1, units).T
    ratios: Floats = (sums / (counts @ held.weights)[:, None]).reshape(draws, *held.runs.shape)
    return ratios


def detectable(se: float, degrees: float, family: int = 1) -> float:
    """Return the effect that is found with a power of 80 % at the level of a family of ``family`` (Bonferroni).

    (t[1 - level / 2] + t[0.8]) * SE (Bloom 1995, Evaluation Review 19:547-556).
    """
    upper, lower = special.stdtrit(degrees, 1 - LEVEL / family / 2), special.stdtrit(degrees, POWER)
    return float((upper + lower) * se)


def power(effect: float, se: float, degrees: float, family: int = 1) -> float:
    """Return the chance to find a true effect at the level of a family of ``family`` (noncentral t)."""
    if not se:
        return 1.0
    critical = float(special.stdtrit(degrees, 1 - LEVEL / family / 2))
    noncentral = min(abs(effect) / se, critical + 30)  # beyond it the chance is 1 to the last digit
    missed = special.nctdtr(degrees, noncentral, critical) - special.nctdtr(degrees, noncentral, -critical)
    return 1.0 if math.isnan(missed) else float(min(1.0, max(0.0, 1 - missed)))


def clopper_pearson(found: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a share (Clopper & Pearson 1934, Biometrika 26:404-413)."""
    low = float(special.betaincinv(found, of - found + 1, LEVEL / 2)) if found else 0.0
    high = float(special.betaincinv(found + 1, of - found, 1 - LEVEL / 2)) if found < of else 1.0
    return low, high
