"""Fields of a disclosure: a question, its answer, how the answer is known, and the evidence for it.

States: *measured* (counted from the records), *derived* (follows from what the manifest holds), *declared* (a person
wrote it in the recipe, a source manifest or the answers), *proposed* (what the evidence suggests, and a person has to
confirm; every Yes or No that nobody declared is one), *not_applicable* (with the reason) and *unanswered* (with the
owner).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from curate.govern.datasheet.values import escaped as escaped
from curate.govern.datasheet.values import sha256 as digest

State: TypeAlias = Literal["measured", "derived", "declared", "proposed", "not_applicable", "unanswered"]
Answer: TypeAlias = str | list[dict[str, Any]] | None

PROPOSED = "proposed, to be confirmed by a person"


@dataclass(frozen=True)
class Field:
    """One question of a document."""

    id: str  # within the document
    section: str
    question: str
    answer: Answer  # text, or rows of a table; None where there is none
    state: State
    evidence: tuple[dict[str, str], ...]  # {pointer into manifest.json, sha256 of the value there}
    note: str = ""
    owner: str | None = None  # who has to answer or to confirm

    def to_json(self) -> dict[str, Any]:
        """Return the field as a document holds it."""
        return {
            "id": self.id,
            "section": self.section,
            "question": self.question,
            "answer": self.answer,
            "state": self.state,
            "evidence": list(self.evidence),
            "note": self.note,
            "owner": self.owner,
        }


def resolve(manifest: Mapping[str, Any], pointer: str) -> Any:
    """Return the value that a JSON pointer (RFC 6901) leads to. Raises KeyError or IndexError if there is none."""
    value: Any = manifest
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


class Form:
    """The fields of one document, in order, as its author adds them."""

    def __init__(self, manifest: Mapping[str, Any], name: str) -> None:
        self.manifest = manifest
        self.name = name
        self.section = ""
        self.fields: list[Field] = []

    def has(self, pointer: str) -> bool:
        """Tell whether the manifest has a value, other than null or empty text, at a pointer."""
        try:
            return resolve(self.manifest, pointer) not in (None, "")
        except (KeyError, IndexError, ValueError, TypeError):
            return False

    def add(
        self,
        id: str,
        question: str,
        state: State,
        answer: Answer,
        pointers: Sequence[str] = (),
        note: str = "",
        owner: str | None = None,
    ) -> None:
        """Add a field. Its pointers must lead somewhere: KeyError or IndexError if one does not."""
        evidence = tuple(
            {"pointer": pointer, "sha256": digest(resolve(self.manifest, pointer))}
            for pointer in dict.fromkeys(pointers)
        )
        field = Field(id, self.section, question, answer, state, evidence, note, owner)
        self.fields.append(self._answered(field))

    def measured(
        self, id: str, question: str, answer: Answer, pointers: Sequence[str], note: str = ""
    ) -> None:
        """Add what was counted."""
        self.add(id, question, "measured", answer, pointers, note)

    def derived(
        self, id: str, question: str, answer: Answer, pointers: Sequence[str], note: str = ""
    ) -> None:
        """Add what follows from the manifest."""
        self.add(id, question, "derived", answer, pointers, note)

    def declared(
        self, id: str, question: str, answer: Answer, pointers: Sequence[str], note: str = ""
    ) -> None:
        """Add what a person wrote in the recipe or a source manifest."""
        self.add(id, question, "declared", answer, pointers, note)

    def proposed(
        self, id: str, question: str, answer: Answer, pointers: Sequence[str], note: str, owner: str
    ) -> None:
        """Add what the evidence suggests and the owner has to confirm."""
        self.add(id, question, "proposed", answer, pointers, note, owner)

    def not_applicable(self, id: str, question: str, why: str, pointers: Sequence[str] = ()) -> None:
        """Add a question that does not apply, and why."""
        self.add(id, question, "not_applicable", "Not applicable.", pointers, why)

    def unanswered(self, id: str, question: str, owner: str, note: str, pointers: Sequence[str] = ()) -> None:
        """Add a question that only its owner can answer. note: what is needed, and where to write it."""
        self.add(id, question, "unanswered", None, pointers, note, owner)

    def stated(
        self, id: str, question: str, pointer: str, owner: str, note: str = "", *, as_proposal: str = ""
    ) -> None:
        """Add what stands at a pointer into the recipe, declared; or, where nothing does, its owner.

        as_proposal: why what stands there is no more than a proposal, if it is not.
        """
        if not self.has(pointer):
            key = pointer.removeprefix("/recipe/").replace("/", ": ")
            self.unanswered(id, question, owner, f"{note} Write it in the recipe, under `{key}`.".strip())
            return
        said = str(resolve(self.manifest, pointer))
        if as_proposal:
            self.proposed(id, question, said, [pointer], f"{as_proposal} {note}".strip(), owner)
        else:
            self.declared(id, question, said, [pointer], note)

    def _answered(self, field: Field) -> Field:
        """Return the field with the person's answer, where the manifest holds one to ``<document>/<id>``."""
        key = f"{self.name}/{field.id}"
        given = (self.manifest.get("answers") or {}).get(key)
        if not given or not given.get("text"):
            return field
        pointer = f"/answers/{escaped(key)}"
        by = " ".join(str(given[part]) for part in ("by", "at") if given.get(part))
        said = f"Answered by {by}." if by else "Answered by a person."
        if given.get("evidence_sha256") not in (None, digest(field.evidence)):
            said += " Stale: the evidence has changed since; confirm it or correct it."
        if given.get("not_applicable"):
            return replace(
                field,
                answer="Not applicable.",
                state="not_applicable",
                evidence=({"pointer": pointer, "sha256": digest(given)}, *field.evidence),
                note=f"{said} {given['text']}",
                owner=None,
            )
        if field.answer is not None:
            text = field.answer if isinstance(field.answer, str) else f"a table of {len(field.answer)} rows"
            said += f" The manifest alone gives ({field.state.replace('_', ' ')}): {text}"
        evidence = ({"pointer": pointer, "sha256": digest(given)}, *field.evidence)
        note = f"{said} {field.note}".strip()
        return replace(
            field, answer=str(given["text"]), state="declared", evidence=evidence, note=note, owner=None
        )
