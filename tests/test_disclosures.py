"""Disclosures: every answer bound to its evidence, nothing asserted that nobody declared, contradictions named."""

from __future__ import annotations

import copy
import csv
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import tldextract
from conftest import sentence, write_jsonl

import curate
from curate.govern import disclosures
from curate.govern.disclosures import checks, form, tongues, volume
from curate.govern.manifest import revised

Manifest = dict[str, Any]
NAMES = ("eu-art53", "ca-ab2013", "nist-ai-600-1", "gdpr-record")
RECIPE = """\
curate: 1
name: told
version: "2"
about: {creator: Example AS, contact: data@example.org, description: To answer questions.}
sources:
  - {name: books, files: [books.jsonl], license: CC0-1.0, category: public, homepage: "https://example.org/books",
     version: "3", collected_from: 2025-11-02, collected: 2026-02-01, ongoing: false, personal_data: "no"}
  - {name: notes, files: [notes.jsonl], license: CC0-1.0, category: public, collected: 2026-01-01, ongoing: false,
     personal_data: "no"}
  - name: pages
    files: [pages.jsonl]
    license: CC-BY-4.0
    category: crawled
    collected_from: 2026-03-01
    collected: 2026-04-30
    ongoing: false
    personal_data: unknown
    crawler: {name: ExampleBot, operator: Example AS, purpose: to learn, robots: respected, paywalls: respected}
    signals: [{kind: robots.txt, says: "Allow: /", checked: 2026-04-01}]
  - name: drafts
    files: [drafts.jsonl]
    license: CC0-1.0
    category: synthetic
    ongoing: false
    generated_by: [{model: example-model, version: "7", provider: Example AS, wrote: responses}]
stages: [license, exact]
output: {format: FORMAT}
"""
URLS = [
    "https://www.example.co.uk/a",
    "http://example.co.uk:8080/b?c=d",
    "https://user:word@sub.EXAMPLE.com/x",
    "//cdn.example.net/y",
    "example.org/without/scheme",
    "http://192.0.2.7/z",
    "file:///tmp/x",
    "=2+3",
    "http://localhost/",
    None,
]


def _write(folder: Path, output: str) -> Path:
    import random

    rng = random.Random(11)
    write_jsonl(folder / "books.jsonl", [{"text": sentence(rng, 200)} for _ in range(40)])
    write_jsonl(folder / "notes.jsonl", [{"text": sentence(rng, 10)} for _ in range(3)])
    pages = [{"text": sentence(rng, 20 + i % 5), "url": URLS[i % len(URLS)]} for i in range(100)]
    write_jsonl(folder / "pages.jsonl", [*pages, *pages[:5]])
    turns = [{"instruction": sentence(rng, 5), "output": sentence(rng, 9) + " é"} for _ in range(20)]
    write_jsonl(folder / "drafts.jsonl", turns)
    (folder / "curate.yaml").write_text(RECIPE.replace("FORMAT", output))
    return folder / "curate.yaml"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return curate.run(_write(tmp_path_factory.mktemp("told"), "parquet"), workers=1)


@pytest.fixture
def manifest(release: curate.Release) -> Manifest:
    return copy.deepcopy(release.manifest)


def _documents(manifest: Manifest) -> dict[str, Any]:
    files = disclosures.render(manifest)
    return {name: json.loads(files[f"disclosures/{name}.json"]) for name in NAMES}


def _fields(manifest: Manifest) -> dict[str, Any]:
    return {f"{name}/{f['id']}": f for name, made in _documents(manifest).items() for f in made["fields"]}


def _bare(manifest: Manifest) -> Manifest:
    """Return the manifest as if no source had declared anything, nor the recipe."""
    bare = copy.deepcopy(manifest)
    bare["recipe"]["about"] = {}
    bare["recipe"]["sources"] = [
        {key: s[key] for key in ("name", "files", "format", "fields")} for s in bare["recipe"]["sources"]
    ]
    return bare


def test_the_files_are_what_the_manifest_gives(release: curate.Release) -> None:
    files = disclosures.render(release.manifest)
    assert set(files) == {f"disclosures/{name}.{kind}" for name in NAMES for kind in ("json", "md")}
    for path, content in files.items():
        assert (release.path / path).read_bytes() == content
        assert b"not legal advice" in content.lower()


@pytest.mark.parametrize("strip", [False, True])
def test_every_pointer_leads_to_a_value_with_the_hash_that_is_told(manifest: Manifest, strip: bool) -> None:
    manifest = _bare(manifest) if strip else manifest
    fields = _fields(manifest)
    for name, field in fields.items():
        for evidence in field["evidence"]:
            value: Any = manifest
            for part in evidence["pointer"][1:].split("/"):
                value = value[int(part)] if isinstance(value, list) else value[part.replace("~1", "/")]
            canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
            assert hashlib.sha256(canonical).hexdigest() == evidence["sha256"], name
        if field["state"] in ("measured", "derived", "declared", "proposed") and name != "eu-art53/0.2":
            assert field["evidence"], name


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, inner in items for leaf in _leaves(inner, (*path, key))]
    return [path]


def test_a_changed_number_changes_the_documents(manifest: Manifest) -> None:
    whole = disclosures.render(manifest)
    told = {e["pointer"] for field in _fields(manifest).values() for e in field["evidence"]}
    changed = set()
    for path in _leaves(manifest):
        pointer = "/" + "/".join(map(str, path))
        place: Any = manifest
        for key in path[:-1]:
            place = place[key]
        old = place[path[-1]]
        if type(old) is int and any(pointer == p or pointer.startswith(f"{p}/") for p in told):
            place[path[-1]] = old + 123_457
            assert disclosures.render(manifest) != whole, pointer
            place[path[-1]] = old
            changed.add(pointer.split("/")[1])
    assert changed >= {"counts", "volume", "licenses", "stages", "inputs", "recipe"}


def test_a_number_that_is_shown_is_the_manifest_s(manifest: Manifest) -> None:
    manifest["counts"]["kept"] = 7_654_321
    manifest["volume"]["bytes"] = 8_765_432_109
    page = disclosures.render(manifest)["disclosures/eu-art53.md"].decode()
    assert "**8.8 GB of text (8,765,432,109 bytes of UTF-8) in 7,654,321 records**" in page


FORBIDDEN = re.compile(
    r"\b(TBD|TODO|N/?A|FIXME|lorem|none(?! (of|was|is)\b)|null)\b|more information needed|to be determined|\?\?",
    re.IGNORECASE,
)


@pytest.mark.parametrize("strip", [False, True])
def test_nothing_is_filled_with_placeholders(manifest: Manifest, strip: bool) -> None:
    manifest = _bare(manifest) if strip else manifest
    for path, content in disclosures.render(manifest).items():
        if path.endswith(".md"):
            lines = content.decode().splitlines()
            assert [line for line in lines if FORBIDDEN.search(line)] == [], path
    for name, made in _documents(manifest).items():
        states = Counter(field["state"] for field in made["fields"])
        assert {state: n for state, n in made["states"].items() if n} == states
        assert len({field["id"] for field in made["fields"]}) == len(made["fields"]), name
        for field in made["fields"]:
            assert (field["answer"] is None) == (field["state"] == "unanswered"), field["id"]
            if field["state"] in ("unanswered", "proposed"):
                assert field["id"] in made["open"][field["owner"]]
            if field["state"] == "unanswered":
                assert field["note"]
    assert not strip or _documents(manifest)["eu-art53"]["states"]["unanswered"] > 25


def test_every_question_stands_on_the_page(manifest: Manifest) -> None:
    files = disclosures.render(manifest)
    for name in NAMES:
        page = files[f"disclosures/{name}.md"].decode()
        for field in json.loads(files[f"disclosures/{name}.json"])["fields"]:
            assert f"### {field['id']} {field['question']}" in page


@pytest.mark.parametrize("strip", [False, True])
def test_no_yes_or_no_is_asserted_that_nobody_declared(manifest: Manifest, strip: bool) -> None:
    manifest = _bare(manifest) if strip else manifest
    proposed = [
        field
        for field in _fields(manifest).values()
        if isinstance(field["answer"], str) and re.match(r"(yes|no)\b(?! earlier)", field["answer"], re.I)
        if not field["answer"].startswith("No token")
    ]
    assert {field["state"] for field in proposed} == {"proposed"}
    pages = [
        content.decode() for path, content in disclosures.render(manifest).items() if path.endswith(".md")
    ]
    for page in pages:
        for line in re.findall(r"^\*\*(?:Yes|No)\b.*$", page, re.MULTILINE):
            assert (
                "No earlier version" in line or "No token" in line or line.endswith(f"({form.PROPOSED})")
            ), line


def test_a_person_s_answer_takes_the_place_of_what_is_proposed(manifest: Manifest) -> None:
    assert _fields(manifest)["eu-art53/2.1.1"]["state"] == "proposed"
    bound = disclosures.evidence_sha256(manifest, "eu-art53/2.1.1")
    answer = {"text": "Yes: two of them.", "by": "A. Person", "at": "2026-11-01", "evidence_sha256": bound}
    fields = _fields(revised(manifest, answers={"eu-art53/2.1.1": answer, "eu-art53/1.2.1": answer}))
    field = fields["eu-art53/2.1.1"]
    assert (field["state"], field["answer"], field["owner"]) == ("declared", "Yes: two of them.", None)
    assert "A. Person 2026-11-01" in field["note"]
    assert "(proposed): Yes" in field["note"]
    assert field["evidence"][0]["pointer"] == "/answers/eu-art53~12.1.1"
    assert "Stale" not in field["note"]
    assert fields["eu-art53/1.2.1"]["state"] == "declared"
    _source(manifest, "books")["category"] = "licensed"
    field = _fields({**manifest, "answers": {"eu-art53/2.1.1": answer}})["eu-art53/2.1.1"]
    assert "Stale" in field["note"]
    no = _fields({**manifest, "answers": {"eu-art53/2.6.1": {**answer, "not_applicable": True}}})[
        "eu-art53/2.6.1"
    ]
    assert (no["state"], no["answer"]) == ("not_applicable", "Not applicable.")
    assert disclosures.asks("eu-art53/2.6.1")
    assert not disclosures.asks("motivation/purpose")
    assert disclosures.evidence_sha256(manifest, "eu-art53/9.9") is None


def test_a_release_without_records_is_told_as_that(manifest: Manifest) -> None:
    manifest["volume"] = {
        "records": 0, "bytes": 0, "sources": [], "crawled": {"domains": 0, "asked_for": 0, "listed": []}
    }  # fmt: skip
    manifest["statistics"] = {key: [] for key in manifest["statistics"]}
    manifest["licenses"]["records"] = []
    pages = disclosures.render(manifest)
    assert b"Nothing to list." in pages["disclosures/eu-art53.md"]


def test_kinds_of_sources_are_told_apart(manifest: Manifest) -> None:
    fields = _fields(manifest)
    assert [row["dataset"] for row in fields["eu-art53/2.1.2"]["answer"]] == ["books"]
    assert "Not declared" not in fields["eu-art53/2.1.2"]["note"].replace(
        "Not declared in the source manifests: what", ""
    )
    assert "1 dataset of text" in fields["eu-art53/2.1.3"]["answer"]
    assert fields["eu-art53/2.3.2"]["answer"] == [
        {"source": "pages", "name": "ExampleBot", "operator": "Example AS"}
    ]
    assert fields["eu-art53/2.3.6"]["state"] == "unanswered"  # captchas: nobody said
    assert fields["eu-art53/2.3.7"]["answer"] == [{"source": "pages", "paywalls": "respected"}]
    assert fields["eu-art53/2.3.9"]["answer"] == [{"source": "pages", "period": "03/2026 to 04/2026"}]
    assert fields["eu-art53/2.5.2"]["answer"][0]["model"] == "example-model"
    assert fields["eu-art53/1.3.8"]["answer"] == "04/2026"
    assert fields["eu-art53/2.4.1"]["answer"] == "No"
    assert fields["eu-art53/3.1.2"]["answer"][0]["says"] == "Allow: /"
    assert fields["ca-ab2013/12"]["answer"] == "Yes"
    assert "example-model" in fields["ca-ab2013/12"]["note"]
    assert fields["ca-ab2013/7"]["state"] == "unanswered"  # one source does not know, and no stage looked
    assert fields["gdpr-record/30.1.a"]["answer"] == "Example AS"
    assert "exact removed 5 of 168" in fields["nist-ai-600-1/MS-2.10-003"]["answer"]


def test_of_public_datasets_those_of_three_per_cent_are_named(manifest: Manifest) -> None:
    sizes = {row["source"]: row for row in manifest["volume"]["sources"]}
    for notes, named in ((2_999, ["books"]), (3_000, ["books", "notes"])):
        sizes["books"]["bytes"], sizes["notes"]["bytes"] = 100_000 - notes, notes
        assert [row["dataset"] for row in _fields(manifest)["eu-art53/2.1.2"]["answer"]] == named


@pytest.mark.parametrize(
    ("size", "band", "state"),
    [
        (10**9 - 1, "Less than 1 billion tokens", "derived"),
        (10**9, "Less than 1 billion tokens", "proposed"),
        (4 * 10**9, "1 billion to 10 trillion tokens", "proposed"),
        (4 * 10**13, "More than 10 trillion tokens", "proposed"),
    ],
)
def test_a_band_that_rests_on_an_estimate_says_so(
    manifest: Manifest, size: int, band: str, state: str
) -> None:
    manifest["volume"]["bytes"] = size
    field = _fields(manifest)["eu-art53/1.3.6"]
    assert (field["answer"], field["state"]) == (band, state)
    assert ("estimate" in field["note"]) == (state == "proposed")


def test_languages_are_listed_one_by_one_with_the_official_ones_first(manifest: Manifest) -> None:
    rows = [("nn", 900), ("en", 50), ("ga", 60), ("und", 7), ("xyz", 1)]
    manifest["statistics"]["languages"] = [
        {"source": "books", "language": code, "before": n + 1, "after": n} for code, n in rows
    ]
    told = _fields(manifest)["eu-art53/1.3.11"]["answer"]
    assert [row["language"] for row in told] == [
        "Irish (ga)",
        "English (en)",
        "Norwegian Nynorsk (nn)",
        "xyz",
    ]
    assert [row["official in the EU"] for row in told] == [
        "official",
        "official",
        "not official",
        "not official",
    ]
    assert len(tongues.EU_OFFICIAL) == 24


def test_earlier_versions_are_linked(manifest: Manifest) -> None:
    held = {"root": "ab" * 32, "manifest_sha256": "cd" * 32}
    answer = _fields(revised(manifest, supersedes=held))["eu-art53/0.3"]["answer"]
    assert held["root"] in answer
    assert held["manifest_sha256"] in answer


def _source(manifest: Manifest, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(s for s in manifest["recipe"]["sources"] if s["name"] == name)
    return found


def _edit(source: str, **keys: Any) -> Callable[[Manifest], None]:
    def change(manifest: Manifest) -> None:
        about = _source(manifest, source)
        for key, value in keys.items():
            about.pop(key, None)
            about.update({} if value is None else {key: value})

    return change


def _found_personal(manifest: Manifest) -> None:
    manifest["statistics"]["edits"] = [
        {"source": "books", "reason": "pii/EMAIL_ADDRESS", "records": 2, "edits": 3}
    ]


def _nobody_looked(manifest: Manifest) -> None:
    for about in manifest["recipe"]["sources"]:
        about["personal_data"] = "no"


def _public_domain(manifest: Manifest) -> None:
    rows = [("books", "CC0-1.0", 40), ("notes", None, 3)]
    told = [{"source": s, "license": name, "records": n} for s, name, n in rows]
    manifest["statistics"]["licenses"] = told
    manifest.pop("licenses", None)


CONTRADICTIONS: list[tuple[Callable[[Manifest], None], str, str]] = [
    (
        _edit("books", title="Synthetic tales"),
        "synthetic",
        "source books calls itself generated or synthetic in its title",
    ),
    (_edit("books", description="Made by distilling GPT-4."), "synthetic", "in its description"),
    (_edit("books", description="Answers by ChatGPT."), "synthetic", "in its description"),
    (_edit("drafts", generated_by=None), "synthetic-model", "no generated_by names what wrote it"),
    (_edit("pages", crawler={"purpose": "x"}), "crawler", "no crawler is named"),
    (_edit("pages", crawler=None), "crawler", "no crawler is named"),
    (_edit("books", crawler={"name": "Bot"}), "crawler", "names a crawler, but is declared public"),
    (_found_personal, "personal-data", "source books is declared free of personal data, but 3 finds"),
    (_nobody_looked, "personal-data-unchecked", "no stage of the recipe looked for any"),
    (_public_domain, "public-domain", "3 kept records have none"),
    (_edit("notes", category="user"), "consent", "neither consent nor notice is declared"),
    (
        _edit("pages", signals=[{"kind": "tdmrep", "says": "tdm-reservation: 1"}]),
        "rights-reserved",
        "tdmrep appears",
    ),
    (
        _edit("pages", signals=[{"kind": "aipref", "says": "train-ai=n"}]),
        "rights-reserved",
        "100 of its records",
    ),
    (
        _edit("pages", signals=[{"kind": "robots.txt", "says": "Disallow: /"}]),
        "rights-reserved",
        "robots.txt appears",
    ),
    (_edit("notes", category=None), "category", "sources notes declare no category while others do"),
]
DOMAINS = "disclosures/domains"  # the corpus has records of a crawled source without address


@pytest.mark.parametrize(("change", "rule", "message"), CONTRADICTIONS)
def test_answers_that_cannot_all_be_true_are_named(
    manifest: Manifest, change: Callable[[Manifest], None], rule: str, message: str
) -> None:
    assert {f["reason"] for f in checks.contradictions(manifest)} == {DOMAINS}
    change(manifest)
    found = {f["reason"]: f["message"] for f in checks.contradictions(manifest)}
    assert set(found) == {DOMAINS, f"disclosures/{rule}"}
    assert message in found[f"disclosures/{rule}"]
    for path, content in disclosures.render(manifest).items():
        assert found[f"disclosures/{rule}"] in content.decode(), path


@pytest.mark.parametrize(
    "change",
    [
        _edit("books", description="Human-generated questions."),
        _edit("pages", signals=[{"kind": "tdmrep", "says": "tdm-reservation: 0"}]),
        _edit("pages", signals=[{"kind": "robots.txt", "says": "Disallow: /private"}]),
        _edit("notes", category="user", consent="By the terms of the service."),
        _edit("books", title="Synthetic tales", generated_by=[{"model": "m"}]),
    ],
)
def test_what_only_resembles_a_contradiction_is_none(
    manifest: Manifest, change: Callable[[Manifest], None]
) -> None:
    change(manifest)
    assert {f["reason"] for f in checks.contradictions(manifest)} == {DOMAINS}


def test_licensed_works_are_not_proposed_where_no_license_is_known(manifest: Manifest) -> None:
    for row in manifest["licenses"]["records"]:
        row["license"] = None
    item = next(f for f in _documents(manifest)["ca-ab2013"]["fields"] if f["id"] == "5")
    assert (item["state"], item["answer"]) == ("unanswered", None)
    assert "have no license that can be told" in item["note"]


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("example.com:8080/page", "example.com"),
        ("https://user:pass@www.example.co.uk:80/", "example.co.uk"),
        ("http://[2001:db8::1]/", ""),
        ("-x.com", ""),
        ("javascript:alert(1)", ""),
        ("https://192.0.2.7:80/", "192.0.2.7"),
    ],
)
def test_a_domain_is_read_from_any_form_of_address(url: str, domain: str) -> None:
    found = re.match(volume._HOST, url)
    assert volume._domain(found[1] if found else "") == domain


def test_contradictions_are_findings_of_the_release(release: curate.Release) -> None:
    [finding] = [f for f in release.manifest["findings"] if f["reason"].startswith("disclosures/")]
    assert finding["reason"] == DOMAINS
    assert finding["count"] == 40  # four in ten have no address with a domain
    assert len(checks.RULES) == len({rule for _, rule, _ in CONTRADICTIONS} | {"domains"})


def _counted(release: curate.Release) -> dict[tuple[str, str], list[int]]:
    """Count domains record by record, as slowly and plainly as can be."""
    extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    found: dict[tuple[str, str], list[int]] = {}
    for row in pq.read_table(release.path / "data").to_pylist():
        text = row["text"] or "".join(turn["content"] for turn in row["messages"] or [])
        url = row["url"] or ""
        host = url if re.fullmatch(r"[\d.]+", url) else url.split("://")[-1].lstrip("/")
        host = host.split("/")[0].rpartition("@")[2].partition(":")[0].lower()
        name = host if re.fullmatch(r"\d+(\.\d+){3}", host) else extract(host).top_domain_under_public_suffix
        if name and not url.startswith("file:"):
            held = found.setdefault((name, row["source"]), [0, 0])
            held[0] += 1
            held[1] += len(text.encode())
    return found


def test_domains_csv_is_what_a_slow_count_finds_whatever_the_shards_format(
    release: curate.Release, tmp_path: Path
) -> None:
    written = (release.path / volume.FILE).read_bytes()
    rows = list(csv.DictReader(io.StringIO(written.decode())))
    assert {(r["domain"], r["source"]): [int(r["records"]), int(r["bytes"])] for r in rows} == _counted(
        release
    )
    assert {r["domain"] for r in rows} == {
        "example.co.uk", "example.com", "example.net", "example.org", "192.0.2.7"
    }  # fmt: skip
    assert [int(r["bytes"]) for r in rows] == sorted((int(r["bytes"]) for r in rows), reverse=True)
    lines = curate.run(_write(tmp_path, "jsonl.zst"), workers=1)
    assert (lines.path / volume.FILE).read_bytes() == written
    assert lines.manifest["volume"] == release.manifest["volume"]
    total = sum(
        len((row["text"] or "".join(turn["content"] for turn in row["messages"] or [])).encode())
        for row in pq.read_table(release.path / "data").to_pylist()
    )
    assert release.manifest["volume"]["bytes"] == total


@pytest.mark.parametrize(
    ("domains", "small", "asked"),
    [
        (0, False, 0),
        (1, False, 1),
        (10, False, 1),
        (11, False, 2),
        (5, True, 1),
        (100, True, 5),
        (10**6, True, 1000),
    ],
)
def test_as_many_domains_are_listed_as_the_template_asks_for(domains: int, small: bool, asked: int) -> None:
    assert volume.asked_for(domains, small) == asked


def test_the_page_lists_the_domains_and_says_how_many_there_are(manifest: Manifest) -> None:
    field = _fields(manifest)["eu-art53/2.3.11"]
    assert len(field["answer"]) == manifest["volume"]["crawled"]["asked_for"] == 1
    assert field["answer"][0]["domain"] == "example.co.uk"
    assert "5 domains in all; the template asks for 1 of them (top 10 %)" in field["note"]


def test_a_run_replaces_the_disclosures_of_the_one_before(tmp_path: Path) -> None:
    path = _write(tmp_path, "parquet")
    first = curate.run(path, workers=1)
    path.write_text(path.read_text().replace('version: "2"', 'version: "3"', 1))
    second = curate.run(path, first.path, workers=1)
    page = (second.path / "disclosures" / "eu-art53.md").read_text(encoding="utf-8")
    assert second.manifest["root"] in page
    assert len(list((second.path / "disclosures").iterdir())) == 9


def test_a_person_confirms_a_proposal_in_the_file_of_answers(corpus: Path) -> None:
    (corpus / "answers.yaml").write_text(
        "answers: 1\nby: Data office\nat: 2026-11-01\nquestions:\n"
        "  ca-ab2013/12: No data was generated by a model.\n  eu-art53/1.1.1: The example institute\n"
    )
    release = curate.run(corpus / "curate.yaml", workers=1)
    before = json.loads((release.path / "disclosures" / "ca-ab2013.json").read_bytes())
    curate.datasheet(release.path, corpus / "answers.yaml")
    after = json.loads((release.path / "disclosures" / "ca-ab2013.json").read_bytes())
    changed = [
        (old["id"], new["state"], new["answer"])
        for old, new in zip(before["fields"], after["fields"], strict=True)
        if old["answer"] != new["answer"]
    ]
    assert changed == [("12", "declared", "No data was generated by a model.")]
    assert "The example institute" in (release.path / "disclosures" / "eu-art53.md").read_text()
    noted = curate.load(release.path).manifest["answers"]["ca-ab2013/12"]["evidence_sha256"]
    assert noted == disclosures.evidence_sha256(release.manifest, "ca-ab2013/12")
