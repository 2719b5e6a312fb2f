"""datasketch by its fastest documented path: MinHash.bulk, then its LSH."""

from __future__ import annotations

from collections.abc import Iterator

from peers.harness import START_UP, Run, shingles

PERMUTATIONS = 128


def encoded(texts: list[str]) -> Iterator[list[bytes]]:
    for text in texts:
        yield [shingle.encode() for shingle in set(shingles(text))]


def main() -> None:
    run = Run("datasketch bulk", "datasketch", "128 permutations, sha1, MinHashLSH's own bands")
    with run.step(START_UP):
        from datasketch import MinHash, MinHashLSH
    ids, texts = run.read()
    with run.step("sketch"):
        sketches = MinHash.bulk(encoded(texts), num_perm=PERMUTATIONS)
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
