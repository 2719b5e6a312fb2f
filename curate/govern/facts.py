"""Facts that several documents of a release state: its title, licenses, languages, files. All from the manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from curate.govern.writing import number

UNKNOWN = "LicenseRef-curate-unknown"  # stands for records of which no license could be concluded
_NO_LANGUAGE = ("und", "zxx")  # undetermined, no linguistic content (ISO 639-2)


def about(manifest: Mapping[str, Any], key: str) -> str | None:
    """Return what the recipe's part ``about`` says, on one line; None if it says nothing."""
    value = (manifest["recipe"].get("about") or {}).get(key)
    return " ".join(str(value).split()) or None if value is not None else None


def title(manifest: Mapping[str, Any]) -> str:
    """Return the release's title, or else its name."""
    return about(manifest, "title") or str(manifest["name"])


def description(manifest: Mapping[str, Any]) -> str:
    """Return the description that the recipe gives, or else one sentence of counts."""
    counts = manifest["counts"]
    made = (
        f"{number(counts['kept'])} records of text to train language models on, kept of {number(counts['seen'])} "
        f"read from {', '.join(source['name'] for source in manifest['sources'])}."
    )
    return about(manifest, "description") or made


def published(manifest: Mapping[str, Any]) -> str:
    """Return the date of publication as the recipe gives it, or else the day of the run (YYYY-MM-DD)."""
    return about(manifest, "published") or str(manifest["created"])[:10]


def licenses(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the kept records per concluded license, sorted by license; UNKNOWN where none was concluded."""
    told = manifest.get("licenses", {}).get("records")
    counts: Counter[str] = Counter()
    for row in manifest["statistics"]["licenses"] if told is None else told:
        counts[row["license"] if row["license"] not in (None, "unknown") else UNKNOWN] += row["records"]
    return dict(sorted(counts.items()))


def expression(manifest: Mapping[str, Any]) -> str | None:
    """Return the SPDX expression of the release as a collection: all its licenses; None without records."""
    if said := manifest.get("licenses", {}).get("collection", {}).get("expression"):
        return str(said)
    found = list(licenses(manifest))
    if len(found) == 1:
        return found[0]
    return " AND ".join(f"({one})" if re.search(r" (OR|AND) ", one) else one for one in found) or None


def terms(manifest: Mapping[str, Any]) -> list[str]:
    """Return the licenses of the release one by one: the operands of its expression's outermost AND."""
    said = expression(manifest)
    parts: list[list[str]] = [[]]
    depth = 0
    for word in (said or "").split():
        if word == "OR" and not depth:
            return [said] if said else []  # the whole is one choice
        if word == "AND" and not depth:
            parts.append([])
            continue
        depth += word.count("(") - word.count(")")
        parts[-1].append(word)
    return sorted({_bare(" ".join(part)) for part in parts if part})


def _bare(part: str) -> str:
    return part[1:-1] if part.startswith("(") and part.endswith(")") else part


def is_listed(one: str) -> bool:
    """Tell whether a license is one id of the SPDX license list, which has a page of its own."""
    return " " not in one and not one.startswith(("LicenseRef-", "DocumentRef-"))


def license_url(one: str) -> str:
    """Return the page of a license on the SPDX license list."""
    return f"https://spdx.org/licenses/{one}.html"


def languages(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the kept records per language, most first; none if no stage told a language."""
    counts: Counter[str] = Counter()
    for row in manifest["statistics"]["languages"]:
        if row["after"] and row["language"] not in _NO_LANGUAGE:
            counts[row["language"]] += row["after"]
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def shards(manifest: Mapping[str, Any], part: str) -> list[Mapping[str, Any]]:
    """Return the shards of one part of the release (``data``), as the manifest lists them."""
    return [entry for entry in manifest["outputs"] if entry["path"].startswith(f"{part}/part-")]


def splits(manifest: Mapping[str, Any], part: str) -> dict[str, list[Mapping[str, Any]]]:
    """Return the shards of one part of the release by split, in the release's order; without splits, ``train``."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in shards(manifest, part):
        found.setdefault(entry.get("split", "train"), []).append(entry)
    return found


def has_splits(manifest: Mapping[str, Any]) -> bool:
    """Tell whether a stage stated splits."""
    return any("split" in entry for entry in shards(manifest, "data"))


def kept_by_source(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Return the kept records per source, most first."""
    last = manifest["stages"][-1]["sources"]
    counts = {source["name"]: last.get(source["name"], {}).get("kept", 0) for source in manifest["sources"]}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def citation(manifest: Mapping[str, Any]) -> str:
    """Return the citation that the recipe gives, or else one in BibTeX that names the release's root."""
    if said := about(manifest, "citation"):
        return said
    fields = {
        "title": "{" + title(manifest) + "}",
        "author": "{" + (about(manifest, "creator") or "") + "}",
        "year": published(manifest)[:4],
        "version": str(manifest["version"]),
        "url": about(manifest, "homepage"),
        "note": f"root {manifest['root']}",
    }
    lines = ", ".join(f"{key} = {{{value}}}" for key, value in fields.items() if value and value != "{}")
    return f"@misc{{{manifest['name']}, {lines}}}"


def findings(manifest: Mapping[str, Any]) -> list[str]:
    """Return the findings in one sentence each, without examples."""
    return [f"{found['severity']}, {found['reason']}: {found['message']}" for found in manifest["findings"]]
