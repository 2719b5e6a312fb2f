"""Reading: what a good record becomes: content by its format, ids, descriptions, the untouched rest."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from reading import all_of, ipc, jsonl, parquet, plan_of, records_of

from curate import record

CONVERSATIONS: list[tuple[dict[str, Any], list[tuple[str, str]]]] = [
    ({"instruction": "a", "output": "b"}, [("user", "a"), ("assistant", "b")]),
    ({"instruction": "a", "input": "i", "output": ""}, [("user", "a\n\ni"), ("assistant", "")]),
    ({"instruction": "", "input": "i", "output": "b"}, [("user", "i"), ("assistant", "b")]),
    ({"instruction": "a", "input": None, "output": "b"}, [("user", "a"), ("assistant", "b")]),
    (
        {"instruction": "a", "system": "s", "output": "b"},
        [("system", "s"), ("user", "a"), ("assistant", "b")],
    ),
    ({"prompt": "a", "completion": "b"}, [("user", "a"), ("assistant", "b")]),
    (
        {"messages": [{"role": "system", "content": ""}, {"role": "critic", "content": "c"}]},
        [("system", ""), ("critic", "c")],
    ),
    ({"messages": '[{"role": "user", "content": "é"}]'}, [("user", "é")]),
    (
        {
            "conversations": [
                {"from": who, "value": who}
                for who in (
                    "system",
                    "human",
                    "user",
                    "gpt",
                    "chatgpt",
                    "bing",
                    "bard",
                    "function",
                    "tool",
                    "owl",
                )
            ]
        },
        [
            ("system", "system"),
            ("user", "human"),
            ("user", "user"),
            ("assistant", "gpt"),
            ("assistant", "chatgpt"),
            ("assistant", "bing"),
            ("assistant", "bard"),
            ("tool", "function"),
            ("tool", "tool"),
            ("owl", "owl"),
        ],
    ),
    (
        {"conversations": [{"from": "human", "value": "a"}], "system": "s"},
        [("system", "s"), ("user", "a")],
    ),
]


@pytest.mark.parametrize(("one", "expected"), CONVERSATIONS)
@pytest.mark.parametrize("layout", ["jsonl", "parquet", "arrow"])
def test_conversations_become_messages(
    tmp_path: Path, one: dict[str, Any], expected: list[tuple[str, str]], layout: str
) -> None:
    table = pa.Table.from_pylist([one])
    content = {"jsonl": jsonl(one), "parquet": parquet(table), "arrow": ipc(table)}[layout]
    (found,) = records_of(tmp_path, {f"x.{layout}": content})
    assert [(turn["role"], turn["content"]) for turn in found["messages"]] == expected
    assert set(found) == set(record.schema("messages").names)


def test_an_empty_conversation_is_a_record_for_a_stage_to_judge(tmp_path: Path) -> None:
    (found,) = records_of(tmp_path, {"x.jsonl": jsonl({"messages": []})})
    assert found["messages"] == []


def test_what_turns_have_beyond_role_and_content_is_kept_beside_them(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"name": "f", "n": 1}]}
    one = {"messages": [{"role": "user", "content": "a", "name": None}, call]}
    plain = {"messages": [{"role": "user", "content": "b"}]}
    for layout, content in {
        "jsonl": jsonl(one, plain),
        "parquet": parquet(pa.Table.from_pylist([one, plain])),
        "csv": b"messages\n"
        + b"".join(b'"%s"\n' % json.dumps(r["messages"]).replace('"', '""').encode() for r in (one, plain)),
    }.items():
        table, faults = all_of(plan_of(tmp_path, {f"x.{layout}": content}))
        assert faults == []
        assert table["messages"].to_pylist()[0][1] == {"role": "assistant", "content": ""}
        extra = table["messages_extra"].to_pylist()
        assert orjson.loads(extra[0]) == [None, {"tool_calls": [{"name": "f", "n": 1}]}]
        assert extra[1] is None
        (tmp_path / f"x.{layout}").unlink()


ABOUT: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"id": "a/b"}, {"id": "s/a/b"}),
    ({"id": 12}, {"id": "s/12"}),
    ({"id": 12.0}, {"id": "s/12"}),
    ({"id": ""}, {"id": "s/x/1"}),
    ({"id": None}, {"id": "s/x/1"}),
    ({"id": True}, {"id": "s/x/1"}),
    ({"license": "MIT"}, {"license": "MIT"}),
    ({"license": " "}, {"license": "CC0-1.0"}),
    ({"url": "u", "author": 7, "created": 2020.5}, {"url": "u", "author": "7", "created": "2020.5"}),
    ({"author": ["a", "b"], "created": ""}, {"author": '["a","b"]', "created": None}),
]


@pytest.mark.parametrize(("given_fields", "expected"), ABOUT)
def test_ids_and_descriptions_become_strings(
    tmp_path: Path, given_fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    one = {"text": "a", **given_fields}
    (found,) = records_of(tmp_path, {"x.jsonl": jsonl(one)}, license="CC0-1.0")
    assert {"license": "CC0-1.0", "id": "s/x/1", **expected}.items() <= found.items()
    assert (found["_path"], found["_row"], found["source"]) == ("x.jsonl", 1, "s")


def test_descriptions_in_a_table_keep_their_meaning(tmp_path: Path) -> None:
    day = datetime.datetime(2024, 5, 6, 7, 8, 9)
    table = pa.table(
        {
            "text": ["a"],
            "when": pa.array([day], pa.timestamp("ns")),
            "number": pa.array([5], pa.uint8()),
            "who": pa.array(["me"]).dictionary_encode(),
        }
    )
    fields = {"created": "when", "id": "number", "author": "who"}
    (found,) = records_of(tmp_path, {"x.parquet": parquet(table)}, fields=fields)
    assert (found["created"], found["id"], found["author"]) == ("2024-05-06T07:08:09", "s/5", "me")
    assert "when" not in found


LOSSLESS = [
    '{"b":1,"a":[1.5,null,"é"]}',
    "18446744073709551615",
    "-123456789012345678901234567890",
    '{"deep":[123456789012345678901234567890,"1e20"]}',
    "true",
    '"string"',
    "[[1],[2.5]]",
    "0.1",
]


def test_columns_of_mixed_types_are_kept_as_the_json_they_were(tmp_path: Path) -> None:
    content = (
        "".join(f'{{"text":"a","x":{value}}}\n' for value in LOSSLESS)
        + '{"text":"a","x":null}\n{"text":"a"}\n'
    )
    plan = plan_of(tmp_path, {"x.jsonl": content.encode()})
    table, _ = all_of(plan)
    assert table["x"].to_pylist() == [*LOSSLESS, None, None]
    assert plan.schema.field("x").metadata == {b"curate.json": b"1"}


def test_columns_of_one_type_are_kept_as_they_are(tmp_path: Path) -> None:
    ones = [
        {"text": "a", "n": 2**62, "f": 1, "b": True, "l": ["x", None], "e": [], "s": "ü\u0000"},
        {"text": "b", "f": 0.5, "l": None, "z": None},
    ]
    first, second = records_of(tmp_path, {"x.jsonl": jsonl(*ones)})
    assert [first[k] for k in "nfblesz"] == [2**62, 1.0, True, ["x", None], [], "ü\u0000", None]
    assert [second[k] for k in "nfblesz"] == [None, 0.5, None, None, None, None, None]


def test_tables_keep_their_own_types_and_values(tmp_path: Path) -> None:
    kinds: dict[str, pa.Array] = {
        "i": pa.array([1, None], pa.int16()),
        "t": pa.array([1_700_000_000_123_456_789, None], pa.timestamp("ns", "UTC")),
        "d": pa.array([datetime.date(2020, 1, 2), None]),
        "dec": pa.array(["1.50", None]).cast(pa.decimal128(6, 2)),
        "b": pa.array([b"\xff", None]),
        "st": pa.array([{"k": [1], "m": "x"}, None]),
        "mp": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
        "fl": pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2)),
    }
    encoded: dict[str, pa.Array] = {
        "dict": pa.array(["x", None]).dictionary_encode(),
        "view": pa.array(["x", None], pa.string_view()),
        "ll": pa.array([["x"], None], pa.large_list(pa.large_string())),
        "ree": pa.RunEndEncodedArray.from_arrays(pa.array([1, 2], pa.int32()), pa.array(["x", "y"])),
        "ext": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{}", None])),
    }
    table = pa.table({"text": ["a", "b"], **kinds, **encoded})
    plan = plan_of(tmp_path, {"x.arrow": ipc(table), "y.parquet": parquet(pa.table({"text": ["c"], **{}}))})
    found, faults = all_of(plan)
    assert faults == []
    for name, values in kinds.items():
        assert found.schema.field(name).type == values.type, name
        assert found[name].slice(0, 2).combine_chunks().equals(values), name
        assert found[name][2].as_py() is None
    assert {name: found[name].to_pylist()[:2] for name in encoded} == {
        "dict": ["x", None],
        "view": ["x", None],
        "ll": [["x"], None],
        "ree": ["x", "y"],
        "ext": ["{}", None],
    }
    assert {str(found.schema.field(name).type) for name in ("dict", "view", "ree", "ext")} == {"string"}


def test_table_values_that_json_lacks_are_kept_as_strings(tmp_path: Path) -> None:
    one = pa.table({"text": ["a"], "x": pa.array([b"\x00\xff"])})
    two = pa.table({"text": ["b"], "x": pa.array([1_500_000_000_000_000_001], pa.timestamp("ns"))})
    files = {"x.parquet": parquet(one), "y.parquet": parquet(two)}
    values = [orjson.loads(found["x"]) for found in records_of(tmp_path, files)]
    assert values == [base64.b64encode(b"\x00\xff").decode(), "2017-07-14T02:40:00"]
