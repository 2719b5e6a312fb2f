"""Drift: false alarms between random halves of a set, and alarms on planted shifts.

    python benchmarks/drift.py DATA [--splits 200]

DATA holds instruct/*.jsonl.zst. Each set with at least 1,000 records is released once (exact, language, pii, profile);
its kept records are halved at random, and each pair of halves is compared as two releases are. A half has the same
number of dropped duplicates as the other, give or take chance. Then one half is changed in a known way.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import curate
from curate.govern import distributions, drift
from curate.ledger import connect, query

Row: TypeAlias = dict[str, Any]
FACTS = ("language", "license", "task")  # topics are learnt for each release, and not compared between two
RECIPE = """
curate: 1
name: halves
version: "1"
sources: [{{name: {name}, files: ["{file}"], license: CC0-1.0}}]
stages: [profile, exact, {{language: {{allow: any}}}}, {{pii: {{action: flag}}}}]
"""
LEAST, MOST = 1000, 8000  # records of a set


def released(file: Path, folder: Path) -> list[Row]:
    """Return what drift is told of, record by record, of a release of one set."""
    recipe = folder / "curate.yaml"
    recipe.write_text(RECIPE.format(name=file.name.split(".")[0], file=file))
    made = curate.run(recipe, folder / "release", fresh=True)

    with connect(made.path) as views:
        held = {row["column_name"] for row in query(views, "DESCRIBE records")}
        facts = ", ".join(f"records.{name}" for name in FACTS if name in held and name != "license")
        rows = query(
            views,
            f"""
            SELECT records.source, coalesce(license_concluded, license_declared) AS license, {facts},
                len(pii) > 0 AS personal,
                list_sum(list_transform(messages, lambda t: CASE WHEN t.role = 'assistant'
                    THEN strlen(t.content) ELSE 0 END)) AS length,
                list_sum(list_transform(messages, lambda t: CASE WHEN t.role <> 'assistant'
                    THEN strlen(t.content) ELSE 0 END)) AS prompt
            FROM records POSITIONAL JOIN data
            """,
        )
        dropped = query(views, "SELECT count(*) AS n FROM ledger WHERE action = 'drop'")[0]["n"]
    return [{**row, "duplicate": False} for row in rows] + [{"duplicate": True}] * dropped


def manifest(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the distributions of some records, as a release of them has them."""
    kept = [row for row in rows if not row["duplicate"]]
    named = [
        distributions.by_value(name, Counter(str(row.get(name) or "none") for row in kept))
        for name in FACTS
        if name in kept[0]
    ]
    personal = sum(bool(row["personal"]) for row in kept)
    return {
        "distributions": [
            *named,
            distributions.yes_or_no("personal data", personal, len(kept) - personal),
            distributions.yes_or_no("duplicates", len(rows) - len(kept), len(kept)),
            distributions.by_length("length", Counter(int(row["length"]) for row in kept)),
            distributions.by_length("prompt length", Counter(int(row["prompt"]) for row in kept)),
        ]
    }


def _share(chance: float, change: Callable[[Row], Row]) -> Callable[[Row, random.Random], Row]:
    return lambda row, rng: change(row) if not row["duplicate"] and rng.random() < chance else row


SHIFTS = {
    "15 % in another language": _share(0.15, lambda row: {**row, "language": "sw"}),
    "15 % with personal data": _share(0.15, lambda row: {**row, "personal": True}),
    "answers a third longer": _share(1.0, lambda row: {**row, "length": row["length"] * 4 // 3}),
    "15 % of another task": _share(0.15, lambda row: {**row, "task": "write haiku"}),
    "15 % under another license": _share(0.15, lambda row: {**row, "license": "0BSD"}),
    "15 % duplicates more": _share(0.15, lambda row: {"duplicate": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--splits", type=int, default=200)
    args = parser.parse_args()
    rng = random.Random(7)
    alarms = strict = comparisons = 0
    print(f"{'set':<26} {'records':>8} {'drifted':>8} {'p <= alpha':>11}   planted shifts found")
    for file in sorted(args.data.glob("instruct/*.jsonl.zst")):
        with tempfile.TemporaryDirectory() as folder:
            rows = released(file.resolve(), Path(folder))
        if len(rows) < LEAST:
            continue
        rows = rng.sample(rows, min(len(rows), MOST))
        half, here, certain = len(rows) // 2, 0, 0
        for _ in range(args.splits):
            rng.shuffle(rows)
            found = drift.compare(manifest(rows[:half]), manifest(rows[half:]))
            here += any(one.drifted for one in found)
            certain += any(one.p <= drift.ALPHA for one in found)
        told = []
        for name, change in SHIFTS.items():
            changed = [change(row, rng) for row in rows[half:]]
            if any(one.drifted for one in drift.compare(manifest(rows[:half]), manifest(changed))):
                told.append(name)
        missed = [name for name in SHIFTS if name not in told]
        alarms, strict, comparisons = alarms + here, strict + certain, comparisons + args.splits
        shown = "all" if not missed else f"all but: {', '.join(missed)}"
        print(f"{file.name.split('.')[0]:<26} {len(rows):>8,} {here:>8} {certain:>11}   {shown}")
    print(
        f"\n{comparisons:,} comparisons of halves: {alarms} with a false alarm ({alarms / comparisons:.2%});"
    )
    print(
        f"by p alone, whatever the distance: {strict} ({strict / comparisons:.2%}); alpha is {drift.ALPHA:.0%}"
    )


if __name__ == "__main__":
    main()
