"""The pipeline as a whole: every record accounted for, same bytes whatever the machinery, nothing lost on a crash."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from conftest import contents, make_corpus, write_jsonl

import curate
from curate import outcome, release, unit
from curate.errors import InputError, RecipeError, StageError
from curate.io.scan import scan
from curate.io.store import Store

Rewrite = Callable[[Path, str, str], None]


def test_every_stage_accounts_for_every_record(corpus: Path) -> None:
    manifest = curate.run(corpus / "curate.yaml", workers=1).manifest
    seen = manifest["counts"]["seen"]
    for stage in manifest["stages"]:
        assert stage["seen"] == seen
        assert stage["seen"] == stage["kept"] + stage["dropped"] + stage["quarantined"]
        for name in ("seen", "kept", "dropped", "quarantined"):
            assert stage[name] == sum(source[name] for source in stage["sources"].values())
        seen = stage["kept"]
    counts = manifest["counts"]
    assert counts["seen"] == counts["kept"] + counts["dropped"] + counts["quarantined"]
    assert seen == counts["kept"]


def test_tables_agree_with_the_manifest(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    out, counts = release.path, release.manifest["counts"]
    data, records = pl.read_parquet(out / "data/*"), pl.read_parquet(out / "records/*")
    assert data["id"].to_list() == records["id"].to_list()
    assert len(data) == counts["kept"]
    removed = pl.read_parquet(out / "removed/part-*")
    assert len(removed) == counts["dropped"] + counts["quarantined"]
    ledger = pl.read_parquet(out / "ledger/*")
    gone = ledger.filter(pl.col("action").is_in(["drop", "quarantine"]))
    assert gone["id"].to_list() == removed["id"].to_list()
    assert ledger["reason"].null_count() == 0
    for stage in release.manifest["stages"]:
        counted = ledger.filter(pl.col("stage") == stage["name"])["reason"].value_counts()
        assert dict(counted.iter_rows()) == stage["reasons"]


def test_the_planted_faults_are_found_for_the_right_reasons(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    reasons = {reason: n for stage in release.manifest["stages"] for reason, n in stage["reasons"].items()}
    assert reasons["read/not-json"] == 1
    assert reasons["read/null-text"] == 1
    assert reasons["read/not-object"] == 1
    assert reasons["license/unknown"] == 20
    assert reasons["conversation/empty-response"] == 1
    assert reasons["exact/duplicate"] == 25
    assert reasons["minhash/near-duplicate"] == 25
    assert reasons["shout/secret"] == 1


@pytest.mark.parametrize(("workers", "batch_size"), [(2, None), (1, 7), (1, 1)])
def test_workers_and_batch_size_never_change_a_byte(
    corpus: Path, workers: int, batch_size: int | None
) -> None:
    one = curate.run(corpus / "curate.yaml", corpus / "one", workers=1)
    two = curate.run(corpus / "curate.yaml", corpus / "two", workers=workers, batch_size=batch_size)
    assert contents(one.path) == contents(two.path)


def test_the_order_of_files_and_sources_never_changes_a_byte(corpus: Path, rewrite: Rewrite) -> None:
    one = curate.run(corpus / "curate.yaml", corpus / "one", workers=1)
    rewrite(corpus / "curate.yaml", "docs/a.jsonl, docs/b.jsonl", "docs/b.jsonl, docs/a.jsonl")
    lines = (corpus / "curate.yaml").read_text().splitlines(keepends=True)
    lines[4], lines[5] = lines[5], lines[4]
    (corpus / "curate.yaml").write_text("".join(lines))
    two = curate.run(corpus / "curate.yaml", corpus / "two", workers=1)
    assert contents(one.path) == contents(two.path)


def test_the_size_of_units_never_changes_a_byte(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = curate.run(corpus / "curate.yaml", corpus / "one", workers=1)
    monkeypatch.setattr(release, "scan", functools.partial(scan, unit_bytes=5000))
    assert curate.plan(corpus / "curate.yaml", workers=1).units > 6
    two = curate.run(corpus / "curate.yaml", corpus / "two", workers=1)
    assert contents(one.path) == contents(two.path)


def test_an_edit_changes_only_what_its_stage_said_and_can_be_undone(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    data = pl.read_parquet(release.path / "data/*").filter(pl.col("id") == "docs/7")
    assert "XXXXXX and another XXXXXX" in data["text"][0]
    original = pl.read_parquet(release.path / "removed/edited-*")
    assert original["id"].to_list() == ["docs/7"]
    assert "the secret and another secret" in original["text"][0]
    record = pl.read_parquet(release.path / "records/*").filter(pl.col("id") == "docs/7").row(0, named=True)
    assert record["edits"] == [{"reason": "shout/secret", "count": 2}]
    assert record["sha256_in"] != record["sha256_out"]
    untouched = pl.read_parquet(release.path / "records/*").filter(pl.col("id") != "docs/7")
    assert (untouched["sha256_in"] == untouched["sha256_out"]).all()


def test_extra_columns_pass_through_untouched(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    data = pl.read_parquet(release.path / "data/*").filter(pl.col("source") == "docs")
    assert set(data["topic"]) <= {"a", "b", "c", "copy", "near"}
    assert data["topic"].null_count() == 0


@pytest.mark.parametrize(
    ("stage", "name", "error"),
    [("toys:Fragile", "fragile", "ValueError"), ("toys:Leaves", "leaves", "SystemExit")],
)
def test_a_stage_that_fails_on_a_record_quarantines_that_record_alone(
    tmp_path: Path, stage: str, name: str, error: str
) -> None:
    rows = [
        {"id": i, "text": "boom this text stays private" if i in (3, 17) else f"fine {i}"} for i in range(40)
    ]
    write_jsonl(tmp_path / "a.jsonl", rows)
    text = (
        f"curate: 1\nname: a\nversion: '1'\nsources: [{{name: a, files: [a.jsonl]}}]\nstages: ['{stage}']\n"
    )
    (tmp_path / "curate.yaml").write_text(text)
    one = curate.run(tmp_path / "curate.yaml", tmp_path / "one", workers=1)
    two = curate.run(tmp_path / "curate.yaml", tmp_path / "two", workers=1, batch_size=3)
    assert contents(one.path) == contents(two.path)
    ledger = pl.read_parquet(one.path / "ledger/*")
    assert ledger["id"].to_list() == ["a/3", "a/17"]
    assert set(ledger["reason"]) == {f"{name}/failed"}
    assert ledger["evidence"][0] == f'{{"error":"{error}"}}'  # the type alone: the message holds the text
    assert [finding["count"] for finding in one.manifest["findings"]] == [2]


def test_facts_that_come_and_go_are_the_stage_s_fault(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": text} for text in ("plain", "plain 2", "moody")])
    text = (
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\nstages: ['toys:Moody']\n"
    )
    (tmp_path / "curate.yaml").write_text(text)
    with pytest.raises(StageError, match=r"other facts of one batch than of another: .*fact:mood"):
        curate.run(tmp_path / "curate.yaml", workers=1, batch_size=1)


def test_sources_without_a_record_make_an_empty_release(tmp_path: Path) -> None:
    pl.DataFrame({"text": []}, {"text": pl.String}).write_parquet(tmp_path / "a.parquet")
    text = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.parquet]}]\nstages: [exact, minhash]\n"
    (tmp_path / "curate.yaml").write_text(text)
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    assert release.manifest["counts"] == dict.fromkeys(release.manifest["counts"], 0)
    assert pl.read_parquet(release.path / "data/*").schema["text"] == pl.String


def test_a_stage_that_fails_on_everything_is_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"text": "boom"}, {"text": "boom 2"}])
    text = (
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\nstages: ['toys:Fragile']\n"
    )
    (tmp_path / "curate.yaml").write_text(text)
    with pytest.raises(StageError, match="failed on every one of 2 records"):
        curate.run(tmp_path / "curate.yaml", workers=1)


def test_a_drop_without_a_reason_stops_the_run(corpus: Path, rewrite: Rewrite) -> None:
    rewrite(corpus / "curate.yaml", "toys:Shout", "toys:Mute")
    with pytest.raises(StageError, match=r"'mute': record docs/.* was not kept, and no reason was given"):
        curate.run(corpus / "curate.yaml", workers=1)
    assert not (corpus / "release" / "manifest.json").exists()


def test_an_input_error_leaves_no_trace(corpus: Path) -> None:
    (corpus / "docs" / "b.jsonl").write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    )
    with pytest.raises(InputError, match=r"b\.jsonl"):
        curate.run(corpus / "curate.yaml", workers=1)
    assert not (corpus / "release").exists()


def test_a_folder_that_holds_something_else_is_refused(corpus: Path) -> None:
    (corpus / "mine" / "docs").mkdir(parents=True)
    with pytest.raises(RecipeError, match="holds docs and no release"):
        curate.run(corpus / "curate.yaml", corpus / "mine", workers=1)


def test_a_finished_release_is_not_made_again_unless_something_changed(
    corpus: Path, rewrite: Rewrite
) -> None:
    first = curate.run(corpus / "curate.yaml", workers=1).manifest
    assert curate.run(corpus / "curate.yaml", workers=1).manifest["created"] == first["created"]
    assert curate.run(corpus / "curate.yaml", workers=1).manifest["timing"] == first["timing"]
    rewrite(corpus / "pairs.jsonl", "Describe", "Explain")
    assert curate.run(corpus / "curate.yaml", workers=1).manifest["root"] != first["root"]


def _count_units(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    finished = outcome.finished

    def counted(folder: Store) -> outcome.Done:
        done.append(folder.name)
        return finished(folder)

    monkeypatch.setattr(unit, "finished", counted)
    return done


def test_a_failed_run_goes_on_where_it_stopped(
    corpus: Path, rewrite: Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = curate.run(corpus / "curate.yaml", corpus / "whole", workers=1)
    rewrite(corpus / "curate.yaml", "toys:Shout", "toys:Mute")
    with pytest.raises(StageError):
        curate.run(corpus / "curate.yaml", workers=1)
    rewrite(corpus / "curate.yaml", "toys:Mute", "toys:Shout")
    done = _count_units(monkeypatch)
    resumed = curate.run(corpus / "curate.yaml", workers=1)
    assert len(done) == 3  # the last segment's units; those of the two segments before it were there
    assert not (resumed.path / "work").exists()
    assert contents(resumed.path) == contents(whole.path)


def test_changed_input_is_noticed_by_content(
    corpus: Path, rewrite: Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    rewrite(corpus / "curate.yaml", "toys:Shout", "toys:Mute")
    with pytest.raises(StageError):
        curate.run(corpus / "curate.yaml", workers=1)
    rewrite(corpus / "curate.yaml", "toys:Mute", "toys:Shout")
    rewrite(corpus / "docs/a.jsonl", '"topic":"a"', '"topic":"z"')  # same name, same size
    done = _count_units(monkeypatch)
    changed = curate.run(corpus / "curate.yaml", workers=1)
    assert "z" in set(pl.read_parquet(changed.path / "data/*")["topic"])
    fresh = curate.run(corpus / "curate.yaml", corpus / "fresh", workers=1)
    assert contents(changed.path) == contents(fresh.path)
    assert done


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, workers: int) -> None:
    make_corpus(tmp_path)
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.write('{"instruction": "Speak", "output": "my last words", "lic": "MIT"}\n')
    trigger = tmp_path / "trigger"
    from conftest import RECIPE

    (tmp_path / "curate.yaml").write_text(RECIPE + f"  - toys:Dies: {{file: {trigger}}}\n")
    whole = curate.run(tmp_path / "curate.yaml", tmp_path / "whole", workers=1)
    trigger.touch()
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); from curate.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", str(tmp_path / "curate.yaml"), "--workers", str(workers)]
    killed = subprocess.run(command, capture_output=True, text=True)
    if workers == 1:  # with more, a fresh worker goes on
        assert killed.returncode != 0
        assert not (tmp_path / "release" / "manifest.json").exists()
        killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == 0, killed.stderr
    assert not trigger.exists()
    assert contents(tmp_path / "release") == contents(whole.path)


def test_removed_records_are_not_kept_where_the_recipe_forbids_it(corpus: Path) -> None:
    with (corpus / "curate.yaml").open("a") as file:
        file.write("output: {keep_removed: false}\n")
    release = curate.run(corpus / "curate.yaml", workers=1)
    assert not (release.path / "removed").exists()
    assert not any(entry["path"].startswith("removed") for entry in release.manifest["outputs"])
    assert "were not kept" in (release.path / "datasheet.md").read_text()
    assert release.explain("docs/near-0").fate == "dropped"


def test_a_missed_gate_is_reported(corpus: Path) -> None:
    with (corpus / "curate.yaml").open("a") as file:
        file.write("gates: {max_source_loss: 0.1}\n")
    release = curate.run(corpus / "curate.yaml", workers=1)
    assert [gate["gate"] for gate in release.failed_gates] == ["max_source_loss"]


def test_duplicate_ids_are_reported_and_never_merged(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"id": 1, "text": "one thing"}, {"id": 1, "text": "and another"}])
    text = "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: [a.jsonl]}]\nstages: [exact]\n"
    (tmp_path / "curate.yaml").write_text(text)
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    assert pl.read_parquet(release.path / "data/*")["text"].to_list() == ["one thing", "and another"]
    ledger = pl.read_parquet(release.path / "ledger/*")
    assert ledger["reason"].to_list() == ["read/duplicate-id"] * 2
    assert ledger["evidence"].to_list() == [
        '{"at":"a.jsonl#1","records":2}',
        '{"at":"a.jsonl#2","records":2}',
    ]
    assert release.manifest["findings"][0]["reason"] == "read/duplicate-id"
    assert release.manifest["stages"][0]["reasons"] == {"read/duplicate-id": 2}
    assert [place["read_from"] for place in release.explain("a/1").places] == ["a.jsonl#1", "a.jsonl#2"]


def test_two_runs_into_one_folder_are_refused(corpus: Path) -> None:
    import fcntl

    (corpus / "release" / "work").mkdir(parents=True)
    with (corpus / "release" / "work" / "curate.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write("12345")
        lock.flush()
        with pytest.raises(RecipeError, match=r"another run \(process 12345\) is working there"):
            curate.run(corpus / "curate.yaml", workers=1)


def test_a_dry_run_writes_nothing(corpus: Path) -> None:
    before = sorted(corpus.rglob("*"))
    plan = curate.plan(corpus / "curate.yaml", workers=1)
    assert sorted(corpus.rglob("*")) == before
    assert plan.units == 3
    assert plan.segments[0] == "read → license → conversation → exact: sketch"
    curve = dict(plan.curves["minhash"])
    assert curve[0.7] >= 0.99
