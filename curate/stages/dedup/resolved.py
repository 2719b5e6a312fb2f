"""What a deduplicating barrier resolves to: a stage that looks each record's fate up in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.io.store import Store
from curate.kernels.survivor import Census
from curate.record import Batch
from curate.stage import Decision, Sketches, SketchPart, Verdict
from curate.stages.dedup import decisions
from curate.stages.dedup.deciding import Clusters, Totals, decide
from curate.stages.dedup.decisions import DECISIONS, MEMBERS, SIMILARITIES, Decided, Ints

__all__ = ["DECISIONS", "MEMBERS", "OF_RELEASE", "Clusters", "Resolved", "chosen", "finish", "settle"]

OF_RELEASE = "-of-release"  # ends the reason of a drop whose kept record an earlier release holds


@dataclass
class Resolved:
    """A resolved barrier. ``judge`` needs the file; ``findings`` and ``summary`` are for whoever runs it.

    The file (:mod:`curate.stages.dedup.decisions`) holds every record of every cluster. Its bytes depend on the
    records alone, not on the order of files, batches, workers or memory.
    """

    name: str
    store: Store
    findings: tuple[dict[str, Any], ...] = ()
    summary: dict[str, Any] = field(default_factory=dict)
    flags: str | None = (
        None  # file in the store of records to flag (curate.stages.dedup.conflicts), where there are any
    )

    @property
    def file(self) -> str:
        """Return the local path of the file. Raises ValueError where there is none."""
        return str(self.store.path / self._name)

    @property
    def _name(self) -> str:
        return f"{self.name}.decisions.arrow"

    def _decided(self, name: str | None = None) -> Decided:
        name = name or self._name
        modified = 0 if self.store.is_remote else (self.store.path / name).stat().st_mtime_ns
        return decisions.decided(self.store, name, modified)

    def members(self) -> Iterator[pa.RecordBatch]:
        """Yield the records of all clusters, in batches of MEMBERS of one input file each, files and rows ascending."""
        decided = self._decided()
        roots = pa.array([release["root"] for release in decided.releases], pa.string())
        for index, (source, path) in enumerate(decided.files):
            batch = decided.batch(index)
            places = [pa.repeat(pa.scalar(name), batch.num_rows) for name in (source, path)]
            released = roots.take(batch.column("release"))
            yield pa.record_batch([*places, *batch.columns[:-1], released], schema=MEMBERS)

    def at(self, store: Store) -> Resolved:
        """Return the stage for a store that lies elsewhere now."""
        return replace(self, store=store)

    def judge(self, batch: Batch) -> Verdict:
        """Drop the records that the file names as duplicates; state the clusters of all."""
        decided = self._decided()
        clusters = np.full(batch.num_rows, None, object)
        found: list[Decision] = []
        for key, positions in _by_file(batch):
            rows = batch.column("_row").to_numpy()[positions]
            for hit, lines in decided.lines(key, rows):
                for position, line in zip(positions[hit].tolist(), lines, strict=True):
                    clusters[position] = line["cluster"]
                    if line["kept_id"] is not None:
                        found.append(_decision(position, decided, line))
        found += self._flagged(batch, {decision.row for decision in found})
        facts = pa.record_batch([pa.array(clusters, pa.string())], names=[decided.fact])
        return Verdict.of(batch.num_rows, found, facts=facts)

    def _flagged(self, batch: Batch, dropped: set[int]) -> Iterator[Decision]:
        """Yield the flags on the records that stay."""
        if self.flags is None:
            return
        decided = self._decided(self.flags)
        for key, positions in _by_file(batch):
            rows = batch.column("_row").to_numpy()[positions]
            for hit, lines in decided.lines(key, rows):
                for position, line in zip(positions[hit].tolist(), lines, strict=True):
                    if position not in dropped:
                        evidence = {name: line[name] for name in ("prompt", "claims", "other")}
                        yield Decision(position, "flag", decided.reason, None, evidence)


def _decision(position: int, decided: Decided, line: dict[str, Any]) -> Decision:
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


def chosen(parts: Sequence[SketchPart], records: Ints, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the chosen records (numbers over all parts, ascending) of each part that has any."""
    start = 0
    for part in parts:
        table = part.table(columns)
        first, last = np.searchsorted(records, (start, start + table.num_rows))
        if first < last:
            yield table.take(pa.array(records[first:last] - start))
        start += table.num_rows


def finish(
    name: str,
    fact: str,
    reason: str,
    store: Store,
    files: Sequence[tuple[str, str]],
    totals: Totals,
    tables: Iterable[pa.Table],
    findings: tuple[dict[str, Any], ...],
    summary: dict[str, Any],
    releases: Sequence[dict[str, Any]] = (),
) -> Resolved:
    """Write the decisions (decisions.LINES, in canonical order) into the store; return the stage.

    releases: of each the name, version, root and number of records.
    """
    about = [{key: one[key] for key in ("name", "version", "root")} for one in releases]
    metadata = {"fact": fact, "reason": reason, "releases": orjson.dumps(about).decode()}
    found = Resolved(name, store, (*totals.findings(name), *findings), {**summary, **totals.summary()})
    decisions.write(store, f"{name}.decisions.arrow", metadata, files, totals.lines, tables)
    if releases:
        held = [{**one, "dropped": totals.held[number]} for number, one in enumerate(releases)]
        found.summary["against"] = held
    return found


def settle(
    name: str, fact: str, reason: str, clusters: Clusters, census: Census, sketches: Sketches, max_cluster: int,
    findings: tuple[dict[str, Any], ...], summary: dict[str, Any],
) -> Resolved:  # fmt: skip
    """Decide on clusters that one process holds (indices into the census), and write that as :func:`finish` does."""
    members, index = np.unique(np.concatenate([clusters.member, clusters.kept]), return_inverse=True)
    member, kept = np.split(index, [len(clusters.member)])
    order = np.argsort(census.record[members])
    tables = [table.column("id") for table in chosen(sketches.parts, census.record[members][order], ["id"])]
    ids = pa.chunked_array([chunk for table in tables for chunk in table.chunks], pa.string())
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    rows = pa.record_batch(
        {
            "file": pa.array(census.file[members]),
            "row": pa.array(census.row[members]),
            "id": ids.combine_chunks().take(pa.array(back)),
        }
    )
    lines, totals = decide(rows, Clusters(member, kept, clusters.similarity), census.files, max_cluster)
    return finish(
        name, fact, reason, sketches.store, census.files, totals, [lines], findings, summary
    )  # fmt: skip
