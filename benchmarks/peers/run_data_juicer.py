"""Data-Juicer's document_minhash_deduplicator as its own executor calls it with one process.

That is ``Deduplicator.run`` over a NestedDataset, without what it does last (freeing models, which wants torch).
"""

# The tool is installed in its own environment only.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from peers.harness import START_UP, Run

BANDS, ROWS = 14, 8


def deduplicate(run: Run, plain: bool) -> None:
    """Run the operator: over a plain dataset in this process, or as the executor does."""
    with run.step(START_UP):
        import datasets
        from data_juicer.core.data import NestedDataset
        from data_juicer.ops.deduplicator.document_minhash_deduplicator import DocumentMinhashDeduplicator

        datasets.disable_caching()
        datasets.disable_progress_bars()
        operator = DocumentMinhashDeduplicator(  # imports more
            tokenization="space",
            window_size=5,
            num_permutations=BANDS * ROWS,
            num_bands=BANDS,
            num_rows_per_band=ROWS,
            jaccard_threshold=run.similarity,
            num_proc=1,
        )
    ids, texts = run.read()
    kind = datasets.Dataset if plain else NestedDataset
    with run.step("wrap"):
        dataset = kind.from_dict({"id": ids, "text": texts})
    with run.step("sketch"):
        dataset = dataset.map(operator.compute_hash, num_proc=None if plain else 1)
    with run.step("group"):
        dataset, _ = operator.process(dataset)
    kept = set(dataset["id"])
    run.finish(key for key in ids if key not in kept)


def main() -> None:
    note = "document_minhash_deduplicator, 112 = 14 x 8, words split at spaces, num_proc=1"
    deduplicate(Run("Data-Juicer", "py-data-juicer", note), plain=False)


if __name__ == "__main__":
    main()
