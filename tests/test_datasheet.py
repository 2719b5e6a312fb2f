"""The manifest accounts for everything, and the datasheet says nothing that the manifest does not."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import orjson
import pytest

import curate
from curate.govern import datasheet, manifest, markdown


@pytest.fixture
def release(corpus: Path) -> curate.Release:
    return curate.run(corpus / "curate.yaml", workers=1)


def test_the_manifest_holds_what_the_contract_names(release: curate.Release) -> None:
    m = release.manifest
    for key in [
        "name",
        "version",
        "created",
        "software",
        "recipe",
        "recipe_sha256",
        "rules",
        "inputs",
        "stages",
        "counts",
        "outputs",
        "root",
    ]:
        assert key in m
    for key in ["name", "seen", "kept", "dropped", "quarantined", "edited", "reasons"]:
        assert all(key in stage for stage in m["stages"])
    assert {frozenset(entry) for entry in m["outputs"]} == {frozenset({"path", "bytes", "sha256", "records"})}
    assert {frozenset(e) for e in m["inputs"]} == {
        frozenset({"source", "path", "bytes", "sha256", "records"})
    }
    assert set(m["counts"]) >= {"seen", "kept", "dropped", "quarantined", "edited"}
    assert {"path", "sha256"} <= set(m["rules"][0])


def test_every_file_is_listed_with_its_hash(release: curate.Release) -> None:
    listed = {entry["path"]: entry for entry in release.manifest["outputs"]}
    found = {p.relative_to(release.path).as_posix() for p in release.path.rglob("*") if p.is_file()}
    assert found == {*listed, "manifest.json", "datasheet.md"}
    for path, entry in listed.items():
        content = (release.path / path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_inputs_are_listed_with_their_hashes(release: curate.Release, corpus: Path) -> None:
    for entry in release.manifest["inputs"]:
        assert entry["sha256"] == hashlib.sha256((corpus / entry["path"]).read_bytes()).hexdigest()
    assert sum(entry["records"] for entry in release.manifest["inputs"]) == release.manifest["counts"]["seen"]


def test_the_root_covers_all_but_time(release: curate.Release) -> None:
    m = release.manifest
    assert manifest.root({**m, "created": "then", "timing": {}}) == m["root"]
    for key in set(m) - {"created", "timing", "root"}:
        assert manifest.root({**m, key: "changed"}) != m["root"]


def test_the_datasheet_comes_from_the_manifest_alone(release: curate.Release) -> None:
    saved = orjson.loads((release.path / "manifest.json").read_bytes())
    text = datasheet.markdown(saved)
    assert text == (release.path / "datasheet.md").read_text()
    assert saved["created"] not in text


def test_every_number_of_the_datasheet_stands_in_the_manifest(release: curate.Release) -> None:
    numbers = set(re.findall(r"\d+", orjson.dumps(release.manifest).decode()))
    for line in (release.path / "datasheet.md").read_text().splitlines():
        shares_taken_out = re.sub(r"[\d.]+%|of \d+ files|from \d+ files", "", line)
        for number in re.findall(r"(?<![\w.…`])\d[\d,]*(?![\w.…`])", shares_taken_out):
            value = number.replace(",", "")
            assert value in numbers or value == "0", line


def test_the_datasheet_has_no_placeholder(release: curate.Release) -> None:
    text = (release.path / "datasheet.md").read_text()
    for placeholder in ("None |", "TODO", "More Information", "N/A", "nan"):
        assert placeholder not in text


def test_cells_cannot_break_the_table() -> None:
    table = markdown.table(("a", "b"), [("x|y\nz", 1234)], 1)
    assert table.splitlines()[-1] == "| x\\|y z | 1,234 |"
