"""Recall and precision of `exact` and `minhash` on two corpora whose exact all-pairs similarity is known.

    python benchmarks/dedup_recall.py [DATA_DIR]      (default: $CURATE_DATA/dedup)

DATA_DIR holds ``<name>.docs.jsonl.zst`` (id, text) and ``<name>.pairs.tsv.zst`` (id1 id2 jaccard inter union:
every pair at 0.5 or above, over word 5-grams of ``re.findall(r"\\w+", text.lower())``). What is printed:

* *false*: dropped records without a kept twin (the one that the verdict leads to) at 0.8 or above, computed
  anew with Python sets: once by the truth's tokens, once by the stage's (NFKC and case folding, combining
  marks kept with their word, short texts compared whole). The latter must be 0.
* *resolved*: pairs of the truth at 0.8 or above of which at least one record was dropped.
* *recall of removable*: dropped records over those that a greedy representative set on the truth drops. How
  many those are depends on who goes first: once the ids' order, once the stage's own policy (the longest
  first), which is what the stage would drop if it missed no pair.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import zstandard

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the harness and the slow twin live there
if TYPE_CHECKING:
    from curate.record import Batch

NAMES = ("powershell_versions", "scancode_licenses")
SIMILARITY = 0.8
BATCH = 512  # records
UNIT = 1024


@dataclass(frozen=True)
class Outcome:
    """What the two stages did to one corpus."""

    records: int
    megabytes: float
    exact: int
    near: int
    false_by_truth: int  # dropped records without a kept twin, by the truth's tokens …
    false_by_stage: int  # … and by the stage's
    pairs: int  # of the truth, at SIMILARITY or above
    resolved: int
    removable_by_id: int  # records that greedy representatives on the truth drop, in the order of ids …
    removable_by_policy: int  # … and in the stage's order
    sketch_seconds: float  # CPU, both stages
    resolve_seconds: float


def lines(path: Path) -> list[bytes]:
    """Return the lines of a zstd file."""
    with path.open("rb") as file:
        return zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()


def truth_tokens(text: str) -> set[tuple[str, ...]]:
    tokens = re.findall(r"\w+", text.lower())
    return {tuple(tokens[i : i + 5]) for i in range(max(1, len(tokens) - 4))}


def stage_tokens(text: str) -> set[tuple[str, ...]]:
    from reference import dedup

    normal = dedup.normalise(text)
    words = dedup.words(normal)
    return {tuple(words[i : i + 5]) for i in range(len(words) - 4)} or {(normal,)}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def jaccard(one: set[Any], other: set[Any]) -> float:
    return len(one & other) / len(one | other)


def greedy_drops(pairs: Sequence[tuple[str, str]], order: Callable[[str], Any]) -> int:
    """Count what one pass drops: each record, in order, that pairs with a kept record before it."""
    neighbours = defaultdict(set)
    for one, other in pairs:
        neighbours[one].add(other)
        neighbours[other].add(one)
    kept: set[str] = set()
    for key in sorted(neighbours, key=order):
        if not neighbours[key] & kept:
            kept.add(key)
    return len(neighbours) - len(kept)


def batches(records: Sequence[dict[str, Any]], path: str) -> list[list[Batch]]:
    """Cut the records into units of batches."""
    from reference import sketches

    whole = sketches.batch(records, path=path)
    cut = [whole.slice(start, BATCH) for start in range(0, whole.num_rows, BATCH)]
    per_unit = UNIT // BATCH
    return [cut[start : start + per_unit] for start in range(0, len(cut), per_unit)]


def warm(barrier: Any, batch: Batch) -> None:
    """Compile the kernels, or load them from the cache, before the clock runs."""
    from reference import sketches

    with tempfile.TemporaryDirectory() as scratch:
        sketches.resolve(barrier, [[batch], [batch]], Path(scratch))


def run(folder: Path, name: str) -> Outcome:
    """Run exact, then minhash on what it keeps; check against the truth."""
    from reference import sketches

    from curate.stages.exact import Exact
    from curate.stages.minhash import MinHash

    records = [orjson.loads(line) for line in lines(folder / f"{name}.docs.jsonl.zst")]
    texts = {record["id"]: record["text"] for record in records}
    table = [line.split(b"\t") for line in lines(folder / f"{name}.pairs.tsv.zst")[1:]]
    pairs = [(a.decode(), b.decode()) for a, b, j, *_ in table if float(j) >= SIMILARITY]
    seconds = {"sketch": 0.0, "resolve": 0.0}
    twins: dict[str, str] = {}
    drops = []
    alive = batches(records, name)
    barriers: tuple[Any, ...] = (Exact(Exact.Options()), MinHash(MinHash.Options(similarity=SIMILARITY)))
    for barrier in barriers:
        warm(barrier, alive[0][0].slice(0, 16))
        with tempfile.TemporaryDirectory() as scratch:
            start = time.process_time()
            parts = tuple(sketches.part(barrier, unit) for unit in alive)
            middle = time.process_time()
            from curate.io.store import Store

            held = sketches.MemorySketches(parts, Store.at(scratch))
            stage = barrier.resolve(held, sketches.SerialEngine())
            seconds["sketch"] += middle - start
            seconds["resolve"] += time.process_time() - middle
            said = sketches.judge(stage, (batch for unit in alive for batch in unit))
        found = {key: line["kept_id"] for key, line in said.items() if line["action"] == "drop"}
        drops.append(len(found))
        twins |= found
        alive = [[_without(batch, found) for batch in unit] for unit in alive]

    def false(cut: Callable[[str], set[Any]]) -> int:
        twin_of = ((key, kept_twin(key, twins)) for key in twins)
        return sum(jaccard(cut(texts[key]), cut(texts[twin])) < SIMILARITY for key, twin in twin_of)

    return Outcome(
        records=len(records),
        megabytes=sum(len(text.encode()) for text in texts.values()) / 1e6,
        exact=drops[0],
        near=drops[1],
        false_by_truth=false(truth_tokens),
        false_by_stage=false(stage_tokens),
        pairs=len(pairs),
        resolved=sum(one in twins or other in twins for one, other in pairs),
        removable_by_id=greedy_drops(pairs, lambda key: key),
        removable_by_policy=greedy_drops(pairs, lambda key: (-len(texts[key]), digest(texts[key]))),
        sketch_seconds=seconds["sketch"],
        resolve_seconds=seconds["resolve"],
    )


def kept_twin(key: str, twins: dict[str, str]) -> str:
    """Return the kept record a dropped one leads to: minhash may drop the one that exact kept."""
    while key in twins:
        key = twins[key]
    return key


def _without(batch: Batch, dropped: dict[str, str]) -> Batch:
    return batch.filter(pa.array([key not in dropped for key in batch.column("id").to_pylist()]))


def show(name: str, outcome: Outcome) -> None:
    """Print one corpus's numbers."""
    dropped = outcome.exact + outcome.near
    print(f"{name}: {outcome.records} records, {outcome.megabytes:.1f} MB")
    print(f"  dropped               {dropped} (exact {outcome.exact}, minhash {outcome.near})")
    print(
        f"  false                 {outcome.false_by_stage} by our tokens, "
        f"{outcome.false_by_truth} by the truth's"
    )
    print(f"  resolved pairs        {outcome.resolved} of {outcome.pairs} at {SIMILARITY} or above")
    for order, removable in (("id", outcome.removable_by_id), ("policy", outcome.removable_by_policy)):
        print(f"  recall of removable   {dropped / removable:.4f} ({dropped} / {removable}, by {order})")
    sketch, resolve = outcome.megabytes / outcome.sketch_seconds, outcome.megabytes / outcome.resolve_seconds
    print(f"  speed, one core       sketch {sketch:.0f} MB/s, resolve {resolve:.0f} MB/s")


def data_folder(arguments: Sequence[str]) -> Path | None:
    """Return the folder of the corpora: the first argument, else $CURATE_DATA/dedup; None for neither."""
    root = os.environ.get("CURATE_DATA")
    folder = Path(arguments[0]) if arguments else Path(root) / "dedup" if root else None
    return folder if folder and (folder / f"{NAMES[0]}.docs.jsonl.zst").is_file() else None


def main() -> int:
    folder = data_folder(sys.argv[1:])
    if folder is None:
        print(f"skipped: no {NAMES[0]}.docs.jsonl.zst in the folder given, nor in $CURATE_DATA/dedup")
        return 0
    good = True
    for name in NAMES:
        outcome = run(folder, name)
        show(name, outcome)
        good &= outcome.false_by_stage == 0
        good &= outcome.exact + outcome.near >= 0.95 * max(
            outcome.removable_by_id, outcome.removable_by_policy
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
