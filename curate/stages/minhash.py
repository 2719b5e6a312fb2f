"""Near-duplicates: MinHash nominates pairs, exact Jaccard similarity decides, one of each cluster stays."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate import record
from curate.kernels import cluster, minhash, sets, survivor, text
from curate.kernels.cluster import Buckets, Clustering
from curate.kernels.minhash import Bands
from curate.kernels.parts import On, Shingling
from curate.kernels.survivor import Census
from curate.kernels.text import Hashes, Offsets
from curate.record import Batch
from curate.stage import Engine, Sketches, SketchPart, StageOptions
from curate.stages.resolved import Clusters, Resolved, settle

Ints = npt.NDArray[np.int64]


class MinHash:
    """Drops every record that is similar enough to a record that is kept (barrier).

    Similarity is the exact Jaccard similarity of the records' shingle sets (n-grams of words), of prompt and
    response apart (``on``). MinHash with banding finds the pairs worth comparing; none is dropped on its
    word. Clusters are made around kept records (:func:`curate.kernels.cluster.represent`), never through a
    chain.
    """

    name: ClassVar[str] = "minhash"
    version: ClassVar[str] = f"2.{survivor.SCHEME}.{text.SCHEME}.{minhash.SCHEME}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = 80  # that resolving holds at once of a record that is no candidate

    class Options(StageOptions):
        """Options of ``minhash``."""

        similarity: float = Field(
            0.8, gt=0, le=1, description="Records at or above this exact Jaccard similarity are duplicates."
        )
        recall: float = Field(
            0.95, gt=0, lt=1, description="Least chance that a pair AT this similarity is found and compared."
        )
        ngram: int = Field(5, ge=1, le=64, description="Words per shingle.")
        num_perm: int = Field(
            128, ge=1, le=4096, description="Most MinHash permutations to spend per record."
        )
        seed: int = Field(1, ge=0, lt=2**32, description="Seed of the permutations.")
        on: On = Field(
            "both",
            description="What of a conversation must be similar: prompt and response, one of them, or the "
            "whole as one text.",
        )
        max_bucket: int = Field(
            1000,
            ge=1,
            description="Most kept records of one bucket that a record is compared with; rest counted.",
        )
        max_cluster: int = Field(1000, ge=2, description="A cluster of more records than this is reported.")

        @model_validator(mode="after")
        def _solvable(self) -> MinHash.Options:
            minhash.solve(self.similarity, self.recall, self.num_perm)
            return self

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def bands(self) -> Bands:
        """Bands and rows, solved from similarity, recall and num_perm."""
        return minhash.solve(self.options.similarity, self.options.recall, self.options.num_perm)

    def s_curve(self) -> list[tuple[float, float]]:
        """Return the chance to become a candidate at several similarities."""
        return minhash.s_curve(self.bands.bands, self.bands.rows)

    @property
    def shingling(self) -> Shingling:
        """How records are cut into shingles."""
        return Shingling(self.options.ngram, self.options.on)

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return the survivor policy's columns and one 64-bit key per band: ``band_00``, ``band_01``, …"""
        options, cut = self.options, self.bands
        signatures, digests = self.shingling.sketch(
            batch, options.similarity, options.num_perm, options.seed, keep=cut.bands * cut.rows
        )
        keys = minhash.band_keys(signatures, digests, cut)
        conversation = pa.array(np.full(batch.num_rows, record.kind(batch) == "messages"))
        columns = {name: pa.array(keys[band]) for band, name in enumerate(_band_names(cut))}
        described = dict(zip(survivor.COLUMNS.names, survivor.describe(batch), strict=True))
        return pa.RecordBatch.from_pydict({**described, "conversation": conversation, **columns})

    def resolve(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Find, verify and cluster.

        Holds about 80 bytes per record, then per candidate (a record that shares a band key with another)
        some 10 bytes per band; the candidates' shingle sets lie in a mapped file, 8 bytes per different
        shingle.
        """
        parts = sketches.parts
        census = Census.take(part.table([*survivor.KEYS, *survivor.COLUMNS.names]) for part in parts)
        with tempfile.TemporaryDirectory(dir=sketches.scratch) as folder:
            nominated = _nominate(parts, census, _band_names(self.bands), Path(folder))
            hashes, bounds = _shingle_sets(parts, nominated.record, self.shingling, engine, Path(folder))
            clustering = cluster.represent(
                nominated.membership,
                nominated.buckets,
                hashes,
                bounds,
                self.options.similarity,
                self.options.max_bucket,
            )
        return settle(
            self.name,
            "cluster",
            "minhash/near-duplicate",
            _clusters(clustering, nominated.record, bounds),
            census,
            sketches,
            self.options.max_cluster,
            self._findings(clustering),
            self._summary(clustering, len(census.order), len(nominated.record)),
        )

    def _summary(self, clustering: Clustering, records: int, candidates: int) -> dict[str, Any]:
        cut = self.bands
        return {
            "records": records,
            "bands": cut.bands,
            "rows": cut.rows,
            "predicted_recall": cut.probability(self.options.similarity),
            "s_curve": self.s_curve(),
            "candidates": candidates,
            "verified_pairs": clustering.verified,
            "accepted_pairs": clustering.accepted,
            "capped_buckets": clustering.capped,
            "skipped_comparisons": clustering.skipped,
        }

    def _findings(self, clustering: Clustering) -> tuple[dict[str, Any], ...]:
        if not clustering.capped:
            return ()
        message = (
            f"in {clustering.capped} buckets of look-alikes, {clustering.skipped} comparisons were left out: "
            f"a record is compared with {self.options.max_bucket} kept records per bucket. A near-duplicate "
            "may have been kept; a larger max_bucket compares more"
        )
        return (
            {
                "reason": "minhash/capped-bucket",
                "severity": "warning",
                "message": message,
                "count": clustering.capped,
                "examples": [],
            },
        )


def _band_names(cut: Bands) -> list[str]:
    return [f"band_{band:02d}" for band in range(cut.bands)]


@dataclass(frozen=True, slots=True)
class _Nominated:
    """The candidates: records that share a bucket with another, in policy order."""

    record: Ints  # [c] numbers in the census
    membership: Buckets  # [c, bands] bucket of each record per band, -1 for none
    buckets: Ints  # [bands] buckets per band


def _nominate(parts: Sequence[SketchPart], census: Census, names: list[str], folder: Path) -> _Nominated:
    """Group records by band keys, one band at a time; what a band gives waits on disk."""
    together = np.zeros(len(census.order), bool)
    counts = np.zeros(len(names), np.int64)
    for band, name in enumerate(names):
        keys = [part.table([name]).column(name).to_numpy() for part in parts]
        grouped = cluster.buckets(np.concatenate([np.empty(0, np.uint64), *keys])[census.order])
        together |= grouped != cluster.ALONE
        counts[band] = grouped.max(initial=-1) + 1
        np.save(folder / f"{name}.npy", grouped)
    chosen = np.flatnonzero(together)
    membership = np.empty((len(chosen), len(names)), np.int32)
    for band, name in enumerate(names):
        membership[:, band] = np.load(folder / f"{name}.npy", mmap_mode="r")[chosen]
        (folder / f"{name}.npy").unlink()
    return _Nominated(census.order[chosen], membership, counts)


@dataclass(frozen=True, slots=True)
class _SetsTask:
    """Read one part's candidates back and write their shingle sets."""

    part: SketchPart
    conversations: bool
    folder: str
    name: str
    shingling: Shingling


def _write_sets(task: _SetsTask) -> None:
    folder = Path(task.folder)
    rows = np.load(folder / f"{task.name}.rows.npy")
    batches = task.part.records(["messages" if task.conversations else "text"])
    sets.write(folder, task.name, batches, rows, task.shingling)


def _shingle_sets(
    parts: Sequence[SketchPart], wanted: Ints, shingling: Shingling, engine: Engine, folder: Path
) -> tuple[Hashes, Offsets]:
    """Return the shingle sets of the wanted records, and bounds [len(wanted), VIEWS + 1] in their order.

    Arrays travel to the workers and back through the folder.
    """
    ordered = np.sort(wanted)
    tasks: list[_SetsTask] = []
    start = 0
    for index, part in enumerate(parts):
        kinds = part.table(["conversation"]).column("conversation")
        rows = ordered[slice(*np.searchsorted(ordered, (start, start + len(kinds))))] - start
        start += len(kinds)
        if len(rows):
            name = f"part-{index:06d}"
            np.save(folder / f"{name}.rows.npy", rows)
            tasks.append(_SetsTask(part, kinds[0].as_py(), str(folder), name, shingling))
    if not tasks:
        return np.empty(0, np.uint64), np.zeros((0, sets.VIEWS + 1), np.int64)
    for _ in engine.map(_write_sets, tasks):
        pass
    hashes, bounds = sets.join(folder, [task.name for task in tasks])
    return hashes, bounds[np.searchsorted(ordered, wanted)]


def _clusters(clustering: Clustering, records: Ints, bounds: Offsets) -> Clusters:
    """Name the records that were dropped, and those kept because of which they were."""
    dropped = np.flatnonzero(clustering.kept_by >= 0)
    kept = np.unique(clustering.kept_by[dropped])
    parts = np.where(np.diff(bounds[dropped, :3], axis=1) > 0, clustering.similarity[dropped], np.nan)
    whole = clustering.similarity[dropped].min(axis=1, initial=1.0)
    similarity = np.full((len(kept) + len(dropped), 3), np.nan)
    similarity[len(kept) :] = np.column_stack([whole, parts])
    return Clusters(
        records[np.concatenate([kept, dropped])],
        records[np.concatenate([kept, clustering.kept_by[dropped]])],
        similarity,
    )
