"""The datasheet's sections on edits and personal data: what was searched for and how well, and what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from curate.govern.audit import FOLDER, KINDS, QUESTIONS, SAMPLE
from curate.govern.datasheet.blocks import Bar, Block, Cell, Chart, Items, Line, Section, joined, say, table
from curate.govern.datasheet.overview import is_sealed, keeps_removed
from curate.govern.datasheet.values import Held, Value, absent, decimal, name, none, percent, show, total


def edits(m: Held) -> Section:
    """Return what was edited in the kept records; empty if nothing was."""
    held = m["statistics"]["edits"]
    if not held:
        return Section("edits", "Edits in the kept records")
    rows = [
        (show(row["reason"]).as_code(), show(row["source"]), show(row["records"]), show(row["edits"]))
        for row in held
    ]
    warning = say(
        "`removed/` holds the originals of edited records, personal data included, so that every edit can be undone: ",
        "it is encrypted, and its key opens all of it."
        if is_sealed(m)
        else "do not publish that folder, or set `output: {keep_removed: false}`.",
    )
    shown = table("Edits in the kept records", ("reason", "source", "records", "edits"), rows, 2, held)
    return Section("edits", "Edits in the kept records", (shown, warning) if keeps_removed(m) else (shown,))


def section(m: Held) -> Section:
    """Return the section; empty if no stage searched for personal data."""
    blocks = [
        block for stage in m["recipe"]["stages"] if "coverage" in stage.value for block in _stage(stage, m)
    ]
    return Section("personal", "Personal data", (*blocks, *residual(m)) if blocks else ())


def finds(stage: Held, m: Held) -> list[tuple[Held, Value]]:
    """Return each kind that a stage searched for, and in how many records it was found."""
    decided = next(told for told in m["stages"] if told.value["name"] == stage.value["name"])["reasons"]
    found = []
    for kind in stage["coverage"]["searched"]:
        reason = f"{stage.value['name']}/{kind.value['kind']}"
        held = decided.get(reason)
        found.append((kind, absent(decided, reason) if held is None else show(held)))
    return found


def _stage(stage: Held, m: Held) -> Iterator[Block]:
    edited: dict[str, list[Held]] = {}
    for row in m["statistics"]["edits"]:
        edited.setdefault(row.value["reason"], []).append(row)
    rows: list[tuple[Cell, ...]] = []
    silent: list[Value] = []
    bars = []
    for kind, records in finds(stage, m):
        measured = kind.value.get("measured") or {}
        if not measured and not records.raw:
            silent.append(show(kind["kind"]).as_code())
            continue
        if records.raw:
            bars.append(Bar(show(kind["kind"]), records))
        of = edited.get(f"{stage.value['name']}/{kind.value['kind']}", [])
        unedited = none(m["statistics"]["edits"], f"{stage.value['name']}/{kind.value['kind']}")
        rows.append(
            (
                show(kind["kind"]).as_code(),
                show(kind["by"]),
                *_accuracy(kind, measured),
                records,
                total(row["records"] for row in of) if of else unedited,
                total(row["edits"] for row in of) if of else unedited,
            )
        )
    yield say(
        "Searched for, with the precision and recall that were measured on labelled text, which is not this text: "
        "read them as what to expect at best. Records: those in which the kind was found; kept, edited: those of "
        "them in the release."
    )
    if len(bars) > 1:
        ordered = tuple(sorted(bars, key=lambda bar: (-bar.value.raw, bar.name.text)))
        yield Chart(
            f"{stage.value['name']}-kinds",
            "Personal data found",
            "Records in which a kind was found.",
            ordered,
        )
    head = (
        "kind",
        "searched by",
        "precision",
        "recall",
        "measured on, finds",
        "records",
        "kept, edited",
        "edits",
    )
    yield table("Kinds of personal data searched for", head, rows, 3)
    if silent:
        label = "Searched for too, found nowhere, and not measured for want of labelled text: "
        yield say(label, *joined(silent), ".")
    yield from _not_searched(stage["coverage"]["not_searched"])


def _accuracy(kind: Held, measured: Mapping[str, Any]) -> tuple[Cell, Cell, Cell]:
    ratios: list[Cell] = [
        "–" if measured.get(of) is None else decimal(kind["measured"][of]) for of in ("precision", "recall")
    ]
    on: Line = (show(kind["measured"]["on"]),) if "on" in measured else ("not measured",)
    if "n" in measured:
        on = (*on, ", ", show(kind["measured"]["n"]))
    return ratios[0], ratios[1], on


def _not_searched(held: Held) -> Iterator[Block]:
    groups: dict[str, list[Held]] = {}
    for missing in held:
        groups.setdefault(missing.value["why"], []).append(missing)
    if groups:
        lines = [
            (*joined([show(one["kind"]) for one in group]), ": ", show(group[0]["why"]))
            for group in groups.values()
        ]
        yield say("**Not searched for**, so that nothing is said of whether the release holds it:")
        yield Items(tuple(lines))


def residual(m: Held) -> Iterator[Block]:
    """Return what a person found in the sample of kept records, or that nobody has looked yet."""
    path = f"{FOLDER}/{SAMPLE}"
    entry = next((entry for entry in m["outputs"] if entry.value["path"] == path), None)
    if entry is None or not entry.value["records"]:
        return
    drawn = show(entry["records"])
    told = m.get("audit")
    if told is None:
        yield say(
            "**Residual risk: not judged.** A random sample of ",
            drawn,
            f" kept records waits in `{path}` for a person to say of each whether personal data is left "
            "(`curate audit`).",
        )
        return
    left, wrong = told[QUESTIONS[0]], told[QUESTIONS[1]]
    yield say(
        "**Residual risk.** Of a random sample of ",
        drawn,
        " kept records a person judged ",
        show(left["answered"]),
        ": personal data is left in ",
        *_share(left, told),
        ".",
        *_bounds(left),
        *_kinds(told[KINDS]),
        " Of ",
        show(wrong["answered"]),
        " edited records, ",
        *_share(wrong, told),
        " were edited wrongly. Intervals are exact (Clopper-Pearson).",
    )


def _share(found: Held, told: Held) -> Line:
    if "share" not in found.value:
        return (show(found["yes"]),)
    confidence = percent(told["confidence"], 0)
    low, high = percent(found["low"]), percent(found["high"])
    return (
        show(found["yes"]),
        " (",
        percent(found["share"]),
        "; ",
        confidence,
        " interval ",
        low,
        " to ",
        high,
        ")",
    )


def _bounds(left: Held) -> Line:
    held = left.get("records_in_release")
    return (
        ()
        if held is None
        else (" In the whole release that is ", show(held[0]), " to ", show(held[1]), " records.")
    )


def _kinds(kinds: Held) -> Line:
    found = [part for kind in kinds for part in (", ", name(kind), " ", show(kind))][1:]
    return (" Kinds left: ", *found, ".") if found else ()
