"""Calls of tools and preference pairs in the stage conversation."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa
import pytest
from reference import toolcalls as slow

from curate.record import MESSAGES
from curate.stages.conversation import Conversation
from curate.stages.conversing import toolcalls as _toolcalls
from curate.stages.conversing import toolschemas as _toolschemas

CLOCK = {
    "type": "function",
    "function": {
        "name": "clock",
        "parameters": {
            "type": "object",
            "properties": {"zone": {"type": "string", "pattern": "^[A-Z]+$"}, "day": {"type": "integer"}},
            "required": ["zone"],
            "additionalProperties": False,
        },
    },
}
ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def call(name: Any, arguments: Any, id: str | None = None) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"type": "function", "function": function, **({"id": id} if id else {})}


def record_of(turns: list[tuple[str, str, Any]], tools: Any = None) -> pa.RecordBatch:
    columns = {
        "id": pa.array(["s/0"]),
        "messages": pa.array([[{"role": role, "content": text} for role, text, _ in turns]], MESSAGES),
        "messages_extra": pa.array([json.dumps([keys for _, _, keys in turns])]),
    }
    if tools is not None:
        columns["tools"] = tools if isinstance(tools, pa.Array) else pa.array([json.dumps(tools)])
    return pa.record_batch(columns)


def reasons(batch: pa.RecordBatch) -> dict[str, str]:
    """Return what the stage says of a batch's only record: rule → action."""
    verdict = Conversation(Conversation.Options()).judge(batch)
    verdict.check("conversation", batch)
    found = (
        {} if verdict.reason[0].as_py() is None else {verdict.reason[0].as_py(): verdict.action[0].as_py()}
    )
    found |= {decision.reason: decision.action for decision in verdict.also}
    return {name.removeprefix("conversation/"): action for name, action in found.items()}


def asked(*calls: dict[str, Any], tools: Any = None) -> dict[str, str]:
    return reasons(
        record_of([("user", "Time?", None), ("assistant", "", {"tool_calls": list(calls)})], tools)
    )


def test_arguments_may_be_text_or_an_object_and_neither_is_changed() -> None:
    for arguments in ('{"zone": "CET"}', {"zone": "CET"}, {"zone": "CET", "day": None}):
        assert asked(call("clock", arguments), tools=[CLOCK]) == {}
    assert asked(call("clock", '{"zone": "CET", "day": null}'), tools=[CLOCK]) == {
        "invalid-arguments": "flag"
    }
    assert asked(call("clock", {"zone": "cet"}), tools=[CLOCK]) == {"invalid-arguments": "flag"}


def test_declarations_in_a_nested_column_are_read_like_json_text() -> None:
    bare = [{"name": "clock", "parameters": {"type": "object", "required": ["zone"]}}]
    nested = pa.array([[{**bare[0], "strict": None}]])
    for tools in (bare, bare[0], [json.dumps(bare[0])], nested):
        assert asked(call("clock", "{}"), tools=tools) == {"invalid-arguments": "flag"}
        assert asked(call("clock", '{"zone": 1}'), tools=tools) == {}


@pytest.mark.parametrize(
    "parameters",
    [
        {"type": "dict"},
        "text",
        {"properties": {"zone": {"$ref": "#/nowhere"}}},
        {"properties": {"zone": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"$ref": "#"},
        {"properties": 3},
        {"$schema": "http://json-schema.org/draft-03/schema#", "type": "text"},
        json.loads('{"properties": {"zone": ' * 400 + "true" + "}}" * 400),
    ],
)
def test_a_broken_schema_is_a_finding_and_never_reaches_out(parameters: Any) -> None:
    tools = [{"name": "clock", "parameters": parameters}]
    assert asked(call("clock", '{"zone": 1}'), tools=tools) == {"broken-tools": "flag"}


def test_patterns_of_a_schema_run_in_linear_time() -> None:
    evil = {
        "properties": {"zone": {"pattern": "^(a+)+$"}},
        "patternProperties": {"^(b+)+$": {"type": "null"}},
    }
    arguments = {"zone": "a" * 5000 + "!", "b" * 5000 + "!": None}
    tools = [{"name": "clock", "parameters": evil}]
    assert asked(call("clock", json.dumps(arguments)), tools=tools) == {"invalid-arguments": "flag"}


def test_what_a_schema_asks_for_is_bounded() -> None:
    doubling = {f"a{i}": {"allOf": [{"$ref": f"#/$defs/a{i + 1}"}] * 2} for i in range(20)}
    bomb = {"$ref": "#/$defs/a0", "$defs": {**doubling, "a20": {}}}
    tools = [{"name": "clock", "parameters": bomb}]
    assert asked(call("clock", "{}"), tools=tools) == {"broken-tools": "flag"}
    tools = [{"name": "clock", "parameters": {"properties": {"days": {"uniqueItems": True}}}}]
    days = [{"day": n} for n in range(3000)]
    assert asked(call("clock", json.dumps({"days": days})), tools=tools) == {}
    twice = [*days, {"day": 7.0}]
    assert asked(call("clock", json.dumps({"days": twice})), tools=tools) == {"invalid-arguments": "flag"}


def test_a_result_whose_name_is_no_text_names_no_tool() -> None:
    turns = [("user", "Time?", None), ("assistant", "", {"tool_calls": [call("clock", "{}")]})]
    named: list[tuple[str, str, Any]] = [("tool", "12", {"name": ["clock"]}), ("assistant", "Noon.", None)]
    assert reasons(record_of([*turns, *named])) == {}


def test_a_schema_is_made_ready_once() -> None:
    before = _toolschemas._compiled.cache_info().misses
    for _ in range(5):
        asked(call("unique", "{}"), tools=[{"name": "unique", "parameters": {"title": "made ready once"}}])
    assert _toolschemas._compiled.cache_info().misses == before + 1


def test_calls_without_ids_are_matched_by_count_and_name() -> None:
    two = {"tool_calls": [call("clock", "{}"), call("add", "{}")]}
    start = [("user", "Time?", None), ("assistant", "", two)]
    end = [("assistant", "Noon.", None)]
    assert reasons(record_of([*start, ("tool", "1", None), ("tool", "2", None), *end])) == {}
    assert reasons(record_of([*start, ("tool", '["1", "2"]', None), *end])) == {}
    assert reasons(record_of([*start, ("tool", "1", None), *end])) == {"unanswered-call": "flag"}
    named: list[tuple[str, str, Any]] = [("tool", "1", {"name": "add"}), ("tool", "2", {"name": "clock"})]
    assert reasons(record_of([*start, *named, *end])) == {}
    named[0] = ("tool", "1", {"name": "other"})
    assert reasons(record_of([*start, *named, *end])) == {"unasked-result": "flag"}


def test_random_records_with_ids_are_judged_as_the_slow_twin_judges_them() -> None:
    rng = random.Random(11)
    arguments = [
        '{"zone": "CET"}',
        '{"zone": "cet"}',
        "{}",
        '{"zone": "CET", "day": "x"}',
        "[1]",
        "{",
        '{"x": 1}',
    ]
    for _ in range(400):
        roles, extra = ["user"], list[dict[str, Any] | None]([None])
        for _ in range(rng.randrange(1, 4)):
            ids = [rng.choice("abcd") for _ in range(rng.randrange(3))]
            calls = [call(rng.choice(["clock", "add", "watch", ""]), rng.choice(arguments), id) for id in ids]
            roles.append("assistant")
            extra.append({"tool_calls": calls} if calls else None)
            for _ in range(rng.randrange(3) if calls else 0):
                roles.append("tool")
                extra.append({"tool_call_id": rng.choice("abcd")})
            roles.append("user")
            extra.append(None)
        tools = rng.choice([[], [CLOCK], [CLOCK, ADD]])
        found = _toolcalls.check(roles, [""] * len(roles), extra, json.dumps(tools))
        assert {one.rule: one.evidence["count"] for one in found} == slow.check(roles, extra, tools)


def test_evidence_of_calls_holds_no_word_of_them() -> None:
    batch = record_of(
        [("user", "Time?", None), ("assistant", "", {"tool_calls": [call("secret", '{"secret": ')]})], [CLOCK]
    )
    verdict = Conversation(Conversation.Options()).judge(batch)
    assert json.loads(verdict.evidence[0].as_py()) == {"turn": 1, "count": 1}


def test_replies_that_differ_in_their_calls_are_not_the_same() -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": ""}]
    calls = [{"tool_calls": [call("clock", argument)]} for argument in ('{"zone": "CET"}', '{"zone": "EET"}')]
    batch = pa.record_batch(
        {
            "id": pa.array(["s/0", "s/1"]),
            "messages": pa.array([said] * 2, MESSAGES),
            "messages_extra": pa.array([json.dumps([None, calls[0]])] * 2),
            "rejected": pa.array([said[1:]] * 2, MESSAGES),
            "rejected_extra": pa.array([json.dumps([one]) for one in calls]),
        }
    )
    verdict = Conversation(Conversation.Options()).judge(batch)
    assert verdict.reason.to_pylist() == ["conversation/same-replies", None]


def test_pairs_are_judged_beside_their_messages() -> None:
    said = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}]
    replies: list[Any] = [
        None,
        [{"role": "assistant", "content": "no"}],
        [{"role": "assistant", "content": " yes\n"}],
        [{"role": "assistant", "content": "\u200b"}],
        [],
        [{"role": "user", "content": "no"}],
    ]
    batch = pa.record_batch(
        {
            "id": pa.array([f"s/{i}" for i in range(len(replies))]),
            "messages": pa.array([said] * len(replies), MESSAGES),
            "rejected": pa.array(replies, MESSAGES),
        }
    )
    verdict = Conversation(Conversation.Options()).judge(batch)
    verdict.check("conversation", batch)
    assert [(a, r and r.partition("/")[2]) for a, r in zip(
        verdict.action.to_pylist(), verdict.reason.to_pylist(), strict=True
    )] == [
        ("keep", None),
        ("keep", None),
        ("drop", "same-replies"),
        ("quarantine", "empty-rejected"),
        ("quarantine", "empty-rejected"),
        ("drop", "rejected-no-reply"),
    ]  # fmt: skip
