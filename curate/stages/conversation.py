"""Stage ``conversation``: turns that are empty, missing, out of order or not what they seem.

The checks and their examples are the rule pack ``rules/conversation.yaml``. Of a batch of documents only the
rule ``empty-text`` is asked. Evidence names the first turn concerned (from 0), its role and how many turns of
the record the rule found; never a word of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate import record, rules
from curate.record import MESSAGES, ROLES, Batch
from curate.rules import Rule, did_you_mean
from curate.stage import Decision, StageOptions, Verdict

Override: TypeAlias = Literal["drop", "quarantine", "flag", "keep"]
_Mask: TypeAlias = npt.NDArray[np.bool_]
_Finder: TypeAlias = Callable[["_Turns", Rule], _Mask]

_SYSTEM, _USER, _ASSISTANT, _TOOL = range(len(ROLES))
_START = len(ROLES)  # stands before the first turn of every record
_DOCUMENT_RULE = "conversation/empty-text"
_RECORD_RULE = "conversation/no-response"  # finds records; every other rule finds turns


@dataclass(frozen=True, slots=True)
class _Turns:
    """Every turn of a batch, flat. Masks and roles are [turns]; turn t belongs to record owner[t]."""

    text: pa.StringArray
    role: npt.NDArray[np.int64]  # position in ROLES, -1 for any other
    before: npt.NDArray[np.int64]  # role of the turn before it in the record, _START for the first
    owner: npt.NDArray[np.int64]
    place: npt.NDArray[np.int64]  # position in its record, from 0
    last: _Mask
    blank: _Mask
    records: int

    @classmethod
    def of(cls, batch: Batch) -> _Turns:
        text, offsets = record.turns(batch)
        lengths = np.diff(offsets)
        roles = pc.struct_field(record.content(batch).flatten(), "role")
        role = pc.fill_null(pc.index_in(roles, pa.array(ROLES)), -1).to_numpy().astype(np.int64)
        place = np.arange(len(text)) - np.repeat(offsets[:-1], lengths)
        owner = np.repeat(np.arange(batch.num_rows), lengths)
        last = place == lengths[owner] - 1
        before = np.where(place == 0, _START, np.roll(role, 1))
        blank = _found(text, rules.load("conversation").data["blank"])
        return cls(text, role, before, owner, place, last, blank, batch.num_rows)

    def by(self, *roles: int) -> _Mask:
        """[turns] whether the turn has one of the roles."""
        return np.isin(self.role, roles)

    def after(self, *roles: int) -> _Mask:
        """[turns] whether the turn before it in the record has one of the roles."""
        return np.isin(self.before, roles)

    @property
    def answered(self) -> _Mask:
        """[records] whether the assistant has a turn, empty or not."""
        return np.bincount(self.owner[self.by(_ASSISTANT)], minlength=self.records) > 0


class Conversation:
    """Judges conversations by the rule pack; see the module's docstring."""

    name: ClassVar[str] = "conversation"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ("conversation",)

    class Options(StageOptions):
        """What becomes of the records that a rule finds."""

        actions: dict[str, Override] = Field(
            default_factory=dict,
            description="another action than the pack's for a rule, by the rule's name: "
            "{role-leakage: drop}; keep switches the rule off",
        )

        @field_validator("actions")
        @classmethod
        def _known(cls, value: dict[str, Override]) -> dict[str, Override]:
            known = [_short(rule) for rule in rules.load("conversation").rules]
            for name in value:
                if name not in known:
                    hint = did_you_mean(name, known) or f"; rules: {', '.join(known)}"
                    raise ValueError(f"no rule {name!r}{hint}")
            return value

    def __init__(self, options: Options) -> None:
        self.options = options

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record; the rules run over all turns of the batch at once."""
        asked = [(rule, self._action(rule)) for rule in rules.load("conversation").rules]
        asked = [(rule, action) for rule, action in asked if action != "keep"]
        decisions: list[Decision] = []
        turns = None if record.kind(batch) == "text" else _Turns.of(batch)
        for rule, action in asked:
            found = _documents(batch, rule) if turns is None else _conversations(turns, rule)
            decisions += (Decision(row, action, rule.id, None, evidence) for row, evidence in found)
        return Verdict.of(batch.num_rows, decisions)

    def _action(self, rule: Rule) -> Override:
        action: Override = self.options.actions.get(_short(rule), rule.data["action"])
        return action


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether the rule finds something in a conversation of [role, content] pairs, or in a text."""
    if rule.id == _DOCUMENT_RULE:
        return any(_documents(pa.record_batch({"text": pa.array([example], pa.string())}), rule))
    turns = None if example is None else [{"role": role, "content": content} for role, content in example]
    batch = pa.record_batch({"messages": pa.array([turns], MESSAGES)})
    return any(_conversations(_Turns.of(batch), rule))


_Found: TypeAlias = Iterable[tuple[int, Mapping[str, Any] | None]]  # record, evidence


def _documents(batch: Batch, rule: Rule) -> _Found:
    if rule.id != _DOCUMENT_RULE:
        return ()
    blank = _found(record.turns(batch)[0], rules.load("conversation").data["blank"])
    return ((int(row), None) for row in np.flatnonzero(blank))


def _conversations(turns: _Turns, rule: Rule) -> _Found:
    """Yield the records a rule finds, in order, with its evidence."""
    if rule.id == _RECORD_RULE:
        lengths = np.bincount(turns.owner, minlength=turns.records)
        return ((int(row), {"turns": int(lengths[row])}) for row in np.flatnonzero(~turns.answered))
    if rule.id == _DOCUMENT_RULE:
        return ()
    return _by_record(turns, rule, np.flatnonzero(_FINDERS[rule.id](turns, rule)))


def _by_record(
    turns: _Turns, rule: Rule, hits: npt.NDArray[np.int64]
) -> Iterator[tuple[int, dict[str, Any]]]:
    owners, firsts, counts = np.unique(turns.owner[hits], return_index=True, return_counts=True)
    for owner, first, count in zip(owners, firsts, counts, strict=True):
        turn = hits[first]
        role = turns.role[turn]
        evidence: dict[str, Any] = {
            "turn": int(turns.place[turn]),
            "role": ROLES[role] if role >= 0 else None,  # an unknown role may be anything, even text
            "count": int(count),
        }
        if "patterns" in rule.data:
            inside = turns.text.take(hits[first : first + count])
            evidence["patterns"] = [k for k, v in rule.data["patterns"].items() if _found(inside, v).any()]
        yield int(owner), evidence


# --- the rules: each answers which turns it finds ---------------------------------------------------------


def _empty_response(turns: _Turns, rule: Rule) -> _Mask:
    calls_tool = np.roll(turns.by(_TOOL) & ~turns.after(_START), -1)
    return turns.by(_ASSISTANT) & turns.blank & ~calls_tool


def _empty_turn(turns: _Turns, rule: Rule) -> _Mask:
    return turns.by(_USER, -1) & turns.blank


def _empty_system(turns: _Turns, rule: Rule) -> _Mask:
    return turns.by(_SYSTEM) & turns.blank


def _unknown_role(turns: _Turns, rule: Rule) -> _Mask:
    return turns.by(-1)


def _role_order(turns: _Turns, rule: Rule) -> _Mask:
    names = (*ROLES, "start")
    # Beside an unknown role, which has a rule of its own, any order passes: -1 is the last row and column.
    allowed = np.ones((len(names) + 1, len(ROLES) + 1), dtype=bool)
    for before, after in rule.data["follows"].items():
        allowed[names.index(before), : len(ROLES)] = [role in after for role in ROLES]
    return np.logical_not(allowed[turns.before, turns.role])


def _placeholder(turns: _Turns, rule: Rule) -> _Mask:
    return turns.by(_ASSISTANT) & _found(turns.text, rule.data["pattern"])


def _echo(turns: _Turns, rule: Rule) -> _Mask:
    found = turns.by(_ASSISTANT) & turns.after(_USER)
    pairs = np.flatnonzero(found)
    said = pc.utf8_trim_whitespace(turns.text.take(pairs))
    asked = pc.utf8_trim_whitespace(turns.text.take(pairs - 1))
    long_enough = pc.greater_equal(pc.utf8_length(said), rule.data["min_characters"])
    found[pairs] = pc.and_(pc.equal(said, asked), long_enough).to_numpy(zero_copy_only=False)
    return found


def _starts_with_assistant(turns: _Turns, rule: Rule) -> _Mask:
    return turns.by(_ASSISTANT) & (turns.after(_START) | (turns.after(_SYSTEM) & np.isin(turns.place, 1)))


def _ends_without_assistant(turns: _Turns, rule: Rule) -> _Mask:
    return turns.last & ~turns.by(_ASSISTANT) & turns.answered[turns.owner]


def _role_leakage(turns: _Turns, rule: Rule) -> _Mask:
    return _found(turns.text, "|".join(f"(?:{pattern})" for pattern in rule.data["patterns"].values()))


_FINDERS: dict[str, _Finder] = {
    "conversation/empty-response": _empty_response,
    "conversation/empty-turn": _empty_turn,
    "conversation/unknown-role": _unknown_role,
    "conversation/role-order": _role_order,
    "conversation/placeholder-response": _placeholder,
    "conversation/echoed-response": _echo,
    "conversation/empty-system": _empty_system,
    "conversation/starts-with-assistant": _starts_with_assistant,
    "conversation/ends-without-assistant": _ends_without_assistant,
    "conversation/role-leakage": _role_leakage,
}


def _found(texts: pa.StringArray, pattern: str) -> _Mask:
    """[n] whether the pattern (RE2) is found in each text, none of them null."""
    found: _Mask = pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)
    return found


def _short(rule: Rule) -> str:
    return rule.id.partition("/")[2]
