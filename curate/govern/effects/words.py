"""How effects are said: the same words in the report, the datasheet and the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

NOTHING = "–"


class Said(NamedTuple):
    """A verdict for a reader: a mark, words, what follows from it, and the verb for one filter and for several."""

    mark: str
    words: str
    advice: str
    one: str
    several: str


VERDICTS = {
    "helps": Said("✓", "helps", "keep", "helps", "help"),
    "hurts": Said("✗", "hurts", "question", "hurts", "hurt"),
    "shift": Said(
        "≈",
        "shifts the distribution",
        "question",
        "only shifts the distribution",
        "only shift the distribution",
    ),
    "unconfirmed": Said("?", "not confirmed", "measure again", "is not confirmed", "are not confirmed"),
    "undetected": Said(
        "·", "not detectable", "no verdict", "has no detectable effect", "have no detectable effect"
    ),
}
MEANINGS = {
    "helps": "significant after Holm’s correction, and confirmed where it is small",
    "hurts": "the same, to the worse",
    "shift": "better on text that the filters accept, not on the distribution that the records come from",
    "unconfirmed": "significant, but under 1%, and no second learning rate or base agrees",
    "undetected": "no effect found; one of the detectable size is missed one time in five, a smaller one more often",
}
QUESTIONS = {
    "removed": "among others",  # full - without_<stage>
    "alone": "alone",
    "whole": "against raw",
    "size": "at equal size",
    "control": "control",
    "privacy": "scrubbing",
}
CONTROLS = {
    "planted": "Planted defects",
    "random_drop": "Random drop",
    "heldout": "Hold-out",
    "calibration": "A/A calibration",
}
FAMILIES = {
    "loss": "Other losses",
    "task": "Tasks",
    "privacy": "Privacy",
    "behaviour": "Behavior",
}


def signed(value: float, percent: bool = True) -> str:
    """Return a number with its sign: a share in percent, or a difference."""
    return _unsigned_zero(f"{value:+.2%}" if percent else f"{value:+.3g}")


def _unsigned_zero(text: str) -> str:
    """Return a number with a true minus sign; what rounds to zero has no sign."""
    return text.replace("-", "−") if any(digit in text for digit in "123456789") else text[1:]


def interval(low: float | None, high: float | None, percent: bool = True) -> str:
    """Return an interval, or the mark for none."""
    if low is None or high is None:
        return NOTHING
    return f"{signed(low, percent)} to {signed(high, percent)}"


def whole(value: float, low: float | None, high: float | None, percent: bool = True) -> str:
    """Return an effect with its interval, where it has one."""
    told = signed(value, percent)
    return told if low is None or high is None else f"{told} ({interval(low, high, percent)})"


def short(value: float, low: float | None, high: float | None, percent: bool = True) -> str:
    """Return an effect with half the width of its interval."""
    told = signed(value, percent)
    if low is None or high is None:
        return told
    half = (high - low) / 2
    if percent:
        return f"{told} ±{half * 100:.2f}"
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 6) if half else 3
    return f"{_unsigned_zero(f'{value:+.{decimals}f}')} ±{half:.{decimals}f}"


def passed(control: Mapping[str, Any]) -> str:
    """Return a control's outcome in one or two words."""
    return {True: "passed", False: "failed"}.get(control["passed"], "inconclusive")


def tally(filters: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return verdict → places in the list of filters, in the order of VERDICTS; without those nobody got."""
    places = {
        verdict: [place for place, one in enumerate(filters) if one["verdict"] == verdict]
        for verdict in VERDICTS
    }
    return {verdict: found for verdict, found in places.items() if found}


def headline(filters: Sequence[Mapping[str, Any]]) -> str:
    """Return the verdicts in one sentence."""
    if not filters:
        return "No filter was measured."
    parts = [f"{len(found)} {verb(verdict, len(found))}" for verdict, found in tally(filters).items()]
    first, rest = parts[0].split(" ", 1)
    whole = "filter" if len(filters) == 1 else "filters"
    return ", ".join([f"{first} of {len(filters)} {whole} {rest}", *parts[1:]]) + "."


def verb(verdict: str, n: int) -> str:
    """Return what n filters of a verdict do."""
    return VERDICTS[verdict].one if n == 1 else VERDICTS[verdict].several


def described(tune: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return what is told of each metric by its key; of those that nobody described, their name alone."""
    found: dict[str, Mapping[str, Any]] = {one["name"]: one for one in tune["metrics"]}
    for name in [n for arm in tune["arms"] for n in sorted(arm["metrics"])] + [
        one["metric"] for one in tune["contrasts"]
    ]:
        base = found.get(name.partition("@")[0], {})
        plain = {
            "name": name,
            "title": name,
            "unit": "",
            "better": "neither",
            "family": "behaviour",
            "about": "",
        }
        found.setdefault(name, {**plain, **base})
    return found


def title(metric: Mapping[str, Any]) -> str:
    """Return a metric's name for readers, with its set."""
    on = metric.get("set") or metric["name"].partition("@")[2]
    where = {
        "raw": "raw hold-out",
        "accepted": "accepted hold-out",
        "eval": "own evaluation file",
    }
    return f"{metric['title']}, {where.get(on, on)}" if on else str(metric["title"])


def direction(better: str) -> tuple[str, str]:
    """Return what stands left of zero and right of it."""
    return {"lower": ("← better", "worse →"), "higher": ("← worse", "better →")}.get(
        better, ("← less", "more →")
    )


def is_significant(contrast: Sized) -> bool:
    """Tell whether a contrast's effect is no chance: by Holm's p in the declared family, else by its interval."""
    if contrast.told["holm"] is not None:
        return bool(contrast.told["holm"] < 0.05)
    low, high = contrast.low, contrast.high
    return low is not None and high is not None and (low > 0 or high < 0)


def tone(value: float, is_told: bool, better: str) -> str:
    """Return good, bad or plain."""
    if not is_told or better == "neither" or not value:
        return "plain"
    return "good" if (value < 0) == (better == "lower") else "bad"


@dataclass(frozen=True, slots=True)
class Sized:
    """A contrast with its effect and intervals as shares of the reference's value, where it has relative effects."""

    told: Mapping[str, Any]
    percent: bool
    value: float
    low: float | None
    high: float | None
    boot_low: float | None
    boot_high: float | None

    @property
    def stage(self) -> str | None:
        """Return the filter that the contrast speaks of."""
        return self.told["stage"]  # type: ignore[no-any-return]

    @property
    def question(self) -> str:
        """Return what is asked of it."""
        return self.told["question"]  # type: ignore[no-any-return]

    @property
    def about(self) -> str:
        """Return whom the contrast is about."""
        together = {"whole": "all filters", "size": "all filters", "privacy": "canaries"}
        return self.stage or together.get(self.question) or self.told["arm"]

    @property
    def asked(self) -> str:
        """Return the question in words."""
        return QUESTIONS.get(self.question, self.question)

    @property
    def name(self) -> str:
        """Return the arms of the contrast."""
        return f"{self.told['arm']} − {self.told['reference']}"


def contrasts(tune: Mapping[str, Any], metric: str) -> list[Sized]:
    """Return the contrasts on a metric that have a value: filters as ranked, all of them together, controls."""
    place = {one["stage"]: number for number, one in enumerate(tune["filters"])}
    levels = {arm["name"]: arm["metrics"].get(metric) for arm in tune["arms"]}
    asked = list(QUESTIONS)
    found = [
        _sized(one, levels)
        for one in tune["contrasts"]
        if one["metric"] == metric and one["effect"] is not None
    ]

    def order(one: Sized) -> tuple[int, int, str]:
        rank = len(place) + 1 if one.stage is None else place.get(one.stage, len(place))
        return rank, asked.index(one.question) if one.question in asked else len(asked), one.name

    return sorted(found, key=order)


def _sized(one: Mapping[str, Any], levels: Mapping[str, Mapping[str, Any] | None]) -> Sized:
    """Return a contrast's numbers as shares, if it has a relative effect: its intervals are in the metric's unit."""
    names = ("low", "high", "boot_low", "boot_high")
    if one["mde"] is None:  # nothing varies: an interval of no width would say that nothing is doubtful
        one = {**one, **dict.fromkeys(names)}
    relative, level = one["relative"], levels.get(one["reference"])
    scale = one["effect"] / relative if relative else level["value"] if level else None
    if relative is None or not scale:
        return Sized(one, False, one["effect"], *(one[name] for name in names))
    return Sized(one, True, relative, *(None if one[name] is None else one[name] / scale for name in names))
