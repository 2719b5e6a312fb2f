"""lineage.ndjson: events that OpenLineage's schema accepts, and that add up to what the manifest says."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import make_corpus

import curate
from curate.govern import lineage
from curate.io import formats

SCHEMA = Path(__file__).parent / "vendor" / "openlineage" / "run-event-2-0-2.schema.json"
CHECKER = jsonschema.Draft202012Validator(
    json.loads(SCHEMA.read_text(encoding="utf-8")),
    format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER,
)
RECIPE = """\
curate: 1
name: small
version: "1"
sources:
  - {name: docs, files: ["docs/*.jsonl"], license: CC0-1.0, category: public, description: Documents.}
  - {name: pairs, files: [pairs.jsonl], fields: {license: lic}, license: unknown}
stages: [license, conversation, exact, {minhash: {similarity: 0.7}}]
gates: {max_source_loss: 0.9}
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> curate.Release:
    folder = tmp_path_factory.mktemp("lineage")
    make_corpus(folder)
    (folder / "curate.yaml").write_text(RECIPE)
    return curate.run(folder / "curate.yaml", workers=1)


@pytest.fixture
def events(release: curate.Release) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (release.path / lineage.NAME).read_text(encoding="utf-8").splitlines()
    ]


def _faults(event: dict[str, Any]) -> list[str]:
    return [fault.message for fault in CHECKER.iter_errors(event)]


def test_the_schema_accepts_every_event(events: list[dict[str, Any]]) -> None:
    assert len(events) == 2 * 7  # the release, read, four stages, the gates
    for event in events:
        assert _faults(event) == []
        uuid.UUID(event["run"]["runId"])


def test_every_role_of_every_format_leads_to_a_column_of_data() -> None:
    roles = {
        role for table in (formats.REQUIRED, formats.OPTIONAL) for held in table.values() for role in held
    }
    fields = {role: f"my_{role}" for role in sorted(roles | {*formats.DESCRIPTION})}
    manifest = {
        "recipe": {"stages": [{"name": "pii"}]},
        "inputs": [{"source": "pairs", "path": "pairs.jsonl"}],
        "sources": [{"name": "pairs", "fields": fields}],
    }
    found = lineage._Lineage.__new__(lineage._Lineage)
    found.manifest = manifest
    columns = found._column_lineage()
    assert {"my_prompt", "my_chosen"} <= {one["field"] for one in columns["messages"]["inputFields"]}
    [lost] = columns["rejected"]["inputFields"]
    assert lost["field"] == "my_rejected"
    assert lost["transformations"][0]["masking"]


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no time": lambda event: event.pop("eventTime"),
    "no schema": lambda event: event.pop("schemaURL"),
    "a run id that is no UUID": lambda event: event["run"].update(runId="run-1"),
    "a kind of event that there is not": lambda event: event.update(eventType="DONE"),
    "a dataset without namespace": lambda event: event["inputs"][0].pop("namespace"),
    "a facet without schema": lambda event: event["run"]["facets"]["processing_engine"].pop("_schemaURL"),
    "a facet of another version": lambda event: event["job"]["facets"]["jobType"].update(
        _schemaURL="https://a.b/c"
    ),
    "a number that is text": lambda event: event["inputs"][0]["inputFacets"]["inputStatistics"].update(
        rowCount="3"
    ),
    "a tag without value": lambda event: event["inputs"][0]["facets"]["tags"]["tags"][0].pop("value"),
    "an output's facet on an input": lambda event: event["inputs"][0].update(outputFacets={}),
    "a column without name": lambda event: event["inputs"][0]["facets"]["schema"]["fields"][0].pop("name"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_schema_refuses_a_broken_event(events: list[dict[str, Any]], name: str) -> None:
    event = copy.deepcopy(
        next(e for e in events if e["job"]["name"] == "small.read" and e["eventType"] == "COMPLETE")
    )
    assert _faults(event) == []
    BROKEN[name](event)
    assert _faults(event) != []


def _counted(dataset: dict[str, Any]) -> int:
    facets = {**dataset.get("inputFacets", {}), **dataset.get("outputFacets", {})}
    return sum(facet["rowCount"] for name, facet in facets.items() if name.endswith("Statistics"))


def test_every_run_starts_and_completes_under_the_release(
    events: list[dict[str, Any]], release: curate.Release
) -> None:
    kinds: dict[str, list[str]] = {}
    for event in events:
        kinds.setdefault(event["run"]["runId"], []).append(event["eventType"])
        assert event["eventTime"] == release.manifest["created"]
    assert set(map(tuple, kinds.values())) == {("START", "COMPLETE")}
    whole = events[0]["run"]["runId"]
    assert events[0]["job"]["name"] == "small" == events[-1]["job"]["name"]
    for event in events[1:-1]:
        assert event["run"]["facets"]["parent"]["run"]["runId"] == whole != event["run"]["runId"]


def test_what_goes_into_a_stage_comes_out_of_it(
    events: list[dict[str, Any]], release: curate.Release
) -> None:
    done = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    before: list[str] = []
    for stage in release.manifest["stages"]:
        event = done[f"small.{stage['name']}"]
        read = sum(map(_counted, event["inputs"]))
        written = {
            dataset["name"].removeprefix("small/1/"): _counted(dataset) for dataset in event["outputs"]
        }
        assert read == stage["seen"] == sum(written.values())
        if before:
            assert [dataset["name"] for dataset in event["inputs"]] == before  # what the stage before it left
        before = [event["outputs"][0]["name"]]
        taken = {f"{what}/{stage['name']}": stage[what] for what in ("dropped", "quarantined") if stage[what]}
        last = stage is release.manifest["stages"][-1]
        assert written == {"data" if last else f"after/{stage['name']}": stage["kept"], **taken}


def test_hashes_licenses_columns_and_gates_are_told(
    events: list[dict[str, Any]], release: curate.Release
) -> None:
    done = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    files = {dataset["name"]: dataset["facets"] for dataset in done["small.read"]["inputs"]}
    for file in release.manifest["inputs"]:
        assert files[file["path"]]["datasetVersion"]["datasetVersion"] == f"sha256:{file['sha256']}"
    tags = {tag["key"]: tag["value"] for tag in files["docs/a.jsonl"]["tags"]["tags"]}
    assert tags == {"source": "docs", "license": "CC0-1.0", "category": "public"}
    assert files["docs/a.jsonl"]["documentation"]["description"] == "Documents."
    data = done["small"]["outputs"][0]["facets"]
    assert [c["name"] for c in data["schema"]["fields"]][:4] == ["id", "source", "text", "messages"]
    origins = {
        name: {(f["name"], f["field"]) for f in found["inputFields"]}
        for name, found in data["columnLineage"]["fields"].items()
    }
    assert origins["license"] == {("pairs.jsonl", "lic")}
    assert origins["messages"] == {("pairs.jsonl", "instruction"), ("pairs.jsonl", "output")}
    assert ("docs/b.jsonl", "text") in origins["text"]
    [gate] = done["small.gates"]["inputs"][0]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert (gate["assertion"], gate["success"], gate["expected"]) == ("max_source_loss", True, "0.9")


def test_only_the_manifest_decides(release: curate.Release) -> None:
    again = lineage.render(release.manifest)
    assert again == {lineage.NAME: (release.path / lineage.NAME).read_bytes()}
    other = lineage.events({**release.manifest, "root": "0" * 64})
    assert {e["run"]["runId"] for e in other}.isdisjoint(
        {e["run"]["runId"] for e in lineage.events(release.manifest)}
    )


@pytest.mark.parametrize(
    ("path", "namespace", "name"),
    [
        ("a/b.jsonl", "file", "a/b.jsonl"),
        ("/x/b.jsonl", "file", "/x/b.jsonl"),
        ("s3://box/a/b", "s3://box", "a/b"),
    ],
)
def test_a_file_is_named_by_its_store_and_path(path: str, namespace: str, name: str) -> None:
    assert lineage.named(path) == {"namespace": namespace, "name": name}
