"""pii: finds personal data by pattern and checksum, and names if asked to, and takes it out.

Presidio's recognizers and the rule pack's own patterns, with no network: e-mail addresses, phone numbers, card and
account numbers and the like. rules/pii.yaml says what each looks for, from which score on, and what looks like it
and is not. Names are found by lists or by a model, where the recipe asks for them; postal addresses are not.

Every turn of a conversation is read, and what stands beside the turns: calls of tools, other keys of a turn, the
reply that lost (:mod:`curate.stages.scrubbing.beside`). Other columns are not. Editing is idempotent: the edited text
is read again, and what only then shows is edited too, until nothing more is found
(:mod:`curate.stages.scrubbing.scrubber`). What stands in a value's place is the operator's business
(:mod:`curate.stages.operators`). A text that cannot be read to its end goes to quarantine as ``pii/unscanned``; it
is never passed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from curate import rules
from curate.io.store import Store
from curate.kernels.spans import Span
from curate.record import Batch, content, turns
from curate.stage import Action, Decision, Verdict
from curate.stages.operators import Hand
from curate.stages.scrubbing import beside as _beside
from curate.stages.scrubbing.options import PiiOptions
from curate.stages.scrubbing.scrubber import Scrubbed, Scrubber
from curate.stages.scrubbing.search import NAMED, NAMES, PACK, SECRETS, Plan, kinds, search

COUNTS = pa.list_(pa.struct([("type", pa.string()), ("count", pa.int32())]))


class Pii:
    """Finds personal data in every turn and takes it out.

    One decision per kind and record, ``pii/<KIND>``, with the places (turn, start, end in characters of the
    turn as it came), scores and recognizers as evidence, never the value: ``spans`` in the turns, ``beside`` beside
    them (curate.stages.scrubbing.beside.Place, start and end in the value). Fact: ``pii``, the number of finds by
    kind, null where the text could not be read.
    """

    name: ClassVar[str] = "pii"
    version: ClassVar[str] = "3"
    rules: ClassVar[tuple[str, ...]] = (NAMES, PACK, SECRETS)

    Options = PiiOptions

    def __init__(self, options: PiiOptions) -> None:
        """Raise RecipeError where an operator needs a key and there is none."""
        self.options = options
        self.kinds = options.kinds()
        operators = {kind: options.operator_of(kind) for kind in self.kinds}
        self._plan = options.plan()
        self._keeps = frozenset(kind for kind, operator in operators.items() if operator == "keep")
        self._model = options.model()
        self._hand = Hand(operators, options.key(), (*kinds(PACK), *kinds(SECRETS), *NAMED))

    def carried(self, store: Store) -> Pii:
        """Return the stage as workers on other machines can use it (curate.io.carried)."""
        found = copy(self)
        found._model = self._model and self._model.carried(store)
        return found

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        texts = _Texts.of(batch)
        records = self._scrubber().scrub(texts.flat, texts.offsets, texts.leads)
        decisions = [decision for record in records for decision in self._decide(record, texts)]
        edited, beside = self._edited(batch, records, texts)
        return Verdict.of(batch.num_rows, decisions, edited, _facts(batch.num_rows, records), beside)

    def scrub(self, text: str) -> tuple[list[Span], str]:
        """Return what was found in the text and the text without it. Raises what keeps it from being read."""
        for record in self._scrubber().scrub(pa.array([text]), [0, 1]):
            if record.error is not None:
                raise record.error
            return reported(record)[0], record.edited[0]
        return [], text

    def _scrubber(self) -> Scrubber:
        finders = search(self._plan)
        finders = finders if self._model is None else finders.and_with(self._model)
        return Scrubber(finders, self._hand, self._keeps, self.options.consistent)

    def _decide(self, record: Scrubbed, texts: _Texts) -> Iterator[Decision]:
        """Yield one decision for each kind that was found in the record's turns or beside them."""
        if record.error is not None:
            evidence = {"error": type(record.error).__name__}
            yield Decision(record.row, "quarantine", "pii/unscanned", None, evidence)
            return
        by_kind: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for turn, spans in enumerate(reported(record)):
            where, place, lead = texts.place(record.row, turn)
            for span in spans:
                behind = span._replace(start=span.start - lead, end=span.end - lead)
                by_kind.setdefault(span.type, {}).setdefault(where, []).append(place | behind._asdict())
        dropped = any(self._action(kind) == "drop" for kind in by_kind)
        for kind, places in sorted(by_kind.items()):
            action = self._action(kind)
            if dropped and action == "edit":
                action = "flag"  # nothing is edited in what is dropped
            score = max(place["score"] for where in places.values() for place in where)
            yield Decision(record.row, action, f"pii/{kind}", score, places)

    def _action(self, kind: str) -> Action:
        operator = self.options.operator_of(kind)
        return "drop" if operator == "drop" else "flag" if operator == "keep" else self.options.action

    def _edited(
        self, batch: Batch, records: Sequence[Scrubbed], texts: _Texts
    ) -> tuple[pa.Array | None, dict[str, pa.Array] | None]:
        """Return the content and the columns beside it, edited texts in place; None where nothing is edited."""
        if self.options.action != "edit":
            return None, None
        edited = [record for record in records if record.error is None and any(record.found)]
        if not edited:
            return None, None
        column = content(batch)
        rows = [record.row for record in edited]
        if pa.types.is_string(column.type):
            new: list[Any] = [record.edited[0] for record in edited]
        else:
            new = [
                [
                    {**turn, "content": text if turn["content"] else turn["content"]}  # null stays null
                    for turn, text in zip(old, record.edited[: len(old)], strict=True)
                ]
                for record, old in zip(edited, column.take(pa.array(rows)).to_pylist(), strict=True)
            ]
        places = np.arange(len(column))
        places[rows] = len(column) + np.arange(len(rows))
        beside = {record.row: texts.behind(record) for record in edited if record.row in texts.beside}
        whole = pa.concat_arrays([column, pa.array(new, column.type)]).take(pa.array(places))
        return whole, _beside.replaced(batch, beside) or None


@dataclass(frozen=True)
class _Texts:
    """All texts of a batch, of each record its turns, then what stands beside them."""

    flat: pa.StringArray  # [u]
    offsets: Sequence[int]  # [n + 1]
    leads: Sequence[int] | None  # [u] characters before each text that are only read
    turns: Sequence[int]  # [n + 1] as offsets, of turns alone
    beside: Mapping[int, _beside.Texts]  # by row

    @classmethod
    def of(cls, batch: Batch) -> _Texts:
        flat, ends = turns(batch)
        beside, offsets = _beside.texts(batch), ends.tolist()
        if not beside:
            return cls(flat, offsets, None, offsets, beside)
        more = np.zeros(batch.num_rows + 1, np.int64)
        for row, one in beside.items():
            more[row + 1] = len(one.texts)
        more = np.cumsum(more)
        order = [
            place
            for row in range(batch.num_rows)
            for place in (
                *range(*offsets[row : row + 2]),
                *range(*(len(flat) + more[row : row + 2]).tolist()),
            )
        ]
        rows = sorted(beside)
        both = pa.concat_arrays(
            [flat, pa.array([text for row in rows for text in beside[row].texts], flat.type)]
        )
        leads = np.concatenate([np.zeros(len(flat), np.int64), *(beside[row].leads for row in rows)])
        taken = np.array(order, np.int64)
        return cls(both.take(pa.array(taken)), (ends + more).tolist(), leads[taken].tolist(), offsets, beside)

    def place(self, row: int, text: int) -> tuple[str, dict[str, Any], int]:
        """Return where a record's text stands: spans or beside, what names the place, and how long its lead is."""
        turns = self.turns[row + 1] - self.turns[row]
        if text < turns:
            return "spans", {"turn": text}, 0
        mine = self.beside[row]
        return "beside", mine.places[text - turns]._asdict(), mine.leads[text - turns]

    def behind(self, record: Scrubbed) -> list[str]:
        """Return a record's edited texts beside its turns, without their leads."""
        mine = self.beside[record.row]
        edited = record.edited[self.turns[record.row + 1] - self.turns[record.row] :]
        return [text[lead:] for text, lead in zip(edited, mine.leads, strict=True)]


def reported(record: Scrubbed) -> list[list[Span]]:
    """Return a record's finds per turn, in order: those taken out, and those kept that are no part of them."""
    return [
        sorted([*found, *(span for span in kept if not _meets(span, found))])
        for found, kept in zip(record.found, record.kept, strict=True)
    ]


def _meets(span: Span, found: Sequence[Span]) -> bool:
    """Tell whether a span shares a character with one of the finds, which are in order and do not overlap."""
    after = bisect_left(found, span.end, key=lambda find: find.start)
    return after > 0 and span.start < found[after - 1].end


def _facts(rows: int, records: Sequence[Scrubbed]) -> pa.RecordBatch:
    """Return the number of finds by kind: nothing for the records that are not among the scrubbed."""
    tallies: dict[int, Counter[str]] = {}
    mask = np.zeros(rows, bool)
    for record in records:
        if record.error is not None:
            mask[record.row] = True
        else:
            tallies[record.row] = Counter(span.type for spans in reported(record) for span in spans)
    sizes = np.zeros(rows + 1, np.int32)
    sizes[[row + 1 for row in tallies]] = [len(tally) for tally in tallies.values()]
    pairs = [{"type": kind, "count": tally[kind]} for tally in tallies.values() for kind in sorted(tally)]
    values = pa.array(pairs, COUNTS.value_type)
    counts = pa.ListArray.from_arrays(np.cumsum(sizes, dtype=np.int32), values, COUNTS, mask=pa.array(mask))
    return pa.record_batch({"pii": counts})


def matches(rule: rules.Rule, example: str) -> bool:
    """Tell whether a text holds what the rule looks for: how rules/pii.yaml is tested."""
    plan = Plan(((rule.id, float(rule.data["threshold"])),), False, (), False, False)
    [found] = search(plan).find(pa.array([example]), [0, 1])
    return not isinstance(found, Exception) and any(span.type == rule.id for span in found)
