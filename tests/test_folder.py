"""The release folder: nothing that is not ours is touched, and a release there is whole or made again."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from conftest import contents, write_jsonl

import curate
from curate import custody, folder, release
from curate.errors import RecipeError, StageError, StorageError
from curate.pipeline import Watch

HEAD = "curate: 1\nname: a\nversion: '1'\n"


def _recipe(folder: Path, files: str = "in.jsonl", stages: str = "[exact]", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "curate.yaml"
    recipe.write_text(f"{HEAD}sources: [{{name: a, files: ['{files}']}}]\nstages: {stages}\n{more}")
    return recipe


def _texts(folder: Path, name: str = "in.jsonl", count: int = 8) -> None:
    write_jsonl(folder / name, [{"text": f"text {i}"} for i in range(count)])


@pytest.mark.parametrize("also", ["work/thesis.txt", "manifest.json", "curate.lock", "data/mine.txt"])
def test_a_folder_of_somebody_s_own_is_refused_whatever_it_is_called(tmp_path: Path, also: str) -> None:
    _texts(tmp_path, "data/in.jsonl")
    recipe = _recipe(tmp_path, "data/in.jsonl")
    (tmp_path / also).parent.mkdir(exist_ok=True)
    (tmp_path / also).write_text('{"name": "my app"}')
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RecipeError, match="and no release; name an empty or new folder"):
        curate.run(recipe, tmp_path, workers=1)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_file_that_somebody_put_into_a_release_is_not_deleted(tmp_path: Path) -> None:
    _texts(tmp_path)
    out = curate.run(_recipe(tmp_path), workers=1).path
    (out / "data" / "notes.txt").write_text("mine")
    (out / "mine.txt").write_text("mine too")
    with pytest.raises(RecipeError, match=r"data/notes.txt is no file of a release; move it"):
        curate.run(tmp_path / "curate.yaml", workers=1, fresh=True)
    (out / "data" / "notes.txt").rename(tmp_path / "notes.txt")
    curate.run(tmp_path / "curate.yaml", workers=1, fresh=True)
    assert (out / "mine.txt").read_text() == "mine too"


def test_a_release_that_would_read_itself_is_refused(tmp_path: Path) -> None:
    _texts(tmp_path, count=4)
    recipe = _recipe(tmp_path, "**/*.jsonl*", more="output: {format: jsonl.zst}\n")
    curate.run(recipe, workers=1)
    with pytest.raises(
        RecipeError, match=r"source a: release/data/part-00000.jsonl.zst lies in the release folder"
    ):
        curate.run(recipe, workers=1)


@pytest.mark.parametrize("name", ["rel[1]", "id=5", "source=zzz", "it's a * ?", "a#b"])
def test_the_folder_s_name_changes_nothing(tmp_path: Path, name: str) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"id": i % 3, "text": f"text {i}"} for i in range(6)])
    recipe = _recipe(tmp_path)
    plain = curate.run(recipe, tmp_path / "plain", workers=1)
    other = curate.run(recipe, tmp_path / name / "r", workers=1)
    assert contents(plain.path) == contents(other.path)
    assert other.explain("a/1") == plain.explain("a/1")


def test_a_run_can_go_on_where_its_folder_was_moved_to(tmp_path: Path) -> None:
    _texts(tmp_path)
    whole = curate.run(_recipe(tmp_path), tmp_path / "whole", workers=1)
    with pytest.raises(StageError):
        curate.run(_recipe(tmp_path, stages="[exact, 'toys:Mute']"), tmp_path / "one", workers=1)
    (tmp_path / "one").rename(tmp_path / "two")
    assert contents(curate.run(_recipe(tmp_path), tmp_path / "two", workers=1).path) == contents(whole.path)


def test_a_file_added_before_a_resume_gives_the_ids_of_a_fresh_run(tmp_path: Path) -> None:
    _texts(tmp_path, "x/data.jsonl")
    with pytest.raises(StageError):
        curate.run(_recipe(tmp_path, "*/data.jsonl", "[exact, 'toys:Mute']"), tmp_path / "out", workers=1)
    write_jsonl(tmp_path / "y" / "data.jsonl", [{"text": "another"}])
    recipe = _recipe(tmp_path, "*/data.jsonl")
    resumed = curate.run(recipe, tmp_path / "out", workers=1)
    assert contents(resumed.path) == contents(curate.run(recipe, tmp_path / "fresh", workers=1).path)
    assert "a/x/data/1" in set(pl.read_parquet(resumed.path / "data/*")["id"])


def test_a_stage_that_failed_on_everything_gets_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import toys

    _texts(tmp_path)
    recipe = _recipe(tmp_path, stages="['toys:Fragile']")
    monkeypatch.setattr(toys, "BOOM", "text")
    with pytest.raises(StageError, match=r"failed on every one of 8 records, with ValueError \(8\); mend it"):
        curate.run(recipe, workers=1)
    monkeypatch.undo()
    assert curate.run(recipe, workers=1).manifest["counts"]["kept"] == 8


def test_a_damaged_release_is_made_again_and_what_a_stopped_run_left_is_cleared(tmp_path: Path) -> None:
    _texts(tmp_path)
    recipe = _recipe(tmp_path)
    out = curate.run(recipe, workers=1).path
    whole = contents(out)
    shard = out / "data" / "part-00000.parquet"
    damaged = bytearray(shard.read_bytes())
    damaged[20] ^= 1
    shard.write_bytes(damaged)
    (out / "datasheet.md").unlink()
    assert not curate.run(recipe, workers=1).reused
    assert contents(out) == whole
    (out / "datasheet.md").unlink()
    (out / "work" / "units").mkdir(parents=True)
    (out / "work" / "curate.lock").touch()
    assert curate.run(recipe, workers=1).reused
    assert contents(out) == whole
    assert not (out / "work").exists()


def test_a_shard_that_the_last_records_fill_is_closed_once(tmp_path: Path) -> None:
    _texts(tmp_path)
    release = curate.run(_recipe(tmp_path, more="output: {shard_size: 1KB}\n"), workers=1)
    assert len(pl.read_parquet(release.path / "data/*")) == 8


COLUMNS = [
    "reason",
    "action",
    "stage",
    "raw",
    "locator",
    "sha256_in",
    "_stage",
    "_reason",
    "filename",
    "curate",
]


@pytest.mark.parametrize("value", ["mine", 7])
def test_columns_named_like_ours_are_kept(tmp_path: Path, value: object) -> None:
    row = dict.fromkeys([*COLUMNS, "file_row_number", "cluster", "fact"], value)
    write_jsonl(tmp_path / "in.jsonl", [{"id": i, "text": f"text {i // 2}", **row} for i in range(6)])
    release = curate.run(_recipe(tmp_path), workers=1)
    for part in ("data", "removed"):
        table = pl.read_parquet(release.path / f"{part}/part-*")
        assert len(table) == 3
        for name in row:
            kept_as = name if name in table.columns and name != "curate" else f"input_{name}"
            assert set(table[kept_as]) == {value}, name
    assert release.explain("a/1").fate == "dropped"
    assert [place["row"] for place in release.explain("a/1").places] == [1]


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [(1, 0.5, pl.Float64), (2**60 + 1, 0.5, pl.String), (1, "x", pl.String), ([1], {"k": 1}, pl.String)],
)
def test_a_column_of_two_types_loses_no_value(tmp_path: Path, a: object, b: object, kind: type) -> None:
    write_jsonl(tmp_path / "in.jsonl", [{"text": "one", "n": a}])
    write_jsonl(tmp_path / "b.jsonl", [{"text": "two", "n": b}])
    text = _recipe(tmp_path).read_text().replace("stages:", "  - {name: b, files: [b.jsonl]}\nstages:")
    text = text.replace(
        "sources: [{name: a, files: ['in.jsonl']}]", "sources:\n  - {name: a, files: [in.jsonl]}"
    )
    (tmp_path / "curate.yaml").write_text(text)
    column = pl.read_parquet(curate.run(tmp_path / "curate.yaml", workers=1).path / "data/*")["n"]
    assert column.dtype == kind
    if kind == pl.String:
        import json

        assert [json.loads(value) for value in column] == [a, b]
    else:
        assert column.to_list() == [a, b]


def test_records_that_share_an_id_keep_their_stories_and_differ_from_nothing(tmp_path: Path) -> None:
    texts = ["same text", "same text", "another with a secret", "last"]
    write_jsonl(tmp_path / "in.jsonl", [{"id": "x", "text": text} for text in texts])
    release = curate.run(_recipe(tmp_path, stages="[exact, 'toys:Shout']"), workers=1)
    story = release.explain("a/x")
    assert (story.fate, len(story.places)) == ("kept", 4)
    assert {step.reason for step in story.steps} >= {"exact/duplicate", "shout/secret"}
    assert curate.diff(release.path, release.path).fates == []


def test_a_duplicate_of_a_record_that_a_later_stage_removes_is_followed_to_the_end(tmp_path: Path) -> None:
    words = " ".join(f"word{i}" for i in range(60))
    write_jsonl(tmp_path / "in.jsonl", [{"id": 1, "text": words}, {"id": 2, "text": words.upper()}])
    with (tmp_path / "in.jsonl").open("a") as file:
        file.write('{"id": 3, "text": "' + words + ' and one more"}\n')
    release = curate.run(_recipe(tmp_path, stages="[exact, minhash]"), workers=1)
    dropped = next(name for name in ("a/1", "a/2") if release.explain(name).steps[-1].stage == "exact")
    followed = release.explain(dropped).represented_by
    assert [(step.stage, step.action) for step in followed] == [("minhash", "drop"), ("release", "keep")]
    assert followed[-1].kept_id == "a/3"


def test_what_is_not_ours_in_work_is_told_and_left(tmp_path: Path) -> None:
    _texts(tmp_path)
    notes: list[str] = []
    work = tmp_path / "release" / "work"
    for name in ("units/mine.txt", "thesis/chapter.txt", f"units/{'0' * 32}/records.arrow", "curate.lock"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text("mine")
    curate.run(_recipe(tmp_path), workers=1, watch=Watch(note=notes.append))
    left = sorted(path.relative_to(work).as_posix() for path in work.rglob("*") if path.is_file())
    assert left == ["thesis/chapter.txt", "units/mine.txt"]
    assert notes[-2:] == [
        f"{work / name}: holds what is not curate's; it is left as it is" for name in ("thesis", "units")
    ]


def test_a_stopped_tune_s_work_outlives_a_run_that_changes_nothing(tmp_path: Path) -> None:
    _texts(tmp_path)
    out = curate.run(_recipe(tmp_path), workers=1).path
    (out / "work" / "tune").mkdir(parents=True)
    (out / "work" / "tune" / "run.npz").write_bytes(b"an hour")
    assert curate.run(tmp_path / "curate.yaml", workers=1).reused
    assert (out / "work" / "tune" / "run.npz").exists()


def test_what_is_taken_down_while_a_run_reads_its_input_does_not_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _texts(tmp_path)
    recipe = _recipe(tmp_path)
    out = curate.run(recipe, workers=1).path
    recipe.write_text(recipe.read_text().replace("version: '1'", "version: '2'"))
    parts: Any = release
    scan = parts.scan

    def meanwhile(*given: Any, **named: Any) -> Any:
        monkeypatch.setattr(release, "scan", scan)
        curate.takedown(out, ids=["a/in/3"])
        return scan(*given, **named)

    monkeypatch.setattr(release, "scan", meanwhile)
    with pytest.raises(StorageError, match="another command changed the release just now; run again"):
        curate.run(recipe, workers=1)
    curate.run(recipe, workers=1)
    assert "a/in/3" not in pl.read_parquet(out / "data" / "part-00000.parquet")["id"]


@pytest.mark.parametrize(
    "act", [custody.datasheet, lambda out: curate.run(out.parent / "curate.yaml", workers=1)]
)
def test_a_folder_in_which_somebody_works_is_refused_with_who_it_is(
    tmp_path: Path, act: Callable[[Path], object]
) -> None:
    _texts(tmp_path)
    out = curate.run(_recipe(tmp_path), workers=1).path
    told = rf"another run \(process {os.getpid()} on {socket.gethostname()}, since \S+Z\) is working there"
    with folder.working(out, fresh=False), pytest.raises(RecipeError, match=told):
        act(out)
    act(out)
    assert not (out / "work").exists()
