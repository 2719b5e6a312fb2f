"""``curate diff`` tells all that changed: records, mixture, licenses, inputs, findings."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import curate
from curate import show
from curate.cli import main

RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: one, files: [one.jsonl], license: CC0-1.0, fields: {license: lic}}
  - {name: two, files: [two.jsonl], license: MIT}
stages: [license, exact, language: {allow: any}]
"""


def _write(path: Path, rows: list[dict[str, str]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


@pytest.fixture
def pair(tmp_path: Path) -> tuple[curate.Release, curate.Release]:
    (tmp_path / "curate.yaml").write_text(RECIPE)
    rows = [
        {
            "id": f"{i}",
            "lic": "CC0-1.0",
            "text": f"The harbour number {i} is open to every ship that comes by day.",
        }
        for i in range(6)
    ]
    _write(tmp_path / "one.jsonl", rows)
    _write(tmp_path / "two.jsonl", [{"id": "x", "text": "Another text about the garden and the old bridge."}])
    a = curate.run(tmp_path / "curate.yaml", tmp_path / "a", workers=1)
    rows[0]["text"] += " And it was changed since."
    rows[1]["lic"] = "CC-BY-4.0"
    rows[2]["text"] = "Der Hafen ist am Abend geschlossen, und niemand weiß, wann er wieder öffnet."
    _write(
        tmp_path / "one.jsonl",
        [*rows[:5], {"id": "new", "lic": "CC0-1.0", "text": "A new text, which was not there before."}],
    )
    return a, curate.run(tmp_path / "curate.yaml", tmp_path / "b", workers=1)


def test_every_kind_of_change_is_told(pair: tuple[curate.Release, curate.Release]) -> None:
    found = curate.diff(pair[0].path, pair[1].path)
    assert {row["name"]: row["records"] for row in found.records} == {
        "kept in both, unchanged": 4,
        "kept in both, other content": 2,
        "kept in both, other license": 1,
        "kept in both, other language": 1,
        "kept in a alone": 1,
        "kept in b alone": 1,
    }
    assert {(row["id"], row["changed"]) for row in found.examples} == {
        ("one/0", "other content"),
        ("one/1", "other license"),
        ("one/2", "other content, other language"),
        ("one/5", ""),
        ("one/new", ""),
    }
    assert {row["name"]: (row["a"], row["b"]) for row in found.licenses} == {
        "CC0-1.0": (6, 5),
        "CC-BY-4.0": (0, 1),
    }
    assert {row["name"]: (row["a"], row["b"]) for row in found.languages} == {"en": (7, 6), "de": (0, 1)}
    assert [row["name"] for row in found.inputs] == ["one: one.jsonl"]
    assert found.mixture == []  # six of one and one of two in both
    assert found.recipe == []
    assert found.releases["a"]["root"] == pair[0].manifest["root"]


def test_a_release_does_not_differ_from_itself(pair: tuple[curate.Release, curate.Release]) -> None:
    found = curate.diff(pair[0].path, pair[0].path)
    parts = vars(found)
    assert [name for name in parts if parts[name] and name not in ("releases", "records")] == []


def test_another_order_of_stages_and_shares_of_equal_counts_are_told() -> None:
    from curate.govern import difference

    a, b = ([{"name": name} for name in names] for names in (("license", "exact"), ("exact", "license")))
    assert difference._changed_keys({"stages": a}, {"stages": b}) == ["stages (order)"]
    assert [row["name"] for row in difference._shares({"x": 5, "y": 5}, {"x": 5})] == ["x", "y"]
    assert difference._shares({"x": 5}, {"x": 5}) == []


def test_text_of_the_data_is_no_markup_of_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show.out().print(show.rows("Ids", [{"id": "[/b] [red]x", "b": "\x1b[31my"}], ()))
    shown = capsys.readouterr().out
    assert "[/b] [red]x" in shown
    assert "\x1b[31m" not in shown


def test_the_terminal_shows_it(
    pair: tuple[curate.Release, curate.Release], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(pair[0].path), str(pair[1].path)]) == 0
    shown = capsys.readouterr().out
    for part in ("Mixture by license", "one/new", "other content, other language", "Input files", "14.29%"):
        assert part in shown, part
