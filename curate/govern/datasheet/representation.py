"""The datasheet's section on representation: which groups records mention, and which stages remove them unevenly."""

from __future__ import annotations

from collections.abc import Iterator

from curate.govern.datasheet.blocks import Bar, Block, Cell, Chart, Section, say, table
from curate.govern.datasheet.values import NOTHING, Held, Value, decimal, percent, share, show

_SHOWN = 10  # comparisons of a stage in its table: those least likely by chance


def section(m: Held) -> Section:
    """Return the section; empty without the stage ``profile``: the section on diversity says how to get both."""
    held = m.get("representation")
    if held is None:
        return Section("representation", "Representation")
    blocks = (*_groups(m, held), *_told(held), *_stages(held))
    return Section("representation", "Representation", blocks)


def _groups(m: Held, held: Held) -> Iterator[Block]:
    yield say(
        "Records that mention a group of people, a region or a dialect, by lists of English words "
        "(`rules/representation.yaml`). A mention is a word, not a person: the counts are for comparing what a stage "
        "keeps with what it removes, and estimate nobody's share."
    )
    groups = held.below("groups")
    if not groups:
        yield say("No record mentions any group.")
        return
    most = sorted(groups, key=lambda one: -one["before"].value)
    if len(most) > 1:
        note = (
            "Records that mention a group, the most frequent. Wide bar: before. Narrow bar: in the release."
        )
        bars = tuple(Bar(show(one["group"]), show(one["after"]), show(one["before"])) for one in most)
        yield Chart("representation", "Groups that are mentioned", note, bars)
    records = m["diversity"]["records"]
    rows = [
        (
            show(one["group"]),
            show(one["before"]),
            share(one["before"], records["before"]),
            show(one["after"]),
            share(one["after"], records["after"]),
        )
        for one in groups
    ]
    head = ("group", "before", "share", "after", "share")
    yield table("Records that mention a group", head, rows, 4, held["groups"])


def _told(held: Held) -> Iterator[Block]:
    told = [
        (stage, test)
        for stage in held.below("stages")
        for test in stage.below("groups")
        if test.value["told"]
    ]
    if not held.below("stages"):
        yield say("No stage removed a record.")
        return
    yield say(
        "Each stage is compared with blind removal, within each source: a ratio above one says that records that "
        "mention the group were removed more often than other records of the same source, and the interval holds the "
        "true one ninety-five times of a hundred. Told as a finding is a ratio above ",
        show(held["material"]),
        " in ",
        show(held["least"]),
        " removed records or more, unless chance does as much, for any group at any stage, in more than ",
        percent(held["level"], 0),
        " of releases. Records that are copies of one another are removed together, which chance is not told: a "
        "finding on a stage that removes duplicates may come from one large group of copies.",
    )
    if not told:
        yield say("None is told.")
        return
    rows = [(show(stage["stage"]), *_cells(test)) for stage, test in told]
    yield table("Groups that a stage removed more often than others", ("stage", *_HEAD), rows, 5)


_HEAD = ("group", "mentioning: removed", "others: removed", "ratio", "interval", "chance, adjusted")


def _stages(held: Held) -> Iterator[Block]:
    for stage in held.below("stages"):
        tests = sorted(stage.below("groups"), key=lambda one: (one.value["p"], one.value["group"]))[:_SHOWN]
        name = stage.value["stage"]
        rows = [_cells(test) for test in tests]
        yield say(
            show(stage["stage"]),
            " removed ",
            show(stage["removed"]),
            " of ",
            show(stage["seen"]),
            " records. The groups for which that is least like chance:",
        )
        yield table(f"What {name} removed, by group", _HEAD, rows, 5)


def _cells(test: Held) -> tuple[Cell, ...]:
    known = test.value["low"] is not None
    return (
        show(test["group"]),
        (show(test["removed"]), " of ", show(test["seen"]), " (", share(test["removed"], test["seen"]), ")"),
        (
            show(test["others_removed"]),
            " of ",
            show(test["others_seen"]),
            " (",
            share(test["others_removed"], test["others_seen"]),
            ")",
        ),
        NOTHING if test.value["ratio"] is None else decimal(test["ratio"]),
        (decimal(test["low"]), " to ", decimal(test["high"])) if known else NOTHING,
        _chance(test["adjusted"]),
    )


def _chance(held: Held) -> Value:
    return show(held)
