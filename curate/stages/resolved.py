"""What a deduplicating barrier resolves to: a stage that looks each record's fate up in a file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.store import Store
from curate.kernels.survivor import Census
from curate.record import Batch, locator
from curate.stage import Decision, Sketches, SketchPart, Verdict

Ints = npt.NDArray[np.int64]

DECISIONS = pa.schema(
    [
        ("row", pa.int64()),  # row of the record in its file, ascending
        ("id", pa.string()),
        ("similarity", pa.float64()),  # with the record that is kept; null for the kept record itself
        ("prompt_similarity", pa.float64()),
        ("response_similarity", pa.float64()),
        ("kept_id", pa.string()),
        ("kept", pa.string()),  # locator of the kept record
        ("cluster", pa.string()),
        ("release", pa.int32()),  # index of the earlier release that holds the kept record; null for this run
    ]
)
SIMILARITIES = ("similarity", "prompt_similarity", "response_similarity")
OF_RELEASE = "-of-release"  # ends the reason of a drop whose kept record an earlier release holds
# In place of a release's index, its root.
MEMBERS = pa.schema(
    [("source", pa.string()), ("path", pa.string()), *list(DECISIONS)[:-1], ("release", pa.string())]
)
_EXAMPLES = 10  # ids that a finding names


@dataclass
class Resolved:
    """A resolved barrier. ``judge`` needs the file; ``findings`` and ``summary`` are for whoever runs it.

    The file (Arrow IPC) holds every record of every cluster, one record batch of DECISIONS per input file;
    its metadata says which (``files``: JSON [[source, path], …]), the ``reason`` of a drop, the ``fact`` under
    which the cluster's id is stated of all its records, the kept one included, and the earlier ``releases``
    (JSON [{name, version, root}, …]) that some kept records are of. Its bytes depend on the
    records alone, not on the order of files, batches or workers.
    """

    name: str
    file: str
    findings: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)

    def members(self) -> Iterator[pa.RecordBatch]:
        """Yield the records of all clusters, one batch of MEMBERS per input file, rows ascending."""
        decided = _open(self.file, Path(self.file).stat().st_mtime_ns)
        roots = pa.array([release["root"] for release in decided.releases], pa.string())
        for (source, path), index in decided.place.items():
            batch = decided.reader.get_batch(index)
            places = [pa.repeat(pa.scalar(name), batch.num_rows) for name in (source, path)]
            released = roots.take(batch.column("release"))
            yield pa.record_batch([*places, *batch.columns[:-1], released], schema=MEMBERS)

    def at(self, store: Store) -> Resolved:
        """Return the stage for a store that lies elsewhere now."""
        return replace(self, file=str(store.path / Path(self.file).name))

    def judge(self, batch: Batch) -> Verdict:
        """Drop the records that the file names as duplicates; state the clusters of all."""
        decided = _open(self.file, Path(self.file).stat().st_mtime_ns)
        clusters = np.full(batch.num_rows, None, object)
        decisions: list[Decision] = []
        for key, positions in _by_file(batch):
            if key not in decided.place:
                continue
            table = decided.reader.get_batch(decided.place[key])
            known = table.column("row").to_numpy()
            rows = batch.column("_row").to_numpy()[positions]
            at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
            hit = known[at] == rows
            found = table.take(pa.array(at[hit])).to_pylist()
            for position, line in zip(positions[hit].tolist(), found, strict=True):
                clusters[position] = line["cluster"]
                if line["kept_id"] is not None:
                    decisions.append(_decision(position, decided, line))
        facts = pa.record_batch([pa.array(clusters, pa.string())], names=[decided.fact])
        return Verdict.of(batch.num_rows, decisions, facts=facts)


def _decision(position: int, decided: _Decided, line: dict[str, Any]) -> Decision:
    evidence = {name: line[name] for name in (*SIMILARITIES, "kept", "cluster") if line[name] is not None}
    reason = decided.reason
    if line["release"] is not None:
        reason, evidence["release"] = reason + OF_RELEASE, decided.releases[line["release"]]
    return Decision(position, "drop", reason, line["similarity"], evidence, line["kept_id"])


def _by_file(batch: Batch) -> Iterable[tuple[tuple[str, str], Ints]]:
    """Yield (source, path) and the positions of its records: mostly one file per batch."""
    sources, paths = batch.column("source"), batch.column("_path")
    for source in pc.unique(sources).to_pylist():
        for path in pc.unique(paths).to_pylist():
            mine = pc.and_(pc.equal(sources, source), pc.equal(paths, path))
            yield (source, path), np.flatnonzero(mine.to_numpy(zero_copy_only=False))


@dataclass(frozen=True, slots=True)
class _Decided:
    reader: pa.ipc.RecordBatchFileReader
    place: dict[tuple[str, str], int]  # which record batch holds the decisions on this (source, path)
    reason: str
    fact: str
    releases: list[dict[str, str]]


@lru_cache(maxsize=8)
def _open(file: str, modified: int) -> _Decided:
    """Map the file once per process; ``modified`` makes a file that was replaced a new one."""
    reader = pa.ipc.open_file(pa.memory_map(file))
    about = {key.decode(): value.decode() for key, value in reader.schema.metadata.items()}
    place = {(source, path): index for index, (source, path) in enumerate(orjson.loads(about["files"]))}
    return _Decided(reader, place, about["reason"], about["fact"], orjson.loads(about["releases"]))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Every record that has a duplicate or is one. Records go by their index in the census."""

    member: Ints  # [m]
    kept: Ints  # [m] the kept record of the member's cluster: itself where the member is kept
    similarity: npt.NDArray[np.float64]  # [m, 3] whole, prompt, response; NaN where there is none


class Held(NamedTuple):
    """Decisions on the records that earlier releases hold."""

    found: pa.Table  # DECISIONS, one row per record
    file: npt.NDArray[np.int32]  # of each, index into files
    files: list[tuple[str, str]]  # (source, path), sorted
    releases: list[dict[str, Any]]  # name, version, root, records, dropped


NONE_HELD = Held(DECISIONS.empty_table(), np.empty(0, np.int32), [], [])


def chosen(parts: Sequence[SketchPart], records: Ints, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the chosen records (numbers over all parts, ascending) of each part that has any."""
    start = 0
    for part in parts:
        table = part.table(columns)
        first, last = np.searchsorted(records, (start, start + table.num_rows))
        if first < last:
            yield table.take(pa.array(records[first:last] - start))
        start += table.num_rows


def settle(
    name: str, fact: str, reason: str, clusters: Clusters, census: Census, sketches: Sketches, max_cluster:
    int, findings: tuple[dict[str, Any], ...], summary: dict[str, Any], held: Held = NONE_HELD,
) -> Resolved:  # fmt: skip
    """Write the decisions on the clusters' records into the sketches' scratch folder; return the stage."""
    by_place = np.lexsort((census.row[clusters.member], census.file[clusters.member]))
    clusters = Clusters(clusters.member[by_place], clusters.kept[by_place], clusters.similarity[by_place])
    own = np.flatnonzero(clusters.member == clusters.kept)  # the kept records, in canonical order
    kept, sizes = np.unique(clusters.kept, return_counts=True)
    sizes = sizes[np.searchsorted(kept, clusters.member[own])]
    file = sketches.store.path / f"{name}.decisions.arrow"
    ids = _ids(clusters.member, census, sketches)
    releases = [{key: one[key] for key in ("name", "version", "root")} for one in held.releases]
    about = {"fact": fact, "reason": reason, "releases": orjson.dumps(releases).decode()}
    _write(file, about, *_with_held(_decisions(clusters, ids, census), clusters, census, held))
    large = own[sizes > max_cluster]
    if len(large):
        first = large[np.argsort(-sizes[sizes > max_cluster], kind="stable")][:_EXAMPLES]
        finding = {
            "reason": f"{name}/large-cluster",
            "severity": "warning",
            "message": f"{len(large)} clusters of over {max_cluster} records, the largest {sizes.max()}; "
            "see whether a template makes different records look alike",
            "count": len(large),
            "examples": ids.take(pa.array(first)).to_pylist(),
        }
        findings = (finding, *findings)
    totals = {
        "clusters": len(own),
        "dropped": len(clusters.member) - len(own),
        "largest_cluster": int(sizes.max(initial=0)),
        "overlap": _overlap(clusters, census),
    }
    if held.releases:
        totals["against"] = held.releases
    return Resolved(name, str(file), findings, {**summary, **totals})


def _overlap(clusters: Clusters, census: Census) -> list[dict[str, Any]]:
    """Count the dropped records by their own source and the source of the record that stands for them."""
    names = sorted({source for source, _ in census.files})
    number = {source: index for index, source in enumerate(names)}
    source = np.array([number[source] for source, _ in census.files], np.int64)
    dropped = clusters.member != clusters.kept
    of, by = (source[census.file[side[dropped]]] for side in (clusters.member, clusters.kept))
    pairs, counts = np.unique(np.stack([of, by]), axis=1, return_counts=True)
    return [
        {"source": names[a], "kept_source": names[b], "records": count}
        for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
    ]


def _ids(member: Ints, census: Census, sketches: Sketches) -> pa.ChunkedArray:
    """Read the ids of the members, and of no other record, in the members' order."""
    records = census.record[member]
    order = np.argsort(records)
    tables = [table.column("id") for table in chosen(sketches.parts, records[order], ["id"])]
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    found = pa.chunked_array([chunk for table in tables for chunk in table.chunks], pa.string())
    return found.take(pa.array(back))


def _decisions(clusters: Clusters, ids: pa.ChunkedArray, census: Census) -> pa.Table:
    """Return the decisions on all members, in their order."""
    members = len(clusters.member)
    at = np.empty(len(census.record), np.int64)  # of each record of the census, its place among the members
    at[clusters.member] = np.arange(members)
    kept, of = np.unique(clusters.kept, return_inverse=True)
    places = [
        (*census.files[f], r) for f, r in zip(census.file[kept], census.row[kept].tolist(), strict=True)
    ]
    marks = [f"{source}\0{path}\0{row}".encode() for source, path, row in places]
    names = pa.array([hashlib.blake2b(mark, digest_size=8).hexdigest() for mark in marks], pa.string())
    locators = pa.array([locator(path, row) for _, path, row in places], pa.string())
    is_kept = clusters.member == clusters.kept
    own = pa.array(of, mask=is_kept)
    columns = [pa.array(census.row[clusters.member]), ids]
    for similarity in clusters.similarity.T:
        columns.append(pa.array(similarity, mask=is_kept | np.isnan(similarity)))
    columns.append(ids.take(pa.array(at[clusters.kept], mask=is_kept)))
    columns += [locators.take(own), names.take(pa.array(of)), pa.nulls(members, pa.int32())]
    return pa.table(columns, schema=DECISIONS)


def _with_held(
    found: pa.Table, clusters: Clusters, census: Census, held: Held
) -> tuple[pa.Table, npt.NDArray[np.int32], list[tuple[str, str]]]:
    """Return all decisions in canonical order, the index of each one's file, and the files."""
    file = census.file[clusters.member]
    if not len(held.file):
        return found, file, census.files
    files = sorted({*census.files, *held.files})
    number = {name: index for index, name in enumerate(files)}
    own, theirs = (
        np.array([number[name] for name in names], np.int32) for names in (census.files, held.files)
    )
    file = np.concatenate([own[file], theirs[held.file]])
    both = pa.concat_tables([found, held.found])
    order = np.lexsort((both.column("row").to_numpy(), file))
    return both.take(pa.array(order)), file[order], files


def _write(
    file: Path,
    about: dict[str, str],
    found: pa.Table,
    files: npt.NDArray[np.int32],
    names: list[tuple[str, str]],
) -> None:
    starts = np.flatnonzero(np.diff(files, prepend=-1))
    named = [names[index] for index in files[starts].tolist()]
    schema = DECISIONS.with_metadata({**about, "files": orjson.dumps(named).decode()})
    unfinished = file.with_suffix(".tmp")
    with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start, end in pairwise([*starts.tolist(), len(files)]):
            whole = found.slice(start, end - start).combine_chunks().replace_schema_metadata(schema.metadata)
            writer.write_batch(whole.to_batches()[0])
    unfinished.replace(file)  # a reader that has the old file mapped keeps it
