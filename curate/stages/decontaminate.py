"""Stage ``decontaminate``: records that hold evaluation items.

It is fitted on the evaluation files and needs to see no other record. What an item is, is told by
:mod:`curate.stages.contamination.evals`, how much of one a record holds by :mod:`curate.stages.contamination.matching`.

Containment of word n-grams is what the model reports use: any shared 13-gram (GPT-3: Brown et al. 2020, arXiv
2005.14165, appendix C), 70 % of the item's 8-grams (PaLM: Chowdhery et al. 2022, arXiv 2204.02311, section 8), 80 %
of its tokens in shared runs of more than 10 (Llama 2: Touvron et al. 2023, arXiv 2307.09288, appendix A.6), half of
its tokens in shared 8-grams (Tulu 3: Lambert et al. 2024, arXiv 2411.15124, section 3.2). This stage asks as Tulu 3
does, with words for tokens, and weighs them, because an item's template is no sign of the item. Its defaults are what
``benchmarks/decontaminate.py`` measured.

What no words tell is not found: paraphrases, translations, the same task with other numbers.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from curate import record
from curate.io.carried import Carried, carry
from curate.io.store import Store
from curate.kernels import text
from curate.record import Batch
from curate.stage import SEVERITY, Decision, StageOptions, Verdict
from curate.stages.contamination import evalfiles, evalindex, matching
from curate.stages.contamination.evalfiles import Evals, Files, Wanted
from curate.stages.contamination.matching import Held, Index, Match

Act: TypeAlias = Literal["drop", "quarantine", "flag", "keep"]

_INDEX = "index"
LISTED = 5  # hits of a record that the ledger names; the others are counted


class _Hit(NamedTuple):
    """What a record holds of one item."""

    item: int
    part: int  # the one that decides
    question: Match | None
    answer: Match | None

    @property
    def kind(self) -> str:
        return "both" if self.question and self.answer else "question" if self.question else "answer"

    @property
    def match(self) -> Match:
        found = self.question or self.answer
        assert found is not None
        return found


class Decontaminate:
    """Removes records that hold evaluation items; see the module's docstring.

    Reasons: ``decontaminate/question``, ``decontaminate/answer``, ``decontaminate/both``; score: the overlap, which is
    the question's where there is one. Evidence lists what the record holds, most severe and most overlapping first, up
    to five items: ``file``, ``item`` (its line, from 1), ``part``, ``overlap``, ``words`` of the part that stand in the
    record, ``of``, and ``hits``, how many items there are in all; never a word of them.
    """

    name: ClassVar[str] = "decontaminate"
    version: ClassVar[str] = f"1.{text.SCHEME}"
    rules: ClassVar[tuple[str, ...]] = ("function_words",)

    class Options(StageOptions):
        """Which evaluation sets, what counts as holding an item, and what becomes of the record."""

        against: tuple[str, ...] = Field(
            (),
            description="files of evaluation items, relative to the recipe's folder; * and ** stand for any: .jsonl "
            "(.gz, .zst), .json, .parquet, .csv",
        )
        tasks: tuple[str, ...] = Field(
            (),
            description="task files (YAML) of lm-evaluation-harness with data on this machine; needs "
            "curate[lm-eval]",
        )
        fields: Wanted = Field(Wanted(), description="the files' columns, where their names do not tell them")
        common: tuple[str, ...] = Field(
            (),
            description="files of text in which what more than 50 records hold is no sign of an item, such as a sample "
            "of the training data, or standard texts; found as 'against' is",
        )
        ngram: int = Field(8, ge=4, le=32, description="words that must stand in a row to count")
        overlap: float = Field(
            0.6,
            gt=0.0,
            le=1.0,
            description="share of a question, or of an answer, that a record must hold, by weight of its words",
        )
        question: Act = Field("drop", description="what becomes of records that hold a question")
        both: Act = Field("drop", description="what becomes of records that hold a question with its answer")
        answer: Act = Field(
            "flag",
            description="what becomes of records that hold only an answer, of 16 words or more: shorter ones are right "
            "for many questions",
        )
        long_answer: int = Field(
            50, ge=16, description="an answer of so many words is acted on as a question is"
        )

        _beside: Path = PrivateAttr(default=Path())

        @model_validator(mode="after")
        def _names_something(self, info: ValidationInfo) -> Decontaminate.Options:
            self._beside = Path((info.context or {}).get("folder", ".")).absolute()
            if not self.against and not self.tasks:
                raise ValueError("found neither against nor tasks; allowed: one file or more; name some")
            return self

        def files(self) -> Files:
            """Return what the options name. Raises RecipeError for a pattern that no file fits."""
            return evalfiles.find(self._beside, self.against, self.tasks, self.common, self.fields)

        def evals(self) -> Evals:
            """Return the evaluation items, read once per process. Raises RecipeError for what cannot be read."""
            return evalfiles.read(self.files())

        def fingerprint(self) -> str:
            """Return a hash of the evaluation items and of the files named as common."""
            return self.evals().sha256

        def reads(self) -> list[dict[str, Any]]:
            """Return each evaluation file with its SHA-256, its items, and how many of them can be told."""
            counts = Counter(file for (file, _), parts in _built(self).tellable().items() if parts)
            return [{**file, "told": counts[file["path"]]} for file in self.evals().files]

        def notes(self) -> list[str]:
            """Return what the stage cannot find."""
            told = self.reads()
            untold = sum(one["items"] - one["told"] for one in told)
            missed = (
                "Decontamination finds words in a row: no paraphrase, no translation, no task with other numbers. Of "
                "Chinese and Japanese every character counts as a word, so short everyday questions are told, and a "
                "record that holds one is removed; so is one that holds a common sentence that is an item itself."
            )
            if not untold:
                return [missed]
            return [
                missed,
                f"{untold:,} of {sum(one['items'] for one in told):,} evaluation items say too little to be told by "
                "their words, such as a question of three words, and are not looked for.",
            ]

    def __init__(self, options: Options) -> None:
        self.options = options
        self._kept: Carried | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel with the place of the index, which this process has built, not with the index or its files."""
        kept = self._kept or _written(self.options.evals(), self.options.ngram)
        return {"options": self.options, "_kept": kept}

    def tellable(self) -> dict[tuple[str, int], set[str]]:
        """Return of each item, by file and line, which of its parts can be told by themselves."""
        return _built(self.options).tellable()

    def carried(self, store: Store) -> Decontaminate:
        """Return the stage as workers on other machines can use it (curate.io.carried)."""
        found = copy(self)
        evals, ngram = self.options.evals(), self.options.ngram
        digest = hashlib.sha256(f"{self.version} {evals.sha256} {ngram}".encode()).hexdigest()
        found._kept = carry(_written(evals, ngram).here(), store, digest)
        return found

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record; only records that share n-grams enough are compared word by word."""
        options = self.options
        index = _built(options) if self._kept is None else _opened(self._kept, options.ngram)
        decisions = []
        for row, hits in _hits(index, batch, options.overlap):
            ordered = sorted(hits, key=lambda hit: self._order(index, hit))
            action = self._action(ordered[0])
            if action != "keep":
                told = [_evidence(index, hit) for hit in ordered[:LISTED]]
                evidence = {"items": told, "hits": len(ordered)}
                decisions.append(
                    Decision(
                        row, action, f"{self.name}/{ordered[0].kind}", ordered[0].match.overlap, evidence
                    )
                )
        return Verdict.of(batch.num_rows, decisions)

    def _action(self, hit: _Hit) -> Act:
        if hit.kind != "answer":
            return self.options.both if hit.kind == "both" else self.options.question
        return self.options.question if hit.match.of >= self.options.long_answer else self.options.answer

    def _order(self, index: Index, hit: _Hit) -> tuple[Any, ...]:
        kinds = ("both", "question", "answer")
        severity = SEVERITY.index(self._action(hit))
        return severity, -hit.match.overlap, kinds.index(hit.kind), -hit.match.of, *index.place(hit.part)


def _evidence(index: Index, hit: _Hit) -> dict[str, Any]:
    file, line = index.place(hit.part)
    told = {"file": file, "item": line, "part": hit.kind, **hit.match._asdict()}
    return told | ({"answer": hit.answer._asdict()} if hit.question and hit.answer else {})


def candidates_in(index: Index, batch: Batch, overlap: float) -> Iterator[tuple[int, int]]:
    """Yield the records that may hold a target of the index, each with the target, in order."""
    from curate.kernels import reading

    said = record.utterances(batch)
    data, offsets = text.buffers(said.text.cast(pa.large_string()))
    n = len(said.text)
    parts = np.zeros(n, np.uint8)
    turns = reading.Turns(data, offsets[:-1], offsets[1:], np.zeros(n, np.bool_), parts, said.offsets)
    yield from matching.found_in(index, turns, batch.num_rows, overlap)


def _hits(index: Index, batch: Batch, overlap: float) -> Iterator[tuple[int, list[_Hit]]]:
    """Yield the records that hold items, ascending, with what they hold."""
    targets: dict[int, list[int]] = {}
    for row, target in candidates_in(index, batch, overlap):
        targets.setdefault(row, []).append(target)
    chosen = batch.take(pa.array(list(targets), pa.int64()))
    said = record.utterances(chosen)
    words, texts = matching.words_of(said.text), said.text.to_pylist()
    answering = pc.equal(pc.fill_null(said.role, "assistant"), "assistant").to_pylist()
    for (row, own), (start, end) in zip(targets.items(), itertools.pairwise(said.offsets), strict=True):
        held = Held(texts[start:end], words[start:end], answering[start:end])
        if hits := _of_record(index, own, held, overlap):
            yield row, hits


def _of_record(index: Index, targets: Sequence[int], held: Held, overlap: float) -> list[_Hit]:
    best: dict[int, dict[str, tuple[Match, int]]] = {}
    for target in targets:
        for part in index.parts_of(target):
            match = index.match(part, held, overlap)
            if match is None:
                continue
            known = best.setdefault(index.item[part], {})
            kind = index.kind[part]
            if kind not in known or match > known[kind][0]:
                known[kind] = match, part
    hits = []
    for item, known in best.items():
        if "question" in known and "answer" not in known:
            for part in index.beside.get(item, ()):
                match = index.match(part, held, overlap) if index.kind[part] == "answer" else None
                if match is not None:
                    known["answer"] = match, part
        decides = known.get("question") or known["answer"]
        question, answer = (known[kind][0] if kind in known else None for kind in ("question", "answer"))
        hits.append(_Hit(item, decides[1], question, answer))
    return hits


# --- the index, once per process ---------------------------------------------------------------------------


def _built(options: Decontaminate.Options) -> Index:
    return _made(options.evals(), options.ngram)


@lru_cache(maxsize=4)
def _made(evals: Evals, ngram: int) -> Index:
    return evalindex.build(evals.items, ngram, evals.common())


@lru_cache(maxsize=4)
def _opened(kept: Carried, ngram: int) -> Index:
    return Index.load(kept.here(), ngram)


@lru_cache(maxsize=8)
def _written(evals: Evals, ngram: int) -> Carried:
    """Write the index where processes of this machine find it, for as long as this process lives."""
    folder = Path(tempfile.mkdtemp(prefix="curate-evals-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    (folder / _INDEX).mkdir()
    _made(evals, ngram).save(folder / _INDEX)
    return Carried(Store.at(folder), _INDEX)
