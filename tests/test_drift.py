"""Drift between releases: told where there is some, not where there is none, and judged as a gate."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

import curate
from curate.cli import main
from curate.errors import RecipeError
from curate.govern import distributions, drift

GERMAN = "Der Hafen ist am Abend geschlossen, und niemand weiß, wann er wieder öffnet, Nummer {}."
ENGLISH = "The harbour is closed in the evening and nobody knows when it opens again, number {}."
RECIPE = """\
curate: 1
name: batch
version: "{version}"
sources: [{{name: web, files: [{version}.jsonl], license: CC0-1.0}}]
stages: [exact, {{language: {{allow: any}}}}]
output: {{format: {format}}}
{gates}
"""


def _one(name: str, values: list[str]) -> dict[str, Any]:
    return {"distributions": [distributions.by_value(name, Counter(values))]}


def _two(values: list[tuple[str, int]]) -> dict[str, Any]:
    languages, lengths = Counter(value[0] for value in values), Counter(value[1] for value in values)
    return {
        "distributions": [
            distributions.by_value("language", languages),
            distributions.by_length("length", lengths),
        ]
    }


def test_halves_of_one_set_do_not_drift_and_shifts_do() -> None:
    rng = random.Random(3)
    values = [
        (rng.choice(["en"] * 7 + ["de"] * 2 + ["fr"]), int(rng.lognormvariate(5, 1))) for _ in range(2000)
    ]
    alarms = 0
    for _ in range(60):
        rng.shuffle(values)
        alarms += any(
            one.drifted for one in drift.compare(_two(values[:1000]), _two(values[1000:]), limit=0.0)
        )
    assert alarms <= 3  # 0.6 are expected at ALPHA = 0.01
    more = [("de" if rng.random() < 0.2 else language, length * 2) for language, length in values]
    before, after = _two(values), _two(more)
    language, length = drift.compare(before, after)
    assert (language.drifted, language.label, length.drifted) == (True, "de", True)
    assert drift.compare(before, after, limit=0.5)[0].drifted is False  # no chance, but small


def test_distances_are_those_of_their_definitions() -> None:
    a, b = np.array([[3, 1, 0, 4]]), np.array([[1, 1, 2, 0]])
    shares = [[x / 8 for x in (3, 1, 0, 4)], [x / 4 for x in (1, 1, 2, 0)]]
    total_variation = sum(abs(x - y) for x, y in zip(*shares, strict=True)) / 2
    cumulated = [[sum(side[: i + 1]) for i in range(4)] for side in shares]
    kolmogorov = max(abs(x - y) for x, y in zip(*cumulated, strict=True))
    assert drift.distance(a, a[0] + b[0], ordered=False)[0] == pytest.approx(total_variation)
    assert drift.distance(a, a[0] + b[0], ordered=True)[0] == pytest.approx(kolmogorov)


def test_p_is_that_of_permuting_the_records_themselves() -> None:
    values = np.array([0] * 14 + [1] * 6 + [0] * 7 + [1] * 13)
    rng = np.random.default_rng(1)
    seen = abs(values[:20].mean() - values[20:].mean())
    permuted = (rng.permutation(values) for _ in range(20000))
    as_large = sum(abs(deal[:20].mean() - deal[20:].mean()) >= seen - 1e-12 for deal in permuted)
    [found] = drift.compare(
        _one("kind", ["ab"[v] for v in values[:20]]), _one("kind", ["ab"[v] for v in values[20:]])
    )
    assert found.p == pytest.approx(as_large / 20000, abs=0.01)


def test_labels_that_one_release_does_not_name_are_put_to_the_others_unless_it_names_all() -> None:
    all_named = {"ordered": False, "counts": [["a", 6], ["b", 5]]}
    with_rest = {"ordered": False, "counts": [["a", 6], ["c", 9], [None, 4]]}
    labels, counts = drift.aligned(all_named, with_rest)
    assert labels == ["a", "c", None]
    assert counts.tolist() == [[6, 0, 5], [6, 9, 4]]


def test_topics_that_each_release_learnt_of_its_own_records_are_not_compared() -> None:
    """Two halves of a set have topics of other names: that is no drift, and a gate that asks for it is not met."""
    before = _one("topic", ["garden, hedge"] * 50 + ["none"] * 9)
    other = _one("topic", ["hedge, lawn"] * 50 + ["none"] * 9)
    fewer = _one("topic", ["garden, hedge"] * 50 + ["valve"] * 40 + ["none"] * 9)
    assert drift.compare(before, other) == []
    assert drift.compare(before, _one("topic", ["none"] * 59)) == []
    assert [one.drifted for one in drift.compare(before, fewer)] == [True]
    asked = {**before, "against": {"name": "a", "version": "1"}, "max_distance": 0.1, "dimensions": ["topic"]}
    assert not drift.gate(drift.told(asked, other))["passed"]


def test_values_of_few_records_are_not_named() -> None:
    told = distributions.by_value("topic", {"common": 50, "of one person": 1, "rare": 4})
    assert told["counts"] == [["common", 50], [None, 5]]


@pytest.mark.parametrize("length", [*range(12), 15, 16, 17, 100, 12345])
def test_a_length_falls_into_a_bin_of_a_quarter_of_an_octave(length: int) -> None:
    least = distributions.floor_of(length)
    assert least <= length
    assert length < 8 or length < least * 1.25
    assert distributions.floor_of(least) == least


def _write(folder: Path, version: str, german: int, gates: str = "", form: str = "parquet") -> Path:
    rows = [{"text": (GERMAN if i < german else ENGLISH).format(i * 7919), "id": str(i)} for i in range(300)]
    (folder / f"{version}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    path = folder / f"{version}.yaml"
    path.write_text(RECIPE.format(version=version, gates=gates, format=form))
    return path


def test_the_gate_judges_a_batch_against_an_earlier_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    v1 = curate.run(_write(tmp_path, "v1", 30), tmp_path / "v1", workers=1)
    gates = "gates: {drift: {against: v1, max_distance: 0.1}}"
    alike = curate.run(_write(tmp_path, "v2", 36, gates, "jsonl.zst"), tmp_path / "v2", workers=1)
    assert alike.failed_gates == []
    assert curate.verify(alike.path).ok
    assert main(["run", str(_write(tmp_path, "v3", 120, gates)), "--out", str(tmp_path / "v3")]) == 1
    [gate] = curate.load(tmp_path / "v3").failed_gates
    assert (gate["gate"], gate["where"]) == ("drift", "language, against batch v1")
    told = curate.load(tmp_path / "v3").manifest["drift"]
    assert told["against"] == {key: v1.manifest[key] for key in ("name", "version", "root")}
    assert [one["dimension"] for one in told["dimensions"] if one["drifted"]] == ["language"]
    shown = curate.diff(tmp_path / "v1", tmp_path / "v3")
    assert {one["dimension"]: one["drifted"] for one in shown.drift}["language"]
    capsys.readouterr()
    assert main(["diff", str(tmp_path / "v1"), str(tmp_path / "v3")]) == 0
    assert "drifted" in capsys.readouterr().out


def test_after_a_take_down_gate_and_finding_say_what_was_counted_again(tmp_path: Path) -> None:
    curate.run(_write(tmp_path, "v1", 30), tmp_path / "v1", workers=1)
    gates = "gates: {drift: {against: v1}}"
    made = curate.run(_write(tmp_path, "v2", 62, gates), tmp_path / "v2", workers=1)
    assert made.failed_gates  # 0.1067 of the records more are German
    curate.takedown(made.path, ids=["web/0", "web/1", "web/2"])
    after = curate.load(made.path)
    assert [one for one in after.manifest["drift"]["dimensions"] if one["drifted"]] == []
    assert after.failed_gates == []
    assert not any(one["reason"] == "drift/shifted" for one in after.manifest["findings"])
    assert curate.verify(made.path).ok


def test_a_gate_that_names_no_release_is_refused_with_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path, "v1", 0, "gates: {drift: {against: nowhere}}")
    with pytest.raises(
        RecipeError, match=r"v1.yaml:7: gates.drift.against: found 'nowhere', which is no release"
    ):
        curate.run(path, tmp_path / "out")


def test_the_datasheet_tells_drift_with_its_evidence(tmp_path: Path) -> None:
    curate.run(_write(tmp_path, "v1", 30), tmp_path / "v1", workers=1)
    gates = "gates: {drift: {against: v1, dimensions: [language, task]}}"
    made = curate.run(_write(tmp_path, "v2", 120, gates), tmp_path / "v2", workers=1)
    assert "task cannot be compared" in made.failed_gates[0]["where"]
    page = (made.path / "datasheet.md").read_text()
    assert "## Drift" in page
    assert "Not compared, since one of the two lacks it, or they have topics of their own: task" in page
