"""What several answers of the datasheet draw on: values of the manifest put into words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from curate.govern.datasheet.blocks import Line, Part, joined
from curate.govern.datasheet.personal import finds
from curate.govern.datasheet.values import Held, Value, count, name, show, total, written

Answer: TypeAlias = list[Line]  # one line for each paragraph

MOST = 8  # things that a sentence names


def listed(parts: Sequence[Line], most: int = MOST, held: Held | None = None) -> Line:
    """Return things with commas between them; of many only the first, and how many more there are.

    held: what has an entry for each of them, if anything does.
    """
    flat: Line = tuple(part for line in parts[:most] for part in (", ", *line))[1:]
    rest = parts[most:]
    if not rest:
        return flat
    return (*flat, " and ", _more(parts, most, held), " more")


def _more(parts: Sequence[Line], shown: int, held: Held | None) -> Value:
    if held is not None and len(held) == len(parts):
        return count(held, shown)
    hidden = tuple(_last(line).pointers[0] for line in parts[shown:])
    return Value(written(len(hidden)), hidden, "count", len(hidden))


def _last(line: Line) -> Value:
    return next(part for part in reversed(line) if isinstance(part, Value))


def stage(m: Held, named: str) -> Held | None:
    """Return what a stage of this name did, None if the recipe has none."""
    return next((one for one in m["stages"] if one.value["name"] == named), None)


def stages(m: Held) -> Line:
    """Return the names of the recipe's stages in their order."""
    return joined([show(one["name"]) for one in m["recipe"]["stages"]])


def removed(counts: Held) -> Value:
    """Return how many records were dropped or quarantined."""
    return total((counts["dropped"], counts["quarantined"]))


def decisions(reasons: Iterable[Held]) -> list[Line]:
    """Return reasons of a stage, each with its number of decisions, the most first."""
    ordered = sorted(reasons, key=lambda one: (-one.value, one.key))
    return [(show(one), " ", name(one).as_code()) for one in ordered]


def by_source(m: Held, *keys: str) -> list[Line]:
    """Return what each source declares under one of the keys; sources that declare none are left out."""
    found: list[Line] = []
    for source in m["recipe"]["sources"]:
        said: list[Part] = [value for key in keys for value in _values(source, key)]
        if said:
            found.append((show(source["name"]), ": ", *joined(said)))
    return found


def _values(source: Held, key: str) -> list[Part]:
    held = source.get(key)
    return [] if held is None else [*(show(one) for one in _leaves(held)[:MOST])]


def _leaves(held: Held) -> list[Held]:
    if isinstance(held.value, list | dict):
        return [leaf for one in held for leaf in _leaves(one)]
    return [] if held.value in (None, "") else [held]


def told(label: str, parts: Sequence[Line], held: Held | None = None) -> Line:
    """Return what sources declare, after a label; held: the sources."""
    flat: Line = tuple(part for line in parts[:MOST] for part in (" · ", *line))[1:]
    rest: Line = (" · and ", _more(parts, MOST, held), " more") if len(parts) > MOST else ()
    return (label, *flat, *rest)


def sources(m: Held) -> Line:
    """Return how many sources there are, and the names of the first."""
    held = m["recipe"]["sources"]
    return listed([(show(one["name"]),) for one in held], held=held)


def suppressed(m: Held) -> Line:
    """Return how many records an earlier take-down kept out of this run; empty if the run had no such list."""
    left_out = stage(m, "suppress")
    if left_out is None:
        return ()
    return (
        show(left_out["dropped"]),
        " records were left out of this run because of take-downs from releases before it.",
    )


def columns(m: Held, field: str) -> list[Line]:
    """Return the sources whose records have a field, each with the column that it was read from."""
    return [
        (show(one["name"]), " (column ", show(one["fields"][field]).as_code(), ")")
        for one in m["sources"]
        if field in one.value["fields"]
    ]


def personal_data(m: Held) -> Answer:
    """Return which kinds of personal data were searched for, and found in how many records."""
    answer: Answer = []
    for stage in m["recipe"]["stages"]:
        if "coverage" not in stage.value:
            continue
        every = finds(stage, m)
        found = sorted(
            (one for one in every if one[1].raw), key=lambda one: (-one[1].raw, one[0].value["kind"])
        )
        searched = ("Of ", count(stage["coverage"]["searched"]), " kinds of personal data searched for, ")
        if not found:
            answer.append((*searched, "none was found."))
            continue
        said = [(show(kind["kind"]).as_code(), " in ", records, " records") for kind, records in found]
        answer.append((*searched, "found: ", *listed(said, 12), "."))
    if not answer:
        answer.append(
            ("Not measured: no stage searched for personal data. The stages were ", *stages(m), ".")
        )
    return answer


def people(m: Held) -> Answer:
    """Return what tells whether records relate to people."""
    answer = personal_data(m)
    if said := by_source(m, "personal_data"):
        answer.append(told("Sources declare of personal data: ", said, m["recipe"]["sources"]))
    return answer
