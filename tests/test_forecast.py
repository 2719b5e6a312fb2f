"""What a run would take: a sample stands for the whole, and a disk that is too small is refused early."""

from __future__ import annotations

import gzip
import io
import shutil
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import make_corpus
from rich.console import Console

import curate
from curate.engine.local import LocalEngine
from curate.errors import StorageError
from curate.forecast import Plan, check_disk, disk, memory, rehearsal, sample
from curate.forecast import plan as planning
from curate.forecast.growth import Fit, Scale
from curate.forecast.rehearsal import Held
from curate.io.read import read
from curate.io.scan import SourcePlan, scan
from curate.pipeline import Watch
from curate.recipe import load
from curate.show import plan as show

Usage = namedtuple("Usage", "total used free")


def _rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {"id": n, "text": f"record number {n} says " + "word " * (n % 50)}
        for n in range(first, first + count)
    ]


@pytest.fixture
def layouts(tmp_path: Path) -> Iterator[tuple[SourcePlan, ...]]:
    """One source of each layout, 3,000 records in each file."""
    rows = _rows(0, 3000)
    lines = b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    (tmp_path / "lines.jsonl").write_bytes(lines)
    (tmp_path / "packed.jsonl.gz").write_bytes(gzip.compress(lines))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "table.parquet", row_group_size=1000)
    with pa.ipc.new_file(str(tmp_path / "table.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    comma = "\n".join(["id,text", *(f'{row["id"]},"{row["text"]}\nsecond line"' for row in rows)])
    (tmp_path / "comma.csv").write_text(comma + "\n")
    names = ("lines.jsonl", "packed.jsonl.gz", "table.parquet", "table.arrow", "comma.csv")
    sources = "\n".join(
        f"  - {{name: s{i}, files: [{name}], license: CC0-1.0}}" for i, name in enumerate(names)
    )
    (tmp_path / "curate.yaml").write_text(
        f'curate: 1\nname: layouts\nversion: "1"\nsources:\n{sources}\nstages: [exact]\n'
    )
    recipe = load(tmp_path / "curate.yaml")
    with LocalEngine(1) as engine:
        yield scan(recipe.sources, tmp_path, engine, unit_bytes=20_000)


def test_a_sample_is_read_like_the_whole_from_every_layout(
    layouts: tuple[SourcePlan, ...], tmp_path: Path
) -> None:
    taken = sample.take(layouts, tmp_path / "copies", records=1500)
    for plan, cut in zip(layouts, taken.plans, strict=True):
        whole = {row["id"]: row["text"] for chunk in _read(plan) for row in chunk}
        rows = [row for chunk in _read(cut) for row in chunk]
        assert 200 <= len(rows) <= 700, plan.files[0].path  # its fifth, stretches end where a block ends
        assert {row["id"]: row["text"] for row in rows}.items() <= whole.items()
        assert taken.taken[plan.source.name].records == len(rows)
    spread = [unit.start for unit in taken.plans[0].units]
    assert max(spread) > layouts[0].files[0].bytes // 2  # not only from the file's beginning


def _read(plan: SourcePlan) -> Iterator[list[dict[str, Any]]]:
    for unit in plan.units:
        for chunk in read(plan, unit):
            assert not chunk.faults
            yield chunk.batch.select(["id", "text"]).to_pylist()


def test_a_packed_file_weighs_the_same_in_a_sample_as_in_the_whole(tmp_path: Path) -> None:
    rows = _rows(0, 3000)
    comma = "\n".join(["id,text", *(f'{row["id"]},"{row["text"]}"' for row in rows)])
    (tmp_path / "comma.csv.gz").write_bytes(gzip.compress(comma.encode()))
    table = pa.Table.from_pylist(rows)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(str(tmp_path / "table.arrow"), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=1500)
    (tmp_path / "curate.yaml").write_text(
        "curate: 1\nname: packed\nversion: '1'\nstages: [exact]\nsources:\n"
        "  - {name: a, files: [comma.csv.gz], license: CC0-1.0}\n"
        "  - {name: b, files: [table.arrow], license: CC0-1.0}\n"
    )
    recipe = load(tmp_path / "curate.yaml")
    with LocalEngine(1) as engine:
        plans = scan(recipe.sources, tmp_path, engine)
    taken = sample.take(plans, tmp_path / "copies", records=1500)
    few = sample.few(taken, 4, tmp_path)
    for plan in plans:
        per_record = plan.files[0].bytes / 3000
        for part in (taken, few):
            of = part.taken[plan.source.name]
            assert of.nbytes / of.records == pytest.approx(per_record, rel=0.1)


def test_a_budget_below_what_one_process_takes_is_told(corpus: Path) -> None:
    notes: list[str] = []
    for given in ("300MB", "1GB"):
        watch = Watch(note=notes.append)
        curate.run(corpus / "curate.yaml", corpus / given, workers=1, memory=given, watch=watch)
    [note] = notes
    assert note.startswith(
        "--memory 300MB: one process is reckoned to take up to 650MB; this run has only one"
    )


def test_all_is_taken_where_there_is_little(layouts: tuple[SourcePlan, ...], tmp_path: Path) -> None:
    taken = sample.take(layouts, tmp_path / "copies", records=10**6)
    assert [plan.units for plan in taken.plans] == [plan.units for plan in layouts]


def test_costs_of_units_and_of_bytes_are_told_apart() -> None:
    short, full, run = Scale(10, 40, 4_000), Scale(10, 1_000, 100_000), Scale(500, 5 * 10**6, 10**9)
    grows = Fit(short, full, run)

    def cost(scale: Scale) -> float:
        return 0.005 * scale.units + 2e-6 * scale.nbytes

    assert grows.to(cost(short), cost(full), once=False) == pytest.approx(cost(run))
    once = grows.to(0.5 + 2e-6 * short.nbytes, 0.5 + 2e-6 * full.nbytes, once=True)
    assert once == pytest.approx(0.5 + 2e-6 * run.nbytes)


def test_shared_pages_count_once_together_and_for_every_process_in_sum() -> None:
    tree = memory.Tree.of([Held(100, 50), Held(200, 60), Held(200, 60)])
    assert tree == memory.Tree(together=560, resident=670)


def _write(folder: Path) -> Path:
    make_corpus(folder)
    stages = "stages: [exact, {minhash: {similarity: 0.7, recall: 0.99}}]"
    sources = "sources: [{name: docs, files: [docs/a.jsonl, docs/b.jsonl], license: CC0-1.0}]"
    (folder / "curate.yaml").write_text(f'curate: 1\nname: small\nversion: "1"\n{sources}\n{stages}\n')
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return _write(tmp_path)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A small corpus, and the plan of its run: of two workers the budget holds one."""
    folder = _write(tmp_path_factory.mktemp("planned"))
    before = sorted(folder.rglob("*"))
    plan = curate.plan(folder / "curate.yaml", workers=2, memory="600MB")
    assert sorted(folder.rglob("*")) == before
    return folder, plan


def test_the_plan_of_a_small_corpus_is_what_its_run_takes(planned: tuple[Path, Plan]) -> None:
    folder, plan = planned
    manifest = curate.run(folder / "curate.yaml", workers=1).manifest
    stages = {stage["name"]: stage for stage in manifest["stages"]}
    assert plan.sample["records"] == plan.sample["of"] == stages["read"]["seen"]
    entering = {step["title"]: step["records"] for step in plan.steps}
    assert entering["exact → minhash: sketch"] == stages["exact"]["seen"]
    assert entering["minhash: resolve"] == stages["minhash"]["seen"]
    assert entering["write"] == stages["minhash"]["kept"]
    assert plan.disk["release"] == pytest.approx(rehearsal.size(folder / "release"), rel=0.02)


def test_a_plan_adds_up_and_keeps_to_the_budget(planned: tuple[Path, Plan]) -> None:
    _, plan = planned
    walls = [step["wall_seconds"] for step in plan.steps]
    assert min(walls) > 0
    assert plan.seconds["wall"] == pytest.approx(sum(walls) + plan.seconds["start"])
    assert plan.memory["expected"] == max(step["memory"] for step in plan.steps)
    assert plan.disk["needed"] == plan.disk["release"] + plan.disk["work"]
    assert plan.workers == 1
    assert plan.warnings == []


def test_a_plan_is_shown_with_its_sample_and_totals(planned: tuple[Path, Plan]) -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(show.plan(planned[1]))
    shown = console.export_text()
    for part in (
        "from all 253 records",
        "upper bounds",
        "minhash: resolve",
        "memory: budget 600.0 MB",
        "free",
    ):
        assert part in shown


def test_what_does_not_fit_is_warned_of() -> None:
    held = {"expected": 2 * 10**9, "budget": 10**9, "available": 10**9}
    needs = {"needed": 2000, "free": 1000, "where": "the disk of release"}
    warnings = planning.warnings(held, needs)
    assert [warning.partition(":")[0] for warning in warnings] == ["memory", "memory", "disk"]
    assert warnings[2] == "disk: 2 KB needed, and the disk of release has 1 KB free"
    assert planning.warnings({**held, "expected": 10**9}, {**needs, "free": 2000}) == []


def test_a_run_that_cannot_fit_is_refused_before_anything_is_written(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(corpus.rglob("*"))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 1000))
    with pytest.raises(StorageError, match=r"the disk of .*release has 1 KB free, and this run needs \d+ KB"):
        curate.run(corpus / "curate.yaml", workers=1)
    assert sorted(corpus.rglob("*")) == before


def test_what_lies_in_work_already_is_not_needed_again(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(corpus / "curate.yaml")
    with LocalEngine(1) as engine:
        plans = scan(recipe.sources, corpus, engine)
    out = corpus / "release"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, 1000))
    with pytest.raises(StorageError):
        check_disk(recipe, plans, out)
    (out / "work").mkdir(parents=True)
    (out / "work" / "unit").write_bytes(b"x" * sum(disk.least(recipe, plans)))
    check_disk(recipe, plans, out)


def test_a_release_in_object_storage_is_made_on_the_machine_s_own_disk(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load(corpus / "curate.yaml")
    with LocalEngine(1) as engine:
        plans = scan(recipe.sources, corpus, engine)
    work, release = disk.least(recipe, plans)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, release))
    check_disk(recipe, plans, "s3://bucket/release")  # its units need no room here
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9, release - 1))
    with pytest.raises(StorageError, match="TMPDIR"):
        check_disk(recipe, plans, "s3://bucket/release")
    assert work > 0


def test_the_planned_scale_is_what_the_measurements_give(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = Path(__file__).parent.parent / "benchmarks"
    monkeypatch.setattr(sys, "path", [str(benchmarks), *sys.path])
    import scale

    text = (benchmarks / "scale.md").read_text()
    assert scale.placed(text, scale.report(*scale.stored())) == text
    changed = scale.stored()
    changed[0]["results"][-1]["seconds"]["pii"] *= 2
    assert scale.placed(text, scale.report(*changed)) != text
