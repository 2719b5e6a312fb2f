"""Speed of the kernels of near-duplicate search on one core, and the variance of the signatures.

    python benchmarks/dedup_kernels.py CORPORA        (a folder that benchmarks/corpora.py wrote)

For each corpus, MB of text per CPU second, Arrow in, best of five: words and 5-grams hashed; that with 128
minima per record; and what the stage does (band keys and the bits for screening too). Then the root mean square
error of J estimated from 128 minima, ours and those of datasketch's own permutations modulo a prime, beside
sqrt(J (1 - J) / 128); the bytes that a record's sketch takes; and the time from a cold and a warm start.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasketch
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from curate.kernels import folding, minhash, parts, reading, text

PIECE = 2048  # records that are worked on at a time
ROUNDS = 5


def best(work: Callable[[], Any]) -> float:
    """Return the least CPU seconds of several calls."""
    seconds = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        seconds.append(time.process_time() - before)
    return min(seconds)


def speeds(path: Path) -> None:
    """Print the kernels' speeds on the first 60 MB of a corpus."""
    from curate.stages.minhash import MinHash

    batches, nbytes = [], 0
    for batch in pq.ParquetFile(path).iter_batches(PIECE, columns=["text"]):
        batches.append(batch)
        nbytes += batch.column("text").buffers()[2].size
        if nbytes > 60e6:
            break
    how, cutting = folding.characters(), reading.Cutting(5, text.SALTS, reading.BOTH)
    shingling, cut = parts.Shingling(5, "both"), MinHash(MinHash.Options()).bands
    a, b = minhash.lanes(128, 1)
    out = np.empty(4 * max(batch.nbytes for batch in batches), np.uint64)

    def shingled(minima: bool) -> None:
        for batch in batches:
            turns = parts.turns(batch)
            bounds, todo = np.zeros((len(batch) + 1, 3), np.int64), np.ones(len(batch), np.bool_)

            def step(turns: Any, room: Any, first: int) -> int:
                return int(
                    reading.record_shingles(turns, cutting, False, how, room, first, todo, out, bounds)  # noqa: B023
                )

            text.read(turns, todo, step)
            if minima:
                ends = np.concatenate([bounds[:1, 0], bounds[:-1, 2]])
                minhash.signatures(out, ends, 128, 1)

    def rate(work: Callable[[], Any]) -> float:
        work()
        return nbytes / 1e6 / best(work)

    assert len(a) == len(b) == 128
    words, signed = rate(lambda: shingled(False)), rate(lambda: shingled(True))
    keyed = rate(lambda: [shingling.band_keys(batch, 0.8, cut, 128, 1) for batch in batches])
    print(
        f"{path.parent.name}: {nbytes / 1e6:.0f} MB; words and 5-grams {words:.0f} MB/s, with 128 minima in a second "
        f"pass {signed:.0f} MB/s, band keys in one pass {keyed:.0f} MB/s"
    )


def errors(pairs: int = 2000) -> None:
    """Print how far estimates from 128 minima are off."""
    rng = np.random.default_rng(5)
    print("root mean square error of J from 128 minima: ours, datasketch's permutations mod 2^61 - 1, theory")
    for size, shared in ((20, 18), (60, 53), (300, 267), (1500, 1333)):
        j = shared / (2 * size - shared)
        ours, theirs = [], []
        for pair in range(pairs):
            members = rng.integers(0, 1 << 63, 2 * size - shared, np.uint64)
            sets = np.concatenate([members[:size], members[-size:]])
            one, other = minhash.signatures(sets, np.array([0, size, 2 * size]))
            ours.append(float((one == other).mean()))
            if pair < 200:
                drawn = [datasketch.MinHash(128, hashfunc=lambda x: x >> 32) for _ in range(2)]
                for hashed, side in zip(drawn, (members[:size], members[-size:]), strict=True):
                    hashed.update_batch(side.tolist())
                theirs.append(float((drawn[0].hashvalues == drawn[1].hashvalues).mean()))
        off = [float(np.sqrt(np.mean((np.array(found) - j) ** 2))) for found in (ours, theirs)]
        print(f"  n {size:>4}, J {j:.3f}: {off[0]:.4f}, {off[1]:.4f}, {np.sqrt(j * (1 - j) / 128):.4f}")


def size() -> None:
    """Print what a record's sketch takes."""
    from curate.stages.exact import Exact
    from curate.stages.minhash import MinHash

    n = 1000
    columns = {name: pa.repeat(pa.scalar("s", pa.string()), n) for name in ("source", "_path", "license")}
    batch = pa.record_batch({"text": [f"one two three four five {i}" for i in range(n)], **columns})
    for barrier in (MinHash(MinHash.Options()), Exact(Exact.Options())):
        taken = barrier.sketch(batch).nbytes / n
        print(f"{barrier.name}: {taken:.0f} bytes of sketch per record, beside its id and place")


def start() -> None:
    """Print how long the first sketch takes with and without compiled kernels."""
    code = (
        "import pyarrow as pa\nfrom curate.stages.minhash import MinHash\n"
        "none = pa.nulls(1, pa.string())\n"
        "batch = pa.record_batch({'text': ['a b c d e f'], 'license': none, 'source': none, '_path': none})\n"
        "MinHash(MinHash.Options()).sketch(batch)"
    )
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CURATE_KERNELS": folder}
        for name in ("cold: compiled, once", "warm: from the cache", "warm again"):
            before = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, env=environment)
            print(f"process with one sketch, {name}: {time.perf_counter() - before:.2f} s")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for path in sorted(Path(sys.argv[1]).glob("*/all.parquet")):
        speeds(path)
    errors()
    size()
    start()


if __name__ == "__main__":
    main()
