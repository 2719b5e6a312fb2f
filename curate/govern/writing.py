"""Numbers, shares and tables as the card and its like write them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def number(value: int) -> str:
    """Return a count with its thousands apart."""
    return f"{value:,}"


def share(part: int, whole: int) -> str:
    """Return a share as a percentage; a dash of nothing."""
    return f"{part / whole:.1%}" if whole else "–"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: int = 0) -> str:
    """Return a Markdown table whose last ``numbers`` columns are right-aligned."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [[_cell(value) for value in head], rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, int):
        return number(value)
    return " ".join(str(value).split()).replace("|", "\\|")
