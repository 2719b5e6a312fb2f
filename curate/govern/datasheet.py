"""datasheet.md, rendered from the manifest alone: the same manifest always gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from curate.govern import duplicates, earlier, languages, personal
from curate.govern.markdown import number, share, table


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return the datasheet's files."""
    return {"datasheet.md": markdown(dict(manifest)).encode()}


def markdown(manifest: dict[str, Any]) -> str:
    """Return the datasheet as Markdown."""
    parts = [
        _head(manifest),
        _funnel(manifest),
        _findings(manifest),
        _reasons(manifest),
        _sources(manifest),
        duplicates.section(manifest),
        earlier.section(manifest),
        _licenses(manifest),
        languages.section(manifest),
        _edits(manifest),
        personal.section(manifest),
        _method(manifest),
        _files(manifest),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(m: dict[str, Any]) -> str:
    counts = m["counts"]
    return f"""# Datasheet: {m["name"]} {m["version"]}

Rendered from `manifest.json` (root `{m["root"]}`); every number below stands there.

**{counts["kept"]:,} records** were kept of {counts["seen"]:,} read from {len(m["inputs"]):,} files: \
{counts["dropped"]:,} dropped, {counts["quarantined"]:,} in quarantine. {counts["edited"]:,} of the kept \
records were edited. Each decision is a row of `ledger/`; dropped and quarantined records \
{"are in `removed/`" if _keeps_removed(m) else "were not kept"}."""


def _keeps_removed(m: dict[str, Any]) -> bool:
    return bool(m["recipe"]["output"]["keep_removed"])


def _funnel(m: dict[str, Any]) -> str:
    first = m["stages"][0]["seen"]
    rows = [
        (
            s["name"],
            s["seen"],
            s["kept"],
            s["dropped"],
            s["quarantined"],
            s["edited"],
            s["flagged"],
            share(s["kept"], first),
        )
        for s in m["stages"]
    ]
    head = ("stage", "seen", "kept", "dropped", "quarantined", "edited", "flagged", "of all read")
    return "## Funnel\n\nPer stage, seen = kept + dropped + quarantined.\n\n" + table(head, rows, 7)


def _findings(m: dict[str, Any]) -> str:
    lines = [f"- **{f['severity']}** `{f['reason']}`: {f['message']}" for f in m["findings"]]
    for gate in m["gates"]:
        state = {True: "passed", False: "**missed**", None: "not judged"}[gate["passed"]]
        value = "" if gate["value"] is None else f"{number(gate['value'])} "
        lines.append(f"- gate `{gate['gate']}` {state}: {value}(limit {gate['limit']}), {gate['where']}")
    return "## Findings\n\n" + ("\n".join(lines) if lines else "None.")


def _reasons(m: dict[str, Any]) -> str:
    rows = [(s["name"], f"`{reason}`", n) for s in m["stages"] for reason, n in s["reasons"].items()]
    if not rows:
        return ""
    note = "Decisions by reason; a record can be flagged or edited for several.\n\n"
    return "## Reasons\n\n" + note + table(("stage", "reason", "decisions"), rows, 1)


def _sources(m: dict[str, Any]) -> str:
    last = m["stages"][-1]["sources"]
    described = {source["name"]: source for source in m["recipe"]["sources"]}
    formats = {source["name"]: source["format"] for source in m["sources"]}
    rows = []
    for name, read in m["stages"][0]["sources"].items():
        source = described[name]
        kept = last.get(name, {}).get("kept", 0)
        rows.append(
            (
                name,
                source.get("title", "not stated"),
                formats[name],
                source.get("license", "not stated"),
                source.get("collected", "not stated"),
                read["seen"],
                kept,
                share(kept, read["seen"]),
            )
        )
    text = table(
        ("source", "title", "read as", "license", "collected", "read", "kept", "share kept"), rows, 3
    )
    notes = []
    for name, source in described.items():
        said = [
            f"{key}: {source[key]}"
            for key in ("description", "creator", "homepage", "collection", "terms")
            if key in source
        ]
        if said:
            notes.append(f"- **{name}**: " + " · ".join(" ".join(part.split()) for part in said))
    return "## Sources\n\n" + text + ("\n\n" + "\n".join(notes) if notes else "")


def _licenses(m: dict[str, Any]) -> str:
    rows = m["statistics"]["licenses"]
    total = sum(row["records"] for row in rows)
    found = table(
        ("license", "source", "records", "share"),
        [(row["license"], row["source"], row["records"], share(row["records"], total)) for row in rows],
        2,
    )
    return "## Licenses of the kept records\n\n" + found


def _edits(m: dict[str, Any]) -> str:
    rows = m["statistics"]["edits"]
    if not rows:
        return ""
    warning = ""
    if _keeps_removed(m):
        warning = (
            "\n\n`removed/` holds the originals of edited records, personal data included, so that every "
            "edit can be undone: do not publish that folder, or set `output: {keep_removed: false}`."
        )
    found = [(f"`{row['reason']}`", row["source"], row["records"], row["edits"]) for row in rows]
    return (
        "## Edits in the kept records\n\n"
        + table(("reason", "source", "records", "edits"), found, 2)
        + warning
    )


def _method(m: dict[str, Any]) -> str:
    lines = ["## What was done", "", "In this order, with these options:", ""]
    said = languages.notes(m)  # beside the histogram
    for stage in m["recipe"]["stages"]:
        options = orjson.dumps(stage["options"], option=orjson.OPT_SORT_KEYS).decode()
        lines.append(f"1. **{stage['name']}** (version {stage['version']}): `{options}`")
        lines += [f"   {note}" for note in stage.get("notes", ()) if note not in said]
    for stage in m["stages"]:
        resolution = stage.get("resolution")
        if resolution and not duplicates.is_deduplicating(stage):
            counts = ", ".join(
                f"{key.replace('_', ' ')} {number(value)}" for key, value in resolution.items()
            )
            lines += ["", f"Resolution of **{stage['name']}**: {counts}."]
    if m["rules"]:
        packs = [(f"`{pack['path']}`", pack["version"], f"`{pack['sha256'][:16]}…`") for pack in m["rules"]]
        lines += ["", "Rule packs:", "", table(("pack", "version", "sha256"), packs)]
    software = ", ".join(f"{name} {version}" for name, version in m["software"].items())
    lines += ["", f"Software: {software}.", "", f"Recipe (resolved) sha256 `{m['recipe_sha256']}`."]
    return "\n".join(lines)


def _files(m: dict[str, Any]) -> str:
    read = [
        (f["source"], f"`{f['path']}`", f"`{f['sha256'][:16]}…`", f["bytes"], f["records"])
        for f in m["inputs"]
    ]
    made = [(f"`{f['path']}`", f"`{f['sha256'][:16]}…`", f["bytes"], f["records"]) for f in m["outputs"]]
    return (
        "## Files\n\nFull hashes are in `manifest.json`.\n\nRead:\n\n"
        + table(("source", "file", "sha256", "bytes", "records"), read, 2)
        + "\n\nWritten:\n\n"
        + table(("file", "sha256", "bytes", "records"), made, 2)
    )
