"""The datasheet's charts: Vega-Lite specifications of the manifest's numbers."""

from __future__ import annotations

from typing import Any

import orjson

from curate.govern import drawing
from curate.govern.datasheet import stacks
from curate.govern.datasheet.blocks import Bar, Chart, Span
from curate.govern.datasheet.values import written
from curate.govern.drawing import BAR, COLORS, FONT, GAP, INK, MARK, PALE, RULE, shortened, start, whole, wide
from curate.govern.effects import plots

__all__ = ["COLORS", "FONT", "MOST", "label", "specification", "start", "svg"]

MOST = 20  # bars of a chart; the table beside it has all
_WIDTH, _STEP = 170, 24  # pixels


def svg(chart: Chart) -> str:
    """Return a chart as SVG, without title or description."""
    if chart.spans:
        return plots.forest([_effect(span) for span in chart.spans[:MOST]], chart.sides, narrow=True)
    return drawing.drawn(specification(chart))


def _effect(span: Span) -> plots.Effect:
    """Return a row of a forest plot; filled, if its verdict is one."""
    low, high, limit = (None if one is None else one.raw for one in (span.low, span.high, span.limit))
    told = span.value.text
    is_told = span.tone != "plain"
    return plots.Effect(
        span.name.text, "removed", span.value.raw, low, high, limit, told, told, span.tone, is_told
    )


def specification(chart: Chart) -> dict[str, Any]:
    """Return a chart as a Vega-Lite specification that holds its data."""
    if chart.stacks:
        return stacks.specification(chart)
    return _curve(chart) if chart.curve else _bars(chart.bars[:MOST])


def label(bar: Bar) -> str:
    """Return what stands at the end of a bar."""
    return bar.value.text if bar.behind is None else f"{bar.value.text} ({bar.behind.text})"


def _bars(bars: tuple[Bar, ...]) -> dict[str, Any]:
    rows = [
        {
            "place": place,
            "name": shortened(bar.name.text),
            "value": bar.value.raw,
            "behind": 0 if bar.behind is None else bar.behind.raw,
            "label": label(bar),
        }
        for place, bar in enumerate(bars)
    ]
    end = max(max(row["value"], row["behind"]) for row in rows) or 1
    for row in rows:
        row["end"] = max(row["value"], row["behind"])
    left = max(wide(row["name"]) for row in rows)
    right = max(wide(row["label"]) for row in rows)
    x = {"type": "quantitative", "scale": {"domain": [0, end], "nice": False}, "axis": None}
    names = {f"{row['place']}": row["name"] for row in rows}
    axis = {
        "title": None,
        "ticks": False,
        "domain": False,
        "labelPadding": GAP / 2,
        "labelExpr": f"({orjson.dumps(names).decode()})[datum.value]",
        "labelLimit": 0,
    }
    y = {"field": "place", "type": "ordinal", "axis": axis}
    layers: list[dict[str, Any]] = []
    for field, color, height in (
        ("behind", PALE, 16),
        ("value", BAR, 10 if any(row["behind"] for row in rows) else 14),
    ):
        layers.append(
            {
                "mark": {"type": "bar", "color": color, "height": height},
                "encoding": {"x": {"field": field, **x}, "y": y},
            }
        )
    layers.append(
        {
            "mark": {
                "type": "text",
                "align": "left",
                "baseline": "middle",
                "dx": GAP / 2,
                "color": INK,
                "fontSize": 12,
            },
            "encoding": {"x": {"field": "end", **x}, "y": y, "text": {"field": "label", "type": "nominal"}},
        }
    )
    return whole(
        layers, rows, _WIDTH, _STEP * len(rows), {"left": left, "right": right, "top": 2, "bottom": 2}
    )


def _curve(chart: Chart) -> dict[str, Any]:
    points = [{"x": x.raw, "y": y.raw} for x, y in chart.curve]
    axis = {
        "values": [0, 0.25, 0.5, 0.75, 1],
        "format": ".2f",
        "grid": False,
        "tickColor": RULE,
        "domainColor": RULE,
    }
    scale = {"domain": [0, 1], "nice": False}

    def of(field: str, title: str) -> dict[str, Any]:
        return {"field": field, "type": "quantitative", "scale": scale, "axis": {**axis, "title": title}}

    encoding = {"x": of("x", "similarity"), "y": of("y", "chance")}
    layers: list[dict[str, Any]] = [
        {"mark": {"type": "line", "color": BAR, "strokeWidth": 2.5}, "encoding": encoding}
    ]
    if chart.mark is not None:
        data = {"values": [{"x": chart.mark.raw, "label": written(chart.mark.raw)}]}
        line = {"type": "rule", "color": MARK, "strokeDash": [5, 3], "strokeWidth": 1.5}
        text = {"type": "text", "align": "right", "dx": -GAP / 2, "color": MARK, "fontSize": 12}
        layers.append({"data": data, "mark": line, "encoding": {"x": encoding["x"]}})
        above = {"x": encoding["x"], "y": {"value": 190 - 2 * GAP}, "text": {"field": "label"}}
        layers.append({"data": data, "mark": text, "encoding": above})
    return whole(layers, points, 290, 190, {"left": 52, "right": 18, "top": 8, "bottom": 42})
