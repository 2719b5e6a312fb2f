"""Shards are cut before they are written: every record once and in order, near the wanted size, by any worker."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RECIPE, contents, make_corpus, sentence, write_jsonl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import curate
from curate import shards
from curate.engine.local import LocalEngine
from curate.io import write
from curate.io.sizes import record_sizes
from curate.io.store import Store
from curate.outcome import Writer
from curate.shards import cutting, doubled, trails
from curate.shards.cutting import Block, Cutter, Sampler
from curate.shards.trails import Trail

TABLES = ("data", "records", "leaves", "ledger", "removed", "index")
INDEXED = "output: {index: true}\n"
SMALL = "output: {index: true, shard_size: 20kB, format: %s}\n"


def _run(folder: Path, output: str, out: str, **options: Any) -> Path:
    (folder / "curate.yaml").write_text(RECIPE + output)
    return curate.run(folder / "curate.yaml", folder / out, **{"workers": 1, **options}).path


def _rows(out: Path, table: str, stem: str = "part") -> pa.Table:
    return pq.read_table(sorted((out / table).glob(f"{stem}-*.parquet")))


@pytest.mark.parametrize("sealed", [False, True])
def test_many_shards_hold_what_one_holds_in_the_same_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    make_corpus(tmp_path, 400)
    key = ""
    if sealed:
        monkeypatch.setenv("REMOVED_KEY", "0123456789abcdef0123456789abcdef")
        key = ", encrypt_removed: {key_env: REMOVED_KEY}"
    one = _run(tmp_path, INDEXED.replace("}", f"{key}}}"), "one")
    monkeypatch.setattr(write, "GROUP_RECORDS", 16)
    small = (SMALL % "parquet").replace("}", f"{key}}}")
    many = _run(tmp_path, small, "many")
    for table in TABLES:
        assert _rows(many, table).equals(_rows(one, table)), table
    assert _rows(many, "removed", "edited").equals(_rows(one, "removed", "edited"))
    counts = [len(list((many / table).glob("part-*"))) for table in TABLES]
    assert min(counts[0], counts[4], counts[5]) > 1
    for number in range(counts[0]):
        sizes = {pq.read_metadata(many / t / f"part-{number:05d}.parquet").num_rows for t in TABLES[:3]}
        assert len(sizes) == 1
    other = _run(tmp_path, small, "other", batch_size=7)
    assert contents(other) == contents(many)
    told = [curate.load(out).manifest["merkle"] for out in (one, many)]
    assert told[0] == told[1]


def test_shards_come_near_the_wanted_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(4)
    rows = [{"id": i, "text": sentence(rng, rng.randrange(400))} for i in range(3000)]
    for number in range(6):  # units end within shards
        write_jsonl(tmp_path / "docs" / f"{number}.jsonl", rows[number * 500 : number * 500 + 500])
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: n\nversion: '1'\nsources: [{name: docs, files: [docs/*.jsonl], license: MIT}]\n"
        "stages: [conversation]\noutput: {shard_size: 300kB}\n"
    )
    monkeypatch.setattr(write, "GROUP_BYTES", 100_000)
    monkeypatch.setattr(cutting, "SAMPLE", 50_000)
    monkeypatch.setattr(cutting, "STRIDE", 200_000)
    out = curate.run(tmp_path / "curate.yaml", tmp_path / "out", workers=1).path
    sizes = [path.stat().st_size for path in sorted((out / "data").iterdir())]
    assert len(sizes) > 3
    assert all(240_000 < size < 400_000 for size in sizes[:-1])


def test_tables_written_apart_are_those_written_together_and_a_remote_store_changes_nothing(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "GROUP_RECORDS", 16)
    recipe = corpus / "curate.yaml"
    recipe.write_text(RECIPE + SMALL % "jsonl.zst")
    seen: dict[str, dict[str, bytes]] = {}
    trees = []
    whole: Any = shards.write

    class Many:
        """An engine that says it has many workers."""

        workers = 40
        map = staticmethod(map)

    def spy(plans: Any, chains: Any, to: Store, folder: Path, *rest: Any) -> shards.Written:
        *middle, engine, key = rest
        variants = {
            "apart": (Store.at(folder), Many()),
            "remote": (Store.at("memory://bucket/release"), engine),
        }
        for name, (store, mapper) in variants.items():
            made = whole(plans, chains, store, folder, *middle, mapper, key)
            trees.append(made.tree)
            seen[name] = {
                p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
            }
            assert {shard.path for some in made.shards.values() for shard in some} == {
                folder / path for path in seen[name]
            }
            for path in seen[name]:
                (folder / path).unlink()
        written: shards.Written = whole(plans, chains, to, folder, *rest)
        trees.append(written.tree)
        seen["together"] = {
            p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
        }
        return written

    monkeypatch.setattr("curate.shards.write", spy)
    curate.run(recipe, corpus / "out", workers=1)
    assert len(seen["together"]) > 8
    assert seen["apart"] == seen["together"]
    assert seen["remote"] == seen["together"]
    assert trees[0] == trees[1] == trees[2]


@pytest.mark.parametrize("sealed", [False, True])
def test_what_a_sample_is_packed_to_does_not_show_how_the_records_came(
    monkeypatch: pytest.MonkeyPatch, sealed: bool
) -> None:
    monkeypatch.setattr(cutting, "SAMPLE", 700)
    monkeypatch.setattr(cutting, "STRIDE", 2000)
    rng = random.Random(1)
    rows = [
        {"n": rng.choice([None, i]), "license": rng.choice([None, "MIT"]), "text": "w" * i} for i in range(90)
    ]
    whole, told = pa.RecordBatch.from_pylist(rows), set()
    for size in (1, 3, 7, 40, 90):
        sampler = Sampler(sealed)
        for start in range(0, len(rows), size):
            batch = whole.slice(start, size)
            sampler.add(batch, record_sizes(batch))
        sampler.flush()
        told.add((sampler.raw, sampler.packed))
    assert len(told) == 1
    assert told.pop()[0] > 700  # of more than one run


UNITS = st.lists(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 30)), max_size=20), min_size=1, max_size=5
)


@given(UNITS, st.lists(st.integers(1, 19), max_size=6), st.integers(10, 200), st.integers(2, 9))
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_stretches_hold_every_row_once_however_the_rows_arrive(
    units: list[list[tuple[int, int]]], cuts: list[int], shard_size: int, most: int
) -> None:
    """units: of each record, how many lines it has, and their size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "GROUP_RECORDS", most)
        patch.setattr(write, "GROUP_BYTES", 60)

        def blocks(cuts: list[int]) -> list[Block]:
            cutter = Cutter()
            for unit, records in enumerate(units):
                for start, stop in itertools.pairwise(
                    sorted({0, len(records), *(c for c in cuts if c < len(records))})
                ):
                    lines = [
                        (row + 1, size)
                        for row in range(start, stop)
                        for size in [records[row][1]] * records[row][0]
                    ]
                    rows, sizes = (np.array([line[i] for line in lines], np.int64) for i in (0, 1))
                    cutter.add(unit, rows, sizes, begins=not start)
            return cutter.blocks(1.0)

        found = blocks([])
        assert blocks(cuts) == found
    stretches = cutting.stretches([Trail(f"{n}", ()) for n in range(len(units))], found, shard_size)
    held: list[tuple[int, int]] = []
    for stretch in stretches:
        before = len(held)
        assert stretch.first == before
        for trail in stretch.trails:
            for row, (lines, _) in enumerate(units[int(trail.source)], 1):
                if row >= trail.first and (trail.stop is None or row < trail.stop):
                    held += [(int(trail.source), row)] * lines
        if found:
            assert len(held) > before  # no shard is empty
    assert held == [
        (n, row)
        for n, records in enumerate(units)
        for row, (lines, _) in enumerate(records, 1)
        for _ in range(lines)
    ]


def _unit(folder: Path, number: int, kept: list[str], removed: list[str]) -> Trail:
    """Write a unit's folder with nothing in it but ids; rows alternate as they may."""
    unit = folder / f"unit-{number}"
    unit.mkdir(parents=True)
    out = Writer(unit)
    both = [(name, "records") for name in kept] + [(name, "removed.01.00") for name in removed]
    random.Random(number).shuffle(both)
    for row, (name, file) in enumerate(both, 1):
        batch = {"id": [name], "source": ["s"], "_path": [f"{number}.jsonl"], "_row": [row]}
        out.append(file, pa.record_batch(batch))
    out.create(
        "records",
        pa.schema(
            [("id", pa.string()), ("source", pa.string()), ("_path", pa.string()), ("_row", pa.int64())]
        ),
    )
    out.close({})
    files = tuple(sorted(path.name for path in unit.iterdir() if path.suffix == ".arrow"))
    return Trail("s", ((Store.at(unit), files),))


NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=6)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 400))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_doubled_ids_are_found_as_counting_finds_them(
    tmp_path_factory: pytest.TempPathFactory, units: list[tuple[list[str], list[str]]], run: int, memory: int
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    made = [_unit(folder, n, *[[f"s/{i}" for i in some] for some in unit]) for n, unit in enumerate(units)]
    counts = Counter(f"s/{i}" for unit in units for some in unit for i in some)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubled, "_RUN", run)
        patch.setattr(doubled, "_LOOKED_UP", run)
        patch.setattr(trails, "_BUNDLE_UNITS", 2)
        chains = [_Chain(sum(map(len, unit))) for unit in units]
        store = Store.at(folder / "noted")
        store.clear()
        flagged, totals = doubled.find(chains, made, store, LocalEngine(1), memory)  # type: ignore[arg-type]
    told = []
    for number, trail in flagged.items():
        rows = []
        for where, file in trail.named("ledger"):
            for batch in trail.batches(where, file):
                told += [(number, line["id"], line["evidence"]) for line in batch.to_pylist()]
                rows += batch.column("_row").to_pylist()
        assert rows == sorted(rows)
    expected = {name: n for name, n in counts.items() if n > 1}
    assert Counter(name for _, name, _ in told) == Counter(expected)
    assert all(f'"records":{expected[name]}' in evidence for _, name, evidence in told)
    assert {n for n, *_ in told} == set(flagged)
    assert totals == ({"s": sum(expected.values())} if expected else {})


class _Chain:
    """As much of a chain as the search for doubled ids looks at."""

    def __init__(self, records: int) -> None:
        self.unit = type("Unit", (), {"records": records})()
        self.plan = type(
            "Plan", (), {"fields": {"id": "id"}, "source": type("Source", (), {"name": "s"})()}
        )()


def test_kept_records_are_read_from_the_middle_of_a_file(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    whole = shards.doubled.find

    def spy(chains: Any, *rest: Any) -> Any:
        trail = Trail.of(chains[0])
        places = list(trails.placed(trail.kept))
        rows = pa.concat_batches([batch for _, batch in places]).column("_row").to_pylist()
        for offset, batch in places[1:]:
            first = batch.column("_row")[2].as_py()
            part = trail.stretch(first, rows[-1], offset)
            read = [row for found in part.records() for row in found.column("_row").to_pylist()]
            assert read == [row for row in rows if first <= row < rows[-1]]
            assert next(trails.placed(trail.kept, offset))[0] == offset
            checked.append(first)
        return whole(chains, *rest)

    monkeypatch.setattr(shards.doubled, "find", spy)
    curate.run(corpus / "curate.yaml", corpus / "out", workers=1, batch_size=20)
    assert len(checked) > 2
