"""curate's near-duplicate removal and six other tools', on the same files, in turn.

    python benchmarks/dedup.py [DATA] [WORK] [--rounds R] [--copies-short N] [--copies-web N] [--quick]

DATA is the folder of public data (default: the environment's CURATE_DATA), WORK where corpora, truth and runs
are kept (default: out/dedup; delete it to begin anew). See corpora.py for the two corpora, jaccard_truth.py for
the truth, peers/ for how each tool is run. Each peer lives in an environment of its own under --cache, made on
first use; one that cannot be made or run is named with the last line that it said.

Every tool removes near duplicates at a Jaccard of 0.8 over 5-grams of words, bound to one core. Before each run
of a peer curate runs on the same file, so that each ratio is of two runs side by side; the tables give medians
over the rounds, in CPU seconds. Slow peers are given the first records only (the column MB); curate's own row
is the whole corpus. Quality is counted on the first copy: *resolved* is the share of pairs at 0.8 or above of
which at least one was removed (*with symbols*: of the pairs that are as similar when each symbol counts as a
word too), *false removals* the share of removed records that have no partner at 0.8.

Prints Markdown (WORK/dedup.md too); every figure is in WORK/dedup.json. --quick runs what is installed once,
on the first 2 MB, to try the script.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from corpora import build as build_corpus
from jaccard_truth import build as build_truth
from peers import environments, quality, tables
from peers.environments import PEERS, CannotRunError, Peer

HERE = Path(__file__).parent
SIMILARITY = 0.8
QUICK_MEGABYTES = 2.0
CURATE = Peer("curate", "run_curate", "", 0)  # runs in this environment, on everything


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Corpus:
    """One corpus, and what is cut from it."""

    name: str
    work: Path
    counts: dict[str, int]
    truth: pa.Table

    @property
    def whole(self) -> Path:
        """The folder of its file."""
        return self.work / "corpora" / self.name

    def first(self, megabytes: float) -> Path:
        """Return a folder that holds the first records, up to so much text (all of it if it has no more)."""
        if megabytes * 1e6 >= self.counts["bytes"] * self.counts["copies"]:
            return self.whole
        folder = self.work / "first" / f"{self.name}-{megabytes:g}"
        if not folder.exists():
            folder.mkdir(parents=True)
            pq.write_table(
                first_records(self.whole / "all.parquet", megabytes),
                folder / "first.parquet",
                compression="zstd",
            )
        return folder


def first_records(file: Path, megabytes: float) -> pa.Table:
    """Return as many records as have that much text."""
    held, missing = [], megabytes * 1e6
    for batch in pq.ParquetFile(file).iter_batches():
        ends = np.cumsum(pc.binary_length(batch["text"]).to_numpy())
        count = int(np.searchsorted(ends, missing, side="right"))
        held.append(batch.slice(0, count))
        if count < batch.num_rows:
            break
        missing -= ends[-1]
    return pa.Table.from_batches(held)


def prepare(arguments: argparse.Namespace) -> list[Corpus]:
    """Make the corpora and their truth, where they are not there yet."""
    found = []
    for name, copies in (("short", arguments.copies_short), ("web", arguments.copies_web)):
        say(f"{name}: corpus and truth")
        folder = arguments.work / "corpora"
        counts = build_corpus(arguments.data, folder, name, 1 if arguments.quick else copies)
        corpus = Corpus(name, arguments.work, counts, pa.table({}))
        target = arguments.work / f"{name}.truth.parquet"
        file, records = corpus.whole / "all.parquet", counts["records"]
        if arguments.quick:  # the truth of all takes a minute
            target = arguments.work / f"{name}-quick.truth.parquet"
            file = corpus.first(QUICK_MEGABYTES) / "first.parquet"
            records = pq.ParquetFile(file).metadata.num_rows
        found.append(dataclasses.replace(corpus, truth=build_truth(file, target, records)))
    return found


def run(peer: Peer, corpus: Corpus, folder: Path, arguments: argparse.Namespace, turn: str) -> dict[str, Any]:
    """Run one tool once; return what it wrote and how good it was.

    Raises:
        CannotRunError: with the last line that it said.
    """
    out = arguments.work / "runs" / f"{corpus.name}-{turn}-{peer.runner}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    environment = {**os.environ, **environments.QUIET, "CURATE_BENCH_RECALL": str(arguments.recall)}
    python = Path(sys.executable)
    if peer.environment:
        python = environments.python_of(peer, arguments.cache)
        environment.pop("PYTHONPATH", None)
    command = [str(python), "-m", f"peers.{peer.runner}", str(folder), str(out), str(SIMILARITY)]
    environments.call(command, arguments.timeout, environment, HERE)
    line: dict[str, Any] = json.loads(out.read_text())
    if "removed" in line:
        removed = Path(line["removed"]).read_text().split()
        given = min(line["records"], corpus.counts["records"])
        line["quality"] = dataclasses.asdict(quality.judge(removed, corpus.truth, given, SIMILARITY))
    return {**line, "corpus": corpus.name, "name": peer.name, "turn": turn}


def usable(arguments: argparse.Namespace) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers asked for that are installed (installing them), and why others are not."""
    peers, missing = [], {}
    for peer in PEERS:
        if arguments.peers is not None and peer.name not in arguments.peers:
            continue
        if arguments.quick and not environments.is_installed(peer, arguments.cache):
            missing[peer.name] = "not installed yet, and --quick installs nothing"
            continue
        try:
            environments.install(peer, arguments.cache)
            peers.append(peer)
        except CannotRunError as error:
            missing[peer.name] = f"cannot be installed: {error}"
    return peers, missing


def rounds(
    corpus: Corpus, peers: list[Peer], arguments: argparse.Namespace, missing: dict[str, str]
) -> list[Any]:
    """Run everything in turn; return the runs. Who fails is put into missing and not run again."""
    lines = []
    whole = corpus.first(QUICK_MEGABYTES) if arguments.quick else corpus.whole
    run(CURATE, corpus, corpus.first(QUICK_MEGABYTES), arguments, "warm")  # compiles, or fills the cache
    for turn in range(arguments.rounds):
        lines.append(run(CURATE, corpus, whole, arguments, str(turn)))
        for peer in [peer for peer in peers if peer.name not in missing]:
            say(f"{corpus.name}, round {turn + 1} of {arguments.rounds}: {peer.name}")
            folder = corpus.first(QUICK_MEGABYTES if arguments.quick else peer.megabytes)
            beside = run(CURATE, corpus, folder, arguments, f"{turn}-{peer.runner}")
            try:
                lines.append({**run(peer, corpus, folder, arguments, str(turn)), "curate": beside})
            except CannotRunError as error:
                missing[peer.name] = f"cannot be run: {error}"
    return lines


def ceiling(corpus: Corpus, arguments: argparse.Namespace) -> str:
    """Return what the physical limit is, as a table."""
    peer = dataclasses.replace(CURATE, name="ceiling", runner="run_ceiling")
    folder = corpus.first(QUICK_MEGABYTES if arguments.quick else 200)
    try:
        rates = run(peer, corpus, folder, arguments, "ceiling")["rates"]
    except CannotRunError as error:
        return f"Not measured: {error}"
    return tables.markdown(
        ("limit of one core", "MB/s"), [(name, tables.number(rate)) for name, rate in rates.items()]
    )


def report(corpora: list[Corpus], lines: list[Any], limits: dict[str, str], missing: dict[str, str]) -> str:
    """Return everything as Markdown."""
    parts = [
        f"A Jaccard of {SIMILARITY:g} over 5-grams of words; one core; MB/s are of text, in CPU seconds."
    ]
    for corpus in corpora:
        counts, copies = corpus.counts, corpus.counts["copies"]
        twins = f"{counts['planted_near']:,} near duplicates and {counts['planted_copies']:,} copies planted in each"
        parts.append(
            f"### {corpus.name}: {counts['records'] * copies:,} records, "
            f"{counts['bytes'] * copies / 1e6:,.0f} MB ({copies} copies, {twins})"
        )
        parts += [tables.corpus_table([x for x in lines if x["corpus"] == corpus.name]), limits[corpus.name]]
    parts.append(tables.notes(lines))
    parts += [f"Not run: {name}: {why}" for name, why in missing.items()]
    return "\n\n".join(parts)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("work", type=Path, nargs="?", default=Path("out/dedup"))
    parser.add_argument("--copies-short", type=int, default=20, help="52 MB each")
    parser.add_argument("--copies-web", type=int, default=12, help="89 MB each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recall", type=float, default=0.95, help="that curate is asked for")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "curate-peers")
    parser.add_argument("--timeout", type=float, default=3600, help="seconds that one run may take")
    parser.add_argument("--peers", nargs="*", choices=[peer.name for peer in PEERS], help="only these")
    parser.add_argument("--quick", action="store_true", help="2 MB, one round, only what is installed")
    arguments = parser.parse_args()
    if arguments.data is None or not (arguments.data / "corpus").is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    arguments.work = arguments.work.absolute()
    arguments.rounds = 1 if arguments.quick else arguments.rounds
    return arguments


def main() -> None:
    arguments = parse()
    peers, missing = usable(arguments)
    corpora = prepare(arguments)
    lines: list[Any] = []
    limits = {}
    for corpus in corpora:
        lines += rounds(corpus, peers, arguments, missing)
        limits[corpus.name] = ceiling(corpus, arguments)
        (arguments.work / "dedup.json").write_text(json.dumps({"runs": lines, "not_run": missing}, indent=1))
    text = report(corpora, lines, limits, missing)
    (arguments.work / "dedup.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
