"""What an analysis is of: the values that the runs left, as panels, and the comparisons that the arms are there for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from curate.errors import CurateError
from curate.tuning import inference
from curate.tuning.contract import Arm, Floats, Ints, Item, Metric
from curate.tuning.inference import Panel

Question: TypeAlias = Literal["alone", "removed", "whole", "size", "control", "privacy"]

PRIMARY = ("bpb@eval", "bpb@raw")  # the first that there is: the user's own text says best what is wanted
LEAST = 20  # independent texts; of fewer, an interval speaks of these rather than of others of their kind
SETS = ("raw", "accepted", "eval")
BY_ITEM = ("bpb", "exact")  # metrics of the held-out items; the second is told of the primary set
GAP = Metric(
    "gap", "Generalization gap", "bits per byte", "lower", "loss", about="held-out minus trained-on text"
)


class Declared(NamedTuple):
    """A comparison that the arms are there for."""

    arm: str
    reference: str
    stage: str | None
    question: Question


@dataclass(frozen=True)
class Study:
    """What an analysis is of. Values are [arms, seeds, units], in the order of ``arms`` and ``seeds``."""

    arms: Sequence[Arm]
    seeds: Sequence[int]
    values: Mapping[str, Floats]  # metric, as curate.tuning.measure names it
    weights: Mapping[str, Floats]  # [units]; 0: the unit is not counted
    metrics: Sequence[Metric]
    items: Sequence[Item]
    curves: Mapping[str, Sequence[Floats]] = field(default_factory=dict)  # arm → per seed, [steps]
    tokens: Mapping[str, int] = field(default_factory=dict)  # arm → trained on, per run
    epochs: Mapping[str, float] = field(default_factory=dict)
    cpu: Mapping[str, float] = field(default_factory=dict)  # stage → CPU seconds that it took in the run

    @cached_property
    def places(self) -> dict[str, int]:
        """Return each arm's place in the values."""
        return {arm.name: place for place, arm in enumerate(self.arms)}

    @cached_property
    def clusters(self) -> Ints:
        """Return a number per item, the same for items of one group or content: they are no independent evidence."""
        numbers: dict[Any, int] = {}
        names = [item.text.turns if item.group is None else item.group for item in self.items]
        return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)

    @cached_property
    def panels(self) -> dict[str, tuple[Panel, Metric, str | None]]:
        """Return every metric as it is told: name → panel, what it is, the set of items it is over."""
        return dict(_panels(self))

    @cached_property
    def primary(self) -> str:
        """Return the metric that verdicts rest on: the first of PRIMARY over enough texts, else that over most."""
        texts = self.texts
        if not texts:
            raise CurateError("no held-out item of the raw records, nor of a file of yours, was scored")
        return next((name for name in texts if texts[name] >= LEAST), max(texts, key=texts.__getitem__))

    @property
    def texts(self) -> dict[str, int]:
        """Return over how many independent texts each metric is that verdicts may rest on."""
        return {name: self.panels[name][0].units for name in PRIMARY if name in self.panels}


def declared(arms: Sequence[Arm]) -> list[Declared]:
    """Return the comparisons that a set of arms is there for, each pair of arms once."""
    names = {arm.name: arm for arm in arms}
    of = {(arm.kind, arm.stage): arm.name for arm in arms}
    stages = list(dict.fromkeys(arm.stage for arm in arms if arm.kind in ("alone", "without") and arm.stage))
    only = names["full"].stages[0] if "full" in names and len(names["full"].stages) == 1 else None
    asked = [Declared("full", of.get(("without", stage), ""), stage, "removed") for stage in stages]
    asked += [Declared(of.get(("alone", stage), ""), "raw", stage, "alone") for stage in stages]
    asked += [
        Declared("full", "raw", only, "whole"),
        Declared("full", "random_drop", None, "size"),
        Declared("random_drop", "raw", None, "control"),
        Declared("planted", "full", None, "control"),
        Declared("canary_scrubbed", "canary", None, "privacy"),
    ]
    return [one for one in asked if one.arm in names and one.reference in names]


def check(study: Study) -> None:
    """Raise CurateError for a value that is no number."""
    for name, values in study.values.items():
        if not np.isfinite(values).all():
            arm, seed, _ = np.argwhere(~np.isfinite(values))[0]
            raise CurateError(
                f"run of arm {study.arms[arm].name}, seed {study.seeds[seed]}: {name} is not a number: the training "
                f"diverged; tune with a lower learning rate (--rate)"
            )


def _panels(study: Study) -> Iterator[tuple[str, tuple[Panel, Metric, str | None]]]:
    known = {metric.name: metric for metric in study.metrics}
    masks = {name: np.array([name in item.sets for item in study.items], bool) for name in SETS}
    scored = next((name for name in ("eval", "raw") if masks[name].any()), "raw")
    parts = {}
    for name, values in study.values.items():
        metric = known.get(name) or Metric(name, name.removeprefix("task/"), "", "higher", "task")
        weights = np.asarray(study.weights[name], float)
        sets = SETS if name == "bpb" else (scored,) if name in BY_ITEM else (None,)
        for of in sets:
            mask = masks[of] if of else np.ones(len(weights), bool)
            held = inference.part(values, weights * mask, study.clusters if of else None)
            if held is not None:
                label = f"{name}@{of}" if name == "bpb" else name
                parts[label] = held
                yield label, (Panel((held,)), metric, of)
    if "bpb@raw" in parts and "train_bpb" in parts:
        gap = Panel((parts["bpb@raw"], parts["train_bpb"]))
        yield "gap", (gap, known.get("gap", GAP), None)
