"""Documentation under California's AB 2013: Civil Code sections 3110 and 3111, in force since 1 January 2026.

Twelve items about the datasets used to develop a generative system. Their wording here is our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.govern.disclosures.form import Form
from curate.govern.disclosures.known import (
    COUNSEL,
    PRIVACY,
    PROVIDER,
    STEWARD,
    Used,
    all_public_domain,
    generated,
    lacking,
    license_pointer,
    names,
    of_category,
    period,
    personal,
    pointers,
    size,
    stage,
    uncategorised,
    unknown_licenses,
    used,
)
from curate.govern.facts import UNKNOWN, licenses

NAME = "ca-ab2013"
TITLE = "Training data documentation (California AB 2013)"
BASIS = (
    "California Civil Code section 3111, added by AB 2013 (2024). It covers the part of a system's training data that "
    "is this release; it applies to whoever develops or substantially modifies a generative system, by fine-tuning too."
)


def fields(manifest: Mapping[str, Any]) -> Form:
    """Return the twelve items."""
    form = Form(manifest, NAME)
    form.section = "Items"
    sources = used(manifest)
    _origin(form, sources)
    _rights(form, sources)
    _people(form, sources)
    _work(form, sources)
    return form


def _origin(form: Form, sources: list[Used]) -> None:
    rows = [
        {
            "dataset": s.label,
            "owner": s.about.get("publisher") or s.about.get("creator") or "not declared",
            "link": s.about.get("homepage", "not declared"),
            "license": s.about.get("license", "not declared for all of it"),
            "records": s.records,
        }
        for s in sources
    ]
    where = [*pointers(sources, "name", "title", "publisher", "creator", "homepage", "license"), "/stages"]
    note = lacking(sources, creator="owner", homepage="link")
    form.declared("1", "Sources or owners of the datasets", rows, where, note)
    question = "How the datasets further the purpose of the system"
    form.unanswered("2", question, PROVIDER, "Only who builds the system knows its purpose.")
    kept = form.manifest["counts"]["kept"]
    form.measured("3", "Number of data points", f"{kept:,} records", ["/counts/kept"])
    kinds = sorted({s["format"] for s in form.manifest["sources"] if s["name"] in {u.name for u in sources}})
    said = {
        "text": "documents, without labels",
        "alpaca": "instructions with an optional input, each with the answer that serves as its label",
        "openai": "conversations, in which the assistant's turns serve as labels",
        "sharegpt": "conversations of a human and a model, in which the model's turns serve as labels",
    }
    text = "; ".join(said.get(kind, kind) for kind in kinds)
    form.derived("4", "Types of data points, and of labels", text or "none", ["/sources"])


def _rights(form: Form, sources: list[Used]) -> None:
    question = (
        "Is any of it protected by copyright, trademark or patent, or is all of it in the public domain?"
    )
    found = licenses(form.manifest)
    rows = ", ".join(f"{name} ({n:,})" for name, n in sorted(found.items(), key=lambda pair: -pair[1]))
    where = [license_pointer(form.manifest)]
    unknown = unknown_licenses(form.manifest)
    open_ones = f" {unknown:,} records have no license that can be told." if unknown else ""
    if all_public_domain(form.manifest) and not unknown:
        answer = "All of it is dedicated to the public domain, by its licenses"
        form.proposed("5", question, answer, where, f"Licenses, with records: {rows}.", COUNSEL)
    elif not found.keys() - {UNKNOWN}:
        note = f"{open_ones.strip() or 'There is no record.'} Trademarks and patents were not looked at."
        form.unanswered("5", question, COUNSEL, note, where)
    else:
        answer = "Yes, protected material is in it: licensed works, by their licenses"
        note = f"Licenses, with records: {rows}.{open_ones} Trademarks and patents were not looked at."
        form.proposed("5", question, answer, where, note, COUNSEL)
    question = "Were datasets purchased or licensed?"
    chosen, open_sources = of_category(sources, "licensed"), uncategorised(sources)
    if chosen:
        form.proposed("6", question, "Yes", pointers(chosen, "category"), f"{names(chosen)}.", PROVIDER)
    elif open_sources:
        note = f"Write `category` in the source manifests of {names(open_sources)}."
        form.unanswered("6", question, STEWARD, note)
    else:
        note = "No source is declared bought or commercially licensed; public licenses are in item 5."
        form.proposed("6", question, "No", pointers(sources, "category"), note, PROVIDER)


def _people(form: Form, sources: list[Used]) -> None:
    question = "Is personal information in it (Civil Code section 1798.140(v))?"
    found = personal(form.manifest)
    place, flagged = stage(form.manifest, "pii"), 0
    told = {value: [s for s in sources if s.about.get("personal_data") == value] for value in ("yes", "no")}
    where = [*pointers(sources, "personal_data"), "/statistics/edits"]
    if place is not None:
        where.append(f"/recipe/stages/{place}")
        kinds = ", ".join(f"{kind} {n:,}" for kind, n in found.items())
        note = (
            f"Found by rule and edited in the kept records: {kinds}."
            if found
            else "The stage pii edited nothing."
        )
        counts = form.manifest["stages"][place + 1]
        flagged, removed = counts["flagged"], counts["dropped"] + counts["quarantined"]
        where.append(f"/stages/{place + 1}")
        note += (
            f" It flagged {flagged:,} finds and removed {removed:,} records." if flagged or removed else ""
        )
        note += " Rules miss some; names and addresses of people are found only where the recipe asks for it."
    else:
        note = "No stage of the recipe looked for personal data."
    if told["yes"] or found or flagged:
        who = f" Declared to hold some: {names(told['yes'])}." if told["yes"] else ""
        form.proposed("7", question, "Yes", where, note + who, PRIVACY)
    elif place is not None and len(told["no"]) == len(sources):
        form.proposed("7", question, "No", where, note + " Every source is declared free of it.", PRIVACY)
    else:
        lack = " Write `personal_data` in the source manifests, and add the stage `pii`."
        form.unanswered("7", question, PRIVACY, note + lack, where)
    question = "Is aggregate consumer information in it (Civil Code section 1798.140(b))?"
    form.unanswered(
        "8", question, PRIVACY, "No stage can tell; say what the sources hold of groups of consumers."
    )


def _work(form: Form, sources: list[Used]) -> None:
    m = form.manifest
    rows = []
    for place, spec in enumerate(m["recipe"]["stages"]):
        counts = m["stages"][place + 1]
        rows.append(
            {
                "step": spec["name"],
                "purpose": PURPOSES.get(spec["name"], "described by whoever wrote this stage"),
                "dropped": counts["dropped"],
                "quarantined": counts["quarantined"],
                "edited": counts["edited"],
            }
        )
    form.measured(
        "9", "Cleaning, processing and other changes, and what for", rows, ["/recipe/stages", "/stages"]
    )
    question = "Period of collection, and whether it goes on"
    going = [s for s in sources if s.about.get("ongoing")]
    if when := period(sources):
        note = lacking(sources, collected="date")
        end = f"; goes on for {names(going)}" if going else ""
        where = pointers(sources, "collected_from", "collected", "ongoing")
        form.declared("10", question, when + end, where, note)
    else:
        form.unanswered("10", question, STEWARD, "Write `collected`, `collected_from` and `ongoing`.")
    question = "Dates when the datasets were first used in development"
    form.unanswered(
        "11", question, PROVIDER, "The manifest knows the day of this run, not that of the first training."
    )
    question = "Was synthetic data used, or is it used on an ongoing basis?"
    made, open_sources = generated(sources), uncategorised(sources)
    if made:
        whole = m["volume"]["bytes"]
        amount = sum(s.bytes for s in made)
        models = sorted({g["model"] for s in made for g in s.about.get("generated_by") or ()})
        note = f"{names(made)}: {size(amount)} of {size(whole)} of text"
        note += f"; made by {', '.join(models)}." if models else "."
        form.proposed("12", question, "Yes", pointers(made, "category", "generated_by"), note, PROVIDER)
    elif open_sources:
        note = f"Write `category`, and `generated_by` where a model wrote records, for {names(open_sources)}."
        form.unanswered("12", question, STEWARD, note)
    else:
        form.proposed(
            "12", question, "No", pointers(sources, "category"), "No source is declared so.", PROVIDER
        )


PURPOSES = {
    "boilerplate": "repeated headers, footers and passages, which teach nothing",
    "conversation": "conversations that teach nothing or the wrong thing: empty answers, broken order of turns",
    "exact": "equal records, which skew what is learned and are memorised",
    "language": "records in languages that the release is not for",
    "license": "records that may not be used as the recipe wants, or whose license is unknown",
    "minhash": "near-duplicates, which skew what is learned and are memorised",
    "pii": "personal data and secrets",
    "semantic": "records that say the same in other words",
}
"""What each of our stages is for."""
