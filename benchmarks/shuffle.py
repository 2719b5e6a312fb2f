"""How large and how even the partitions of the dedup's shuffle are at 10^8 records.

    python benchmarks/shuffle.py [DATA] [--records 100000000] [--partitions 512]         (default: $CURATE_DATA)

First the distribution of minhash's band keys is measured on real data (the instruction sets and the documents of DATA,
after exact): of each band, how many keys are shared by 2, 3, … records. Then keys of --records records are drawn:
records whose key nobody shares fall into partitions like a hash does (multinomial), each bucket falls into one
partition as a whole. Twice:

    more    there are more buckets of each size, and none is larger: the data grows by more sources of its kind
    larger  a bucket of at least HEAD of all records keeps its share, and so grows: templates, empty answers

Band by band, seeded, in some 100 MB. Prints a table, and writes benchmarks/shuffle.json, which scale.py reckons with.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import real

from curate.stages.dedup.shuffle import KEY

HEAD = 1e-4  # of all records: a bucket of so many is a template's, and grows with the data
MAX_BUCKET = 1000  # minhash's default: most kept records of a bucket that a record is compared with
STAGES = """\
stages:
  - exact
  - minhash: {similarity: 0.8, recall: 0.95}
"""
Ints = npt.NDArray[np.int64]


def measured(data: Path) -> dict[str, Any]:
    """Return how many records there are, the share of them that meet another, and each band's bucket sizes."""
    from curate import pipeline
    from curate.engine.local import LocalEngine
    from curate.io.scan import scan
    from curate.io.store import Store
    from curate.recipe import load

    with tempfile.TemporaryDirectory() as folder, LocalEngine(1) as engine:
        path = real.write_recipe(data, Path(folder) / "real", reverse=False)
        path.write_text(path.read_text().replace(real.STAGES, STAGES))
        recipe = load(path)
        plans = scan(recipe.sources, recipe.folder, engine)
        outcome = pipeline.execute(
            recipe.stages, plans, engine, Store.at(Path(folder) / "work"), memory=2 * 10**9, batch_records=1024,
            watch=pipeline.Watch(),
        )  # fmt: skip
        summary = outcome.summaries["minhash"]
        parts = [pipeline.Part(chain.done[1].folder) for chain in outcome.chains]
        tables = [part.table() for part in parts if "sketch.arrow" in part.folder.sizes()]
        names = [name for name in tables[0].schema.names if name.startswith("band_")]
        bands = []
        for name in names:
            keys = np.concatenate([table.column(name).to_numpy() for table in tables])
            _, counts = np.unique(keys, return_counts=True)
            sizes, many = np.unique(counts, return_counts=True)
            bands.append([[int(size), int(n)] for size, n in zip(sizes, many, strict=True)])
    return {
        "records": int(summary["records"]),
        "met": int(summary["met"]),
        "candidates": int(summary["candidates"]),
        "verified_pairs": int(summary["verified_pairs"]),
        "accepted_pairs": int(summary["accepted_pairs"]),
        "bands": bands,
    }


def grown(sizes: Ints, many: Ints, records: int, grows: float, larger: bool) -> tuple[Ints, Ints, int]:
    """Return the buckets of one band at ``grows`` times the data: sizes, how many of each, and single keys."""
    heads = (sizes >= HEAD * records) & (sizes > 1) if larger else np.zeros(len(sizes), bool)
    new_sizes = np.where(heads, np.rint(sizes * grows), sizes).astype(np.int64)
    new_many = np.where(heads, many, np.rint(many * grows)).astype(np.int64)
    shared = new_sizes > 1
    total = round(records * grows)
    return new_sizes[shared], new_many[shared], total - int(new_sizes[shared] @ new_many[shared])


def simulate(
    found: dict[str, Any], records: int, partitions: int, larger: bool, seed: int = 1
) -> dict[str, Any]:
    """Draw all bands' keys; return what the partitions hold."""
    rng = np.random.default_rng(seed)
    keys = np.zeros(partitions, np.int64)
    shared_keys = np.zeros(partitions, np.int64)
    largest = buckets = shared = comparisons = 0
    grows = records / found["records"]
    for band in found["bands"]:
        sizes, many = np.array(band, np.int64).T
        sizes, many, single = grown(sizes, many, found["records"], grows, larger)
        keys += rng.multinomial(single, np.full(partitions, 1 / partitions))
        for size, n in zip(sizes.tolist(), many.tolist(), strict=True):
            # n buckets of one size: into how many partitions each falls is multinomial, too.
            fell = rng.multinomial(n, np.full(partitions, 1 / partitions)) * size
            keys += fell
            shared_keys += fell
            comparisons += n * size * min(size - 1, MAX_BUCKET) // (2 if size <= MAX_BUCKET else 1)
        largest = max(largest, int(sizes.max(initial=0)))
        buckets += int(many.sum())
        shared += int(sizes @ many)
    return {
        "records": records,
        "bands": len(found["bands"]),
        "partitions": partitions,
        "keys": int(keys.sum()),
        "bytes": int(keys.sum()) * KEY,
        "mean_bytes": float(keys.mean()) * KEY,
        "max_bytes": int(keys.max()) * KEY,
        "skew": float(keys.max() / keys.mean()),
        "answer_skew": float(shared_keys.max() / max(1.0, shared_keys.mean())),
        "buckets": buckets,
        "shared_keys": shared,
        "largest_bucket": largest,
        "comparisons_at_most": comparisons,
    }


def shown(name: str, one: dict[str, Any]) -> str:
    return (
        f"{name:<8}{one['bytes'] / 1e9:>9.1f} GB{one['mean_bytes'] / 1e6:>10.1f}{one['max_bytes'] / 1e6:>10.1f}"
        f"{one['skew']:>8.3f}{one['largest_bucket']:>14,}{one['buckets']:>14,}{one['shared_keys']:>16,}"
        f"{one['comparisons_at_most']:>18,}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA", ""))
    parser.add_argument("--records", type=int, default=10**8)
    parser.add_argument("--partitions", type=int, default=512)
    parser.add_argument("--store", type=Path, default=Path(__file__).with_name("shuffle.json"))
    arguments = parser.parse_args()
    data = Path(arguments.data).absolute()
    if not (data / "instruct").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    found = measured(data)
    print(
        f"measured on {found['records']:,} records: {found['met'] / found['records']:.2%} share a band key, "
        f"{found['candidates'] / found['records']:.2%} pass the screen"
    )
    print(
        f"{'':<8}{'shuffled':>12}{'mean MB':>10}{'max MB':>10}{'skew':>8}{'largest':>14}{'buckets':>14}"
        f"{'shared keys':>16}{'comparisons <=':>18}"
    )
    simulated = {}
    for name in ("more", "larger"):
        simulated[name] = simulate(found, arguments.records, arguments.partitions, name == "larger")
        print(shown(name, simulated[name]), flush=True)
    arguments.store.write_text(json.dumps({"measured": found, "simulated": simulated}) + "\n")


if __name__ == "__main__":
    main()
