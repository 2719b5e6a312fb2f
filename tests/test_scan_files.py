"""The scan: every bad file is found, named and explained, all together, before anything is written."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from reading import (
    Serial,
    all_of,
    failure,
    ipc,
    jsonl,
    parquet,
    plan_of,
)

from curate.errors import InputError
from curate.io.scan import scan
from curate.source import Source

LINES = jsonl({"text": "a"}) * 50
NOISE = jsonl({"text": random.Random(3).randbytes(600).hex()})
TABLE = pa.table({"text": ["a", "b"] * 200})
PARQUET, ARROW, STREAM = parquet(TABLE), ipc(TABLE), ipc(TABLE, stream=True)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12\n"
KNOWN = ".jsonl .ndjson .json .parquet .arrow .ipc .feather .csv .tsv, the text ones also with .gz or .zst"
CUT = "ends too soon (truncated); expected an intact file; fetch it again"

BAD_FILES = {
    "empty.jsonl": (
        b"",
        "the file is empty (0 bytes); expected jsonl; fetch it again or take it out of the source",
    ),
    "pointer.parquet": (
        POINTER,
        "a Git LFS pointer, not the data; expected parquet; run 'git lfs pull' where it was cloned",
    ),
    "pointer.jsonl.gz": (
        POINTER,
        "a Git LFS pointer, not the data; expected gzip jsonl; run 'git lfs pull' where it was cloned",
    ),
    "page.jsonl": (
        b"\n <!DOCTYPE html><html>",
        "a web page saved as data; expected jsonl; download the file itself (it may need a log-in)",
    ),
    "cut.jsonl.gz": (gzip.compress(NOISE)[:-30], f"the gzip data {CUT}"),
    "cut.jsonl.zst": (zstandard.compress(NOISE)[:-30], f"the zstd data {CUT}"),
    "sum.jsonl.gz": (
        gzip.compress(LINES)[:-8] + bytes(8),
        "the gzip data is damaged; expected an intact file; fetch it again",
    ),
    "tail.jsonl.zst": (
        zstandard.compress(LINES) + b"more",
        "the zstd data is damaged; expected an intact file; fetch it again",
    ),
    "plain.jsonl.gz": (LINES, "other data; expected gzip jsonl; fetch it again or correct its name"),
    "packed.jsonl": (gzip.compress(LINES), "gzip data; expected jsonl; end its name in .gz"),
    "zip.csv": (b"PK\x03\x04", "a zip archive; expected csv; unpack it"),
    "wide.jsonl": ('{"text": "a"}'.encode("utf-16"), "UTF-16 text; expected jsonl; convert it to UTF-8"),
    "half.parquet": (
        PARQUET[: len(PARQUET) // 2],
        "truncated or damaged (Parquet magic bytes not found in footer. Either the file is corrupted or this "
        "is not a parquet file); expected a whole parquet file; fetch or write it again",
    ),
    "lines.parquet": (LINES, "other data; expected parquet; fetch it again or correct its name"),
    "half.arrow": (
        ARROW[: len(ARROW) // 2],
        "truncated or damaged (Not an Arrow file); expected a whole arrow file; fetch or write it again",
    ),
    "half.ipc": (
        STREAM[: len(STREAM) // 2],
        "truncated or damaged (Expected to be able to read 2008 bytes for message body, got 868); expected a "
        "whole arrow file; fetch or write it again",
    ),
    "old.feather": (b"FEA1....", "Feather V1 data; expected arrow; write it again as Arrow IPC (Feather V2)"),
    "array.json": (
        b'[{"text": "a"}]',
        "a JSON array as a whole file; expected one object per line; convert it: jq -c .[]",
    ),
    "array.jsonl": (
        b'[\n{"text": "a"}\n]',
        "a JSON array as a whole file; expected one object per line; convert it: jq -c .[]",
    ),
    "pretty.json": (
        b'{\n"text": "a"\n}',
        "a JSON object as a whole file; expected one object per line; convert it: jq -c .",
    ),
    "keys.jsonl": (
        jsonl(*({f"key {i}": 1} for i in range(2001))),
        "more than 2000 different keys; expected the same few in every record; keep what varies "
        "under one key",
    ),
    "twins.csv": (
        b"text,text\na,b\n",
        "the column 'text' appears twice; expected different names; rename one of them",
    ),
    "twins.parquet": (
        parquet(pa.table([["a"], ["b"]], names=["text", "text"])),
        "the column 'text' appears twice; expected different names; rename one of them",
    ),
    "quote.csv": (
        b'"text,b\n',
        "a header that is broken (unexpected end of data); expected the columns' names in the first line; "
        "add or mend it",
    ),
    "none.csv.gz": (
        gzip.compress(b"\n"),
        "no header; expected the columns' names in the first line; add or mend it",
    ),
    "notes.txt": (
        b"hello",
        f"the name does not tell how the file is laid out; expected one of {KNOWN}; rename it",
    ),
    "x.parquet.gz": (
        gzip.compress(PARQUET),
        "a compressed parquet file; expected a plain one (it compresses inside); unpack it",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_what_was_found_expected_and_to_do(tmp_path: Path, name: str) -> None:
    content, message = BAD_FILES[name]
    assert failure(tmp_path, {name: content}, format="text") == f"{name}: {message}"


def test_all_bad_files_of_all_sources_are_reported_together(tmp_path: Path) -> None:
    for name, (content, _) in BAD_FILES.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "good.jsonl").write_bytes(jsonl({"words": "a"}))
    names = sorted(BAD_FILES)
    sources = [
        Source(name="a", files=tuple(names[:9])),
        Source(name="b", files=tuple(names[9:])),
        Source(name="c", files=("missing.jsonl",)),
        Source(name="d", files=("good.jsonl",)),
    ]
    with pytest.raises(InputError) as caught:
        scan(sources, tmp_path, Serial())
    report = str(caught.value).split("\n")
    assert len(report) == len(BAD_FILES) + 2
    assert {f"{name}: {message}" for name, (_, message) in BAD_FILES.items()} < set(report)
    assert any(line.startswith("source 'c': nothing matches 'missing.jsonl'") for line in report)
    assert any(line.startswith("source 'd': the format cannot be told from good.jsonl") for line in report)


def test_row_groups_outside_of_the_file_are_noticed(tmp_path: Path) -> None:
    # The footer is whole and where it belongs, but the data in front of it is gone.
    footer = int.from_bytes(PARQUET[-8:-4], "little") + 8
    big = parquet(pa.table({"text": [random.Random(i).randbytes(40).hex() for i in range(900)]}))
    moved = big[:4] + big[-(int.from_bytes(big[-8:-4], "little") + 8) :]
    assert len(moved) > footer
    message = "x.parquet: row group 0 lies outside of the file; expected a whole file; fetch it again"
    assert failure(tmp_path, {"x.parquet": moved}) == message


def test_a_file_that_may_not_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "x.jsonl").write_bytes(LINES)
    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError) as caught:
        scan([Source(name="s", files=("x.jsonl",))], tmp_path, Serial())
    assert str(caught.value) == (
        "x.jsonl: cannot be read (permission denied); expected a readable file; check its permissions "
        "and storage"
    )


@pytest.mark.parametrize(
    "files",
    [
        {"x.parquet": parquet(TABLE.slice(0, 0))},
        {"x.arrow": ipc(TABLE.slice(0, 0))},
        {"x.csv": b"text\n"},
        {"x.jsonl": b"\n\r\n  \n"},
        {"x.jsonl.zst": zstandard.compress(b"")},
    ],
)
def test_a_whole_file_may_hold_no_records(tmp_path: Path, files: dict[str, bytes]) -> None:
    plan = plan_of(tmp_path, files, format="text")
    assert [file.records for file in plan.files] == [0]
    assert plan.units == ()
    assert plan.fields["text"] == "text"


def test_files_of_every_layout_are_read_from_paths_with_two_colons(tmp_path: Path) -> None:
    folder = tmp_path / "a::b"
    folder.mkdir()
    files = {
        "co::x.jsonl": LINES,
        "co::x.jsonl.gz": gzip.compress(LINES),
        "c::d/y.parquet": PARQUET,
        "c::d/y.arrow": ARROW,
        "::z.csv": b"text\na\n",
    }
    table, faults = all_of(plan_of(folder, files, format="text"))
    assert (table.num_rows, faults) == (50 + 50 + 400 + 400 + 1, [])


def test_a_name_that_is_not_utf8_is_refused_and_named(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.jsonl")).write_bytes(LINES)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    with pytest.raises(InputError) as caught:
        scan([Source(name="s", files=("*.jsonl",))], tmp_path, Serial(), tmp_path / "cache")
    assert str(caught.value) == ("caf\\xe9.jsonl: the name is not UTF-8; expected a path in UTF-8; rename it")
