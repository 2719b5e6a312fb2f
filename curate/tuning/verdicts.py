"""What numbers allow to be said: a verdict per filter, whether the controls came out right, and the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.govern.effects.schema import Contrast, Control, FilterTold, Verdict
from curate.tuning.study import LEAST

LEVEL = 0.05
SMALL = (
    0.01  # effects below it differ between bases by more than their standard error: they need a second one
)
_SAID = {
    "bpb@raw": "the loss on raw text",
    "bpb@accepted": "the loss on accepted text",
    "bpb@eval": "the loss on the evaluation file",
}
_ORDER = {"helps": 0, "unconfirmed": 1, "shift": 2, "undetected": 3, "hurts": 5}  # an unconfirmed harm: 4


def title(one: Contrast) -> str:
    """Return a contrast's name."""
    return f"{one['arm']} - {one['reference']}"


def resting(contrasts: Sequence[Contrast]) -> dict[str, Contrast]:
    """Return the contrast that each filter's verdict rests on: what it adds to all others, else it alone, on raw."""
    held: dict[str, Contrast] = {}
    for question in ("removed", "whole", "alone"):  # "whole" speaks of a filter where it is the only one
        for one in contrasts:
            if one["primary"] and one["question"] == question and one["stage"]:
                held.setdefault(one["stage"], one)
    return held


def needs_second(contrasts: Sequence[Contrast]) -> list[tuple[str, str]]:
    """Return (arm, reference) of the significant effects under 1 %: they await a second learning rate or base."""
    asked = [one for one in contrasts if one["question"] != "control" and _found(one) and _small(one)]
    return list(dict.fromkeys((one["arm"], one["reference"]) for one in asked))


def filters(
    contrasts: Sequence[Contrast], primary: str, cpu: Mapping[str, float], seeds: int
) -> list[FilterTold]:
    """Return a verdict on every filter, what helps most first."""
    family = sum(one["primary"] for one in contrasts)
    other = {(one["arm"], one["reference"], one["metric"]): one for one in contrasts}
    made = []
    for stage, one in resting(contrasts).items():
        accepted = other.get((one["arm"], one["reference"], "bpb@accepted")) if primary == "bpb@raw" else None
        verdict, why = _verdict(one, accepted, family, seeds)
        alone = next(
            (c for c in contrasts if c["primary"] and c["question"] == "alone" and c["stage"] == stage), None
        )
        size = _size(one)
        told = FilterTold(
            stage=stage,
            verdict=verdict,
            relative=one["relative"],
            low=one["low"] / size if size else None,
            high=one["high"] / size if size else None,
            mde=one["mde"],
            contrast=title(one),
            why=why,
            alone=alone["relative"] if alone else None,
            cpu_seconds=cpu.get(stage),
        )
        made.append(told)
    return sorted(made, key=_rank)


def controls(
    contrasts: Sequence[Contrast], primary: str, calibration: Mapping[str, Any] | None, seeds: int
) -> list[Control]:
    """Return whether what must come out right did; with one seed, which tells nothing of noise, it is left open."""
    held = {(one["arm"], one["reference"], one["metric"]): one for one in contrasts}
    made = [
        _planted(held.get(("planted", "full", primary))),
        _random_drop(held.get(("random_drop", "raw", primary))),
        _heldout(held.get(("full", "raw", "bpb@raw")), held.get(("full", "raw", "bpb@accepted"))),
    ]
    if (
        made[0]["passed"] is False and made[1]["passed"]
    ):  # what finds nothing cannot find that nothing is there
        made[1]["passed"] = None
    if seeds < 2:
        made = [Control(**{**one, "passed": None}) for one in made]
    if calibration is None:
        found, passed = "not done (--calibrate)", None
    else:
        low, high = calibration["low"], calibration["high"]
        found = (
            f"{calibration['false_positives']} of {calibration['relabelled']} families "
            f"({calibration['rate']:.1%}, 95% interval {low:.1%} to {high:.1%})"
        )
        passed = True if calibration["rate"] <= LEVEL else False if low > LEVEL else None
    made.append(
        _control("calibration", "false positives in at most 5% of families without an effect", found, passed)
    )
    return made


def limits(
    base: Mapping[str, Any],
    primary: str,
    seeds: int,
    noise: Mapping[str, float],
    control: Sequence[Control],
    texts: Mapping[str, int],
) -> list[str]:
    """Return what can and what cannot be concluded, one sentence each. texts: see :attr:`Study.texts`."""
    said = []
    if base.get("kind") == "tiny":
        said += [
            "The base is tiny: it shows gross defects of data (corruption, duplicates, another language), and says "
            "nothing of reasoning, knowledge or instruction following.",
            "A ranking found here need not hold for a large model: even the best small scales studied (models of 150 "
            "million parameters) ranked only about 80% of pairs of datasets as a larger one did (DataDecide, arXiv "
            "2504.11393), and this base is far smaller.",
        ]
    else:
        said.append(
            "A ranking found on one base need not hold on a larger one: the best small scales studied ranked about "
            "80% of pairs of datasets as a larger one did (DataDecide, arXiv 2504.11393)."
        )
    said.append(
        "Intervals cover other seeds (initialization and order of records) and other held-out text of the same kind; "
        "they do not cover other bases, learning rates or other training data."
    )
    if seeds < 2:
        said.append(
            "With one seed the noise of training is unknown: intervals cover held-out text only, and no filter is said "
            "to help or to hurt. Use three seeds or more."
        )
    if seeds == 2:
        said.append(
            "With two seeds an arm that is much noisier than the others is told apart badly: its effect may seem surer "
            "than it is. Use three seeds or more."
        )
    if seeds > 1 and noise["degrees"] < 6:
        said.append(
            f"The noise of training is known with {noise['degrees']:.0f} degrees of freedom only; more seeds or arms "
            f"would make intervals narrower and surer."
        )
    if texts[primary] < LEAST:
        said.append(
            f"Verdicts rest on {texts[primary]} different texts only: too few to speak of others of their kind."
        )
    if primary == "bpb@raw" and "bpb@eval" in texts:
        said.append(
            f"The evaluation file has {texts['bpb@eval']} different texts, fewer than the {LEAST} that verdicts need: "
            "they rest on held-out records of the release itself instead, with the defects that those have."
        )
    elif primary == "bpb@raw":
        said.append(
            "Verdicts rest on held-out records of the release itself, with the defects that those have; a file of "
            "texts that you want the model to write (--eval) is a better judge."
        )
    said.append(
        "Not detected is not the same as no effect: the size of an effect that would be found four times in five is "
        "told beside, and smaller ones are missed more often."
    )
    said += [f"The control {one['name']} failed ({one['found']}): read no verdict before that is explained."
             for one in control if one["passed"] is False]  # fmt: skip
    return said


def _verdict(one: Contrast, accepted: Contrast | None, family: int, seeds: int) -> tuple[Verdict, str]:
    gain = one["effect"] < 0
    better = bool(accepted and accepted["effect"] < 0 and accepted["p"] * family < LEVEL and seeds > 1)
    if accepted and better and not (_found(one) and gain) and _apart(one, accepted):
        return "shift", (
            f"{_change(accepted).capitalize()}, but {_change(one)}: the model moved towards what is scored, which is "
            f"no proof of quality."
        )
    if not _found(one):
        if one["mde"] is None:
            return (
                "undetected",
                "Training with it and without it gave the same: the runs do not differ at all.",
            )
        beside = f"; {_change(accepted)}, too little more to be called a shift" if accepted and better else ""
        return "undetected", (
            f"No effect found: {_change(one)}{beside}; one of {_percent(one['mde'])} would have been found with a "
            f"power of 80%."
        )
    compared = "than without it" if one["question"] == "removed" else "than with no filter"
    told = f"With it, {_change(one)} {compared}, Holm's p {_p(one['holm'])}"
    if seeds < 2:
        return "unconfirmed", f"{told}; but one seed cannot tell an effect from the noise of training."
    second = one.get("second")
    if _small(one):
        if second is None:
            return (
                "unconfirmed",
                f"{told}; an effect under 1% needs a second learning rate or base that agrees.",
            )
        if second["p"] >= LEVEL or (second["relative"] < 0) != gain:
            return (
                "unconfirmed",
                f"{told}; with a second training {second['relative']:+.2%}, p {_p(second['p'])}: no agreement.",
            )
        told += f"; a second training agrees ({second['relative']:+.2%}, p {_p(second['p'])})"
    return ("helps" if gain else "hurts"), f"{told}."


def _rank(told: FilterTold) -> tuple[int, float, str]:
    effect = told["relative"] or 0.0
    place = 4 if told["verdict"] == "unconfirmed" and effect > 0 else _ORDER[told["verdict"]]
    return place, effect, told["stage"]


def _planted(one: Contrast | None) -> Control:
    expected = "worse than full: the corruption is found"
    if one is None:
        return _control("planted", expected, "not done", None)
    passed = _found(one) and one["effect"] > 0
    advice = "" if passed else "; too little is trained to see gross defects: raise --tokens or --seeds"
    return _control("planted", expected, f"{_change(one)}, Holm's p {_p(one['holm'])}{advice}", passed)


def _random_drop(one: Contrast | None) -> Control:
    expected = "not better than raw"
    if one is None:
        return _control("random_drop", expected, "not done", None)
    found = f"{_change(one)}, Holm's p {_p(one['holm'])}"
    if _found(one) and one["effect"] > 0:
        found += "; fewer records cost something by themselves, so read full against random_drop"
    return _control("random_drop", expected, found, not (_found(one) and one["effect"] < 0))


def _heldout(raw: Contrast | None, accepted: Contrast | None) -> Control:
    expected = "full against raw has the same sign on raw and on accepted text"
    if raw is None or accepted is None:
        return _control("heldout", expected, "not done", None)
    found = f"{_change(raw)}; {_change(accepted)}"
    sure = raw["p"] < LEVEL and accepted["p"] < LEVEL
    agree = (raw["effect"] < 0) == (accepted["effect"] < 0)
    if sure and not agree:  # no fault of the measurement: raw text holds what the filters are there to remove
        found += "; what the filters remove is part of the raw text, so neither alone tells what is better"
    return _control("heldout", expected, found, True if sure and agree else None)


def _control(name: Any, expected: str, found: str, passed: bool | None) -> Control:
    return Control(name=name, expected=expected, found=found, passed=passed)


def _found(one: Contrast) -> bool:
    return one["holm"] is not None and one["holm"] < LEVEL


def _small(one: Contrast) -> bool:
    return one["relative"] is not None and abs(one["relative"]) < SMALL


def _apart(one: Contrast, accepted: Contrast) -> bool:
    """Tell whether a gain on accepted text is larger than raw text allows: its interval leaves that gain out.

    One that is significant on the one and just not on the other is no difference between them (Gelman & Stern 2006,
    The American Statistician 60:328-331).
    """
    size = _size(one)
    return (accepted["relative"] or 0.0) < (one["low"] / size if size else 0.0)


def _size(one: Contrast) -> float | None:
    """Return the reference's value, which shares are of."""
    return one["effect"] / one["relative"] if one["relative"] else None


def _change(one: Contrast) -> str:
    """Say an effect: "the loss on raw text is 2.10% lower (95% interval -2.60% to -1.60%)"."""
    what = _SAID.get(one["metric"], one["metric"])
    size = _size(one)
    if size is None:
        return f"{what} is unchanged"
    low, high = one["low"] / size, one["high"] / size
    side = "lower" if one["effect"] < 0 else "higher"
    return f"{what} is {_percent(abs(one['effect'] / size))} {side} (95% interval {low:+.2%} to {high:+.2%})"


def _percent(share: float) -> str:
    return f"{share:.2%}"


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.0001" if value < 1e-4 else f"{value:.4f}"
