"""Charts of shares that make a whole, a bar for each row: Vega-Lite specifications."""

from __future__ import annotations

from typing import Any

import orjson

from curate.govern.datasheet.blocks import Chart, Line
from curate.govern.datasheet.values import Value
from curate.govern.drawing import BAR, GAP, INK, MARK, PALE, RULE, shortened, whole, wide

ROWS = 14  # of a chart; the table beside it has all
_WIDTH, _STEP = 260, 24  # pixels
_FILLS = ((BAR, 1.0), (PALE, 1.0), (MARK, 1.0), (RULE, 0.9), (BAR, 0.55), (RULE, 0.4))


def plain(line: Line) -> str:
    """Return a line as text."""
    return "".join(part.text if isinstance(part, Value) else str(part) for part in line)


def specification(chart: Chart) -> dict[str, Any]:
    """Return a chart of stacks: a bar for each row, and below what the colors mean."""
    stacks = (*chart.stacks[: ROWS - 1], chart.stacks[-1]) if len(chart.stacks) > ROWS else chart.stacks
    names = [shortened(plain(stack.name), 30) for stack in stacks]
    segments, rows = [], []
    for place, stack in enumerate(stacks):
        at = 0.0
        shares = [value.raw or 0.0 for value in stack.shares]
        for number, part in enumerate([*shares, 1 - sum(shares)] if stack.rest else shares):
            end = min(1.0, at + max(part, 0.0))
            segments.append({"place": place, "from": at, "to": end, "key": number})
            at = end
    for number, key in enumerate(chart.keys):
        place = len(stacks) + number
        segments.append({"place": place, "from": 0.0, "to": 0.06, "key": number})
        rows.append({"place": place, "label": shortened(plain(key), 34)})
    y = {"field": "place", "type": "ordinal", "axis": _axis(names)}
    x = {"type": "quantitative", "scale": {"domain": [0, 1], "nice": False}, "axis": None}
    layers: list[dict[str, Any]] = [
        {
            "transform": [{"filter": f"datum.key == {number}"}],
            "mark": {"type": "bar", "color": color, "fillOpacity": opacity, "height": 15},
            "encoding": {"x": {"field": "from", **x}, "x2": {"field": "to"}, "y": y},
        }
        for number, (color, opacity) in enumerate(_FILLS[: len(chart.keys)])
    ]
    layers.append(
        {
            "data": {"values": rows},
            "mark": {"type": "text", "align": "left", "baseline": "middle", "color": INK, "fontSize": 12},
            "encoding": {"x": {"datum": 0.09, **x}, "y": y, "text": {"field": "label", "type": "nominal"}},
        }
    )
    padding = {"left": max(map(wide, names)), "right": GAP, "top": 2, "bottom": 2}
    return whole(layers, segments, _WIDTH, _STEP * (len(names) + len(rows)), padding)


def _axis(names: list[str]) -> dict[str, Any]:
    shown = orjson.dumps({f"{place}": name for place, name in enumerate(names)}).decode()
    return {
        "title": None,
        "ticks": False,
        "domain": False,
        "labelPadding": GAP / 2,
        "labelExpr": f"({shown})[datum.value] || ''",
        "labelLimit": 0,
    }
