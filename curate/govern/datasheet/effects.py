"""The datasheet's section on filter effects, where ``curate tune`` has measured them."""

from __future__ import annotations

from collections.abc import Iterator

from curate.govern.datasheet.blocks import Cell, Section, say, table
from curate.govern.datasheet.values import Held, show


def section(m: Held) -> Section:
    """Return what was measured, by its place in the manifest; empty if nothing was."""
    held = m.get("tune")
    if not held:
        return Section("effects", "Filter effects")
    rows: list[tuple[Cell, ...]] = [(_path(leaf), show(leaf)) for leaf in _leaves(held)]
    note = say("What small models learned with and without each filter; `tune/report.html` has the whole.")
    return Section(
        "effects", "Filter effects", (note, table("Filter effects", ("measured", "value"), rows, 1))
    )


def _path(leaf: Held) -> str:
    return "`" + leaf.pointer.removeprefix("/tune/").replace("/", " ") + "`"


def _leaves(held: Held) -> Iterator[Held]:
    for one in held:
        if isinstance(one.value, dict | list):
            yield from _leaves(one)
        elif one.value is not None:
            yield one
