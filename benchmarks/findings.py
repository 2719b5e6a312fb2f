"""What the instruction-data checks find in real sets, by set and reason, and records to judge them by.

    python benchmarks/findings.py DATA [--reason R] [--examples 10] [--set NAME]

Runs the stages conversation, quality and injection over DATA/instruct/*.jsonl.zst with their default options and
prints, for every reason, how many records of each set it found and what became of them. With ``--reason``, prints that
many of the records that it found instead, drawn by a hash of their ids: whether they deserve it is for a person to say.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import curate
from curate.ledger import connect, query

RECIPE = """\
curate: 1
name: findings
version: "1"
sources:
{sources}
stages: [conversation, quality, injection]
"""
ORDER = {"drop": 0, "quarantine": 1, "edit": 2, "flag": 3}
LONGEST = 700  # characters of a turn that are shown


def release(data: Path, folder: Path) -> Path:
    """Run the stages over all sets."""
    files = sorted((data / "instruct").glob("*.jsonl.zst"))
    sources = [
        f"  - {{name: {path.name.split('.')[0]}, files: [{os.path.relpath(path, folder)}], license: unknown}}"
        for path in files
    ]
    (folder / "curate.yaml").write_text(RECIPE.format(sources="\n".join(sources)))
    return curate.run(folder / "curate.yaml", folder / "release").path


def table(out: Path) -> None:
    """Print the findings by reason and set."""
    with connect(out) as db:
        found = query(
            db,
            "SELECT reason, action, source, count(*) AS n FROM ledger GROUP BY ALL ORDER BY n DESC, source",
        )
        read = {row["source"]: row["n"] for row in query(db, _READ)}
        gone = query(
            db, "SELECT source, count(*) AS n FROM ledger WHERE action IN ('drop', 'quarantine') GROUP BY ALL"
        )
    by_reason: dict[tuple[str, str], Counter[str]] = {}
    for row in found:
        by_reason.setdefault((row["action"], row["reason"]), Counter())[row["source"]] += row["n"]
    print(f"{'action':<11}{'reason':<42}{'records':>8}   sets")
    for (action, reason), sets in sorted(by_reason.items(), key=lambda one: (ORDER[one[0][0]], one[0][1])):
        told = ", ".join(f"{name} {n:,}" for name, n in sets.most_common())
        print(f"{action:<11}{reason:<42}{sum(sets.values()):>8,}   {told}")
    lost = {row["source"]: row["n"] for row in gone}
    print("\nremoved, of all records of a set:")
    for name, n in sorted(read.items()):
        print(f"  {name:<30}{lost.get(name, 0):>7,} of {n:>7,}  {lost.get(name, 0) / n:>7.2%}")


_READ = """
    SELECT source, count(*) AS n FROM
        (SELECT source FROM records UNION ALL SELECT source FROM removed) GROUP BY ALL
"""


def examples(out: Path, reason: str, count: int, name: str | None) -> None:
    """Print some of the records that a reason found, as they were read."""
    with connect(out) as db:
        found = query(db, "SELECT id, source, evidence FROM ledger WHERE reason = ?", [reason])
        chosen = sorted(
            (row for row in found if name in (None, row["source"])),
            key=lambda row: hashlib.sha256(row["id"].encode()).digest(),
        )[:count]
        views = {row["name"] for row in query(db, "SELECT view_name AS name FROM duckdb_views()")}
        texts: dict[str, Any] = {}
        for view in ("data", "edited", "removed"):  # the last that has a record has it as it was found
            if view in views:
                for row in chosen:
                    if held := query(db, f"SELECT messages FROM {view} WHERE id = ? LIMIT 1", [row["id"]]):
                        texts[row["id"]] = held[0]["messages"]
    print(f"{reason}: {len(found):,} records")
    for row in chosen:
        print(f"\n=== {row['id']}  {row['evidence']}")
        for turn in texts.get(row["id"]) or ():
            said = turn["content"] or ""
            print(f"[{turn['role']}] {said[:LONGEST]}{' …' if len(said) > LONGEST else ''}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--reason", action="append", default=[])
    parser.add_argument("--examples", type=int, default=10)
    parser.add_argument("--set")
    parser.add_argument("--folder", type=Path, help="where the release is kept, to ask again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        folder.mkdir(exist_ok=True)
        out = release(args.data.absolute(), folder.absolute())
        for reason in args.reason:
            examples(out, reason, args.examples, args.set)
        if not args.reason:
            table(out)


if __name__ == "__main__":
    main()
