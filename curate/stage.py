"""What a stage is: it judges every record and touches none.

A *stage* answers for a batch, each record on its own: the same answer for any order or batch size. A
*barrier* must see every record first; it sketches batches in parallel, then resolves all sketches into a
stage. Only the pipeline acts on verdicts.

A stage class has ``name``, ``version`` (raised whenever its answers can change), ``rules`` (the rule packs
that it reads), a nested pydantic model ``Options`` and a constructor that takes one. The full example is in
README.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    runtime_checkable,
)

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from curate.errors import StageError
from curate.record import BESIDE, FACTS, OWN_FACTS, Batch, content

Action: TypeAlias = Literal["keep", "drop", "edit", "quarantine", "flag"]
# Where several decisions meet in one record, the first of these is the record's fate.
SEVERITY: tuple[Action, ...] = ("drop", "quarantine", "edit", "flag", "keep")
REMOVES: tuple[Action, ...] = ("drop", "quarantine")

T = TypeVar("T")
R = TypeVar("R")


class StageOptions(BaseModel):
    """Base of every stage's options: frozen, strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def fingerprint(self) -> str | None:
        """Return what else the answers depend on, such as a secret key, without giving it away; null for nothing."""
        return None

    def coverage(self) -> dict[str, Any] | None:
        """Return what is searched for, by what and how well, and what is not; null for a stage that searches nothing.

        ``searched``: list of {kind, by, measured: {precision, recall, n, on} or null}; ``not_searched``: list of
        {kind, why}.
        """
        return None

    def reads(self) -> list[dict[str, Any]]:
        """Return the files beside the sources that the answers depend on, for the manifest: {path, sha256, …}."""
        return []

    def notes(self) -> list[str]:
        """Return sentences that a reader of the datasheet must know to take the stage for what it is."""
        return []


class Decision(NamedTuple):
    """One line of the ledger in the making: what a rule says of one record of the batch."""

    row: int
    action: Action
    reason: str  # '<stage>/<rule>'
    score: float | None = None
    evidence: Mapping[str, Any] | None = None  # JSON-able; offsets, types, counts, ids; never record text
    kept_id: str | None = None  # the kept record that this one duplicates


@dataclass(frozen=True, slots=True)
class Verdict:
    """One answer per record, in the batch's order. Build it with :meth:`of`."""

    action: pa.StringArray  # [n] keep | drop | edit | quarantine | flag
    reason: pa.StringArray  # [n] rule id, null where nothing fired
    score: pa.DoubleArray  # [n] null where there is none
    evidence: pa.StringArray  # [n] JSON, never record text
    kept_id: pa.StringArray  # [n] null where the record duplicates nothing
    edited: pa.Array | None = None  # [n] content column after the edits, where any action is 'edit'
    also: tuple[Decision, ...] = ()  # further 'edit' and 'flag' decisions on records already decided above
    facts: pa.RecordBatch | None = None  # [n] what the stage found out, kept beside the record in records/
    beside: Mapping[str, pa.Array] | None = (
        None  # [n] columns of record.BESIDE after the edits, with `edited`
    )

    @classmethod
    def of(
        cls,
        rows: int,
        decisions: Iterable[Decision] = (),
        edited: pa.Array | None = None,
        facts: pa.RecordBatch | None = None,
        beside: Mapping[str, pa.Array] | None = None,
    ) -> Verdict:
        """Build a verdict from the decisions that are not 'keep', in any order, any number per record.

        The most severe decision (first of equals) becomes the record's action. The others are noted beside
        it: as edits if the record is edited, else as flags.
        """
        chosen: dict[int, Decision] = {}
        others: list[Decision] = []
        for decision in decisions:
            if not 0 <= decision.row < rows:
                raise StageError(
                    f"{decision.reason}: a decision on record {decision.row} of a batch of {rows}"
                )
            held = chosen.get(decision.row)
            if held is None:
                chosen[decision.row] = decision
            elif SEVERITY.index(decision.action) < SEVERITY.index(held.action):
                chosen[decision.row] = decision
                others.append(held)
            else:
                others.append(decision)
        for decision in others:
            evidence_json(
                decision.evidence
            )  # whatever is no JSON must fail here, where a record can be blamed
        also = tuple(d if d.action == "edit" else d._replace(action="flag") for d in others)
        columns: dict[str, list[Any]] = {
            "action": ["keep"] * rows,
            **{name: [None] * rows for name in ("reason", "score", "evidence", "kept_id")},
        }
        for row, decision in chosen.items():
            columns["action"][row] = decision.action
            columns["reason"][row] = decision.reason
            columns["score"][row] = decision.score
            columns["evidence"][row] = evidence_json(decision.evidence)
            columns["kept_id"][row] = decision.kept_id
        arrays = {k: pa.array(v, pa.float64() if k == "score" else pa.string()) for k, v in columns.items()}
        return cls(**arrays, edited=edited, also=also, facts=facts, beside=beside)

    def check(self, stage: str, batch: Batch) -> None:
        """Raise StageError unless the verdict answers for the batch, with a reason for all not kept."""
        rows = batch.num_rows
        for name in ("action", "reason", "score", "evidence", "kept_id"):
            if (got := len(getattr(self, name))) != rows:
                raise StageError(f"stage {stage!r}: {name} has {got} answers for {rows} records")
        unknown = set(pc.unique(self.action).to_pylist()) - set(SEVERITY)
        if unknown:
            raise StageError(
                f"stage {stage!r}: unknown action {sorted(map(str, unknown))}; allowed: {SEVERITY}"
            )
        silent = pc.and_(pc.not_equal(self.action, "keep"), pc.is_null(self.reason))
        if pc.any(silent).as_py():
            first = batch.column("id").filter(silent)[0].as_py()
            raise StageError(f"stage {stage!r}: record {first} was not kept, and no reason was given")
        self._check_reasons(stage, rows)
        self._check_edits(stage, batch)
        self._check_facts(stage, rows)

    def _check_reasons(self, stage: str, rows: int) -> None:
        for decision in self.also:
            if decision.action not in ("edit", "flag") or not 0 <= decision.row < rows:
                raise StageError(
                    f"stage {stage!r}: a further decision must be an edit or a flag of the batch"
                )
        reasons = {*pc.unique(self.reason.drop_null()).to_pylist(), *(d.reason for d in self.also)}
        for reason in sorted(map(str, reasons)):
            if not reason.startswith(f"{stage}/") or len(reason) == len(stage) + 1:
                raise StageError(f"stage {stage!r}: reason {reason!r} must look like {stage}/<rule>")

    def _check_edits(self, stage: str, batch: Batch) -> None:
        edit = pc.equal(self.action, "edit")
        if self.edited is None:
            if pc.any(edit).as_py():
                raise StageError(f"stage {stage!r}: action 'edit' without the edited content")
            return
        wanted = content(batch).type
        if not isinstance(self.edited, pa.Array) or self.edited.type != wanted:
            got = getattr(self.edited, "type", type(self.edited).__name__)
            raise StageError(
                f"stage {stage!r}: edited must be an array of {wanted}, like the content; is {got}"
            )
        if (got := len(self.edited)) != batch.num_rows:
            raise StageError(f"stage {stage!r}: edited has {got} answers for {batch.num_rows} records")
        if pc.any(pc.and_(edit, pc.is_null(self.edited))).as_py():
            raise StageError(f"stage {stage!r}: an edit left no content; drop the record instead")
        for name, column in (self.beside or {}).items():
            known = name in BESIDE and name in batch.schema.names
            if not known or column.type != batch.column(name).type or len(column) != batch.num_rows:
                allowed = ", ".join(one for one in BESIDE if one in batch.schema.names) or "none here"
                raise StageError(
                    f"stage {stage!r}: beside {name!r} is no column of the batch like it; {allowed}"
                )

    def _check_facts(self, stage: str, rows: int) -> None:
        if self.facts is None:
            return
        if self.facts.num_rows != rows:
            raise StageError(f"stage {stage!r}: facts has {self.facts.num_rows} rows for {rows} records")
        for field in self.facts.schema:
            if field.name in OWN_FACTS:
                raise StageError(
                    f"stage {stage!r}: fact {field.name!r} is filled by the pipeline; choose another name"
                )
            if field.name in FACTS.names and field.type != FACTS.field(field.name).type:
                wanted = FACTS.field(field.name).type
                raise StageError(f"stage {stage!r}: fact {field.name!r} must be {wanted}, is {field.type}")


def evidence_json(evidence: Mapping[str, Any] | None) -> str | None:
    """Return evidence as canonical JSON (sorted keys), null for none."""
    return None if evidence is None else orjson.dumps(evidence, option=orjson.OPT_SORT_KEYS).decode()


@runtime_checkable
class Stage(Protocol):
    """Local: one batch at a time, in any order, always the same answer."""

    @property
    def name(self) -> str:
        """Return the stage's name, the first part of its reasons."""
        ...

    def judge(self, batch: Batch) -> Verdict:
        """Answer for every record of the batch."""
        ...


@runtime_checkable
class Barrier(Protocol):
    """Global: learns from all records, then returns a local stage."""

    @property
    def name(self) -> str:
        """Return the stage's name, the first part of its reasons."""
        ...

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return what must be remembered of the batch: one row per record, in order. Runs on any worker."""
        ...

    def resolve(self, sketches: Sketches, engine: Engine) -> Stage:
        """Learn from all sketches; candidates may be read back.

        The stage returned must be picklable. One that reads files in ``sketches.store`` has a method
        ``at(store)`` that returns it bound to that store's present place: a run may be resumed elsewhere.
        """
        ...


class Sketches(Protocol):
    """All sketches of a barrier and the records behind them, in canonical order (source, file, row)."""

    @property
    def parts(self) -> Sequence[SketchPart]:
        """One part per unit of work, in canonical order."""
        ...

    @property
    def store(self) -> Any:
        """Return the folder (curate.io.store.Store) through which resolving shares files with its workers.

        It outlives the segment, and the resolved stage may read there. What is only spilled belongs on the
        machine's own disk (curate.io.store.scratch), where no other machine can read it.
        """
        ...

    @property
    def memory(self) -> int:
        """Bytes that resolving may hold at once."""
        ...


class SketchPart(Protocol):
    """One unit's sketches; small and picklable, so that an engine can map over parts."""

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the sketches, one row per record, with ``id source _path _row`` in front."""
        ...

    def records(self, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the records themselves back, in the order of the sketches."""
        ...


class Engine(Protocol):
    """Maps a function over tasks, nothing else. Function and tasks must be picklable."""

    workers: int

    def map(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        again: Callable[[T, int], T] | None = None,
    ) -> Iterator[R]:
        """Yield the results in the order of the tasks.

        again: called in this process when the worker on a task has died, with the task and the number of its
        deaths so far (1, 2, …); returns the task to try next, or raises. By default a task is tried three times,
        then StageError is raised. The loss of a whole node is nobody's fault and does not count.
        """
        ...


class StageClass(Protocol):
    """What the recipe's checker asks of a stage's class."""

    name: ClassVar[str]
    version: ClassVar[str]
    rules: ClassVar[tuple[str, ...]]
    Options: ClassVar[type[StageOptions]]

    def __call__(self, options: StageOptions) -> Stage | Barrier:
        """Build the stage."""
        ...
