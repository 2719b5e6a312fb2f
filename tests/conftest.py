"""What several test files share: a small corpus, a way to run it, and a way to compare releases."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.io.manifest import UNHASHED

TEXT = """
river stone window garden market copper violin letter harbour winter engine pepper lantern meadow signal ribbon
cellar thunder compass orchard velvet ladder whisper bridge candle feather anchor basket mirror saddle
"""
WORDS = TEXT.split()


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words))


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def make_corpus(folder: Path, records: int = 200) -> None:
    """Write two sources: documents with duplicates, near duplicates and bad lines; and pairs."""
    rng = random.Random(5)
    documents: list[dict[str, Any]] = [
        {"id": i, "text": sentence(rng, 60), "topic": rng.choice("abc")} for i in range(records)
    ]
    for i in range(0, records // 4, 2):
        documents.append({"id": f"copy-{i}", "text": documents[i]["text"].upper(), "topic": "copy"})
        near = documents[i + 1]["text"].split()
        near[30] = "a"  # shorter than the original, which therefore is the one that stays
        documents.append({"id": f"near-{i}", "text": " ".join(near), "topic": "near"})
    documents[7]["text"] += " the secret and another secret"
    half = len(documents) // 2
    write_jsonl(folder / "docs" / "a.jsonl", documents[:half])
    write_jsonl(folder / "docs" / "b.jsonl", documents[half:])
    with (folder / "docs" / "b.jsonl").open("ab") as file:
        file.write(b'{"id": "cut", "text": "no end\n{"id": "none", "text": null}\n[1]\n')
    pairs = [
        {
            "instruction": f"Describe the {sentence(rng, 6)}",
            "output": sentence(rng, 30),
            "lic": "MIT" if i % 5 else "",
        }
        for i in range(records // 2)
    ]
    pairs[3]["output"] = ""
    write_jsonl(folder / "pairs.jsonl", pairs)


RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: [docs/a.jsonl, docs/b.jsonl], license: CC0-1.0}
  - {name: pairs, files: [pairs.jsonl], fields: {license: lic}, license: unknown}
stages:
  - license: {allow: commercial, unknown: quarantine}
  - conversation
  - exact
  - minhash: {similarity: 0.7, recall: 0.99}
  - toys:Shout
"""


def contents(out: Path) -> dict[str, bytes]:
    """Return every file of a release without what may differ between runs: when it was made, and timings."""
    found = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
    manifest = orjson.loads(found["manifest.json"])
    created = manifest["created"].encode()
    for name in found:
        if name.endswith((".json", ".ndjson", ".md")):
            found[name] = found[name].replace(created, b"").replace(created[:10], b"")
    found["manifest.json"] = orjson.dumps(
        {k: v for k, v in manifest.items() if k == "root" or k not in UNHASHED}
    )
    return found


# What their tests share takes seconds to set up: one process does each of these files, and sets it up once.
SHARING = (
    *(
        "against",
        "datasheet",
        "datasheet_page",
        "demo",
        "export",
        "handoff",
        "mixture",
        "ray",
        "s3",
        "semantic",
    ),
    *("takedown", "trainer", "tune", "tune_arms", "verify"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of some files together (pytest-xdist's --dist loadgroup)."""
    for item in items:
        if item.path.stem.removeprefix("test_") in SHARING:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A folder with a small corpus and a recipe for it."""
    make_corpus(tmp_path)
    (tmp_path / "curate.yaml").write_text(RECIPE)
    return tmp_path


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data that CURATE_DATA names; a test that needs it skips where there is none."""
    folder = os.environ.get("CURATE_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CURATE_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture
def rewrite() -> Callable[[Path, str, str], None]:
    """Replace a text in a file; the text must be there."""

    def replace(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return replace
