"""A record that kills the process that judges it ends in quarantine, alone."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pytest
from conftest import RECIPE, contents, make_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate import pipeline
from curate.careful import JUDGING, READING, WRITING, Care, Careful, Place
from curate.errors import InputError, StageError
from curate.io.store import Store
from curate.pipeline import Watch
from curate.release import Release

HERE = Path(__file__).parent


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """The corpus with three records that kill: two for a stage, in one unit, and one for a barrier's sketch."""
    make_corpus(tmp_path, 100)
    lines = (tmp_path / "docs" / "a.jsonl").read_bytes().splitlines(keepends=True)
    for at, word in ((20, "deadly"), (21, "deadly"), (44, "fatal")):
        line = {
            "id": f"poison-{at}",
            "text": f"a {word} text of number {at} that is like no other",
            "topic": "poison",
        }
        lines[at] = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
    (tmp_path / "docs" / "a.jsonl").write_bytes(b"".join(lines))
    armed = tmp_path / "armed"
    stages = f"  - poisons:Deadly: {{armed: {armed}}}\n  - poisons:DeadlySketch: {{armed: {armed}}}\n"
    (tmp_path / "curate.yaml").write_text(RECIPE.replace("  - toys", stages + "  - toys"))
    return tmp_path


def _rows(release: Release, table: str) -> pl.DataFrame:
    return pl.concat(
        [pl.read_parquet(path) for path in sorted((release.path / table).glob("part-*.parquet"))]
    )


def test_records_that_kill_their_worker_are_quarantined_and_no_other_changes(poisoned: Path) -> None:
    calm = curate.run(poisoned / "curate.yaml", poisoned / "calm", workers=1)
    (poisoned / "armed").touch()
    release = curate.run(poisoned / "curate.yaml", poisoned / "armed-release", workers=2, batch_size=8)
    ledger = _rows(release, "ledger").filter(pl.col("reason").str.ends_with("/killed"))
    assert sorted(ledger.select("id", "reason", "action").rows()) == [
        ("docs/poison-20", "deadly/killed", "quarantine"),
        ("docs/poison-21", "deadly/killed", "quarantine"),
        ("docs/poison-44", "fatal/killed", "quarantine"),
    ]
    assert set(ledger["evidence"]) == {'{"error":"worker died"}'}
    data = _rows(calm, "data").filter(~pl.col("id").str.starts_with("docs/poison"))
    assert _rows(release, "data").equals(data)
    removed = _rows(release, "removed")
    assert {"docs/poison-20", "docs/poison-21", "docs/poison-44"} <= set(removed["id"])
    for stage in release.manifest["stages"]:
        assert stage["seen"] == stage["kept"] + stage["dropped"] + stage["quarantined"]
    found = {finding["reason"]: finding["count"] for finding in release.manifest["findings"]}
    assert (found["deadly/killed"], found["fatal/killed"]) == (2, 1)
    assert not (release.path / "work").exists()


def test_a_record_that_killed_the_only_process_does_not_kill_the_next_run(poisoned: Path) -> None:
    file = poisoned / "docs" / "a.jsonl"
    file.write_bytes(file.read_bytes().replace(b"a deadly text", b"a harmless text"))
    (poisoned / "armed").touch()
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); from curate.cli import entry; entry()"
    command = [sys.executable, "-c", code, "run", str(poisoned / "curate.yaml"), "--workers", "1"]
    first, second = (
        subprocess.run([*command, "--batch-size", "4"], capture_output=True, text=True) for _ in range(2)
    )
    assert (first.returncode, second.returncode) == (-9, 0)
    assert "units in work when a run was stopped: 1; done again, with care" in second.stderr
    ledger = _rows(curate.load(poisoned / "release"), "ledger")
    assert set(ledger.filter(pl.col("reason").str.ends_with("/killed"))["id"]) == {"docs/poison-44"}


def test_a_death_that_does_not_come_again_leaves_no_trace(poisoned: Path) -> None:
    armed = poisoned / "armed"
    (poisoned / "curate.yaml").write_text(
        (poisoned / "curate.yaml").read_text().replace(f"armed: {armed}", f"armed: {armed}, times: 3")
    )
    calm = curate.run(poisoned / "curate.yaml", poisoned / "calm", workers=1)
    armed.touch()
    notes: list[str] = []
    release = curate.run(
        poisoned / "curate.yaml", poisoned / "shaken", workers=2, watch=Watch(note=notes.append)
    )
    assert len(armed.read_text().splitlines()) > 3
    assert contents(release.path) == contents(calm.path)
    assert notes == []


def test_a_death_while_reading_is_one_error_that_names_the_file(
    poisoned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import poisons

    monkeypatch.setattr(pipeline, "run_unit", poisons.unreadable)
    with pytest.raises(InputError, match=r"docs/b\.jsonl, from row 1: a worker died 3 times while it read the 16 "
                       r"records from row 17 on, .* exit code 9"):  # fmt: skip
        curate.run(poisoned / "curate.yaml", workers=2, batch_size=16)
    assert not list((poisoned / "release").glob("manifest*"))


def _batch(rows: list[int]) -> pa.RecordBatch:
    return pa.record_batch({"_row": pa.array(rows, pa.int64())})


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=1500), st.data())
@settings(deadline=None, max_examples=60)
def test_every_deadly_record_is_found_and_no_other(rows: set[int], data: st.DataObject) -> None:
    present = sorted(rows)
    deadly = set(data.draw(st.lists(st.sampled_from(present), max_size=4, unique=True)))
    strays = data.draw(
        st.lists(st.integers(1, 40), max_size=3)
    )  # deaths by somebody's hand, after so many parts
    care, deaths = Care(), 0
    while True:
        seen: list[int] = []
        place = None
        for number, part in enumerate(care.parts("s", _batch(present)), start=1):
            held = part.column("_row").to_pylist()
            seen += held
            if ("s", held[0]) in care.killed:
                assert len(held) == 1
            elif deadly & set(held) or (strays and number == strays[-1] and deaths % 2):
                place = Place(JUDGING, "s", held[0], held[-1], len(held))
                strays = strays[:-1]
                break
        if place is None:
            break
        assert seen == present[: len(seen)]
        deaths += 1
        care = care.after(_Marks(place), "unit")  # type: ignore[arg-type]
    assert seen == present
    assert {row for _, row in care.killed} == deadly
    assert deaths <= 6 * len(deadly) + 3 * 4


class _Marks:
    """Holds one mark."""

    def __init__(self, place: Place | None) -> None:
        self.place = place

    def read(self, name: str) -> bytes:
        if self.place is None:
            raise FileNotFoundError(name)
        return orjson.dumps(astuple(self.place))

    def remove(self, name: str) -> None:
        self.place = None


def test_a_mark_counts_for_one_death_only(tmp_path: Path) -> None:
    marks = Store.at(tmp_path / "marks")
    Careful(Care(), marks).at(JUDGING, "s", 5, 5, 1)
    care = Care().after(marks, "unit")
    assert (care.times, care.killed) == (1, ())
    care = care.after(marks, "unit")  # it died before it had left a mark
    assert (care.times, care.killed) == (1, ())
    Careful(Care(), marks).at(JUDGING, "s", 5, 5, 1)
    care = care.after(marks, "unit")
    assert (care.times, care.killed) == (1, ())


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (
            Place(READING, "read", 7, 0, 20),
            InputError,
            "x, from row 1: a worker died 3 times while it read the 20",
        ),
        (Place(READING, "read"), StageError, "3 times while reading the unit before it"),
        (Place(WRITING, "pii"), StageError, "3 times while writing what stage 'pii' decided"),
        (None, StageError, "its worker died 3 times before it had begun"),
    ],
)
def test_deaths_that_no_record_can_be_blamed_for_are_errors(
    place: Place | None, error: type[Exception], message: str
) -> None:
    care: Any = Care()
    for _ in range(2):
        care = care.after(_Marks(place), "x, from row 1")
    with pytest.raises(error, match=message):
        care.after(_Marks(place), "x, from row 1")


def test_a_stage_that_kills_on_many_records_is_to_blame_itself() -> None:
    care: Any = Care()
    with pytest.raises(
        StageError, match="stage 's' killed its worker on 11 records, so the stage is to blame"
    ):
        _ = [care := care.after(_Marks(Place(JUDGING, "s", at // 2, at // 2, 1)), "unit") for at in range(40)]
    assert len(care.killed) == 10
