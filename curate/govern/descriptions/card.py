"""README.md: the release's card for the Hugging Face Hub, from the manifest alone.

Its front matter makes ``datasets.load_dataset`` read the shards of data/ and nothing else. Sizes in it are those
of the shards on disk, in bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from curate.govern import facts
from curate.govern.columns import JSON
from curate.govern.descriptions import statements
from curate.govern.descriptions.fields import feature
from curate.govern.writing import number, share, table

Manifest = Mapping[str, Any]

NAME = "README.md"
MARK = "<!-- Rendered by curate from manifest.json; a change made here is lost. -->"
# What YAML 1.1 readers, the Hub's among them, take for a word; all else is quoted (`no` is Norwegian, not false).
_PLAIN = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z_-]*", re.IGNORECASE)
_HUB_LINK = re.compile(r"https://huggingface\.co/datasets/([\w.-]+(?:/[\w.-]+)?)/?")
# Ids of the Hub's list (huggingface/hub-docs, docs/hub/repositories-licenses.md; eupl-1.2 is a later one) that are an
# SPDX id in lower case …
_HUB_LIST = """
    afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bsd-2-clause bsd-3-clause bsd-3-clause-clear bsl-1.0 cc-by-2.0
    cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0
    cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cc-by-nd-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0
    cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2
    isc lppl-1.3c mit mpl-2.0 ms-pl ncsa ofl-1.1 osl-3.0 postgresql unlicense wtfpl zlib
"""
_HUB = frozenset(_HUB_LIST.split())
# … and those that stand for an SPDX id of another name.
_HUB_NAMES = {
    "AGPL-3.0-only": "agpl-3.0",
    "C-UDA-1.0": "c-uda",
    "GPL-2.0-only": "gpl-2.0",
    "GPL-3.0-only": "gpl-3.0",
    "LGPL-2.1-only": "lgpl-2.1",
    "LGPL-3.0-only": "lgpl-3.0",
    "LGPLLR": "lgpl-lr",
    "ODC-By-1.0": "odc-by",
    "ODbL-1.0": "odbl",
    "PDDL-1.0": "pddl",
    facts.UNKNOWN: "unknown",
}
_SIZES = (  # the Hub's size categories, each with the number of records below which it holds
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)


def render(manifest: Manifest) -> dict[str, bytes]:
    """Return README.md."""
    parts = [
        f"---\n{_yaml(front_matter(manifest))}---\n\n{MARK}",
        _head(manifest),
        _funnel(manifest),
        _sources(manifest),
        _loading(manifest),
        _limits(manifest),
        _contact(manifest),
    ]
    return {NAME: ("\n\n".join(part for part in parts if part) + "\n").encode()}


def is_ours(content: bytes) -> bool:
    """Tell whether a README.md was rendered by this module."""
    return MARK.encode() in content


def front_matter(manifest: Manifest) -> dict[str, Any]:
    """Return the card's YAML as data; a key of which nothing is known is left out."""
    shards = facts.shards(manifest, "data")
    suffix = str(shards[0]["path"]).partition(".")[2]
    made = {
        "pretty_name": facts.title(manifest),
        **_license(manifest),
        "language": [code for code in facts.languages(manifest) if code.isalpha() and len(code) in (2, 3)],
        "size_categories": [size_category(manifest["counts"]["kept"])],
        "task_categories": ["text-generation"],
        "source_datasets": _derived_from(manifest),
        "tags": ["curate", *(stage["name"] for stage in manifest["recipe"]["stages"])],
        "configs": [
            {
                "config_name": "default",
                "data_files": _data_files(manifest, suffix),
            }
        ],
        "dataset_info": _info(manifest, shards),
    }
    return {key: value for key, value in made.items() if value not in (None, [])}


def _data_files(manifest: Manifest, suffix: str) -> list[dict[str, Any]]:
    """Return what ``datasets`` reads for each split: a pattern where all shards are one, else the shards by name."""
    if not facts.has_splits(manifest):
        return [{"split": "train", "path": f"data/part-*.{suffix}"}]
    return [
        {"split": split, "path": [shard["path"] for shard in shards]}
        for split, shards in facts.splits(manifest, "data").items()
    ]


def size_category(records: int) -> str:
    """Return the Hub's size category of a number of records."""
    return next((name for bound, name in _SIZES if records < bound), "n>1T")


def hub_license(one: str) -> str | None:
    """Return the Hub's id of a license; None if it has none."""
    return _HUB_NAMES.get(one) or (one.lower() if one.lower() in _HUB else None)


def _license(manifest: Manifest) -> dict[str, str]:
    """Return the license's keys: the Hub's id where one stands for the whole release, else ``other`` and its name."""
    found = facts.terms(manifest)
    if not found:
        return {"license": "unknown"}
    if len(found) == 1 and (known := hub_license(found[0])):
        return {"license": known}
    return {
        "license": "other",
        "license_name": "-and-".join(one.lower().replace(" ", "-") for one in found),
        "license_link": "NOTICE",
    }


def _info(manifest: Manifest, shards: list[Mapping[str, Any]]) -> dict[str, Any]:
    columns = manifest.get("schema", {}).get("data", ())
    features = [feature(column["name"], column["type"]) for column in columns]
    if shards[0]["path"].endswith(
        ".zst"
    ):  # where nothing is told, readers take the first shard's types for all
        features = [
            {"name": column["name"], "dtype": "json"} if column["type"] in (JSON, "null") else told
            for column, told in zip(columns, features, strict=True)
        ]
    size = sum(shard["bytes"] for shard in shards)
    return {
        **({"features": features} if features and None not in features else {}),
        "splits": [
            {
                "name": split,
                "num_bytes": sum(shard["bytes"] for shard in mine),
                "num_examples": sum(shard["records"] for shard in mine),
            }
            for split, mine in facts.splits(manifest, "data").items()
        ],
        "download_size": size,
        "dataset_size": size,
    }


def _derived_from(manifest: Manifest) -> list[str]:
    """Return the Hub's ids of the sources that lie there; the Hub's word for others is ``extended``."""
    links = (_HUB_LINK.fullmatch(source.get("homepage") or "") for source in manifest["recipe"]["sources"])
    return sorted({link[1] if link else "extended" for link in links})


def _quoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _quoted(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_quoted(inner) for inner in value]
    plain = not isinstance(value, str) or _PLAIN.fullmatch(value)
    return value if plain else DoubleQuotedScalarString(value)


def _yaml(data: Mapping[str, Any]) -> str:
    writer = YAML()
    writer.default_flow_style = False
    writer.width = 2**16
    text = io.StringIO()
    writer.dump(_quoted(data), text)
    return text.getvalue()


def _head(manifest: Manifest) -> str:
    counts = manifest["counts"]
    told = (
        f"{number(counts['kept'])} records in the release, kept of {number(counts['seen'])} read: "
        f"{number(counts['dropped'])} dropped, {number(counts['quarantined'])} in quarantine. "
        f"{number(counts['edited'])} of the kept records were edited."
    )
    about = facts.about(manifest, "description")
    return "\n\n".join(
        part
        for part in (
            f"# {facts.title(manifest)}",
            about,
            f"Version {manifest['version']}. {told}",
            "`data/` holds the records, `records/` one row for each with its hashes, license, language and edits, "
            "`ledger/` every decision with its reason. Everything said here stands in `manifest.json`.",
        )
        if part
    )


def _funnel(manifest: Manifest) -> str:
    first = manifest["stages"][0]["seen"]
    rows = [
        (
            s["name"],
            s["seen"],
            s["kept"],
            s["dropped"],
            s["quarantined"],
            s["edited"],
            share(s["kept"], first),
        )
        for s in manifest["stages"]
    ]
    head = ("stage", "seen", "kept", "dropped", "quarantined", "edited", "of all read")
    return "## Funnel\n\n" + table(head, rows, 6)


def _sources(manifest: Manifest) -> str:
    told = {source["name"]: source for source in manifest["recipe"]["sources"]}
    found: dict[str, list[str]] = {}
    for row in (manifest.get("licenses") or {}).get("records") or manifest["statistics"]["licenses"]:
        found.setdefault(row["source"], []).append(row["license"] or "unknown")
    rows = []
    for name, kept in facts.kept_by_source(manifest).items():
        link = told[name].get("homepage")
        title = told[name].get("title", name)
        rows.append(
            (
                name,
                f"[{title}]({link})" if link else title,
                ", ".join(sorted(set(found.get(name, ())))) or "–",
                manifest["stages"][0]["sources"][name]["seen"],
                kept,
            )
        )
    said = facts.expression(manifest)
    whole = (
        f"\n\nAll together: `{said}`. Every record keeps its own license (column `license`)." if said else ""
    )
    return (
        "## Sources and licenses\n\n"
        + table(("source", "title", "licenses of its kept records", "read", "kept"), rows, 2)
        + whole
    )


def _loading(manifest: Manifest) -> str:
    suffix = str(facts.shards(manifest, "data")[0]["path"]).partition(".")[2]
    reader = "scan_parquet" if suffix == "parquet" else "scan_ndjson"
    splits = ""
    if facts.has_splits(manifest):
        told = (
            f"`{split}` of {number(sum(shard['records'] for shard in mine))} records"
            for split, mine in facts.splits(manifest, "data").items()
        )
        splits = f"Splits: {', '.join(told)}; `manifest.json` names the shards of each.\n\n"
    return f"""## Load, verify, cite

{splits}\

```python
from datasets import load_dataset

records = load_dataset("PATH OF THIS FOLDER", split="train")
```

```python
import polars as pl

records = pl.{reader}("data/part-*.{suffix}").collect()
```

`curate verify` recomputes every hash and total of the release and renders every document again, this one too. Root \
of the release: `{manifest["root"]}`.

```bibtex
{facts.citation(manifest)}
```"""


def _limits(manifest: Manifest) -> str:
    said = [*statements.limitations(manifest), *statements.biases(manifest), *_personal(manifest)]
    return "## Known limitations\n\n" + "\n".join(f"- {' '.join(one.split())}" for one in said)


def _personal(manifest: Manifest) -> list[str]:
    """Return the statements on personal data, those on what was not searched for as one."""
    said = statements.personal(manifest)
    short = [one for one in said if not one.startswith(("Searched", "Not searched"))]
    for stage in manifest["recipe"]["stages"]:
        if "coverage" in stage:
            decided = next(one for one in manifest["stages"] if one["name"] == stage["name"])["reasons"]
            found = ", ".join(f"`{reason}` in {number(count)} records" for reason, count in decided.items())
            short.append(
                f"Personal data and secrets: found {found or 'none'}. Not every kind can be found, and names "
                f"{'were' if stage['options'].get('names', 'off') != 'off' else 'were not'} searched for: the "
                "datasheet lists the kinds, and how well each is found."
            )
    return short


def _contact(manifest: Manifest) -> str:
    contact = facts.about(manifest, "contact")
    whom = f"Take-downs, corrections and questions: {contact}." if contact else ""
    files = ("datasheet.html", "datasheet.md", "licenses.json", "NOTICE", "croissant.json", "manifest.json")
    more = f"More: {', '.join(f'[{name}]({name})' for name in files)}."
    return "## Contact and more\n\n" + "\n\n".join(part for part in (whom, more) if part)
