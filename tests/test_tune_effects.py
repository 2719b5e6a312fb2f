from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

pytest.importorskip("scipy")

from curate.errors import CurateError
from curate.govern.effects import schema
from curate.tuning import calibration, effects, verdicts
from curate.tuning.contract import Arm, Floats, Item, Kind, Metric, Text, Turn
from curate.tuning.study import Study, declared

METRICS = (
    Metric("bpb", "Held-out loss", "bits per byte", "lower", "loss"),
    Metric("train_bpb", "Training loss", "bits per byte", "neither", "loss"),
    Metric("exact", "Exact match", "share", "higher", "task"),
    Metric("canary_z", "Planted secrets", "standard deviations", "lower", "privacy", 0.0),
    Metric("sampled_pii", "Personal data", "share", "lower", "privacy"),
)
STAGES = ("exact", "language", "pii")


def arm(name: str, kind: Kind, stage: str | None = None, stages: tuple[str, ...] = ()) -> Arm:
    return Arm(name, kind, stage, stages, dict.fromkeys(range(9), np.arange(10)))


def arms(stages: tuple[str, ...] = STAGES, canaries: bool = True) -> list[Arm]:
    made = [arm("raw", "raw"), arm("random_drop", "random"), arm("full", "full", None, stages)]
    made += [arm(f"only_{stage}", "alone", stage, (stage,)) for stage in stages]
    made += [arm(f"without_{stage}", "without", stage, tuple(set(stages) - {stage})) for stage in stages]
    made.append(arm("planted", "planted", None, stages))
    return made + canaries * [arm("canary", "canary"), arm("canary_scrubbed", "scrubbed")]


def items(count: int, sets: frozenset[str] = frozenset({"raw", "accepted"})) -> list[Item]:
    families, languages = ("code", "prose"), ("en", "en", "en", "de")
    return [
        Item(
            Text(f"k{i}", (Turn("user", "q"), Turn("assistant", str(i))), "s", families[i % 2], languages[i % 4]), sets
        )
        for i in range(count)
    ]  # fmt: skip


def study(
    effect: Mapping[str, float],
    *,
    accepted: Mapping[str, float] | None = None,
    seeds: int = 3,
    noise: float = 0.002,
    count: int = 160,
    of: list[Arm] | None = None,
    seed: int = 0,
    **extra: Any,
) -> Study:
    """Runs whose loss is 1 bit per byte, moved by each arm's effect; on items of `accepted` alone by that one's."""
    generator = np.random.default_rng(seed)
    held = of or arms()
    raw, only = items(count), items(count, frozenset({"accepted"})) if accepted else []
    weights = generator.integers(20, 90, count + len(only)).astype(float)
    shifts = np.zeros((len(held), len(weights)))
    for place, one in enumerate(held):
        shifts[place, :count] = effect.get(one.name, 0.0)
        shifts[place, count:] = (accepted or {}).get(one.name, 0.0)
    loss = 1 + generator.normal(0, 0.2, len(weights)) + generator.normal(0, noise, (len(held), seeds, 1))
    loss = loss + shifts[:, None, :] + generator.normal(0, noise, (len(held), seeds, len(weights)))
    shape = (len(held), seeds)
    values: dict[str, Floats] = {
        "bpb": loss * weights,
        "exact": np.zeros((*shape, len(weights))),
        "train_bpb": 0.9 + generator.normal(0, noise, (*shape, 30)),
        "canary_z": generator.normal([[[2 * (one.kind == "canary")]] for one in held], 0.3, (*shape, 12)),
        "sampled_pii": np.zeros((*shape, 20)),
    }
    held_weights = {name: np.ones(array.shape[2]) for name, array in values.items()} | {"bpb": weights}
    return Study(held, range(seeds), values, held_weights, METRICS, [*raw, *only], **extra)


def told(held: Study, **given: Any) -> dict[str, Any]:
    return effects.analyse(held, base={"kind": "tiny"}, **given)


def test_the_arms_alone_declare_what_is_compared() -> None:
    found = {(one.arm, one.reference, one.stage, one.question) for one in declared(arms())}
    assert found == {
        *(("full", f"without_{stage}", stage, "removed") for stage in STAGES),
        *((f"only_{stage}", "raw", stage, "alone") for stage in STAGES),
        ("full", "raw", None, "whole"),
        ("full", "random_drop", None, "size"),
        ("random_drop", "raw", None, "control"),
        ("planted", "full", None, "control"),
        ("canary_scrubbed", "canary", None, "privacy"),
    }


def test_the_only_filter_of_a_recipe_is_judged_by_full_against_raw() -> None:
    few = [arm("raw", "raw"), arm("random_drop", "random"), arm("full", "full", None, ("exact",))]
    found = told(study({"full": -0.05}, of=few))
    assert [(one["stage"], one["verdict"], one["contrast"]) for one in found["filters"]] == [
        ("exact", "helps", "full - raw")
    ]


def test_what_is_told_fits_the_schema_and_json() -> None:
    found = told(study({"full": -0.05}, curves={"raw": [np.ones(100)] * 3}))
    assert b"NaN" not in orjson.dumps(found)
    keys = {"primary", "metrics", "arms", "contrasts", "filters", "groups", "controls", "limits", "noise"}
    assert set(found) == keys
    for name, of in {"arms": schema.ArmTold, "filters": schema.FilterTold, "groups": schema.Group}.items():
        assert all(set(one) == of.__annotations__.keys() for one in found[name])
    assert all(set(one) == schema.Contrast.__annotations__.keys() - {"second"} for one in found["contrasts"])
    assert found["arms"][0]["curve"] == [1.0] * 32
    names = {"bpb@raw", "bpb@accepted", "gap", "exact", "train_bpb", "canary_z", "sampled_pii"}
    assert set(found["arms"][0]["metrics"]) == names == {one["name"] for one in found["metrics"]}
    assert all(math.isfinite(one["low"] + one["high"] + (one["mde"] or 0)) for one in found["contrasts"])


def test_holm_is_over_all_declared_contrasts_on_the_primary_metric() -> None:
    found = told(study({"full": -0.05}))
    primary = [one for one in found["contrasts"] if one["primary"]]
    assert len(primary) == 10
    assert {one["metric"] for one in primary} == {found["primary"]} == {"bpb@raw"}
    assert all((one["holm"] is None) != one["primary"] for one in found["contrasts"])
    assert min(one["holm"] for one in primary) == pytest.approx(10 * min(one["p"] for one in primary))


def test_a_file_of_the_users_own_is_what_verdicts_rest_on() -> None:
    held = study({"full": -0.05})
    own = [replace(item, sets=frozenset({"eval"})) for item in held.items[:80]]
    found = told(replace(held, items=[*own, *held.items[80:]]))
    assert found["primary"] == "bpb@eval"
    assert not any("--eval" in sentence for sentence in found["limits"])


def test_a_tiny_file_of_the_users_own_bears_no_verdict() -> None:
    held = study({"full": -0.05})
    own = [replace(item, sets=frozenset({"eval"})) for item in held.items[:3]]
    found = told(replace(held, items=[*own, *held.items[3:]]))
    assert found["primary"] == "bpb@raw"
    assert any("has 3 different texts, fewer than the 20" in sentence for sentence in found["limits"])
    few = told(study({"full": -0.05}, count=12))
    assert any("rest on 12 different texts only" in sentence for sentence in few["limits"])


def test_runs_that_do_not_differ_tell_nothing_of_what_could_be_found() -> None:
    held = study({})
    found = told(held)
    floor = [one for one in found["contrasts"] if one["metric"] == "exact"]
    assert {(one["mde"], one["power"], one["p"]) for one in floor} == {(None, None, 1.0)}
    level = found["arms"][0]["metrics"]["exact"]
    assert (level["value"], level["low"], level["high"]) == (0.0, None, None)
    same = held.values["bpb"].copy()
    same[:] = same[:1, :1]
    undetected = told(replace(held, values={**held.values, "bpb": same}))["filters"][0]
    assert (undetected["verdict"], undetected["mde"]) == ("undetected", None)
    assert "do not differ" in undetected["why"]


def test_verdicts_follow_the_effect_with_its_sign() -> None:
    moved = {
        "full": -0.05,
        "without_exact": 0.0,
        "without_language": -0.1,
        "without_pii": -0.05,
        "planted": 0.1,
    }
    found = told(study(moved, cpu={"exact": 2.5}))
    assert [(one["stage"], one["verdict"]) for one in found["filters"]] == [
        ("exact", "helps"),
        ("pii", "undetected"),
        ("language", "hurts"),
    ]
    helps = found["filters"][0]
    assert helps["relative"] == pytest.approx(-0.05, abs=0.01)
    assert helps["low"] < helps["relative"] < helps["high"] < 0
    assert helps["cpu_seconds"] == 2.5
    assert "5." in helps["why"] or "4." in helps["why"]
    assert f"{found['filters'][1]['mde']:.2%}" in found["filters"][1]["why"]


def test_a_gain_on_accepted_text_alone_is_a_shift() -> None:
    moved = {"full": 0.0, "without_exact": 0.0, "without_language": 0.0, "without_pii": 0.0}
    accepted = {**moved, "without_exact": 0.3}
    found = {one["stage"]: one for one in told(study(moved, accepted=accepted))["filters"]}
    assert found["exact"]["verdict"] == "shift"
    assert "no proof of quality" in found["exact"]["why"]
    assert found["language"]["verdict"] == "undetected"
    better = study({**moved, "without_exact": 0.1}, accepted=accepted)
    assert {one["stage"]: one["verdict"] for one in told(better)["filters"]}["exact"] == "helps"


def test_a_gain_that_raw_text_may_have_too_is_no_shift() -> None:
    """It is significant on accepted text, and hidden by the noise of raw text: no difference between the two."""
    moved = {"full": 0.0, "without_exact": 0.02, "without_language": 0.0, "without_pii": 0.0}
    held = study(moved, accepted=moved)
    loud = held.values["bpb"].copy()
    alone = [place for place, item in enumerate(held.items) if "raw" in item.sets]
    where = np.ix_(range(len(held.arms)), range(3), alone)
    wild = np.random.default_rng(1).normal(0, 0.3, (len(held.arms), 1, len(alone)))
    loud[where] += wild * held.weights["bpb"][alone]
    items_ = [
        replace(item, sets=item.sets - {"accepted"}) if "raw" in item.sets else item for item in held.items
    ]
    found = told(replace(held, items=items_, values={**held.values, "bpb": loud}))
    exact = next(one for one in found["filters"] if one["stage"] == "exact")
    raw, accepted = (
        next(c for c in found["contrasts"] if (c["reference"], c["metric"]) == ("without_exact", metric))
        for metric in ("bpb@raw", "bpb@accepted")
    )
    assert accepted["p"] < 0.05 / 11 < raw["p"]  # what the case is about
    assert raw["low"] < accepted["effect"]
    assert exact["verdict"] == "undetected"
    assert "too little more to be called a shift" in exact["why"]


SMALL = {"full": 0.0, "without_exact": 0.006, "without_language": 0.0, "without_pii": 0.0}


def test_effects_under_one_percent_wait_for_a_second_training() -> None:
    first = study(SMALL, noise=0.0003)
    found = told(first)
    verdict = next(one for one in found["filters"] if one["stage"] == "exact")
    assert verdict["verdict"] == "unconfirmed"
    assert verdicts.needs_second(found["contrasts"]) == [("full", "without_exact")]


@pytest.mark.parametrize(
    ("again", "verdict"), [(0.02, "helps"), (-0.02, "unconfirmed"), (0.0, "unconfirmed")]
)
def test_a_second_training_confirms_only_what_it_agrees_with(again: float, verdict: str) -> None:
    first = study(SMALL, noise=0.0003)
    few = [one for one in first.arms if one.name in ("raw", "random_drop", "full", "without_exact")]
    second = study({"without_exact": again}, of=few, noise=0.0003, seed=1)
    found = effects.confirm(told(first), first, second, {"rate": 0.004}, base={"kind": "tiny"})
    of = {one["stage"]: one for one in found["filters"]}
    assert of["exact"]["verdict"] == verdict
    assert of["language"]["verdict"] == "undetected"
    entered = [one for one in found["contrasts"] if "second" in one]
    assert {(one["arm"], one["reference"]) for one in entered} >= {("full", "without_exact")}
    assert set(entered[0]["second"]) == {"rate", "relative", "p"}


def test_one_seed_never_says_helps_or_hurts() -> None:
    found = told(study({"full": -0.2}, seeds=1))
    assert {one["verdict"] for one in found["filters"]} <= {"unconfirmed", "undetected"}
    shifted = study({}, accepted={"full": -0.3}, seeds=1)
    assert "shift" not in {one["verdict"] for one in told(shifted)["filters"]}
    assert found["noise"]["degrees"] == 0
    assert {one["passed"] for one in found["controls"]} == {None}
    assert any("one seed" in sentence for sentence in found["limits"])
    assert found["arms"][0]["metrics"]["bpb@raw"]["low"] is None
    assert any("two seeds" in sentence for sentence in told(study({}, seeds=2))["limits"])


def controls(found: Mapping[str, Any]) -> dict[str, bool | None]:
    return {one["name"]: one["passed"] for one in found["controls"]}


def test_controls_pass_when_the_known_comes_out_right() -> None:
    calm = {"random_drop": 0.0, "planted": 0.1}
    assert controls(told(study(calm))) == {
        "planted": True, "random_drop": True, "heldout": None, "calibration": None,
    }  # fmt: skip
    both = dict.fromkeys(("full", "planted"), -0.1)
    assert controls(told(study(both, accepted=both)))["heldout"] is True
    assert controls(told(study({"full": 0.1}, accepted={"full": -0.4})))["heldout"] is None


def test_controls_fail_when_the_known_comes_out_wrong() -> None:
    found = told(study({"planted": 0.0, "random_drop": -0.1}))
    assert controls(found)["planted"] is False
    assert controls(found)["random_drop"] is False
    assert sum("read no verdict" in sentence for sentence in found["limits"]) == 2
    bad = {"relabelled": 200, "false_positives": 30, "rate": 0.15, "low": 0.1, "high": 0.2}
    assert controls(told(study({}), calibration=bad))["calibration"] is False
    doubtful = {**bad, "false_positives": 13, "rate": 0.065, "low": 0.035, "high": 0.11}
    assert controls(told(study({}), calibration=doubtful))["calibration"] is None


def test_a_random_drop_may_cost_something_and_says_so() -> None:
    found = told(study({"random_drop": 0.05, "planted": 0.1}))
    assert controls(found)["random_drop"] is True
    [said] = [one["found"] for one in found["controls"] if one["name"] == "random_drop"]
    assert "read full against random_drop" in said


def test_groups_tell_of_parts_that_are_large_enough() -> None:
    found = told(study({"full": -0.05}, count=60))["groups"]
    of = {(one["by"], one["name"]): one["items"] for one in found}
    assert of == {
        ("category", "code"): 30,
        ("category", "prose"): 30,
        ("language", "en"): 45,
        ("source", "s"): 60,
    }
    whole = next(one for one in found if one["contrast"] == "full - raw" and one["by"] == "source")
    assert whole["low"] < whole["relative"] < whole["high"]


def test_canaries_are_compared_in_their_own_arms_alone() -> None:
    found = [one for one in told(study({}))["contrasts"] if one["metric"] == "canary_z"]
    assert [(one["arm"], one["reference"], one["question"]) for one in found] == [
        ("canary_scrubbed", "canary", "privacy")
    ]
    assert found[0]["high"] < 0
    assert found[0]["relative"] is None


def test_the_limits_are_those_of_the_base() -> None:
    held = study({})
    tiny, hub = (effects.analyse(held, base={"kind": kind})["limits"] for kind in ("tiny", "hub"))
    assert "tiny" in tiny[0]
    assert not any("tiny" in sentence for sentence in hub)
    assert all(any("80%" in sentence for sentence in said) for said in (tiny, hub))


def test_a_training_that_diverged_is_named() -> None:
    held = study({})
    held.values["bpb"][1, 2, 5] = math.nan
    with pytest.raises(CurateError, match=r"arm random_drop, seed 2: bpb is not a number.*--rate"):
        told(held)


def test_the_same_values_tell_the_same_bytes() -> None:
    assert orjson.dumps(told(study({"full": -0.01}))) == orjson.dumps(told(study({"full": -0.01})))


def test_items_of_the_same_content_are_one_piece_of_evidence() -> None:
    held = study({}, count=40)
    copies = [
        replace(item, text=replace(item.text, turns=held.items[0].text.turns)) for item in held.items[:20]
    ]
    assert replace(held, items=[*copies, *held.items[20:]]).panels["bpb@raw"][0].units == 21


def test_near_copies_are_one_piece_of_evidence_and_make_no_large_part() -> None:
    held = study({"full": -0.05}, count=60)
    grouped = replace(held, items=[replace(item, group=place % 15) for place, item in enumerate(held.items)])
    assert grouped.panels["bpb@raw"][0].units == 15
    assert told(grouped)["groups"] == []


def null_study(seed: int, spread: Floats | float = 1.0) -> Study:
    """Null arms as the calibration names them; spread: of each arm's true effect."""
    held = [arm("raw", "raw"), arm("random_drop", "random"), arm("full", "full", None, ("a", "b"))]
    held += [arm(f"only_{stage}", "alone", stage) for stage in "ab"]
    held += [arm(f"without_{stage}", "without", stage) for stage in "ab"]
    moved = np.random.default_rng(seed).normal(0, 1, len(held)) * spread
    return study(
        {one.name: float(by) for one, by in zip(held, moved, strict=True)}, of=held, seed=seed, count=60
    )


def test_null_arms_are_hardly_ever_found_to_differ() -> None:
    found = calibration.false_positives(null_study(1, 0.0), 200)
    assert found["relabelled"] == 200
    assert found["low"] <= 0.05
    assert found["false_positives"] == round(found["rate"] * 200)
    assert found == calibration.false_positives(null_study(1, 0.0), 200)


def test_relabelling_hides_true_effects_so_that_only_the_analysis_is_measured() -> None:
    """Arms that truly differ, named anew within each seed, differ by chance alone."""
    assert calibration.false_positives(null_study(2, 0.05), 200)["low"] <= 0.05


def test_the_calibration_sees_an_analysis_that_is_too_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    from curate.tuning import inference

    honest = inference.run_variance
    monkeypatch.setattr(inference, "run_variance", lambda *given: (honest(*given)[0] / 9, honest(*given)[1]))
    assert calibration.false_positives(null_study(3, 0.0), 100)["low"] > 0.05


def test_the_variance_ratio_is_that_of_the_residuals() -> None:
    calm, wild = null_study(4, 0.0), null_study(5, 0.0)
    noisy = replace(calm, values={**calm.values, "bpb": calm.values["bpb"].copy()})
    weights = calm.weights["bpb"]
    noisy.values["bpb"][:] += np.random.default_rng(6).normal(0, 0.01, (7, 3, 1)) * weights
    found = calibration.variance_ratio(calm, noisy)
    assert found["variance_ratio"] > 5
    assert found["ratio_low"] < found["variance_ratio"] < found["ratio_high"]
    assert calibration.variance_ratio(calm, wild)["ratio_low"] < 1
