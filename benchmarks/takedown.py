"""Take-downs from a release of real records: how long each takes, beside the run that made the release.

    python benchmarks/takedown.py DATA [OUT] [--workers N]

DATA is a folder that holds instruct/*.jsonl.zst and corpus/permissive-47mb.jsonl.zst; default: the environment's
CURATE_DATA. Prints CPU seconds of a full run over all of them with the stages of benchmarks/real.py, then of taking
down 1, 10 and 1,000 random records and one author (every tenth record of scitldr_a is given to one), each from a
fresh copy of the release. After each: the release verifies, every file that the report does not name is the same byte
for byte, and a phrase of every erased record is looked for in all files, as they are and unpacked. After the 1,000: the
speed of the stage suppress under their list, and a whole run under it, whose release must hold the records that the
take-down left, and no other. Fails if any of this does not hold, or if 10 records take more than a tenth of the run.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import resource
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
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


PHRASE = re.compile(r"[A-Za-z0-9,]+(?: [A-Za-z0-9,]+){5,12}")  # the same in text, JSON and Python's spelling


def texts(out: Path) -> dict[tuple[str, str], str]:
    """Return the text of every record of a release, in data/ and removed/, by source and place of reading."""
    found = {}
    for path in sorted((out / "data").glob("*.parquet")):
        places = pq.read_table(out / "records" / path.name, columns=["locator"]).column("locator").to_pylist()
        for row, place in zip(pq.read_table(path).to_pylist(), places, strict=True):
            found[row["source"], place] = _said(row)
    for path in sorted((out / "removed").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            place = row["source"], row["curate"]["locator"]
            found[place] = found.get(place, "") + "\n" + _said(row)
    return found


def _said(row: dict[str, Any]) -> str:
    return row.get("text") or "\n".join(turn["content"] or "" for turn in row.get("messages") or ())


def unpacked(path: Path) -> bytes:
    """Return what a file says, its pages and frames unpacked, with its own bytes."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        content += repr(pq.read_table(path).to_pylist()).encode()
    return content


def traces(before: dict[tuple[str, str], str], out: Path) -> str:
    """Tell in how many files phrases of erased records still stand, and of how many records one was looked for."""
    after = texts(out)
    left = "\n".join(after.values())
    phrases = []
    for place in before.keys() - after.keys():
        runs = sorted(PHRASE.findall(before[place]), key=len, reverse=True)
        phrases += next(([run.encode()] for run in runs[:20] if run not in left), [])
    files = [path for path in sorted(out.rglob("*")) if path.is_file()]
    held = 0
    for path in files:
        said = unpacked(path)
        held += any(phrase in said for phrase in phrases)
    erased = len(before) - len(after)
    return (
        f"{held} files with traces; of {erased:,} erased records, {len(phrases):,} had a phrase of their own"
    )


def changed(made: Path, out: Path, named: Sequence[str]) -> list[str]:
    """Return the files of shards that changed though the report does not name them."""
    return [
        name
        for folder in ("data", "records", "leaves", "removed", "clusters", "ledger")
        for path in sorted((made / folder).glob("*"))
        if (name := f"{folder}/{path.name}") not in named and (out / name).read_bytes() != path.read_bytes()
    ]


def rerun(recipe: Path, out: Path, erased: dict[tuple[str, str], str], workers: int) -> int:
    """Run again into the taken-down release; print and return how many records are not as the take-down left them.

    The take-down erased whole clusters of duplicates, so a run that leaves out the same records, and nothing like
    them that was kept before, leaves the very records that the take-down left.
    """
    before = texts(out)
    again = curate.run(recipe, out, workers=workers)
    after = texts(out)
    back = after.keys() & erased.keys()
    differing = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    told = next(stage for stage in again.manifest["stages"] if stage["name"] == "suppress")
    print(
        f"  rerun: suppress drops {told['dropped']:,}; {len(back):,} of the erased are back; of {len(after):,} records "
        f"{len(differing):,} differ from those that the take-down left"
    )
    return len(back) + len(differing)


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
    ten, wrong = 0.0, 0
    before = texts(made.path)
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
        silent = changed(made.path, out, done.shards)
        said = traces(before, out)
        print(f"  {said}; files changed and not named: {len(silent)} {silent}", flush=True)
        wrong += (first is not None) + bool(silent) + (not said.startswith("0 "))
        if what == "1,000 records":
            speed(out, out.parent / "suppression.key")
            gone = {place: before[place] for place in before.keys() - texts(out).keys()}
            wrong += rerun(recipe, out, gone, arguments.workers)
    print(f"10 records: {ten / whole:.2%} of the run, at most {MOST:.0%}")
    return int(ten > MOST * whole or wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
