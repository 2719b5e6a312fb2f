"""Reading: a record that cannot be read becomes a fault with its line and reason; none is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest
from reading import all_of, ipc, jsonl, parquet, plan_of

from curate.io.faults import FAULTS
from curate.io.read import Fault

BAD_LINES: list[tuple[bytes, str, str]] = [
    (b'{"text": "a"', "read/not-json", "unexpected end of data at character 13"),
    (b'{"text": NaN}', "read/not-json", "unexpected character, expected a JSON value at character 10"),
    (b"plain words", "read/not-json", "unexpected character, expected a JSON value at character 1"),
    (b'["a"]', "read/not-object", "the line is a list"),
    (b'"a"', "read/not-object", "the line is a string"),
    (b"null", "read/not-object", "the line is null"),
    (b'{"text": "\xff"}', "read/invalid-utf8", "byte 11 of the line is not UTF-8"),
    (b'{"text": "\xed\xa0\x80"}', "read/invalid-utf8", "byte 11 of the line is not UTF-8"),
    (b'{"text": "\\ud800"}', "read/invalid-utf8", "a lone surrogate is escaped near character 11"),
    (b'{"words": "a"}', "read/missing-field", "'text' is missing"),
    (b'{"text": null}', "read/null-text", "'text' is null"),
    (b'{"text": 5}', "read/wrong-type", "'text' is a number; expected a string"),
    (b'{"text": {"a": 1}}', "read/wrong-type", "'text' is an object; expected a string"),
    (b'{"text": "' + b"x" * 100 + b'"}', "read/too-large", "more than 60 bytes"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD_LINES)
def test_a_bad_line_becomes_a_fault_between_its_neighbours(
    tmp_path: Path, line: bytes, reason: str, detail: str
) -> None:
    content = b'{"text": "before"}\r\n\n' + line + b'\n{"text": "after"}'
    table, faults = all_of(plan_of(tmp_path, {"x.jsonl": content}, format="text", max_record=60))
    assert faults == [Fault(3, reason, detail, None if reason == "read/too-large" else line)]
    assert table["text"].to_pylist() == ["before", "after"]
    assert table["_row"].to_pylist() == [1, 4]
    assert table["id"].to_pylist() == ["s/x/1", "s/x/4"]


GOOD_TURNS = [{"role": "user", "content": "a"}]
DEEP = "[" * 300 + "]" * 300
BAD_CONVERSATIONS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "openai",
        {"messages": f'[{{"role": "user", "content": "a", "name": {DEEP}}}]'},
        "read/too-deep",
        "a turn's keys are nested too deep to be written as JSON",
    ),
    ("openai", {"messages": None}, "read/null-text", "'messages' is null"),
    ("openai", {"other": 1}, "read/missing-field", "'messages' is missing"),
    ("openai", {"messages": {}}, "read/wrong-type", "'messages' is an object; expected a list of turns"),
    ("openai", {"messages": "[1"}, "read/not-json", "'messages': unexpected end of data at character 3"),
    ("openai", {"messages": "7"}, "read/wrong-type", "'messages' is a number; expected a list of turns"),
    (
        "openai",
        {"messages": ["a"]},
        "read/wrong-type",
        "turn 1 of 'messages' is a string; expected an object",
    ),
    ("openai", {"messages": [{"content": "a"}]}, "read/missing-field", "'messages[1].role' is missing"),
    (
        "openai",
        {"messages": [*GOOD_TURNS, {"role": "assistant"}]},
        "read/missing-field",
        "'messages[2].content' is missing",
    ),
    (
        "openai",
        {"messages": [*GOOD_TURNS, {"role": "assistant", "content": None}]},
        "read/null-text",
        "'messages[2].content' is null",
    ),
    (
        "openai",
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        "read/wrong-type",
        "'messages[1].content' is a list; expected a string",
    ),
    (
        "openai",
        {"messages": [{"role": 1, "content": "a"}]},
        "read/wrong-type",
        "'messages[1].role' is a number",
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human"}]},
        "read/missing-field",
        "'conversations[1].value' is missing",
    ),
    (
        "sharegpt",
        {"conversations": [], "system": ["a"]},
        "read/wrong-type",
        "'system' is a list; expected a string",
    ),
    ("alpaca", {"instruction": "a"}, "read/missing-field", "'output' is missing"),
    ("alpaca", {"instruction": "a", "output": None}, "read/null-text", "'output' is null"),
    ("alpaca", {"instruction": None, "output": "a"}, "read/null-text", "'instruction' is null"),
    ("alpaca", {"instruction": "a", "output": "b", "input": 3}, "read/wrong-type", "'input' is a number"),
    (
        "alpaca",
        {"instruction": "a", "output": ["b"]},
        "read/wrong-type",
        "'output' is a list; expected a string",
    ),
    ("preference", {"prompt": "a", "chosen": "b"}, "read/missing-field", "'rejected' is missing"),
    ("preference", {"prompt": "a", "chosen": None, "rejected": "c"}, "read/null-text", "'chosen' is null"),
    ("preference", {"chosen": "b", "rejected": "c"}, "read/missing-field", "'prompt' is missing, and"),
    (
        "preference",
        {"prompt": 3, "chosen": "b", "rejected": "c"},
        "read/wrong-type",
        "'prompt' is a number; expected a string or a list of turns",
    ),
    (
        "preference",
        {"prompt": "a", "chosen": "b", "rejected": [{"role": "assistant"}]},
        "read/missing-field",
        "'rejected[1].content' is missing",
    ),
    (
        "preference",
        {"chosen": GOOD_TURNS, "rejected": [{"role": "user", "content": "other"}]},
        "read/no-common-prompt",
        "'chosen' and 'rejected' differ in turn 1, which is not a reply",
    ),
    (
        "preference",
        {"prompt": "a", "chosen": GOOD_TURNS, "rejected": "c"},
        "read/no-common-prompt",
        "'rejected' is no whole conversation, and the other reply is one",
    ),
    (
        "preference",
        {
            "prompt": "something else",
            "chosen": [*GOOD_TURNS, {"role": "assistant", "content": "b"}],
            "rejected": [*GOOD_TURNS, {"role": "assistant", "content": "c"}],
        },
        "read/no-common-prompt",
        "'prompt' is not among the turns",
    ),
]
GOOD: dict[str, dict[str, Any]] = {
    "openai": {"messages": GOOD_TURNS},
    "sharegpt": {"conversations": [{"from": "human", "value": "a"}], "system": "b"},
    "alpaca": {"instruction": "a", "output": "b", "input": "c"},
    "preference": {"prompt": "a", "chosen": "b", "rejected": "c"},
}


@pytest.mark.parametrize(("format_", "bad", "reason", "detail"), BAD_CONVERSATIONS)
def test_a_bad_conversation_becomes_a_fault(
    tmp_path: Path, format_: str, bad: dict[str, Any], reason: str, detail: str
) -> None:
    content = jsonl(GOOD[format_], bad, GOOD[format_])
    table, faults = all_of(plan_of(tmp_path, {"x.jsonl": content}, format=format_))
    assert [(fault.row, fault.reason, fault.raw) for fault in faults] == [(2, reason, orjson.dumps(bad))]
    assert faults[0].detail.startswith(detail)
    assert table["_row"].to_pylist() == [1, 3]


BAD_CSV: list[tuple[bytes, str, str]] = [
    (b"a", "read/csv-columns", "1 fields; the header has 2 columns"),
    (b"a,b,c", "read/csv-columns", "3 fields; the header has 2 columns"),
    (b'"a"b,c', "read/csv-syntax", "',' expected after '\"'"),
    (b"a\rb,c", "read/csv-syntax", "new-line character seen in unquoted field"),
    (b'a,"b\n\xff"', "read/invalid-utf8", "a field is not UTF-8"),
    (b'a,"' + b"x" * 70 + b'"', "read/too-large", "more than 60 bytes"),
]


@pytest.mark.parametrize(("line", "reason", "detail"), BAD_CSV)
def test_a_bad_csv_record_becomes_a_fault_between_its_neighbours(
    tmp_path: Path, line: bytes, reason: str, detail: str
) -> None:
    content = b'\xef\xbb\xbfid,text\r\n1,"one\r\n""two"""\r\n\n' + line + b"\n2,after\n"
    table, faults = all_of(plan_of(tmp_path, {"x.csv": content}, max_record=60))
    assert faults == [Fault(5, reason, detail, None if reason == "read/too-large" else line)]
    assert table["text"].to_pylist() == ['one\r\n"two"', "after"]
    assert table["_row"].to_pylist() == [2, 6 + line.count(b"\n")]


def test_a_csv_quote_that_never_closes_costs_no_more_than_the_limit(tmp_path: Path) -> None:
    content = b'text\n"open\n' + b"line\n" * 30
    table, faults = all_of(plan_of(tmp_path, {"x.csv": content}, max_record=50))
    assert [(fault.row, fault.reason) for fault in faults] == [(2, "read/too-large")]
    assert table.num_rows == 18  # 5 + 12 × 4 bytes were given up
    _, faults = all_of(plan_of(tmp_path, {"x.csv": content}, max_record=500))
    assert [(fault.row, fault.reason, fault.detail) for fault in faults] == [
        (2, "read/csv-syntax", "unexpected end of data")
    ]


def broken_strings(*values: bytes) -> pa.Array:
    """Return a string array whose bytes nobody checked."""
    binary = pa.array(values, pa.binary())
    return pa.StringArray.from_buffers(len(binary), *binary.buffers()[1:])


@pytest.mark.parametrize("layout", ["parquet", "arrow"])
def test_bad_rows_of_tables_become_faults(tmp_path: Path, layout: str) -> None:
    texts = broken_strings(b"one", b"\xff", b"three", b"x" * 61, b"five", b"six")
    texts = pa.concat_arrays([texts, pa.array([None], pa.string())])
    notes = broken_strings(b"", b"", b"\xfe", b"", b"", b"")
    table = pa.table({"text": texts, "note": pa.concat_arrays([notes, pa.array(["n"])])})
    content = parquet(table) if layout == "parquet" else ipc(table)
    found, faults = all_of(plan_of(tmp_path, {f"x.{layout}": content}, max_record=60))
    assert [(fault.row, fault.reason, fault.raw) for fault in faults] == [
        (2, "read/invalid-utf8", None),
        (3, "read/invalid-utf8", None),
        (4, "read/too-large", None),
        (7, "read/null-text", None),
    ]
    assert found["text"].to_pylist() == ["one", "five", "six"]
    assert found["_row"].to_pylist() == [1, 5, 6]


def test_a_file_without_the_column_gives_a_fault_for_every_record(tmp_path: Path) -> None:
    files = {"x.parquet": parquet(pa.table({"text": ["a"]})), "y.parquet": parquet(pa.table({"no": [1, 2]}))}
    table, faults = all_of(plan_of(tmp_path, files, format="text"))
    assert [(fault.row, fault.reason) for fault in faults] == [
        (1, "read/missing-field"),
        (2, "read/missing-field"),
    ]
    assert table.num_rows == 1


def test_a_record_nested_too_deep_to_be_written_again_goes_to_quarantine(tmp_path: Path) -> None:
    content = f'{{"text": "a", "own": {DEEP}}}\n{{"text": "b", "own": [1]}}\n'.encode()
    table, faults = all_of(plan_of(tmp_path, {"x.jsonl": content}))
    assert [(fault.row, fault.reason) for fault in faults] == [(1, "read/too-deep")]
    assert (table["text"].to_pylist(), table["own"].to_pylist()) == (["b"], ["[1]"])


def test_every_reason_in_the_tables_is_documented_and_every_documented_one_is_tested() -> None:
    reasons = {reason for _, reason, _ in BAD_LINES + BAD_CSV} | {case[2] for case in BAD_CONVERSATIONS}
    assert reasons == set(FAULTS)


def test_no_message_or_fault_holds_text_of_a_record(tmp_path: Path) -> None:
    secret = "hunter2"
    content = b"".join(
        line.replace(b"words", secret.encode()).replace(b'"a"', f'"{secret}"'.encode()) + b"\n"
        for line, _, _ in BAD_LINES
    )
    _, faults = all_of(plan_of(tmp_path, {"x.jsonl": content}, format="text", max_record=60))
    assert len(faults) >= len(BAD_LINES) - 1
    assert all(secret not in fault.detail for fault in faults)
