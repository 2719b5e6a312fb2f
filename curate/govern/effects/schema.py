"""The manifest's key ``tune``: what ``curate tune`` measured. The report and the datasheet are rendered from it.

Lower is better for losses, so an effect below zero is a gain there. ``relative`` effects are shares of the
reference arm's value (-0.02: 2 % less). Intervals are of 95 %. No record's text or id stands in it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

Verdict: TypeAlias = Literal["helps", "hurts", "shift", "unconfirmed", "undetected"]
"""helps, hurts: significant after Holm's correction on the primary metric, and confirmed where small · shift: a
gain on text that the filter accepts, none on the raw distribution · unconfirmed: significant, under 1 %, without a
second learning rate or base that agrees · undetected: no effect found; one of the minimum
detectable size is missed one time in five."""


class Estimate(TypedDict):
    """A mean over seeds."""

    value: float
    low: float | None
    high: float | None


class ArmTold(TypedDict):
    """One arm."""

    name: str
    kind: str
    stage: str | None
    records: int  # of the first seed
    tokens: int  # trained on, per run
    epochs: float
    metrics: dict[
        str, Estimate
    ]  # by metric; loss metrics by "<metric>@<set>": bpb@raw, bpb@accepted, bpb@eval, gap
    curve: list[float]  # training loss, nats per token, mean over seeds, at most 32 points


class Contrast(TypedDict):
    """One arm compared with another on one metric: declared before any run."""

    arm: str
    reference: str
    stage: str | None  # the filter it speaks of; null for a control
    question: Literal["alone", "removed", "whole", "size", "control", "privacy"]
    metric: str  # as in ArmTold.metrics
    primary: bool  # in the family that Holm's correction is over
    effect: float  # arm minus reference, so that below zero the arm has less; "removed": full minus without_<stage>
    relative: float | None
    low: float  # pooled arm + seed model
    high: float
    boot_low: float  # crossed bootstrap, seeds x units
    boot_high: float
    p: float
    holm: float | None  # where primary
    # Of both: null where no run differs from another, so that nothing is known of the noise.
    mde: (
        float | None
    )  # |relative| effect found with a power of 80 %; where there is no relative effect: absolute
    power: (
        float | None
    )  # to find an effect of 1 % (where none is relative: of 1 standard deviation over runs)
    second: NotRequired[dict[str, float]]  # {rate, relative, p} with the second learning rate or base


class FilterTold(TypedDict):
    """What to keep, what to question: one filter, ranked."""

    stage: str
    verdict: Verdict
    relative: float | None  # effect of having the filter on the primary metric: below zero it helps
    low: float | None
    high: float | None
    mde: float | None
    contrast: str  # "<arm> - <reference>", the one that the verdict rests on
    why: str  # one sentence
    alone: float | None  # relative effect of the filter alone against raw
    cpu_seconds: float | None  # that the stage took in the run


class Group(TypedDict):
    """Effect of a filter, or of all, on a part of the held-out text."""

    by: Literal["category", "language", "source"]
    name: str
    items: int
    contrast: str
    relative: float
    low: float
    high: float


class Control(TypedDict):
    """One thing that must come out right for the rest to be believed."""

    name: Literal["planted", "random_drop", "heldout", "calibration"]
    expected: str
    found: str
    passed: bool | None  # null: inconclusive, or not done


class Skipped(TypedDict):
    """A filter without arms of its own."""

    stage: str
    why: str


class Data(TypedDict):
    """What was trained and asked: counts of records."""

    raw: int  # records of the release as read, that can be trained on
    pool: int  # of these in arms: all, or a sample of whole clusters that fits the budget
    untrainable: int  # no response, or no text
    too_long: int  # the response is longer than a row
    heldout: dict[str, int]  # items per set
    heldout_sha256: str
    kept_out: int  # training records removed because they are near-duplicates of held-out items
    contaminated: int  # items removed because their passages stand in training records
    planted_rate: float | None
    canaries: int
    notes: list[str]


class Tune(TypedDict):
    """manifest["tune"]."""

    format: int  # 1
    root: str  # of the release that was measured
    base: dict[str, Any]  # name, parameters, sha256, kind (tiny|hub|path), trained_on (of tiny) …
    setup: dict[str, Any]  # curate.tuning.contract.Setup, seeds, executor
    data: Data
    primary: str  # the metric that verdicts rest on, as in ArmTold.metrics
    metrics: list[dict[str, Any]]  # curate.tuning.contract.Metric of every metric told, and its "set"
    arms: list[ArmTold]
    contrasts: list[Contrast]
    filters: list[FilterTold]  # ranked: what helps most first
    groups: list[Group]
    controls: list[Control]
    skipped: list[Skipped]
    limits: list[str]  # what can and cannot be concluded, in sentences
    noise: dict[str, float]  # residual_sd (share of primary), se, degrees
    calibration: NotRequired[dict[str, Any]]  # relabelled, false_positives, rate, low, high, variance_ratio
    adapters: list[dict[str, Any]]  # path in the release, arm, seed


class TuneTiming(TypedDict):
    """manifest["timing"]["tune"]: what differs between two tunes of the same thing."""

    wall_seconds: float
    base_seconds: float
    arms: dict[str, dict[str, float]]  # arm → CPU seconds: train, measure (sum over seeds)
    latency_ms_per_token: float | None  # of greedy answers, the same for all arms
