"""What there is to say of a release in the words of Croissant's RAI vocabulary (version 1.0), from its manifest.

Every statement is text or a list of texts; what there is nothing to say of is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import orjson

from curate.govern import facts
from curate.govern.audit import QUESTIONS
from curate.govern.writing import number, share

Manifest = Mapping[str, Any]

# Values that the vocabulary recommends for dataCollectionType, by a source's category.
_KINDS = {
    "public": "Secondary Data analysis",
    "licensed": "Secondary Data analysis",
    "private": "Secondary Data analysis",
    "crawled": "Web Scraping",
    "user": "User-generated content data",
    "synthetic": "Others (synthetic)",
    "other": "Others",
}
_TOLD = """
    title description creator publisher homepage version selection collection terms terms_url consent notice
    jurisdiction
"""


def statements(manifest: Manifest) -> dict[str, str | list[str]]:
    """Return the statements by the name of their property, without prefix, in the specification's order."""
    said: dict[str, str | list[str]] = {
        "dataCollection": _collection(manifest),
        "dataCollectionType": sorted({_KINDS[s["category"]] for s in _sources(manifest) if "category" in s}),
        "dataCollectionMissingData": _missing(manifest),
        "dataCollectionRawData": _raw(manifest),
        "dataCollectionTimeframe": timeframe(manifest),
        "dataManipulationProtocol": manipulation(manifest),
        "dataPreprocessingProtocol": preprocessing(manifest),
        "machineAnnotationTools": _tools(manifest),
        "dataReleaseMaintenancePlan": maintenance(manifest),
        "personalSensitiveInformation": personal(manifest),
        "dataBiases": biases(manifest),
        "dataLimitations": limitations(manifest),
        "dataUseCases": uses(manifest),
    }
    return {name: value for name, value in said.items() if value}


def _sources(manifest: Manifest) -> list[Mapping[str, Any]]:
    return list(manifest["recipe"]["sources"])


def _collection(manifest: Manifest) -> str:
    told = []
    for source in _sources(manifest):
        said = [
            f"{key.replace('_', ' ')}: {' '.join(str(source[key]).split())}"
            for key in _TOLD.split()
            if source.get(key)
        ]
        for kind in ("crawler", "signals", "generated_by"):
            parts = source.get(kind) or ()
            for part in [parts] if isinstance(parts, Mapping) else parts:
                told_of = ", ".join(f"{key} {value}" for key, value in part.items() if value is not None)
                said.append(f"{kind.rstrip('s').replace('_', ' ')}: {told_of}")
        if said:
            told.append(f"Source {source['name']}: {'; '.join(said)}.")
    return " ".join(told)


def _raw(manifest: Manifest) -> str:
    files = Counter(entry["source"] for entry in manifest["inputs"])
    records = manifest["stages"][0]["sources"]
    told = [
        f"{name} ({number(count)} {'file' if count == 1 else 'files'}, {number(records[name]['seen'])} records)"
        for name, count in sorted(files.items())
    ]
    return (
        f"Read from {', '.join(told)}; the sha256 of every file is under inputs in manifest.json."
        if told
        else ""
    )


def _missing(manifest: Manifest) -> str:
    read = manifest["stages"][0]
    if not (lost := read["quarantined"] + read["dropped"]):
        return ""
    return f"{number(lost)} of {number(read['seen'])} records could not be read: {_reasons(read)}."


def _reasons(stage: Mapping[str, Any]) -> str:
    return ", ".join(f"{reason} {number(count)}" for reason, count in stage["reasons"].items())


def timeframe(manifest: Manifest) -> list[str]:
    """Return the first and the last day on which sources were collected, as far as they say (ISO 8601)."""
    days = [
        str(source[key])
        for source in _sources(manifest)
        for key in ("collected_from", "collected")
        if source.get(key)
    ]
    return [min(days), max(days)] if days else []


def preprocessing(manifest: Manifest) -> list[str]:
    """Return one sentence per stage: what it saw and did, for which reasons, with which options."""
    options = {stage["name"]: stage for stage in manifest["recipe"]["stages"]}
    told = []
    for stage in manifest["stages"]:
        counts = ", ".join(
            f"{name} {number(stage[name])}"
            for name in ("seen", "kept", "dropped", "quarantined", "edited", "flagged")
            if stage[name] or name in ("seen", "kept")
        )
        why = f" ({_reasons(stage)})" if stage["reasons"] else ""
        made = options.get(stage["name"])
        how = ""
        if made is not None:
            how = f" Options: {orjson.dumps(made['options'], option=orjson.OPT_SORT_KEYS).decode()}."
        told.append(f"{stage['name']}: {counts}{why}.{how}")
    return told


def manipulation(manifest: Manifest) -> str:
    """Return what was edited in the kept records; empty if nothing was."""
    edits: Counter[str] = Counter()
    for row in manifest["statistics"]["edits"]:
        edits[row["reason"]] += row["edits"]
    if not edits:
        return ""
    counts = manifest["counts"]
    told = ", ".join(f"{reason} {number(count)}" for reason, count in sorted(edits.items()))
    return f"{number(counts['edited'])} of {number(counts['kept'])} kept records were edited: {told}."


def _tools(manifest: Manifest) -> list[str]:
    version = manifest["software"]["curate"]
    return [
        f"{stage['name']} (engine {stage['options']['engine']}), a stage of curate {version}"
        for stage in manifest["recipe"]["stages"]
        if "engine" in stage["options"]
    ]


def personal(manifest: Manifest) -> list[str]:
    """Return what was searched for in the way of personal data, what was not, and what a person found left."""
    told = []
    for stage in manifest["recipe"]["stages"]:
        if "coverage" not in stage:
            continue
        decided = next(one for one in manifest["stages"] if one["name"] == stage["name"])["reasons"]
        kinds = [kind["kind"] for kind in stage["coverage"]["searched"]]
        found = ", ".join(f"{reason} in {number(count)} records" for reason, count in decided.items())
        told.append(f"Searched for: {', '.join(kinds)}. Found: {found or 'none'}.")
        reasons: dict[str, list[str]] = {}
        for missing in stage["coverage"]["not_searched"]:
            reasons.setdefault(missing["why"], []).append(missing["kind"])
        told += [f"Not searched for: {', '.join(kinds)} ({why})." for why, kinds in reasons.items()]
    told += [
        f"Source {source['name']} is said to hold personal data."
        for source in _sources(manifest)
        if source.get("personal_data") == "yes"
    ]
    if not any("coverage" in stage for stage in manifest["recipe"]["stages"]):
        return [*told, "No stage searched for personal data; whether the release holds any is not known."]
    if audit := manifest.get("audit"):
        left = audit[QUESTIONS[0]]
        told.append(
            f"A person judged {number(left['answered'])} kept records drawn at random: personal data was left in "
            f"{number(left['yes'])}."
        )
    return told


def biases(manifest: Manifest) -> list[str]:
    """Return how uneven the release is by source and by language; what it means is not for a pipeline to say."""
    kept = manifest["counts"]["kept"]
    told = []
    for what, counts in (("source", facts.kept_by_source(manifest)), ("language", facts.languages(manifest))):
        if counts and kept:
            shares = ", ".join(f"{name} {share(count, kept)}" for name, count in counts.items() if count)
            told.append(f"Share of the kept records by {what}: {shares}.")
    return told


def limitations(manifest: Manifest) -> list[str]:
    """Return the findings, what the licenses forbid, and what could not be told."""
    told = facts.findings(manifest)
    said = manifest.get("licenses", {}).get("collection", {})
    for key, forbidden in (
        ("commercial", "commercial use"),
        ("derivatives", "handing out changed copies"),
    ):
        if said.get(key) is False:
            told.append(f"The license of some records forbids {forbidden}.")
    merged = manifest.get("licenses", {}).get("merged", {})
    if merged.get("verdict") == "conflict":
        told.append(f"As one merged work its licenses conflict: {' '.join(merged['reasons'])}")
    unlicensed = facts.licenses(manifest).get(facts.UNKNOWN, 0)
    if unlicensed:
        told.append(f"No license could be concluded for {number(unlicensed)} of the kept records.")
    told_of = manifest["statistics"].get("languages_untold", ())
    if unsaid := sum(row["undetermined"] for row in told_of):
        judged = sum(row["judged"] for row in told_of)
        told.append(f"The language of {number(unsaid)} of {number(judged)} judged records could not be told.")
    return told


def uses(manifest: Manifest) -> list[str]:
    """Return what the form of the records is made for."""
    names = {column["name"] for column in manifest.get("schema", {}).get("data", ())}
    told = ["Training"] if "text" in names else []
    return [*told, "Fine Tuning"] if "messages" in names else told


def maintenance(manifest: Manifest) -> str:
    """Return how the release is kept: its version, what it supersedes, how a record is taken out."""
    told = [f"Version {manifest['version']}."]
    if earlier := manifest.get("supersedes"):
        told.append(f"It supersedes the release of root {earlier['root']}.")
    done = manifest.get("takedowns", ())
    removed = sum(one["removed"] for one in done)
    told.append(
        f"Take-downs so far: {number(len(done))}"
        + (f", which removed {number(removed)} records." if done else ".")
        + " A take-down erases records and their near-duplicates; its manifest names the one it supersedes."
    )
    if contact := facts.about(manifest, "contact"):
        told.append(f"Take-downs, corrections and questions: {contact}.")
    return " ".join(told)
