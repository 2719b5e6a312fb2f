"""croissant.json loads with mlcroissant, hashes compared, and our own check finds what mlcroissant lets pass."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from described import make

import curate
from curate.govern import manifest as manifests
from curate.govern.descriptions import card, croissant, strict
from curate.govern.descriptions.fields import field
from curate.govern.descriptions.statements import statements
from curate.io import write
from curate.release import finish

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("parquet"))


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("lines"), "jsonl.zst")


@pytest.fixture
def copy(release: curate.Release, tmp_path: Path) -> Path:
    return Path(shutil.copytree(release.path, tmp_path / "copy"))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise AssertionError(f"the network was asked for: {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def described(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = orjson.loads((path / croissant.NAME).read_bytes())
    return told


def loaded(path: Path) -> Any:
    import mlcroissant

    return mlcroissant.Dataset(str(path / croissant.NAME))


def rows(path: Path, part: str = "data") -> list[dict[str, Any]]:
    """Return the records that mlcroissant loads, by column; texts, which it gives as bytes, as texts."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key.rpartition("/")[2]: plain(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [plain(inner) for inner in value]
        return value.decode() if isinstance(value, bytes) else value

    return [plain(row) for row in loaded(path).records(part)]


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_loads_every_record_of_parquet(release: curate.Release) -> None:
    issues = loaded(release.path).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    for part in ("data", "records"):
        wanted = pq.read_table(release.path / part / "part-00000.parquet").to_pylist()
        found = rows(release.path, part)
        assert [row["id"] for row in found] == [row["id"] for row in wanted]
        if part == "data":
            assert {"a%20b%2F%C3%B8%23", "meta", "tags", "rank", "good"} <= set(found[0])
            for row, had in zip(found, wanted, strict=True):
                assert row["text"] == had["text"]
                assert (row["rank"], row["score"], row["good"]) == (had["rank"], had["score"], had["good"])
                turns = had["messages"] or [
                    {"role": None, "content": None}
                ]  # all that mlcroissant tells of null
                assert row["messages"] == turns


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_compares_the_hash_of_what_it_loads(copy: Path) -> None:
    told = described(copy)
    told["distribution"][0]["sha256"] = "0" * 64
    (copy / croissant.NAME).write_bytes(orjson.dumps(told))
    with pytest.raises(Exception, match=r"Download\(data/part-00000.parquet\)") as caught:
        rows(copy)
    assert "not identical with the reference" in str(caught.value.__cause__)


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_json_lines_are_described_and_what_cannot_be_loaded_is_said(lines: curate.Release) -> None:
    issues = loaded(lines.path).metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    data, _ = described(lines.path)["recordSet"]
    assert "does not decompress zstd" in data["description"]
    assert len(data["field"]) == len(lines.manifest["schema"]["data"])
    kept = lines.manifest["counts"]["kept"]
    assert kept == len(rows(lines.path, "records")) > 100
    with pytest.raises(Exception, match=r"Read\(data/part-00000.jsonl.zst\)"):
        rows(lines.path)


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_several_shards_are_one_file_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write, "GROUP_RECORDS", 20)
    release = make(tmp_path, output=", shard_size: 1KB")
    shards = sorted((release.path / "data").iterdir())
    assert len(shards) > 2
    told = described(release.path)
    assert [e["contentUrl"] for e in told["distribution"] if "sha256" in e][: len(shards)] == [
        f"data/{shard.name}" for shard in shards
    ]
    assert len(rows(release.path)) == release.manifest["counts"]["kept"]
    assert "compares no hash" in told["recordSet"][0]["description"]
    assert strict.check(release.path) == []


def test_the_description_says_what_the_manifest_says(release: curate.Release) -> None:
    told, manifest = described(release.path), release.manifest
    assert told["conformsTo"] == croissant.CONFORMS_TO
    assert told["license"] == [
        f"https://spdx.org/licenses/{name}.html" for name in ("Apache-2.0", "CC-BY-4.0", "MIT")
    ]
    assert (told["datePublished"], told["version"]) == ("2026-05-01", "1.2.0")
    assert told["creator"] == {
        "@type": "sc:Organization",
        "name": "The curate project",
        "email": "curate@example.org",
    }
    assert told["rai:dataCollectionTimeframe"] == ["2026-01-02", "2026-03-04"]
    derived = told["prov:wasDerivedFrom"]
    assert [source["prov:label"] for source in derived] == ["docs", "pairs"]
    hashes = [member["sha256"] for source in derived for member in source["prov:hadMember"]]
    assert hashes == [entry["sha256"] for entry in manifest["inputs"]]
    assert told["prov:wasGeneratedBy"]["prov:used"]["sha256"] == manifest["recipe_sha256"]
    assert manifest["root"] in told["citeAs"]


def test_the_hour_of_the_run_changes_nothing(release: curate.Release) -> None:
    later = {**release.manifest, "created": "2031-01-01T00:00:00+00:00", "timing": {}}
    for renderer in (croissant.render, card.render):
        assert renderer(later) == renderer(release.manifest)


def test_what_there_is_nothing_to_say_of_is_left_out(copy: Path, release: curate.Release) -> None:
    silent = {**release.manifest["recipe"], "about": {}}
    finish(copy, manifests.revised(release.manifest, recipe=silent))
    told = described(copy)
    assert not {"url", "creator", "prov:wasAttributedTo", "rai:dataSocialImpact"} & set(told)
    assert all(value not in ("", [], {}) for value in told.values())
    gaps = strict.check(copy)
    assert {problem.where for problem in gaps} == {"/creator", "/url"}
    assert all(problem.gap for problem in gaps)


def test_numbers_of_the_statements_stand_in_the_manifest(release: curate.Release) -> None:
    held = set(re.findall(r"\d+", orjson.dumps(release.manifest).decode()))
    for name, value in statements(release.manifest).items():
        for text in [value] if isinstance(value, str) else value:
            for number in re.findall(r"\d[\d,]*", re.sub(r"[\d.]+%|\d+ files?|so far: \d+", "", text)):
                assert number.rstrip(",").replace(",", "") in held, (name, number)


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib.*")
def test_what_prov_and_rai_say_is_read_as_linked_data(release: curate.Release) -> None:
    import rdflib

    graph = rdflib.Graph()
    graph.parse(
        data=orjson.dumps(described(release.path)).decode(), format="json-ld", publicID="https://example.org/"
    )
    prov = rdflib.Namespace("http://www.w3.org/ns/prov#")
    rai = rdflib.Namespace("http://mlcommons.org/croissant/RAI/")
    schema = rdflib.Namespace("https://schema.org/")
    [dataset] = graph.subjects(rdflib.RDF.type, schema.Dataset)
    assert len(set(graph.objects(dataset, prov.wasDerivedFrom))) == 2
    assert len(list(graph.objects(dataset, rai.dataCollectionTimeframe))) == 2
    assert str(next(graph.objects(dataset, schema.name))) == "A small release"
    hashes = {str(value) for value in graph.objects(None, schema.sha256)}
    listed = [*release.manifest["inputs"], *release.manifest["outputs"]]
    parts = ("data/", "records/", "docs.jsonl", "pairs.jsonl")
    assert {entry["sha256"] for entry in listed if entry["path"].startswith(parts)} <= hashes


def test_columns_are_told_alike_in_both_formats(release: curate.Release, lines: curate.Release) -> None:
    parquet, json = (
        {column["name"]: column["type"] for column in r.manifest["schema"]["data"]} for r in (release, lines)
    )
    assert list(parquet) == list(json)
    assert (parquet["meta"], parquet["mixed"], parquet["tags"]) == ("json", "json", "list<string>")
    differ = {name: kind for name, kind in json.items() if kind != parquet[name]}
    assert set(differ.values()) == {"null"}  # of a column without values JSON does not tell a type
    assert release.manifest["schema"]["records"] == lines.manifest["schema"]["records"]


def test_fields_have_the_types_of_arrow() -> None:
    source = {"fileObject": {"@id": "x"}}
    told = {
        "large_string": "sc:Text",
        "uint8": "sc:Integer",
        "float": "sc:Float",
        "bool": "sc:Boolean",
        "date32[day]": "sc:Date",
        "timestamp[us, tz=UTC]": "sc:DateTime",
    }
    for kind, wanted in told.items():
        made = field("data", "a", kind, source)
        assert made is not None
        assert made["dataType"] == wanted
    assert field("records", "salt", "fixed_size_binary[16]", source) is None
    assert field("data", "deep", "list<list<int64>>", source) is None
    nested = field("data", "n", "struct<a: int64, b: list<string>>", source)
    assert nested is None
    flat = field("data", "n", "struct<a b: int64, c: timestamp[us, tz=UTC]>", source)
    assert flat is not None
    assert [(inner["@id"], inner["dataType"]) for inner in flat["subField"]] == [
        ("data/n/a%20b", "sc:Integer"),
        ("data/n/c", "sc:DateTime"),
    ]


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_real_release_is_described_and_loads(real_data: Path, tmp_path: Path) -> None:
    sources = "".join(
        f"  - {{name: {name}, files: [{real_data / 'instruct' / name}.jsonl.zst], license: Apache-2.0}}\n"
        for name in ("self_instruct_seed", "vigogne_seed_fr")
    )
    (tmp_path / "curate.yaml").write_text(
        f"curate: 1\nname: real\nversion: 1.0.0\nsources:\n{sources}stages: [license, exact]\n"
    )
    release = curate.run(tmp_path / "curate.yaml", workers=1)
    assert len(rows(release.path)) == release.manifest["counts"]["kept"] > 300
    assert all(problem.gap for problem in strict.check(release.path))


def _without(key: str) -> Change:
    return lambda told: told.pop(key)


def _with(**values: Any) -> Change:
    return lambda told: told.update({key.replace("rai_", "rai:"): value for key, value in values.items()})


def _in_first_file(**values: Any) -> Change:
    return lambda told: told["distribution"][0].update(values)


# What mlcroissant accepts of these, it accepts silently; True: it does.
FAULTS: dict[str, tuple[Change, str, bool]] = {
    "no license": (_without("license"), "/license", True),
    "a license that is none": (_with(license=["free, I think"]), "/license/0", True),
    "another license": (_with(license=["https://spdx.org/licenses/MIT.html"]), "/license", True),
    "no name": (_without("name"), "/name", True),
    "no description": (_without("description"), "/description", True),
    "no creator": (_without("creator"), "/creator", True),
    "no url": (_without("url"), "/url", True),
    "no date": (_without("datePublished"), "/datePublished", True),
    "an empty answer": (_with(rai_dataBiases=[""]), "/rai:dataBiases", True),
    "an answer of spaces": (_with(rai_dataCollection="  "), "/rai:dataCollection", True),
    "an answer without entries": (_with(rai_dataLimitations=[]), "/rai:dataLimitations", True),
    "a wrong hash": (_in_first_file(sha256="0" * 64), "/distribution/data/part-00000.parquet", True),
    "no hash": (lambda t: t["distribution"][0].pop("sha256"), "/distribution/data/part-00000.parquet", False),
    "a wrong size": (_in_first_file(contentSize="1 B"), "/distribution/data/part-00000.parquet", True),
    "a file that is absent": (
        _in_first_file(contentUrl="data/part-00009.parquet"),
        "/distribution/data/part-00000.parquet",
        True,
    ),
    "a shard that is not listed": (lambda t: t["distribution"].pop(1), "/distribution", False),
    "a table that is not described": (lambda t: t["recordSet"].pop(1), "/recordSet", True),
    "a count that is wrong": (
        lambda t: t["recordSet"][0].update(description="5 rows"),
        "/recordSet/data",
        True,
    ),
    "schema.org without s": (
        lambda t: t["@context"].update({"@vocab": "http://schema.org/"}),
        "/@context/@vocab",
        False,
    ),
    "another version": (
        _with(conformsTo=["http://mlcommons.org/croissant/1.1"]),
        "/conformsTo",
        True,
    ),
}


def test_a_whole_release_has_no_fault(release: curate.Release, lines: curate.Release) -> None:
    assert strict.check(release.path) == strict.check(lines.path) == []


@pytest.mark.usefixtures("offline")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", FAULTS)
def test_our_check_finds(name: str, copy: Path) -> None:
    change, where, accepted = FAULTS[name]
    told = described(copy)
    change(told)
    (copy / croissant.NAME).write_bytes(orjson.dumps(told))
    assert where in [problem.where for problem in strict.check(copy)]
    try:
        issues = loaded(copy).metadata.ctx.issues
        assert (not issues.errors) == accepted
    except Exception:  # noqa: BLE001 -- it raises errors of many types
        assert not accepted


def test_our_check_reads_the_card(copy: Path) -> None:
    front = copy / "README.md"
    text = front.read_text()
    front.write_text(text.replace("license: other\n", ""))
    assert [problem.where for problem in strict.check(copy)] == ["/license"]
    front.write_text(text + "\n[More Information Needed]\n")
    assert [problem.what for problem in strict.check(copy)] == ["holds a placeholder"]
    front.unlink()
    assert [problem.path for problem in strict.check(copy)] == ["README.md"]
