"""Rules across the fields of the disclosures: answers that cannot all be true, found before an authority finds them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from curate.govern.disclosures.known import (
    RESERVED,
    Used,
    all_public_domain,
    generated,
    names,
    of_category,
    stage,
    uncategorised,
    unknown_licenses,
    used,
)

_SYNTHETIC = re.compile(
    r"synthe(tic|si[sz]ed)|(?<!human[- ])(?<!user[- ])\bgenerated\b|distill|(?<![a-z])(chat-?)?gpt|\bllm\b|"
    r"self[- ]instruct",
    re.IGNORECASE,
)
Finding = dict[str, Any]
Rule = Callable[[Mapping[str, Any], list[Used]], Iterator[Finding]]


def contradictions(manifest: Mapping[str, Any]) -> list[Finding]:
    """Return every contradiction as a finding of the manifest.

    manifest: one, or the parts of it that the rules read: ``recipe statistics volume``.
    """
    sources = used(manifest)
    return [finding for rule in RULES.values() for finding in rule(manifest, sources)]


def _finding(rule: str, message: str, count: int) -> Finding:
    return {
        "reason": f"disclosures/{rule}",
        "severity": "warning",
        "message": message,
        "count": count,
        "examples": [],
    }


def _synthetic(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    known = {source.name for source in generated(sources)}
    for source in sources:
        told = [
            key
            for key in ("name", "title", "description", "collection")
            if _SYNTHETIC.search(str(source.about.get(key, "")))
        ]
        if told and source.name not in known:
            yield _finding(
                "synthetic",
                f"source {source.name} calls itself generated or synthetic in its {' and '.join(told)}, but declares "
                "neither category: synthetic nor generated_by, so the synthetic-data answers leave it out: declare "
                "what wrote it, or reword it",
                source.records,
            )


def _model(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    for source in of_category(sources, "synthetic"):
        if not source.about.get("generated_by"):
            yield _finding(
                "synthetic-model",
                f"source {source.name} is declared synthetic, but no generated_by names what wrote it: name the model",
                source.records,
            )


def _crawler(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    for source in sources:
        crawled = source.about.get("category") == "crawled"
        crawler = source.about.get("crawler") or {}
        if crawled and not crawler.get("name"):
            yield _finding(
                "crawler",
                f"source {source.name} is declared crawled, but no crawler is named: the EU summary asks for it",
                source.records,
            )
        if crawler and not crawled and source.about.get("category"):
            category = source.about["category"]
            yield _finding(
                "crawler",
                f"source {source.name} names a crawler, but is declared {category}: one of the two is wrong",
                source.records,
            )


def _domains(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    found = {row["source"]: row for row in manifest["volume"]["sources"]}
    for source in of_category(sources, "crawled"):
        without = source.records - found[source.name]["with_domain"]
        if without:
            yield _finding(
                "domains",
                f"source {source.name} is declared crawled, but {without:,} of its {source.records:,} records have no "
                "address with a domain: the list of domains leaves them out; name their column under fields: url",
                without,
            )


def _personal(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    found: dict[str, int] = {}
    for line in manifest["statistics"]["edits"]:
        if line["reason"].startswith("pii/"):
            found[line["source"]] = found.get(line["source"], 0) + line["edits"]
    for source in sources:
        if source.about.get("personal_data") == "no" and found.get(source.name):
            yield _finding(
                "personal-data",
                f"source {source.name} is declared free of personal data, but {found[source.name]:,} finds of it were "
                "edited in its kept records: correct personal_data, or look at the finds",
                found[source.name],
            )


def _unlooked(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    denied = [source for source in sources if source.about.get("personal_data") == "no"]
    if denied and len(denied) == len(sources) and stage(manifest, "pii") is None:
        yield _finding(
            "personal-data-unchecked",
            "every source is declared free of personal data, but no stage of the recipe looked for any: the answer "
            "No rests on declarations alone; add the stage pii",
            sum(source.records for source in denied),
        )


def _licenses(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    unknown = unknown_licenses(manifest)
    if unknown and all_public_domain(manifest):
        yield _finding(
            "public-domain",
            f"every license that is known is a dedication to the public domain, but {unknown:,} kept records have none "
            "that can be told: the release must not be called public domain as a whole",
            unknown,
        )


def _consent(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    for source in of_category(sources, "user"):
        if not source.about.get("consent") and not source.about.get("notice"):
            yield _finding(
                "consent",
                f"source {source.name} comes from users, but neither consent nor notice is declared: say how the "
                "people were told, or agreed",
                source.records,
            )


def _reserved(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    for source in sources:
        said = [s for s in source.about.get("signals") or () if RESERVED.search(s["says"])]
        if said and source.about.get("category") in ("crawled", "public", None):
            kinds = ", ".join(sorted({signal["kind"] for signal in said}))
            yield _finding(
                "rights-reserved",
                f"source {source.name}: {kinds} appears to reserve rights, and {source.records:,} of its records were "
                "kept: find out whether they fall under it before the release is used",
                source.records,
            )


def _terms(manifest: Mapping[str, Any], sources: list[Used]) -> Iterator[Finding]:
    if (open_ones := uncategorised(sources)) and len(open_ones) < len(sources):
        yield _finding(
            "category",
            f"sources {names(open_ones)} declare no category while others do: every answer about kinds of sources is "
            "incomplete without them",
            sum(source.records for source in open_ones),
        )


RULES: dict[str, Rule] = {
    "A source that calls itself synthetic is declared so": _synthetic,
    "A synthetic source names what wrote it": _model,
    "A crawled source names its crawler, and only a crawled one does": _crawler,
    "Every record of a crawled source counts in the list of domains": _domains,
    "Where no personal data is declared, none was found": _personal,
    "Where no personal data is declared, a stage looked for it": _unlooked,
    "What is called public domain has no record of unknown license": _licenses,
    "Data from users comes with their consent, or notice to them": _consent,
    "A wish to be left out that was seen was heeded": _reserved,
    "Either every source declares its category, or none does": _terms,
}
"""What is checked, in words, and the rule."""
