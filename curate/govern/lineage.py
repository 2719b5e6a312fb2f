"""``lineage.ndjson``: what was made of what, as OpenLineage events, one JSON object per line.

By the OpenLineage specification 2-0-2 (openlineage.io/spec/2-0-2): a START and a COMPLETE event for the release as a
whole, and for each stage, whose parent it is; and for the gates, which judge the release. Input files are datasets of
the namespace ``file``, or of their store. What lies between two stages is a dataset of its own, as are the records
that a stage took out. A license has no facet in OpenLineage; it stands in the tags of a dataset.

Run ids are UUIDs of version 5 (RFC 9562, section 5.5) made of the manifest's root, so the same release has the same
ones. Every event has the manifest's ``created`` as its time: nothing else in a manifest tells when a stage ran.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import orjson

Json: TypeAlias = dict[str, Any]

NAME = "lineage.ndjson"
NAMESPACE = "curate"  # of jobs, and of what lies in or on the way to a release
SPEC = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACETS = {  # facet → version of its own specification, and its name there
    "columnLineage": ("1-2-0", "ColumnLineageDatasetFacet"),
    "dataQualityAssertions": ("1-1-0", "DataQualityAssertionsDatasetFacet"),
    "datasetVersion": ("1-0-1", "DatasetVersionDatasetFacet"),
    "documentation": ("1-1-0", "DocumentationDatasetFacet"),
    "inputStatistics": ("1-0-0", "InputStatisticsInputDatasetFacet"),
    "jobType": ("2-0-4", "JobTypeJobFacet"),
    "outputStatistics": ("1-0-2", "OutputStatisticsOutputDatasetFacet"),
    "parent": ("1-2-0", "ParentRunFacet"),
    "processing_engine": ("1-1-1", "ProcessingEngineRunFacet"),
    "schema": ("1-2-0", "SchemaDatasetFacet"),
    "tags": ("1-0-0", "TagsDatasetFacet"),
}
_ROLES = {  # role that a column of the input plays → column of data/
    **{name: name for name in ("id", "license", "url", "author", "created", "text")},
    **dict.fromkeys(("messages", "conversations", "instruction", "input", "output", "system"), "messages"),
    **dict.fromkeys(("prompt", "chosen"), "messages"),
    "rejected": "rejected",
}


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the release's lineage.ndjson."""
    lines = [orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in events(manifest)]
    return {NAME: b"".join(lines)}


def events(manifest: Mapping[str, Any]) -> list[Json]:
    """Return every event of the run that made a release, in order."""
    return _Lineage(manifest).events()


class _Lineage:
    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = manifest
        self.name = str(manifest["name"])
        self.release = f"{self.name}/{manifest['version']}"
        self.producer = f"urn:curate:{manifest['software']['curate']}"

    def events(self) -> list[Json]:
        stages = self.manifest["stages"]
        files = [self._file(file) for file in self.manifest["inputs"]]
        whole = ([_bare(file) for file in files], [self._data(), *self._removed_of(stages)])
        found = [self._event("START", "release", *whole)]
        for place, stage in enumerate(stages):
            inputs = [self._between(place - 1, "input")] if place else files
            last = _bare(self._data(), "outputFacets")
            kept = last if place == len(stages) - 1 else self._between(place, "output")
            found += self._pair(stage["name"], inputs, [kept, *self._removed_of([stage])])
        if judged := [gate for gate in self.manifest["gates"] if gate["passed"] is not None]:
            found += self._pair("gates", [self._judged(judged)], [])
        return [*found, self._event("COMPLETE", "release", *whole)]

    def _pair(self, job: str, inputs: list[Json], outputs: list[Json]) -> list[Json]:
        return [self._event(kind, job, inputs, outputs) for kind in ("START", "COMPLETE")]

    def _event(self, kind: str, job: str, inputs: list[Json], outputs: list[Json]) -> Json:
        """Return one event. Datasets are only named when a run starts, and described when it is complete."""
        whole = job == "release"
        run: Json = {"processing_engine": self._engine()}
        if not whole:
            parent = {"run": {"runId": self._run("release")}, "job": self._job("release")}
            run["parent"] = self._facet("parent", **parent)
        typed = self._facet(
            "jobType", processingType="BATCH", integration="CURATE", jobType="JOB" if whole else "TASK"
        )
        done = kind == "COMPLETE"
        return {
            "eventType": kind,
            "eventTime": self.manifest["created"],
            "run": {"runId": self._run(job), "facets": run},
            "job": {**self._job(job), "facets": {"jobType": typed}},
            "inputs": inputs if done else [_bare(dataset) for dataset in inputs],
            "outputs": outputs if done else [_bare(dataset) for dataset in outputs],
            "producer": self.producer,
            "schemaURL": SPEC,
        }

    def _job(self, job: str) -> Json:
        return {"namespace": NAMESPACE, "name": self.name if job == "release" else f"{self.name}.{job}"}

    def _run(self, job: str) -> str:
        space = uuid.uuid5(uuid.NAMESPACE_URL, f"curate:release:{self.manifest['root']}")
        return str(uuid.uuid5(space, job))

    def _facet(self, facet: str, **content: Any) -> Json:
        version, title = _FACETS[facet]
        url = f"https://openlineage.io/spec/facets/{version}/{title}.json#/$defs/{title}"
        return {"_producer": self.producer, "_schemaURL": url, **content}

    def _engine(self) -> Json:
        return self._facet("processing_engine", name="curate", version=self.manifest["software"]["curate"])

    def _file(self, file: Mapping[str, Any]) -> Json:
        """Return an input file, with its hash as version and its source's terms as tags."""
        about = next(
            source for source in self.manifest["recipe"]["sources"] if source["name"] == file["source"]
        )
        columns = next(source for source in self.manifest["sources"] if source["name"] == file["source"])[
            "fields"
        ]
        keys = ("license", "category", "collected", "version", "publisher", "personal_data", "terms_url")
        tags = {"source": file["source"], **{key: about[key] for key in keys if key in about}}
        fields = [{"name": column, "description": role} for role, column in sorted(columns.items())]
        facets = {
            "datasetVersion": self._facet("datasetVersion", datasetVersion=f"sha256:{file['sha256']}"),
            "schema": self._facet("schema", fields=fields),
            "tags": self._tags(tags),
        }
        if described := about.get("description") or about.get("title"):
            facets["documentation"] = self._facet("documentation", description=described)
        counted = self._facet("inputStatistics", rowCount=file["records"], size=file["bytes"], fileCount=1)
        return {**named(file["path"]), "facets": facets, "inputFacets": {"inputStatistics": counted}}

    def _tags(self, tags: Mapping[str, Any]) -> Json:
        said = [{"key": key, "value": str(value), "source": "CURATE"} for key, value in tags.items()]
        return self._facet("tags", tags=said)

    def _between(self, place: int, side: str) -> Json:
        """Return what a stage left to the next: a dataset that no longer exists when the release does."""
        stage = self.manifest["stages"][place]
        counted = self._facet(f"{side}Statistics", rowCount=stage["kept"])
        name = f"{self.release}/after/{stage['name']}"
        return {"namespace": NAMESPACE, "name": name, f"{side}Facets": {f"{side}Statistics": counted}}

    def _removed_of(self, stages: Iterable[Mapping[str, Any]]) -> list[Json]:
        """Return what stages dropped or quarantined, those that did."""
        found = []
        for stage in stages:
            for what in ("dropped", "quarantined"):
                if stage[what]:
                    counted = self._facet("outputStatistics", rowCount=stage[what])
                    name = f"{self.release}/{what}/{stage['name']}"
                    facets = {"outputStatistics": counted}
                    found.append({"namespace": NAMESPACE, "name": name, "outputFacets": facets})
        return found

    def _data(self) -> Json:
        """Return the release's data/ as a whole."""
        shards = [file for file in self.manifest["outputs"] if file["path"].startswith("data/")]
        counted = self._facet(
            "outputStatistics",
            rowCount=self.manifest["counts"]["kept"],
            size=sum(file["bytes"] for file in shards),
            fileCount=len(shards),
        )
        facets = {
            "datasetVersion": self._facet("datasetVersion", datasetVersion=f"root:{self.manifest['root']}"),
            "schema": self._facet("schema", fields=self._columns()),
            "columnLineage": self._facet("columnLineage", fields=self._column_lineage()),
            "tags": self._tags(self._terms()),
        }
        name = {"namespace": NAMESPACE, "name": f"{self.release}/data"}
        return {**name, "facets": facets, "outputFacets": {"outputStatistics": counted}}

    def _columns(self) -> list[Json]:
        """Return the columns of data/, in order, with their Arrow types."""
        return [
            {"name": column["name"], "type": column["type"]} for column in self.manifest["schema"]["data"]
        ]

    def _terms(self) -> Json:
        said = self.manifest.get("licenses", {}).get("collection", {})
        found = {"version": self.manifest["version"], "name": self.name}
        if expression := said.get("expression"):
            found["license"] = expression
        elif licenses := sorted({str(row["license"]) for row in self.manifest["statistics"]["licenses"]}):
            found["licenses"] = ", ".join("unknown" if name == "None" else name for name in licenses)
        return found

    def _column_lineage(self) -> Json:
        """Return, for each column of data/ that a role fills, the columns of the input files that it was read from."""
        masking = any(stage["name"] == "pii" for stage in self.manifest["recipe"]["stages"])
        files: dict[str, list[Json]] = {}
        for file in self.manifest["inputs"]:
            files.setdefault(file["source"], []).append(named(file["path"]))
        found: dict[str, list[Json]] = {}
        for source in self.manifest["sources"]:
            for role, column in sorted(source["fields"].items()):
                target = _ROLES[role]
                content = target in ("text", "messages", "rejected")
                step = {
                    "type": "DIRECT",
                    "subtype": "TRANSFORMATION" if content else "IDENTITY",
                    "masking": masking and content,
                }
                found.setdefault(target, []).extend(
                    {**file, "field": column, "transformations": [step]}
                    for file in files.get(source["name"], ())
                )
        return {name: {"inputFields": found[name]} for name in sorted(found)}

    def _judged(self, gates: Sequence[Mapping[str, Any]]) -> Json:
        said = [
            {
                "assertion": gate["gate"],
                "success": gate["passed"],
                "severity": "error",
                "expected": str(gate["limit"]),
                "actual": str(gate["value"]),
                "description": gate["where"],
            }
            for gate in gates
        ]
        facet = self._facet("dataQualityAssertions", assertions=said)
        return {**_bare(self._data()), "inputFacets": {"dataQualityAssertions": facet}}


def named(path: str) -> Json:
    """Return a file's namespace and name, as OpenLineage names datasets: by store, then by path."""
    scheme, found, rest = path.partition("://")
    if not found:
        return {"namespace": "file", "name": path}
    store, _, key = rest.partition("/")
    return {"namespace": f"{scheme}://{store}", "name": key}


def _bare(dataset: Json, *more: str) -> Json:
    return {key: dataset[key] for key in ("namespace", "name", *more)}
