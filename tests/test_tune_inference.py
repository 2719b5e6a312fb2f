from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("scipy")
from reference import estimates
from scipy import stats

from curate.govern.holm import holm
from curate.tuning import inference
from curate.tuning.contract import Floats
from curate.tuning.inference import Panel, Part


def drawn(
    generator: np.random.Generator,
    arms: int = 8,
    seeds: int = 3,
    units: int = 120,
    run: float = 0.003,
    unit: float = 0.02,
    both: float = 0.03,
    scale: Floats | None = None,
) -> Panel:
    """A metric without any effect of arms: noise of runs (by arm ``scale``), units, and of both."""
    weights = generator.integers(20, 200, units).astype(float)
    shared = generator.normal(1, 0.3, units) + generator.normal(0, run, (seeds, 1))
    own = (
        generator.normal(0, run, (arms, seeds, 1))
        * (np.ones(arms) if scale is None else scale)[:, None, None]
    )
    apart = generator.normal(0, unit, (arms, 1, units)) + generator.normal(0, both, (arms, seeds, units))
    return Panel((Part((shared + own + apart) * weights, weights),))


def errors(trials: int, seed: int, **shape: object) -> tuple[float, float]:
    """Share of intervals that miss the truth, and of families with a false positive after Holm."""
    generator = np.random.default_rng(seed)
    missed: list[bool] = []
    families = 0
    for _ in range(trials):
        panel = drawn(generator, **shape)  # type: ignore[arg-type]
        found = [inference.compare(panel, arm, 0) for arm in range(1, len(panel.runs))]
        missed += [not one.low <= 0 <= one.high for one in found]
        families += min(holm([one.p for one in found])) < 0.05
    return float(np.mean(missed)), families / trials


@pytest.mark.parametrize(
    "shape",
    [
        {"unit": 0.0},  # runs alone are noisy
        {"run": 0.0, "unit": 0.05},  # units alone
        {"unit": 0.02},
        {"unit": 0.02, "arms": 3},
        {"unit": 0.02, "seeds": 5},
        {"both": 1e-6, "unit": 0.0},
    ],
)
def test_intervals_cover_the_truth_whatever_is_noisy(shape: dict[str, float]) -> None:
    missed, family = errors(400, 1, **shape)
    assert missed < 0.07
    assert family < 0.08  # 5 % and three standard errors of 400 trials


@pytest.mark.parametrize("heavy", [50.0, 1.0])
def test_a_giant_item_does_not_break_the_family_level(heavy: float) -> None:
    """Few items of very unequal size: what one of them says is not what their number promises."""
    generator = np.random.default_rng(11)
    families, missed = 0, []
    for _ in range(300):
        weights = np.ones(20) if heavy > 1 else np.exp(generator.normal(0, 1.5, 20))
        weights[0] *= heavy
        noise = generator.normal(0, 0.03, (9, 1, 20)) + generator.normal(0, 0.02, (9, 3, 20))
        panel = Panel((Part((1 + noise) * weights, weights),))
        found = [inference.compare(panel, arm, 0) for arm in range(1, 9)]
        missed += [not one.low <= 0 <= one.high for one in found]
        families += min(holm([one.p for one in found])) < 0.05
    assert np.mean(missed) < 0.08
    assert families / 300 < 0.08


def test_arms_of_unequal_noise_do_not_break_the_family_level() -> None:
    scale = np.array([1, 1, 1, 1, 1, 1, 2, 3.0])
    _, family = errors(400, 2, unit=0.0, both=1e-6, scale=scale)
    assert family < 0.08
    pooled = np.mean([_pooled_family(seed, scale) for seed in range(400)])
    assert pooled > family  # what the moderation is for


def _pooled_family(seed: int, scale: Floats) -> bool:
    table = drawn(np.random.default_rng(seed), unit=0.0, both=1e-6, scale=scale).runs
    variance, degrees = inference.residual(table)
    effects = table[1:].mean(1) - table[0].mean()
    p = 2 * stats.t.sf(np.abs(effects) / math.sqrt(2 * variance / table.shape[1]), degrees)
    return min(holm(list(p))) < 0.05


def test_intervals_are_not_wider_than_the_noise_asks_for() -> None:
    missed, _ = errors(300, 3, arms=10, seeds=5)
    assert missed > 0.02


def test_power_is_what_is_said() -> None:
    generator = np.random.default_rng(4)
    said, found = [], []
    for _ in range(300):
        panel = drawn(generator, seeds=4)
        one = inference.compare(panel, 1, 0)
        effect = 0.012
        said.append(inference.power(effect, one.se, one.degrees))
        moved = Part(panel.parts[0].values.copy(), panel.parts[0].weights)
        moved.values[1] += effect * moved.weights
        found.append(inference.compare(Panel((moved,)), 1, 0).p < 0.05)
    assert np.mean(found) == pytest.approx(np.mean(said), abs=0.07)
    one_percent = inference.detectable(0.004, 9.0)
    assert inference.power(one_percent, 0.004, 9.0) == pytest.approx(0.8, abs=0.02)
    assert inference.detectable(0.004, 9.0, 11) > one_percent


def test_power_is_that_of_the_noncentral_t() -> None:
    critical = stats.t.ppf(1 - 0.05 / 3 / 2, 7.5)
    told = stats.nct.sf(critical, 7.5, 2.0) + stats.nct.cdf(-critical, 7.5, 2.0)
    assert inference.power(0.02, 0.01, 7.5, 3) == pytest.approx(told)
    assert inference.power(1e9, 1e-9, 3.0) == pytest.approx(1.0)
    assert inference.power(0.0, 0.01, 7.5) == pytest.approx(0.05)


@settings(max_examples=30, deadline=None)
@given(arms=st.integers(2, 6), seeds=st.integers(2, 5), units=st.integers(2, 20), seed=st.integers(0, 999))
def test_equals_the_slow_twins(arms: int, seeds: int, units: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    panel = drawn(generator, arms, seeds, units)
    [part] = panel.parts
    assert panel.runs == pytest.approx(estimates.runs(part.values, part.weights))
    effect, se, variance, degrees = estimates.least_squares(panel.runs, 1, 0)
    assert inference.residual(panel.runs) == pytest.approx((variance, degrees))
    assert inference.compare(panel, 1, 0).effect == pytest.approx(effect)
    assert se == pytest.approx(math.sqrt(2 * variance / seeds))
    plain = Part(part.values[[1]] - part.values[[0]], np.ones(units))
    assert inference.unit_variance(plain) == pytest.approx(estimates.crossed(plain.values[0]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_the_least_level_that_rejects(p: list[float]) -> None:
    assert holm(p) == pytest.approx(estimates.holm(p))


def test_bootstrap_equals_the_slow_twin_draw_by_draw() -> None:
    panel = drawn(np.random.default_rng(5), 3, 4, 15)
    [part] = panel.parts
    again = np.random.Generator(np.random.PCG64(9))
    units, seeds = again.integers(0, 15, (20, 15)), again.integers(0, 4, (20, 4))
    slow = [estimates.resampled(part.values, part.weights, *both) for both in zip(units, seeds, strict=True)]
    assert inference.bootstrap(panel, 20, 9) == pytest.approx(np.array(slow))


def test_bootstrap_agrees_with_the_formula_where_both_hold() -> None:
    panel = drawn(np.random.default_rng(6), arms=12, seeds=12, units=300, both=0.01)
    draws = inference.bootstrap(panel, 2000, 1)
    ratio = [
        (draws[:, arm] - draws[:, 0]).std() / inference.compare(panel, arm, 0).se for arm in range(1, 12)
    ]
    assert np.mean(ratio) == pytest.approx(1, abs=0.15)


def test_one_seed_tells_of_units_alone() -> None:
    panel = drawn(np.random.default_rng(7), seeds=1, run=0.0, both=0.0)
    found = inference.compare(panel, 1, 0)
    [part] = panel.parts
    assert found.degrees == pytest.approx(part.freedom)
    assert Part(part.values, np.ones(part.units)).freedom == pytest.approx(part.units - 1)
    paired = Part(part.values[[1]] - part.values[[0]], part.weights)
    assert found.se == pytest.approx(math.sqrt(inference.unit_variance(paired)[0]))
    assert inference.level_of(panel, 0)[1:] == (None, None)


@pytest.mark.parametrize("value", [0.0, 0.1, 7.3])
@pytest.mark.parametrize("seeds", [1, 3])
def test_what_never_varies_is_undetected(value: float, seeds: int) -> None:
    panel = Panel((Part(np.full((4, seeds, 30), value), np.ones(30)),))
    found = inference.compare(panel, 1, 0)
    assert (found.p, found.effect, found.low, found.high) == (1.0, 0.0, 0.0, 0.0)
    assert inference.level_of(panel, 1)[0] == pytest.approx(value)
    assert np.ptp(inference.bootstrap(panel, 50)) == pytest.approx(0)


def test_every_unit_turned_the_same_way_is_judged_by_their_number() -> None:
    values = np.zeros((2, 3, 12))
    values[0] = 1
    assert inference.compare(Panel((Part(values, np.ones(12)),)), 1, 0).p == pytest.approx(2 / 2**12)
    assert inference.compare(Panel((Part(values[..., :1], np.ones(1)),)), 1, 0).p == 1.0


def test_copies_of_a_unit_are_no_evidence() -> None:
    [single] = drawn(np.random.default_rng(8), both=0.0).parts
    copies = np.repeat(np.arange(single.units), 4)
    values, weights = np.repeat(single.values, 4, axis=2), np.repeat(single.weights, 4)
    naive, merged = inference.part(values, weights), inference.part(values, weights, copies)
    assert naive is not None
    assert merged is not None
    right = inference.compare(Panel((single,)), 1, 0)
    assert inference.compare(Panel((merged,)), 1, 0).se == pytest.approx(right.se)
    assert inference.compare(Panel((naive,)), 1, 0).se < right.se


def test_units_without_weight_are_not_counted() -> None:
    [single] = drawn(np.random.default_rng(9)).parts
    padded = inference.part(np.pad(single.values, ((0, 0), (0, 0), (0, 5))), np.pad(single.weights, (0, 5)))
    assert padded is not None
    assert padded.units == single.units
    assert inference.part(single.values, np.zeros(single.units)) is None


def test_a_gap_is_a_difference_with_both_errors() -> None:
    one, other = drawn(np.random.default_rng(10)).parts[0], drawn(np.random.default_rng(11)).parts[0]
    gap = inference.compare(Panel((one, other)), 1, 0)
    parts = [inference.compare(Panel((part,)), 1, 0) for part in (one, other)]
    assert gap.effect == pytest.approx(parts[0].effect - parts[1].effect)
    assert gap.se > max(part.se for part in parts) * 0.7
    assert inference.bootstrap(Panel((one, other)), 10).shape == (10, 8)


@pytest.mark.parametrize(("found", "of"), [(0, 200), (7, 200), (200, 200)])
def test_clopper_pearson_is_scipys(found: int, of: int) -> None:
    told = stats.binomtest(found, of).proportion_ci(method="exact")
    assert inference.clopper_pearson(found, of) == pytest.approx((told.low, told.high))
