"""A small release with everything that machine-readable documents must describe, made once per test run."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from conftest import sentence, write_jsonl

import curate

RECIPE = """\
curate: 1
name: small
version: 1.2.0
about:
  title: A small release
  description: "Made-up sentences: documents and pairs, to test documents with."
  creator: The curate project
  contact: curate@example.org
  homepage: https://example.org/small
  published: 2026-05-01
sources:
  - {{name: docs, files: [docs.jsonl], license: CC-BY-4.0, title: Documents, homepage: "https://example.org/docs",
     collected: 2026-03-04, collection: Written by a program.}}
  - {{name: pairs, files: [pairs.jsonl], fields: {{license: lic}}, license: unknown, collected: 2026-01-02}}
stages:
  - license: {{allow: commercial, unknown: quarantine}}
  - exact
  - toys:Shout
output: {{format: {format}{output}}}
"""


def make(folder: Path, format: str = "parquet", output: str = "") -> curate.Release:
    """Write a corpus with columns of every kind and run it."""
    rng = random.Random(3)
    documents: list[dict[str, Any]] = [
        {
            "id": f"d{i}",
            "text": sentence(rng, 30),
            "rank": i,
            "score": i / 8,
            "good": bool(i % 2),
            "tags": ["x", "y"][: i % 3],
            "meta": {"page": i, "part": "a"},
            "mixed": i if i % 2 else f"number {i}",
            "a b/ø#": "odd name",
            "never": None,
        }
        for i in range(90)
    ]
    documents[5]["text"] += " the secret"
    documents.append({**documents[0], "id": "copy"})
    pairs = [
        {
            "instruction": f"Describe the {sentence(rng, 5)}",
            "output": sentence(rng, 20),
            "lic": ("MIT", "Apache-2.0", "")[i % 3],
        }
        for i in range(60)
    ]
    write_jsonl(folder / "docs.jsonl", documents)
    write_jsonl(folder / "pairs.jsonl", pairs)
    (folder / "curate.yaml").write_text(RECIPE.format(format=format, output=output))
    return curate.run(folder / "curate.yaml", workers=1)
