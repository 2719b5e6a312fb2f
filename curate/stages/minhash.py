"""Near-duplicates: MinHash nominates pairs, exact Jaccard similarity decides, one of each cluster stays."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from curate import record
from curate.kernels import cluster, minhash, sets, survivor, text
from curate.kernels.cluster import Buckets, Clustering
from curate.kernels.minhash import Bands, Screen
from curate.kernels.parts import On, Sets, Shingling
from curate.kernels.survivor import PREFER, PREFER_HELP, Census, Preference
from curate.kernels.text import Hashes, Offsets
from curate.record import Batch
from curate.stage import Engine, Sketches, SketchPart
from curate.stages import _resembling
from curate.stages._resembling import Resembling, Rule
from curate.stages.against import AgainstOptions, Earlier
from curate.stages.nominated import ReadBack, nominate, read_back
from curate.stages.resolved import Clusters, Resolved, chosen, settle

Ints = npt.NDArray[np.int64]

SIGNED = f"1.{text.SCHEME}.{minhash.SCHEME}"
"""What the signatures in an index depend on: raised with any change of theirs, and only then (as in exact)."""


class MinHash:
    """Drops every record that is similar enough to a record that is kept (barrier).

    Similarity is the exact Jaccard similarity of the records' shingle sets (n-grams of words), of prompt and
    response apart (``on``). MinHash with banding finds the pairs worth comparing; none is dropped on its
    word. Clusters are made around kept records (:func:`curate.kernels.cluster.represent`), never through a
    chain.
    """

    name: ClassVar[str] = "minhash"
    version: ClassVar[str] = f"3.{survivor.SCHEME}.{text.SCHEME}.{minhash.SCHEME}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = 30  # that resolving holds at once of a record that is no candidate

    class Options(AgainstOptions):
        """Options of ``minhash``."""

        stage: ClassVar[str] = "minhash"

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
        symbols: bool = Field(
            True,
            description="Whether similar records must be so with every symbol taken as a word, too: puzzles, sums "
            "and code may differ in nothing else.",
        )
        max_bucket: int = Field(
            1000,
            ge=1,
            description="Most kept records of one bucket that a record is compared with; rest counted.",
        )
        prefer: tuple[Preference, ...] = Field(PREFER, description=PREFER_HELP)
        max_cluster: int = Field(1000, ge=2, description="A cluster of more records than this is reported.")

        @model_validator(mode="after")
        def _solvable(self) -> MinHash.Options:
            minhash.solve(self.similarity, self.recall, self.num_perm)
            return self

        def scheme(self) -> dict[str, Any]:
            """Return what band keys and shingle sets depend on."""
            bands, rows = minhash.solve(self.similarity, self.recall, self.num_perm)
            own = ("ngram", "on", "symbols", "similarity", "recall", "num_perm", "seed")
            made_of = {name: getattr(self, name) for name in own}
            return {"version": SIGNED, **made_of, "bands": bands, "rows": rows}

    def __init__(self, options: Options) -> None:
        self.options = options

    @property
    def bands(self) -> Bands:
        """Bands and rows, solved from similarity, recall and num_perm."""
        return minhash.solve(self.options.similarity, self.options.recall, self.options.num_perm)

    @property
    def screen(self) -> Screen:
        """What candidates must have in common to be read again."""
        return minhash.screen(self.options.similarity, self.options.num_perm)

    def s_curve(self) -> list[tuple[float, float]]:
        """Return the chance to become a candidate at several similarities."""
        return minhash.s_curve(self.bands.bands, self.bands.rows)

    @property
    def shingling(self) -> Shingling:
        """How records are cut into shingles."""
        return Shingling(self.options.ngram, self.options.on, self.options.symbols)

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return the survivor policy's columns and one 64-bit key per band: ``band_00``, ``band_01``, …"""
        options, cut = self.options, self.bands
        keys, planes = self.shingling.band_keys(
            batch, options.similarity, cut, options.num_perm, options.seed
        )
        conversation = pa.array(np.full(batch.num_rows, record.kind(batch) == "messages"))
        columns = {name: pa.array(keys[band]) for band, name in enumerate(_band_names(cut))}
        described = dict(zip(survivor.COLUMNS.names, survivor.describe(batch), strict=True))
        # Not of a fixed size: that must be positive, and fewer than 64 permutations have no planes.
        ends = np.arange(batch.num_rows + 1, dtype=np.int32) * np.int32(planes.shape[1])
        columns["planes"] = pa.ListArray.from_arrays(pa.array(ends), pa.array(planes.ravel()))
        return pa.RecordBatch.from_pydict({**described, "conversation": conversation, **columns})

    @property
    def indexed(self) -> pa.Schema:
        """Return what an index keeps of a record: band keys, bits of the minima, and the shingle sets."""
        several = pa.list_(pa.uint64())
        bands = [(name, pa.uint64()) for name in _band_names(self.bands)]
        return pa.schema([*bands, ("planes", several), *((view, several) for view in self._views)])

    @property
    def _views(self) -> tuple[str, ...]:
        return _resembling.VIEWS if self.options.symbols else _resembling.VIEWS[:2]

    def signatures(self, batch: Batch) -> pa.RecordBatch:
        """Return the shingle sets, each ascending."""
        return pa.record_batch(_resembling.columns(self.shingling.sets(batch)), list(self._views))

    def resolve(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Find, verify and cluster.

        Holds about 30 bytes per record, or what ``sketches.memory`` allows if that is less, then per candidate
        (a record that shares a band key with another and passes the screen) some 400 bytes and its shingle
        sets, 8 bytes per different shingle: in memory up to a quarter of that budget, else in a mapped file.
        """
        parts = sketches.parts
        records = sum(part.table(["_row"]).num_rows for part in parts)
        earlier = Earlier.of(self.options, parts, records, engine)
        with tempfile.TemporaryDirectory(dir=sketches.store.path) as scratch:
            folder = Path(scratch)
            found = nominate(
                earlier.parts, earlier.total, _band_names(self.bands), sketches.memory, engine, folder
            )
            held, found = self._held(earlier, found, sketches, engine, folder)
            met, candidates, found = _screened(parts, records, found, self.screen.needed)
            columns = [*survivor.KEYS, *survivor.COLUMNS.names]
            census = Census.take(candidates, chosen(parts, candidates, columns), self.options.prefer)
            place = np.empty(len(candidates), np.int64)
            place[census.order] = np.arange(len(candidates))
            names = read_back(parts, candidates, _write_sets, engine, folder, self.shingling)
            shingled = sets.join(folder, names, sketches.memory // 4)
            in_order = Sets(shingled.hashes, shingled.bounds[census.order], shingled.bitmaps[census.order])
            clustering = cluster.represent(
                found.members,
                found.ends,
                place,
                in_order,
                self.options.similarity,
                self.options.max_bucket,
                engine.workers,
            )
        return settle(
            self.name,
            "cluster",
            "minhash/near-duplicate",
            _clusters(clustering, census.order, in_order.bounds),
            census,
            sketches,
            self.options.max_cluster,
            (*self._findings(clustering), *held.findings(self.options.max_bucket)),
            self._summary(clustering, records, met, len(candidates)),
            earlier.decided(held.pairs),
        )

    def _held(
        self, earlier: Earlier, found: Buckets, sketches: Sketches, engine: Engine, scratch: Path
    ) -> tuple[Resembling, Buckets]:
        """Compare with the records of earlier releases; return the run's buckets without what these hold."""
        shared, found = earlier.split(found)
        folder = scratch / "earlier"
        folder.mkdir()
        _, numbers, shared = _screened(earlier.parts, earlier.total, shared, self.screen.needed)
        rule = Rule(self.options.similarity, self.options.max_bucket, self._views, sketches.memory // 4)
        held = _resembling.similar(
            earlier,
            numbers,
            shared,
            lambda own: read_back(earlier.own, own, _write_sets, engine, folder, self.shingling),
            rule,
            engine,
            folder,
        )
        return held, earlier.left(found, held.pairs)

    def _summary(self, clustering: Clustering, records: int, met: int, candidates: int) -> dict[str, Any]:
        cut = self.bands
        return {
            "records": records,
            "bands": cut.bands,
            "rows": cut.rows,
            "predicted_recall": cut.probability(self.options.similarity) * (1 - self.screen.loss),
            "s_curve": self.s_curve(),
            "met": met,
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


def _screened(
    parts: Sequence[SketchPart], records: int, found: Buckets, needed: int
) -> tuple[int, Ints, Buckets]:
    """Screen the records that share a bucket: return how many those are, and of what is left the numbers.

    In the buckets, members are indices of these numbers.
    """
    mark = np.zeros(records, bool)
    mark[found.members] = True
    met = np.flatnonzero(mark)
    index = np.empty(records, np.uint32)
    index[met] = np.arange(len(met), dtype=np.uint32)
    found = Buckets(index[found.members], found.ends)
    tables = [_planes(table) for table in chosen(parts, met, ["planes"])]
    if not tables or not tables[0].shape[1]:
        return len(met), met, found
    found, stays = cluster.screened(found, np.concatenate(tables), needed)
    place = (np.cumsum(stays) - 1).astype(np.uint32)
    return len(met), met[stays], Buckets(place[found.members], found.ends)


def _planes(table: pa.Table) -> Hashes:
    column = table.column("planes").combine_chunks()
    return np.asarray(column.flatten()).reshape(len(column), -1)


def _write_sets(task: ReadBack) -> None:
    sets.write(Path(task.folder), task.name, starmap(task.what.sets, task.batches()))


def _clusters(clustering: Clustering, order: Ints, bounds: Offsets) -> Clusters:
    """Name the records that were dropped, and those kept because of which they were."""
    dropped = np.flatnonzero(clustering.kept_by >= 0)
    kept = np.unique(clustering.kept_by[dropped])
    parts = np.where(np.diff(bounds[dropped, :3], axis=1) > 0, clustering.similarity[dropped], np.nan)
    whole = clustering.similarity[dropped].min(axis=1, initial=1.0)
    similarity = np.full((len(kept) + len(dropped), 3), np.nan)
    similarity[len(kept) :] = np.column_stack([whole, parts])
    return Clusters(
        order[np.concatenate([kept, dropped])],
        order[np.concatenate([kept, clustering.kept_by[dropped]])],
        similarity,
    )
