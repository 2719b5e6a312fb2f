"""rensa by its deduplicator: R-MinHash in Rust, its LSH, a check of candidates by their sketches."""

# The tool is installed in its own environment only.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from peers.harness import START_UP, Run, shingles

PERMUTATIONS = 128


def main() -> None:
    run = Run("rensa", "rensa", "RMinHashDeduplicator, 128 permutations, its own bands")
    with run.step(START_UP):
        from rensa import RMinHashDeduplicator
    ids, texts = run.read()
    with run.step("shingle"):
        tokens = [shingles(text) for text in texts]
    with run.step("deduplicate"):
        deduplicator = RMinHashDeduplicator(threshold=run.similarity, num_perm=PERMUTATIONS, use_lsh=True)
        new = deduplicator.add_pairs(zip(ids, tokens, strict=True))
    run.finish(key for key, is_new in zip(ids, new, strict=True) if not is_new)


if __name__ == "__main__":
    main()
