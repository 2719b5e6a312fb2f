"""croissant.json: the release in Croissant 1.1 with RAI 1.0 and PROV-O, from the manifest alone.

Where specification and validator disagree: schema.org is https, on which mlcroissant insists (the specification
writes http, mlcommons/croissant#1018); RAI properties have the specification's names. mlcroissant reads Parquet
only as ``application/x-parquet``, so files have both that and the registered type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from curate.govern import facts
from curate.govern.descriptions.fields import field
from curate.govern.descriptions.statements import statements
from curate.shards.doubled import DUPLICATE_ID

NAME = "croissant.json"
CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
# Appendix 1 of the specification, version 1.1, with schema.org as https and PROV-O and SPDX added.
_TERMS = """
    annotation arrayShape citeAs column containedIn equivalentProperty excludes extract field
    fileProperty fileObject fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path
    recordSet references regex repeated replace readLines samplingRate sdVersion separator source subField transform
    unArchive value
"""
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
    **{name: f"cr:{name}" for name in _TERMS.split()},
}
_FORMATS = {
    "parquet": ["application/vnd.apache.parquet", "application/x-parquet"],
    "jsonl.zst": ["application/jsonlines", "application/zstd"],
}
_PARTS = {
    "data": "the training records",
    "records": "one row per record of data/: hashes, licenses, language, edits",
}
_NOT_READ = (
    " mlcroissant 1.1.1 does not decompress zstd: load these shards with datasets or polars, or "
    "decompress them first."
)
_NOT_HASHED = (
    " mlcroissant 1.1.1 compares no hash of a file that is read through a file set; "
    "curate verify compares all."
)


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return croissant.json."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
    return {NAME: orjson.dumps(document(manifest), option=options)}


def document(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Croissant description; a property of which nothing is known is left out."""
    parts = [part for part in _PARTS if facts.shards(manifest, part)]
    made: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": facts.title(manifest),
        "alternateName": manifest["name"] if manifest["name"] != facts.title(manifest) else None,
        "description": facts.description(manifest),
        "license": [_license(one) for one in facts.terms(manifest)],
        "url": facts.about(manifest, "homepage"),
        "creator": _creator(manifest),
        "datePublished": facts.published(manifest),
        "version": manifest["version"],
        "citeAs": facts.citation(manifest),
        "keywords": keywords(manifest),
        "inLanguage": list(facts.languages(manifest)),
        "isLiveDataset": False,
        "distribution": [entry for part in parts for entry in _files(manifest, part)],
        "recordSet": [
            *_splits(manifest),
            *(
                _record_set(manifest, part, columns)
                for part in parts
                if (columns := manifest.get("schema", {}).get(part))
            ),
        ],
        **{f"rai:{name}": value for name, value in statements(manifest).items()},
        "prov:wasDerivedFrom": [_source(manifest, source) for source in manifest["recipe"]["sources"]],
        "prov:wasGeneratedBy": _activity(manifest),
        "prov:wasAttributedTo": _agent(manifest),
    }
    return {key: value for key, value in made.items() if value not in (None, [], "")}


def keywords(manifest: Mapping[str, Any]) -> list[str]:
    """Return what the release is about, as far as a pipeline knows: its task and the stages it went through."""
    return ["language model training data", *(stage["name"] for stage in manifest["recipe"]["stages"])]


def _license(one: str) -> Any:
    return facts.license_url(one) if facts.is_listed(one) else {"@type": "sc:CreativeWork", "name": one}


def _creator(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    name, contact = facts.about(manifest, "creator"), facts.about(manifest, "contact")
    if name is None:
        return None
    mail = {"email": contact} if contact and "@" in contact else {}
    return {"@type": "sc:Organization", "name": name, **mail}


def _files(manifest: Mapping[str, Any], part: str) -> list[dict[str, Any]]:
    """Return a FileObject per shard, and the FileSet of all if there are several."""
    shards = facts.shards(manifest, part)
    suffix = _suffix(shards)
    entries: list[dict[str, Any]] = [
        {
            "@type": "cr:FileObject",
            "@id": shard["path"],
            "name": shard["path"].rpartition("/")[2],
            "contentUrl": shard["path"],
            "contentSize": f"{shard['bytes']} B",
            "encodingFormat": _FORMATS[suffix],
            "sha256": shard["sha256"],
        }
        for shard in shards
    ]
    if len(shards) > 1:
        entries.append(
            {
                "@type": "cr:FileSet",
                "@id": f"{part}-shards",
                "name": f"{part}-shards",
                "description": f"All {len(shards)} shards of {part}/.",
                "encodingFormat": _FORMATS[suffix],
                "includes": f"{part}/part-*.{suffix}",
            }
        )
    if facts.has_splits(manifest):
        entries += [
            {
                "@type": "cr:FileSet",
                "@id": f"{part}-{split}",
                "name": f"{part}-{split}",
                "description": f"The shards of {part}/ that hold the split {split}, and no other.",
                "encodingFormat": _FORMATS[suffix],
                "includes": [shard["path"] for shard in mine],
            }
            for split, mine in facts.splits(manifest, part).items()
        ]
    return entries


_SPLIT_TYPES = {"train": "cr:TrainingSplit", "validation": "cr:ValidationSplit", "test": "cr:TestSplit"}


def _splits(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the splits as a record set (Croissant 1.1, ML-specific features: splits); none where there are none."""
    if not facts.has_splits(manifest):
        return []
    names = list(facts.splits(manifest, "data"))
    described = {"splits/name": "name of the split", "splits/url": "its kind, by Croissant's terms"}
    return [
        {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "description": f"{len(names)} rows, the release's splits: records of one prompt, and near-duplicates of "
            "one cluster, are in the same.",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": name,
                    "name": name.partition("/")[2],
                    "description": told,
                    "dataType": "sc:URL" if name == "splits/url" else "sc:Text",
                }
                for name, told in described.items()
            ],
            "data": [
                {"splits/name": name, "splits/url": _SPLIT_TYPES.get(name, "cr:Split")} for name in names
            ],
        }
    ]


def _suffix(shards: Sequence[Mapping[str, Any]]) -> str:
    return str(shards[0]["path"]).partition(".")[2]


def _record_set(
    manifest: Mapping[str, Any], part: str, columns: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    shards = facts.shards(manifest, part)
    records = sum(shard["records"] for shard in shards)
    source = {"fileObject": {"@id": shards[0]["path"]}}
    notes = _NOT_READ if _suffix(shards) != "parquet" else ""
    if len(shards) > 1:
        source = {"fileSet": {"@id": f"{part}-shards"}}
        notes = notes or _NOT_HASHED
    fields = [field(part, column["name"], column["type"], source) for column in columns]
    if part == "records" and facts.has_splits(manifest):
        for made in fields:
            if made is not None and made["@id"] == "records/split":
                made["references"] = {"field": {"@id": "splits/name"}}
    left_out = [column["name"] for column, made in zip(columns, fields, strict=True) if made is None]
    if left_out:
        notes += f" Columns of a type that Croissant cannot express: {', '.join(left_out)}."
    return {
        "@type": "cr:RecordSet",
        "@id": part,
        "name": part,
        "description": f"{records:,} rows, {_PARTS[part]}.{notes}",
        **({} if DUPLICATE_ID in manifest["stages"][0]["reasons"] else {"key": {"@id": f"{part}/id"}}),
        "field": [made for made in fields if made is not None],
    }


def _source(manifest: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source as the entity that the release was derived from, with the hashes of its files."""
    name = source["name"]
    files = [
        {
            "@type": "prov:Entity",
            "name": entry["path"],
            "contentSize": f"{entry['bytes']} B",
            "sha256": entry["sha256"],
        }
        for entry in manifest["inputs"]
        if entry["source"] == name
    ]
    owner = source.get("publisher") or source.get("creator")
    made = {
        "@type": ["prov:Entity", "prov:Collection"],
        "@id": f"urn:curate:{quote(manifest['name'], safe='')}:source:{quote(name, safe='')}",
        "prov:label": name,
        "name": source.get("title", name),
        "description": source.get("description"),
        "url": source.get("homepage"),
        "version": source.get("version"),
        "license": source.get("license"),
        "prov:wasAttributedTo": {"@type": "prov:Agent", "prov:label": owner} if owner else None,
        "prov:hadMember": files,
    }
    return {key: value for key, value in made.items() if value not in (None, [], "")}


def _activity(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run: its software, and the recipe by its hash."""
    return {
        "@type": "prov:Activity",
        "prov:label": "curate run",
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "prov:label": f"curate {manifest['software']['curate']}",
        },
        "prov:used": {
            "@type": ["prov:Entity", "prov:Plan"],
            "prov:label": f"recipe {manifest['recipe']['name']}, resolved",
            "sha256": manifest["recipe_sha256"],
        },
    }


def _agent(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    name = facts.about(manifest, "creator")
    return None if name is None else {"@type": "prov:Agent", "prov:label": name}
