"""language: what language a record is in, and whether the recipe wants it.

The text that is judged is the first 600 characters of natural language (:mod:`curate.kernels.prose`): code
blocks, web and e-mail addresses and tokens with digits or code signs are left out first, since no detector
knows code from Danish, and every word counts once, since the one word that a sum repeats line by line would
drown the others. Of a conversation the response decides, because it is what the model learns to say. A response
too short to tell or not told for sure is judged together with its prompt, so that ``42`` to an English question
is English (:mod:`curate.stages.detectors.telling`). Where even that is too little, the language is undetermined:
``und``, or ``zxx`` where most of a longer text is no language at all: tables, identifiers, code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from curate import rules
from curate.errors import RecipeError
from curate.io.carried import Carried, carry
from curate.io.store import Store
from curate.record import MESSAGES, Batch
from curate.stage import Action, Decision, StageOptions, Verdict
from curate.stages import detectors
from curate.stages.detectors import NOT_LINGUISTIC, UNDETERMINED, Engine
from curate.stages.detectors.fasttext import sha256
from curate.stages.detectors.known import Known, known
from curate.stages.detectors.notes import about, versions
from curate.stages.detectors.telling import Part, Record, tell

Unsure: TypeAlias = Literal["keep", "quarantine", "drop"]
Mixed: TypeAlias = Literal["keep", "flag", "quarantine", "drop"]
Wanted: TypeAlias = tuple[str, ...] | Literal["any"]

_LIST = "must be a list of language codes, such as [en, fr], or any; is {!r}"
FACTS = pa.schema(
    [
        ("language", pa.string()),
        ("language_score", pa.float64()),
        ("language_share", pa.float64()),
        ("language_mixed", pa.bool_()),
        ("language_second", pa.string()),
        ("language_second_share", pa.float64()),
        ("language_turns", pa.list_(pa.string())),
        ("language_prompt", pa.string()),
        ("language_prompt_score", pa.float64()),
        ("language_response", pa.string()),
        ("language_response_score", pa.float64()),
    ]
)


class Language:
    """Names each record's language, its parts' and its turns'; removes what the recipe does not allow.

    Facts (all null where nothing is told, but ``language``, which then is und or zxx):

    * ``language``, ``language_score``: the record's language, the detector's confidence.
    * ``language_share``: of the natural letters that were read in turns that are told for sure, those in it.
    * ``language_second``, ``language_second_share``: the next language, if enough of it was read to tell;
      ``language_mixed``: whether its share reaches ``mixed``.
    * ``language_turns``: of every turn, und where none is told with ``min_confidence``, or zxx.
    * ``language_prompt``, ``language_response`` and their ``_score``: of each part alone, null where the record
      has none. A document is all response.
    """

    name: ClassVar[str] = "language"
    version: ClassVar[str] = "3"
    rules: ClassVar[tuple[str, ...]] = ("function_words", "languages")

    class Options(StageOptions):
        """Which languages stay."""

        engine: Engine = Field(
            "cascade",
            description="the detector: cascade (CLD2, then py3langid), langdetect, or one of an extra: lid176 "
            "(model CC-BY-SA-3.0), lingua (for short texts; 1.3 GB per worker), fasttext (any model, by its path)",
        )
        model: str | None = Field(
            None,
            validate_default=True,
            description="file of engine fasttext's model, such as GlotLID, relative to the recipe's folder",
        )
        allow: Wanted = Field(
            "any", description='languages of records that stay, as ISO 639 codes, e.g. [en, "no"], or any'
        )
        prompt: Wanted = Field(
            "any",
            description="languages of prompts that stay, or any; a prompt that cannot be told stays",
        )
        response: Wanted = Field(
            "any",
            description="languages of responses that stay, or any; a response that cannot be told stays",
        )
        min_confidence: float = Field(
            0.5,
            ge=0.0,
            le=1.0,
            description="below it a record is language/low-confidence, whatever its language",
        )
        unsure: Unsure = Field(
            "keep",
            description="what becomes of records too short, numeric or code-like to tell: keep (flagged), "
            "quarantine or drop",
        )
        low_confidence: Unsure = Field(
            "quarantine",
            description="what becomes of records below min_confidence: keep (flagged), quarantine, drop",
        )
        mixed: float = Field(
            0.2, gt=0.0, le=0.5, description="share of a second language from which a record is mixed"
        )
        mixed_action: Mixed = Field(
            "keep",
            description="what becomes of mixed records, such as translations: keep (told in records/ alone), flag, "
            "quarantine, drop",
        )

        _beside: Path = PrivateAttr(default=Path())

        @field_validator("model")
        @classmethod
        def _fits_engine(cls, value: str | None, info: ValidationInfo) -> str | None:
            engine = info.data.get("engine")
            if engine == "fasttext" and value is None:
                raise ValueError(
                    "engine fasttext needs a model; allowed: a fastText model's file, relative to the recipe's "
                    "folder; add 'model: …'"
                )
            if engine not in ("fasttext", None) and value is not None:
                raise ValueError(
                    f"found {value!r} with engine {engine}; only engine fasttext takes one; take it out"
                )
            return value

        @field_validator("allow", "prompt", "response", mode="before")
        @classmethod
        def _known(cls, value: object, info: ValidationInfo) -> object:
            if value is None or value == "any":
                return "any"
            if not isinstance(value, (list, tuple)):
                raise ValueError(_LIST.format(value))
            if not value:
                raise ValueError("found no language; allowed: at least 1, or any; add one, or take it out")
            if "engine" not in info.data or "model" not in info.data:
                return tuple(map(str, value))  # what is wrong with these is told already
            try:
                able = _able(info.data["engine"], _file(info.data["model"], _folder(info)))
            except RecipeError:  # told by the fingerprint
                return tuple(map(str, value))
            return tuple(dict.fromkeys(code for wanted in value for code in able.meant(wanted)))

        @model_validator(mode="after")
        def _knows_its_folder(self, info: ValidationInfo) -> Language.Options:
            self._beside = _folder(info)
            return self

        def file(self) -> Path | None:
            """Return the path of engine fasttext's model."""
            return _file(self.model, self._beside)

        def fingerprint(self) -> str | None:
            """Return the hash of the model and the version of the extra in use; null for what always is installed.

            Raises MissingExtra, and RecipeError for a file that is no model.
            """
            return versions(self.engine, self.file())

        def notes(self) -> list[str]:
            """Return how good the engine is, what it can tell, and the licenses of its models."""
            return about(self.engine, self.file())

    def __init__(self, options: Options) -> None:
        self.options = options
        self._kept: Carried | None = None

    def carried(self, store: Store) -> Language:
        """Return the stage as workers on other machines can use it (curate.io.carried)."""
        found = copy(self)
        if (file := self.options.file()) is not None:
            found._kept = carry(file, store, sha256(file))
        return found

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        file = self.options.file() if self._kept is None else self._kept.here()
        records = tell(batch, self.options.engine, file)
        mixed = [self._is_mixed(record) for record in records]
        decisions = [
            decision
            for row, record in enumerate(records)
            for decision in self._decide(row, record, bool(mixed[row]))
        ]
        facts = _facts(records, mixed, self.options.min_confidence)
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _is_mixed(self, record: Record) -> bool | None:
        if record.share is None:
            return None
        return record.second_share is not None and record.second_share >= self.options.mixed

    def _decide(self, row: int, record: Record, is_mixed: bool) -> Iterator[Decision]:
        options = self.options
        if record.confidence is None:
            kind = "not-linguistic" if record.language == NOT_LINGUISTIC else "undetermined"
            yield Decision(
                row, _action(options.unsure), f"language/{kind}", None, {"letters": record.letters}
            )
            return
        told = Part(record.language, record.confidence)
        if record.confidence < options.min_confidence:
            evidence = _evidence(told, min_confidence=options.min_confidence)
            action = _action(options.low_confidence)
            yield Decision(row, action, "language/low-confidence", record.confidence, evidence)
        elif not self._stays(told, options.allow):
            evidence = _evidence(told, allow=list(options.allow))
            yield Decision(row, "drop", "language/not-allowed", record.confidence, evidence)
        for name, part, wanted in (
            ("prompt", record.prompt, options.prompt),
            ("response", record.response, options.response),
        ):
            if not self._stays(part, wanted):
                evidence = _evidence(part, allow=list(wanted))
                yield Decision(row, "drop", f"language/{name}-not-allowed", part.confidence, evidence)
        if is_mixed and options.mixed_action != "keep":
            evidence = {"language": record.language, "second": record.second, "mixed": options.mixed}
            yield Decision(row, options.mixed_action, "language/mixed", record.second_share, evidence)

    def _stays(self, part: Part, wanted: Wanted) -> bool:
        if wanted == "any" or part.confidence is None or part.confidence < self.options.min_confidence:
            return True
        return part.language in wanted


def identify(prompt: str, response: str, engine: Engine = "cascade") -> Record:
    """Return what is told of one record; a document is all response and has no prompt."""
    content = pa.array([response], pa.string())
    if prompt:
        talk = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        content = pa.array([talk], MESSAGES)
    name = "messages" if prompt else "text"
    return tell(pa.record_batch({name: content}), engine)[0]


def matches(rule: rules.Rule, example: str) -> bool:
    """Tell whether a document is in the rule's language: how rules/languages.yaml is tested."""
    return identify("", example).language == rule.id


def _facts(records: Sequence[Record], mixed: Sequence[bool | None], min_confidence: float) -> pa.RecordBatch:
    columns: Sequence[list[Any]] = (
        [record.language for record in records],
        [record.confidence for record in records],
        [record.share for record in records],
        list(mixed),
        [record.second for record in records],
        [record.second_share for record in records],
        [[_turn(turn, min_confidence) for turn in record.turns] for record in records],
        [record.prompt.language for record in records],
        [record.prompt.confidence for record in records],
        [record.response.language for record in records],
        [record.response.confidence for record in records],
    )
    arrays = [pa.array(column, field.type) for column, field in zip(columns, FACTS, strict=True)]
    return pa.record_batch(arrays, schema=FACTS)


def _turn(turn: Part, min_confidence: float) -> str | None:
    """Return a turn's language, which has no score beside it: undetermined where that would be too low."""
    if turn.confidence is not None and turn.confidence < min_confidence:
        return UNDETERMINED
    return turn.language


def _evidence(part: Part, **more: Any) -> dict[str, Any]:
    return {"language": part.language, "confidence": part.confidence, **more}


def _action(unsure: Unsure) -> Action:
    return "flag" if unsure == "keep" else unsure


def _folder(info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("folder", ".")).absolute()


def _file(model: str | None, beside: Path) -> Path | None:
    return None if model is None else beside / os.path.expanduser(model)  # noqa: PTH111 an unknown ~user stays


def _able(engine: Engine, model: Path | None) -> Known:
    if model is None:
        return known(engine)
    from curate.stages.detectors.fasttext import FastText

    found = detectors.load(engine, model)
    assert isinstance(found, FastText)
    return found.known
