"""False alarms and finds of the representation report on real instructions.

    python benchmarks/representation.py [DATA] [--trials N]      (default: $CURATE_DATA; 200 trials)

DATA/instruct/*.jsonl.zst (instruction, input, output) are told by the stage `profile`, one source a file, and records
are removed at random, seeded by the trial. Printed is how many releases of all trials have any finding:

* *blind*: three stages, each removing a share of 0.5 % to 50 % of what it sees, whatever the record;
* *by source*: the same, but the first stage removes a third of the sources as a whole, and of each other source a
  share of its own: blind within a source, and far from it over all (Simpson's paradox);
* *by source, not stratified*: what the same removals would give if sources were not told apart;
* *planted*: a stage removes 10 % of the records, but of one group's 20 % or 30 %: how many of the groups with 200
  mentions or more are found, and how many others are told beside them;
* *dialect*: 60 records of dolly get a phrase in Scots, and a filter drops half of them and 10 % of the others.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import zstandard

from curate import ledger
from curate.govern import representation
from curate.stages.profile import Profiled
from curate.stages.profiling.topics import Topics

SEED = 20_261_122
STAGES = ("first", "second", "third")
SCOTS = " I didnae ken that."
_KEEP = len(STAGES)


def told(data: Path, planted: Callable[[str, int], str] = lambda name, row: "") -> pa.Table:
    """Return source and mentions of every record; planted: what is added to a record's instruction."""
    stage, tables = Profiled(Topics()), []
    for path in sorted((data / "instruct").glob("*.jsonl.zst")):
        name = path.name.split(".")[0]
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
            rows = [orjson.loads(line) for line in io.BufferedReader(stream) if line.strip()]
        texts = [
            "\n\n".join(filter(None, (row["instruction"], row["input"], row["output"]))) + planted(name, n)
            for n, row in enumerate(rows)
        ]
        facts = stage.judge(pa.record_batch({"text": pa.array(texts, pa.string())})).facts
        assert facts is not None
        mentions = facts.column("mentions")
        tables.append(pa.table({"source": pa.array([name] * len(texts)), "mentions": mentions}))
    return pa.concat_tables(tables).combine_chunks()


def found(
    table: pa.Table, removed: np.ndarray[Any, Any], *, stratified: bool = True
) -> list[tuple[str, str]]:
    """Return stage and group of all that is told; removed: [n] number of the stage, _KEEP for none."""
    stages = pa.array([*STAGES, None], pa.string()).take(pa.array(removed))
    view = table.append_column("stage", stages)
    if not stratified:
        view = view.set_column(0, "source", pa.array(["all"] * len(view)))
    with ledger.database(10**9) as connection:
        connection.register("told", view)
        part = representation.measure(connection, STAGES)
    return [(s["stage"], test["group"]) for s in part["stages"] for test in s["groups"] if test["told"]]


def blind(rng: np.random.Generator, sources: np.ndarray[Any, Any], by_source: bool) -> np.ndarray[Any, Any]:
    """Return the stage that removes each record, at random."""
    removed = np.full(len(sources), _KEEP)
    for stage in range(len(STAGES)):
        shares = np.exp(rng.uniform(np.log(0.005), np.log(0.5), sources.max() + 1))
        if not by_source:
            shares[:] = shares[0]
        elif stage == 0:
            shares[rng.random(len(shares)) < 1 / 3] = 1.0
        hit = (removed == _KEEP) & (rng.random(len(sources)) < shares[sources])
        removed[hit] = stage
    return removed


def planted(table: pa.Table, groups: Sequence[str], share: float) -> tuple[int, int]:
    """Return how many of the groups are found where their records are removed more often, and how many others are."""
    hits = others = 0
    mentions = table.column("mentions").to_pylist()
    for n, group in enumerate(groups):
        rng = np.random.default_rng([SEED, n])
        of = np.array([group in one for one in mentions])
        removed = np.where(rng.random(len(of)) < np.where(of, share, 0.1), 0, _KEEP)
        told_groups = {name for _, name in found(table, removed)}
        hits += group in told_groups
        others += len(told_groups - {group})
    return hits, others


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("--trials", type=int, default=200)
    given = parser.parse_args()
    if not given.data:
        sys.exit("no data: give the folder, or set CURATE_DATA")
    table = told(Path(given.data))
    _, sources = np.unique(table.column("source").to_numpy(zero_copy_only=False), return_inverse=True)
    print(f"{len(table):,} records, {sources.max() + 1} sources, {given.trials} trials")
    for label, by_source, stratified in (
        ("blind", False, True),
        ("by source", True, True),
        ("by source, not stratified", True, False),
    ):
        alarms = sum(
            bool(
                found(
                    table, blind(np.random.default_rng([SEED, n]), sources, by_source), stratified=stratified
                )
            )
            for n in range(given.trials)
        )
        print(f"{label}: a finding in {alarms} of {given.trials} ({alarms / given.trials:.1%})", flush=True)
    counts: dict[str, int] = {}
    for one in table.column("mentions").to_pylist():
        for group in one:
            counts[group] = counts.get(group, 0) + 1
    groups = sorted(group for group, count in counts.items() if count >= 200)
    for share in (0.2, 0.3):
        hits, others = planted(table, groups, share)
        print(
            f"planted, {share:.0%} against 10%: {hits} of {len(groups)} groups found, {others} others told",
            flush=True,
        )
    rows = set(random.Random(SEED).sample(range(2996), 60))
    with_scots = told(
        Path(given.data), lambda name, row: SCOTS if name == "dolly_3k_alpagasus" and row in rows else ""
    )
    of = np.array(["dialect/scots" in one for one in with_scots.column("mentions").to_pylist()])
    rng = np.random.default_rng(SEED)
    removed = np.where(rng.random(len(of)) < np.where(of, 0.5, 0.1), 0, _KEEP)
    print(f"dialect, {of.sum()} records: {found(with_scots, removed)}")


if __name__ == "__main__":
    main()
