"""The datasheet's section on the mixture: what the records were and are, by source, license, language and task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from curate.govern.datasheet.blocks import Block, Cell, Chart, Heading, Line, Section, Stack, say, table
from curate.govern.datasheet.values import Held, Value, share, show

MIX = "mix"
SUPPRESS = "suppress"
ERASED = (
    " Records that were erased on request, or that a suppression list took out, are in no count here, though the "
    "stages of the run saw them."
)
COLUMNS = 5  # groups that a table and its chart name; the others are one
SHIFTS = 12  # that are listed, the largest first
_TITLES = {"source": "By source", "license": "By license class", "language": "By language", "task": "By task"}
_CLASSES = (
    "Classes: `permissive`, `share-alike` (derivatives under the same license), `non-commercial`, `no-derivatives`, "
    "and `unknown`, where a license or its terms are not known."
)


def section(m: Held) -> Section:
    """Return the section; empty for a release of an earlier version, and where nothing differs."""
    held = m.get("mixture")
    if held is None:
        return Section("mixture", "Mixture")
    blocks = [block for one in held["dimensions"] for block in _dimension(held, one)]
    asked = list(_asked(m))
    if not blocks and not asked:
        return Section("mixture", "Mixture")
    intro = say(
        "Shares of the records before each stage that removed some, and of those in the release. Groups are told from "
        "the stage on that finds them out; what was removed before is in none.",
        ERASED if _is_erased(m) else "",
    )
    return Section("mixture", "Mixture", (*((intro,) if blocks else ()), *blocks, *_shifts(held), *asked))


def _is_erased(m: Held) -> bool:
    """Tell whether records were erased, or suppressed: the funnel counts them, the tables no longer hold them."""
    return bool(m.below("takedowns")) or any(one.value["name"] == SUPPRESS for one in m["stages"])


def _asked(m: Held) -> Iterator[Block]:
    """Return what the stage mix was asked for, and what came of it."""
    stage = next((one for one in m["stages"] if one.value["name"] == MIX), None)
    found = None if stage is None else stage.get("resolution")
    if stage is None or found is None:
        return
    yield Heading(("What ", show(stage["name"]), " was asked for"))
    options = next(one for one in m["recipe"]["stages"] if one.value["name"] == MIX)
    yield from (say(show(note)) for note in options.below("notes"))
    if limits := found.get("limits"):
        rows: list[tuple[Cell, ...]] = [
            (
                show(one["by"]),
                (show(one["groups"]), " others") if one.value["group"] is None else show(one["group"]),
                show(one["there"]),
                show(one["target"]),
                show(one["kept"]),
            )
            for one in limits
        ]
        head: list[str | Value] = ["by", "group", "there", "at most", "kept"]
        yield say("One after the other, counted in ", show(found["count"]), ":")
        yield table("Limits by group", head, rows, 3, limits)
    if splits := found.get("splits"):
        shown: list[tuple[Cell, ...]] = [
            (
                show(one["split"]),
                "the rest" if one.value["asked"] is None else show(one["asked"]),
                show(one["records"]),
            )
            for one in splits
        ]
        yield say("Splits, as that stage made them; what later stages removed of them is under Files:")
        yield table("Splits", ["split", "asked for", "records"], shown, 2, splits)


def _dimension(held: Held, one: Held) -> Iterator[Block]:
    groups = list(one["groups"])
    if len(groups) < 2:
        return
    named = groups[:COLUMNS]
    keys: list[Line] = [(show(group["group"]),) for group in named]
    if others := _others(one):
        keys.append(others)
    rows = [(place, _before(held, place)) for place in _places(held, one)]
    dimension = one.value["dimension"]
    yield Heading((_TITLES[dimension],))
    if dimension == "license":
        yield say(_CLASSES)
    yield say("Known from the stage ", show(one["known_from"]), " on.")
    stacks = tuple(
        Stack(name, tuple(_share(one, group, place) for group in named), bool(others)) for place, name in rows
    )
    note = "Shares of records, before each stage that removed some and in the release. "
    title = f"Mixture {_TITLES[dimension].lower()}, stage by stage"
    yield Chart(f"mixture-{dimension}", title, note.rstrip(), stacks=stacks, keys=tuple(keys))
    head: list[str | Value] = [
        "",
        "records",
        *(show(group["group"]) for group in named),
        *(["others"] if others else []),
    ]
    cells = [_row(one, named, place, name, bool(others)) for place, name in rows]
    if one["all"]["bytes"].value is not None:
        cells.append(
            _row(
                one,
                named,
                len(one["all"]["bytes"]) - 1,
                ("the same, by bytes of content",),
                bool(others),
                "bytes",
            )
        )
    yield table(title, head, cells, len(head) - 1)


def _others(one: Held) -> Line:
    """Return what the groups without a column are called; nothing where all have one."""
    more = len(one["groups"]) - COLUMNS
    listed = one.get("others")
    if more <= 0 and (listed is None or listed.value is None):
        return ()
    return ("all others",)


def _places(held: Held, one: Held) -> list[int]:
    """Return which of the numbers of a group are shown: those before a stage that removed some, and the last."""
    removing = {
        shift.value["stage"] for shift in held["shifts"] if shift.value["dimension"] == one.value["dimension"]
    }
    stages = held["stages"].value
    known = [n is not None for n in one["all"]["records"].value]
    return [
        place
        for place in range(len(known))
        if known[place] and (place == len(stages) or stages[place] in removing)
    ]


def _before(held: Held, place: int) -> Line:
    if place == len(held["stages"]):
        return ("in the release",)
    return ("before ", show(held["stages"][place]))


def _share(one: Held, group: Held, place: int, key: str = "records") -> Value:
    return share(group[key][place], one["all"][key][place])


def _row(
    one: Held, named: Sequence[Held], place: int, name: Line, others: bool, key: str = "records"
) -> tuple[Cell, ...]:
    whole = show(one["all"][key][place])
    cells: list[Cell] = [name, (whole, " bytes") if key == "bytes" else whole]
    cells += [_share(one, group, place, key) for group in named]
    return (*cells, *([_rest(one, place, key)] if others else []))


def _rest(one: Held, place: int, key: str) -> Value:
    """Return the share of all groups that have no column."""
    rest = [group[key][place] for group in list(one["groups"])[COLUMNS:]]
    if one["others"].value is not None:
        rest.append(one["others"][key][place])
    amount = sum(part.value for part in rest)
    pointers = tuple(part.pointer for part in rest)
    return share(Value(f"{amount:,}", pointers, "sum", amount), one["all"][key][place])


def _shifts(held: Held) -> Iterator[Block]:
    ordered = sorted(held["shifts"], key=lambda one: (-one.value["shift"], one.pointer))
    ordered = [one for one in ordered if one.value["shift"]][:SHIFTS]
    if not ordered:
        return
    rows: list[tuple[Cell, ...]] = [
        (
            show(one["stage"]),
            show(one["dimension"]),
            show(one["group"]),
            (show(one["before"]), " of ", show(one["seen"])),
            (show(one["after"]), " of ", show(one["kept"])),
            show(one["shift"]),
            show(one["by_chance"]),
        )
        for one in ordered
    ]
    yield Heading(("How far each stage moved it",))
    yield say(
        "Shift: half the sum of what all groups' shares changed by (total variation distance, from zero to one). By "
        "chance: what as many records removed at random exceed once in a thousand times, at most. The largest are "
        "listed, with the group that lost or won most; `manifest.json` has all."
    )
    head = ("stage", "by", "group", "before", "after", "shift", "by chance")
    yield table("Shifts of the mixture", head, rows, 4)
