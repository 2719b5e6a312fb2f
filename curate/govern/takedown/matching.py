"""Which records a take-down erases: those asked for, their near-duplicates, and the clusters of all these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate import record
from curate.errors import RecipeError
from curate.govern.takedown.request import Request
from curate.govern.takedown.tables import CONTENT, Chunk, Tables, places
from curate.record import Batch
from curate.stages.dedup.resolved import OF_RELEASE
from curate.stages.suppressing import suppression, wanted
from curate.stages.suppressing.wanted import CONTAINED, Rule, Wanted

NEAR = "near-duplicate"
QUOTED = 20  # words: shorter texts stand in many records that have nothing to do with each other


@dataclass
class Matched:
    """The records to erase. A place is source NUL locator."""

    kinds: dict[str, str] = field(default_factory=dict)  # place → why: a kind of criterion, or NEAR
    targets: list[Batch] = field(
        default_factory=list
    )  # contents of the records asked for: id, text or messages
    containing: dict[str, str] = field(
        default_factory=dict
    )  # place → id of records that hold a text, and stay
    nowhere: set[str] = field(default_factory=set)  # ids that only the ledger or clusters/ knows
    erased: dict[str, str] = field(default_factory=dict)  # id → source, of ids that no record has any more
    shared: set[str] = field(default_factory=set)  # ids of erased records that others have, too
    found: list[Row] = field(default_factory=list)  # every row to erase
    near: int = 0  # records erased that nobody asked for

    @property
    def records(self) -> int:
        """Return how many records are erased."""
        return len(self.kinds) + len(self.nowhere)

    @property
    def kept(self) -> list[Row]:
        """Return the rows of data/ to erase, by place."""
        return sorted((row for row in self.found if row.part == "data"), key=lambda row: row.place)

    @property
    def places(self) -> pa.Array:
        """Return all places, ascending."""
        return pa.array(sorted(self.kinds), pa.string())


@dataclass(frozen=True)
class Row:
    """A row to erase."""

    part: str
    path: str
    place: str
    id: str


def match(tables: Tables, request: Request, rule: Rule) -> Matched:
    """Return what the request erases. Raises RecipeError for an id that was never seen, or if nothing matches."""
    matched = Matched()
    _asked(tables, request, rule, matched)
    _unseen_ids(tables, request, matched)
    if not matched.kinds and not matched.nowhere:
        hint = f"; {len(matched.containing)} records contain such a text: --contained takes them"
        raise RecipeError(
            f"{tables.out}: nothing matches, and nothing was changed{hint if matched.containing else ''}"
        )
    asked = len(matched.kinds) + len(matched.nowhere)
    _contents(tables, matched)
    if matched.targets:
        _similar(tables, rule, matched)
    _clusters(tables, matched)
    matched.near = len(matched.kinds) + len(matched.nowhere) - asked
    matched.containing = {p: name for p, name in matched.containing.items() if p not in matched.kinds}
    _rows(tables, matched)
    return matched


def _asked(tables: Tables, request: Request, rule: Rule, matched: Matched) -> None:
    """Find what the request names, in one pass over the tables."""
    columns = ["author"] * bool(request.authors) + ["url"] * bool(request.urls or request.hosts)
    texts = None
    if request.texts:
        columns += [*CONTENT, "raw"]
        texts = Wanted(wanted.of_texts(request.texts, rule), rule, texts=True)
    for chunk in tables.chunks(columns):
        hits = {"id": pc.is_in(chunk.column("id"), pa.array(request.ids, pa.string()))}
        if request.authors:
            hits["author"] = _of(chunk.column("author"), lambda n: suppression.author(n) in request.authors)
        if request.urls or request.hosts:
            hits["url"] = _of(chunk.column("url"), lambda address: _is_asked(address, request))
        for kind, hit in hits.items():
            for place in chunk.places.filter(hit).to_pylist():
                matched.kinds.setdefault(place, kind)
        if texts is not None:
            _of_texts(chunk, texts, request.contained, matched)


def _of(column: pa.Array, asked: Callable[[str], bool]) -> pa.Array:
    coded = pc.dictionary_encode(column)
    known = pa.array([asked(value) for value in coded.dictionary.to_pylist()], pa.bool_())
    return pc.fill_null(known.take(coded.indices), False)


def _is_asked(address: str, request: Request) -> bool:
    whole, place = suppression.url(address)
    return whole in request.urls or not set(suppression.domains(place)).isdisjoint(request.hosts)


def _of_texts(chunk: Chunk, texts: Wanted, contained: bool, matched: Matched) -> None:
    names, where = chunk.column("id").to_pylist(), chunk.places.to_pylist()
    for batch, rows in chunk.contents():
        found = texts.find(batch)
        holds = found.share >= CONTAINED
        hit = found.entry >= 0
        hit = hit | holds if contained else hit
        for row in rows[hit].tolist():
            matched.kinds.setdefault(where[row], "text")
        matched.containing |= {where[row]: names[row] for row in rows[holds & ~hit].tolist()}
    for row in _in_raw(chunk, texts):
        matched.kinds.setdefault(where[row], "text")


def _in_raw(chunk: Chunk, searched: Wanted) -> list[int]:
    """Return the lines that could not be read as records and are, or hold, what is searched."""
    raw = chunk.column("raw")
    rows = pc.is_valid(raw).to_numpy(zero_copy_only=False).nonzero()[0]
    if not len(rows):
        return []
    documents = pa.record_batch([wanted.lines(raw.take(pa.array(rows)))], ["text"])
    hit: list[int] = rows[searched.held_by(documents)].tolist()
    return hit


def _unseen_ids(tables: Tables, request: Request, matched: Matched) -> None:
    """Look for the ids that no table of records has; one that neither the ledger has is an error."""
    seen = pa.array(request.ids, pa.string())
    missing = set(request.ids)
    for chunk in tables.chunks():
        missing -= set(chunk.column("id").filter(pc.is_in(chunk.column("id"), seen)).to_pylist())
        if not missing:
            return
    for folder in ("ledger", "clusters"):
        for path in tables.files(folder):
            column = pq.read_table(path, columns=["id"], partitioning=None).column("id")
            here = set(
                pc.unique(column.filter(pc.is_in(column, pa.array(sorted(missing), pa.string())))).to_pylist()
            )
            matched.nowhere |= here & missing
    missing -= matched.nowhere
    if missing:
        raise RecipeError([_unknown(tables, name) for name in sorted(missing)])


def _unknown(tables: Tables, name: str) -> str:
    """Return the error for an id that the release does not have."""
    from curate.ledger import connect, query

    if "/" not in name:
        return f"{tables.out}: no record has the id {name!r}; ids look like <source>/<id>"
    with connect(tables.out) as db:
        sql = """SELECT id FROM (SELECT id FROM records UNION SELECT id FROM ledger)
                 ORDER BY jaro_winkler_similarity(id, ?) DESC, id LIMIT 1"""
        nearest = query(db, sql, [name])
    hint = f"; did you mean {nearest[0]['id']!r}?" if nearest else ""
    return f"{tables.out}: no record has the id {name!r}{hint}"


def _contents(tables: Tables, matched: Matched) -> None:
    """Read what the records asked for hold, in data/ and as it was before each edit."""
    if not matched.kinds:
        return
    where = matched.places
    for chunk in tables.chunks([*CONTENT, "raw"], where):
        matched.targets += contents(chunk, pc.is_in(chunk.places, where))


def contents(chunk: Chunk, hit: pa.Array) -> list[Batch]:
    """Return the records of a chunk that are hit: id, and text or messages; a line that is no record as text."""
    part = Chunk(chunk.part, chunk.path, chunk.group, chunk.first, chunk.table.filter(hit))
    found = [batch for batch, _ in part.contents()]
    raw = part.column("raw")
    if there := pc.is_valid(raw).to_numpy(zero_copy_only=False).nonzero()[0].tolist():
        spelled = wanted.lines(raw.take(pa.array(there)))
        names = part.column("id").take(pa.array(there))
        found.append(pa.record_batch([names, spelled], ["id", "text"]))
    return found


def _similar(tables: Tables, rule: Rule, matched: Matched) -> None:
    """Compare every record with the targets."""
    sets = pa.concat_tables([wanted.of_records(batch, rule) for batch in matched.targets])
    targets = Wanted(sets, rule, texts=False)
    quotable = _quotable(matched.targets)
    quoted = Wanted(wanted.of_texts(quotable, rule), rule, texts=True) if quotable else None
    for chunk in tables.chunks([*CONTENT, "raw"]):
        names, ids = chunk.places.to_pylist(), chunk.column("id").to_pylist()
        for batch, rows in chunk.contents():
            words = targets.words(batch)
            for row in rows[targets.find(batch, words).entry >= 0].tolist():
                matched.kinds.setdefault(names[row], NEAR)
            if quoted is not None:  # no near-duplicate by the rule, but the text is there
                holds = rows[quoted.quoted_in(words)].tolist()
                matched.containing |= {names[row]: ids[row] for row in holds}
        for row in _in_raw(chunk, targets):
            matched.kinds.setdefault(names[row], NEAR)


def _quotable(targets: list[Batch]) -> list[str]:
    """Return the texts of erased records that another record may quote: each document, each whole response."""
    responses = {text for batch in targets for text in record.prompts_and_responses(batch)[1]}
    return sorted(text for text in responses if len(text.split()) >= QUOTED)


def _clusters(tables: Tables, matched: Matched) -> None:
    """Add every record of each cluster that has one of these, until there is none to add.

    Stages whose duplicates are not in clusters/ are followed by the ledger's ``kept_id``.
    """
    shards = tables.files("clusters")
    held: Any = None
    if shards:
        names = ["stage", "cluster", "id", "source", "locator"]
        held = pa.concat_tables([pq.read_table(path, columns=names, partitioning=None) for path in shards])
        held = held.append_column("place", places(held))
        held = held.append_column("group", pc.binary_join_element_wise(held["stage"], held["cluster"], "\0"))
    stages = set() if held is None else set(pc.unique(held.column("stage")).to_pylist())
    edges = _edges(tables, stages)
    while True:
        before = len(matched.kinds) + len(matched.nowhere)
        if held is not None:
            _grow(held, matched)
        if edges:
            _follow(tables, edges, matched)
        if len(matched.kinds) + len(matched.nowhere) == before:
            return


def _grow(held: pa.Table, matched: Matched) -> None:
    mine = pc.is_in(held.column("place"), matched.places)
    if matched.nowhere:
        mine = pc.or_(mine, pc.is_in(held.column("id"), pa.array(sorted(matched.nowhere), pa.string())))
    groups = pc.unique(held.column("group").filter(mine))
    for place in held.column("place").filter(pc.is_in(held.column("group"), groups)).to_pylist():
        matched.kinds.setdefault(place, NEAR)


def _edges(tables: Tables, stages: set[str]) -> dict[str, set[str]]:
    """Return who stands for whom by the ledger alone, both ways."""
    edges: dict[str, set[str]] = defaultdict(set)
    for path in tables.files("ledger"):
        table = pq.read_table(path, columns=["id", "stage", "action", "reason", "kept_id"], partitioning=None)
        chosen = pc.and_(pc.is_valid(table.column("kept_id")), pc.equal(table.column("action"), "drop"))
        chosen = pc.and_(
            chosen, pc.invert(pc.is_in(table.column("stage"), pa.array(sorted(stages), pa.string())))
        )
        chosen = pc.and_(chosen, pc.invert(pc.ends_with(table.column("reason"), OF_RELEASE)))
        own = table.filter(chosen)
        for a, b in zip(own.column("id").to_pylist(), own.column("kept_id").to_pylist(), strict=True):
            edges[a].add(b)
            edges[b].add(a)
    return edges


def _follow(tables: Tables, edges: dict[str, set[str]], matched: Matched) -> None:
    where = matched.places
    reached = set(matched.nowhere)
    for chunk in tables.chunks():
        reached |= set(chunk.column("id").filter(pc.is_in(chunk.places, where)).to_pylist())
    new = {other for name in reached for other in edges.get(name, ())} - reached
    if not new:
        return
    wanted_ids = pa.array(sorted(new), pa.string())
    for chunk in tables.chunks():
        for place in chunk.places.filter(pc.is_in(chunk.column("id"), wanted_ids)).to_pylist():
            matched.kinds.setdefault(place, NEAR)
        new -= set(chunk.column("id").to_pylist())
    matched.nowhere |= new


def _rows(tables: Tables, matched: Matched) -> None:
    """List every row to erase, and tell ids that are gone from ids that other records have, too."""
    where = matched.places
    gone: dict[str, str] = {name: name.split("/")[0] for name in matched.nowhere}
    for chunk in tables.chunks():
        hit = pc.is_in(chunk.places, where)
        if pc.any(hit).as_py():
            own = chunk.table.filter(hit)
            for name, source, place in zip(
                own.column("id").to_pylist(), own.column("source").to_pylist(),
                chunk.places.filter(hit).to_pylist(), strict=True,
            ):  # fmt: skip
                gone[name] = source
                matched.found.append(Row(chunk.part, chunk.path, place, name))
    for path in tables.files("clusters"):
        table = pq.read_table(path, columns=["id", "source", "locator"], partitioning=None)
        own = table.filter(pc.is_in(places(table), where))
        gone |= dict(zip(own.column("id").to_pylist(), own.column("source").to_pylist(), strict=True))
    names = pa.array(sorted(gone), pa.string())
    for chunk in tables.chunks():
        stays = pc.and_(pc.is_in(chunk.column("id"), names), pc.invert(pc.is_in(chunk.places, where)))
        matched.shared |= set(chunk.column("id").filter(stays).to_pylist())
    matched.erased = {name: gone[name] for name in sorted(gone) if name not in matched.shared}
