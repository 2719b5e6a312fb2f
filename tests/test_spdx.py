"""spdx.json is read by SPDX's own model, and has what SPDX 3.0.1 requires of a Dataset, for which it does not ask."""

from __future__ import annotations

import io
import re
from typing import Any

import orjson
import pytest
from described import make

import curate
from curate.govern.descriptions import spdx

# SPDX 3.0.1, Dataset profile, DatasetPackage: properties of at least one value.
REQUIRED = (
    "builtTime",
    "dataset_datasetType",
    "name",
    "originatedBy",
    "releaseTime",
    "software_downloadLocation",
    "software_primaryPurpose",
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    return make(tmp_path_factory.mktemp("spdx"), output=", spdx: true")


@pytest.fixture
def told(release: curate.Release) -> dict[str, Any]:
    held: dict[str, Any] = orjson.loads((release.path / spdx.NAME).read_bytes())
    return held


def read(told: dict[str, Any]) -> Any:
    from spdx_python_model import v3_0_1 as model

    objects = model.SHACLObjectSet()
    model.JSONLDDeserializer().read(io.BytesIO(orjson.dumps(told)), objects)
    return objects


def the(told: dict[str, Any], kind: str) -> dict[str, Any]:
    [found] = [element for element in told["@graph"] if element["type"] == kind]
    return dict(found)


def test_spdx_s_own_model_reads_it_whole(told: dict[str, Any]) -> None:
    from spdx_python_model import v3_0_1 as model

    objects = read(told)
    assert objects.missing_ids <= {spdx.NO_ASSERTION}
    [dataset] = objects.foreach_type(model.dataset_DatasetPackage)
    assert dataset.name == "A small release"
    assert [agent.name for agent in dataset.originatedBy] == ["The curate project"]
    [document] = objects.foreach_type(model.SpdxDocument)
    assert list(document.rootElement) == [dataset]


def test_that_reading_refuses_what_is_wrong(told: dict[str, Any]) -> None:
    for change in ({"software_primaryPurpose": "dta"}, {"builtTime": "yesterday"}, {"no_such_key": 1}):
        wrong = orjson.loads(orjson.dumps(told))
        next(e for e in wrong["@graph"] if e["type"] == "dataset_DatasetPackage").update(change)
        with pytest.raises((TypeError, ValueError, KeyError)):
            read(wrong)


def test_it_has_what_is_required_of_a_dataset(told: dict[str, Any], release: curate.Release) -> None:
    dataset = the(told, "dataset_DatasetPackage")
    assert all(dataset.get(key) for key in REQUIRED)
    assert dataset["releaseTime"] == "2026-05-01T00:00:00Z"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", dataset["builtTime"])
    assert dataset["dataset_hasSensitivePersonalInformation"] == "noAssertion"
    size = (release.path / "data" / "part-00000.parquet").stat().st_size
    assert dataset["dataset_datasetSize"] == size
    assert dataset["dataset_anonymizationMethodUsed"] == [
        "1 of 130 kept records were edited: shout/secret 1."
    ]


def test_every_reference_leads_to_an_element_of_the_document(told: dict[str, Any]) -> None:
    ids = {element.get("spdxId", element.get("@id")) for element in told["@graph"]}
    document = the(told, "SpdxDocument")
    assert set(document["element"]) == ids - {document["spdxId"], "_:creation"}
    for element in told["@graph"]:
        for key in ("from", "to", "creationInfo", "originatedBy", "createdBy", "rootElement"):
            value = element.get(key, [])
            assert set(value if isinstance(value, list) else [value]) <= ids, element


def test_licenses_sources_and_files_are_related_to_the_release(told: dict[str, Any]) -> None:
    named = {element.get("spdxId"): element for element in told["@graph"]}
    release = the(told, "dataset_DatasetPackage")["spdxId"]
    ends = {
        (named[r["from"]]["name"], r["relationshipType"]): [named[to] for to in r["to"]]
        for r in told["@graph"]
        if r["type"] == "Relationship"
    }
    [concluded] = ends["A small release", "hasConcludedLicense"]
    assert concluded["simplelicensing_licenseExpression"] == "Apache-2.0 AND CC-BY-4.0 AND MIT"
    assert ("A small release", "hasDeclaredLicense") not in ends  # nobody offers it as a whole
    [declared] = ends["Documents", "hasDeclaredLicense"]
    assert declared["simplelicensing_licenseExpression"] == "CC-BY-4.0"
    assert [one["name"] for one in ends["A small release", "descendantOf"]] == ["Documents", "pairs"]
    assert [one["name"].split("/")[0] for one in ends["A small release", "contains"]] == ["data", "records"]
    assert [one["spdxId"] for one in ends["small 1.2.0", "describes"]] == [release]


def test_a_license_that_spdx_does_not_list_has_an_element_of_its_own(release: curate.Release) -> None:
    collection = {"expression": "CC-BY-4.0 AND LicenseRef-curate-CC-BY"}
    told = spdx.document({**release.manifest, "licenses": {"collection": collection}})
    read(told)
    text = the(told, "simplelicensing_SimpleLicensingText")
    expressions = [e for e in told["@graph"] if e["type"] == "simplelicensing_LicenseExpression"]
    [mapped] = [
        e["simplelicensing_customIdToUri"] for e in expressions if "simplelicensing_customIdToUri" in e
    ]
    assert mapped == [{"type": "DictionaryEntry", "key": text["name"], "value": text["spdxId"]}]


def test_what_nobody_said_is_no_assertion(release: curate.Release) -> None:
    silent = {**release.manifest["recipe"], "about": {}}
    told = spdx.document({**release.manifest, "recipe": silent})
    dataset = the(told, "dataset_DatasetPackage")
    assert dataset["software_downloadLocation"] == spdx.NO_ASSERTION
    assert the(told, "SoftwareAgent")["name"] == "curate"
    assert all(dataset.get(key) for key in REQUIRED)
    read(told)
