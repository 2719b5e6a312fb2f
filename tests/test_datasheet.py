"""The manifest accounts for everything, and the datasheet says nothing that the manifest does not."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

import curate
from curate.govern import datasheet, documents, manifest
from curate.govern.datasheet import markdown
from curate.govern.datasheet.blocks import LONGEST
from curate.govern.datasheet.sheet import sheet

PYTHON = sys.executable
FILES = {"datasheet.json", "datasheet.md", "datasheet.html", "datasheet.pdf"}


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    from conftest import RECIPE, make_corpus

    folder = tmp_path_factory.mktemp("release")
    make_corpus(folder)
    (folder / "curate.yaml").write_text(RECIPE.replace("  - toys:Shout\n", "  - language\n  - pii\n"))
    return curate.run(folder / "curate.yaml", workers=1)


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
    assert found == {*listed, "manifest.json", *documents.render(release.manifest)}
    assert found > FILES
    for path, entry in listed.items():
        content = (release.path / path).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


def test_inputs_are_listed_with_their_hashes(release: curate.Release) -> None:
    for entry in release.manifest["inputs"]:
        read = (release.path.parent / entry["path"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(read).hexdigest()
    assert sum(entry["records"] for entry in release.manifest["inputs"]) == release.manifest["counts"]["seen"]


def test_the_root_covers_all_but_time(release: curate.Release) -> None:
    m = release.manifest
    assert manifest.root({**m, "created": "then", "timing": {}}) == m["root"]
    for key in set(m) - {"created", "timing", "root"}:
        assert manifest.root({**m, key: "changed"}) != m["root"]


def test_the_datasheet_comes_from_the_manifest_alone_at_any_time_in_any_process(
    release: curate.Release, tmp_path: Path
) -> None:
    saved = orjson.loads((release.path / "manifest.json").read_bytes())
    here = datasheet.render({**saved, "created": "then", "timing": {}})
    assert set(here) == FILES
    for path, content in here.items():
        assert content == (release.path / path).read_bytes(), path
    code = (
        "import hashlib, sys, orjson; from curate.govern import datasheet; "
        "made = datasheet.render(orjson.loads(open(sys.argv[1], 'rb').read())); "
        "print({path: hashlib.sha256(made[path]).hexdigest() for path in sorted(made)})"
    )
    elsewhere = {
        **os.environ,
        "TZ": "Asia/Tokyo",
        "LANG": "C",
        "SOURCE_DATE_EPOCH": "1",
        "HOME": str(tmp_path),
    }
    said = subprocess.run(
        [PYTHON, "-c", code, str(release.path / "manifest.json")],
        capture_output=True,
        text=True,
        check=True,
        env=elsewhere,
        cwd=tmp_path,
    )
    assert said.stdout.strip() == str({path: hashlib.sha256(here[path]).hexdigest() for path in sorted(here)})


def test_every_number_in_markdown_stands_in_the_manifest(release: curate.Release) -> None:
    text = (release.path / "datasheet.md").read_text().split("## Questions")[0]
    held = orjson.dumps(release.manifest, option=orjson.OPT_INDENT_2).decode()
    numbers = set(re.findall(r"\d+", re.sub(r"(?<=\d),(?=\d)", "", held)))
    for line in text.splitlines():
        shares_taken_out = re.sub(r"[\d.]+%|of \d+ files|from \d+ files", "", line)
        for number in re.findall(r"(?<![\w.…`])\d[\d,]*(?![\w.…`])", shares_taken_out):
            value = number.replace(",", "")
            assert value in numbers or value == "0", line


def test_no_rendering_has_a_placeholder(release: curate.Release) -> None:
    for path in sorted(FILES - {"datasheet.pdf"}):
        text = (release.path / path).read_text()
        for placeholder in ("None |", "TODO", "More Information", "N/A", ">nan<", "Undefined"):
            assert placeholder not in text, path


def test_cells_cannot_break_the_table() -> None:
    table = markdown.table(("a", "b"), [("x|y\nz", "1,234")], 1)
    assert table.splitlines()[-1] == "| x\\|y z | 1,234 |"


def _many(m: dict[str, Any], sources: int) -> dict[str, Any]:
    """Return a manifest of many sources, each with a hostile name and file of its own."""
    m = orjson.loads(orjson.dumps(m))
    named = [f"<b>s{n:04}</b>" for n in range(sources)]
    counts = m["stages"][0]["sources"]["docs"]
    for stage in m["stages"]:
        stage["sources"] = dict.fromkeys(named, counts)
    m["recipe"]["sources"] = [
        {**m["recipe"]["sources"][0], "name": name, "title": "雪 *title* `x`"} for name in named
    ]
    m["sources"] = [{**m["sources"][0], "name": name} for name in named]
    m["inputs"] = [{**m["inputs"][0], "path": f"{name}.jsonl", "source": name} for name in named]
    m["statistics"]["licenses"] = [{"source": name, "license": "MIT", "records": 1} for name in named]
    return m


def test_thousands_of_sources_do_not_blow_up_the_document_nor_break_out_of_it(
    release: curate.Release,
) -> None:
    made = datasheet.render(_many(release.manifest, 3000))
    html = made["datasheet.html"].decode()
    assert "<b>s0" not in html
    assert "&lt;b&gt;s0" in html
    assert len(html) < 2_000_000
    assert f"and {3000 - LONGEST:,} more" in made["datasheet.md"].decode()
    assert made["datasheet.pdf"].startswith(b"%PDF")


def test_the_pdf_is_tagged_and_says_what_the_page_says(release: curate.Release) -> None:
    import io

    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO((release.path / "datasheet.pdf").read_bytes()))
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert "/CreationDate" not in (reader.metadata or {})
    text = "\n".join(page.extract_text() for page in reader.pages)
    for section in sheet(release.manifest).sections[1:]:
        assert section.title in text
    assert f"{release.manifest['counts']['kept']:,} records were kept" in text.replace("\n", " ")
    assert reader.pages[0].mediabox.width == pytest.approx(595.28, abs=0.1)  # A4
