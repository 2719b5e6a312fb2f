"""What a tune must not lose or leave behind: others' files, an audit's answers, a release that verifies, texts."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import sentence, write_jsonl

import curate
from curate import folder as out_folder
from curate.errors import IntegrityError, RecipeError
from curate.govern import manifest as manifests
from curate.release import finish

pytest.importorskip("torch")

from curate.tuning import heldout, publish, trial
from curate.tuning.contract import Corpus, Item, Text, Turn

RECIPE = """\
curate: 1
name: talks
version: "1"
sources: [{name: talks, files: [talks.jsonl], license: CC0-1.0}]
stages: [exact]
tune: {seeds: 1, tokens: 2000, heldout: 30, arms: [raw]}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talks")
    dice = random.Random(4)
    rows = [{"id": i, "instruction": sentence(dice, 4), "output": sentence(dice, 20)} for i in range(160)]
    write_jsonl(folder / "talks.jsonl", [*rows, *({**row, "id": f"copy{row['id']}"} for row in rows[:40])])
    (folder / "curate.yaml").write_text(RECIPE)
    curate.run(folder / "curate.yaml", workers=1)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "talks")
    return tmp_path / "talks"


def placed(out: Path, said: bytes, stop: bool = False) -> None:
    """Enter a file as a tune does; stop: the process ends before the manifest is written."""
    staging = out / "work" / "tune" / "placed" / "tune"
    (staging / "base").mkdir(parents=True)
    (staging / "base" / "weights").write_bytes(said)
    held = out_folder.untuned(curate.load(out).manifest)
    told = {"root": held["root"], "adapters": []}
    timing = {**held["timing"], "tune": {}}
    manifest = manifests.revised(held, tune=told, timing=timing)

    def write(entered: dict[str, Any]) -> None:
        if stop:
            raise KeyboardInterrupt
        finish(out, entered)

    out_folder.place_tune(staging, out, manifest, write)
    out_folder.clean(out)


def test_a_tune_leaves_a_foreign_file_among_what_was_tuned(folder: Path) -> None:
    notes = folder / "release" / "tune" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    with pytest.raises(RecipeError, match=r"tune/notes\.txt is no file of a release"):
        curate.tune(folder / "release", workers=1)
    assert notes.read_text() == "mine"
    assert not (folder / "release" / "work").exists()


def test_a_tune_leaves_a_take_down_that_was_stopped(folder: Path) -> None:
    journal = folder / "release" / "work" / out_folder.JOURNAL
    journal.parent.mkdir(parents=True)
    journal.write_bytes(b"{}")
    with pytest.raises(RecipeError, match="a take-down was stopped half-way"):
        curate.tune(folder / "release", workers=1)
    assert journal.read_bytes() == b"{}"


def test_a_run_after_a_stopped_tune_is_a_release_that_verifies(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.govern.effects.render", lambda manifest: {})
    monkeypatch.setattr("curate.govern.documents.RENDERERS", ())
    out = folder / "release"
    placed(out, b"one")
    again = curate.run(folder / "curate.yaml", workers=1, fresh=True)
    assert "tune" in again.manifest
    with pytest.raises(KeyboardInterrupt):
        placed(out, b"two", stop=True)
    manifest = curate.run(folder / "curate.yaml", workers=1).manifest
    assert "tune" not in manifest
    assert not (out / "tune").exists()
    assert all(out_folder.is_whole(out / entry["path"], entry) for entry in manifest["outputs"])


def test_what_enters_a_release_while_it_is_tuned_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = folder / "release"

    def meanwhile(*_: Any, **__: Any) -> tuple[dict[str, Any], dict[str, Any], None]:
        held = curate.load(out).manifest
        finish(out, manifests.revised(held, answers={}, measured_by_hand=1))
        return {}, {}, None

    monkeypatch.setattr("curate.tuning.experiment._opened", lambda *_: (FakeBase(), 0.0))
    monkeypatch.setattr("curate.tuning.experiment.prepare", lambda *_, **__: None)
    monkeypatch.setattr("curate.tuning.experiment.measured", meanwhile)
    monkeypatch.setattr(publish, "stage", lambda *_: [])
    monkeypatch.setattr("curate.govern.documents.RENDERERS", ())
    with pytest.raises(IntegrityError, match="was changed while it was measured"):
        curate.tune(out, workers=1)
    assert curate.load(out).manifest["measured_by_hand"] == 1
    assert not (out / "tune").exists()


class FakeBase:
    length = 128

    def rate(self) -> float:
        return 1e-3


def test_a_category_is_a_label_and_never_a_text() -> None:
    assert heldout.category({"category": "", "task": "open_qa"}) == "open_qa"
    assert heldout.category({"task": "Write to Ada, 12 River Lane,\nabout it", "type": "mail"}) == "mail"
    assert heldout.category({"task": sentence(random.Random(1), 30)}) is None
    assert publish._labels(["qa"] * 5 + ["reach me at 5550100", None]) == ["qa"] * 5 + [None, None]


def test_items_that_are_not_scored_are_not_counted_as_held_out() -> None:
    asked = (Turn("user", "Why?"),)
    items = [Item(Text("a", (*asked, Turn("assistant", "So.")), "s"), frozenset({"raw"}))]
    items += [Item(Text(f"e{i}", asked, "eval"), frozenset({"eval"})) for i in range(2)]
    corpus = Corpus((), (), tuple(items), "", {}, counts={"heldout": {}, "notes": ["first"]})
    told = trial._asked_of(corpus, items[:1])
    assert told["heldout"] == {"raw": 1, "accepted": 0, "eval": 0}
    assert told["notes"][0] == "first"
    assert told["notes"][1].startswith("2 texts of evaluation files are not scored")
