"""The rules of the pack ``quality``: which of them are asked of what, and where they fire."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate import rules
from curate.record import MESSAGES, Kind
from curate.rules import Rule
from curate.stages.scoring import quality_scores

Pack: TypeAlias = Literal["c4", "fineweb", "gopher", "instruction"]
DEFAULT: Mapping[Kind, tuple[Pack, ...]] = {"text": ("gopher", "fineweb"), "messages": ("instruction",)}
_KINDS: Mapping[str, Kind] = {"documents": "text", "conversations": "messages"}
_COMPARED = {
    "below": operator.lt,
    "at_most": operator.le,
    "above": operator.gt,
    "at_least": operator.ge,
}
_Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Asked:
    """A rule with its threshold."""

    rule: Rule
    threshold: float

    @property
    def compared(self) -> str:
        """Return how a score is compared with the threshold: below, at_most, above or at_least."""
        return next(name for name in _COMPARED if name in self.rule.data)

    def fires(self, scores: pa.StructArray, languages: pa.Array | None) -> _Mask:
        """Tell where a rule fires: [n]. languages: the records' ``fact:language``, None where nothing states it."""
        data = self.rule.data
        values = _column(scores, data["score"])
        with np.errstate(invalid="ignore"):
            found = _COMPARED[self.compared](values, self.threshold)
            for name, least in data.get("least", {}).items():
                found &= _column(scores, name) >= least
            for kind in data.get("not_for") or ():
                [(name, limit)] = rules.load("quality").data[kind].items()
                found &= ~(_column(scores, name) >= limit)
        if "languages" in data:
            told = None if languages is None else pc.is_in(languages, pa.array(data["languages"]))
            found &= False if told is None else told.to_numpy(zero_copy_only=False)
        return np.asarray(found, np.bool_)


def short(rule: Rule) -> str:
    """Return a rule's name in a recipe."""
    return rule.id.partition("/")[2]


@cache
def by_name() -> dict[str, Rule]:
    """Return the pack's rules by their names in a recipe, in their order."""
    return {short(rule): rule for rule in rules.load("quality").rules}


def threshold(rule: Rule) -> float:
    """Return the threshold that a rule's pack states."""
    return float(next(rule.data[name] for name in _COMPARED if name in rule.data))


def is_of(rule: Rule, kind: Kind) -> bool:
    """Tell whether a rule is asked of records of a kind."""
    return _KINDS[rule.data["of"]] == kind


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether a rule fires on a document (text, {repeat: [text, n]}), or a conversation of [role, content]."""
    if isinstance(example, list):
        turns = [{"role": role, "content": _text(content)} for role, content in example]
        batch = pa.record_batch({"messages": pa.array([turns], MESSAGES)})
    else:
        batch = pa.record_batch({"text": pa.array([_text(example)], pa.string())})
    languages = pa.array(rule.data.get("languages", [None])[:1], pa.string())
    return bool(Asked(rule, threshold(rule)).fires(quality_scores.scores(batch), languages)[0])


def _text(example: Any) -> str:
    if isinstance(example, dict):
        text, times = example["repeat"]
        return str(text) * int(times)
    return str(example)


def _column(scores: pa.StructArray, name: str) -> npt.NDArray[np.float64]:
    found = pc.fill_null(pc.struct_field(scores, name), float("nan"))
    return np.asarray(found.to_numpy(zero_copy_only=False), np.float64)
