"""Stage ``license``: keeps what the recipe's policy allows, sets aside what nobody can tell.

The license judged is the record's own where it has one, else its source's. Three facts stay beside every
record: what was declared, what was detected inside the record (nothing yet: texts are not searched) and what
was concluded.
"""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from curate import licenses
from curate.record import Batch
from curate.rules import did_you_mean
from curate.stage import Action, Decision, StageOptions, Verdict

POLICIES: dict[str, tuple[licenses.Use, ...]] = {
    "commercial": ("commercial", "derivatives"),
    "research": ("derivatives",),
    "any": (),
}
_SHOWN = 200  # characters of a declaration that the ledger repeats; some columns hold whole license texts


class _Answer(NamedTuple):
    concluded: str | None
    action: Action
    reason: str | None


class License:
    """Judges each record's license by policy; see the module's docstring for the facts it states."""

    name: ClassVar[str] = "license"
    version: ClassVar[str] = "1"
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
        answers = [self._answer(value) for value in values]
        which = pc.fill_null(coded.indices, len(values) - 1).to_numpy(zero_copy_only=False)
        refused = np.array([answer.action != "keep" for answer in answers])[which]
        decisions = [
            Decision(
                row, answers[k].action, answers[k].reason or "", None, self._evidence(values[k], answers[k])
            )
            for row, k in ((int(row), which[row]) for row in np.flatnonzero(refused))
        ]
        concluded = pa.array([answer.concluded for answer in answers], pa.string()).take(pa.array(which))
        facts = pa.record_batch(
            {
                "license_declared": declared,
                "license_detected": pa.nulls(batch.num_rows, pa.string()),
                "license_concluded": concluded,
            }
        )
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _answer(self, declared: str | None) -> _Answer:
        concluded = licenses.resolve(declared).concluded
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
