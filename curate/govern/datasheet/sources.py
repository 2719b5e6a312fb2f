"""The datasheet's sections on sources and licenses."""

from __future__ import annotations

from collections.abc import Iterable

from curate.govern.datasheet.blocks import (
    LONGEST,
    Bar,
    Block,
    Cell,
    Chart,
    Items,
    Line,
    Section,
    Strong,
    joined,
    say,
    table,
)
from curate.govern.datasheet.values import Held, Value, absent, name, share, show, total, total_of

NOT_STATED = "not stated"
_AGAINST = (  # part of the licenses, caption, keys, head, columns of numbers
    (
        "conflicts",
        "Licenses that conflict in one merged work",
        ("a", "b", "reason", "records_a", "records_b"),
        ("license", "against", "why", "records", "records of the other"),
        2,
    ),
    (
        "disagreements",
        "Declared and detected licenses that disagree",
        ("source", "declared", "detected", "records"),
        ("source", "declared", "detected", "records"),
        1,
    ),
)
_TOLD = (
    "version",
    "publisher",
    "description",
    "creator",
    "homepage",
    "collection",
    "terms",
    "terms_url",
    "consent",
)


def sources(m: Held) -> Section:
    """Return where the records come from, how many of each source are left, and what was declared of it."""
    described = {source.value["name"]: source for source in m["recipe"]["sources"]}
    formats = {source.value["name"]: source["format"] for source in m["sources"]}
    counted = read_and_kept(m)
    rows: list[tuple[Cell, ...]] = [
        (
            name(read),
            _stated(described[read.key], "title"),
            show(formats[read.key]),
            _stated(described[read.key], "license"),
            _stated(described[read.key], "collected"),
            show(read["seen"]),
            kept,
            share(kept, read["seen"]),
        )
        for read, kept in counted
    ]
    head = ("source", "title", "read as", "license", "collected", "read", "kept", "share kept")
    lines: list[Line] = []
    for source in described.values():
        said: list[Line] = [(f"{key}: ", show(source[key])) for key in _TOLD if source.value.get(key)]
        if said and len(lines) < LONGEST:
            flat = tuple(part for line in said for part in (" · ", *line))[1:]
            lines.append((Strong((show(source["name"]),)), ": ", *flat))
    notes = (Items(tuple(lines)),) if lines else ()
    return Section(
        "sources",
        "Sources",
        (*_mixture(m, counted), table("Sources", head, rows, 3, m["stages"][0]["sources"]), *notes),
    )


def read_and_kept(m: Held) -> list[tuple[Held, Value]]:
    """Return each source's counts at reading, and how many of its records are in the release.

    In order of name; where a table cannot show all, the largest first.
    """
    last = m["stages"][len(m["stages"]) - 1]["sources"]
    found = []
    for read in m["stages"][0]["sources"]:
        kept = last.get(read.key, "kept")
        found.append((read, absent(last, read.key, "kept") if kept is None else show(kept)))
    if len(found) > LONGEST:
        found.sort(key=lambda pair: (-pair[0].value["seen"], pair[0].key))
    return found


def _mixture(m: Held, counted: Iterable[tuple[Held, Value]]) -> list[Block]:
    counts = m["counts"]
    bars = tuple(
        Bar(name(read), share(kept, counts["kept"]), share(read["seen"], counts["seen"]))
        for read, kept in counted
    )
    if len(bars) < 2 or not counts.value["kept"]:
        return []
    note = "Share of each source. Wide bar: of the records read. Narrow bar: of the records kept."
    return [Chart("mixture", "Mixture of sources, before and after", note, bars)]


def _stated(source: Held, key: str) -> Cell:
    return NOT_STATED if source.value.get(key) is None else show(source[key])


def licenses(m: Held) -> Section:
    """Return the licenses of the kept records, the verdicts over them, and what stands against another."""
    found = m["statistics"]["licenses"]
    rows = tuple(found)
    whole = total_of(found, "records")
    if len(rows) > LONGEST:
        rows = tuple(sorted(rows, key=lambda row: -row.value["records"]))
    cells = [
        (show(row["license"]), show(row["source"]), show(row["records"]), share(row["records"], whole))
        for row in rows
    ]
    shown = table("Licenses of the kept records", ("license", "source", "records", "share"), cells, 2, found)
    blocks = (*_license_chart(rows), shown, *_license_verdicts(m), *_license_conflicts(m))
    return Section("licenses", "Licenses of the kept records", blocks)


def by_license(rows: Iterable[Held]) -> list[tuple[Value, Value]]:
    """Return each license and its records over all sources, the most first."""
    groups: dict[object, list[Held]] = {}
    for row in rows:
        groups.setdefault(row.value["license"], []).append(row)
    added = [(show(group[0]["license"]), total(row["records"] for row in group)) for group in groups.values()]
    return sorted(added, key=lambda pair: (-pair[1].raw, pair[0].text))


def _license_chart(rows: Iterable[Held]) -> list[Block]:
    bars = tuple(Bar(label, records) for label, records in by_license(rows))
    return (
        [Chart("licenses", "Licenses of the kept records", "Records by license.", bars)]
        if len(bars) > 1
        else []
    )


def _license_verdicts(m: Held) -> list[Block]:
    blocks: list[Block] = []
    for key, label in (("collection", "As a collection"), ("merged", "Merged into one work")):
        verdict = m.get("licenses", key)
        if verdict is None:
            continue
        line: Line = (f"**{label}**: ", show(verdict["verdict"]) if verdict.get("verdict") else "not judged")
        for of, words in (
            ("expression", "; licenses "),
            ("obligations", "; obligations "),
            ("outbound", "; may be offered under "),
        ):
            given = verdict.get(of)
            if given:
                values = [show(given)] if isinstance(given.value, str) else [show(one) for one in given]
                line = (*line, words, *joined(values[:LONGEST]))
        blocks.append(say(*line, "."))
        reasons = [(show(reason),) for reason in verdict.below("reasons")][:LONGEST]
        blocks += [Items(tuple(reasons))] if reasons else []
    return blocks


def _license_conflicts(m: Held) -> list[Block]:
    blocks: list[Block] = []
    for part, caption, keys, head, numbers in _AGAINST:
        held = m.get("licenses", part)
        if held:
            rows = [tuple(show(row[key]) for key in keys) for row in held]
            blocks.append(table(caption, head, rows, numbers, held))
    return blocks
