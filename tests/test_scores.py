"""Scores of the release that a run replaces are used again, and nobody can tell from the new one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from conftest import contents, make_corpus

import curate
from curate.kernels import measuring
from curate.pipeline import Watch
from curate.stages.scoring import quality_scores

RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: [docs/a.jsonl, docs/b.jsonl], license: CC0-1.0}
  - {name: pairs, files: [pairs.jsonl], fields: {license: lic}, license: unknown}
stages:
  - toys:Shout
  - quality: {thresholds: {gopher-few-words: 70}, actions: {gopher-few-words: drop, no-words: quarantine}}
"""


def run(folder: Path, out: Path, threshold: int, **how: Any) -> list[str]:
    """Run the recipe with a threshold; return what was said of scores."""
    recipe = folder / "curate.yaml"
    recipe.write_text(RECIPE.replace("few-words: 70", f"few-words: {threshold}"))
    said: list[str] = []
    curate.run(recipe, out, workers=1, watch=Watch(note=said.append), **how)
    assert not (out / "work").exists()
    return [one for one in said if one.startswith("quality")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, and releases of it: ``before`` with one threshold, ``fresh`` with the other."""
    found = tmp_path_factory.mktemp("scores")
    make_corpus(found, 60)
    assert run(found, found / "before", 70) == run(found, found / "fresh", 50) == []
    return found


@pytest.fixture
def out(folder: Path, tmp_path: Path) -> Path:
    """A release with the one threshold."""
    return Path(shutil.copytree(folder / "before", tmp_path / "out"))


def poisoned(batch: object) -> None:
    raise AssertionError("a score was computed again")


def test_a_threshold_is_moved_without_computing_a_score(
    folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = pq.read_table(out / "removed").num_rows
    monkeypatch.setattr(quality_scores, "scores", poisoned)
    [said] = run(folder, out, 50, batch_size=7)
    assert said == "quality: quality of 106 of 106 records is that of the release that was here"
    assert contents(out) == contents(folder / "fresh")
    assert pq.read_table(out / "removed").num_rows < removed
    rows = pq.read_table(out / "records", columns=["edits", "quality_of"]).to_pylist()
    assert any(one["edits"] for one in rows)
    assert [one["quality_of"] is not None for one in rows] == [bool(one["edits"]) for one in rows]


def test_what_is_not_whole_is_computed_again(folder: Path, out: Path) -> None:
    removed = max((out / "removed").glob("part-*"))
    removed.write_bytes(removed.read_bytes()[:-1])
    kept = pq.read_table(out / "records").num_rows
    assert f"quality of {kept} of 106 records" in run(folder, out, 50)[0]
    assert contents(out) == contents(folder / "fresh")


def test_another_scheme_finds_nothing(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "SCHEME", "2")
    assert run(folder, out, 50) == []
