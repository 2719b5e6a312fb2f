"""licenses.json and NOTICE: projections of the manifest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from curate import licenses

JSON = "licenses.json"
NOTICE = "NOTICE"
WIDTH = 100  # characters of a line of NOTICE
DISCLAIMER = (
    "Information, not legal advice: gathered and judged by a program from what sources and records state."
)
_POINTERS = (
    "records",
    "collection",
    "merged",
    "conflicts",
    "disagreements",
    "detected",
    "generated",
    "authors",
    "terms",
)
_PER_RECORD = {
    "declared": "records/*.parquet, column license_declared",
    "detected": "records/*.parquet, column license_detected",
    "concluded": "records/*.parquet, column license_concluded",
    "where_detected": "ledger/*.parquet, reasons license/detected and license/disagreement",
    "attribution": "ATTRIBUTION.csv",
}


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return both documents; none for a manifest that says nothing of licenses."""
    if not (section := manifest.get("licenses")):
        return {}
    told = {
        "release": {key: manifest.get(key) for key in ("name", "version", "root")},
        "disclaimer": DISCLAIMER,
        **section,
        "evidence": {
            "manifest": {key: f"/licenses/{key}" for key in _POINTERS if key in section},
            "records": _PER_RECORD,
        },
    }
    text = orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    return {JSON: text, NOTICE: "\n".join(notice(manifest)).encode() + b"\n"}


def notice(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of NOTICE: by license, then source, then author."""
    section = manifest["licenses"]
    rows = section["records"]
    total = sum(row["records"] for row in rows)
    yield from (f"NOTICE: {manifest['name']} {manifest['version']}", "")
    yield from _paragraph(
        f"This release holds {_count(total, 'record')} of {_count(len({r['source'] for r in rows}), 'source')}. Every "
        "record keeps the license that it came under. Below stand, by license, the sources and authors to be "
        "credited, and what the license asks for. Where a record names no author, credit the creator of its source."
    )
    yield from _paragraph(
        "ATTRIBUTION.csv, where there is one, lists every record whose license asks for credit. In it, a cell that "
        "begins with an apostrophe holds what follows the apostrophe: it keeps spreadsheets from taking text for a "
        "formula."
    )
    yield from _paragraph(DISCLAIMER)
    yield from _changes(manifest)
    for expression in sorted({row["license"] for row in rows}, key=lambda name: (name is None, name or "")):
        yield from _license(manifest, expression)


def _changes(manifest: Mapping[str, Any]) -> Iterator[str]:
    counts = manifest["counts"]
    yield from _heading("Changes made to the material")
    gone = counts["dropped"] + counts["quarantined"]
    yield from _item(
        f"The records were selected: {counts['kept']:,} of {counts['seen']:,} were kept and {gone:,} were not."
    )
    for stage in manifest["stages"]:
        done = [
            f"{verb} {_count(count, 'record')}"
            for verb, count in (
                ("removed", stage["dropped"]),
                ("set apart", stage["quarantined"]),
                ("changed the text of", stage["edited"]),
            )
            if count
        ]
        if done:
            yield from _item(f"Stage {stage['name']} {', '.join(done)}.")
    kept = sum(row["edited"] for row in manifest["licenses"]["records"])
    if kept:
        yield from _item(f"The text of {_count(kept, 'kept record')} is not as it was received.")
    else:
        yield from _item("The text of every kept record is as it was received.")
    yield from _item("All records were brought into one form and file format.")
    yield ""


def _license(manifest: Mapping[str, Any], expression: str | None) -> Iterator[str]:
    section = manifest["licenses"]
    if expression is None:
        yield from _heading("License not known")
        yield from _paragraph("Nobody can tell what may be done with these records, or whom to credit.")
    else:
        yield from _heading(expression)
        terms = {one["id"]: one for one in section["terms"]}
        held = [terms[key] for key in licenses.ids(expression) if key in terms]
        for one in held:
            name = one["id"] if one["name"] == one["id"] else f"{one['name']} ({one['id']})"
            yield from (name, *([one["url"]] if one["url"] else []))
        if " OR " in expression:
            yield "Where OR stands, one of the licenses may be chosen; here stands what all of them ask."
        asked = dict.fromkeys(key for one in held for key in one["obligations"])
        yield from ("", "It asks:" if asked else "It asks for nothing.")
        for key in asked:
            yield from _item(section["wording"][key])
        yield ""
        for one in held:
            if one["notes"]:
                yield from _paragraph(f"Note on {one['id']}: {one['notes']}")
    for row in section["records"]:
        if row["license"] == expression:
            yield from _source(manifest, row)


def _source(manifest: Mapping[str, Any], row: Mapping[str, Any]) -> Iterator[str]:
    sources = {source["name"]: source for source in manifest["recipe"]["sources"]}
    source = sources.get(row["source"], {})
    title = f": {source['title']}" if source.get("title") else ""
    changed = f"{row['edited']:,} of them changed" if row["edited"] else "none of them changed"
    yield from _paragraph(
        f"Source {row['source']}{title} ({_count(row['records'], 'record')}, {changed})", ""
    )
    for key in ("creator", "publisher", "homepage"):
        if source.get(key):
            yield from _paragraph(f"{key.capitalize()}: {source[key]}", "    ")
    for entry in manifest["licenses"]["authors"]:
        if (entry["source"], entry["license"]) == (row["source"], row["license"]):
            yield from _authors(entry)
    yield ""


def _authors(entry: Mapping[str, Any]) -> Iterator[str]:
    named = [f"{_one_line(one['author'])} ({one['records']:,})" for one in entry["named"]]
    if rest := entry["authors"] - len(named):
        named.append(f"and {rest:,} more, all of them in ATTRIBUTION.csv where the license asks for credit")
    yield from _paragraph(f"Authors, with their records: {', '.join(named)}", "    ")


def _one_line(text: str) -> str:
    """Return an author's name on one line: it comes from a record and could imitate a line of NOTICE."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _heading(text: str) -> Iterable[str]:
    return ("=" * WIDTH, text, "=" * WIDTH, "")


def _paragraph(text: str, indent: str | None = None) -> Iterator[str]:
    """Wrap a paragraph; indent: of its lines, and no empty line after it."""
    first = indent or ""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=first + ("  " if indent is not None else ""),
        break_long_words=False,
        break_on_hyphens=False,
    )
    if indent is None:
        yield ""


def _item(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        f"- {text}", WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
