"""Reading: every layout gives the same records, in any batches and units; damage is an error."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import (
    Serial,
    all_of,
    chunks_of,
    ipc,
    jsonl,
    parquet,
    plan_of,
    records_of,
)

from curate import record
from curate.errors import InputError
from curate.io.scan import UNIT_BYTES, scan
from curate.source import Source

TEXTS = ["plain", "", "zwei\nZeilen", "日本語", 'quoted "x", y', "🙂" * 5, "tab\t"]


def layouts() -> dict[str, bytes]:
    """Return the same records in every layout."""
    ones = [{"id": f"n{i}", "text": text, "k": str(i)} for i, text in enumerate(TEXTS * 5)]
    table = pa.Table.from_pylist(ones)
    lines = jsonl(*ones)
    sink = io.StringIO()

    writer = csv.DictWriter(sink, ["id", "text", "k"])
    writer.writeheader()
    writer.writerows(ones)
    comma = sink.getvalue().encode()
    sink = io.StringIO()
    writer = csv.DictWriter(sink, ["id", "text", "k"], delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(ones)
    return {
        "x.jsonl": lines,
        "x.json": lines.replace(b"\n", b"\r\n"),
        "x.ndjson": b"\xef\xbb\xbf" + lines,
        "x.jsonl.gz": gzip.compress(lines),
        "x.jsonl.zst": zstandard.compress(lines[:400]) + zstandard.compress(lines[400:]),
        "x.parquet": parquet(table, row_group_size=8),
        "x.arrow": ipc(table, max_chunksize=8),
        "x.ipc": ipc(table, stream=True, max_chunksize=8),
        "x.feather": ipc(table),
        "x.csv": comma,
        "x.csv.gz": gzip.compress(comma),
        "x.csv.zst": zstandard.compress(comma),
        "x.tsv": sink.getvalue().encode(),
    }


@pytest.mark.parametrize("name", layouts())
def test_all_layouts_give_the_same_records(tmp_path: Path, name: str) -> None:
    found = records_of(tmp_path, {name: layouts()[name]}, license="MIT")
    assert [(one["id"], one["text"], one["k"]) for one in found] == [
        (f"s/n{i}", text, str(i)) for i, text in enumerate(TEXTS * 5)
    ]
    assert {one["license"] for one in found} == {"MIT"}


def test_files_on_other_storage_are_read_alike(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name, content in layouts().items():
        memory.pipe(f"/curate-read/{name}", content)
    source = Source(name="s", files=("memory://curate-read/x.*",))
    (plan,) = scan([source], tmp_path, Serial(), unit_bytes=300)
    table, faults = all_of(plan, 10)
    assert faults == []
    assert table.num_rows == len(TEXTS) * 5 * len(layouts())
    assert table["_path"][0].as_py() == "memory://curate-read/x.arrow"


def noisy(seed: int, lines: int) -> bytes:
    """Return lines of many kinds, good and bad."""
    rng = random.Random(seed)
    kinds: list[Callable[[], bytes]] = [
        lambda: orjson.dumps({"text": "x" * rng.randrange(80), "n": rng.randrange(9)}),
        lambda: orjson.dumps(
            {"text": "ü" * rng.randrange(30), "n": {"a": rng.random()}, "id": rng.randrange(99)}
        ),
        lambda: b"",
        lambda: b'{"text": 1}',
        lambda: b"\xff!",
        lambda: b'{"text": "' + b"long" * 60 + b'"}',
        lambda: b"[1]",
    ]
    return b"\n".join(rng.choice(kinds)() for _ in range(lines)) + b"\n" * rng.randrange(2)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), unit=st.integers(1, 900), batch=st.integers(1, 40))
def test_neither_batches_nor_units_change_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, seed: int, unit: int, batch: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    content = noisy(seed, 60) + b'\n{"text": "last"}\n'
    packed = {
        "a.jsonl": content,
        "b.jsonl.gz": gzip.compress(content),
        "c.jsonl.zst": zstandard.compress(content),
    }
    about: dict[str, Any] = {"format": "text", "max_record": 200}
    whole, faults = all_of(plan_of(folder, packed, **about))
    table, parts = all_of(plan_of(folder, packed, unit_bytes=unit, **about), batch)
    assert table.combine_chunks().equals(whole.combine_chunks())
    assert parts == faults
    per_file = [whole.filter(pc.equal(whole["_path"], name)).drop(["_path", "id"]) for name in packed]
    assert per_file[0].combine_chunks().equals(per_file[1].combine_chunks())
    assert per_file[0].combine_chunks().equals(per_file[2].combine_chunks())


@pytest.mark.parametrize("batch", [1, 7, 1000])
@pytest.mark.parametrize("unit_bytes", [1, 2000, UNIT_BYTES])
def test_tables_are_read_alike_however_they_are_cut(tmp_path: Path, batch: int, unit_bytes: int) -> None:
    turns = [
        [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": f"a{i}"}] for i in range(90)
    ]
    turns[40] = []
    values: list[Any] = [None if i % 30 == 7 else one for i, one in enumerate(turns)]
    table = pa.table({"messages": values, "n": list(range(90))})
    files = {
        "x.parquet": parquet(table, row_group_size=11),
        "y.arrow": ipc(table, max_chunksize=13),
        "z.arrow": ipc(table, stream=True, max_chunksize=13),
    }
    found, faults = all_of(plan_of(tmp_path, files, unit_bytes=unit_bytes), batch)
    assert [fault.row for fault in faults] == [8, 38, 68] * 3
    assert found["n"].to_pylist() == [i for i in range(90) if values[i] is not None] * 3
    assert found["messages"].to_pylist() == [one for one in values if one is not None] * 3
    assert found["_row"].to_pylist() == [i + 1 for i in range(90) if values[i] is not None] * 3


def test_the_hash_is_that_of_the_content_as_read(tmp_path: Path) -> None:
    files: list[dict[str, bytes]] = [
        {"a.jsonl": jsonl(*({"text": text} for text in TEXTS))},
        {"b.parquet": parquet(pa.table({"text": TEXTS}))},
        {"c.jsonl": jsonl(*({"instruction": text, "output": text, "system": text} for text in TEXTS))},
        {
            "d.parquet": parquet(
                pa.table({"messages": [[{"role": "user", "content": text}] for text in TEXTS]})
            )
        },
    ]
    for some in files:
        for chunk in chunks_of(plan_of(tmp_path, some), 4):
            assert chunk.batch["_sha256"].equals(record.content_sha256(record.content(chunk.batch)))


def test_batches_are_bounded_in_bytes(tmp_path: Path) -> None:
    texts = ["x" * 3_000_000] * 14
    table = pa.table({"text": texts})
    files = {
        "x.jsonl": jsonl(*({"text": text} for text in texts)),
        "x.parquet": parquet(table),
        "x.arrow": ipc(table),
    }
    chunks = chunks_of(plan_of(tmp_path, files))
    assert max(chunk.batch.nbytes for chunk in chunks) < 20_000_000
    assert min(chunk.batch.num_rows for chunk in chunks) >= 1
    assert len(chunks) < 14 * 3


@pytest.mark.parametrize(
    ("name", "content", "later", "message"),
    [
        (
            "x.jsonl",
            jsonl({"text": "a"}),
            b"",
            "has changed since it was scanned: 0 bytes; expected 13; run again",
        ),
        (
            "x.jsonl",
            jsonl({"text": "a", "n": 10}),
            jsonl({"text": "a", "n": ""}),
            "has changed since it was scanned: a value does not fit its column; run again",
        ),
        (
            "x.csv",
            b"text\na\nb\n",
            b"text\n\n\n\n\n",
            "has changed since it was scanned: 0 records; expected 2",
        ),
    ],
)
def test_a_file_that_changed_since_the_scan_is_an_error(
    tmp_path: Path, name: str, content: bytes, later: bytes, message: str
) -> None:
    plan = plan_of(tmp_path, {name: content})
    (tmp_path / name).write_bytes(later)
    with pytest.raises(InputError) as caught:
        all_of(plan)
    assert str(caught.value).startswith(f"{name}: {message}")


def test_damage_inside_of_a_parquet_page_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    table = pa.table({"text": [random.Random(i).randbytes(20).hex() for i in range(500)]})
    content = bytearray(parquet(table, write_page_checksum=True, use_dictionary=False))
    content[200:230] = bytes(30)
    plan = plan_of(tmp_path, {"x.parquet": bytes(content)})
    with pytest.raises(InputError, match=r"^x\.parquet: truncated or damaged \(.*CRC.*\); expected a whole"):
        all_of(plan)


def test_a_file_that_vanished_since_the_scan_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, {"x.jsonl": jsonl({"text": "a"})})
    (tmp_path / "x.jsonl").unlink()
    with pytest.raises(InputError) as caught:
        all_of(plan)
    assert str(caught.value).startswith("x.jsonl: cannot be read (no such file); expected a readable file")
