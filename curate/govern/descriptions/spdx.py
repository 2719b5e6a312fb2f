"""spdx.json: the release as a Dataset of SPDX 3.0.1, where the recipe asks for it (output.spdx).

Fields that SPDX requires and nobody has said are NoAssertion, never a guess. Times are those of the run to the
second, and of the day of publication, as SPDX demands them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

from curate.govern import facts
from curate.govern.audit import QUESTIONS
from curate.govern.descriptions import statements

NAME = "spdx.json"
CONTEXT = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"
NO_ASSERTION = "https://spdx.org/rdf/3.0.1/terms/Core/NoAssertionElement"
_CREATION = "_:creation"
_OWN_REF = re.compile(r"LicenseRef-[A-Za-z0-9.-]+")

Manifest = Mapping[str, Any]
Element = dict[str, Any]


def render(manifest: Manifest) -> dict[str, bytes]:
    """Return spdx.json; nothing where the recipe does not ask for it."""
    if not manifest["recipe"]["output"].get("spdx"):
        return {}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {NAME: orjson.dumps(document(manifest), option=options)}


def document(manifest: Manifest) -> dict[str, Any]:
    """Return the document: the data set, its sources and files, their licenses, who made it and with what."""
    base = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'urn:curate:spdx:' + manifest['root'])}#"
    agent, tool = _agent(manifest, base), _tool(manifest, base)
    release = _release(manifest, base, agent["spdxId"])
    sources = [_source(source, base) for source in manifest["recipe"]["sources"]]
    files = [_file(entry, base) for part in ("data", "records") for entry in facts.shards(manifest, part)]
    licensing = _Licensing(base)
    licensing.add(release, "hasConcludedLicense", facts.expression(manifest))
    licensing.add(release, "hasDeclaredLicense", facts.about(manifest, "license"))
    for element, source in zip(sources, manifest["recipe"]["sources"], strict=True):
        licensing.add(element, "hasDeclaredLicense", source.get("license"))
    related = [
        _relationship(base, release, "descendantOf", sources),
        _relationship(base, release, "contains", files),
    ]
    elements = [agent, tool, release, *sources, *files, *licensing.elements, *related, *licensing.related]
    document = _element(base, "document", "SpdxDocument", name=f"{manifest['name']} {manifest['version']}")
    document |= {
        "rootElement": [release["spdxId"]],
        "element": [element["spdxId"] for element in elements],
        "profileConformance": ["core", "dataset", "simpleLicensing", "software"],
    }
    describes = _relationship(base, document, "describes", [release])
    document["element"].append(describes["spdxId"])
    creation = {
        "type": "CreationInfo",
        "@id": _CREATION,
        "specVersion": "3.0.1",
        "created": _time(manifest["created"]),
        "createdBy": [agent["spdxId"]],
        "createdUsing": [tool["spdxId"]],
    }
    return {"@context": CONTEXT, "@graph": [creation, document, *elements, describes]}


def _element(base: str, place: str, kind: str, **values: Any) -> Element:
    made = {"type": kind, "spdxId": base + place, "creationInfo": _CREATION, **values}
    return {key: value for key, value in made.items() if value not in (None, [], "")}


def _time(stamp: str) -> str:
    """Return a time of the manifest, which is in UTC, as SPDX writes it."""
    return stamp.replace("+00:00", "Z")


def _agent(manifest: Manifest, base: str) -> Element:
    name = facts.about(manifest, "creator")
    if name is None:  # somebody must have made it: all that is known is by what
        return _element(base, "agent", "SoftwareAgent", name="curate")
    return _element(base, "agent", "Organization", name=name)


def _tool(manifest: Manifest, base: str) -> Element:
    return _element(base, "tool", "Tool", name=f"curate {manifest['software']['curate']}")


def _release(manifest: Manifest, base: str, agent: str) -> Element:
    said = statements.statements(manifest)
    edits = statements.manipulation(manifest)
    return _element(
        base,
        "release",
        "dataset_DatasetPackage",
        name=facts.title(manifest),
        description=facts.description(manifest),
        builtTime=_time(manifest["created"]),
        releaseTime=f"{facts.published(manifest)}T00:00:00Z",
        originatedBy=[agent],
        software_packageVersion=manifest["version"],
        software_primaryPurpose="data",
        software_downloadLocation=facts.about(manifest, "homepage") or NO_ASSERTION,
        software_homePage=facts.about(manifest, "homepage"),
        software_copyrightText=None,
        dataset_datasetType=["text"],
        dataset_datasetSize=sum(shard["bytes"] for shard in facts.shards(manifest, "data")),
        dataset_dataCollectionProcess=said.get("dataCollection"),
        dataset_dataPreprocessing=statements.preprocessing(manifest),
        dataset_anonymizationMethodUsed=[edits] if edits else None,
        dataset_hasSensitivePersonalInformation=_sensitive(manifest),
        dataset_knownBias=statements.biases(manifest),
        dataset_intendedUse=", ".join(statements.uses(manifest)),
        dataset_datasetUpdateMechanism=statements.maintenance(manifest),
    )


def _sensitive(manifest: Manifest) -> str:
    """Return ``yes`` where a person found personal data left; a pipeline can never say ``no``."""
    audit = manifest.get("audit")
    return "yes" if audit and audit[QUESTIONS[0]]["yes"] else "noAssertion"


def _source(source: Mapping[str, Any], base: str) -> Element:
    return _element(
        base,
        f"source-{quote(source['name'], safe='')}",
        "software_Package",
        name=source.get("title", source["name"]),
        description=source.get("description"),
        software_packageVersion=source.get("version"),
        software_primaryPurpose="data",
        software_downloadLocation=source.get("homepage"),
    )


def _file(entry: Mapping[str, Any], base: str) -> Element:
    digest = {"type": "Hash", "algorithm": "sha256", "hashValue": entry["sha256"]}
    return _element(
        base,
        f"file-{quote(entry['path'])}",
        "software_File",
        name=entry["path"],
        software_primaryPurpose="data",
        verifiedUsing=[digest],
    )


def _relationship(base: str, start: Element, kind: str, ends: list[Element]) -> Element:
    place = f"{kind}-{start['spdxId'].removeprefix(base)}"
    to = [end["spdxId"] for end in ends]
    return _element(
        base,
        place,
        "Relationship",
        **{"from": start["spdxId"]},
        relationshipType=kind,
        to=to or [NO_ASSERTION],
    )


class _Licensing:
    """License expressions, each once, and who is under which."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._made: dict[str, Element] = {}
        self.related: list[Element] = []

    @property
    def elements(self) -> list[Element]:
        return list(self._made.values())

    def add(self, element: Element, kind: str, said: str | None) -> None:
        """Say that an element is under a license; nothing where none is named."""
        if said is None or said.lower() in ("unknown", "other"):
            return
        if said not in self._made:
            own = sorted(set(_OWN_REF.findall(said)))
            self._made[said] = _element(
                self._base,
                f"license-{quote(said, safe='')}",
                "simplelicensing_LicenseExpression",
                simplelicensing_licenseExpression=said,
                simplelicensing_customIdToUri=[
                    {"type": "DictionaryEntry", "key": one, "value": self._text(one)} for one in own
                ],
            )
        self.related.append(_relationship(self._base, element, kind, [self._made[said]]))

    def _text(self, one: str) -> str:
        """Return the id of the element that stands for a license which the SPDX list does not have."""
        made = _element(
            self._base,
            f"text-{one}",
            "simplelicensing_SimpleLicensingText",
            name=one,
            simplelicensing_licenseText=f"The license that the rule pack licenses of curate calls {one}.",
        )
        self._made[one] = made
        return str(made["spdxId"])
