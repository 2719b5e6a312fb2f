"""Near-duplicates: MinHash nominates pairs, exact Jaccard similarity decides, one of each cluster stays."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from curate import record
from curate.kernels import minhash, survivor, text
from curate.kernels.minhash import Bands, Screen
from curate.kernels.parts import On, Shingling
from curate.kernels.survivor import PREFER, PREFER_HELP, Preference
from curate.record import Batch
from curate.stage import Engine, Sketches
from curate.stages.dedup import deciding, nominated, resembling, screening, shuffle
from curate.stages.dedup.against import NO_PAIRS, AgainstOptions, Earlier
from curate.stages.dedup.candidates import Places
from curate.stages.dedup.comparing import All, How, Work, hold, represent
from curate.stages.dedup.resembling import Resembling
from curate.stages.dedup.resolved import Resolved, finish
from curate.stages.dedup.shuffle import Sliced

SIGNED = f"2.{text.SCHEME}.{minhash.SCHEME}"
"""What the signatures in an index depend on: raised with any change of theirs, and only then (as in exact)."""


class MinHash:
    """Drops every record that is similar enough to a record that is kept (barrier).

    Similarity is the exact Jaccard similarity of the records' shingle sets (n-grams of words), of prompt and
    response apart (``on``); what stands beside the turns, calls of tools and the reply that lost, must be the same.
    MinHash with banding finds the pairs worth comparing; none is dropped on its word. Clusters are made around kept
    records (:func:`curate.kernels.cluster.represent`), never through a chain.
    """

    name: ClassVar[str] = "minhash"
    version: ClassVar[str] = f"4.{survivor.SCHEME}.{text.SCHEME}.{minhash.SCHEME}"
    rules: ClassVar[tuple[str, ...]] = ()
    # That resolving holds at once if memory allows; else it takes more steps. 35 per key, of 18 (by default).
    bytes_per_record: ClassVar[int] = 630

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
        numbers: bool = Field(
            True,
            description="Whether similar conversations must have the same numbers, in digits 0 to 9, in each part that "
            "counts: type 1 and type 2, the first 5 and the first 10.",
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
            own = ("ngram", "on", "symbols", "numbers", "similarity", "recall", "num_perm", "seed")
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
        options = self.options
        return Shingling(options.ngram, options.on, options.symbols, options.numbers)

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
        return pa.schema([*bands, ("planes", several), *((view, several) for view in self.views)])

    @property
    def views(self) -> tuple[str, ...]:
        """The sets of a record, as an index names them."""
        return resembling.VIEWS if self.options.symbols else resembling.VIEWS[:2]

    def signatures(self, batch: Batch) -> pa.RecordBatch:
        """Return the shingle sets, each ascending."""
        return pa.record_batch(resembling.columns(self.shingling.sets(batch)), list(self.views))

    def resolve(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Find, verify and cluster.

        Maps with files between them: nomination (:mod:`curate.stages.dedup.nominated`), the screen
        (:mod:`curate.stages.dedup.screening`), and the comparison (:mod:`curate.stages.dedup.shares`), after which each
        share decides for itself. A task holds up to ``sketches.memory / engine.workers`` bytes; this process 8 bytes
        per candidate, or a quarter of the memory if that is less.
        """
        options, bands = self.options, _band_names(self.bands)
        with shuffle.room(sketches) as store:
            earlier = Earlier.of(options, engine)
            counts = nominated.sizes(sketches.parts, engine)
            records = sum(counts) + earlier.records
            cut = shuffle.plan(records, len(bands), sketches.memory, engine.workers, screening.BYTES)
            groups = earlier.behind(shuffle.grouped(sketches.parts, counts, cut.most), cut.most)
            found = nominated.nominate(groups, bands, cut, store, engine)
            places = Places.of(found, cut.memory // deciding.BYTES)
            places.save(store)
            how = How(
                self.shingling,
                self.views,
                options.similarity,
                options.max_bucket,
                options.prefer,
                options.max_cluster,
            )
            work = Work(how, found, cut, places, earlier, sketches.memory, engine)
            drawn = screening.planes(found, engine)
            held = All()
            gone: tuple[Sliced, ...] = ()
            if earlier.indexes:
                screened = screening.screen(found, drawn, self.screen.needed, engine, shared=True)
                held = work.compare(screened, hold)
                gone = resembling.gone(found, held.gone, engine)
            screened = screening.screen(found, drawn, self.screen.needed, engine, gone=gone)
            own = work.compare(screened, represent)
            totals = own.totals
            totals.add(held.totals)
            return finish(
                self.name,
                "cluster",
                "minhash/near-duplicate",
                sketches.store,
                places.files,
                totals,
                deciding.collected([*held.lines, *own.lines], places, store),
                (
                    *self._findings(own),
                    *Resembling(NO_PAIRS, held.capped, held.skipped).findings(options.max_bucket),
                ),
                self._summary(own, found.records, screened.met, int(screened.starts[-1])),
                earlier.releases,
            )

    def _summary(self, clustering: All, records: int, met: int, candidates: int) -> dict[str, Any]:
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

    def _findings(self, clustering: All) -> tuple[dict[str, Any], ...]:
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
