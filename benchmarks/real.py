"""The main job on real data: run every set, print the funnel, and check what is known of the data.

    python benchmarks/real.py DATA [OUT] [--workers N] [--identical]

DATA is a folder that holds instruct/*.jsonl.zst ({id, instruction, input, output, source, license}) and
corpus/permissive-47mb.jsonl.zst ({id, text, source, license, url}); default: the environment's CURATE_DATA.
--identical runs it twice more, with one worker and with other batches and the sources listed the other way
round, and compares every file of the three releases (the manifest without its created and timing parts).
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import os
import sys
from pathlib import Path

import orjson
import zstandard

from curate.cli import main
from curate.io.manifest import UNHASHED
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
        copies = len(medquad) - len({(r["instruction"], r["input"], r["output"]) for r in medquad})
        others = len(filled) - len(set(filled))
        print(f"medquad: {copies:,} byte-identical copies, {copies - others:,} of them with an empty output")
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


def contents(out: Path) -> dict[str, bytes]:
    """Return the hash of every file of a release without what may differ: the time it was made, and timings."""
    found = {p.relative_to(out).as_posix(): p for p in sorted(out.rglob("*")) if p.is_file()}
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    created = manifest["created"].encode()
    hashes = {}
    for name, path in found.items():
        content = path.read_bytes()
        if path.suffix in (".json", ".ndjson"):
            content = content.replace(created, b"").replace(created[:10], b"")
        hashes[name] = hashlib.sha256(content).digest()
    kept = {key: value for key, value in manifest.items() if key == "root" or key not in UNHASHED}
    return hashes | {"manifest.json": orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)}


def compare(data: Path, out: Path) -> None:
    """Print whether a run with one worker, and one with everything else changed, gives the same bytes."""
    first = contents(out)
    variants = [("1 worker", False, ["--workers", "1"])]
    variants += [
        ("2 workers, sources reversed, batches of 333", True, ["--workers", "2", "--batch-size", "333"])
    ]
    for number, (what, reverse, options) in enumerate(variants):
        other = out.with_name(f"{out.name}-{number}")
        if main(["run", str(write_recipe(data, other, reverse)), "--out", str(other), *options, "--json"]):
            sys.exit(1)
        differing = [
            name for name in {*first, *contents(other)} if first.get(name) != contents(other).get(name)
        ]
        print(f"{what}: {len(first)} files, {len(differing)} differ {sorted(differing)}", file=sys.stderr)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", nargs="?", default=os.environ.get("CURATE_DATA"))
    parser.add_argument("out", nargs="?", default="out/real")
    parser.add_argument("--workers", default="2")
    parser.add_argument("--identical", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    arguments = parse()
    if not arguments.data or not Path(arguments.data).is_dir():
        sys.exit("skipped: name a folder of real data, or set CURATE_DATA")
    data, target = Path(arguments.data).absolute(), Path(arguments.out).absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    recipe = write_recipe(data, target, reverse=False)
    if code := main(["run", str(recipe), "--out", str(target), "--workers", arguments.workers]):
        sys.exit(code)
    check(data, target)
    if arguments.identical:
        compare(data, target)
