"""datasketch as its documentation shows it: a MinHash updated shingle by shingle, then its LSH."""

from __future__ import annotations

from peers.harness import START_UP, Run, shingles

PERMUTATIONS = 128


def main() -> None:
    run = Run("datasketch update", "datasketch", "128 permutations, sha1, MinHashLSH's own bands")
    with run.step(START_UP):
        from datasketch import MinHash, MinHashLSH
    ids, texts = run.read()
    sketches = []
    with run.step("sketch"):
        for text in texts:
            sketch = MinHash(num_perm=PERMUTATIONS)
            for shingle in set(shingles(text)):
                sketch.update(shingle.encode())
            sketches.append(sketch)
    removed = []
    with run.step("group"):
        index = MinHashLSH(threshold=run.similarity, num_perm=PERMUTATIONS)
        for key, sketch in zip(ids, sketches, strict=True):
            if index.query(sketch):
                removed.append(key)
            else:
                index.insert(key, sketch)
    run.finish(removed)


if __name__ == "__main__":
    main()
