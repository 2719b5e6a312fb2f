"""The main job on real data: run every set, print the funnel, and check what is known of the data.

    python benchmarks/real.py DATA [OUT] [--workers N] [--batch-size N] [--reverse]

DATA is a folder that holds instruct/*.jsonl.zst ({id, instruction, input, output, source, license}) and
corpus/permissive-47mb.jsonl.zst ({id, text, source, license, url}); default: the environment's CURATE_DATA.
--reverse lists sources and files the other way round, which must not change a byte.
"""

from __future__ import annotations

import argparse
import collections
import io
import os
import sys
from pathlib import Path

import orjson
import zstandard

from curate.cli import main
from curate.ledger import connect, query

LICENSES = {
    "gsm8k_train": "MIT",
    "gsm8k_test": "MIT",
    "dolly_3k_alpagasus": "CC-BY-SA-3.0",
    "self_instruct_seed": "Apache-2.0",
    "self_instruct_user_oriented": "Apache-2.0",
    "scitldr_a": "Apache-2.0",
    "pubmedqa_pqal": "MIT",
    "medquad": "CC-BY-4.0",
    "banking77": "CC-BY-4.0",
    "disfl_qa": "CC-BY-4.0",
    "gpteacher_toolformer": "MIT",
    "gpteacher_codegen": "MIT",
    "gorilla_apibench": "Apache-2.0",
    "vigogne_oasst_fr": "Apache-2.0",
    "vigogne_seed_fr": "Apache-2.0",
    "humaneval": "MIT",
    "ifeval_prompts": "Apache-2.0",
    "bbh": "MIT",
}
STAGES = """\
stages:
  - license: {allow: commercial, unknown: quarantine}
  - conversation
  - exact
  - minhash: {similarity: 0.8, recall: 0.95}
  - language: {allow: [en, fr, de, es, it, "no"], min_confidence: 0.5}
  - pii: {operator: replace}
"""


def write_recipe(data: Path, out: Path, reverse: bool) -> Path:
    sources = [(name, data / "instruct" / f"{name}.jsonl.zst", spdx) for name, spdx in LICENSES.items()]
    sources.append(("permissive", data / "corpus" / "permissive-47mb.jsonl.zst", "unknown"))
    if reverse:
        sources.reverse()
    lines = ["curate: 1", "name: real", 'version: "1"', "sources:"]
    for name, path, spdx in sources:
        lines.append(f"  - {{name: {name}, files: [{os.path.relpath(path, out.parent)}], license: {spdx}}}")
    recipe = out.parent / f"{out.name}.yaml"
    recipe.write_text("\n".join(lines) + "\n" + STAGES)
    return recipe


def rows(path: Path) -> list[dict[str, str]]:
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as stream:
        return [orjson.loads(line) for line in io.BufferedReader(stream) if line.strip()]


def check(data: Path, out: Path) -> None:
    """Print what is known of the data beside what the release says."""
    with connect(out) as db:
        medquad = rows(data / "instruct" / "medquad.jsonl.zst")
        empty = sum(not row["output"].strip() for row in medquad)
        found = query(
            db,
            "SELECT reason, count(*) AS n FROM ledger WHERE source = 'medquad' AND action <> 'edit' "
            "GROUP BY reason ORDER BY n DESC",
        )
        print(f"medquad: {empty:,} records with an empty output in the file; the ledger says {found}")
        filled = [(r["instruction"], r["input"], r["output"]) for r in medquad if r["output"].strip()]
        print(f"medquad: {len(filled) - len(set(filled)):,} byte-identical copies among the others")
        for name in ("gsm8k_train", "gsm8k_test"):
            problems = rows(data / "instruct" / f"{name}.jsonl.zst")
            distinct = {" ".join(row["instruction"].split()).casefold() for row in problems}
            lost = query(
                db,
                "SELECT id, stage, reason, score, kept_id FROM ledger "
                "WHERE source = ? AND action IN ('drop', 'quarantine') ORDER BY id",
                [name],
            )
            print(
                f"{name}: {len(problems):,} records, {len(distinct):,} distinct problems, lost {len(lost)}: {lost}"
            )
        near = query(
            db,
            "SELECT id, source, score, kept_id FROM ledger WHERE reason = 'minhash/near-duplicate' ORDER BY score, id",
        )
        per_source = collections.Counter(row["source"] for row in near)
        print(f"near duplicates by source: {dict(per_source.most_common())}")
        example = next(
            (row["id"] for row in near if row["source"] == "medquad"), near[0]["id"] if near else None
        )
    if example:
        main(["explain", str(out), example])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("out", nargs="?", default="out/real")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--batch-size", default="1024")
    parser.add_argument("--reverse", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if not arguments.data or not Path(arguments.data).is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    target = Path(arguments.out).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    recipe = write_recipe(Path(arguments.data).absolute(), target, arguments.reverse)
    options = ["--out", str(target), "--workers", arguments.workers, "--batch-size", arguments.batch_size]
    if code := main(["run", str(recipe), *options]):
        sys.exit(code)
    check(Path(arguments.data), target)
