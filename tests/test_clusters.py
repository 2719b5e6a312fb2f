"""What deduplication leaves in a release: clusters, the overlap of sources, license conflicts, the datasheet."""

from __future__ import annotations

import hashlib
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import RECIPE, contents, make_corpus, sentence, write_jsonl
from test_semantic import bag, installed

import curate
from curate import clusters
from curate.errors import StageError
from curate.govern import datasheet, overlap
from curate.govern.datasheet import duplicates, markdown
from curate.govern.datasheet.values import Held, chance
from curate.record import Batch
from curate.stage import Engine, Sketches, StageOptions, Verdict

Rewrite = Callable[[Path, str, str], None]

__all__ = ["bag"]  # a fixture


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """The shared corpus and a copy of a part of it, half of it edited, under another license."""
    make_corpus(tmp_path)
    documents = [orjson.loads(line) for line in (tmp_path / "docs" / "a.jsonl").read_bytes().splitlines()]
    copies = [
        {"id": i, "text": record["text"] + (" and so on" if i % 2 else "")}
        for i, record in enumerate(documents[40:70])
    ]
    own = [{"id": f"own-{i}", "text": sentence(random.Random(1000 + i), 50)} for i in range(20)]
    write_jsonl(tmp_path / "mirror.jsonl", [*copies, *own])
    mirror = "  - {name: mirror, files: [mirror.jsonl], license: CC-BY-SA-4.0}\n"
    (tmp_path / "curate.yaml").write_text(RECIPE.replace("stages:\n", f"{mirror}stages:\n"))
    return tmp_path


def run(folder: Path, out: str = "release", **options: Any) -> curate.Release:
    return curate.run(folder / "curate.yaml", folder / out, **{"workers": 1, **options})


def drops(release: curate.Release) -> pl.DataFrame:
    """Return what the ledger says of all duplicates, the sources of the kept records beside."""
    ledger = pl.read_parquet(release.path / "ledger/*").filter(
        pl.col("action").eq("drop") & pl.col("kept_id").is_not_null()
    )
    kept = pl.col("kept_id").str.split("/").list.first().alias("kept_source")
    return ledger.with_columns(kept)


def resolution(release: curate.Release, stage: str) -> dict[str, Any]:
    found = next(entry for entry in release.manifest["stages"] if entry["name"] == stage)
    return {**found["resolution"], "by_source": found["sources"]}


def conflicts(release: curate.Release) -> list[dict[str, Any]]:
    return [found for found in release.manifest["findings"] if found["reason"].endswith("/license-conflict")]


def test_the_table_says_what_the_ledger_and_the_records_say(three: Path) -> None:
    release = run(three)
    table = pl.read_parquet(release.path / "clusters/*")
    assert table.columns == clusters.SCHEMA.names

    wanted = drops(release).select("stage", "id", "kept_id", "score").sort(pl.all())
    told = table.filter(~pl.col("kept")).select("stage", "id", "kept_id", "similarity").sort(pl.all())
    assert told.rows() == wanted.rows()
    assert wanted["stage"].value_counts().height == 2

    by_cluster = table.group_by("stage", "cluster").agg(
        pl.col("kept").sum(), pl.len(), pl.col("size").first(), pl.col("kept_id").drop_nulls().unique()
    )
    assert (by_cluster["kept"] == 1).all()
    assert by_cluster["len"].to_list() == by_cluster["size"].to_list()
    assert (by_cluster["kept_id"].list.len() == 1).all()
    representatives = table.filter(pl.col("kept"))
    assert representatives["similarity"].null_count() == len(representatives)

    facts = {"exact": "exact_cluster", "minhash": "cluster"}
    records = pl.read_parquet(release.path / "records/*")
    removed = pl.read_parquet(release.path / "removed/part-*").select(
        "id", pl.col("curate").struct.field("facts").struct.unnest()
    )
    for stage, fact in facts.items():
        stated = pl.concat([records.select("id", fact), removed.select("id", fact)]).drop_nulls(fact)
        mine = table.filter(pl.col("stage") == stage).select("id", "cluster")
        assert sorted(mine.rows()) == sorted(stated.rows())


def test_the_table_is_sorted_and_listed(three: Path) -> None:
    release = run(three)
    table = pl.read_parquet(release.path / "clusters/*")
    path, row = (pl.col("locator").str.split("#").list.get(at) for at in (0, 1))
    order = [
        pl.col("stage").replace_strict({"exact": 0, "minhash": 1}),
        "cluster",
        ~pl.col("kept"),
        "source",
        path,
        row.cast(pl.Int64),
    ]
    assert table.rows() == table.sort(order).rows()
    (listed,) = (e for e in release.manifest["outputs"] if e["path"].startswith("clusters/"))
    content = (release.path / listed["path"]).read_bytes()
    assert listed["sha256"] == hashlib.sha256(content).hexdigest()
    assert (listed["bytes"], listed["records"]) == (len(content), len(table))
    with clusters_view(release) as view:
        assert view.aggregate("count(*)").fetchall() == [(len(table),)]


def clusters_view(release: curate.Release) -> Any:
    from curate.ledger import connect

    @dataclass
    class View:
        database: Any

        def __enter__(self) -> Any:
            return self.database.table("clusters")

        def __exit__(self, *_: object) -> None:
            self.database.close()

    return View(connect(release.path))


@pytest.mark.parametrize("options", [{"workers": 2}, {"batch_size": 7}])
def test_workers_and_batch_size_never_change_a_byte(three: Path, options: dict[str, Any]) -> None:
    one, other = run(three, "one"), run(three, "other", **options)
    assert contents(one.path) == contents(other.path)


def test_the_order_of_files_and_sources_never_changes_a_byte(three: Path, rewrite: Rewrite) -> None:
    one = run(three, "one")
    rewrite(three / "curate.yaml", "docs/a.jsonl, docs/b.jsonl", "docs/b.jsonl, docs/a.jsonl")
    lines = (three / "curate.yaml").read_text().splitlines(keepends=True)
    (three / "curate.yaml").write_text("".join([*lines[:4], *reversed(lines[4:7]), *lines[7:]]))
    other = run(three, "other")
    assert contents(one.path) == contents(other.path)


def test_a_run_that_goes_on_elsewhere_writes_the_same_table(three: Path, rewrite: Rewrite) -> None:
    whole = run(three, "whole")
    rewrite(three / "curate.yaml", "toys:Shout", "toys:Mute")
    with pytest.raises(StageError):
        run(three, "stopped")
    rewrite(three / "curate.yaml", "toys:Mute", "toys:Shout")
    shutil.move(three / "stopped", three / "moved")
    resumed = run(three, "moved")
    assert contents(resumed.path) == contents(whole.path)


def test_nothing_is_written_where_no_stage_deduplicates(three: Path, rewrite: Rewrite) -> None:
    assert (run(three).path / "clusters").is_dir()
    rewrite(three / "curate.yaml", "  - exact\n  - minhash: {similarity: 0.7, recall: 0.99}\n", "")
    rewrite(three / "curate.yaml", "  - conversation\n", "  - conversation\n  - boilerplate\n")
    release = run(three)
    assert not (release.path / "clusters").exists()  # the earlier run's is gone, too
    assert not any(entry["path"].startswith("clusters/") for entry in release.manifest["outputs"])
    text = (release.path / "datasheet.md").read_text()
    assert "## Duplicates" not in text
    assert "Resolution of **boilerplate**" in text


def test_without_duplicates_the_table_is_empty(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "one thing"}, {"text": "and quite another"}])
    recipe = (
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\nstages: [exact, minhash]\n"
    )
    (tmp_path / "curate.yaml").write_text(recipe)
    release = run(tmp_path)
    assert pq.read_table(release.path / "clusters").num_rows == 0
    assert pq.read_schema(release.path / "clusters/part-00000.parquet").names == clusters.SCHEMA.names
    assert (resolution(release, "minhash")["sizes"], resolution(release, "minhash")["overlap"]) == ([], [])
    assert "| clusters | 0 |" in (release.path / "datasheet.md").read_text()


class Counting:
    """A barrier of one's own that counts records and states no clusters."""

    name: ClassVar[str] = "counting"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type[StageOptions]] = StageOptions

    def __init__(self, options: StageOptions) -> None:
        self.options = options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        return pa.record_batch({"one": pa.array([1] * batch.num_rows)})

    def resolve(self, sketches: Sketches, engine: Engine) -> Any:
        return Counted("counting", sum(part.table(["one"]).num_rows for part in sketches.parts))


@dataclass
class Counted:
    name: str
    records: int
    file: str = "is no file of decisions"

    def judge(self, batch: Batch) -> Verdict:
        return Verdict.of(batch.num_rows)


def test_a_barrier_of_one_s_own_need_not_state_clusters(three: Path, rewrite: Rewrite) -> None:
    rewrite(three / "curate.yaml", "  - exact\n", "  - test_clusters:Counting\n  - exact\n")
    release = run(three)
    assert set(pl.read_parquet(release.path / "clusters/*")["stage"]) == {"exact", "minhash"}


def test_what_an_earlier_release_holds_is_told_apart(three: Path, rewrite: Rewrite) -> None:
    pairs = (three / "pairs.jsonl").read_text()
    (three / "pairs.jsonl").write_text("".join(pairs.splitlines(keepends=True)[:30]))
    text = (three / "curate.yaml").read_text()
    (three / "curate.yaml").write_text(text + "output: {index: true}\n")
    earlier = run(three, "earlier")
    (three / "pairs.jsonl").write_text(pairs)
    rewrite(three / "curate.yaml", "output: {index: true}\n", "")
    rewrite(three / "curate.yaml", "recall: 0.99}", "recall: 0.99, against: [earlier]}")
    release = run(three, "later")
    table = pl.read_parquet(release.path / "clusters/*")
    held = table.filter(pl.col("kept_release").is_not_null())
    assert held["kept_release"].unique().to_list() == [earlier.manifest["root"]]
    assert set(held["source"]) == {"docs", "mirror", "pairs"}
    solved = resolution(release, "minhash")
    assert solved["against"][0]["dropped"] == len(held)
    assert sum(size["records"] for size in solved["sizes"]) == len(
        table.filter((pl.col("stage") == "minhash") & pl.col("kept_release").is_null())
    )
    assert f"release small 1 holds them | {len(held)} |" in section_of(release, "minhash")


@installed
def test_semantic_clusters_are_in_the_table(tmp_path: Path, bag: Path) -> None:
    texts = ["car quick river", "vehicle rapid river", "automobile fast river", "garden violin winter"]
    write_jsonl(tmp_path / "a.jsonl", [{"id": i, "text": text} for i, text in enumerate(texts)])
    recipe = (
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\n"
        f"stages: [exact, semantic: {{model: '{bag}', similarity: 0.9}}]\n"
    )
    (tmp_path / "curate.yaml").write_text(recipe)
    release = run(tmp_path)
    table = pl.read_parquet(release.path / "clusters/*")
    wanted = drops(release).select("id", "kept_id", "score").sort("id")
    assert (
        table.filter(~pl.col("kept")).select("id", "kept_id", "similarity").sort("id").rows() == wanted.rows()
    )
    assert (set(table["stage"]), table["size"].to_list()) == ({"semantic"}, [3, 3, 3])
    assert "### semantic" in (release.path / "datasheet.md").read_text()


def test_overlap_is_counted_by_pair_of_sources(three: Path) -> None:
    release = run(three)
    counted = drops(release).group_by("stage", "source", "kept_source").len()
    ledger = pl.read_parquet(release.path / "ledger/*")
    left = ledger.filter(pl.col("action").is_in(["drop", "quarantine"]))
    read = {entry["source"]: 0 for entry in release.manifest["inputs"]}
    for entry in release.manifest["inputs"]:
        read[entry["source"]] += entry["records"]
    before: dict[str, set[str]] = {"exact": {"read", "license", "conversation"}}
    before["minhash"] = before["exact"] | {"exact"}
    for stage in ("exact", "minhash"):
        wanted = {}
        for _, source, kept_source, records in counted.filter(pl.col("stage") == stage).rows():
            gone = left.filter(pl.col("stage").is_in(before[stage]) & pl.col("source").eq(source))
            wanted[source, kept_source] = (records, round(records / (read[source] - len(gone)), 6))
        assert ("mirror", "docs") in wanted
        told = {
            (pair["source"], pair["kept_source"]): (pair["records"], pair["share"])
            for pair in resolution(release, stage)["overlap"]
        }
        assert told == wanted


def rows_of(text: str, after: str) -> list[list[str]]:
    """Return the cells of the table that follows a text."""
    lines = text[text.index(after) :].split("| ---", 1)[1].split("\n\n", 1)[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def section_of(release: curate.Release, stage: str) -> str:
    text = (release.path / "datasheet.md").read_text()
    return re.split(r"\n##+ ", text[text.index(f"### {stage}\n") + 4 :])[0]


def test_the_datasheet_says_what_the_tables_say(three: Path) -> None:
    release = run(three)
    for stage in ("exact", "minhash"):
        mine = drops(release).filter(pl.col("stage") == stage)
        table = pl.read_parquet(release.path / "clusters/*").filter(pl.col("stage") == stage)
        text = section_of(release, stage)
        sizes = table.group_by("cluster").len()["len"]
        numbers = dict(rows_of(text, "|  | number |"))
        assert numbers["clusters"] == str(len(sizes))
        assert numbers["records dropped"] == str(len(mine))
        assert numbers["records of the largest cluster"] == str(sizes.max())
        assert int(numbers["read again as candidates"]) >= len(table)
        by_size = [
            [name, str(len(found)), str(found.sum())]
            for name, least, most in [("2", 2, 2), ("3-5", 3, 5), ("6-10", 6, 10)]
            if len(found := sizes.filter(sizes.is_between(least, most)))
        ]
        assert rows_of(text, "Clusters by size") == by_size
        assert len(by_size) == 2
        sources = resolution(release, stage)["by_source"]
        cells = {
            (source, kept): f"{n} ({n / sources[source]['seen']:.1%})"
            for source, kept, n in mine.group_by("source", "kept_source").len().rows()
        }
        kept = sorted(mine["kept_source"].unique())
        matrix = [[s, *(cells.get((s, k), "–") for k in kept)] for s in sorted(mine["source"].unique())]
        assert rows_of(text, "Overlap of sources") == matrix
    scores = mine["score"].to_list()
    classes = [
        [f"{i / 20:.2f} to below {(i + 1) / 20:.2f}", n]
        for i in range(14, 20)
        if (n := str(sum(i / 20 <= score < (i + 1) / 20 for score in scores))) != "0"
    ]
    assert rows_of(text, "Dropped records by their similarity") == classes
    assert len(classes) == 3
    assert "Asked for: similarity 0.7, recall 0.99." in text
    solved = resolution(release, "minhash")
    assert f"{solved['bands']} bands × {solved['rows']} rows" in text
    curve = {similarity: float(chance) for similarity, chance in rows_of(text, "Chance that a pair")}
    assert curve["0.50"] == pytest.approx(1 - (1 - 0.5 ** solved["rows"]) ** solved["bands"], abs=1e-4)


def test_rendering_again_gives_the_same_bytes(three: Path) -> None:
    release = run(three)
    path = release.path / "datasheet.md"
    text = path.read_bytes()
    path.unlink()
    assert path in curate.datasheet(release.path)
    assert path.read_bytes() == text


def test_only_what_is_certain_reads_as_certain() -> None:
    assert [chance(Held(found)).text for found in (0.99999, 1.0)] == ["0.9999", "1.0000"]


def _overlap(pairs: list[dict[str, object]]) -> str:
    blocks = duplicates._overlap(Held({"name": "exact"}), Held(pairs))
    return "\n\n".join(markdown._block(block) for block in blocks)


def test_of_many_sources_the_datasheet_shows_the_largest_pairs() -> None:
    pairs: list[dict[str, object]] = [
        {"source": f"s{i:02d}", "kept_source": f"s{i - 1:02d}", "records": i, "share": i / 100}
        for i in range(1, 41)
    ]
    shown = _overlap(pairs)
    rows = rows_of(shown, "Overlap of sources")
    assert rows[0] == ["s40", "s39", "40 (40.0%)"]
    assert len(rows) == duplicates.PAIRS
    assert "Only the pairs with the most records are shown" in shown
    assert "Only the pairs" not in _overlap(pairs[:20])
    assert "columns: of the kept" in _overlap(pairs[:11])


def test_an_older_manifest_can_still_be_rendered(three: Path) -> None:
    manifest = run(three).manifest
    for stage in manifest["stages"]:
        for name in ("sizes", "similarities"):
            stage.get("resolution", {}).pop(name, None)
        for pair in stage.get("resolution", {}).get("overlap", ()):
            del pair["share"]
    text = datasheet.render(manifest)["datasheet.md"].decode()
    assert "| mirror | 15 |" in text
    assert "Clusters by size" not in text


def test_a_relabelled_copy_is_reported(three: Path) -> None:
    release = run(three)
    (found,) = conflicts(release)
    mine = drops(release).filter((pl.col("source") == "mirror") & (pl.col("kept_source") == "docs"))
    assert found["reason"] == "release/license-conflict"
    assert (found["severity"], found["count"]) == ("warning", len(mine))
    assert len(mine) == 30
    assert "sources docs and mirror have 30 records in common (60.0% of those of mirror" in found["message"]
    assert "15 by exact, 15 by minhash" in found["message"]
    assert "CC0-1.0 in docs, CC-BY-SA-4.0 in mirror (30)" in found["message"]
    pairs = {f"{row['id']} → {row['kept_id']}" for row in mine.iter_rows(named=True)}
    assert len(found["examples"]) == 10
    assert set(found["examples"]) <= pairs
    assert found["message"] in (release.path / "datasheet.md").read_text()


@pytest.mark.parametrize("license", ["cc0 1.0", "unknown"])
def test_another_spelling_or_no_license_is_no_conflict(three: Path, rewrite: Rewrite, license: str) -> None:
    rewrite(three / "curate.yaml", "CC-BY-SA-4.0", license)
    rewrite(three / "curate.yaml", "unknown: quarantine", "unknown: keep")
    release = run(three)
    assert sum(pair["records"] for pair in resolution(release, "exact")["overlap"]) == 40
    assert conflicts(release) == []


def test_a_record_s_own_license_counts(three: Path, rewrite: Rewrite) -> None:
    rows = [orjson.loads(line) for line in (three / "mirror.jsonl").read_bytes().splitlines()]
    mine = [{**row, "lic": "CC0-1.0" if i < 18 else None} for i, row in enumerate(rows)]
    write_jsonl(three / "mirror.jsonl", mine)
    rewrite(three / "curate.yaml", "files: [mirror.jsonl]", "files: [mirror.jsonl], fields: {license: lic}")
    (found,) = conflicts(run(three))
    assert found["count"] == 12


@pytest.mark.parametrize(
    ("constant", "value"), [("RELABELLED", 31), ("RELABELLED_SHARE", 0.61), ("RELABELLED_ANYWAY", 30)]
)
def test_few_records_or_a_small_share_are_no_finding(
    three: Path, monkeypatch: pytest.MonkeyPatch, constant: str, value: float
) -> None:
    for name in {"RELABELLED", "RELABELLED_SHARE"} - {constant}:
        monkeypatch.setattr(overlap, name, 31 if constant == "RELABELLED_ANYWAY" else 0)
    monkeypatch.setattr(overlap, constant, value)
    assert len(conflicts(run(three))) == (constant == "RELABELLED_ANYWAY")


@dataclass
class Stated:
    """A resolved barrier of one's own that states clusters; the kept record of one is in another release."""

    name: str = "stated"

    def judge(self, batch: Batch) -> Verdict:
        return Verdict.of(batch.num_rows)

    def members(self) -> Iterator[pa.RecordBatch]:
        lines = [
            ("b", "b.jsonl", 10, "b/x", "c2", None, None, None),
            ("b", "b.jsonl", 9, "b/w", "c2", "b/x", None, 0.85),
            ("a", "a.jsonl", 10, "a/u", "c2", "b/x", None, 1.0),
            ("a", "a.jsonl", 9, "a/v", "c1", "old/1", "its root", 0.9),
        ]
        for line in lines:
            yield pa.RecordBatch.from_pylist([dict(zip(STATED.names, line, strict=False))], STATED)


STATED = pa.schema(
    [
        ("source", pa.string()),
        ("path", pa.string()),
        ("row", pa.int64()),
        *((name, pa.string()) for name in ("id", "cluster", "kept_id", "release")),
        *((name, pa.float64()) for name in ("similarity", "prompt_similarity", "response_similarity")),
    ]
)


def test_clusters_come_sorted_whatever_the_order_of_the_members(tmp_path: Path) -> None:
    (shard,) = clusters.write({"other": Counted("other", 0), "stated": Stated()}, tmp_path, 10**6, 10**9)
    table = pl.read_parquet(shard.path).select("cluster", "id", "kept", "size", "locator", "kept_release")
    assert table.rows() == [
        ("c1", "a/v", False, 1, "a.jsonl#9", "its root"),
        ("c2", "b/x", True, 3, "b.jsonl#10", None),
        ("c2", "a/u", False, 3, "a.jsonl#10", None),
        ("c2", "b/w", False, 3, "b.jsonl#9", None),
    ]


def test_classes_meet_at_their_ends() -> None:
    assert [int(i / overlap.STEPS * overlap.STEPS) for i in range(21)] == list(range(21))
    sizes = [{"size": n, "records": n} for n in (2, 3, 5, 6, 10, 11, 100, 101, 5000)]
    told = [(entry["size"], entry["clusters"], entry["records"]) for entry in overlap._sizes(sizes)]
    assert told == [
        ("2", 1, 2),
        ("3-5", 2, 8),
        ("6-10", 2, 16),
        ("11-100", 2, 111),
        ("over 100", 2, 5101),
    ]
