"""What a record says beside its turns' contents: calls of tools, the reply that lost; and how edits reach it."""

from __future__ import annotations

import orjson
import pyarrow as pa
import pytest

from curate import record
from curate.careful import joined
from curate.errors import StageError
from curate.record import CALLS, CONTENT, MESSAGES, REPLY
from curate.stage import Decision, Verdict

ASKED = [{"role": "user", "content": "Time?"}, {"role": "assistant", "content": ""}]
CALL = [
    None,
    {"tool_calls": [{"id": "x1", "function": {"name": "clock", "arguments": '{"b": 1, "a": "CET"}'}}]},
]
REJECTED = [{"role": "assistant", "content": "No idea."}]


def batch(extra: list[str | None], rejected: list[object]) -> pa.RecordBatch:
    columns = {
        "id": pa.array([f"s/{i}" for i in range(len(extra))]),
        "messages": pa.array([ASKED] * len(extra), MESSAGES),
        "messages_extra": pa.array(extra, pa.string()),
        "rejected": pa.array(rejected, MESSAGES),
    }
    return pa.RecordBatch.from_pydict(columns)


def test_utterances_hold_turns_then_calls_then_the_rejected_reply() -> None:
    found = record.utterances(batch([None, orjson.dumps(CALL).decode()], [None, REJECTED]))
    assert found.text.to_pylist() == ["Time?", "", "Time?", "", 'clock({"a":"CET","b":1})', "No idea."]
    assert found.offsets.tolist() == [0, 2, 6]
    assert found.part.tolist() == [CONTENT, CONTENT, CONTENT, CONTENT, CALLS, REPLY]
    assert found.turn.tolist() == [0, 1, 0, 1, 1, 0]
    assert found.role.to_pylist() == ["user", "assistant", "user", "assistant", "assistant", "assistant"]


def test_utterances_of_plain_records_are_their_turns() -> None:
    plain = batch([None, None], [None, None])
    flat, offsets = record.turns(plain)
    found = record.utterances(plain)
    assert (found.text.equals(flat), found.offsets.tolist()) == (True, offsets.tolist())
    texts = record.utterances(pa.RecordBatch.from_pydict({"text": pa.array(["a", None])}))
    assert (texts.text.to_pylist(), texts.role.to_pylist()) == (["a", ""], [None, None])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"function_call": {"name": "f", "arguments": "{}"}}, "f({})"),
        ({"tool_calls": [{"name": "f", "arguments": {"x": [1]}}]}, 'f({"x":[1]})'),
        ({"tool_calls": [{"function": {"name": "f", "arguments": "not JSON"}}]}, "f(not JSON)"),
        ({"tool_calls": None, "name": "n"}, ""),
        ({"tool_calls": "weird"}, "None(weird)"),
        ({"function_call": {"name": "f", "arguments": "[" * 300 + "]" * 300}}, f"f({'[' * 300 + ']' * 300})"),
    ],
)
def test_calls_are_told_without_their_ids(keys: dict[str, object], told: str) -> None:
    assert record.told_calls(keys) == told


def test_an_edit_beside_the_content_must_fit_its_column_and_survives_joining() -> None:
    both = batch([None, orjson.dumps(CALL).decode()], [None, REJECTED])
    first, second = both.slice(0, 1), both.slice(1, 1)
    scrubbed = pa.array([None], pa.string())
    edit = Verdict.of(
        1, [Decision(0, "edit", "s/x")], second.column("messages"), beside={"messages_extra": scrubbed}
    )
    edit.check("s", second)
    whole = joined([Verdict.of(1), edit], [first, second])
    whole.check("s", both)
    assert whole.beside is not None
    assert whole.beside["messages_extra"].to_pylist() == [None, None]
    wrong = Verdict.of(
        1, [Decision(0, "edit", "s/x")], second.column("messages"), beside={"rejected": scrubbed}
    )
    with pytest.raises(StageError, match="beside 'rejected' is no column"):
        wrong.check("s", second)
