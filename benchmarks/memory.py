"""Does ``--memory`` hold, and does the forecast tell the truth, while millions of records are deduplicated?

    python benchmarks/memory.py [--records 5000000] [--memory 1GB] [--workers 2] [--folder DIR] [--recipe FILE]

Writes synthetic records (parquet, about 150 bytes of text each), forecasts their run as ``curate run --dry-run`` does,
runs it, and prints forecast beside truth: memory (RSS and PSS of the whole process tree, every 50 ms), disk, seconds;
then the duplicates that were found beside those that were planted.

Of ten records, eight are of random words, one repeats an earlier one of them, and one repeats an earlier one but for
its last word: of 12 to 27 shingles all but one are shared, a similarity of 0.85 to 0.93.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import watched

RECIPE = """\
curate: 1
name: memory
version: "1"
sources: [{name: synthetic, files: ["input/*.parquet"], license: CC0-1.0}]
stages:
  - exact
  - minhash: {similarity: 0.8, recall: 0.95}
"""
PER_FILE = 500_000
GROUP = 50_000  # records of a row group
WORDS = 30_000  # different words
LEAST, MOST = 16, 31  # words of a record

Numbers = npt.NDArray[np.uint64]


def mixed(numbers: Numbers, salt: int) -> Numbers:
    """Return a hash of each number: SplitMix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(salt * 2 + 1) * np.uint64(0xD1B54A32D192ED03)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def originals(numbers: Numbers) -> Numbers:
    """Return for each record the number of the record whose words it has: its own, or an earlier one's."""
    tens, digit = numbers // np.uint64(10), numbers % np.uint64(10)
    earlier = mixed(numbers, 1) % np.maximum(tens, np.uint64(1)) * np.uint64(10) + mixed(
        numbers, 2
    ) % np.uint64(8)
    return np.where((digit < 8) | (tens == 0), numbers, earlier)


def texts(numbers: Numbers, vocabulary: pa.Array) -> pa.Array:
    """Return the records' texts."""
    of = originals(numbers)
    sizes = (LEAST + mixed(of, 3) % np.uint64(MOST - LEAST + 1)).astype(np.int64)
    ends = np.cumsum(sizes)
    place = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes)
    words = mixed(np.repeat(of, sizes) * np.uint64(64) + place.astype(np.uint64), 4) % np.uint64(WORDS)
    near = (numbers % np.uint64(10) == 9) & (numbers >= 10)
    words[ends[near] - 1] = mixed(numbers[near], 5) % np.uint64(WORDS)
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
    return pc.binary_join(pa.ListArray.from_arrays(offsets, vocabulary.take(pa.array(words))), " ")


def generate(folder: Path, records: int) -> int:
    """Write the input; return its bytes of text."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = mixed(np.arange(WORDS, dtype=np.uint64), 6)
    vocabulary = pa.array(
        [
            "".join(chr(97 + int(z) // 26**i % 26) for i in range(3 + int(z >> np.uint64(60)) % 5))
            for z in letters
        ]
    )
    nbytes = 0
    for first in range(0, records, PER_FILE):
        numbers = np.arange(first, min(first + PER_FILE, records), dtype=np.uint64)
        text = texts(numbers, vocabulary)
        nbytes += pc.sum(pc.binary_length(text)).as_py()
        table = pa.table({"id": pa.array(numbers).cast(pa.string()), "text": text})
        pq.write_table(table, folder / f"{first // PER_FILE:03d}.parquet", row_group_size=GROUP)
    return nbytes


def edit(text: str, mark: str) -> str:
    """Return the text with every third word marked, so that no 5-gram of words is left as it was."""
    words = re.split(r"(\w+)", text)  # words stand at the odd places
    words[1::6] = [word + mark for word in words[1::6]]
    return "".join(words)


def report(records: int, manifest: dict[str, Any]) -> None:
    """Print duplicates found beside those planted."""
    planted = max(0, records // 10 - 1)
    stages = {stage["name"]: stage for stage in manifest["stages"]}
    for name in ("exact", "minhash"):
        dropped = stages[name]["dropped"]
        print(f"{name}: {planted:,} planted, {dropped:,} dropped, {dropped / max(1, planted):.4f}")


def compare(run: list[str], out: Path) -> dict[str, Any]:
    """Forecast a run, run it, and print both; return its manifest."""
    dry = watched.watch([*run, "--dry-run"], out)
    if dry.status:
        sys.exit(dry.stdout)
    plan = orjson.loads(dry.stdout)
    before = watched.size(out)
    found = watched.watch([*run, "--fresh"], out)
    if found.status:
        sys.exit(found.stdout)
    memory, disk, seconds = plan["memory"], plan["disk"], plan["seconds"]
    rows = [
        ("memory, RSS of the tree, MB", memory["resident"] / 1e6, found.rss / 1e6),
        ("memory, PSS of the tree, MB", memory["expected"] / 1e6, found.pss / 1e6),
        ("disk at its largest, MB", disk["needed"] / 1e6, (found.disk - before) / 1e6),
        ("CPU seconds", seconds["cpu"], found.cpu),
        ("wall seconds", seconds["wall"], found.wall),
    ]
    print(f"{'':<30}{'forecast':>10}{'truth':>10}{'ratio':>8}")
    for name, expected, true in rows:
        print(f"{name:<30}{expected:>10,.0f}{true:>10,.0f}{expected / max(true, 1e-9):>8.2f}")
    print(
        f"{plan['workers']} workers of those asked for; from {plan['sample']['records']:,} of {plan['sample']['of']:,} "
        f"records, in {dry.wall:.0f} s; warnings: {plan['warnings'] or 'none'}"
    )
    print("\npeak by phase, MB: RSS, PSS")
    for phase, peaks in found.at.items():
        print(f"  {phase:<60} {peaks['rss'] / 1e6:8,.0f} {peaks['pss'] / 1e6:8,.0f}")
    print("at the peak, MB: RSS, of no file, of files and shared")
    for name, *sizes in found.parts:
        print(f"  {name:<20}" + "".join(f"{size / 1e6:8,.0f}" for size in sizes))
    manifest: dict[str, Any] = orjson.loads(found.stdout)
    return manifest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=5_000_000)
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    parser.add_argument("--recipe", type=Path, help="compare a run of this recipe instead")
    arguments = parser.parse_args()
    here = arguments.folder or Path(tempfile.mkdtemp())
    here.mkdir(parents=True, exist_ok=True)
    recipe = arguments.recipe or here / "curate.yaml"
    run = [sys.executable, "-m", "curate", "run", str(recipe), "--json", "--out", str(here / "release")]
    run += ["--workers", str(arguments.workers), "--memory", arguments.memory]
    try:
        if arguments.recipe is None:
            nbytes = generate(here / "input", arguments.records)
            recipe.write_text(RECIPE)
            about = f"{arguments.records:,} records, {nbytes / 1e6:,.0f} MB of text"
            print(f"{about}, --memory {arguments.memory}", flush=True)
        manifest = compare(run, here / "release")
        if arguments.recipe is None:
            report(arguments.records, manifest)
    finally:
        if arguments.folder is None:
            shutil.rmtree(here)


if __name__ == "__main__":
    main()
