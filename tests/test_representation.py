"""The representation report: blind removal is not told, uneven removal is, and a source is no group."""

from __future__ import annotations

import itertools
import math
import random
from fractions import Fraction

import duckdb
import pyarrow as pa
import pytest

from curate.govern import diversity, representation
from curate.govern.holm import holm
from curate.govern.ratios import Stratum, compare
from curate.govern.representation import findings

STAGES = ("first", "second")


def exact_p(strata: list[Stratum]) -> float:
    """Return the chance of so many removed mentions or more, by going over all that could have been."""
    ways: dict[int, Fraction] = {0: Fraction(1)}
    for s in strata:
        size, gone = s.seen + s.others_seen, s.removed + s.others_removed
        own = {
            k: Fraction(math.comb(s.seen, k) * math.comb(s.others_seen, gone - k), math.comb(size, gone))
            for k in range(max(0, gone - s.others_seen), min(s.seen, gone) + 1)
        }
        ways = {
            total: sum((ways[a] * own[total - a] for a in ways if total - a in own), Fraction(0))
            for total in {a + b for a, b in itertools.product(ways, own)}
        }
    return float(sum(chance for total, chance in ways.items() if total >= sum(s.removed for s in strata)))


def test_the_p_value_is_the_exact_one() -> None:
    rng = random.Random(4)
    for _ in range(60):
        strata = []
        for _ in range(rng.randint(1, 3)):
            seen, others = rng.randint(1, 30), rng.randint(1, 60)
            removed = rng.randint(0, seen)
            strata.append(Stratum(seen, removed, others, rng.randint(0, others)))
        found = compare(strata).p
        wanted = exact_p(strata)
        if sum(s.removed for s in strata) > sum(
            s.seen * (s.removed + s.others_removed) / (s.seen + s.others_seen) for s in strata
        ):
            assert found == pytest.approx(wanted, rel=1e-3)
        else:  # nobody asks how likely less than the mean is
            assert found > 0.3


def test_the_normal_distribution_takes_over_without_a_step() -> None:
    few = compare([Stratum(900, 260, 900, 220)])  # variance 88
    many = compare([Stratum(3000, 800, 3000, 730)])  # variance 283
    assert few.p == pytest.approx(exact_p([Stratum(900, 260, 900, 220)]), rel=1e-3)
    assert many.p == pytest.approx(0.5 * math.erfc(math.sqrt((800 - 765 - 0.5) ** 2 / 2 / 285.0)), rel=0.05)


def test_the_ratio_is_pooled_over_sources_and_the_interval_holds_it() -> None:
    one = compare([Stratum(100, 30, 100, 15)])
    assert one.ratio == 2.0
    assert one.low == pytest.approx(1.15, abs=0.01)  # Katz: exp(ln 2 ± 1.96 √(1/30 − 1/100 + 1/15 − 1/100))
    both = compare([Stratum(100, 30, 100, 15), Stratum(10, 10, 500, 500)])
    assert both.ratio is not None
    assert one.ratio is not None
    assert both.ratio < one.ratio  # a source that goes as a whole says that nobody is spared
    assert compare([Stratum(10, 3, 10, 0)]).ratio is None


def test_adjusted_p_values_are_holms() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == [0.03, 0.06, 0.06, 0.02]


def measured(rows: list[tuple[str, str | None, list[str]]]) -> dict[str, object]:
    told = pa.table(
        {
            "source": pa.array([row[0] for row in rows]),
            "stage": pa.array([row[1] for row in rows], pa.string()),
            "mentions": pa.array([row[2] for row in rows], pa.list_(pa.string())),
        }
    )
    with duckdb.connect() as connection:
        connection.register("told", told)
        return {"representation": representation.measure(connection, STAGES)}


def records(rng: random.Random, share: float, women: float) -> list[tuple[str, str | None, list[str]]]:
    """Make records of two sources, one full of women; the first stage removes a share, of women another."""
    rows: list[tuple[str, str | None, list[str]]] = []
    for source, of in (("letters", 0.6), ("manuals", 0.05)):
        for _ in range(600):
            mentions = ["gender/women"] * (rng.random() < of) + ["dialect/scots"] * (rng.random() < 0.05)
            gone = rng.random() < (women if "gender/women" in mentions else share)
            rows.append((source, "first" if gone else None, mentions))
    return rows


def test_blind_removal_is_hardly_ever_told() -> None:
    told = [findings(measured(records(random.Random(n), 0.2, 0.2))) for n in range(25)]
    assert sum(map(bool, told)) <= 2


def test_removal_of_a_group_is_told_once_for_the_stage_that_does_it() -> None:
    [finding] = findings(measured(records(random.Random(3), 0.1, 0.25)))
    assert finding["reason"] == "first/representation"
    assert finding["severity"] == "warning"
    assert "gender/women" in finding["message"]
    assert "dialect/scots" not in finding["message"]


def test_a_source_that_is_removed_as_a_whole_is_no_alarm() -> None:
    rows = records(random.Random(2), 0.1, 0.1)
    rows = [(source, "first" if source == "letters" else stage, mentions) for source, stage, mentions in rows]
    assert findings(measured(rows)) == []


def test_few_records_are_never_told() -> None:
    rows: list[tuple[str, str | None, list[str]]] = [("a", "first", ["gender/women"])] * 9
    assert findings(measured(rows + [("a", None, [])] * 500)) == []
    assert len(findings(measured(rows + [("a", "first", ["gender/women"])] + [("a", None, [])] * 500))) == 1


def test_a_stage_is_compared_on_what_the_one_before_it_left() -> None:
    rows: list[tuple[str, str | None, list[str]]] = [("a", "first", ["age/older"])] * 20 + [
        ("a", None, [])
    ] * 80
    rows += [("a", "second", [])] * 10 + [("a", None, ["age/older"])] * 5
    part = measured(rows)["representation"]
    assert isinstance(part, dict)
    assert [(s["stage"], s["seen"], s["removed"]) for s in part["stages"]] == [
        ("first", 115, 20),
        ("second", 95, 10),
    ]
    assert [s["groups"][0]["seen"] for s in part["stages"]] == [25, 5]
    assert part["groups"] == [{"group": "age/older", "before": 25, "after": 5}]


def test_effective_numbers_are_hills() -> None:
    assert diversity.effective([5, 5, 5, 5]) == 4.0
    assert diversity.effective([]) == 0.0
    assert diversity.effective([98, 1, 1]) == pytest.approx(1.12, abs=0.01)
