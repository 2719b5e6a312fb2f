"""What the pipeline gives on the pool with some of the filters: each decision made once.

A decision that the run made is taken from the release: a local stage's, on the same content; a barrier's, where all
that reaches it is what reached it in the run. All others are made now, by the stages themselves, through
:class:`curate.unit.Work`, which is what a run acts through.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import orjson
import pyarrow as pa

from curate import record
from curate.errors import CurateError
from curate.io.store import Store
from curate.pipeline import AllSketches, Part
from curate.record import FACT, Batch
from curate.stage import Barrier, Engine
from curate.stages.mix import Mix
from curate.tuning.acting import BATCH, Sketching, Task, acted, sketched
from curate.tuning.filters import Filter
from curate.tuning.records import History, Records
from curate.tuning.tables import FACTS
from curate.unit import EDITS

_MEMORY = 10**9  # bytes that a barrier may hold: more than any pool needs


class Unjudged(CurateError):
    """An arm needs decisions that cannot be made here."""

    def __init__(self, stage: str, records: int, problem: str | None) -> None:
        self.stage = stage
        super().__init__(
            f"{stage} would have to judge {records:,} records that the run had not given to it in this form, and it "
            f"cannot be built here ({problem})"
        )


class State(NamedTuple):
    """A record on its way: a version of its content, and what stages have stated of it."""

    version: int
    facts: int


States: TypeAlias = dict[int, State]  # by the record's number, ascending
Answers: TypeAlias = dict[int, State | None]  # None: it does not go on


@dataclass
class Versions:
    """Every different content of every record, once."""

    contents: list[Any] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    _known: dict[tuple[int, bytes], int] = field(default_factory=dict)

    def of(self, number: int, content: Any) -> int:
        """Return the number of a record's version."""
        key = number, record.canonical(content)
        if key not in self._known:
            self._known[key] = len(self.contents)
            self.contents.append(content)
            self.owner.append(number)
        return self._known[key]


class _Facts:
    """What stages have stated of records, each combination once; kept only where some stage may read it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = [{}]
        self.types: dict[str, pa.DataType] = {FACT + "edits": EDITS} | {FACT + n: pa.string() for n in FACTS}
        self._known: dict[bytes, int] = {b"{}": 0}

    def of(self, row: dict[str, Any]) -> int:
        key = orjson.dumps(row, default=repr, option=orjson.OPT_SORT_KEYS)
        if key not in self._known:
            self._known[key] = len(self.rows)
            self.rows.append(row)
        return self._known[key]


class Judge:
    """Forms arms."""

    def __init__(
        self,
        records: Records,
        filters: Sequence[Filter],
        engine: Engine,
        work: Path,
        *,
        whole: bool,
        complete: bool = True,
        trusting: bool = True,
    ) -> None:
        """whole: the pool is all that is left of the release, not a sample; complete: it is all of it.

        trusting: take the run's decisions; if not, all are made anew, as they are where a stage may read any fact.
        """
        self.versions = Versions()
        self._records, self._filters, self._engine, self._work = records, tuple(filters), engine, work
        self._whole, self._complete = whole, complete
        self.trusts = trusting and all(one.blind for one in filters)
        self.exact = (
            (whole and complete) or all(one.deduplicates for one in filters if one.barrier)
        ) and not any(one.notes for one in filters)  # that all filters, asked anew, must answer as in the run
        self._places = {one.name: one.place for one in filters}
        self._read: frozenset[str] = frozenset().union(*(one.reads for one in filters))
        self._facts = _Facts()
        self._answers: dict[tuple[str, int, State], State | None] = {}  # null: it does not go on
        self._reached: dict[tuple[str, ...], States] = {}
        self._rows = {
            at: (source, row) for source, numbers in records.places.items() for row, at in enumerate(numbers)
        }
        self.raw: States = {
            at: State(self.versions.of(at, history.raw), 0) for at, history in records.histories.items()
        }
        self._resolved = 0

    def run(self, names: Iterable[str]) -> States:
        """Return what is left of the pool after these filters. Raises Unjudged where that cannot be known."""
        chosen = frozenset(names)
        states = self.raw
        done: tuple[str, ...] = ()
        for one in self._filters:
            if one.name not in chosen:
                continue
            done = (*done, one.name)
            if done not in self._reached:
                self._reached[done] = self._pass(one, states)
            states = self._reached[done]
        return states

    def released(self) -> States:
        """Return what the release keeps of the pool."""
        kept = {at: history for at, history in self._records.histories.items() if history.stage is None}
        return {at: State(self.versions.of(at, history.final), 0) for at, history in kept.items()}

    # --- one filter --------------------------------------------------------------------------------------

    def _pass(self, one: Filter, states: States) -> States:
        known = self._known(one, states)
        if one.barrier:
            known = self._still_holds(one, states, known)
        unknown = {at: state for at, state in states.items() if at not in known}
        if unknown and one.spec is None:
            raise Unjudged(one.name, len(unknown), one.problem)
        ask = self._together if one.barrier else self._alone
        answers = known | (ask(one, unknown) if unknown else {})
        return {at: after for at in states if (after := answers[at]) is not None}

    def _known(self, one: Filter, states: States) -> Answers:
        """Return what the run answered, where it asked the same: of the same content."""
        found: Answers = {}
        for at, state in states.items() if self.trusts else ():
            history = self._records.histories[at]
            came = history.entering(one.place, self._places)
            if not self._came_to(one, history) or state.version != self.versions.of(at, came):
                continue
            stated = self._facts.rows[state.facts]
            if any(stated.get(FACT + name) != self._was(name, one, history) for name in one.reads):
                continue
            left = history.entering(one.place + 1, self._places)
            new = {n: history.facts.get(n) for n in self._read if FACTS[n] == one.name}
            facts = self._facts.of(stated | {FACT + n: new[n] for n in new}) if new else state.facts
            found[at] = None if history.stage == one.name else State(self.versions.of(at, left), facts)
        return found

    def _was(self, fact: str, one: Filter, history: History) -> str | None:
        """Return a fact as it stood when the run gave the record to a stage."""
        earlier = self._places.get(FACTS[fact], one.place) < one.place
        return history.facts.get(fact) if earlier else None

    def _still_holds(self, one: Filter, states: States, known: Answers) -> Answers:
        """Return which of the run's answers hold for a barrier: all of them, if all of its input is the same.

        Deduplication answers by the group, and groups are whole. What counts how often something stands in all
        records does not, and a sample would make it blind: there, each answer of the run holds for its record.
        """
        came = sum(self._came_to(one, history) for history in self._records.histories.values())
        whole = self._whole and (
            self._complete or one.name != Mix.name
        )  # caps of a part are no caps of the whole
        if len(known) == len(states) == came or not (whole or one.deduplicates):
            return known
        if not one.against:
            return {}
        histories = self._records.histories
        return {at: None for at in known if histories[at].of_release and histories[at].stage == one.name}

    def _came_to(self, one: Filter, history: History) -> bool:
        return history.stage is None or self._places.get(history.stage, -1) >= one.place

    # --- decisions made now ------------------------------------------------------------------------------

    def _alone(self, one: Filter, states: States) -> Answers:
        """Let a local stage judge what it has not judged before."""
        asked = {at: state for at, state in states.items() if (one.name, at, state) not in self._answers}
        if asked:
            left = self._now(one.stage, one, asked)
            for at, state in asked.items():
                self._answers[one.name, at, state] = left.get(at)
        return {at: self._answers[one.name, at, state] for at, state in states.items()}

    def _together(self, one: Filter, states: States) -> Answers:
        """Let a barrier sketch the records and judge them by what it resolves to."""
        assert isinstance(one.stage, Barrier)
        self._resolved += 1
        folder = self._work / f"barrier-{self._resolved}"
        shutil.rmtree(folder, ignore_errors=True)
        tasks = [
            Sketching(folder / f"part-{i:04d}", one.stage, batch)
            for i, (_, batch) in enumerate(self._batches(states))
        ]
        for _ in self._engine.map(sketched, tasks):
            pass
        scratch = folder / "resolved"
        scratch.mkdir(parents=True)
        parts = tuple(Part(Store.at(task.folder)) for task in tasks)
        stage = one.stage.resolve(AllSketches(parts, Store.at(scratch), _MEMORY, whole=False), self._engine)
        left = self._now(stage, one, states)
        shutil.rmtree(folder)
        return {at: left.get(at) for at in states}

    def _now(self, stage: Any, one: Filter, states: States) -> States:
        tasks, numbers = [], []
        for mine, batch in self._batches(states):
            for start in range(0, len(mine), BATCH):
                tasks.append(Task(stage, one.place + 1, batch.slice(start, BATCH)))
                numbers.append(mine[start : start + BATCH])
        left: States = {}
        for mine, batch in zip(numbers, self._engine.map(acted, tasks), strict=True):
            place = {key: at for at, key in zip(mine, self._keys(mine), strict=True)}
            keys = zip(batch.column("_path").to_pylist(), batch.column("_row").to_pylist(), strict=True)
            here = [place[key] for key in keys]
            facts = self._stated(batch)
            for at, content, stated in zip(here, record.content(batch).to_pylist(), facts, strict=True):
                left[at] = State(self.versions.of(at, content), stated)
        return dict(sorted(left.items()))

    def _keys(self, numbers: Sequence[int]) -> list[tuple[str, int]]:
        source = self._rows[numbers[0]][0]
        rows = pa.array([self._rows[at][1] for at in numbers])
        batch = self._records.batches[source].select(["_path", "_row"]).take(rows)
        return list(zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True))

    def _stated(self, batch: Batch) -> list[int]:
        names = [name for name in batch.schema.names if name.startswith(FACT)]
        if self.trusts:
            names = [name for name in names if name[len(FACT) :] in self._read]
        if not names:
            return [0] * batch.num_rows
        self._facts.types |= {name: batch.schema.field(name).type for name in names}
        columns = [batch.column(name).to_pylist() for name in names]
        return [self._facts.of(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]

    def _batches(self, states: Mapping[int, State]) -> Iterable[tuple[list[int], Batch]]:
        """Yield the records of each source as a stage sees them: in order, with their content and facts as they are."""
        by_source: dict[str, list[int]] = {}
        for at in sorted(states):
            by_source.setdefault(self._rows[at][0], []).append(at)
        for source in sorted(by_source):
            mine = by_source[source]
            batch = self._records.batches[source].take(pa.array([self._rows[at][1] for at in mine]))
            contents = [self.versions.contents[states[at].version] for at in mine]
            batch = record.with_content(batch, pa.array(contents, record.content(batch).type))
            rows = [self._facts.rows[states[at].facts] for at in mine]
            names = list(dict.fromkeys([FACT + "edits", *(name for row in rows for name in row)]))
            for name in names:
                values = pa.array([row.get(name) for row in rows], self._facts.types[name])
                batch = record.with_column(batch, name, values)
            yield mine, batch


def trainable(content: Any) -> bool:
    """Tell whether a content has something to learn: a response that is not blank."""
    if isinstance(content, str):
        return bool(content.strip())
    return any(turn["role"] == "assistant" and (turn["content"] or "").strip() for turn in content)
