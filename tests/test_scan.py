"""The scan: formats, types of columns and units of good files."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from reading import (
    Serial,
    failure,
    ipc,
    jsonl,
    parquet,
    plan_of,
)

from curate.io import scan as scanning
from curate.io.scan import scan
from curate.record import schema
from curate.source import Source

LINES = jsonl({"text": "a"}) * 50
TABLE = pa.table({"text": ["a", "b"] * 200})

FORMATS: list[tuple[dict[str, Any], str, dict[str, str]]] = [
    ({"text": "a"}, "text", {"text": "text"}),
    ({"content": "a", "url": "u", "id": 1}, "text", {"text": "content", "url": "url", "id": "id"}),
    (
        {"instruction": "a", "input": "b", "output": "c", "text": "rendered"},
        "alpaca",
        {"instruction": "instruction", "output": "output", "input": "input"},
    ),
    ({"prompt": "a", "response": "b"}, "alpaca", {"instruction": "prompt", "output": "response"}),
    ({"prompt": "a", "completion": "b"}, "alpaca", {"instruction": "prompt", "output": "completion"}),
    ({"messages": [{"role": "user", "content": "a"}], "prompt": "p"}, "openai", {"messages": "messages"}),
    ({"messages": '[{"role": "user", "content": "a"}]'}, "openai", {"messages": "messages"}),
    (
        {"conversations": [{"from": "human", "value": "a"}], "system": "s"},
        "sharegpt",
        {"conversations": "conversations", "system": "system"},
    ),
    ({"conversations": [{"role": "user", "content": "a"}]}, "openai", {"messages": "conversations"}),
    ({"messages": [{"from": "human", "value": "a"}]}, "sharegpt", {"conversations": "messages"}),
    (
        {"prompt": "a", "chosen": "b", "rejected": "c", "messages": [{"role": "user", "content": "a"}]},
        "preference",
        {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    ),
    (
        {"instruction": "a", "input": "i", "chosen": "b", "rejected": "c"},
        "preference",
        {"prompt": "instruction", "input": "input", "chosen": "chosen", "rejected": "rejected"},
    ),
    ({"text": "a", "chosen": True, "rejected": False}, "text", {"text": "text"}),
]


@pytest.mark.parametrize(("record", "format_", "fields"), FORMATS)
@pytest.mark.parametrize("layout", ["jsonl", "parquet"])
def test_auto_tells_the_format_by_the_columns(
    tmp_path: Path, record: dict[str, Any], format_: str, fields: dict[str, str], layout: str
) -> None:
    content = jsonl(record) if layout == "jsonl" else parquet(pa.Table.from_pylist([record]))
    plan = plan_of(tmp_path, {f"x.{layout}": content})
    assert plan.format == format_
    assert plan.fields == fields


def test_a_content_role_in_the_recipe_decides_the_format(tmp_path: Path) -> None:
    files = {"x.jsonl": jsonl({"messages": [], "body": "a", "q": "b", "a": "c"})}
    assert plan_of(tmp_path, files, fields={"text": "body"}).format == "text"
    plan = plan_of(tmp_path, files, fields={"instruction": "q", "output": "a"})
    assert (plan.format, plan.fields) == ("alpaca", {"instruction": "q", "output": "a"})


NEEDS = (
    "openai needs messages, sharegpt conversations, alpaca instruction and output, text text or content, "
    "preference chosen and rejected"
)
UNDECIDED: list[tuple[dict[str, bytes], dict[str, Any], str]] = [
    (
        {"x.jsonl": jsonl({"words": "a", "id": 1})},
        {},
        f"source 's': the format cannot be told from x.jsonl, which has the columns id, words; {NEEDS}; set "
        "format and name the columns under fields",
    ),
    (
        {"x.jsonl": jsonl({"text": "a"}), "y.jsonl": jsonl({"instruction": "a", "output": "b"})},
        {},
        "source 's': the format cannot be told: its files disagree (x.jsonl is text, y.jsonl is alpaca); "
        "make them sources of their own, or set format",
    ),
    (
        {"x.jsonl": b"no json\n"},
        {},
        "source 's': the format cannot be told: no file has a record that could be read; set format, or "
        "correct files",
    ),
    (
        {"x.jsonl": jsonl({"instruction": "a", "text": "b"})},
        {"format": "alpaca"},
        "source 's': format alpaca needs a column for output; found the columns instruction, text; name "
        "yours under fields",
    ),
    (
        {"x.jsonl": jsonl({"text": "a", "author_name": "b"})},
        {"fields": {"author": "autor_name", "id": "uid"}},
        "source 's': fields.id names the column 'uid', which no file has; known: author_name, text\n"
        "source 's': fields.author names the column 'autor_name', which no file has; did you mean "
        "'author_name'?",
    ),
    (
        {"x.jsonl": jsonl({"text": "a", "answer": "b"})},
        {"format": "text", "fields": {"output": "answer"}},
        "source 's': fields.output: format text has no such role; take it out",
    ),
]


@pytest.mark.parametrize(("files", "about", "message"), UNDECIDED)
def test_what_cannot_be_settled_is_an_error_that_says_what_was_found(
    tmp_path: Path, files: dict[str, bytes], about: dict[str, Any], message: str
) -> None:
    assert failure(tmp_path, files, **about) == message


JSON, STRING = "JSON text", pa.string()
TYPES: list[tuple[list[str], Any]] = [
    (["true", "null"], pa.bool_()),
    (["1", "-2"], pa.int64()),
    (["9007199254740993"], pa.int64()),
    (["1", "2.5"], pa.float64()),
    (["9007199254740993", "2.5"], JSON),
    (["18446744073709551615"], JSON),
    (["123456789012345678901234567890"], JSON),
    (["1e300"], pa.float64()),
    (['"a"', "null"], STRING),
    (["null"], STRING),
    (['"a"', "1"], JSON),
    (["true", "1"], JSON),
    (['{"b": 1, "a": 2}'], JSON),
    (['["a", null]', "[]", "null"], pa.list_(STRING)),
    (["[]"], pa.list_(STRING)),
    (["[1, 2.5]"], pa.list_(pa.float64())),
    (['["a", 1]'], JSON),
    (['[{"a": 1}]'], JSON),
    (["[[1]]"], JSON),
    (['["a"]', '"a"'], JSON),
    (["[9007199254740993, 0.5]"], JSON),
]


@pytest.mark.parametrize(("values", "expected"), TYPES)
def test_every_value_of_a_json_column_has_a_say_in_its_type(
    tmp_path: Path, values: list[str], expected: Any
) -> None:
    rows = [f'{{"text": "a", "x": {value}}}\n'.encode() for value in values]
    files = {"x.jsonl": b"".join(rows), "y.jsonl": b"".join(rows[::-1])}
    field = plan_of(tmp_path, files).schema.field("x")
    if expected == JSON:
        assert (field.type, field.metadata) == (STRING, {b"curate.json": b"1"})
    else:
        assert (field.type, field.metadata) == (expected, None)


def test_columns_of_several_files_unite(tmp_path: Path) -> None:
    text = pa.array(["a"])
    one = {
        "same": pa.array([1], pa.int32()),
        "ints": pa.array([1], pa.int8()),
        "number": pa.array([1], pa.int64()),
        "huge": pa.array([2**60], pa.int64()),
        "dated": pa.array([0], pa.timestamp("us")),
        "void": pa.nulls(1),
        "coded": pa.array(["x"]).dictionary_encode(),
        "large": pa.array(["x"], pa.large_string()),
        "bare": pa.array([{}], pa.struct([])),
    }
    two = {
        "same": pa.array([1], pa.int32()),
        "ints": pa.array([1], pa.int64()),
        "number": pa.array([0.5]),
        "huge": pa.array([0.5]),
        "dated": pa.array(["x"]),
        "void": pa.array([7], pa.int16()),
        "coded": pa.array(["x"]),
        "only": pa.array([[1]], pa.list_(pa.int16())),
    }
    files = {
        "x.parquet": parquet(pa.table({"text": text, **{k: v for k, v in one.items() if k != "bare"}})),
        "y.parquet": parquet(pa.table({"text": text, **two})),
        "z.arrow": ipc(pa.table({"text": text, "bare": one["bare"]})),
        "w.jsonl": jsonl({"text": "a", "only": [1]}),
    }
    found = plan_of(tmp_path, files).schema
    types = {f.name: JSON if f.metadata else f.type for f in found if f.name not in schema("text").names}
    assert types == {
        "bare": JSON,
        "coded": STRING,
        "dated": JSON,
        "huge": JSON,
        "ints": pa.int64(),
        "large": STRING,
        "number": pa.float64(),
        "only": pa.list_(pa.int64()),
        "same": pa.int32(),
        "void": pa.int16(),
    }
    assert list(types) == sorted(types)


def test_columns_with_a_name_of_ours_travel_under_another(tmp_path: Path) -> None:
    record = {
        "body": "a",
        "text": "b",
        "source": "c",
        "language": "d",
        "input_text": "e",
        "fact:x": "f",
        "_row": 1,
    }
    found = plan_of(tmp_path, {"x.jsonl": jsonl(record)}, fields={"text": "body"}).schema
    extra = {f.name: (f.metadata or {}).get(b"curate.column", b"").decode() for f in found}
    assert {name: original for name, original in extra.items() if name.startswith("input_")} == {
        "input__row": "_row",
        "input_fact:x": "fact:x",
        "input_input_text": "text",
        "input_language": "language",
        "input_source": "source",
        "input_text": "",
    }


def test_plain_files_are_cut_into_units_at_line_starts(tmp_path: Path) -> None:
    content = b"".join(b'{"text": "%s"}\n' % (b"x" * (i % 37)) for i in range(500)) + b"\n\nbad\n"
    plan = plan_of(tmp_path, {"x.jsonl": content}, unit_bytes=700)
    units = plan.units
    assert len(units) > 10
    assert [unit.start for unit in units] == [0, *(unit.stop for unit in units[:-1])]
    assert units[-1].stop == len(content)
    assert sum(unit.records for unit in units) == plan.files[0].records == 501
    for unit in units:
        assert unit.start == 0 or content[unit.start - 1 : unit.start] == b"\n"
        assert unit.first_row == content[: unit.start].count(b"\n") + 1
    assert min(unit.stop - unit.start for unit in units[:-1]) >= 700


def test_compressed_files_have_few_units(tmp_path: Path) -> None:
    content = jsonl({"text": "x" * 50}) * 4000
    plan = plan_of(tmp_path, {"x.jsonl.gz": gzip.compress(content), "y.jsonl": content}, unit_bytes=1000)
    counts = [sum(unit.file.path == name for unit in plan.units) for name in ("x.jsonl.gz", "y.jsonl")]
    assert 2 <= counts[0] <= scanning.MOST_COMPRESSED_UNITS
    assert 100 < counts[1] <= scanning.MOST_UNITS


def test_row_groups_and_record_batches_are_joined_to_units(tmp_path: Path) -> None:
    files = {
        "a.parquet": parquet(TABLE, row_group_size=30),
        "b.arrow": ipc(TABLE, max_chunksize=30),
        "c.arrow": ipc(TABLE, stream=True, max_chunksize=30),
        "d.csv": b"text\n" + b"a\n" * 400,
    }
    fine = plan_of(tmp_path, files, unit_bytes=1)
    assert [sum(u.file.path == f.path for u in fine.units) for f in fine.files] == [14, 14, 1, 1]
    coarse = plan_of(tmp_path, files)
    assert [(u.start, u.stop, u.first_row, u.records) for u in coarse.units] == [
        (0, 14, 1, 400),
        (0, 14, 1, 400),
        (0, 14, 1, 400),
        (0, 0, 2, 400),
    ]


def test_a_second_scan_only_hashes(tmp_path: Path) -> None:
    for name, content in {"x.jsonl": LINES, "y.parquet": parquet(TABLE), "z.csv": b"text\na\n"}.items():
        (tmp_path / name).write_bytes(content)
    source = Source(name="s", files=("*.*",))
    cache = tmp_path / "cache"
    first, again = Serial(), Serial()
    plans = scan([source], tmp_path, first, cache)
    assert scan([source], tmp_path, again, cache) == plans
    assert (first.calls, again.calls) == (["probe"] * 3 + ["survey"] * 3, ["probe"] * 3)
    (tmp_path / "x.jsonl").write_bytes(LINES + LINES)
    for path in cache.iterdir():
        path.write_bytes(path.read_bytes()[:-5])  # as an interrupted disk could leave it
    last = Serial()
    (plan,) = scan([source], tmp_path, last, cache)
    assert last.calls == ["probe"] * 3 + ["survey"] * 3
    assert [file.records for file in plan.files] == [100, 400, 1]


def test_plans_travel_between_processes_and_hide_locations(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"x.jsonl": LINES})
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert str(tmp_path) not in repr(plan.files)


def test_the_order_of_files_and_sources_changes_nothing(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / name).write_bytes(jsonl({"text": name, "x": name if name == "b.jsonl" else 1}))
    one, two = (Source(name=n, files=("a.jsonl", "b.jsonl", "c.jsonl")) for n in "st")
    three = Source(name="s", files=("c.jsonl", "b*", "a.jsonl"))
    assert scan([one, two], tmp_path, Serial())[0].schema == scan([three], tmp_path, Serial())[0].schema
    assert scan([two, one], tmp_path, Serial())[1] == scan([one], tmp_path, Serial())[0]
    assert scan([three], tmp_path, Serial())[0].units == scan([one], tmp_path, Serial())[0].units


def test_files_of_one_stem_get_names_of_their_own(tmp_path: Path) -> None:
    files = dict.fromkeys(("x.jsonl", "d/x.jsonl", "e/x.jsonl", "d/y.jsonl"), LINES)
    files |= {"e/x.csv": b"text\na\n"}
    assert plan_of(tmp_path, files).stems == {
        "d/x.jsonl": "d/x",
        "d/y.jsonl": "y",
        "e/x.csv": "e/x.csv",
        "e/x.jsonl": "e/x.jsonl",
        "x.jsonl": "x",
    }


def test_turns_with_more_than_role_and_content_get_a_column(tmp_path: Path) -> None:
    plain = {"messages": [{"role": "user", "content": "a", "name": None}]}
    named = {"messages": [{"role": "user", "content": "a", "name": "b"}]}
    kind = pa.struct([("role", STRING), ("content", STRING), ("name", STRING)])
    for record, expected in ((plain, False), (named, True)):
        table = pa.table({"messages": pa.array([record["messages"]], pa.list_(kind))})
        text = json.dumps(record["messages"])
        for name, content in {
            "x.jsonl": jsonl(record),
            "x.parquet": parquet(table),
            "y.parquet": parquet(pa.table({"messages": [text]})),
            "x.csv": b'messages\n"' + text.replace('"', '""').encode() + b'"\n',
        }.items():
            found = plan_of(tmp_path, {name: content}).schema.names
            assert ("messages_extra" in found) is expected, name
