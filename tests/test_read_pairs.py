"""Reading preference pairs in each of their forms, and turns that call tools as sharegpt sets write them."""

from __future__ import annotations

import csv
import io
import json
import random
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from reading import ipc, jsonl, parquet, plan_of, records_of

from curate import record
from curate.record import MESSAGES, MESSAGES_EXTRA, REJECTED

Turns = list[tuple[str, str]]


def openai(turns: Turns) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in turns]


ASKED: Turns = [("system", "s"), ("user", "q"), ("assistant", "a"), ("user", "r")]
WON: Turns = [("assistant", "yes")]
LOST: Turns = [("assistant", "no")]
SHAREGPT = [{"from": "human", "value": "q"}]

PAIRS: list[tuple[str, dict[str, Any], Turns, Turns]] = [
    ("explicit, text", {"prompt": "q", "chosen": "yes", "rejected": "no"}, [("user", "q"), *WON], LOST),
    (
        "explicit, turns",
        {"prompt": openai(ASKED), "chosen": openai(WON), "rejected": openai(LOST)},
        [*ASKED, *WON],
        LOST,
    ),
    (
        "implicit",
        {"chosen": openai([*ASKED, *WON]), "rejected": openai([*ASKED, *LOST])},
        [*ASKED, *WON],
        LOST,
    ),
    (
        "implicit, its prompt repeated",
        {"prompt": "r", "chosen": openai([*ASKED, *WON]), "rejected": openai([*ASKED, *LOST])},
        [*ASKED, *WON],
        LOST,
    ),
    (
        "implicit, replies of several turns",
        {"chosen": openai([*ASKED[:2], *WON, *ASKED[3:], *WON]), "rejected": openai([*ASKED[:2], *LOST])},
        [*ASKED[:2], *WON, *ASKED[3:], *WON],
        LOST,
    ),
    (
        "implicit, the same twice",
        {"chosen": openai([*ASKED, *WON]), "rejected": openai([*ASKED, *WON])},
        [*ASKED, *WON],
        WON,
    ),
    (
        "LLaMA-Factory, turns",
        {
            "conversations": SHAREGPT,
            "chosen": {"from": "gpt", "value": "yes"},
            "rejected": {"from": "gpt", "value": "no"},
        },
        [("user", "q"), *WON],
        LOST,
    ),
    (
        "LLaMA-Factory, text",
        {"instruction": "q", "input": "i", "system": "s", "chosen": "yes", "rejected": "no"},
        [("system", "s"), ("user", "q\n\ni"), *WON],
        LOST,
    ),
    (
        "an answer in JSON is no list of turns",
        {"prompt": "q", "chosen": '[{"a": 1}]', "rejected": "[]"},
        [("user", "q"), ("assistant", '[{"a": 1}]')],
        [("assistant", "[]")],
    ),
    (
        "an answer that shows a turn in JSON is text, as the other is",
        {"prompt": "q", "chosen": '[{"role": "user", "content": "Hi"}]', "rejected": "no"},
        [("user", "q"), ("assistant", '[{"role": "user", "content": "Hi"}]')],
        LOST,
    ),
    (
        "a system that the turns begin with is said once",
        {"system": "s", "chosen": openai([*ASKED, *WON]), "rejected": openai([*ASKED, *LOST])},
        [*ASKED, *WON],
        LOST,
    ),
]


def in_layout(layout: str, one: dict[str, Any]) -> bytes:
    if layout == "jsonl":
        return jsonl(one)
    if layout == "csv":
        sink = io.StringIO()
        writer = csv.DictWriter(sink, list(one))
        writer.writeheader()
        writer.writerow({k: v if isinstance(v, str) else json.dumps(v) for k, v in one.items()})
        return sink.getvalue().encode()
    table = pa.Table.from_pylist([one])
    return parquet(table) if layout == "parquet" else ipc(table)


@pytest.mark.parametrize(("form", "one", "messages", "rejected"), PAIRS, ids=[pair[0] for pair in PAIRS])
@pytest.mark.parametrize("layout", ["jsonl", "parquet", "arrow", "csv"])
def test_every_form_of_a_pair_becomes_a_conversation_and_the_reply_that_lost(
    tmp_path: Path, form: str, one: dict[str, Any], messages: Turns, rejected: Turns, layout: str
) -> None:
    (found,) = records_of(tmp_path, {f"x.{layout}": in_layout(layout, one)})
    assert found["messages"] == openai(messages)
    assert found[REJECTED] == openai(rejected)
    assert found.get(MESSAGES_EXTRA) is None  # a column there may be, where texts hold JSON
    assert found.keys() - {MESSAGES_EXTRA} == {*record.schema("messages").names, REJECTED}


def test_columns_named_like_those_beside_turns_travel_under_another_name(tmp_path: Path) -> None:
    own = {"messages": openai([*ASKED, *WON]), "messages_extra": "mine", "rejected": "theirs"}
    (found,) = records_of(tmp_path, {"x.jsonl": jsonl(own)})
    assert (found["input_messages_extra"], found["input_rejected"]) == ("mine", "theirs")
    assert not {MESSAGES_EXTRA, REJECTED} & found.keys()


def test_a_source_without_pairs_has_no_such_column(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"x.jsonl": jsonl({"prompt": "a", "response": "b"})})
    assert REJECTED not in plan.schema.names
    plan = plan_of(tmp_path, {"y.jsonl": jsonl({"prompt": "a", "chosen": "b", "rejected": "c"})})
    assert plan.schema.field(REJECTED).type == MESSAGES


def _extracted(chosen: Turns, rejected: Turns) -> tuple[Turns, Turns, Turns]:
    """The slow twin: what trl.data_utils.extract_prompt (TRL 1.16) does with lists of turns."""
    place = 0
    for place in range(min(len(chosen), len(rejected))):
        if chosen[place] != rejected[place]:
            break
    return chosen[:place], chosen[place:], rejected[place:]


def test_the_shared_prompt_is_the_one_that_trl_extracts(tmp_path: Path) -> None:
    rng = random.Random(7)
    given: list[tuple[Turns, Turns]] = []
    for _ in range(120):
        asked: Turns = [("user", rng.choice("ab"))]
        for _ in range(rng.randrange(3)):
            asked += [("assistant", rng.choice("ab")), ("user", rng.choice("ab"))]
        replies = [
            [
                ("assistant", rng.choice("ab")),
                *rng.choice([[], [("user", "c"), ("assistant", rng.choice("ab"))]]),
            ]
            for _ in range(2)
        ]
        given.append(([*asked, *replies[0]], [*asked, *replies[1]]))
    lines = jsonl(*({"chosen": openai(a), "rejected": openai(b)} for a, b in given))
    for one, (chosen, rejected) in zip(records_of(tmp_path, {"x.jsonl": lines}), given, strict=True):
        prompt, won, lost = _extracted(chosen, rejected)
        assert one["messages"] == openai([*prompt, *won])
        assert one[REJECTED] == openai(lost)


@pytest.mark.parametrize("layout", ["jsonl", "parquet"])
def test_what_replies_have_beyond_role_and_content_is_kept_beside_them(tmp_path: Path, layout: str) -> None:
    call = [{"name": "f", "arguments": "{}"}]
    one = {
        "prompt": [{"role": "user", "content": "q", "name": "me"}],
        "chosen": [{"role": "assistant", "content": "yes", "tool_calls": call}],
        "rejected": [{"role": "assistant", "content": "no", "tool_calls": call}],
    }
    (found,) = records_of(tmp_path, {f"x.{layout}": in_layout(layout, one)})
    assert orjson.loads(found[MESSAGES_EXTRA]) == [{"name": "me"}, {"tool_calls": call}]
    assert orjson.loads(found["rejected_extra"]) == [{"tool_calls": call}]


@pytest.mark.parametrize("layout", ["jsonl", "parquet", "arrow", "csv"])
def test_turns_of_function_calls_and_observations_become_calls_and_results(
    tmp_path: Path, layout: str
) -> None:
    told = '{"name": "clock", "arguments": {"zone": "CET"}}'
    one = {
        "conversations": [
            {"from": "human", "value": "Time?"},
            {"from": "function_call", "value": told},
            {"from": "observation", "value": "12:00"},
            {"from": "gpt", "value": "Noon."},
            {"from": "function_call", "value": "not JSON"},
        ],
        "tools": '[{"name": "clock"}]',
    }
    (found,) = records_of(tmp_path, {f"x.{layout}": in_layout(layout, one)})
    said = [
        ("user", "Time?"),
        ("assistant", ""),
        ("tool", "12:00"),
        ("assistant", "Noon."),
        ("assistant", ""),
    ]
    assert found["messages"] == openai(said)
    extra = orjson.loads(found[MESSAGES_EXTRA])
    assert extra[1] == {"tool_calls": [{"type": "function", "function": json.loads(told)}]}
    assert extra[4] == {"tool_calls": ["not JSON"]}
    assert record.told_calls(extra[1]) == 'clock({"zone":"CET"})'
