"""Semantic near-duplicates: an embedding model says what is alike; one record of each cluster stays."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field, PrivateAttr, ValidationInfo, model_validator

from curate import record
from curate.io.store import Store, scratch
from curate.kernels import survivor
from curate.kernels.parts import On
from curate.kernels.survivor import PREFER, PREFER_HELP, Census, Preference
from curate.record import Batch
from curate.stage import Engine, Sketches, SketchPart, StageOptions
from curate.stages.dedup import neighbours
from curate.stages.dedup import vectors as _vectors
from curate.stages.dedup.candidates import beside
from curate.stages.dedup.embeddings import Device, embedder, find, versions
from curate.stages.dedup.neighbours import Clustering, Ints, Search
from curate.stages.dedup.resolved import Clusters, Resolved, chosen, settle
from curate.stages.dedup.vectors import PARTS
from curate.stages.pinned import Pinned

# Nomination works on vectors that differ from those that verify: by 2 x 2^-11 of a product for two roundings to
# half precision on either side, by 10^-6 with a batch's make-up, by 10^-5 between a GPU and a CPU.
_MARGIN = 0.005
_EXAMPLES = 10  # ids that a finding names


class Semantic:
    """Drops every record that a kept record says the same as, in other words perhaps (barrier).

    Similarity is the cosine of the vectors that an embedding model gives, of prompt and response apart
    (``on``), and both must reach the threshold; calls of tools and lost replies must be the same. Vectors made in
    batches only nominate: each candidate is embedded again by itself, on the CPU, and those vectors decide, so the
    answer does not depend on batches, workers or the device. Clusters are made around kept records
    (:func:`curate.stages.dedup.neighbours.represent`), never through a chain.

    Above ``exhaustive`` records the search is approximate and what it nominates may, rarely, depend on the
    batches; the release states its recall.
    """

    name: ClassVar[str] = "semantic"
    version: ClassVar[str] = f"2.{survivor.SCHEME}.unicode{unicodedata.unidata_version}"
    rules: ClassVar[tuple[str, ...]] = ()
    bytes_per_record: ClassVar[int] = 30  # that resolving holds at once beside an index within --memory

    class Options(StageOptions):
        """Options of ``semantic``."""

        model: str = Field(
            min_length=1,
            description="Embedding model that sentence-transformers loads: a folder, relative to the recipe's, "
            "or a hub id.",
        )
        revision: str | None = Field(
            None, description="Branch, tag or commit of a model on the hub; none given: its main branch."
        )
        similarity: float = Field(
            0.95, gt=0, le=1, description="Records at or above this cosine are duplicates."
        )
        on: On = Field(
            "both",
            description="What of a conversation must be similar: prompt and response, one of them, or the "
            "whole as one text.",
        )
        same_numbers: bool = Field(
            True,
            description="Keep records that differ in a number written in digits, however similar: models see "
            "little of it.",
        )
        too_long: Literal["keep", "truncate"] = Field(
            "keep",
            description="Records with a text beyond the model's limit: keep them all, or compare what the "
            "model reads of them.",
        )
        batch_size: int = Field(32, ge=1, description="Texts embedded at once.")
        device: Device = Field(
            "auto", description="Where batches are embedded; auto takes a GPU if there is one."
        )
        exhaustive: int = Field(
            100_000,
            ge=0,
            description="Up to this many records, every pair is looked at; above, an index is used.",
        )
        recall: float = Field(
            0.99, gt=0, lt=1, description="Least share of neighbours at this similarity that the index finds."
        )
        prefer: tuple[Preference, ...] = Field(PREFER, description=PREFER_HELP)
        max_cluster: int = Field(1000, ge=2, description="A cluster of more records than this is reported.")

        _beside: Path = PrivateAttr(default=Path())

        @model_validator(mode="after")
        def _knows_its_folder(self, info: ValidationInfo) -> Semantic.Options:
            self._beside = Path((info.context or {}).get("folder", "."))
            return self

        def found(self) -> Pinned:
            """Find the model. Raises RecipeError where there is none, MissingExtra without its libraries."""
            return find(self.model, self.revision, self._beside)

        def fingerprint(self) -> str | None:
            """Return the model's commit on the hub or the SHA-256 of its files, and the libraries' versions.

            Raises as :meth:`found`.
            """
            return f"{self.found().fingerprint}; {versions()}"

        def notes(self) -> list[str]:
            """Return what the reader must know of the model and of what was not compared."""
            long = {
                "keep": "A record with a text longer than the model reads is not compared, and kept.",
                "truncate": "Of a text longer than the model reads, only the beginning counts.",
            }[self.too_long]
            numbers = "Records that differ in a number in digits are kept."
            return [
                f"Similar is what the embedding model {self.model} gives near vectors: a judgement learnt from "
                "data, not checked against readers'. The license of the model was not looked at.",
                f"{long}{f' {numbers}' if self.same_numbers else ''}",
            ]

    def __init__(self, options: Options) -> None:
        """Find the model, which workers then load by its commit. Raises RecipeError, MissingExtra."""
        self.options = options
        self._model = options.found()

    def carried(self, store: Store) -> Semantic:
        """Return the stage as workers on other machines can use it (curate.io.carried)."""
        found = copy(self)
        found._model = self._model.carried(store)
        return found

    def sketch(self, batch: Batch) -> pa.RecordBatch:
        """Return the survivor policy's columns, ``too_long``, and the parts' vectors, null where there is none."""
        model = embedder(self._model, self.options.device)
        sides = _vectors.sides(batch, self.options.on)
        long = np.zeros(batch.num_rows, bool)
        for texts in sides:
            long |= np.array(model.too_long(texts), bool)
        columns = dict(zip(survivor.COLUMNS.names, survivor.describe(batch), strict=True))
        columns["conversation"] = pa.array(np.full(batch.num_rows, record.kind(batch) == "messages"))
        columns["beside"], columns["too_long"] = beside(batch), pa.array(long)
        left_out = long & (self.options.too_long == "keep")
        for name, texts in zip(PARTS, sides, strict=True):
            wanted = np.array([bool(text) for text in texts], bool) & ~left_out
            columns[name] = _vectors.column(model, texts, wanted, self.options.batch_size)
        return pa.RecordBatch.from_pydict(columns)

    def resolve(self, sketches: Sketches, engine: Engine) -> Resolved:
        """Find, verify and cluster.

        Candidates are embedded on the workers; the search is this machine's alone. It holds about 30 bytes per
        record, an index of at most half the memory allowed, and then per candidate (a record with another near
        it) 60 bytes, and its vector where it is kept. On its own disk (TMPDIR) lie, per record, 2 bytes for each
        number of each part's vector and about 200 of the sketch, and per candidate 4 for each of both parts'.
        """
        truncate = self.options.too_long == "truncate"
        search, clustering, census = (
            None,
            Clustering.none(len(PARTS)),
            _census((), np.empty(0, np.int64), self.options),
        )
        store = sketches.store.child("candidates")
        with scratch() as folder:
            vectors = _vectors.gather(sketches.parts, truncate, folder)
            long, compared = vectors.long, vectors.compared
            if vectors.count:
                search, found = self._nominate(vectors, sketches.memory, engine.workers)
                census = _census(vectors.parts, np.flatnonzero(compared)[found], self.options)
                try:
                    clustering = self._represent(vectors, census, search, engine, store, folder)
                finally:
                    store.remove()
            findings = (*self._cut(np.flatnonzero(long), vectors.parts), *self._missed(search))
        summary = {"records": len(long), "too_long": int(long.sum()), "left_out": int((~compared).sum())}
        return settle(
            self.name,
            "semantic_cluster",
            "semantic/near-duplicate",
            _clusters(clustering, census.order),
            census,
            sketches,
            self.options.max_cluster,
            findings,
            {**summary, **(search.summary() if search else {}), "accepted_pairs": clustering.accepted},
        )

    def _nominate(self, vectors: _vectors.Gathered, memory: int, workers: int) -> tuple[Search, Ints]:
        """Return how neighbours were searched for, and the records that have any, as positions."""
        options, count, width = self.options, vectors.count, vectors.width
        radius, shard = options.similarity - _MARGIN, max(neighbours.BLOCK, memory // (8 * width))
        if count <= options.exhaustive:
            search = neighbours.exhaustive(width, workers)
        else:
            search = neighbours.inverted(vectors.read, count, width, options.similarity, options.recall)
            neighbours.measure(search, vectors.read, count, width, radius, shard)
        return search, neighbours.candidates(search, vectors.read, count, radius, shard)

    def _represent(
        self,
        gathered: _vectors.Gathered,
        census: Census,
        search: Search,
        engine: Engine,
        store: Store,
        folder: Path,
    ) -> Clustering:
        """Embed the candidates again, each by itself, and cluster them."""
        options = self.options
        how = _vectors.How(self._model, options.on, options.same_numbers)
        verified = _vectors.verified(gathered, census.record, census.order, how, engine, store, folder)
        read = _vectors.reader(verified, gathered.used)
        if len(census.order) <= options.exhaustive:
            search = neighbours.exhaustive(len(gathered.used) * verified.vectors.shape[2], engine.workers)
        return neighbours.represent(search, read, verified, options.similarity, options.similarity - _MARGIN)

    def _cut(self, long: Ints, parts: Sequence[SketchPart]) -> tuple[dict[str, Any], ...]:
        if not len(long):
            return ()
        tables = chosen(parts, long, ["id", *survivor.KEYS])
        keys = pa.concat_tables(tables).sort_by([(name, "ascending") for name in survivor.KEYS])
        done = {
            "keep": "they were not compared, and kept; too_long: truncate compares their beginnings",
            "truncate": "only their beginnings were compared",
        }[self.options.too_long]
        message = (
            f"{len(long)} records have a text longer than {self.options.model} reads; {done}, a model with "
        )
        finding = {
            "reason": "semantic/too-long",
            "severity": "warning",
            "message": f"{message}a higher limit compares them whole",
            "count": len(long),
            "examples": keys.column("id").to_pylist()[:_EXAMPLES],
        }
        return (finding,)

    def _missed(self, search: Search | None) -> tuple[dict[str, Any], ...]:
        if search is None or search.measured is None or search.measured >= self.options.recall:
            return ()
        message = (
            f"of {search.measured_on} records with a neighbour, the index found {search.measured:.1%}, fewer than "
            f"the {self.options.recall:.1%} asked for; a higher recall or exhaustive finds more"
        )
        finding = {
            "reason": "semantic/low-recall",
            "severity": "warning",
            "message": message,
            "count": round(search.measured_on * (1 - search.measured)),
            "examples": [],
        }
        return (finding,)


def _census(parts: Sequence[SketchPart], records: Ints, options: Semantic.Options) -> Census:
    tables = chosen(parts, records, [*survivor.KEYS, *survivor.COLUMNS.names])
    return Census.take(records, tables, options.prefer)


def _clusters(clustering: Clustering, records: Ints) -> Clusters:
    """Name the records that were dropped, and those kept because of which they were."""
    dropped = np.flatnonzero(clustering.kept_by >= 0)
    kept = np.unique(clustering.kept_by[dropped])
    parts = clustering.similarity[dropped]
    whole = np.where(np.isnan(parts), 1.0, parts).min(axis=1, initial=1.0)
    similarity = np.full((len(kept) + len(dropped), 3), np.nan)
    similarity[len(kept) :] = np.column_stack([whole, parts])
    return Clusters(
        records[np.concatenate([kept, dropped])],
        records[np.concatenate([kept, clustering.kept_by[dropped]])],
        similarity,
    )
