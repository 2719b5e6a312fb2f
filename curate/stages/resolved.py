"""What a deduplicating barrier resolves to: a stage that looks each record's fate up in a file."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.kernels.survivor import Census
from curate.record import Batch, locator
from curate.stage import Decision, Sketches, Verdict

Ints = npt.NDArray[np.int64]

DECISIONS = pa.schema(
    [
        ("row", pa.int64()),  # row of the record in its file, ascending
        ("similarity", pa.float64()),  # with the record that is kept; null for the kept record itself
        ("prompt_similarity", pa.float64()),
        ("response_similarity", pa.float64()),
        ("kept_id", pa.string()),
        ("kept", pa.string()),  # locator of the kept record
        ("cluster", pa.string()),
    ]
)
_EXAMPLES = 10  # ids that a finding names


@dataclass
class Resolved:
    """A resolved barrier. ``judge`` needs the file; ``findings`` and ``summary`` are for whoever runs it.

    The file (Arrow IPC) holds every record of every cluster, one record batch of DECISIONS per input file;
    its metadata says which (``files``: JSON [[source, path], …]), the ``reason`` of a drop, and the ``fact``
    under which the cluster's id is stated of all its records, the kept one included. Its bytes depend on the
    records alone, not on the order of files, batches or workers.
    """

    name: str
    file: str
    findings: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)

    def at(self, folder: Path) -> Resolved:
        """Return the stage for a scratch folder that lies elsewhere now."""
        return replace(self, file=str(folder / Path(self.file).name))

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
                    decisions.append(_decision(position, decided.reason, line))
        facts = pa.record_batch([pa.array(clusters, pa.string())], names=[decided.fact])
        return Verdict.of(batch.num_rows, decisions, facts=facts)


def _decision(position: int, reason: str, line: dict[str, Any]) -> Decision:
    shown = ("similarity", "prompt_similarity", "response_similarity", "kept", "cluster")
    evidence = {name: line[name] for name in shown if line[name] is not None}
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


@lru_cache(maxsize=8)
def _open(file: str, modified: int) -> _Decided:
    """Map the file once per process; ``modified`` makes a file that was replaced a new one."""
    reader = pa.ipc.open_file(pa.memory_map(file))
    about = {key.decode(): value.decode() for key, value in reader.schema.metadata.items()}
    place = {(source, path): index for index, (source, path) in enumerate(orjson.loads(about["files"]))}
    return _Decided(reader, place, about["reason"], about["fact"])


@dataclass(frozen=True, slots=True)
class Clusters:
    """Every record that has a duplicate or is one. Records go by their number in the census."""

    member: Ints  # [m]
    kept: Ints  # [m] the kept record of the member's cluster: itself where the member is kept
    similarity: npt.NDArray[np.float64]  # [m, 3] whole, prompt, response; NaN where there is none


def settle(
    name: str, fact: str, reason: str, clusters: Clusters, census: Census, sketches: Sketches, max_cluster:
    int, findings: tuple[dict[str, Any], ...], summary: dict[str, Any],
) -> Resolved:  # fmt: skip
    """Write the decisions on the clusters' records into the sketches' scratch folder; return the stage."""
    by_place = np.lexsort((census.row[clusters.member], census.file[clusters.member]))
    clusters = Clusters(clusters.member[by_place], clusters.kept[by_place], clusters.similarity[by_place])
    ids = _ids(clusters.member, sketches)
    own = np.flatnonzero(clusters.member == clusters.kept)  # the kept records, in canonical order
    sizes = _sizes(clusters, own)
    file = sketches.scratch / f"{name}.decisions.arrow"
    _write(file, {"fact": fact, "reason": reason}, clusters, ids, census)
    large = own[sizes > max_cluster]
    if len(large):
        first = large[np.argsort(-sizes[sizes > max_cluster], kind="stable")][:_EXAMPLES]
        finding = {
            "reason": f"{name}/large-cluster",
            "severity": "warning",
            "message": f"{len(large)} clusters of over {max_cluster} records, the largest {sizes.max()}; "
            "see whether a template makes different records look alike",
            "count": len(large),
            "examples": [ids[index] for index in first.tolist()],
        }
        findings = (finding, *findings)
    totals = {
        "clusters": len(own),
        "dropped": len(clusters.member) - len(own),
        "largest_cluster": int(sizes.max(initial=0)),
    }
    return Resolved(name, str(file), findings, {**summary, **totals})


def _sizes(clusters: Clusters, own: Ints) -> Ints:
    """Return how many members the cluster of each kept record has: [len(own)]."""
    kept, counts = np.unique(clusters.kept, return_counts=True)
    return counts[np.searchsorted(kept, clusters.member[own])]


def _ids(member: Ints, sketches: Sketches) -> list[str]:
    """Read the ids of the members, and of no other record, in the members' order."""
    ids = np.empty(len(member), object)
    order = np.argsort(member)
    ordered = member[order]
    start = 0
    for part in sketches.parts:
        column = part.table(["id"]).column("id")
        first, last = np.searchsorted(ordered, (start, start + len(column)))
        ids[order[first:last]] = column.take(pa.array(ordered[first:last] - start)).to_pylist()
        start += len(column)
    return ids.tolist()


def _write(file: Path, about: dict[str, str], clusters: Clusters, ids: list[str], census: Census) -> None:
    files = census.file[clusters.member]
    starts = np.flatnonzero(np.diff(files, prepend=-1))
    named = [census.files[index] for index in files[starts].tolist()]
    schema = DECISIONS.with_metadata({**about, "files": orjson.dumps(named).decode()})
    place = dict(zip(clusters.member.tolist(), range(len(ids)), strict=True))
    unfinished = file.with_suffix(".tmp")
    with pa.OSFile(str(unfinished), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for start, end in pairwise([*starts.tolist(), len(ids)]):
            lines = [_line(index, clusters, ids, census, place) for index in range(start, end)]
            writer.write_batch(pa.RecordBatch.from_pylist(lines, schema))
    unfinished.replace(file)  # a reader that has the old file mapped keeps it


def _line(
    index: int, clusters: Clusters, ids: list[str], census: Census, place: dict[int, int]
) -> dict[str, Any]:
    member, kept = int(clusters.member[index]), int(clusters.kept[index])
    source, path = census.files[census.file[kept]]
    row = int(census.row[kept])
    name = hashlib.blake2b(f"{source}\0{path}\0{row}".encode(), digest_size=8).hexdigest()
    line: dict[str, Any] = {"row": int(census.row[member]), "cluster": name}
    if member != kept:
        whole, prompt, response = (None if math.isnan(s) else s for s in clusters.similarity[index].tolist())
        line |= {"similarity": whole, "prompt_similarity": prompt, "response_similarity": response}
        line |= {"kept_id": ids[place[kept]], "kept": locator(path, row)}
    return line
