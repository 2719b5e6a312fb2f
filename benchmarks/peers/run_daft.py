"""Daft: its minhash expression, and what it has no operation for built of its group-by and join.

Daft has signatures but no deduplication. Band keys are made of them with numpy, records that share one are
paired with Daft, components are found with scipy, and the first record of each is kept.
"""

# The tool is installed in its own environment only.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from peers.harness import START_UP, Run

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BANDS, ROWS = 14, 8


def band_keys(signatures: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """Return one 64-bit key per record and band [records * bands], bands told apart."""
    import numpy as np

    factors = np.random.default_rng(0).integers(1, 2**63, signatures.shape[1], dtype=np.uint64) | np.uint64(1)
    starts = np.arange(0, BANDS * ROWS, ROWS)
    keys = np.add.reduceat(signatures.astype(np.uint64) * factors, starts, axis=1)
    keys ^= keys >> np.uint64(29)
    keys += np.arange(BANDS, dtype=np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
    return keys.ravel()


def first_of_components(records: int, edges: dict[str, list[int]]) -> npt.NDArray[np.bool_]:
    """Tell of each record [records] whether it is the first of its component."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(edges["record"]), np.int8)
    graph = coo_matrix((ones, (edges["record"], edges["first"])), shape=(records, records))
    components, labels = connected_components(graph, directed=False)
    first = np.full(components, records)
    np.minimum.at(first, labels, np.arange(records))
    answer: npt.NDArray[np.bool_] = first[labels] == np.arange(records)
    return answer


def deduplicate(run: Run, same_words: bool) -> None:
    """Run it: over the words that the truth has, or over what stands between two spaces, which is faster."""
    with run.step(START_UP):
        import daft
        import numpy as np
        import pyarrow as pa
        import scipy.sparse.csgraph  # noqa: F401
        from daft.functions import minhash
    col: Any = daft.col
    with run.step("sketch"):
        text = col("text").lower()
        if same_words:
            text = text.regexp_replace(r"\W+", " ").lstrip().rstrip()
        words = minhash(text, num_hashes=BANDS * ROWS, ngram_size=5, hash_function="xxhash")
        source = daft.read_parquet([str(file) for file in run.files])
        frame = source.select("id", words.alias("signature")).to_arrow()
        flat = frame["signature"].combine_chunks().flatten()
        signatures = np.asarray(flat).reshape(-1, BANDS * ROWS)
    with run.step("group"):
        records = np.repeat(np.arange(len(signatures)), BANDS)
        keyed = daft.from_arrow(pa.table({"record": records, "key": band_keys(signatures)}))
        groups = keyed.groupby("key").agg(
            col("record").min().alias("first"), col("record").count().alias("size")
        )
        pairs = keyed.join(groups.where(col("size") > 1), on="key").where(col("record") != col("first"))
        edges = pairs.select("record", "first").distinct().to_pydict()
    with run.step("components"):
        kept = first_of_components(len(signatures), edges)
    run.finish(key for key, keep in zip(frame["id"].to_pylist(), kept, strict=True) if not keep)


def main() -> None:
    note = "minhash of 112 = 14 x 8, xxhash, words split at spaces; joins and components added"
    deduplicate(Run("Daft", "daft", note), same_words=False)


if __name__ == "__main__":
    main()
