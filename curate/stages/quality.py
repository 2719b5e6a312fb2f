"""Stage ``quality``: the rules of Gopher, C4 and FineWeb for documents, heuristics for the answers of conversations.

Whatever a rule looks at is a score that is stated of every record, kept or not, as the fact ``quality``; the rule pack
``rules/quality.yaml`` holds thresholds, each with its paper. So another threshold needs no other scores: a run into the
folder of an earlier release takes them from there (:mod:`curate.scores`).
"""

from __future__ import annotations

import hashlib
import math
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import orjson
import pyarrow as pa
from pydantic import Field, model_validator

from curate import record, rules
from curate.kernels import measuring
from curate.record import FACT, Batch
from curate.rules import did_you_mean
from curate.scores import Scored
from curate.stage import Decision, StageOptions, Verdict
from curate.stages.scoring import quality_rules, quality_scores
from curate.stages.scoring.quality_rules import DEFAULT, Asked, Pack, by_name

Override: TypeAlias = Literal["drop", "flag", "quarantine", "keep"]
_SCORING = ("stop_words", "lines", "asks_json", "only_urls")  # what of the pack the scores depend on


class Quality(Scored):
    """Scores every record, and judges the scores; see the module's docstring.

    Facts: ``quality``, a struct of numbers (curate.stages.scoring.quality_scores; null where one does not apply), and
    ``quality_of``, what they were counted of where that is not the content as it was read: SHA-256 in hex.
    """

    name: ClassVar[str] = "quality"
    version: ClassVar[str] = "1"
    rules: ClassVar[tuple[str, ...]] = ("quality",)

    class Options(StageOptions):
        """Which rules are asked, where their thresholds lie, and what follows."""

        packs: tuple[Pack, ...] | None = Field(
            None,
            description="packs of rules: gopher, c4, fineweb (documents), instruction (conversations); by default "
            "gopher and fineweb, and instruction",
        )
        thresholds: dict[str, float] = Field(
            default_factory=dict,
            description="another threshold than the pack's for a rule, by the rule's name: {gopher-few-words: 30}",
        )
        actions: dict[str, Override] = Field(
            default_factory=dict,
            description="another action than the pack's for a rule: {loop: drop}; keep switches the rule off, and "
            "leaves the score",
        )

        @model_validator(mode="after")
        def _known(self) -> Quality.Options:
            known = by_name()
            if self.packs == ():
                raise ValueError(
                    "packs is empty; allowed: gopher, c4, fineweb, instruction; take it out for the defaults"
                )
            for name, limit in self.thresholds.items():
                if not math.isfinite(limit):
                    raise ValueError(
                        f"threshold {limit} of rule {name!r} is no number; 'actions: {{{name}: keep}}' "
                        "switches a rule off"
                    )
            asked = self.packs or tuple(sorted({pack for packs in DEFAULT.values() for pack in packs}))
            for name in (*self.thresholds, *self.actions):
                if name not in known:
                    hint = did_you_mean(name, known) or "; 'curate rules list' names them"
                    raise ValueError(f"no rule {name!r}{hint}")
                if (pack := known[name].data["pack"]) not in asked:
                    raise ValueError(
                        f"rule {name!r} is of the pack {pack}, which is not asked; add it to packs"
                    )
            return self

        def fingerprint(self) -> str | None:
            """Return what the scores depend on, by fact, as JSON; thresholds and actions are no part of it."""
            data = rules.load("quality").data
            used = orjson.dumps({name: data[name] for name in _SCORING}, option=orjson.OPT_SORT_KEYS)
            scheme = f"{Quality.version}.{measuring.SCHEME}.{hashlib.sha256(used).hexdigest()[:16]}"
            return orjson.dumps({"quality": scheme}).decode()

        def notes(self) -> list[str]:
            """Return how far the scores carry."""
            return [
                "Rules for prose are not asked of documents that look like code by their signs, nor rules that count "
                "words of scripts written without spaces; rules of one language are asked only of records that the "
                "stage language has found to be in it. Fenced code is left out of all of them.",
                "Of a conversation the assistant's answers are scored, not the calls of tools nor a rejected reply.",
            ]

    def __init__(self, options: Options) -> None:
        self.options = options
        super().__init__(options)

    def judge(self, batch: Batch) -> Verdict:
        """Score every record, or take its scores from an earlier release, and hold them to the thresholds."""
        of, [scores] = self.scored(batch, {"quality": (quality_scores.TYPE, quality_scores.scores)})
        languages = batch.column(FACT + "language") if FACT + "language" in batch.schema.names else None
        kind = record.kind(batch)
        decisions = []
        for asked in self._asked(kind):
            action = self._action(asked)
            values = scores.field(asked.rule.data["score"])
            told = {"score": asked.rule.data["score"], asked.compared: asked.threshold}
            for row in np.flatnonzero(asked.fires(scores, languages)).tolist():
                decisions.append(Decision(row, action, asked.rule.id, values[row].as_py(), told))
        facts = pa.record_batch({"quality": scores, "quality_of": of})
        return Verdict.of(batch.num_rows, decisions, facts=facts)

    def _asked(self, kind: record.Kind) -> list[Asked]:
        packs = self.options.packs or DEFAULT[kind]
        return [
            Asked(rule, self.options.thresholds.get(name, quality_rules.threshold(rule)))
            for name, rule in by_name().items()
            if rule.data["pack"] in packs
            and quality_rules.is_of(rule, kind)
            and self.options.actions.get(name, rule.data["action"]) != "keep"
        ]

    def _action(self, asked: Asked) -> Override:
        name = quality_rules.short(asked.rule)
        found: Override = self.options.actions.get(name, asked.rule.data["action"])
        return found
