"""Prompts that were answered in several ways: which of them with answers that cannot all be right.

Prompts are equal as records are (normalised, 64-bit hashes of the sketch: :func:`curate.kernels.parts.keys`); two
different ones among a billion meet with a chance of 3 %, and then a flag is wrong, nothing is lost. Maps with files
between them, as in :mod:`curate.stages.dedup.nominated`::

    nominate   prompts by range; records with an equal one
    answers    map over groups       the answers' hashes of these, from the sketches
    several    map over partitions   prompts with more than one answer
    claims     map over groups       their records, read again: what each answer claims
    decide     map over partitions   flags
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import record
from curate.io.store import Store
from curate.kernels import cluster, parts
from curate.kernels.cluster import Buckets
from curate.record import Batch, locator
from curate.stage import Engine, Sketches, SketchPart
from curate.stages.dedup import deciding, decisions, nominated, shuffle
from curate.stages.dedup.candidates import ROWS, Places, candidates, file_names
from curate.stages.dedup.claims import claim, disagreeing
from curate.stages.dedup.deciding import EXAMPLES, Files, marked
from curate.stages.dedup.decisions import FILE
from curate.stages.dedup.shuffle import Group, Slice, Sliced

FLAGS = pa.schema(
    [
        ("row", pa.int64()),  # of the record in its file, ascending
        ("prompt", pa.string()),  # names the prompt: the same for all records that have it
        ("claims", pa.int32()),  # how many different ones its answers make
        ("other", pa.string()),  # id of the first record that claims something else
    ]
)
LINES = pa.schema([(FILE, pa.int32()), *FLAGS])
MANY = 10
"""Different claims above which a prompt is taken for one with many right answers: name an animal."""
_ROWS = pa.schema([*(ROWS.field(name) for name in ("file", "row", "id")), ("claim", pa.string())])
_BYTES = 400  # of a record at work in a partition, its id and claim with it
_ANSWER = "answer"


@dataclass
class Totals:
    """What the prompts come to. Those of several tasks add up."""

    prompts: int = 0  # that are answered in several ways, none of them a contradiction
    conflicting: int = 0
    records: Counter[str] = field(default_factory=Counter)  # flagged, by source
    examples: list[tuple[str, int, int, str, str]] = field(
        default_factory=list
    )  # source, file, row, id, other's
    lines: Counter[int] = field(default_factory=Counter)  # flags, by file

    def add(self, other: Totals) -> None:
        """Add what other prompts come to."""
        self.prompts += other.prompts
        self.conflicting += other.conflicting
        self.records.update(other.records)
        self.lines.update(other.lines)
        self.examples = _first(sorted([*self.examples, *other.examples]))

    def summary(self) -> dict[str, Any]:
        """Return what the manifest tells."""
        return {
            "alternative_prompts": self.prompts,
            "conflicting_prompts": self.conflicting,
            "conflicting": [{"source": a, "records": n} for a, n in sorted(self.records.items())],
        }

    def findings(self, reason: str) -> tuple[dict[str, Any], ...]:
        """Return a finding if there are contradictions."""
        if not self.conflicting:
            return ()
        by_source = ", ".join(f"{count:,} of {source}" for source, count in sorted(self.records.items()))
        shown = sorted(self.examples, key=lambda one: _rank(self.examples, one))[:EXAMPLES]
        return (
            {
                "reason": reason,
                "severity": "warning",
                "message": f"{self.conflicting:,} prompts have short answers that contradict each other (records: "
                f"{by_source}); see which is right, and whether the prompt lacks what tells them apart",
                "count": self.conflicting,
                "examples": [f"{one} ≠ {other}" for *_, one, other in shown],
            },
        )


def _first(examples: Sequence[tuple[str, int, int, str, str]]) -> list[tuple[str, int, int, str, str]]:
    """Return the first examples of each source."""
    seen: Counter[str] = Counter()
    found = []
    for one in examples:
        seen[one[0]] += 1
        found += [one] if seen[one[0]] <= EXAMPLES else []
    return found


def _rank(examples: Sequence[tuple[str, int, int, str, str]], one: Any) -> tuple[int, str]:
    """Order examples so that every source has its first before any has its second."""
    return [other for other in examples if other[0] == one[0]].index(one), one[0]


def find(sketches: Sketches, name: str, fact: str, reason: str, engine: Engine) -> Totals:
    """Write the flags, if any, into ``name`` of the sketches' store (decisions.Decided); return what they come to.

    A task holds up to ``sketches.memory / engine.workers`` bytes. Parts without answers take no part.
    """
    counts = shuffle.run(_counts, sketches.parts, engine, len(sketches.parts) << 10)
    own = [(part, size) for part, (size, answers) in zip(sketches.parts, counts, strict=True) if answers]
    about = {"fact": fact, "reason": reason, "releases": "[]"}
    totals = Totals()
    if not own:
        return totals
    with shuffle.room(sketches) as store:
        sizes = [size for _, size in own]
        cut = shuffle.plan(sum(sizes), 1, sketches.memory, engine.workers, _BYTES, _BYTES)
        groups = shuffle.grouped([part for part, _ in own], sizes, cut.most)
        found = nominated.nominate(groups, ["prompt"], cut, store, engine)
        places = Places.of(found, cut.memory // deciding.BYTES)
        places.save(store)
        work = found.met * 16
        answers = shuffle.run(_answers, list(_asking(found, found.asked)), engine, work)
        tasks = [
            _Range(number, shuffle.across(answers, number), places, reason, store)
            for number in range(cut.partitions)
        ]
        again = shuffle.run(_several, tasks, engine, work)
        asked = list(_asking(found, again, places))
        claims = shuffle.run(_claims, asked, engine, sum(int(one.ends[-1]) for one in again) * 64)
        tasks = [
            _Range(number, shuffle.across(claims, number), places, reason, store)
            for number in range(cut.partitions)
        ]
        left = []
        for lines, some in shuffle.run(_decide, tasks, engine, work):
            left.append(lines)
            totals.add(some)
        if totals.conflicting:
            tables = deciding.collected(left, places, store)
            decisions.write(sketches.store, name, about, places.files, totals.lines, tables, FLAGS)
    return totals


def _counts(part: SketchPart) -> tuple[int, int]:
    answers = part.table([_ANSWER]).column(0).to_numpy()
    return len(answers), int(np.count_nonzero(answers))


class _Asked(NamedTuple):
    """Tell each partition of the records of a group that it asks after."""

    group: Group
    asked: tuple[Slice, ...]  # by partition
    files: dict[tuple[str, str], int]
    store: Store


def _asking(
    found: nominated.Nominated, asked: Sequence[Sliced], places: Places | None = None
) -> Iterator[_Asked]:
    files = places.numbers(found) if places else [{}] * len(found.groups)
    for group, names in zip(found.groups, files, strict=True):
        yield _Asked(group, shuffle.across(asked, group.number), names, found.store)


def _answers(task: _Asked) -> Sliced:
    columns = [part.table([_ANSWER]).column(0).to_numpy() for part in task.group.parts]
    hashes = np.concatenate(columns)
    with shuffle.slicing(task.store, f"answers.{task.group.number}") as out:
        for rows in shuffle.numbers(task.asked, task.store):
            out.add(hashes[rows])
    return out.done()


class _Range(NamedTuple):
    number: int
    told: tuple[Slice, ...]  # by group
    places: Places
    reason: str
    store: Store


def _several(task: _Range) -> Sliced:
    """Write the prompts with several answers, and whom they name; return by group the records to read again."""
    members, ends = shuffle.whole(task.store, f"buckets.{task.number}")
    told = shuffle.numbers(task.told, task.store, "u8")
    answer = np.concatenate([np.empty(0, np.uint64), *told])
    of = cluster.bucket_of(Buckets(members, ends))
    order = np.lexsort((answer[members], of))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(of[order]) != 0) | (np.diff(answer[members][order].view(np.int64)) != 0)
    different = np.bincount(of[order][new & (answer[members][order] != 0)], minlength=len(ends))
    chosen = (different > 1)[of] & (answer[members] != 0)
    wanted = np.zeros(len(answer), bool)
    wanted[members[chosen]] = True
    place = np.cumsum(wanted) - 1
    kept = np.bincount(of[chosen], minlength=len(ends))
    with shuffle.slicing(task.store, f"several.{task.number}") as out:
        out.add(*shuffle.packed(place[members[chosen]], np.cumsum(kept[kept > 0])))
    start = 0
    asked = np.frombuffer(bytearray(task.store.read(f"asked.{task.number}")), np.uint32)
    with shuffle.slicing(task.store, f"again.{task.number}") as out:
        for count in map(len, told):
            out.add(asked[start : start + count][wanted[start : start + count]])
            start += count
    return out.done()


def _claims(task: _Asked) -> Sliced:
    """Answer each partition with the records' places, ids, and claims."""
    asked = [one.astype(np.int64) for one in shuffle.numbers(task.asked, task.store)]
    rows = np.unique(np.concatenate(asked))
    tables = [_ROWS.empty_table()]
    for some in candidates(task.group, rows, task.files, whole=True):
        said = [one for batch, mine in some.batches() for one in claims(batch.take(pa.array(mine)))]
        columns = [some.table.column(name) for name in _ROWS.names[:-1]]
        tables.append(pa.table([*columns, pa.array(said, pa.string())], schema=_ROWS))
    table = pa.concat_tables(tables).combine_chunks()
    with shuffle.slicing(task.store, f"claims.{task.group.number}") as out:
        for mine in asked:
            at = pa.array(np.searchsorted(rows, mine))
            out.add(*([_bytes(table.take(at))] if len(mine) else []))
    return out.done()


def _bytes(table: pa.Table) -> npt.NDArray[np.uint8]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return np.frombuffer(sink.getvalue(), np.uint8)


def claims(batch: Batch) -> list[str | None]:
    """Return what each conversation's answer, its last assistant turn, claims; one that calls tools claims nothing."""
    said = record.utterances(batch)
    last = parts.last_answers(said)[np.repeat(np.arange(batch.num_rows), np.diff(said.offsets))]
    chosen = np.flatnonzero((said.turn == last) & (said.part < record.REPLY))
    owner = np.searchsorted(said.offsets, chosen, "right") - 1
    found: list[str | None] = [None] * batch.num_rows
    texts = said.text.take(pa.array(chosen)).to_pylist()
    for row, text, part in zip(owner.tolist(), texts, said.part[chosen].tolist(), strict=True):
        found[row] = claim(text) if part == record.CONTENT else None  # calls stand behind the content
    return found


def _decide(task: _Range) -> tuple[Sliced, Totals]:
    """Flag the records of a partition whose claims contradict each other."""
    tables = [_ROWS.empty_table()]
    for one in task.told:
        if len(content := one.read(task.store)):
            tables.append(pa.ipc.open_stream(pa.py_buffer(content)).read_all())
    rows = pa.concat_tables(tables).combine_chunks()
    members, ends = shuffle.whole(task.store, f"several.{task.number}")
    totals, files = Totals(), file_names(task.store)
    flags: list[dict[str, Any]] = []
    start = 0
    for end in ends.tolist():
        mine = rows.take(pa.array(members[start:end]))
        found = _flags(mine.filter(mine.column("claim").is_valid()), files)
        totals.conflicting += bool(found)
        totals.prompts += not found
        flags += found
        totals.examples += [
            (files[one[FILE]][0], one[FILE], one["row"], one["id"], one["other"]) for one in found[:1]
        ]
        start = end
    for flag in flags:
        totals.records[files[flag[FILE]][0]] += 1
        totals.lines[flag[FILE]] += 1
    totals.examples = _first(sorted(totals.examples))
    columns = [pa.array([flag[one.name] for flag in flags], one.type) for one in LINES]
    lines = pa.table(columns, schema=LINES).sort_by([(FILE, "ascending"), ("row", "ascending")])
    return deciding.leave(lines, task.places, task.store, f"flags.{task.number}"), totals


def _flags(rows: pa.Table, files: Files) -> list[dict[str, Any]]:
    """Return the flags of one prompt's records that make a claim."""
    if not 2 <= len(rows.column("claim").unique()) <= MANY:
        return []
    mine = rows.sort_by([("file", "ascending"), ("row", "ascending")]).to_pylist()
    first: dict[str, str] = {}  # id of the first record that makes a claim
    for one in mine:
        first.setdefault(one["claim"], one["id"])
    against = disagreeing(first)
    if not against:
        return []
    source, path = files[mine[0]["file"]]
    [prompt] = marked([f"{source}\0{locator(path, mine[0]['row'])}"]).to_pylist()
    return [
        {
            FILE: one["file"],
            "row": one["row"],
            "id": one["id"],
            "prompt": prompt,
            "claims": len(first),
            "other": first[against[one["claim"]]],
        }
        for one in mine
        if one["claim"] in against
    ]
