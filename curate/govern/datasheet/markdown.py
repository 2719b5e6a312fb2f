"""datasheet.md: the datasheet in Markdown, as GitHub and the hubs read it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from curate.govern.datasheet.blocks import (
    Block,
    Cell,
    Chart,
    Heading,
    Items,
    Line,
    Paragraph,
    Part,
    Section,
    Strong,
    Table,
)
from curate.govern.datasheet.questions import SECTIONS, STATES, Answered
from curate.govern.datasheet.sheet import Sheet
from curate.govern.datasheet.values import Value, visible

_MARKS = re.compile(r"[\\`*\[~]|(?<!\w)_|_(?!\w)|!(?=\[)")
_STARTS = re.compile(r"^(?=[#>+=-])|^(\d+)(?=[.)](?:\s|$))", re.MULTILINE)
_TICKS = re.compile(r"`+")


def render(sheet: Sheet) -> str:
    """Return the datasheet as Markdown."""
    m = sheet.manifest.value
    parts = [
        f"# Datasheet: {escaped(m['name'])} {escaped(m['version'])}",
        f"Rendered from `manifest.json` (root `{m['root']}`); every number below stands there.",
        *(part for section in sheet.sections for part in _section(section)),
        *_questions(sheet.questions),
    ]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Return a Markdown table whose last `numbers` columns are right-aligned."""
    rule = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    lines = [[_cell(value) for value in head], rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _section(section: Section) -> list[str]:
    head = [] if section.name == "summary" else [f"## {section.title}"]
    return [*head, *(text for block in section.blocks if (text := _block(block)))]


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return line(block.line)
        case Heading():
            return f"### {line(block.line)}"
        case Items():
            mark = "1." if block.steps else "-"
            return "\n".join(f"{mark} {line(one)}" for one in block.lines)
        case Table():
            shown = table(
                [_plain(cell) for cell in block.head],
                [[_plain(c) for c in row] for row in block.rows],
                block.numbers,
            )
            return shown + (f"\n\n{line(block.rest)}" if block.rest else "")
        case Chart():
            return ""  # its numbers are in the table beside it


def line(parts: Line) -> str:
    """Return a line as Markdown."""
    text = "".join(_part(part) for part in parts)
    return _lead(text) if parts and isinstance(parts[0], Value) and not parts[0].code else text


def escaped(text: str) -> str:
    """Return text that comes from data or a person so that Markdown and HTML show it as it is."""
    marked = _MARKS.sub(r"\\\g<0>", visible(text))
    return marked.replace("&", "&amp;").replace("<", "&lt;")


def _lead(text: str) -> str:
    """Return lines of escaped text that begin no heading, list or quotation."""
    return _STARTS.sub(lambda found: f"{found[1] or ''}\\", text)


def _code(text: str) -> str:
    """Return text as code, between more backticks than it has in a row."""
    longest = max((len(found) for found in _TICKS.findall(text)), default=0)
    if not longest:
        return f"`{text}`"
    ticks = "`" * (longest + 1)
    return f"{ticks} {text} {ticks}"


def _part(part: Part) -> str:
    if isinstance(part, Strong):
        return f"**{line(part.parts)}**"
    if isinstance(part, Value):
        return _code(part.text) if part.code else escaped(part.text)
    return part


def _plain(cell: Cell) -> str:
    return line(cell) if isinstance(cell, tuple) else _part(cell)


def _questions(answered: Sequence[Answered]) -> Iterable[str]:
    yield "## Questions"
    counts = {state: sum(one.state == state for one in answered) for state in STATES}
    said = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in counts.items() if n)
    yield (
        f"The {len(answered)} questions of Datasheets for Datasets (Gebru et al., arXiv `1803.09010`): {said}. "
        + " ".join(f"**{state.replace('_', ' ')}**: {told}." for state, told in STATES.items())
    )
    for start, title in SECTIONS.items():
        yield f"### {title}"
        for one in answered:
            if one.question.id.startswith(f"{start}-"):
                yield from _question(one)


def _question(one: Answered) -> Iterable[str]:
    yield f"**{one.question.question}**" + (f" *{one.question.more}*" if one.question.more else "")
    if one.given is not None:
        entry = one.given.value
        signed = escaped(", ".join(str(entry[key]) for key in ("by", "at") if entry.get(key)))
        said = _lead(escaped(entry["text"].strip())).replace("\n", "\n> ")
        stale = " **Answered for earlier numbers: to be confirmed.**" if one.stale else ""
        yield f"> {said}" + (f" — {signed}" if signed else "") + stale
    if one.measured:
        label = "What the run measured: " if one.question.by == "both" else ""
        yield label + " ".join(line(part) for part in one.measured)
    owner = escaped(one.owner if isinstance(one.owner, str) else one.owner.text)
    if one.state == "unanswered":
        yield f"Not answered (owner: {owner})."
    elif one.state == "derived":
        yield f"A person's sentence is missing (owner: {owner})."
    yield f"`{one.question.id}` · {one.state.replace('_', ' ')}"
