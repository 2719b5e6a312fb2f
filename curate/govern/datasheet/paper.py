"""datasheet.pdf: the datasheet on A4, set by Typst with the fonts that it brings; tagged for screen readers (PDF/UA-1).

Nothing is taken from the clock or the machine: no date is set, no font of the system is used, and the file's id
comes from its content.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from curate.govern.datasheet import charts
from curate.govern.datasheet.blocks import Block, Cell, Chart, Heading, Items, Line, Paragraph, Part, Strong
from curate.govern.datasheet.questions import SECTIONS, STATES, Answered
from curate.govern.datasheet.sheet import Sheet
from curate.govern.datasheet.stacks import plain
from curate.govern.datasheet.values import Value

TEMPLATE = Path(__file__).parent / "paper.typ"
FONT = "Libertinus Serif"
_MARKED = re.compile(r"`([^`]*)`|\*\*([^*]*)\*\*")
_BREAKS = re.compile(r"(?<=[/_\-.,:&?=#])(?=[^\s])|(?<=[^\s]{24})(?=[^\s])")
# Scripts that the fonts at hand can show; anything else is written as its code point, so that nothing is lost.
_SHOWN = re.compile(
    r"[^\t\n\u0020-\u007e\u00a0-\u0377\u0384-\u038a\u038c\u038e-\u03a1\u03a3-\u0482\u048a-\u04ff"
    r"\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
    r"\u1f80-\u1fb4\u1fb6-\u1fc4\u1fc6-\u1fd3\u1fd6-\u1fdb\u1fdd-\u1fef\u1ff2-\u1ff4\u1ff6-\u1ffe"
    r"\u200b\u2010-\u2027\u2030-\u2040\u2042\u2044-\u2052\u2054-\u205e\u20ac\u2190-\u2193\u2212\u2260\u2264\u2265]"
)
_MARKS = re.compile(r"[\u0300-\u036f]")


def render(sheet: Sheet) -> bytes:
    """Return the datasheet as PDF."""
    import typst

    content = orjson.dumps(_whole(sheet), option=orjson.OPT_SORT_KEYS).decode()
    made = typst.Compiler(
        input=TEMPLATE.read_bytes(), ignore_system_fonts=True, sys_inputs={"sheet": content}
    ).compile(format="pdf", pdf_standards="ua-1", timestamp=0)
    assert isinstance(made, bytes)  # one document makes one file
    return made


def _whole(sheet: Sheet) -> dict[str, Any]:
    m = sheet.manifest.value
    return {
        "name": _shown(m["name"]),
        "version": _shown(m["version"]),
        "title": _shown(m["recipe"]["about"].get("title", "")),
        "root": m["root"],
        "states": [
            [state, f"{n:,} {state.replace('_', ' ')}", told]
            for state, told in STATES.items()
            if (n := sum(one.state == state for one in sheet.questions))
        ],
        "sections": [
            {"title": section.title, "blocks": [_block(block) for block in section.blocks]}
            for section in sheet.sections
        ],
        "groups": [
            {
                "title": title,
                "questions": [
                    _question(one) for one in sheet.questions if one.question.id.startswith(f"{start}-")
                ],
            }
            for start, title in SECTIONS.items()
        ],
    }


def _question(one: Answered) -> dict[str, Any]:
    given = {} if one.given is None else one.given.value
    owner = one.owner if isinstance(one.owner, str) else one.owner.text
    missing = {"unanswered": "Not answered", "derived": "A person’s sentence is missing"}.get(one.state)
    return {
        "question": one.question.question,
        "more": one.question.more,
        "state": one.state,
        "label": one.state.replace("_", " "),
        "stale": one.stale,
        "said": _shown(given.get("text", "")),
        "signed": _shown(", ".join(str(given[key]) for key in ("by", "at") if given.get(key))),
        "assisted": one.question.by == "both",
        "measured": [_line(line) for line in one.measured],
        "open": _shown(f"{missing} (owner: {owner}).") if missing else "",
        "evidence": [pointer for pointer, _ in one.evidence[:6]],
        "more_evidence": len(one.evidence) > 6,
    }


def _block(block: Block) -> dict[str, Any]:
    match block:
        case Paragraph():
            return {"kind": "paragraph", "line": _line(block.line)}
        case Heading():
            return {"kind": "heading", "line": _line(block.line)}
        case Items():
            return {"kind": "list", "steps": block.steps, "lines": [_line(line) for line in block.lines]}
        case Chart():
            bars = tuple(replace(bar, name=_named(bar.name)) for bar in block.bars)
            spans = tuple(replace(span, name=_named(span.name)) for span in block.spans)
            block = replace(block, bars=bars, spans=spans)
            drawn = charts.svg(block).replace(f'font-family="{charts.FONT}"', f'font-family="{FONT}"')
            told = "; ".join(f"{bar.name.text} {charts.label(bar)}" for bar in block.bars[: charts.MOST])
            told = told or "; ".join(f"{x.text} {y.text}" for x, y in block.curve)
            told = told or "; ".join(
                f"{one.name.text} {one.value.text}" for one in block.spans[: charts.MOST]
            )
            told = told or "; ".join(
                f"{plain(one.name)}: {', '.join(value.text for value in one.shares)}" for one in block.stacks
            )
            width = int(re.search(r'width="(\d+)"', drawn).group(1))  # type: ignore[union-attr]
            return {
                "kind": "chart",
                "svg": drawn,
                "width": width,
                "title": block.title,
                "note": block.note,
                "alt": f"{block.title}. {block.note} {told}",
            }
        case _:
            return {
                "kind": "table",
                "caption": block.caption,
                "numbers": block.numbers,
                "head": [_cell(cell) for cell in block.head],
                "rows": [[_cell(cell) for cell in row] for row in block.rows],
                "rest": _line(block.rest),
            }


def _cell(cell: Cell) -> list[list[str]]:
    return _line(cell) if isinstance(cell, tuple) else _part(cell)


def _line(line: Line) -> list[list[str]]:
    return [run for part in line for run in _part(part)]


def _part(part: Part) -> list[list[str]]:
    """Return runs of text, each with its style: t(ext), c(ode) or b(old)."""
    if isinstance(part, Strong):
        return [["b" if style == "t" else style, text] for style, text in _line(part.parts)]
    if isinstance(part, Value):
        return [["c", _breaking(part.text)]] if part.code else [["t", _shown(part.text)]]
    runs: list[list[str]] = []
    end = 0
    for marked in _MARKED.finditer(part):
        runs.append(["t", _shown(part[end : marked.start()])])
        runs.append(["b", _shown(marked[2])] if marked[1] is None else ["c", _breaking(marked[1])])
        end = marked.end()
    return [run for run in (*runs, ["t", _shown(part[end:])]) if run[1]]


def _named(value: Value) -> Value:
    """Return the name of a bar in characters that a picture can show, too: it stacks no marks on a letter."""
    whole = unicodedata.normalize("NFC", value.text)
    return replace(value, text=_MARKS.sub(_point, _shown(whole)))


def _breaking(text: str) -> str:
    """Return code that may be broken between lines."""
    return _BREAKS.sub("\u200b", _shown(text))


def _shown(text: str) -> str:
    return _SHOWN.sub(_point, text)


def _point(found: re.Match[str]) -> str:
    return f"U+{ord(found[0]):04X}"
