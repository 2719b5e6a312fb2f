"""Whether a stage removes some records more often than others, source by source.

A source that is removed as a whole, for its license perhaps, would make every group that it speaks of look removed
(Simpson's paradox). So records are compared within their source, and the sources' answers pooled: the risk ratio of
Mantel and Haenszel with the interval of Greenland and Robins (1985, Biometrics 41, 55-68), and the exact conditional
test of Birch (1964, JRSS B 26, 313-324): with a source's numbers of mentions and of removals given, how many removed
records mention a group is hypergeometric if removal is blind to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

_NORMAL = (
    200.0  # variance from which the normal distribution, with continuity correction, stands for the exact one
)
_REACH = 12  # standard deviations beyond which nothing is added
_Z = 1.959963984540054  # of a 95 % interval
DIGITS = 4  # significant ones that are kept: sums of floats may differ in the last


class Stratum(NamedTuple):
    """A source's records that a stage saw: with the group and without it, seen and removed."""

    seen: int
    removed: int
    others_seen: int
    others_removed: int


class Ratio(NamedTuple):
    """How much more often records with the group are removed than others."""

    ratio: float | None  # null where no other record is removed, or none at all
    low: float | None
    high: float | None
    p: float  # chance of so many removed or more, if removal is blind to the group


def compare(strata: Sequence[Stratum]) -> Ratio:
    """Return the pooled risk ratio, its 95 % interval and the one-sided p-value."""
    above = math.fsum(s.removed * s.others_seen / _size(s) for s in strata)
    below = math.fsum(s.others_removed * s.seen / _size(s) for s in strata)
    p = rounded(_p_value(strata))
    if not above or not below:
        return Ratio(0.0 if below else None, None, None, p)
    spread = math.fsum(
        (s.seen * s.others_seen * (s.removed + s.others_removed) - s.removed * s.others_removed * _size(s))
        / _size(s) ** 2
        for s in strata
    )
    reach = math.exp(_Z * math.sqrt(max(spread, 0.0) / (above * below)))
    ratio = above / below
    return Ratio(rounded(ratio), rounded(ratio / reach), rounded(ratio * reach), p)


def _size(one: Stratum) -> int:
    return one.seen + one.others_seen


def rounded(value: float) -> float:
    """Return a number with the digits that are kept."""
    return float(f"{value:.{DIGITS}g}")


def _p_value(strata: Iterable[Stratum]) -> float:
    told = [s for s in strata if s.seen and s.others_seen and 0 < s.removed + s.others_removed < _size(s)]
    found = sum(s.removed for s in told)
    means = [s.seen * (s.removed + s.others_removed) / _size(s) for s in told]
    variances = [_variance(s) for s in told]
    mean, variance = math.fsum(means), math.fsum(variances)
    if not variance:
        return 1.0
    if variance > _NORMAL or found <= mean:
        return 0.5 * math.erfc((found - 0.5 - mean) / math.sqrt(2 * variance))
    first, chances = 0, np.ones(1)
    for one, own_mean, own_variance in zip(told, means, variances, strict=True):
        least, more = _chances(one, own_mean, math.sqrt(own_variance))
        first += least
        chances = np.convolve(chances, more)
    return float(min(1.0, math.fsum(chances[max(found - first, 0) :].tolist())))


def _variance(one: Stratum) -> float:
    size, removed = _size(one), one.removed + one.others_removed
    return one.seen * one.others_seen * removed * (size - removed) / (size**2 * (size - 1))


def _chances(
    one: Stratum, mean: float, deviation: float
) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return the chances of so many removed mentions, and the number that the first of them is of."""
    removed = one.removed + one.others_removed
    reach = _REACH * deviation + 30
    least = max(0, removed - one.others_seen, math.floor(mean - reach))
    most = min(one.seen, removed, math.ceil(mean + reach))
    middle = min(max(int(mean), least), most)
    chances = np.ones(most - least + 1)
    for k in range(middle + 1, most + 1):
        step = (one.seen - k + 1) * (removed - k + 1) / (k * (one.others_seen - removed + k))
        chances[k - least] = chances[k - 1 - least] * step
    for k in range(middle, least, -1):
        step = k * (one.others_seen - removed + k) / ((one.seen - k + 1) * (removed - k + 1))
        chances[k - 1 - least] = chances[k - least] * step
    return least, chances / math.fsum(chances.tolist())
