"""Decisions on the records of clusters: made where the records were compared, then merged in canonical order."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate.io.store import Store
from curate.kernels.cluster import Ints
from curate.record import locator
from curate.stages.dedup import shuffle
from curate.stages.dedup.candidates import Places
from curate.stages.dedup.decisions import FILE, LINES, SIMILARITIES
from curate.stages.dedup.shuffle import Sliced

EXAMPLES = 10  # ids that a finding names
BYTES = 250  # of a decision at work, ids and locators with it: an estimate

Files = Sequence[tuple[str, str]]


class Clusters(NamedTuple):
    """Every record that has a duplicate or is one. Records go by their index in a table of ROWS."""

    member: Ints  # [m]
    kept: Ints  # [m] the kept record of the member's cluster: itself where the member is kept
    similarity: npt.NDArray[np.float64]  # [m, 3] whole, prompt, response; NaN where there is none


@dataclass
class Totals:
    """What clusters come to. Those of several tasks add up."""

    max_cluster: int
    clusters: int = 0
    dropped: int = 0
    largest: int = 0
    large: int = 0  # clusters of over max_cluster records
    examples: list[tuple[int, int, int, str]] = field(default_factory=list)  # of these, largest first
    overlap: Counter[tuple[str, str]] = field(
        default_factory=Counter
    )  # dropped, by own and kept record's source
    held: Counter[int] = field(default_factory=Counter)  # dropped, by the release that holds it
    lines: Counter[int] = field(default_factory=Counter)  # decisions, by file

    def add(self, other: Totals) -> None:
        """Add what other records' clusters come to."""
        for name in ("clusters", "dropped", "large"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = max(self.largest, other.largest)
        self.examples = sorted([*self.examples, *other.examples])[:EXAMPLES]
        for name in ("overlap", "held", "lines"):
            getattr(self, name).update(getattr(other, name))

    def summary(self) -> dict[str, Any]:
        """Return what the manifest tells."""
        overlap = [
            {"source": a, "kept_source": b, "records": count}
            for (a, b), count in sorted(self.overlap.items())
        ]
        return {
            "clusters": self.clusters,
            "dropped": self.dropped,
            "largest_cluster": self.largest,
            "overlap": overlap,
        }

    def findings(self, name: str) -> tuple[dict[str, Any], ...]:
        """Return a finding if there are large clusters."""
        if not self.large:
            return ()
        finding = {
            "reason": f"{name}/large-cluster",
            "severity": "warning",
            "message": f"{self.large} clusters of over {self.max_cluster} records, the largest {self.largest}; "
            "see whether a template makes different records look alike",
            "count": self.large,
            "examples": [record for *_, record in self.examples],
        }
        return (finding,)


def decide(
    rows: pa.RecordBatch, clusters: Clusters, files: Files, max_cluster: int
) -> tuple[pa.Table, Totals]:
    """Return the decisions on the clusters' records, in canonical order, and what they come to.

    rows: curate.stages.dedup.candidates.ROWS, or at least file, row and id of them.
    """
    file, row = (rows.column(name).to_numpy() for name in ("file", "row"))
    clusters = Clusters(*_ordered(clusters, file, row))
    is_kept = clusters.member == clusters.kept
    lines = _lines(rows, clusters, files)
    own = clusters.member[is_kept]
    kept, counts = np.unique(clusters.kept, return_counts=True)
    sizes = counts[np.searchsorted(kept, own)]
    large = np.flatnonzero(sizes > max_cluster)
    first = large[np.argsort(-sizes[large], kind="stable")][:EXAMPLES]
    at = own[first]
    ids = rows.column("id").take(pa.array(at)).to_pylist()
    totals = Totals(
        max_cluster, len(own), len(clusters.member) - len(own), int(sizes.max(initial=0)), len(large)
    )
    totals.examples = list(
        zip((-sizes[first]).tolist(), file[at].tolist(), row[at].tolist(), ids, strict=True)
    )
    pairs, counts = np.unique(
        np.stack([file[clusters.member[~is_kept]], file[clusters.kept[~is_kept]]]), axis=1, return_counts=True
    )
    for (a, b), count in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        totals.overlap[files[a][0], files[b][0]] += count
    count_lines(totals, lines)
    return lines, totals


def count_lines(totals: Totals, lines: pa.Table) -> None:
    """Count decisions by file."""
    numbers, counts = np.unique(lines.column(FILE).to_numpy(), return_counts=True)
    totals.lines.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))


def _ordered(clusters: Clusters, file: Ints, row: Ints) -> Iterator[Any]:
    order = np.lexsort((row[clusters.member], file[clusters.member]))
    return (array[order] for array in clusters)


def _lines(rows: pa.RecordBatch, clusters: Clusters, files: Files) -> pa.Table:
    file, row = (rows.column(name).to_numpy() for name in ("file", "row"))
    kept, of = np.unique(clusters.kept, return_inverse=True)
    places = list(zip([files[n] for n in file[kept].tolist()], row[kept].tolist(), strict=True))
    names = marked(f"{source}\0{path}\0{number}" for (source, path), number in places)
    locators = pa.array([locator(path, number) for (_, path), number in places], pa.string())
    is_kept = clusters.member == clusters.kept
    columns = {
        FILE: pa.array(file[clusters.member]),
        "row": pa.array(row[clusters.member]),
        "id": rows.column("id").take(pa.array(clusters.member)),
        "kept_id": rows.column("id").take(pa.array(clusters.kept, mask=is_kept)),
        "kept": locators.take(pa.array(of, mask=is_kept)),
        "cluster": names.take(pa.array(of)),
        "release": pa.nulls(len(of), pa.int32()),
        **similarities(clusters.similarity, is_kept),
    }
    return pa.table([columns[name] for name in LINES.names], schema=LINES)


def similarities(found: npt.NDArray[np.float64], without: npt.NDArray[np.bool_]) -> dict[str, pa.Array]:
    """Return the columns of similarities [m, 3], null where there is none."""
    masks = (without | np.isnan(column) for column in found.T)
    return {
        name: pa.array(column, mask=mask)
        for name, column, mask in zip(SIMILARITIES, found.T, masks, strict=True)
    }


def marked(marks: Iterable[str]) -> pa.StringArray:
    """Return names of clusters, made of what tells their kept records from all others."""
    return pa.array(
        [hashlib.blake2b(mark.encode(), digest_size=8).hexdigest() for mark in marks], pa.string()
    )


def leave(lines: pa.Table, places: Places, store: Store, name: str) -> Sliced:
    """Write decisions, in canonical order, by range."""
    file, row = (lines.column(column).to_numpy() for column in (FILE, "row"))
    cuts = places.cuts(file, row)
    with shuffle.slicing(store, name) as out:
        for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
            out.add(*([_bytes(lines.slice(start, stop - start))] if start < stop else []))
    return out.done()


def _bytes(lines: pa.Table) -> npt.NDArray[np.uint8]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, lines.schema) as writer:
        writer.write_table(lines)
    return np.frombuffer(sink.getvalue(), np.uint8)


def collected(left: Sequence[Sliced], places: Places, store: Store) -> Iterator[pa.Table]:
    """Yield all decisions in canonical order, a range at a time."""
    for number in range(places.ranges):
        tables = []
        for one in shuffle.across(left, number):
            if len(content := one.read(store)):
                tables.append(pa.ipc.open_stream(pa.py_buffer(content)).read_all())
        if tables:
            lines = pa.concat_tables(tables)
            order = np.lexsort((lines.column("row").to_numpy(), lines.column(FILE).to_numpy()))
            yield lines.take(pa.array(order)).combine_chunks()
