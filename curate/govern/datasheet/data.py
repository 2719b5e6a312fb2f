"""datasheet.json: all that the datasheet says, as data; numbers with the pointers that they come from."""

from __future__ import annotations

from typing import Any

from curate.govern.datasheet.blocks import (
    Bar,
    Block,
    Cell,
    Chart,
    Heading,
    Items,
    Line,
    Paragraph,
    Part,
    Span,
    Strong,
)
from curate.govern.datasheet.questions import STATES, Answered
from curate.govern.datasheet.sheet import Sheet
from curate.govern.datasheet.values import Value

FORMAT = "curate-datasheet/1"


def data(sheet: Sheet) -> dict[str, Any]:
    """Return the datasheet as plain data. A line is a list of texts and of values with their pointers."""
    m = sheet.manifest.value
    return {
        "format": FORMAT,
        "name": m["name"],
        "version": m["version"],
        "root": m["root"],
        "title": m["recipe"]["about"].get("title"),
        "states": {state: sum(one.state == state for one in sheet.questions) for state in STATES},
        "stale": sum(one.stale for one in sheet.questions),
        "questions": [_question(one) for one in sheet.questions],
        "sections": [
            {
                "name": section.name,
                "title": section.title,
                "blocks": [_block(block) for block in section.blocks],
            }
            for section in sheet.sections
        ],
    }


def _question(one: Answered) -> dict[str, Any]:
    given = {} if one.given is None else one.given.value
    return {
        "id": one.question.id,
        "section": one.question.section,
        "question": one.question.question,
        "more": one.question.more,
        "answered_by": one.question.by,
        "answer": one.text,
        "state": one.state,
        "said": given.get("text"),
        "measured": [_line(line) for line in one.measured],
        "evidence": [{"pointer": pointer, "sha256": digest} for pointer, digest in one.evidence],
        "evidence_sha256": given.get("evidence_sha256"),
        "by": given.get("by"),
        "at": given.get("at"),
        "owner": one.owner if isinstance(one.owner, str) else one.owner.text,
        "stale": one.stale,
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
            points = [{"x": _part(x), "y": _part(y)} for x, y in block.curve]
            return {
                "kind": "chart",
                "name": block.name,
                "title": block.title,
                "note": block.note,
                **_drawn(block, points),
            }
        case _:
            return {
                "kind": "table",
                "caption": block.caption,
                "numbers": block.numbers,
                "head": [_part(cell) for cell in block.head],
                "rows": [[_cell(cell) for cell in row] for row in block.rows],
                "rest": _line(block.rest),
            }


def _drawn(chart: Chart, points: list[dict[str, Any]]) -> dict[str, Any]:
    if chart.stacks:
        shown = [
            {"name": _line(one.name), "shares": [_part(part) for part in one.shares]} for one in chart.stacks
        ]
        return {"keys": [_line(key) for key in chart.keys], "stacks": shown}
    if chart.spans:
        return {"effects": [_span(span) for span in chart.spans]}
    return {"points": points} if points else {"bars": [_bar(bar) for bar in chart.bars]}


def _span(span: Span) -> dict[str, Any]:
    ends = {"low": span.low, "high": span.high, "detectable": span.limit}
    shown = {key: _part(value) for key, value in ends.items() if value is not None}
    return {"name": _part(span.name), "value": _part(span.value), **shown}


def _bar(bar: Bar) -> dict[str, Any]:
    behind = {} if bar.behind is None else {"behind": _part(bar.behind)}
    return {"name": _part(bar.name), "value": _part(bar.value), **behind}


def _cell(cell: Cell) -> list[Any]:
    return _line(cell) if isinstance(cell, tuple) else [_part(cell)]


def _line(line: Line) -> list[Any]:
    return [_part(part) for part in line]


def _part(part: Part) -> Any:
    if isinstance(part, Strong):
        return {"strong": _line(part.parts)}
    if isinstance(part, Value):
        of = {"of": part.of} if part.of else {}
        code = {"code": True} if part.code else {}
        return {"text": part.text, "pointers": list(part.pointers), **of, **code}
    return part
