"""Templated conversations: what `minhash` drops of gpteacher_toolformer, and which of it differs in the answer.

DATA is a folder with ``instruct/gpteacher_toolformer.jsonl.zst`` (7,673 records; every prompt begins with one of some
dozen templates) and ``gpteacher_toolformer.dedup_reference.json``, which says how many its authors kept at four
thresholds of an undocumented measure: a trend, no target.

For each similarity: records dropped, how many of them answer otherwise than the record kept for them, each such pair
with the Jaccard similarity of the answers, to be read; records kept, beside the reference. With --text, both answers.
Other files of DATA/instruct may be named by --set; they have no reference.

    python benchmarks/toolformer.py DATA [--text] [--similarity 0.8] [--set gsm8k_train]
"""

from __future__ import annotations

import argparse
import io
import tempfile
from pathlib import Path
from typing import Any

import orjson
import zstandard

import curate
from curate.kernels import text

SIMILARITIES = (0.6, 0.7, 0.8, 0.9)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the records of a file."""
    with path.open("rb") as packed:
        return [
            orjson.loads(line)
            for line in io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(packed))
        ]


def dropped(path: Path, similarity: float, more: str) -> list[dict[str, Any]]:
    """Run minhash over a file; return the ledger's lines of what it dropped."""
    with tempfile.TemporaryDirectory() as scratch:
        recipe = Path(scratch) / "curate.yaml"
        recipe.write_text(
            "curate: 1\nname: templates\nversion: '1'\n"
            f"sources: [{{name: s, files: ['{path}'], license: MIT}}]\n"
            f"stages: [minhash: {{similarity: {similarity}{more}}}]\n"
        )
        found = curate.run(recipe, workers=1).ledger().filter("stage = 'minhash' and action = 'drop'")
        names = ("id", "kept_id", "evidence")
        return [dict(zip(names, row, strict=True)) for row in found.project(", ".join(names)).fetchall()]


def report(path: Path, similarity: float, reference: dict[str, Any], *, told: bool, more: str) -> None:
    """Print what one similarity drops."""
    records = read(path)
    by_id = {f"s/{one['id']}": one for one in records}
    lines = dropped(path, similarity, more)
    answers = dict(zip(by_id, _normalised(list(by_id.values())), strict=True))
    differ = [line for line in lines if answers[line["id"]] != answers[line["kept_id"]]]
    kept = len(records) - len(lines)
    theirs = reference.get(str(similarity), {}).get("kept")
    print(f"{path.name} at {similarity}: {len(lines)} dropped, {len(differ)} of them with another answer")
    print(f"  kept {kept} of {len(records)}; the reference kept {theirs}")
    for line in sorted(differ, key=lambda one: one["id"]):
        evidence = orjson.loads(line["evidence"])
        print(f"  {line['id']} for {line['kept_id']}: answers {evidence['response_similarity']:.3f}")
        if told:
            for key in ("id", "kept_id"):
                print(f"      {by_id[line[key]]['output']!r}")


def _normalised(records: list[dict[str, Any]]) -> list[str]:
    import pyarrow as pa

    found: list[str] = text.normalise(pa.array([one["output"] for one in records])).to_pylist()
    return found


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--similarity", type=float, action="append")
    parser.add_argument("--set", default="gpteacher_toolformer")
    parser.add_argument("--options", default="", help="further options of minhash, such as 'numbers: false'")
    parser.add_argument("--text", action="store_true")
    given = parser.parse_args()
    folder = given.data / "instruct"
    known = folder / f"{given.set}.dedup_reference.json"
    reference = orjson.loads(known.read_bytes()) if known.exists() else {}
    more = f", {given.options}" if given.options else ""
    for similarity in given.similarity or SIMILARITIES:
        report(folder / f"{given.set}.jsonl.zst", similarity, reference, told=given.text, more=more)


if __name__ == "__main__":
    main()
