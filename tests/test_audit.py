"""The residual audit: a random sample of kept records, a person's answers, and what they say of the release."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import orjson
import pytest
from conftest import write_jsonl

import curate
from curate import cli
from curate.errors import IntegrityError, RecipeError
from curate.govern import audit

MAIL = "jane.doe@example.com"


def _release(folder: Path, size: int = 20, out: str = "release", **options: Any) -> curate.Release:
    folder.mkdir(exist_ok=True)
    texts = [
        f"Write to {MAIL}, letter number {n}." if n % 3 else f"Nothing in letter {n}." for n in range(90)
    ]
    write_jsonl(folder / "a.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts[:40])])
    write_jsonl(folder / "b.jsonl", [{"id": str(n), "text": text} for n, text in enumerate(texts[40:], 40)])
    (folder / "curate.yaml").write_text(
        "curate: 1\nname: a\nversion: '1'\nsources: [{name: a, files: ['*.jsonl']}]\n"
        f"stages: [pii: {{audit: {size}}}]\n"
    )
    return curate.run(folder / "curate.yaml", folder / out, **{"workers": 1, **options})


def _form(release: curate.Release) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in (release.path / "audit" / audit.SAMPLE).read_bytes().splitlines()]


def _filled(folder: Path, lines: list[dict[str, Any]]) -> Path:
    path = folder / "forms" / "filled.jsonl"
    write_jsonl(path, lines)
    return path


def test_the_sample_is_of_kept_records_as_they_are_in_the_release(tmp_path: Path) -> None:
    release = _release(tmp_path)
    form = _form(release)
    assert len(form) == 20
    assert [line["n"] for line in form] == list(range(1, 21))
    assert {line["id"] for line in form} <= {f"a/{n}" for n in range(90)}
    assert MAIL not in str(form)
    assert any(line["edits"] for line in form)
    assert all(line["personal_data_left"] is None for line in form)
    first = curate.explain(release.path, form[0]["id"])
    assert first.places[0]["read_from"] == form[0]["read_from"]
    [entry] = [e for e in release.manifest["outputs"] if e["path"] == f"audit/{audit.SAMPLE}"]
    assert entry["records"] == 20


def test_the_sample_is_the_same_for_any_workers_and_batches_and_all_records_have_their_chance(
    tmp_path: Path,
) -> None:
    first = _form(_release(tmp_path))
    assert _form(_release(tmp_path, out="other", batch_size=7, workers=2)) == first
    assert {line["id"] for line in first} <= {line["id"] for line in _form(_release(tmp_path, 40, "larger"))}
    assert [line["id"] for line in first] != sorted(line["id"] for line in first)
    assert len(_form(_release(tmp_path, 500, "all"))) == 90
    assert not (_release(tmp_path, 0, "none").path / "audit").exists()


def test_answers_become_shares_with_intervals_in_manifest_and_datasheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = _release(tmp_path)
    lines = _form(release)
    for line in lines[:10]:
        line["personal_data_left"] = "no"
    lines[2] |= {"personal_data_left": "Yes", "kinds_left": ["PERSON"], "note": "a name in the second line"}
    edited = next(line for line in lines if line["edits"])
    edited["wrongly_edited"] = "no"
    form = _filled(tmp_path, lines)
    before = (release.path / "datasheet.md").read_text()
    assert cli.main(["audit", str(release.path), str(form)]) == 0
    assert (
        "personal data left: 1 of 10 records, 10.0% (95% interval 0.3% to 44.5%)" in capsys.readouterr().out
    )
    told = curate.load(release.path).manifest
    assert told["audit"]["personal_data_left"]["records_in_release"] == [1, 41]  # the one that was found
    assert told["audit"]["kinds_left"] == {"PERSON": 1}
    assert told["audit"]["wrongly_edited"] | {"share": 0.0} == told["audit"]["wrongly_edited"]
    assert told["root"] != release.manifest["root"]
    sheet = (release.path / "datasheet.md").read_text()
    assert "Residual risk: not judged" in before
    assert "personal data is left in 1 (10.0%; 95% interval 0.3% to 44.5%)" in sheet
    answers = (release.path / "audit" / audit.ANSWERS).read_text()
    assert "letter" not in answers
    assert "second line" not in answers
    assert curate.run(tmp_path / "curate.yaml", workers=1).reused  # still a whole release


def test_no_answers_are_no_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    release = _release(tmp_path)
    assert cli.main(["audit", str(release.path), str(_filled(tmp_path, _form(release)))]) == 0
    assert "personal data left: 0 of 0 records (no answers)" in capsys.readouterr().out


def test_a_form_of_something_else_is_refused_line_by_line(tmp_path: Path) -> None:
    release = _release(tmp_path)
    lines = _form(release)
    lines[1]["text"] = "another text"
    lines[3]["personal_data_left"] = "perhaps"
    lines[4]["kinds_left"] = ["PERSON"]
    with pytest.raises(RecipeError) as refused:
        curate.audit(release.path, _filled(tmp_path, lines[:-1]))
    text = str(refused.value)
    assert "has 19 lines, the sample of" in text
    assert "filled.jsonl:2: is not line 2 of" in text
    assert "filled.jsonl:4: personal_data_left: the answer is not yes or no" in text
    assert "filled.jsonl:5: kinds_left: names kinds, but personal_data_left is not yes" in text
    assert "another text" not in text
    (tmp_path / "forms" / "filled.jsonl").write_text('{"n": 1\n')
    with pytest.raises(RecipeError, match=r"filled\.jsonl:1: not JSON"):
        curate.audit(release.path, tmp_path / "forms" / "filled.jsonl")
    with pytest.raises(RecipeError, match="name a filled-in copy"):
        curate.audit(release.path, tmp_path / "none.jsonl")


def test_a_form_filled_in_inside_the_release_is_neither_taken_nor_lost(tmp_path: Path) -> None:
    release = _release(tmp_path)
    inside = release.path / "audit" / audit.SAMPLE
    with pytest.raises(RecipeError, match="fill in a copy elsewhere"):
        curate.audit(release.path, inside)
    blank = inside.read_bytes()
    inside.write_bytes(blank.replace(b'"personal_data_left":null', b'"personal_data_left":"no"', 1))
    with pytest.raises(RecipeError, match="was filled in; move it to another folder to keep it"):
        curate.run(tmp_path / "curate.yaml", workers=1)
    (tmp_path / "forms").mkdir()
    shutil.copy(inside, tmp_path / "forms" / "mine.jsonl")
    with pytest.raises(IntegrityError, match="is not as the run wrote it"):
        curate.audit(release.path, tmp_path / "forms" / "mine.jsonl")
    inside.write_bytes(blank)
    assert (
        curate.audit(release.path, tmp_path / "forms" / "mine.jsonl")["personal_data_left"]["answered"] == 1
    )


@pytest.mark.parametrize(
    ("yes", "asked", "low", "high"),
    [
        (0, 100, 0.0, 0.036217),
        (3, 100, 0.006230, 0.085176),
        (5, 10, 0.187086, 0.812914),
        (7, 7, 0.590384, 1.0),
    ],
)
def test_the_interval_is_clopper_and_pearson_s(yes: int, asked: int, low: float, high: float) -> None:
    # values: SciPy 1.17, stats.binomtest(yes, asked).proportion_ci(method="exact")
    assert audit.interval(yes, asked) == pytest.approx((low, high), abs=1e-6)


def test_intervals_hold_the_true_share_as_often_as_they_say() -> None:
    rng = random.Random(1)
    for share in (0.02, 0.3):
        held = 0
        for _ in range(400):
            yes = sum(rng.random() < share for _ in range(60))
            low, high = audit.interval(yes, 60)
            held += low <= share <= high
        assert held / 400 >= audit.CONFIDENCE


def test_explain_shows_what_stands_around_a_find_and_masks_the_find(tmp_path: Path) -> None:
    release = _release(tmp_path)
    story = curate.explain(release.path, "a/1")
    assert story.context == ("turn 0, EMAIL_ADDRESS: Write to ████████████, letter number 1.",)
    assert curate.explain(release.path, "a/0").context == ()
    shutil.rmtree(release.path / "removed")
    (release.path / "removed").mkdir()
    assert curate.explain(release.path, "a/1").context == ()


def test_a_form_that_an_editor_put_a_byte_order_mark_before_is_read(tmp_path: Path) -> None:
    release = _release(tmp_path)
    form = _filled(tmp_path, [line | {"personal_data_left": "no"} for line in _form(release)])
    form.write_bytes(b"\xef\xbb\xbf" + form.read_bytes().replace(b"\n", b"\r\n"))
    assert cli.main(["audit", str(release.path), str(form)]) == 0


def test_the_bounds_for_a_release_hold_what_was_answered_for(tmp_path: Path) -> None:
    release = _release(tmp_path, 90)  # every record
    lines = _form(release)
    for line in lines:
        line["personal_data_left"] = "yes" if line["n"] % 2 else "no"
    assert cli.main(["audit", str(release.path), str(_filled(tmp_path, lines))]) == 0
    yes = (len(lines) + 1) // 2
    found = curate.load(release.path).manifest["audit"]["personal_data_left"]
    assert found["records_in_release"] == [yes, yes]
