"""bom.cdx.json: the release as a CycloneDX 1.7 bill of materials, where the recipe asks for one (output.bom).

Written by hand: cyclonedx-python-lib validates ``data``, but has no classes for it and drops it. The serial number
is a UUID of version 5 (RFC 9562) over the root, so that the same release always has the same. Citations tell which
of the statements the pipeline measured and which the recipe declares.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from curate.govern import facts
from curate.govern.descriptions import statements
from curate.govern.descriptions.fields import link

NAME = "bom.cdx.json"
RELEASE, TOOL, CREATOR = "release", "curate", "creator"  # references inside the document

Manifest = Mapping[str, Any]


def render(manifest: Manifest) -> dict[str, bytes]:
    """Return bom.cdx.json; nothing where the recipe does not ask for it."""
    if not manifest["recipe"]["output"].get("bom"):
        return {}
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {NAME: orjson.dumps(document(manifest), option=options)}


def document(manifest: Manifest) -> dict[str, Any]:
    """Return the bill of materials."""
    sources = [_source(manifest, source) for source in manifest["recipe"]["sources"]]
    creator = _creator(manifest)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.7.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, 'urn:curate:' + manifest['root'])}",
        "version": 1,
        "metadata": {
            "timestamp": manifest["created"],
            "tools": {"components": [_tool(manifest)]},
            "component": _release(manifest),
            **({"supplier": creator} if creator else {}),
        },
        "components": sources,
        "dependencies": [
            {"ref": RELEASE, "dependsOn": [source["bom-ref"] for source in sources]},
            *({"ref": source["bom-ref"]} for source in sources),
        ],
        "citations": _citations(manifest, sources, creator is not None),
    }


def _creator(manifest: Manifest) -> dict[str, Any] | None:
    name, contact = facts.about(manifest, "creator"), facts.about(manifest, "contact")
    if name is None:
        return None
    mail = {"contact": [{"email": contact}]} if contact and "@" in contact else {}
    return {"bom-ref": CREATOR, "name": name, **mail}


def _tool(manifest: Manifest) -> dict[str, Any]:
    software = manifest["software"]
    libraries = [
        {"type": "library", "bom-ref": f"library:{name}", "name": name, "version": version}
        for name, version in software.items()
        if name not in ("curate", "unicode")
    ]
    return {
        "type": "application",
        "bom-ref": TOOL,
        "name": "curate",
        "version": software["curate"],
        "components": libraries,
    }


def _release(manifest: Manifest) -> dict[str, Any]:
    said = facts.expression(manifest)
    homepage = facts.about(manifest, "homepage")
    files = [
        {
            "type": "file",
            "bom-ref": entry["path"],
            "name": entry["path"],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        }
        for part in ("data", "records")
        for entry in facts.shards(manifest, part)
    ]
    return {
        "type": "data",
        "bom-ref": RELEASE,
        "name": manifest["name"],
        "version": manifest["version"],
        "description": facts.description(manifest),
        **({"licenses": [{"expression": said, "acknowledgement": "concluded"}]} if said else {}),
        **({"externalReferences": [{"type": "website", "url": link(homepage)}]} if homepage else {}),
        "pedigree": {"notes": " ".join(statements.preprocessing(manifest))},
        "components": files,
        "data": [_data(manifest)],
        "properties": [
            {"name": "curate:root", "value": manifest["root"]},
            {"name": "curate:recipe_sha256", "value": manifest["recipe_sha256"]},
        ],
    }


def _data(manifest: Manifest) -> dict[str, Any]:
    shards = facts.shards(manifest, "data")
    homepage = facts.about(manifest, "homepage")
    counted = {
        "records": sum(shard["records"] for shard in shards),
        "bytes": sum(shard["bytes"] for shard in shards),
        **{f"records seen, {key}": manifest["counts"][key] for key in ("seen", "dropped", "quarantined")},
    }
    sensitive = statements.personal(manifest)
    creator = facts.about(manifest, "creator")
    owner = {"organization": {"name": creator}} if creator else None
    return {
        "type": "dataset",
        "name": facts.title(manifest),
        "contents": {
            **({"url": link(homepage)} if homepage else {}),
            "properties": [{"name": f"curate:{key}", "value": str(value)} for key, value in counted.items()],
        },
        "classification": "text to train language models on",
        "sensitiveData": sensitive,
        **({"governance": {"owners": [owner], "custodians": [owner]}} if owner else {}),
    }


def _source(manifest: Manifest, source: Mapping[str, Any]) -> dict[str, Any]:
    name = source["name"]
    files = [
        {
            "type": "file",
            "bom-ref": f"input:{name}:{entry['path']}",
            "name": entry["path"],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        }
        for entry in manifest["inputs"]
        if entry["source"] == name
    ]
    owner = source.get("publisher") or source.get("creator")
    declared = source.get("license")
    made = {
        "type": "data",
        "bom-ref": f"source:{name}",
        "name": source.get("title", name),
        "version": source.get("version"),
        "description": source.get("description"),
        "publisher": owner,
        "licenses": [{"expression": declared, "acknowledgement": "declared"}]
        if _is_named(declared)
        else None,
        "externalReferences": [{"type": "website", "url": link(source["homepage"])}]
        if source.get("homepage")
        else None,
        "components": files,
        "data": [{"type": "dataset", "name": name}],
    }
    return {key: value for key, value in made.items() if value not in (None, [])}


def _is_named(declared: str | None) -> bool:
    return declared is not None and declared.lower() not in ("unknown", "other")


def _citations(manifest: Manifest, sources: list[dict[str, Any]], has_creator: bool) -> list[dict[str, Any]]:
    """Return who says what: the pipeline what it measured, the recipe's author what the recipe declares."""
    measured = [
        "/metadata/component/components",
        "/metadata/component/data/0",
        "/metadata/component/pedigree",
    ]
    if facts.expression(manifest):
        measured.append("/metadata/component/licenses")
    measured += [f"/components/{place}/components" for place, s in enumerate(sources) if "components" in s]
    declared = [
        f"/components/{place}/{key}"
        for place, source in enumerate(sources)
        for key in ("description", "publisher", "licenses", "externalReferences", "version")
        if key in source
    ]
    told = [(measured, TOOL, "Measured by the run that manifest.json records.")]
    if declared:
        told.append((declared, CREATOR if has_creator else TOOL, "Declared in the recipe; not verified."))
    return [
        {"pointers": pointers, "timestamp": manifest["created"], "attributedTo": who, "note": note}
        for pointers, who, note in told
    ]
