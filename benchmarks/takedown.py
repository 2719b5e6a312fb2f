"""Take-downs from a release of real records: how long each takes, beside the run that made the release.

    python benchmarks/takedown.py DATA [OUT] [--workers N]

DATA is a folder that holds instruct/*.jsonl.zst and corpus/permissive-47mb.jsonl.zst; default: the environment's
CURATE_DATA. Prints CPU seconds of a full run over all of them with the stages of benchmarks/real.py, then of taking
down 1, 10 and 1,000 random records and one author (every tenth record of scitldr_a is given to one), each from a
fresh copy of the release; then the speed of a run's stage suppress under the list of the 1,000. Fails if 10 records
take more than a tenth of the run.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from real import rows, write_recipe

import curate
from curate.stages import suppress

MOST = 0.1  # of a run's CPU time, for 10 records


def cpu() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def timed(what: str, call: Any, whole: float | None = None) -> tuple[float, Any]:
    """Call, print and return the CPU seconds it took."""
    started, wall = cpu(), time.perf_counter()
    result = call()
    seconds, wall = cpu() - started, time.perf_counter() - wall
    share = "" if whole is None else f", {seconds / whole:.2%} of the run"
    print(f"{what}: {seconds:.1f} s of CPU, {wall:.1f} s{share}", flush=True)
    return seconds, result


def authored(data: Path, folder: Path) -> Path:
    """Copy the data, every tenth record of one set given to one author; return the folder."""
    import orjson
    import zstandard

    target = folder / "data"
    shutil.copytree(data / "instruct", target / "instruct")
    shutil.copytree(data / "corpus", target / "corpus")
    path = target / "instruct" / "scitldr_a.jsonl.zst"
    lines = [row | {"author": "One Author" if i % 10 == 0 else f"a{i}"} for i, row in enumerate(rows(path))]
    path.chmod(0o644)
    path.parent.chmod(0o755)
    path.write_bytes(zstandard.compress(b"".join(orjson.dumps(line) + b"\n" for line in lines)))
    return target


def speed(out: Path, key: Path) -> None:
    """Print how fast the stage suppress judges the release's records under its own list."""
    held = pq.read_metadata(out / "takedown" / "suppression.parquet").num_rows
    listed = suppress.Listed(
        named="list", sha256="", entries=held, path=out / "takedown" / "suppression.parquet", key_file=key
    )
    stage = suppress.Suppress(suppress.Suppress.Options(lists=(listed,)))
    table = pq.read_table(out / "data", columns=["id", "messages", "text"])
    batches: list[Any] = []
    for name in ("messages", "text"):
        mine = table.filter(pc.is_valid(table.column(name))).select(["id", name]).combine_chunks()
        batches += mine.to_batches(max_chunksize=1024)
    nbytes = sum(
        int(pc.sum(pc.binary_length(b.column("text"))).as_py()) for b in batches if "text" in b.schema.names
    )
    nbytes += sum(
        int(pc.sum(pc.binary_length(pc.struct_field(b.column("messages").flatten(), "content"))).as_py())
        for b in batches
        if "messages" in b.schema.names
    )
    stage.judge(batches[0])  # compiled, and the list read
    started = time.process_time()
    for batch in batches:
        stage.judge(pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names))
    seconds = time.process_time() - started
    print(f"suppress, {held:,} rows in the list: {nbytes / 1e6 / seconds:.0f} MB/s per core")


def main() -> int:
    """Run it all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("out", nargs="?", default="out/takedown")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    if not arguments.data or not Path(arguments.data).is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    folder = Path(arguments.out).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data = authored(Path(arguments.data).absolute(), folder)
    (folder / "made").mkdir()
    recipe = write_recipe(data, folder / "made" / "release", reverse=False)
    whole, made = timed(
        "run", lambda: curate.run(recipe, folder / "made" / "release", workers=arguments.workers)
    )
    counts = made.manifest["counts"]
    print(f"{counts['seen']:,} records read, {counts['kept']:,} kept")
    names = sorted(pq.read_table(made.path / "records", columns=["id"]).column("id").to_pylist())
    rng = random.Random(1)
    requests: list[tuple[str, dict[str, Any]]] = [
        (f"{n:,} records", {"ids": rng.sample(names, n)}) for n in (1, 10, 1000)
    ]
    requests.append(("one author", {"authors": ["one author"]}))
    ten = 0.0
    for what, asked in requests:
        out = folder / what.replace(" ", "-").replace(",", "") / "away" / "release"
        shutil.copytree(made.path, out)
        seconds, done = timed(what, lambda out=out, asked=asked: curate.takedown(out, **asked), whole)
        print(
            f"  {done.records:,} and {done.near_duplicates:,} near-duplicates; {len(done.shards)} files written again"
        )
        ten = seconds if what == "10 records" else ten
        first = curate.verify(out).first
        print(f"  verifies: {first is None}{'' if first is None else f' ({first})'}")
        if what == "1,000 records":
            speed(out, out.parent / "suppression.key")
    print(f"10 records: {ten / whole:.2%} of the run, at most {MOST:.0%}")
    return int(ten > MOST * whole)


if __name__ == "__main__":
    sys.exit(main())
