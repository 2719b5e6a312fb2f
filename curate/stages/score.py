"""Stage ``score``: what models say of each record: a classifier's value, how surprising a text is, what a prompt tells.

Needs the extra ``score``. What each model says is stated as a fact ``score_<name>``, from which a later run into the
same folder takes it (:mod:`curate.scores`): thresholds can be moved without asking a model again.
"""

from __future__ import annotations

import hashlib
import re
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from curate import record
from curate.io.store import Store
from curate.record import Batch
from curate.scores import Compute, Scored
from curate.stage import Decision, StageOptions, Verdict
from curate.stages.scoring import score_models
from curate.stages.scoring.score_models import Asked, Device, Measure

Action: TypeAlias = Literal["drop", "flag", "quarantine", "keep"]
On: TypeAlias = Literal["response", "prompt", "whole"]
TYPE = pa.struct([("value", pa.float64()), ("truncated", pa.bool_())])
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_UNITS = {
    "classifier": "the probability of its label, or the value of a regression",
    "perplexity": "nats per token, the logarithm of the perplexity",
    "ifd": "the perplexity of the answer given its prompt, divided by that of the answer by itself",
}


class Model(BaseModel):
    """One model, what it is asked, and what follows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(min_length=1, description="a folder, relative to the recipe's, or a hub id")
    revision: str | None = Field(
        None, description="branch, tag or commit of a model on the hub; default main"
    )
    measure: Measure = Field(
        description="classifier (a label's probability, or a regression's value), perplexity (nats per token) or ifd "
        "(perplexity of the answer given the prompt, by that of the answer alone)"
    )
    label: str | int | None = Field(
        None, description="of a classifier with several: a label's name or number"
    )
    on: On = Field("response", description="what is read: the answers, the prompts, or all turns")
    max_tokens: int | None = Field(
        None,
        ge=8,
        description="read of a text; by default what the model can; the rest is left out, and told",
    )
    min: float | None = Field(None, allow_inf_nan=False, description="a record of a lower score is acted on")
    max: float | None = Field(None, allow_inf_nan=False, description="a record of a higher score is acted on")
    action: Action = Field("flag", description="what becomes of a record beyond min or max")

    @model_validator(mode="after")
    def _fits(self) -> Model:
        if self.measure == "ifd" and self.on != "response":
            raise ValueError("measure ifd is of a response to its prompt; take out on")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}; exchange them")
        return self


class Score(Scored):
    """Asks models, and judges what they say; see the module's docstring.

    Facts: ``score_<name>``, a struct of ``value`` (rounded to 1/100; null for a text without a word to score, and of
    ``ifd`` for a document) and ``truncated`` (the model did not read all of it); ``score_of``, the SHA-256 of what was
    read where that is not the content as it was read from the source.
    """

    name: ClassVar[str] = "score"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ()

    class Options(StageOptions):
        """Which models are asked."""

        models: dict[str, Model] = Field(
            min_length=1, description="models by a name of your choice, from which fact and reasons are named"
        )
        batch_size: int = Field(
            32, ge=1, description="texts that a GPU reads at once; no score depends on it"
        )
        device: Device = Field("auto", description="auto takes a GPU if there is one")

        _beside: Path = PrivateAttr(default=Path())

        @field_validator("models")
        @classmethod
        def _named(cls, value: dict[str, Model]) -> dict[str, Model]:
            for name in value:
                if not _NAME.fullmatch(name) or name == "of":
                    raise ValueError(f"name {name!r}; allowed: a-z, then a-z, 0-9 and '_', and not 'of'")
            return value

        @model_validator(mode="after")
        def _knows_its_folder(self, info: ValidationInfo) -> Score.Options:
            self._beside = Path((info.context or {}).get("folder", "."))
            return self

        def found(self) -> dict[str, Asked]:
            """Find the models. Raises RecipeError where one is not there or is of another kind, MissingExtra."""
            found = {}
            for name, one in sorted(self.models.items()):
                pinned = score_models.find(one.model, one.revision, self._beside)
                score_models.check(pinned, one.measure, one.label)
                found[name] = Asked(pinned, one.measure, one.label, one.max_tokens, self.batch_size)
            return found

        def fingerprint(self) -> str | None:
            """Return what each fact depends on, as JSON: model, libraries, what is asked; no threshold.

            Raises as :meth:`found`.
            """
            found = {}
            for name, asked in self.found().items():
                one = self.models[name]
                used = [Score.version, asked.pinned.fingerprint, score_models.versions()]
                used += [one.measure, str(one.label), one.on, str(one.max_tokens)]
                found[f"score_{name}"] = hashlib.sha256("\0".join(used).encode()).hexdigest()
            return orjson.dumps(found, option=orjson.OPT_SORT_KEYS).decode()

        def notes(self) -> list[str]:
            """Return what each score is, and that nobody checked it."""
            told = [
                f"score_{name}: what the model {one.model} says of the {one.on}: {_UNITS[one.measure]}."
                for name, one in sorted(self.models.items())
            ]
            return [
                *told,
                "These are judgements learnt from data; the licenses of the models were not looked at.",
            ]

    def __init__(self, options: Options) -> None:
        """Find the models, which workers then load. Raises RecipeError, MissingExtra."""
        super().__init__(options)
        self.options = options
        self._asked = options.found()

    def carried(self, store: Store) -> Score:
        """Return the stage as workers on other machines can use it (curate.io.carried)."""
        found = copy(self)
        found._asked = {
            name: replace(asked, pinned=asked.pinned.carried(store)) for name, asked in self._asked.items()
        }
        return found

    def judge(self, batch: Batch) -> Verdict:
        """Ask the models of every record of which no earlier release tells, and hold the scores to the limits."""
        wanted = {f"score_{name}": (TYPE, self._compute(name)) for name in self._asked}
        of, scores = self.scored(batch, wanted)
        decisions = []
        for name, stated in zip(self._asked, scores, strict=True):
            one = self.options.models[name]
            values = pc.struct_field(stated, "value").to_numpy(zero_copy_only=False)
            for side, limit in (("low", one.min), ("high", one.max)):
                if limit is None or one.action == "keep":
                    continue
                beyond = values < limit if side == "low" else values > limit
                decisions += [
                    Decision(row, one.action, f"score/{name}-{side}", float(values[row]), {"limit": limit})
                    for row in np.flatnonzero(beyond).tolist()
                ]
        facts = pa.record_batch({**dict(zip(wanted, scores, strict=True)), "score_of": of})
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _compute(self, name: str) -> Compute:
        def compute(batch: Batch) -> pa.Array:
            if self._asked[name].measure == "ifd" and record.kind(batch) == "text":
                return pa.array([{"value": None, "truncated": False}] * batch.num_rows, TYPE)
            scorer = score_models.scorer(self._asked[name], self.options.device)
            told = scorer.score(*_texts(batch, self.options.models[name].on))
            return pa.array([{"value": value, "truncated": cut} for value, cut in told], TYPE)

        return compute


def _texts(batch: Batch, on: On) -> tuple[list[str], list[str]]:
    """Return the prompts and what is scored. Of a document all is response, and nothing prompt."""
    prompts, responses = record.prompts_and_responses(batch)
    return prompts, {"response": responses, "prompt": prompts, "whole": record.texts(batch)}[on]
