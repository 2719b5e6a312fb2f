"""A person's answers for the datasheet and the disclosures: the file, and how its answers enter a manifest.

An answer is kept with the hash of the evidence it was given for. It keeps that hash for as long as its text, name
and day stay the same, so that an answer given for earlier numbers can be told (*stale*); a new day, or other
words, confirm it for the present ones. ``for`` in the file sets the hash by hand.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from curate.errors import RecipeError
from curate.govern import disclosures
from curate.govern import manifest as manifests
from curate.govern.datasheet import questions
from curate.govern.datasheet.values import settled
from curate.source import Part
from curate.yamlfile import YamlFile, nearest

GATE = "max_unanswered"


class Given(Part):
    """An answer to one question, or who owes it."""

    answer: str | None = Field(None, min_length=1, description="the answer, in a person's words")
    not_applicable: str | None = Field(None, min_length=1, description="why the question does not apply")
    by: str | None = Field(None, description="who answers")
    at: datetime.date | None = Field(
        None, description="day of the answer; a new one confirms it for new numbers"
    )
    owner: str | None = Field(None, description="who is to answer, if nobody has")
    for_: str | None = Field(
        None,
        alias="for",
        pattern=r"^[0-9a-f]{64}$",
        description="evidence_sha256 of the numbers that the answer was given for",
    )

    @field_validator("answer", "not_applicable")
    @classmethod
    def _says_something(cls, value: str | None) -> str | None:
        if value is not None and value.strip().strip(".…").casefold() in (
            "",
            "todo",
            "tbd",
            "n/a",
            "none yet",
        ):
            raise ValueError(f"found {value!r}, which answers nothing; leave the question out instead")
        return value

    @model_validator(mode="after")
    def _one(self) -> Given:
        if self.answer is not None and self.not_applicable is not None:
            raise ValueError("has both answer and not_applicable; allowed: one of them; take one out")
        if self.answer is None and self.not_applicable is None and self.owner is None:
            raise ValueError("needs answer, not_applicable or owner; add one, or leave the question out")
        return self


class Answers(Part):
    """The file of answers: who answers unless a question says otherwise, and the answers by question."""

    answers: Literal[1] = Field(description="version of the file's language")
    by: str | None = Field(None, description="who answers")
    at: datetime.date | None = Field(None, description="day of the answers")
    owner: str | None = Field(None, description="who is to answer what nobody has answered")
    questions: dict[str, Any] | None = Field(None, description="question id → answer, as text or as keys")


def read(path: Path, shown: str | None = None) -> dict[str, dict[str, Any]]:
    """Read a file of answers. Returns the manifest's parts ``answers`` and ``owners``, without hashes.

    Raises RecipeError with everything that is wrong with it, each with its line.
    """
    file = YamlFile.read(path, shown)
    keys = file.mapping("a file of answers is a mapping that begins with 'answers: 1'")
    problems: list[str] = []
    head = file.validate(Answers, keys, (), problems)
    known = questions.catalogue()
    answers: dict[str, Any] = {}
    owners: dict[str, Any] = {}
    held = keys.get("questions")
    for question, said in (held if isinstance(held, dict) else {}).items():
        where = ("questions", question)
        if question not in known and not disclosures.asks(question):
            near = nearest(question, known)
            hint = (
                near
                if near.startswith("; did")
                else "; manifests/schema/answers.schema.json lists all of them"
            )
            problems.append(file.at(where, f"unknown question{hint}; correct the id"))
            continue
        given = file.validate(Given, {"answer": said} if isinstance(said, str) else said, where, problems)
        if given is None or head is None:
            continue
        if given.owner is not None:
            owners[question] = given.owner
        if text := given.answer or given.not_applicable:
            day = given.at or head.at
            answers[question] = {
                "text": text.strip(),
                "by": given.by or head.by,
                "at": None if day is None else day.isoformat(),
                "evidence_sha256": given.for_,
                **({"not_applicable": True} if given.not_applicable else {}),
            }
    if problems or head is None:
        raise RecipeError(problems)
    if head.owner is not None:
        owners["*"] = head.owner
    return {"answers": answers, "owners": owners}


def enter(
    manifest: Mapping[str, Any], given: Mapping[str, Any] | None, earlier: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the manifest with a person's answers, each with the hash of its evidence, and the gate judged.

    given: as read returns it; None leaves what the manifest has, or what the release had that it replaces.
    earlier: the manifest of that release, whose answers keep their hashes where they have not been given anew.
    """
    manifest = settled(manifest)
    changed = {**manifest}
    source = manifest if earlier is None else earlier
    before = source.get("answers", {})
    if given is None and earlier is not None and (before or source.get("owners")):
        given = {"answers": before, "owners": source.get("owners", {})}
    if given is not None:
        known = questions.catalogue()
        changed["answers"] = {
            question: {
                **said,
                "evidence_sha256": _noted(question, said, before, known.get(question), manifest),
            }
            for question, said in sorted(given["answers"].items())
            if question in known or disclosures.asks(question)
        }
        changed["owners"] = dict(sorted(given["owners"].items()))
        for part in ("answers", "owners"):
            if not changed[part]:
                del changed[part]
    changed["gates"] = _judged(changed)
    if all(changed.get(part) == manifest.get(part) for part in ("answers", "owners", "gates")):
        return dict(manifest)
    changed["root"] = manifests.root(changed)
    return changed


def _noted(
    question: str,
    said: Mapping[str, Any],
    before: Mapping[str, Any],
    asked: questions.Question | None,
    manifest: Mapping[str, Any],
) -> str | None:
    if said["evidence_sha256"] is not None:
        return str(said["evidence_sha256"])
    held = before.get(question)
    if held and all(held.get(key) == said.get(key) for key in ("text", "by", "at", "not_applicable")):
        found: str | None = held["evidence_sha256"]
        return found
    if asked is None:
        return disclosures.evidence_sha256(manifest, question)
    return questions.evidence_sha256(asked, manifest)


def _judged(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the gates with the one on unanswered questions, if the recipe has it, judged."""
    gates = [gate for gate in manifest["gates"] if gate["gate"] != GATE]
    limit = manifest["recipe"]["gates"].get(GATE)
    if limit is None:
        return gates
    open_ = questions.tally(manifest)["unanswered"]
    return [
        *gates,
        {
            "gate": GATE,
            "limit": limit,
            "value": open_,
            "where": "questions of the datasheet",
            "passed": open_ <= limit,
        },
    ]


def schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a file of answers, for editors."""
    whole = Answers.model_json_schema()
    entry = {"anyOf": [{"type": "string", "minLength": 1}, Given.model_json_schema()]}
    whole["$defs"] = {"answer": entry}
    known = {
        question.id: {"$ref": "#/$defs/answer", "description": question.question}
        for question in questions.catalogue().values()
    }
    whole["properties"]["questions"] = {
        "type": ["object", "null"],
        "additionalProperties": False,
        "properties": known,
        "patternProperties": {disclosures.ASKED: {"$ref": "#/$defs/answer"}},
        "description": "question id → answer, as text or as keys",
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return head | whole | {"title": "curate answers", "description": "A person's answers for the datasheet."}
