"""bom.cdx.json passes CycloneDX's strict validator, and its license expressions are ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from described import make

import curate
from curate.govern import documents
from curate.govern.descriptions import bom, spdx


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("bom"), output=", bom: true, spdx: true")


@pytest.fixture
def told(release: curate.Release) -> dict[str, Any]:
    held: dict[str, Any] = orjson.loads((release.path / bom.NAME).read_bytes())
    return held


def problems(told: Any) -> Any:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_7).validate_str(orjson.dumps(told).decode())


def pointed(told: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        told = told[int(step) if isinstance(told, list) else step]
    return told


def test_the_strict_validator_finds_nothing(told: dict[str, Any]) -> None:
    assert problems(told) is None
    del told["metadata"]["component"]["data"][0]["type"]
    assert problems(told) is not None


def test_an_address_that_is_no_uri_is_encoded(release: curate.Release) -> None:
    manifest = orjson.loads(orjson.dumps(release.manifest))
    manifest["recipe"]["about"]["homepage"] = "https://example.org/a b?x=(ü)|100%"
    manifest["recipe"]["sources"][0]["homepage"] = "see [our site] <here>"
    told = orjson.loads(bom.render(manifest)[bom.NAME])
    assert problems(told) is None
    written = told["metadata"]["component"]["externalReferences"][0]["url"]
    assert written == "https://example.org/a%20b?x=(ü)%7C100%25"


def test_it_holds_the_release_its_sources_and_their_hashes(
    told: dict[str, Any], release: curate.Release
) -> None:
    manifest = release.manifest
    main = told["metadata"]["component"]
    assert main["type"] == "data"
    shards = {
        e["path"]: e["sha256"] for e in manifest["outputs"] if e["path"].startswith(("data", "records"))
    }
    assert {c["name"]: c["hashes"][0]["content"] for c in main["components"]} == shards
    inputs = {c["name"]: c["hashes"][0]["content"] for s in told["components"] for c in s["components"]}
    assert inputs == {entry["path"]: entry["sha256"] for entry in manifest["inputs"]}
    [dataset] = main["data"]
    assert dataset["governance"]["owners"] == [{"organization": {"name": "The curate project"}}]
    assert dataset["sensitiveData"] == [
        "No stage searched for personal data; whether the release holds any is not known."
    ]
    counted = {entry["name"]: entry["value"] for entry in dataset["contents"]["properties"]}
    assert counted["curate:records"] == str(manifest["counts"]["kept"])


def test_license_expressions_are_ones(told: dict[str, Any]) -> None:
    from license_expression import get_spdx_licensing

    found = re.findall(r'"expression":"([^"]+)"', orjson.dumps(told).decode())
    assert found == ["Apache-2.0 AND CC-BY-4.0 AND MIT", "CC-BY-4.0"]  # pairs declare none
    for said in found:
        assert not get_spdx_licensing().validate(said).errors


def test_every_citation_points_at_something_and_at_somebody(told: dict[str, Any]) -> None:
    references = set(re.findall(r'"bom-ref":"([^"]+)"', orjson.dumps(told).decode()))
    pointers = [pointer for citation in told["citations"] for pointer in citation["pointers"]]
    assert len(pointers) > 5
    assert all(pointed(told, pointer) for pointer in pointers)
    assert {citation["attributedTo"] for citation in told["citations"]} == {"curate", "creator"} <= references


def test_the_same_release_has_the_same_serial_number(told: dict[str, Any], release: curate.Release) -> None:
    assert bom.render(release.manifest) == {bom.NAME: (release.path / bom.NAME).read_bytes()}
    other = bom.document({**release.manifest, "root": "0" * 64})
    assert other["serialNumber"] != told["serialNumber"]


def test_it_goes_with_the_wish_for_it(release: curate.Release, tmp_path: Path) -> None:
    documents.write(tmp_path, release.manifest)
    assert all((tmp_path / name).is_file() for name in (bom.NAME, spdx.NAME))
    output = {**release.manifest["recipe"]["output"], "bom": False, "spdx": False}
    unasked = {**release.manifest, "recipe": {**release.manifest["recipe"], "output": output}}
    documents.write(tmp_path, unasked)
    assert not any((tmp_path / name).exists() for name in (bom.NAME, spdx.NAME))
    (tmp_path / bom.NAME).write_text('{"somebody": "else\'s"}')
    documents.write(tmp_path, unasked)
    assert (tmp_path / bom.NAME).is_file()
