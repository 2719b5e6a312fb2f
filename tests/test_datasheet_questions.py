"""The 52 questions: what the run answers, what a person does, and how long a person's answer holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.cli import main
from curate.errors import RecipeError
from curate.govern.datasheet import answers, assisted, declared, measured, questions
from curate.govern.datasheet.values import at, sha256

ROOT = Path(__file__).parent.parent
PLACEHOLDERS = ("todo", "tbd", "n/a", "none |", "[more information needed]", "lorem")


@pytest.fixture
def folder(corpus: Path) -> Path:
    with (corpus / "curate.yaml").open("a") as file:
        file.write("answers: answers.yaml\ngates: {max_unanswered: 15}\nabout: {contact: desk@example.org}\n")
    (corpus / "answers.yaml").write_text(
        "answers: 1\nby: the tests\nowner: the owner\nquestions:\n"
        "  motivation-purpose: For tests.\n"
        "  uses-already: {answer: In tests., at: 2026-11-20}\n"
        "  collection-consent: {not_applicable: Nobody is concerned.}\n"
        "  motivation-funding: {owner: the treasurer}\n"
    )
    return corpus


def _sheet(release: curate.Release) -> dict[str, Any]:
    held: dict[str, Any] = orjson.loads((release.path / "datasheet.json").read_bytes())
    return held


def _question(release: curate.Release, name: str) -> dict[str, Any]:
    return next(one for one in _sheet(release)["questions"] if one["id"] == name)


def test_the_catalogue_is_the_paper_s() -> None:
    held = questions.catalogue()
    by_section = [sum(name.startswith(f"{start}-") for name in held) for start in questions.SECTIONS]
    assert by_section == [3, 16, 12, 3, 5, 6, 7]
    by = {
        kind: {one.id for one in held.values() if one.by == kind} for kind in ("pipeline", "both", "person")
    }
    assert [len(by[kind]) for kind in ("pipeline", "both", "person")] == [12, 24, 16]
    assert set(measured.ANSWERS) == by["pipeline"]
    assert set(assisted.ANSWERS) == by["both"]
    assert set(declared.ANSWERS) < by["person"]
    assert all(one.question.endswith("?") for one in held.values())


def test_the_run_answers_twelve_alone_and_gives_numbers_to_twenty_four(corpus: Path) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    sheet = _sheet(release)
    assert sheet["states"] == {
        "measured": 12,
        "declared": 0,
        "derived": 24,
        "not_applicable": 0,
        "unanswered": 16,
    }
    for one in sheet["questions"]:
        if one["state"] == "unanswered":
            assert one["answer"] is None
            assert one["owner"]
            continue
        assert one["evidence"], one["id"]
        assert len(one["answer"]) > 20, one["id"]
        assert not any(word in one["answer"].casefold() for word in PLACEHOLDERS), one["id"]
        for evidence in one["evidence"]:
            assert evidence["sha256"] == sha256(at(release.manifest, evidence["pointer"]))
    text = (release.path / "datasheet.md").read_text()
    assert text.count("Not answered (owner: ") == 16


def test_a_person_s_answers_are_shown_with_name_and_day_and_the_rest_with_an_owner(folder: Path) -> None:
    release = curate.run(folder / "curate.yaml", workers=1)
    purpose, used = (_question(release, name) for name in ("motivation-purpose", "uses-already"))
    assert (purpose["state"], purpose["said"], purpose["by"]) == ("declared", "For tests.", "the tests")
    assert (used["state"], used["at"], used["stale"]) == ("declared", "2026-11-20", False)
    assert used["evidence_sha256"] == release.manifest["answers"]["uses-already"]["evidence_sha256"]
    assert _question(release, "collection-consent")["state"] == "not_applicable"
    assert _question(release, "maintenance-contact")["answer"] == "desk@example.org"
    assert _question(release, "motivation-funding")["owner"] == "the treasurer"
    assert _question(release, "uses-other")["owner"] == "the owner"
    [gate] = release.manifest["gates"]
    assert gate == {
        "gate": "max_unanswered",
        "limit": 15,
        "value": 13,
        "where": "questions of the datasheet",
        "passed": True,
    }


def test_an_answer_is_stale_when_its_numbers_change_until_it_is_confirmed(folder: Path) -> None:
    first = curate.run(folder / "curate.yaml", workers=1)
    with (folder / "docs" / "a.jsonl").open("a") as file:
        file.write(
            '{"id": "new", "text": "one more record that stands alone among all of the others here"}\n'
        )
    second = curate.run(folder / "curate.yaml", workers=1)
    assert not second.reused
    assert _question(second, "uses-already")["stale"]
    assert not _question(second, "motivation-purpose")["stale"]  # it was given for no number
    assert "Answered for earlier numbers" in (second.path / "datasheet.md").read_text()
    assert _sheet(second)["stale"] == 1
    held = second.manifest["answers"]["uses-already"]["evidence_sha256"]
    assert held == first.manifest["answers"]["uses-already"]["evidence_sha256"]

    again = curate.run(folder / "curate.yaml", workers=1)
    assert again.reused
    assert again.manifest["root"] == second.manifest["root"]
    assert _question(again, "uses-already")["stale"]  # running again confirms nothing

    file_ = folder / "answers.yaml"
    file_.write_text(file_.read_text().replace("2026-11-20", "2026-11-22"))
    confirmed = curate.run(folder / "curate.yaml", workers=1)
    assert confirmed.reused
    assert confirmed.manifest["root"] != second.manifest["root"]
    assert not _question(confirmed, "uses-already")["stale"]
    assert curate.load(confirmed.path).manifest["root"] == confirmed.manifest["root"]
    assert (confirmed.path / "datasheet.html").read_text().count(confirmed.manifest["root"]) == 1
    assert curate.verify(confirmed.path).ok


def test_the_hash_can_be_set_by_hand(folder: Path) -> None:
    release = curate.run(folder / "curate.yaml", workers=1)
    held = _question(release, "uses-already")["evidence_sha256"]
    file = folder / "answers.yaml"
    for digest, stale in (("0" * 64, True), (held, False)):
        file.write_text(f"answers: 1\nquestions:\n  uses-already: {{answer: In tests., for: '{digest}'}}\n")
        assert _question(curate.run(folder / "curate.yaml", workers=1), "uses-already")["stale"] is stale


def test_answers_enter_a_finished_release_and_outlive_the_next_run(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    release = curate.run(corpus / "curate.yaml", workers=1)
    file = tmp_path_factory.mktemp("answers") / "mine.yaml"
    file.write_text("answers: 1\nquestions: {uses-other: For more tests.}\n")
    assert main(["datasheet", str(release.path), "--answers", str(file)]) == 0
    assert "wrote" in capsys.readouterr().out
    told = curate.load(release.path)
    assert _question(told, "uses-other")["said"] == "For more tests."
    assert told.manifest["root"] != release.manifest["root"]
    assert curate.verify(release.path).ok
    with (corpus / "docs" / "a.jsonl").open("a") as data:
        data.write(
            '{"id": "new", "text": "one more record that stands alone among all of the others here"}\n'
        )
    assert _question(curate.run(corpus / "curate.yaml", workers=1), "uses-other")["said"] == "For more tests."


def test_everything_wrong_with_the_file_is_told_at_once_with_its_line(folder: Path) -> None:
    (folder / "answers.yaml").write_text(
        "answers: 1\nowners: me\nquestions:\n"
        "  motivation-purpos: For tests.\n"
        "  uses-other: {answer: a, not_applicable: b}\n"
        "  uses-not: {at: soon, answer: x}\n"
        "  uses-impact: TODO\n"
        "  maintenance-host: {}\n"
        "  maintenance-updates: {answer: x, for: abc}\n"
    )
    with pytest.raises(RecipeError) as refused:
        curate.run(folder / "curate.yaml", workers=1)
    text = str(refused.value)
    assert "answers.yaml:2: owners: unknown key; did you mean 'owner'?" in text
    assert (
        "answers.yaml:4: questions.motivation-purpos: unknown question; did you mean 'motivation-purpose'?"
        in text
    )
    assert "answers.yaml:5: questions.uses-other: has both answer and not_applicable" in text
    assert "answers.yaml:6: questions.uses-not.at: found 'soon'" in text
    assert "answers.yaml:7: questions.uses-impact.answer: found 'TODO', which answers nothing" in text
    assert "answers.yaml:8: questions.maintenance-host: needs answer, not_applicable or owner" in text
    assert "answers.yaml:9: questions.maintenance-updates.for: found 'abc'" in text
    assert not (folder / "release").exists()
    (folder / "answers.yaml").unlink()
    with pytest.raises(RecipeError, match=r"answers\.yaml: no such file"):
        curate.run(folder / "curate.yaml", workers=1)


def test_a_missed_gate_on_questions_fails_the_run(folder: Path) -> None:
    recipe = folder / "curate.yaml"
    recipe.write_text(recipe.read_text().replace("max_unanswered: 15", "max_unanswered: 3"))
    assert [gate["gate"] for gate in curate.run(recipe, workers=1).failed_gates] == ["max_unanswered"]
    assert main(["run", str(recipe), "--workers", "1"]) == 1


def test_the_schema_in_the_project_is_the_one_that_is_checked() -> None:
    import jsonschema
    from ruamel.yaml import YAML

    held = orjson.loads((ROOT / "manifests" / "schema" / "answers.schema.json").read_bytes())
    assert held == orjson.loads(orjson.dumps(answers.schema()))
    jsonschema.Draft202012Validator.check_schema(held)
    text = YAML(typ="safe", pure=True).load((ROOT / "manifests" / "answers.yaml").read_text())
    text["at"] = str(text["at"])
    jsonschema.Draft202012Validator(held).validate(text)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(held).validate({"answers": 1, "questions": {"no-such": "x"}})


def test_the_starter_answers_answer_most_questions() -> None:
    given = answers.read(ROOT / "manifests" / "answers.yaml")
    assert len(given["answers"]) >= 8
    assert given["owners"]["*"]
