"""text-dedup by its own program, all of it: loading, sketching, clustering, filtering, saving."""

# The tool is installed in its own environment only.
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import tempfile

from peers.harness import OUTSIDE, START_UP, Run


def main() -> None:
    run = Run("text-dedup", "text-dedup", "112 = 14 x 8, xxh3 of 32 bits, its own reading and writing")
    with run.step(START_UP):
        from datasets import load_from_disk
        from text_dedup.minhash import main as program
    options = {
        "path": "parquet",
        "data_files": f"{run.folder}/*.parquet",
        "split": "train",
        "column": "text",
        "ngram": "5",
        "min_length": "1",  # by its default all but one of the texts under 5 words are removed
        "num_perm": "112",
        "b": "14",
        "r": "8",
        "threshold": str(run.similarity),
        "hash_func": "xxh3",
        "hash_bits": "32",
        "num_proc": "1",
    }
    with tempfile.TemporaryDirectory() as scratch:
        options |= {"cache_dir": f"{scratch}/cache", "output": f"{scratch}/out"}
        flags = [part for name, value in options.items() for part in (f"--{name}", value)]
        with run.step("program"):
            program(flags, standalone_mode=False)
        with run.step(OUTSIDE):
            kept = set(load_from_disk(f"{scratch}/out")["id"])
            ids = run.column("id")
    run.finish(key for key in ids if key not in kept)


if __name__ == "__main__":
    main()
