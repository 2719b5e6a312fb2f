"""Shards: rolled by size on disk, aligned, the same bytes however the records arrive, and loadable."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.io import write
from curate.io.columns import JSON_TEXT
from curate.io.sizes import record_sizes
from curate.io.write import Format, RowGroups, ShardWriter, Stream
from curate.record import MESSAGES

RNG = random.Random(3)
TABLE = pa.table(
    {
        "id": [f"s/{i}" for i in range(3000)],
        "text": ["".join(RNG.choices("abcdefghij ", k=RNG.randrange(400))) for _ in range(3000)],
        "meta": pa.array([f'{{"n":{i}}}' for i in range(3000)]),
    },
    schema=pa.schema(
        [("id", pa.string()), ("text", pa.string()), pa.field("meta", pa.string(), metadata=JSON_TEXT)]
    ),
)
SIDE = pa.table({"n": list(range(3000))})


def _shards(
    folder: Path, cuts: list[int], format: Format, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    monkeypatch.setattr(write, "GROUP_BYTES", 50_000)
    writer = ShardWriter(Stream(folder, TABLE.schema, format), shard_size=100_000)
    edges = sorted({0, 3000, *cuts})
    for start, stop in itertools.pairwise(edges):
        writer.append(TABLE.slice(start, stop - start))
    writer.close()
    assert sum(shard.records for shard in writer.shards) == 3000
    assert all(shard.path.stat().st_size == shard.bytes for shard in writer.shards)
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_row_groups_of_aligned_tables_end_together_however_the_records_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(write, "GROUP_BYTES", 50_000)

    def groups(cuts: list[int]) -> list[list[pa.Table]]:
        cutter = RowGroups([TABLE.schema, SIDE.schema])
        found: list[list[pa.Table]] = []
        for start, stop in itertools.pairwise(sorted({0, 3000, *cuts})):
            found += cutter.add([table.slice(start, stop - start) for table in (TABLE, SIDE)])
        return [*found, *cutter.rest()]

    whole = groups([])
    assert len(whole) > 5
    for column, table in enumerate((TABLE, SIDE)):
        assert pa.concat_tables([group[column] for group in whole]).equals(table)
    sizes = [int(record_sizes(group[0]).sum()) for group in whole]
    assert all(50_000 <= size < 50_500 for size in sizes[:-1])

    @settings(max_examples=12, deadline=None)
    @given(st.lists(st.integers(0, 3000), max_size=40))
    def check(cuts: list[int]) -> None:
        assert groups(cuts) == whole

    check()


@pytest.mark.parametrize("format", ["parquet", "jsonl.zst"])
def test_bytes_never_depend_on_how_records_arrive(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, format: Format
) -> None:
    whole = _shards(tmp_path_factory.mktemp("w"), [], format, monkeypatch)
    assert len(whole) > 2

    @settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(0, 3000), max_size=40))
    def check(cuts: list[int]) -> None:
        assert _shards(tmp_path_factory.mktemp("c"), cuts, format, monkeypatch) == whole

    check()


def test_shards_roll_at_the_wanted_size_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shards(tmp_path, [], "parquet", monkeypatch)
    sizes = [p.stat().st_size for p in sorted(tmp_path.iterdir())]
    assert all(100_000 <= size < 160_000 for size in sizes[:-1])


def test_parquet_comes_back_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _shards(tmp_path, [1000], "parquet", monkeypatch)
    parts = [pq.read_table(p) for p in sorted(tmp_path.iterdir())]
    assert pa.concat_tables(parts).equals(TABLE)


def test_json_lines_come_back_whole_with_nested_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shards(tmp_path, [1000], "jsonl.zst", monkeypatch)
    rows = []
    for path in sorted(tmp_path.iterdir()):
        with path.open("rb") as file:
            text = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
        rows += [orjson.loads(line) for line in text.splitlines()]
    assert [row["text"] for row in rows] == TABLE["text"].to_pylist()
    assert rows[5]["meta"] == {"n": 5}


def test_without_records_there_is_one_shard_with_the_schema(tmp_path: Path) -> None:
    writer = ShardWriter(Stream(tmp_path, TABLE.schema), 1000)
    writer.close()
    assert pq.read_schema(tmp_path / "part-00000.parquet").names == TABLE.schema.names


def test_the_size_of_a_record_counts_its_nested_strings() -> None:
    talk = [{"role": "user", "content": "12345"}, {"role": "assistant", "content": "é"}]
    table = pa.table({"a": ["xyz", None], "n": [1, 2], "messages": pa.array([talk, None], MESSAGES)})
    assert record_sizes(table).tolist() == [3 + 8 + 4 + 5 + 9 + 2, 8]


def test_a_text_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write.write_text(tmp_path / "a", "one")
    with pytest.raises(UnicodeEncodeError):
        write.write_text(tmp_path / "a", "two \ud800")
    assert (tmp_path / "a").read_text() == "one"
