"""Stage ``license``: keeps what the recipe's policy allows, sets aside what nobody can tell.

The license judged is the record's own where it has one, else its source's; where neither names one, it is the
one that the record's text says it is under. Three facts stay beside every record: what was declared, what was
detected inside the record (:mod:`curate.stages.licensing.licensed`) and what was concluded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate import licenses
from curate.record import Batch
from curate.rules import did_you_mean
from curate.stage import Action, Decision, StageOptions, Verdict
from curate.stages.licensing import licensed
from curate.stages.licensing.licensed import Detection

POLICIES: dict[str, tuple[licenses.Use, ...]] = {
    "commercial": ("commercial", "derivatives"),
    "research": ("derivatives",),
    "any": (),
}
_SHOWN = 200  # characters of a declaration that the ledger repeats; some columns hold whole license texts


def disagree(declared: str, detected: str) -> bool:
    """Tell whether a detected expression names a license that the declared one does not.

    A version that one of them leaves out is no disagreement.
    """
    named = licenses.ids(declared)
    return any(key not in named and not _unversioned(key, named) for key in licenses.ids(detected))


def _unversioned(key: str, named: Iterable[str]) -> bool:
    """Tell whether a license is one of those named, but for a version that either leaves out."""
    for other in named:
        for open_, full in ((key, other), (other, key)):
            family = open_.removeprefix("LicenseRef-curate-")
            if family != open_ and re.fullmatch(re.escape(family) + r"-\d.*", full):
                return True
    return False


class _Answer(NamedTuple):
    concluded: str | None
    action: Action
    reason: str | None


class License:
    """Judges each record's license by policy; see the module's docstring for the facts it states."""

    name: ClassVar[str] = "license"
    version: ClassVar[str] = "2"
    rules: ClassVar[tuple[str, ...]] = ("licenses",)

    class Options(StageOptions):
        """What is allowed, and what becomes of everything else."""

        allow: Literal["commercial", "research", "any"] | tuple[str, ...] = Field(
            "commercial",
            description="commercial: licenses that allow commercial use and derivatives, since curating "
            "and training adapt a text. research: licenses that allow derivatives, commercial or not. any: "
            "every license that can be identified. Or a list of SPDX ids that must be enough to satisfy a "
            "record's expression.",
        )
        unknown: Literal["quarantine", "drop", "keep"] = Field(
            "quarantine",
            description="for records whose license, or whose license's terms, cannot be told: set them "
            "apart, remove them, or keep them with a flag in the ledger",
        )
        denied: Literal["drop", "quarantine"] = Field(
            "drop", description="for records whose license is known and not allowed"
        )
        detect: bool = Field(
            True,
            description="look in every record's text for the license that it says it is under (tags, phrases, "
            "license texts); where none is declared, that one is concluded",
        )
        disagreement: Literal["flag", "quarantine"] = Field(
            "flag",
            description="for records that say they are under another license than the declared one, which "
            "stays the concluded one: note it in the ledger, or set them apart",
        )

        @field_validator("allow", mode="before")
        @classmethod
        def _known(cls, value: object) -> object:
            if isinstance(value, str):
                if value not in POLICIES:
                    hint = did_you_mean(value, POLICIES) or "; one license is a list too: [CC-BY-4.0]"
                    raise ValueError(
                        f"{value!r} is neither commercial, research or any nor a list of SPDX ids{hint}"
                    )
                return value
            if not isinstance(value, (list, tuple)) or not value:
                raise ValueError("must be commercial, research, any or a list of at least one SPDX id")
            return tuple(_spdx_id(entry) for entry in value)

    def __init__(self, options: Options) -> None:
        self.options = options

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record; each distinct declaration is resolved once."""
        declared = batch.column("license")
        coded = declared.dictionary_encode()
        values = [*coded.dictionary.to_pylist(), None]
        answers = [self._answer(licenses.resolve(value).concluded) for value in values]
        which = pc.fill_null(coded.indices, len(values) - 1).to_numpy(zero_copy_only=False)
        detected = licensed.detect(batch) if self.options.detect else {}
        concluded = np.array([answer.concluded for answer in answers], object)[which]
        refused = np.array([answer.action != "keep" for answer in answers])[which]
        decisions = []
        for row in (int(row) for row in np.flatnonzero(refused) if int(row) not in detected):
            answer = answers[which[row]]
            decisions.append(_decision(row, answer, self._evidence(values[which[row]], answer)))
        for row, detection in sorted(detected.items()):
            answer, told = self._with(values[which[row]], answers[which[row]], row, detection)
            concluded[row] = answer.concluded
            decisions += told
        facts = pa.record_batch(
            {
                "license_declared": declared,
                "license_detected": _column(batch.num_rows, detected),
                "license_concluded": pa.array(concluded, pa.string()),
            }
        )
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _with(
        self, declared: str | None, answer: _Answer, row: int, detection: Detection
    ) -> tuple[_Answer, list[Decision]]:
        """Return the answer for a record in whose text a license was found, and what the ledger says of it."""
        found = detection.expression
        where: dict[str, object] = {"detected": found, "where": list(detection.where)}
        told = []
        if licenses.says_nothing(declared):
            answer = self._answer(found)
            told.append(Decision(row, "flag", "license/detected", None, where))
        elif answer.concluded and disagree(answer.concluded, found):
            stricter = licenses.rank(found) > licenses.rank(answer.concluded)
            said = {**where, "concluded": answer.concluded, "detected_is_stricter": stricter}
            told.append(Decision(row, self.options.disagreement, "license/disagreement", None, said))
        if answer.action != "keep":  # comes first: of decisions alike, the policy's is the record's fate
            told.insert(0, _decision(row, answer, {**self._evidence(declared, answer), "detected": found}))
        return answer, told

    def _answer(self, concluded: str | None) -> _Answer:
        unsure: Action = "flag" if self.options.unknown == "keep" else self.options.unknown
        if concluded is None:
            return _Answer(None, unsure, "license/unknown")
        allow = self.options.allow
        if isinstance(allow, tuple):
            enough = licenses.satisfied(concluded, frozenset(allow))
            return _Answer(
                concluded, *(("keep", None) if enough else (self.options.denied, "license/not-allowed"))
            )
        permitted = licenses.permits(concluded, POLICIES[allow])
        if permitted:
            return _Answer(concluded, "keep", None)
        if permitted is None:
            return _Answer(concluded, unsure, "license/unknown-terms")
        return _Answer(concluded, self.options.denied, _denial(concluded, POLICIES[allow]))

    def _evidence(self, declared: str | None, answer: _Answer) -> dict[str, object]:
        shown = None if declared is None else declared[:_SHOWN]
        return {"declared": shown, "concluded": answer.concluded, "policy": self.options.allow}


def _decision(row: int, answer: _Answer, evidence: Mapping[str, object]) -> Decision:
    return Decision(row, answer.action, answer.reason or "", None, evidence)


def _column(rows: int, detected: Mapping[int, Detection]) -> pa.Array:
    """Return the detected licenses as a column: [rows] string, null where nothing was detected."""
    values: list[str | None] = [None] * rows
    for row, detection in detected.items():
        values[row] = detection.expression
    return pa.array(values, pa.string())


def _denial(concluded: str, uses: tuple[licenses.Use, ...]) -> str:
    """Name the use that no choice of the expression allows; 'not-allowed' where only their sum is denied."""
    reasons = {"commercial": "license/non-commercial", "derivatives": "license/no-derivatives"}
    for use in uses:
        if licenses.permits(concluded, (use,)) is False:
            return reasons[use]
    return "license/not-allowed"


def _spdx_id(entry: object) -> str:
    """Return the canonical form of an id of an allow list; ValueError where it is no single id."""
    text = str(entry)
    found = licenses.resolve(text)
    known = licenses.ids(found.concluded)
    if found.evidence == "spdx" and known == (found.concluded,):
        return known[0]
    if found.concluded:
        raise ValueError(f"{text!r} is not one SPDX id; write {', '.join(map(repr, known))}")
    raise ValueError(
        licenses.problem(text) or f"{text!r} cannot be allowed by name; use the option 'unknown'"
    )
