"""Evidence map for NIST AI 600-1, the generative-AI profile of the AI Risk Management Framework (July 2024).

The suggested actions that concern training data, and where in the release the evidence for each of them stands. The
actions are named by their ids and put in our own words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curate.govern.disclosures.form import Form
from curate.govern.disclosures.known import (
    COUNSEL,
    PROVIDER,
    STEWARD,
    license_pointer,
    pointers,
    stage,
    unknown_licenses,
    used,
)

NAME = "nist-ai-600-1"
TITLE = "Evidence map for NIST AI 600-1 (generative AI profile)"
BASIS = (
    "NIST AI 600-1 (July 2024), the suggested actions that concern training data. The map shows where evidence stands; "
    "whether it is enough is for whoever assesses the organisation."
)


def fields(manifest: Mapping[str, Any]) -> Form:
    """Return the map's fields."""
    form = Form(manifest, NAME)
    form.section = "Govern"
    _govern(form)
    form.section = "Map"
    _map(form)
    form.section = "Measure"
    _duplicates(form)
    return form


def _govern(form: Form) -> None:
    m = form.manifest
    sources = used(m)
    records = m["counts"]["kept"]
    held = m["recipe"]["output"]["keep_removed"]
    rest = "each removed one has it in removed/" if held else "removed ones were not kept"
    form.derived(
        "GV-1.2-001",
        "Document the origin and the history of training data and generated data",
        f"{len(sources)} sources, {len(m['inputs'])} input files with their hashes; each of the {records:,} records "
        f"kept has a locator (file and row) in records/, {rest}; each decision is a row in ledger/, each stage an "
        "event in lineage.ndjson.",
        ["/inputs", "/recipe/sources", "/stages"],
    )
    form.derived(
        "GV-1.5-003",
        "Keep the history of tests, evaluations, validation and verification",
        f"Findings: {len(m['findings'])}; gates judged: {len(m['gates'])}"
        + (
            "; a residual audit was answered by a person."
            if form.has("/audit")
            else "; no residual audit was taken in."
        ),
        ["/findings", "/gates", *(["/audit"] if form.has("/audit") else [])],
        "A rerun that replaces the release replaces these too: keep manifest.json of every release.",
    )
    keys = ("version", "homepage", "creator", "license", "personal_data", "sha256")
    where = [*pointers(sources, *keys), "/inputs", license_pointer(m)]
    lack = [s.name for s in sources if not s.about.get("version") or not s.about.get("homepage")]
    form.derived(
        "GV-1.6-003",
        "Keep an inventory with data provenance: source, signatures, versions, licensed and personal data",
        "The source manifests in the recipe, the hash of every input, licenses of every kept record.",
        where,
        f"Without a version or a link: {', '.join(lack)}."
        if lack
        else "Every source has a version and a link.",
    )


def _map(form: Form) -> None:
    m = form.manifest
    stages: Sequence[Mapping[str, Any]] = m["recipe"]["stages"]
    steps = ", ".join(f"{s['name']} (version {s['version']})" for s in stages)
    form.derived(
        "MP-4.1-004",
        "Document the policies of data curation",
        f"The recipe with every option and default, and the rule packs with their hashes. Stages: {steps}.",
        ["/recipe", "/recipe_sha256", "/rules"],
        "The recipe says what was done; why it was chosen is for a person to write down.",
    )
    limits = ", ".join(f"{gate['gate']} {gate['limit']}" for gate in m["gates"])
    limits = f"limits that the release had to meet: {limits}" if limits else "the recipe sets no limits"
    removed = "kept in removed/" if m["recipe"]["output"]["keep_removed"] else "not kept"
    form.proposed(
        "MP-4.1-005",
        "Set policies for collection, retention and minimum quality of data",
        f"Dropped and quarantined records are {removed}; {limits}.",
        ["/recipe/output", "/gates"],
        "How long the release and its removed records are kept is a policy of yours.",
        PROVIDER,
    )
    place = stage(m, "license")
    unknown = unknown_licenses(m)
    where = [license_pointer(m), *([f"/recipe/stages/{place}"] if place is not None else [])]
    text = "The stage license judged every record" if place is not None else "No stage judged licenses"
    form.proposed(
        "MP-4.1-006",
        "Set policies for third-party intellectual property in training data",
        f"{text}; {unknown:,} of {m['counts']['kept']:,} kept records have no license that can be told.",
        where,
        "The verdicts stand in licenses.json; the policy itself is for a person to write.",
        COUNSEL,
    )
    looked = [name for name in ("license", "pii") if stage(m, name) is not None]
    where = [f"/stages/{place + 1}" for name in looked if (place := stage(m, name)) is not None]
    if looked:
        form.derived(
            "MP-4.1-010",
            "Exercise diligence on training data: intellectual property and privacy",
            f"Looked for by the stages {' and '.join(looked)}; what they found and did stands in the ledger.",
            where,
        )
    else:
        form.unanswered(
            "MP-4.1-010",
            "Exercise diligence on training data: intellectual property and privacy",
            STEWARD,
            "No stage looked for licenses or personal data; add `license` and `pii` to the recipe.",
        )


def _duplicates(form: Form) -> None:
    m = form.manifest
    question = "Verify that training data was deduplicated, generated data above all"
    found = []
    where = []
    for place, counts in enumerate(m["stages"]):
        if counts["name"] in ("exact", "minhash", "semantic"):
            rate = counts["dropped"] / counts["seen"] if counts["seen"] else 0
            found.append(
                f"{counts['name']} removed {counts['dropped']:,} of {counts['seen']:,} records ({rate:.1%})"
            )
            where.append(f"/stages/{place}")
            recall = (counts.get("resolution") or {}).get("predicted_recall")
            if recall is not None:
                found[-1] += f", with a chance of {recall:.1%} to find a pair right at its limit"
    if found:
        text = (
            "; ".join(found)
            + ". Every cluster stands in clusters/, every removal names the record that it repeats."
        )
        form.measured("MS-2.10-003", question, text, where)
    else:
        note = "No stage looked for duplicates; add `exact` and `minhash` to the recipe."
        form.unanswered("MS-2.10-003", question, STEWARD, note)
