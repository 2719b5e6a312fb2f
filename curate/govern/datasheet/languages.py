"""The datasheet's section on languages: what was told of how many records, and what the telling is worth."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from curate.govern.datasheet.blocks import Bar, Block, Cell, Chart, Section, say, table
from curate.govern.datasheet.values import Held, Value, share, show, total

STAGE = "language"


def section(m: Held) -> Section:
    """Return the section; empty if no stage told a language."""
    held = m["statistics"]["languages"]
    if not held:
        return Section("languages", "Languages")
    rows = [
        (show(row["language"]), show(row["source"]), show(row["before"]), show(row["after"])) for row in held
    ]
    what = (
        "Of the records that reached the language stage: by the language it told (before), and those in the "
        "release (after)."
    )
    head = ("language", "source", "before", "after")
    return Section(
        "languages",
        "Languages",
        (
            *(say(show(note)) for note in notes(m)),
            say(what),
            *_chart(held),
            table("Languages by source", head, rows, 2, held),
            *_untold(m["statistics"].get("languages_untold")),
        ),
    )


def notes(m: Held) -> list[Held]:
    """Return what the language stage has to say of its engine, which stands beside the histogram alone."""
    if not m["statistics"]["languages"]:
        return []
    return [
        note
        for stage in m["recipe"]["stages"]
        if stage.value["name"] == STAGE
        for note in stage.below("notes")
    ]


def by_language(held: Iterable[Held]) -> list[tuple[Value, Value, Value]]:
    """Return each language with its records before and after, over all sources, the most first."""
    groups: dict[str, list[Held]] = {}
    for row in held:
        groups.setdefault(row.value["language"], []).append(row)
    added = [
        (
            show(group[0]["language"]),
            total(row["before"] for row in group),
            total(row["after"] for row in group),
        )
        for group in groups.values()
    ]
    return sorted(added, key=lambda one: (-one[2].raw, -one[1].raw, one[0].text))


def _chart(held: Held) -> Iterator[Block]:
    bars = tuple(Bar(language, after, before) for language, before, after in by_language(held))
    if len(bars) > 1:
        note = "Records by language. Wide bar: as told by the stage. Narrow bar: in the release."
        yield Chart("languages", "Languages, before and after", note, bars)


def _untold(held: Held | None) -> Iterator[Block]:
    """Return how many records were undetermined, not linguistic, or of more than one language."""
    if not held:
        return
    rows: list[tuple[Cell, ...]] = []
    for row in held:
        judged = row["judged"]
        counts: list[Cell] = [
            (show(row[kind]), " (", share(row[kind], judged), ")")
            for kind in ("undetermined", "not_linguistic", "mixed")
        ]
        rows.append((show(row["source"]), show(judged), *counts, show(row["mixed_kept"])))
    head = ("source", "judged", "undetermined", "not linguistic", "mixed", "mixed, in the release")
    yield say("Of these, without a language (too short, or not linguistic), or with a second one:")
    yield table("Records without a language, or with two", head, rows, 5, held)
