"""The 52 questions of Datasheets for Datasets, and what a release answers to each.

Source of the questions: T. Gebru et al., Datasheets for Datasets, arXiv 1803.09010, version 7.
"""

from __future__ import annotations

import functools
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from curate.govern.datasheet import assisted, declared, measured
from curate.govern.datasheet.blocks import Line, Strong
from curate.govern.datasheet.values import Held, Value, at, sha256, show

State: TypeAlias = Literal["measured", "derived", "declared", "not_applicable", "unanswered"]
STATES: dict[State, str] = {
    "measured": "answered by the run alone",
    "declared": "answered by a person",
    "derived": "the run gives the numbers; a person's sentence is missing",
    "not_applicable": "does not apply, a person says",
    "unanswered": "not answered",
}
SECTIONS = {  # first part of a question's id → the paper's heading
    "motivation": "Motivation",
    "composition": "Composition",
    "collection": "Collection process",
    "preprocessing": "Preprocessing/cleaning/labeling",
    "uses": "Uses",
    "distribution": "Distribution",
    "maintenance": "Maintenance",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question: by whom it can be answered, and who is asked where nobody is named."""

    id: str
    question: str
    more: str
    by: Literal["pipeline", "both", "person"]
    owner: str

    @property
    def section(self) -> str:
        """Return the paper's heading."""
        return SECTIONS[self.id.partition("-")[0]]


@dataclass(frozen=True, slots=True)
class Answered:
    """A question with its answer. evidence_sha256 tells whether a person's words still fit the numbers."""

    question: Question
    state: State
    measured: tuple[Line, ...]  # what the run, the recipe or the sources say
    given: Held | None  # the person's entry in the manifest
    owner: str | Value
    evidence: tuple[tuple[str, str], ...]  # JSON pointer, SHA-256 of the value's canonical JSON
    stale: bool

    @property
    def text(self) -> str | None:
        """Return the answer as plain text: the person's words first; None if there is none."""
        said = [] if self.given is None else [str(self.given.value["text"]).strip()]
        found = "\n".join([*said, *(plain(line) for line in self.measured)])
        return found or None


@functools.cache
def catalogue() -> dict[str, Question]:
    """Return the questions by id, in the paper's order."""
    with (Path(__file__).parent / "questions.toml").open("rb") as file:
        held = tomllib.load(file)["question"]
    return {
        one["id"]: Question(one["id"], one["question"], one.get("more", ""), one["by"], one["owner"])
        for one in held
    }


def answered(manifest: Mapping[str, Any]) -> list[Answered]:
    """Return every question with its answer."""
    m = Held(manifest)
    return [_answered(question, m) for question in catalogue().values()]


def tally(manifest: Mapping[str, Any]) -> Counter[str]:
    """Return how many questions are in which state."""
    return Counter(one.state for one in answered(manifest))


def evidence_sha256(question: Question, manifest: Mapping[str, Any]) -> str | None:
    """Return the hash over a question's evidence: its pointers and what stands there; None if it has none."""
    evidence = _evidence(_lines(question, Held(manifest)), manifest)
    return sha256(evidence) if evidence else None


def _answered(question: Question, m: Held) -> Answered:
    lines = _lines(question, m)
    evidence = _evidence(lines, m.value)
    given = m.get("answers", question.id)
    state: State
    if question.by == "pipeline":
        state = "measured"
    elif given is not None:
        state = "not_applicable" if given.value.get("not_applicable") else "declared"
    elif question.by == "both":
        state = "derived"
    else:
        state = "declared" if lines else "unanswered"
    noted = None if given is None else given.value.get("evidence_sha256")
    stale = noted is not None and noted != (sha256(evidence) if evidence else None)
    return Answered(question, state, lines, given, _owner(question, m), evidence, stale)


def _lines(question: Question, m: Held) -> tuple[Line, ...]:
    makers = {**measured.ANSWERS, **assisted.ANSWERS, **declared.ANSWERS}
    return tuple(makers[question.id](m)) if question.id in makers else ()


def _owner(question: Question, m: Held) -> str | Value:
    for named in (m.get("owners", question.id), m.get("owners", "*")):
        if named:
            return show(named)
    return question.owner


def _evidence(lines: tuple[Line, ...], manifest: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return each pointer once, in the order of the answer, with the hash of what stands there, if anything does."""
    pointers = dict.fromkeys(pointer for line in lines for part in line for pointer in _pointers(part))
    return tuple(
        (pointer, sha256(held)) for pointer in pointers if (held := _there(manifest, pointer)) is not None
    )


def _pointers(part: object) -> tuple[str, ...]:
    if isinstance(part, Strong):
        return tuple(pointer for inner in part.parts for pointer in _pointers(inner))
    return part.pointers if isinstance(part, Value) else ()


def _there(manifest: Mapping[str, Any], pointer: str) -> Any:
    try:
        return at(manifest, pointer)
    except (KeyError, IndexError):
        return None  # a zero for what is missing


def plain(line: Line) -> str:
    """Return a line as plain text: without the marks in this project's own words."""
    return "".join(
        _plain(inner) for part in line for inner in (part.parts if isinstance(part, Strong) else (part,))
    )


def _plain(part: str | Value) -> str:
    return part.replace("**", "").replace("`", "") if isinstance(part, str) else part.text
