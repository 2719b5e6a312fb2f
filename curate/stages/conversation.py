"""Stage ``conversation``: turns that are empty, missing, out of order, damaged or not what they seem.

The checks and their examples are the rule pack ``rules/conversation.yaml``. Damage that can be undone with certainty
is undone first (:mod:`curate.stages.conversing.repairs`), in documents and rejected replies too; the other rules judge
what is left. Of a batch of documents only the rules with ``documents: true`` are asked. Evidence names the first turn
concerned (from 0), its role and how many turns of the record the rule found; never a word of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from pydantic import Field, field_validator

from curate import record, rules
from curate.io.cells import json_text, pylist
from curate.record import MESSAGES, MESSAGES_EXTRA, REJECTED, TURN, Batch
from curate.rules import Rule, did_you_mean
from curate.stage import Decision, StageOptions, Verdict
from curate.stages.conversing import pairs as _pairs
from curate.stages.conversing import toolcalls
from curate.stages.conversing.mending import mended_batch
from curate.stages.conversing.repairs import REPAIRS
from curate.stages.conversing.turnrules import Found, conversations
from curate.stages.conversing.turns import Turns, anywhere, blank, found, series

Override: TypeAlias = Literal["edit", "drop", "quarantine", "flag", "keep"]

_EMPTY_TEXT = "conversation/empty-text"
_TOOLS = "tools"  # the column with the declarations of tools, where a source has one


class Conversation:
    """Judges conversations by the rule pack; see the module's docstring."""

    name: ClassVar[str] = "conversation"
    version: ClassVar[str] = "2"
    rules: ClassVar[tuple[str, ...]] = ("conversation",)

    class Options(StageOptions):
        """What becomes of the records that a rule finds."""

        actions: dict[str, Override] = Field(
            default_factory=dict,
            description="another action than the pack's for a rule, by the rule's name: "
            "{role-leakage: drop}; keep switches the rule off, edit undoes what a repair finds",
        )
        repair: bool = Field(
            True, description="undo damage that is certain; otherwise it is only flagged, by the same rules"
        )

        @field_validator("actions")
        @classmethod
        def _known(cls, value: dict[str, Override]) -> dict[str, Override]:
            known = [_short(rule) for rule in rules.load("conversation").rules]
            for name, action in value.items():
                if name not in known:
                    hint = did_you_mean(name, known) or f"; rules: {', '.join(known)}"
                    raise ValueError(f"no rule {name!r}{hint}")
                if action == "edit" and f"conversation/{name}" not in REPAIRS:
                    raise ValueError(
                        f"{name!r} mends nothing, so it cannot be 'edit'; "
                        "allowed: 'drop', 'quarantine', 'flag' or 'keep'"
                    )
            return value

    def __init__(self, options: Options) -> None:
        self.options = options

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record; the rules run over all turns of the batch at once."""
        asked = [
            (rule, action) for rule in rules.load("conversation").rules if (action := self._action(rule))
        ]
        repairs = {rule.id: action == "edit" for rule, action in asked if rule.id in REPAIRS}
        after = mended_batch(batch, repairs)
        by_rule: dict[str, list[tuple[int, Mapping[str, Any] | None]]] = {}
        for name, row, told in after.found:
            by_rule.setdefault(name, []).append((row, told))
        batch = batch if after.content is None else record.with_content(batch, after.content)
        for column, values in after.beside.items():
            batch = record.with_column(batch, column, values)
        for name, row, evidence in _found_in(batch, [rule for rule, _ in asked if rule.id not in REPAIRS]):
            by_rule.setdefault(name, []).append((row, evidence))
        decisions = [
            Decision(row, action, rule.id, None, evidence)
            for rule, action in asked
            for row, evidence in by_rule.get(rule.id, ())
        ]
        return Verdict.of(batch.num_rows, decisions, after.content, beside=after.beside or None)

    def _action(self, rule: Rule) -> Override | None:
        """Return what becomes of what a rule finds; None where it is not asked."""
        action: Override = self.options.actions.get(_short(rule), rule.data["action"])
        if action == "edit" and not self.options.repair:
            action = "flag"
        return None if action == "keep" else action


def _found_in(batch: Batch, asked: list[Rule]) -> Iterator[tuple[str, int, Mapping[str, Any] | None]]:
    """Yield rule, record and evidence of everything that the rules find, apart from damage that can be undone."""
    if record.kind(batch) == "text":
        for rule in (rule for rule in asked if rule.data.get("documents")):
            yield from ((rule.id, row, evidence) for row, evidence in _documents(batch, rule))
        return
    turns = Turns.of(batch)
    for rule, rows in conversations(turns, asked):
        yield from ((rule.id, row, evidence) for row, evidence in rows)
    names = {rule.id for rule in asked}
    if turns.extra and names & set(toolcalls.RULES):
        yield from (one for one in _calls(batch, turns) if one[0] in names)
    if names & set(_pairs.RULES):
        yield from (one for one in _pairs.pairs(batch) if one[0] in names)


def _documents(batch: Batch, rule: Rule) -> Found:
    texts = series(record.turns(batch)[0])
    if rule.id != _EMPTY_TEXT and not anywhere(texts, rule.data["pattern"])[0]:
        return ()
    hits = blank(texts) if rule.id == _EMPTY_TEXT else found(texts, rule.data["pattern"])
    return ((int(row), None) for row in np.flatnonzero(hits))


def _calls(batch: Batch, turns: Turns) -> Iterator[tuple[str, int, Mapping[str, Any]]]:
    """Yield what is wrong with the calls of tools; only records whose turns have further keys are looked at."""
    declared: list[str | None] = [None] * batch.num_rows
    if _TOOLS in batch.schema.names:
        column = batch.column(_TOOLS)
        rows = list(turns.extra)
        values = pylist(column.take(pa.array(rows, pa.int64())))
        for row, value in zip(rows, values, strict=True):
            if value:
                declared[row] = value if isinstance(value, str) else json_text(toolcalls.without_nulls(value))
    for row, extra in turns.extra.items():
        said = record.content(batch)[row].as_py() or []
        roles, contents = [turn["role"] for turn in said], [turn["content"] or "" for turn in said]
        for rule, evidence in toolcalls.check(roles, contents, extra, declared[row]):
            yield rule, row, evidence


def matches(rule: Rule, example: Any) -> bool:
    """Tell whether the rule finds something in an example of the pack.

    An example is a conversation of [role, content] pairs, a third item of a pair being the turn's further keys; a
    mapping of such a conversation (messages) and what stands beside it (tools, rejected); or a document's text.
    """
    if isinstance(example, str) or (example is None and rule.data.get("documents")):
        batch = pa.record_batch({"text": pa.array([example], pa.string())})
    else:
        batch = _batch_of(example if isinstance(example, Mapping) else {"messages": example})
    if rule.id in REPAIRS:
        return any(name == rule.id for name, _, _ in mended_batch(batch, {rule.id: False}).found)
    return any(True for _ in _found_in(batch, [rule]))


def _batch_of(example: Mapping[str, Any]) -> Batch:
    def turns(listed: Any) -> Any:
        return None if listed is None else [dict(zip(TURN.names, one, strict=False)) for one in listed]

    keys = [one[2] if len(one) > 2 else None for one in example["messages"] or ()]
    columns = {"messages": pa.array([turns(example["messages"])], MESSAGES)}
    if any(keys):
        columns[MESSAGES_EXTRA] = pa.array([orjson.dumps(keys).decode()], pa.string())
    if "rejected" in example:
        columns[REJECTED] = pa.array([turns(example["rejected"])], MESSAGES)
    if _TOOLS in example:
        columns[_TOOLS] = pa.array([json_text(example[_TOOLS])], pa.string())
    return pa.record_batch(columns)


def _short(rule: Rule) -> str:
    return rule.id.partition("/")[2]
