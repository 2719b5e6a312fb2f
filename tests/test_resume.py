"""What an earlier run left in work/ is used where it is whole and still holds; what does not is told and done again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import contents

import curate
from curate import rules
from curate.errors import StageError
from curate.pipeline import Watch

Rewrite = Callable[[Path, str, str], None]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    from conftest import RECIPE, make_corpus

    folder = tmp_path_factory.mktemp("undisturbed")
    make_corpus(folder)
    (folder / "curate.yaml").write_text(RECIPE)
    return contents(curate.run(folder / "curate.yaml", workers=1).path)


@pytest.fixture
def stopped(corpus: Path, rewrite: Rewrite) -> Path:
    """Return a recipe of which a run stopped in the last segment; it stands as it was before."""
    recipe = corpus / "curate.yaml"
    rewrite(recipe, "toys:Shout", "toys:Mute")
    with pytest.raises(StageError):
        curate.run(recipe, workers=1)
    rewrite(recipe, "toys:Mute", "toys:Shout")
    return recipe


def resumed(recipe: Path) -> tuple[Path, list[str]]:
    """Run, and return the release and what was said on the way."""
    said: list[str] = []
    release = curate.run(recipe, workers=1, watch=Watch(note=said.append))
    assert not (release.path / "work").exists()
    return release.path, said


def units(recipe: Path) -> list[Path]:
    return sorted(path.parent for path in recipe.parent.glob("release/work/units/*/report.json"))


def cut(folder: Path) -> None:
    path = folder / "records.arrow"
    path.write_bytes(path.read_bytes()[:-100])


def flip(folder: Path) -> None:
    path = folder / "records.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def add(folder: Path) -> None:
    (folder / "records.01.arrow").write_bytes(b"of somebody else")


def link(folder: Path) -> None:
    folder.symlink_to(folder.rename(folder.parents[3] / "elsewhere"))


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (cut, "records.arrow has "),
    "a byte flipped": (flip, "records.arrow has other bytes than were written"),
    "a file gone": (lambda folder: (folder / "records.arrow").unlink(), "records.arrow is missing"),
    "a foreign file": (add, "records.01.arrow is none of its files"),
    "a file in its place": (replace_by_file, "is no folder"),
    "a link in its place": (link, "is no folder"),
    "no report": (lambda folder: (folder / "report.json").unlink(), "has no report.json"),
    "another report": (lambda folder: (folder / "report.json").write_text("[]"), "report.json is damaged"),
    "half a report": (lambda folder: (folder / "report.json").write_text('{"fil'), "report.json is damaged"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_unit_that_is_not_whole_is_told_and_done_again(
    stopped: Path, whole: dict[str, bytes], damage: str
) -> None:
    spoil, told = DAMAGES[damage]
    folder = units(stopped)[0]
    spoil(folder)
    out, said = resumed(stopped)
    [note] = [line for line in said if "done again" in line]
    assert note.startswith(f"work/units/{folder.name}: ")
    assert told in note
    assert contents(out) == whole


@pytest.mark.parametrize("file", ["stage.pickle", "report.json"])
def test_a_resolution_that_is_not_whole_is_told_and_done_again(
    stopped: Path, whole: dict[str, bytes], file: str
) -> None:
    path = sorted(stopped.parent.glob(f"release/work/resolved/*/{file}"))[0]
    path.write_bytes(path.read_bytes()[:-5])
    out, said = resumed(stopped)
    [note] = [line for line in said if "done again" in line]
    assert note.startswith(f"work/resolved/{path.parent.name}: ")
    assert contents(out) == whole


def test_what_is_whole_is_used_and_said_so(stopped: Path, whole: dict[str, bytes]) -> None:
    before = len(units(stopped))
    out, said = resumed(stopped)
    assert said == ["3 of 3 units were finished before, and are used as they are"] * (before // 3)
    assert contents(out) == whole


def test_a_changed_rule_pack_redoes_what_depends_on_it_and_nothing_else(
    corpus: Path, rewrite: Rewrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = corpus / "curate.yaml"
    rewrite(recipe, "  - minhash", "  - pii\n  - minhash")
    rewrite(recipe, "toys:Shout", "toys:Mute")
    with pytest.raises(StageError):
        curate.run(recipe, workers=1)
    assert len(units(recipe)) == 6  # of the segments read … exact, and exact → pii → minhash
    load = rules.load

    def changed(name: str) -> rules.Pack:
        return replace(load(name), sha256="0" * 64) if name == "pii" else load(name)

    monkeypatch.setattr(rules, "load", changed)
    rewrite(recipe, "toys:Mute", "toys:Shout")
    _, said = resumed(recipe)
    assert said == ["3 of 3 units were finished before, and are used as they are"]


def test_the_same_content_under_another_name_is_another_record(stopped: Path) -> None:
    """Its locators name the file, so a renamed file is read again; what else stays the same is used."""
    (stopped.parent / "pairs.jsonl").rename(stopped.parent / "couples.jsonl")
    stopped.write_text(stopped.read_text().replace("pairs.jsonl", "couples.jsonl"))
    _, said = resumed(stopped)
    assert said[0] == "2 of 3 units were finished before, and are used as they are"
