from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from conftest import contents, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st

import curate
from curate.govern import documents
from curate.govern.licensing import attribution, findings, measure, output, tables
from curate.govern.licensing.documents import notice

CC = "This work is licensed under CC BY 4.0."
RECORDS: list[dict[str, Any]] = [
    {
        "id": "1",
        "text": "A plain text.",
        "lic": "CC-BY-4.0",
        "user": "Ada, B.",
        "link": "https://example.org/1",
    },
    {
        "id": "2",
        "text": "The secret one.",
        "lic": "cc by 4.0",
        "user": "=1+1",
        "link": "",
        "title": 'The "first"',
    },
    {"id": "3", "text": "Free for all.", "lic": "CC0-1.0", "user": "Ada, B."},
    {"id": "4", "text": CC, "lic": None, "user": "Eve\nNOTICE: forged"},
    {"id": "5", "text": CC + " Or so it says.", "lic": "MIT", "user": "@home"},
    {"id": "6", "text": "Nobody knows.", "lic": "bsd", "user": "Kim"},
    {"id": "7", "text": "Share it alike.", "lic": "CC-BY-SA-4.0", "user": None},
    {"id": "8", "text": "For science only.", "lic": "CC-BY-NC-4.0", "user": "Kim"},
]
RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - name: forum
    files: [forum.jsonl]
    format: text
    fields: {license: lic, author: user, url: link}
    title: A forum
    creator: The forum's people
  - {name: empty, files: [empty.jsonl], format: text, license: MIT}
  - name: written
    files: [written.jsonl]
    format: text
    license: MIT
    generated_by: [{model: a model, version: "3", terms: Output may not be used to build competing models.}]
stages:
  - license: {allow: any, unknown: keep}
  - toys:Shout
output: {format: FORMAT}
"""


def make(folder: Path, layout: str) -> Path:
    folder.mkdir()
    write_jsonl(folder / "forum.jsonl", RECORDS)
    write_jsonl(folder / "empty.jsonl", [{"id": "0", "text": None}])
    write_jsonl(
        folder / "written.jsonl", [{"id": "a", "text": "Hello."}, {"id": "b", "text": "Hello again."}]
    )
    (folder / "curate.yaml").write_text(RECIPE.replace("FORMAT", layout))
    return curate.run(folder / "curate.yaml", workers=1).path


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("releases")
    return {layout: make(root / layout, layout) for layout in ("parquet", "jsonl.zst")}


@pytest.fixture(scope="module")
def out(releases: dict[str, Path]) -> Path:
    return releases["parquet"]


@pytest.fixture(scope="module")
def manifest(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((out / "manifest.json").read_bytes())
    return found


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def value(cell: str) -> str:
    """The way back that ATTRIBUTION.csv documents."""
    return cell.removeprefix("'")


def test_the_manifest_counts_licenses_and_judges_twice(manifest: dict[str, Any]) -> None:
    section = manifest["licenses"]
    assert [(row["license"], row["records"], row["edited"]) for row in section["records"]] == [
        ("CC-BY-4.0", 3, 1),
        ("CC-BY-NC-4.0", 1, 0),
        ("CC-BY-SA-4.0", 1, 0),
        ("CC0-1.0", 1, 0),
        ("MIT", 1, 0),
        (None, 1, 0),
        ("MIT", 2, 0),
    ]
    assert section["collection"]["verdict"] == "unknown"
    assert section["collection"]["commercial"] is False
    assert section["merged"]["verdict"] == "conflict"
    assert [(pair["a"], pair["b"]) for pair in section["conflicts"]] == [("CC-BY-NC-4.0", "CC-BY-SA-4.0")]
    assert section["disagreements"] == [
        {
            "source": "forum",
            "declared": "MIT",
            "detected": "CC-BY-4.0",
            "records": 1,
            "detected_is_stricter": True,
        }
    ]
    assert section["detected"] == [{"source": "forum", "license": "CC-BY-4.0", "records": 2, "concluded": 1}]
    assert section["generated"][0]["license"] == output.PROVIDER


def test_counting_again_gives_the_same(releases: dict[str, Path]) -> None:
    sections = []
    for out in releases.values():
        held = orjson.loads((out / "manifest.json").read_bytes())
        assert measure.measure(out, held["recipe"], 10**9) == held["licenses"]
        sections.append(held["licenses"])
    assert sections[0] == sections[1]


def test_findings_name_what_a_person_should_look_at(manifest: dict[str, Any]) -> None:
    found = {finding["reason"]: finding for finding in manifest["findings"]}
    told = found["release/license-disagreement"]["message"]
    assert "1 record of source forum says another license than is declared" in told
    assert "asks for more" in told
    assert "CC-BY-NC-4.0 and CC-BY-SA-4.0 cannot be merged" in found["release/merge-conflict"]["message"]
    assert "2 records of source written were written by a model 3" in found["release/output-terms"]["message"]


def test_changed_text_that_allows_no_derivatives_is_a_finding() -> None:
    from curate.govern.licensing import verdicts

    judged = verdicts.judge({"CC-BY-ND-4.0": 5}, {"CC-BY-ND-4.0": 2})
    section = {**judged, "disagreements": [], "generated": [], "records": []}
    reasons = {finding["reason"]: finding["message"] for finding in findings.findings(section)}
    assert "2 records" in reasons["release/collection-conflict"]


@pytest.mark.parametrize(
    ("stated", "license", "reported"),
    [
        ({"terms": "Output may not be used to build competing models."}, output.PROVIDER, True),
        ({"terms_url": "https://openai.com/policies/terms-of-use"}, output.PROVIDER, True),
        ({"terms": "None of it may be used to train models that compete."}, output.PROVIDER, True),
        ({"terms": "None of it may be sold."}, None, True),
        ({"terms": "None. A program, no model."}, None, False),
        ({"terms": "CC-BY-NC-4.0"}, "CC-BY-NC-4.0", True),
        ({"terms": "llama3"}, "LicenseRef-curate-llama-3", True),
        ({"terms": "Apache-2.0"}, None, False),
        ({"terms": "None: it is our own."}, None, False),
        ({"terms": "Ask them."}, None, True),
        ({}, None, True),
    ],
)
def test_terms_of_output_are_read_or_reported(
    stated: dict[str, str], license: str | None, reported: bool
) -> None:
    [entry] = output.generated([{"name": "s", "generated_by": [{"model": "m", **stated}]}])
    assert entry["license"] == license
    section = {
        "disagreements": [],
        "conflicts": [],
        "collection": {"verdict": "allowed"},
        "records": [{"source": "s", "records": 3}],
        "generated": [entry],
    }
    assert bool(findings.findings(section)) == reported


def test_attribution_has_a_row_for_every_record_that_owes_credit(out: Path) -> None:
    rows = table(out / "ATTRIBUTION.csv")
    assert [row["id"] for row in rows] == [
        *("forum/1", "forum/2", "forum/4", "forum/5", "forum/7", "forum/8"),
        *("written/a", "written/b"),
    ]
    first, second = rows[:2]
    assert first == {
        "id": "forum/1",
        "source": "forum",
        "license": "CC-BY-4.0",
        "license_url": "https://creativecommons.org/licenses/by/4.0/",
        "author": "Ada, B.",
        "url": "https://example.org/1",
        "title": "",
        "changed": "no",
    }
    assert (second["license"], second["title"], second["changed"]) == ("CC-BY-4.0", 'The "first"', "yes")


def test_no_cell_begins_like_a_formula_and_the_guard_comes_off(out: Path) -> None:
    rows = table(out / "ATTRIBUTION.csv")
    assert not [cell for row in rows for cell in row.values() if cell[:1] in tuple("=+-@\t\r\n")]
    authors = {row["id"]: value(row["author"]) for row in rows}
    assert authors["forum/2"] == "=1+1"
    assert authors["forum/5"] == "@home"


def test_every_layout_gives_the_same_attribution(releases: dict[str, Path]) -> None:
    first, second = ((out / "ATTRIBUTION.csv").read_bytes() for out in releases.values())
    assert first == second
    assert first.count(b"\r\n") == 1 + 8


texts = st.text(
    st.one_of(
        st.sampled_from("=+-@'\",\r\n\t;\ufeff"),
        st.characters(exclude_categories=["Cs"], exclude_characters="\0"),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=8))
def test_the_csv_agrees_with_the_slow_twin_and_reads_back(pairs: list[tuple[str, str]]) -> None:
    columns = {name: pa.array([pair[i] for pair in pairs], pa.string()) for i, name in enumerate("ab")}
    encoded = attribution.encoded(pa.table(columns)).decode()
    slow = io.StringIO(newline="")
    writer = csv.writer(slow, lineterminator="\r\n")
    for pair in pairs:
        writer.writerow(["'" + cell if cell[:1] in [*"=+-@\t\r\n'＝＋－＠"] else cell for cell in pair])
    held = list(csv.reader(io.StringIO(encoded, newline="")))
    assert held == list(csv.reader(io.StringIO(slow.getvalue(), newline="")))
    assert [tuple(map(value, row)) for row in held if row] == pairs
    assert not [cell for row in held for cell in row if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")]


def test_rows_stay_beside_each_other_however_the_tables_are_cut(tmp_path: Path) -> None:
    count = 10
    ids = pa.array([f"s/{i}" for i in range(count)])
    for name, groups in (("data", 4), ("records", 3)):
        (tmp_path / name).mkdir()
        pq.write_table(
            pa.table({"id": ids, "author": ids}),
            tmp_path / name / "part-00000.parquet",
            row_group_size=groups,
        )
    parts = list(tables.aligned(tmp_path, ["author", "title"], ["id"]))
    assert [part.num_rows for part, _ in parts] == [3, 3, 3, 1]
    for data, records in parts:
        assert data.column("author").to_pylist() == records.column("id").to_pylist()
        assert data.column("title").null_count == data.num_rows


def test_no_file_is_made_where_no_license_asks_for_credit(tmp_path: Path) -> None:
    for name in ("data", "records"):
        (tmp_path / name).mkdir()
    pq.write_table(pa.table({"license": ["CC0-1.0", "bsd"]}), tmp_path / "data" / "part-00000.parquet")
    described = pa.table({"id": ["a", "b"], "source": ["s", "s"], "edits": pa.nulls(2)})
    pq.write_table(described, tmp_path / "records" / "part-00000.parquet")
    assert attribution.write(tmp_path, 0) == []
    assert not (tmp_path / attribution.NAME).exists()


def test_notice_names_licenses_sources_and_authors_that_are_there(manifest: dict[str, Any]) -> None:
    text = "\n".join(notice(manifest))
    assert "Source forum: A forum (3 records, 1 of them changed)" in text
    assert "Creator: The forum's people" in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "- Say that the material was changed, and how." in text
    assert "Stage shout changed the text of 1 record." in text
    assert "no legal advice" in text or "not legal advice" in text
    assert "License not known" in text
    assert "Source empty" not in text
    assert all(len(line) <= 100 or "://" in line for line in text.splitlines())


def test_an_author_cannot_forge_a_line_of_notice(manifest: dict[str, Any]) -> None:
    lines = list(notice(manifest))
    assert [line for line in lines if line.startswith("NOTICE:")] == ["NOTICE: small 1"]
    assert any("Eve NOTICE: forged" in line for line in lines)


def test_many_authors_are_counted_and_the_largest_named(tmp_path: Path) -> None:
    wrote = [f"author {i:03}" for i in range(80) for _ in range(1 + (i == 7))]
    for name in ("data", "records"):
        (tmp_path / name).mkdir()
    n = len(wrote)
    data = {"source": ["s"] * n, "license": ["mit"] * (n - 1) + ["MIT"], "author": wrote}
    pq.write_table(pa.table(data), tmp_path / "data" / "part-00000.parquet")
    facts = {name: pa.nulls(n, pa.string()) for name in ("license_detected", "license_concluded", "edits")}
    described = {"source": ["s"] * n, "license_declared": data["license"], **facts}
    pq.write_table(pa.table(described), tmp_path / "records" / "part-00000.parquet")
    section = measure.measure(tmp_path, {"stages": [], "sources": [{"name": "s"}]}, 10**9)
    assert section["records"] == [{"source": "s", "license": "MIT", "records": n, "edited": 0}]
    [entry] = section["authors"]
    assert (entry["authors"], len(entry["named"])) == (80, measure.NAMED)
    assert entry["named"][0] == {"author": "author 007", "records": 2}


def test_licenses_json_says_what_the_manifest_says(out: Path, manifest: dict[str, Any]) -> None:
    told = orjson.loads((out / "licenses.json").read_bytes())
    for key, pointer in told["evidence"]["manifest"].items():
        assert pointer == f"/licenses/{key}"
        assert told[key] == manifest["licenses"][key]
    assert "not legal advice" in told["disclaimer"]
    by_id = {one["id"]: one for one in told["terms"]}
    assert by_id["CC-BY-NC-4.0"]["commercial"] is False
    assert by_id["CC-BY-NC-4.0"]["url"] == "https://creativecommons.org/licenses/by-nc/4.0/"
    assert set(told["wording"]) >= {key for one in told["terms"] for key in one["obligations"]}
    assert documents.render(manifest)["licenses.json"] == (out / "licenses.json").read_bytes()


def test_a_second_run_gives_the_same_bytes(out: Path, tmp_path: Path) -> None:
    again = make(tmp_path / "again", "parquet")
    first, second = contents(out), contents(again)
    for name in ("NOTICE", "ATTRIBUTION.csv", "licenses.json"):
        assert first[name] == second[name]


def test_authors_in_json_lines_are_read_past_look_alikes(tmp_path: Path) -> None:
    said = [
        {
            "source": "s",
            "license": "MIT",
            "author": "Ada",
            "text": '"author":null',
            "extra": {"author": None},
        },
        {"source": "s", "license": "MIT", "author": None, "text": '{"author":null}', "extra": None},
        {"source": "s", "license": "MIT", "author": None, "text": "", "extra": {"author": "not this"}},
        {"source": "s", "license": "MIT", "author": "Eve", "text": "", "extra": None},
    ]
    (tmp_path / "data").mkdir()
    frames = [
        zstandard.compress(b"".join(orjson.dumps(row) + b"\n" for row in part))
        for part in (said[:2], said[2:])
    ]
    (tmp_path / "data" / "part-00000.jsonl.zst").write_bytes(b"".join(frames))
    found = [part.column("author").to_pylist() for part in tables.lines(tmp_path, ["author"], "author")]
    assert [name for part in found for name in part if name] == ["Ada", "Eve"]
