"""The datasheet's charts: Vega-Lite specifications of the manifest's numbers, drawn as SVG by vl-convert, offline.

Nothing is left to the fonts of the machine: places are computed from the number of characters, so the same numbers
give the same bytes anywhere. Colors are stand-ins, which the page replaces by its own for light and dark.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import Any

import orjson

from curate.govern.datasheet.blocks import Bar, Chart
from curate.govern.datasheet.values import written

MOST = 20  # bars of a chart; the table beside it has all
LONGEST_NAME = 24  # characters
INK, BAR, PALE, RULE, MARK = (
    "#1b1f24",
    "#0b5cad",
    "#b9d0ea",
    "#8a929c",
    "#b3470b",
)  # told apart without hue, too
COLORS = {INK: "var(--ink)", BAR: "var(--bar)", PALE: "var(--pale)", RULE: "var(--rule)", MARK: "var(--mark)"}
FONT = "sans-serif"
_WIDTH, _STEP, _GAP = 170, 24, 8  # pixels
_NARROW, _WIDE = 6.7, 8.8  # pixels of small letters and digits, and of capitals, in 12 pixels; few are wider
_TAG = re.compile(r"<[^>]*>")
_NOT_NEEDED = re.compile(r' (?:aria-[a-z]+|role|xmlns:xlink|version)="[^"]*"')
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"


@functools.cache
def start() -> None:
    """Start the JavaScript engine that draws in a thread, once: half a second, all but outside Python's lock.

    What is drawn later is the same; it only need not wait.
    """
    empty = {"$schema": _SCHEMA, "data": {"values": []}, "mark": "bar"}
    threading.Thread(target=_drawn, args=(orjson.dumps(empty),), name="charts").start()


def svg(chart: Chart) -> str:
    """Return a chart as SVG, without title or description."""
    return _drawn(orjson.dumps(specification(chart), option=orjson.OPT_SORT_KEYS))


def specification(chart: Chart) -> dict[str, Any]:
    """Return a chart as a Vega-Lite specification that holds its data."""
    return _curve(chart) if chart.curve else _bars(chart.bars[:MOST])


def label(bar: Bar) -> str:
    """Return what stands at the end of a bar."""
    return bar.value.text if bar.behind is None else f"{bar.value.text} ({bar.behind.text})"


def shortened(name: str) -> str:
    """Return a name that fits beside a chart."""
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"


@functools.lru_cache(64)  # one release is rendered more than once, and most of its charts stay as they are
def _drawn(specification: bytes) -> str:
    import vl_convert  # starts a JavaScript engine: half a second, once

    drawn: str = vl_convert.vegalite_to_svg(orjson.loads(specification), allowed_base_urls=[])
    drawn = _TAG.sub(lambda tag: _NOT_NEEDED.sub("", tag[0]), drawn)
    return re.sub(r"<(/?)svg class=\"marks\"", r"<\1svg", drawn)


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
    left = max(_wide(row["name"]) for row in rows)
    right = max(_wide(row["label"]) for row in rows)
    x = {"type": "quantitative", "scale": {"domain": [0, end], "nice": False}, "axis": None}
    names = {f"{row['place']}": row["name"] for row in rows}
    axis = {
        "title": None,
        "ticks": False,
        "domain": False,
        "labelPadding": _GAP / 2,
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
                "dx": _GAP / 2,
                "color": INK,
                "fontSize": 12,
            },
            "encoding": {"x": {"field": "end", **x}, "y": y, "text": {"field": "label", "type": "nominal"}},
        }
    )
    return _whole(
        layers, rows, _WIDTH, _STEP * len(rows), {"left": left, "right": right, "top": 2, "bottom": 2}
    )


def _wide(text: str) -> int:
    capitals = sum(letter.isupper() or ord(letter) > 0x2E80 for letter in text)
    return round(capitals * _WIDE + (len(text) - capitals) * _NARROW) + _GAP


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
        text = {"type": "text", "align": "right", "dx": -_GAP / 2, "color": MARK, "fontSize": 12}
        layers.append({"data": data, "mark": line, "encoding": {"x": encoding["x"]}})
        above = {"x": encoding["x"], "y": {"value": 190 - 2 * _GAP}, "text": {"field": "label"}}
        layers.append({"data": data, "mark": text, "encoding": above})
    return _whole(layers, points, 290, 190, {"left": 52, "right": 18, "top": 8, "bottom": 42})


def _whole(
    layers: list[dict[str, Any]], rows: list[dict[str, Any]], width: int, height: int, padding: dict[str, int]
) -> dict[str, Any]:
    text = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 12,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    }
    return {
        "$schema": _SCHEMA,
        "autosize": "none",
        "width": width,
        "height": height,
        "padding": padding,
        "data": {"values": rows},
        "layer": layers,
        "config": {"aria": False, "background": None, "font": FONT, "view": {"stroke": None}, "axis": text},
    }
