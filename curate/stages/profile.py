"""Stage ``profile``: what each record is, said as facts; it keeps every record. Meant to stand first in a recipe.

Facts stand in records/ and, for what later stages remove, in removed/: so the manifest's parts ``diversity`` and
``representation`` are counted from the tables, before and after each filter (curate.govern.profile).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from curate import record
from curate.kernels import text
from curate.record import Batch
from curate.stage import Engine, Sketches, SketchPart, StageOptions, Verdict
from curate.stages.profiling import mentions as _mentions
from curate.stages.profiling import tasks as _tasks
from curate.stages.profiling import topics as _topics
from curate.stages.profiling.lists import Words, made
from curate.stages.profiling.topics import Topics
from curate.stages.profiling.walked import Ints, walk

FACTS = pa.schema(
    [
        ("task", pa.string()),
        ("topic", pa.string()),
        ("mentions", pa.list_(pa.string())),
        ("words_prompt", pa.int32()),
        ("words_response", pa.int32()),
        ("turns", pa.int32()),
    ]
)
_DIGITS = 15  # of a record's hash, that rank it
_RANK = pa.schema([("rank", pa.int64())])
_LONGEST = 20_000  # characters of a record of the sample that are read

LIMITS = (
    "Tasks, groups and topics are told by lists of English words; a record in another language has no task and hardly "
    "a mention. Of 200 instructions that were drawn from 13 public sets and judged by eye, 188 were told a task, 180 "
    "of them (0.96) rightly.",
    "A mention is a word, not a person: it says nothing of who wrote a record, nor how somebody is spoken of.",
)


class Profile:
    """States what each record asks for, how long it is, whom it mentions and what it is about (barrier).

    Facts, null where none is told:

    * ``task``: of the first instruction, as Self-Instruct has it (Wang et al. 2023): ``write story``, or ``question:
      how``; see :mod:`curate.stages.profiling.tasks`.
    * ``topic``: its name; see :mod:`curate.stages.profiling.topics`. Null, too, where no word of the record tells one.
    * ``mentions``: the groups of rules/representation.yaml that its texts mention, tool calls and rejected replies
      among them; empty for none.
    * ``words_prompt``, ``words_response``: words of its turns (:mod:`curate.kernels.terms`). A document has no prompt.
    * ``turns``: how many it has; a document has one.
    """

    name: ClassVar[str] = "profile"
    version: ClassVar[str] = f"2.{text.SCHEME}"
    rules: ClassVar[tuple[str, ...]] = ("function_words", "names", "representation", "tasks")

    class Options(StageOptions):
        """Options of ``profile``."""

        topics: int = Field(
            20, ge=0, le=64, description="topics at most; 0 for none. A sample of few records has fewer"
        )

        def notes(self) -> list[str]:
            """Return the limits of what is told."""
            return list(LIMITS)

    def __init__(self, options: Options) -> None:
        self.options = options

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return a number for each record by which the sample is drawn: the first digits of its content's hash."""
        digits = pc.utf8_slice_codeunits(batch.column("_sha256"), 0, _DIGITS).to_pylist()
        return pa.record_batch([pa.array([int(one, 16) for one in digits], pa.int64())], schema=_RANK)

    def resolve(self, sketches: Sketches, engine: Engine) -> Profiled:
        """Learn topics, and which words are common, from a sample."""
        asked = _sampled(sketches.parts)
        found = [one for some in engine.map(_read, asked) for one in some]
        texts = [text for _, text in sorted(found)]
        return Profiled(_topics.learn(texts, self.options.topics))


class _Asked(NamedTuple):
    """Records of a part that are of the sample, and their numbers."""

    part: SketchPart
    rows: Ints
    ranks: Ints


def _sampled(parts: Sequence[SketchPart]) -> list[_Asked]:
    """Draw the sample: of each distinct number the first record, of these the least."""
    ranks, places, rows = (np.empty(0, np.int64) for _ in range(3))
    for place, part in enumerate(parts):
        more = part.table(["rank"]).column("rank").to_numpy()
        ranks = np.concatenate([ranks, more])
        places = np.concatenate([places, np.full(len(more), place)])
        rows = np.concatenate([rows, np.arange(len(more))])
        _, first = np.unique(ranks, return_index=True)
        kept = first[: _topics.SAMPLE]
        ranks, places, rows = ranks[kept], places[kept], rows[kept]
    return [
        _Asked(part, rows[places == place], ranks[places == place])
        for place, part in enumerate(parts)
        if (places == place).any()
    ]


def _read(asked: _Asked) -> list[tuple[int, str]]:
    """Return the texts of a part's records that are of the sample, with their numbers."""
    order = np.argsort(asked.rows)
    rows, ranks = asked.rows[order], asked.ranks[order]
    found: list[tuple[int, str]] = []
    start = 0
    for batch in asked.part.records():
        mine = (rows >= start) & (rows < start + batch.num_rows)
        if mine.any():
            said = record.utterances(batch.take(pa.array(rows[mine] - start)))
            pieces = said.text.to_pylist()
            bounds = said.offsets.tolist()
            joined = ["\n\n".join(pieces[a:b])[:_LONGEST] for a, b in itertools.pairwise(bounds)]
            found += zip(ranks[mine].tolist(), joined, strict=True)
        start += batch.num_rows
    return found


@dataclass
class Profiled:
    """The stage that ``profile`` becomes once topics are learnt."""

    topics: Topics
    name: str = "profile"
    _words: Words | None = field(default=None, repr=False)

    @property
    def summary(self) -> dict[str, Any]:
        """Return what the manifest says of the resolution."""
        return _topics.summary(self.topics)

    def __getstate__(self) -> dict[str, Any]:
        return {
            "topics": self.topics,
            "name": self.name,
            "_words": None,
        }  # tables are made where they are used

    def judge(self, batch: Batch) -> Verdict:
        """Keep every record, and say what it is."""
        if self._words is None:
            self._words = made(self.topics.vocabulary, self.topics.common)
        found = walk(batch, self._words, self.topics.weights, self.topics.squares, _topics.WORDS)
        known = pa.array(found.topics, mask=found.topics < 0)
        document = np.full(batch.num_rows, record.kind(batch) == "text")
        columns = [
            _tasks.told(found.tasks, self._words),
            pa.array(self.topics.names, pa.string()).take(known),
            _mentions.told(found.groups),
            _whole(found.words[:, 0], document),
            _whole(found.words[:, 1]),
            _whole(np.diff(record.turns(batch)[1])),
        ]
        return Verdict.of(batch.num_rows, facts=pa.record_batch(columns, schema=FACTS))


def _whole(values: Ints, mask: npt.NDArray[np.bool_] | None = None) -> pa.Int32Array:
    return pa.array(np.minimum(values, 2**31 - 1).astype(np.int32), mask=mask)
