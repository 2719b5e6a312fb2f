"""Forest plots and training curves as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curate.govern import drawing
from curate.govern.drawing import BAR, GAP, INK, MARK, PALE, PAPER, RULE

COLORS = {"good": BAR, "bad": MARK, "plain": RULE}
SHAPES = {"removed": "circle", "alone": "diamond"}  # of other contrasts: a square
_STEP, _LOW_STEP = 24, 40  # pixels of a row: names beside the plot, and above it
_PLOT, _NARROW = 400, 340  # pixels of the plot's width
_SMALL = 12  # pixels of letters
_ROOM = 0.08  # of the range, left and right
_MOST_BAND = (
    1.5  # of the widest interval that the band of the smallest detectable effect may widen the plot to
)


@dataclass(frozen=True, slots=True)
class Effect:
    """One row of a forest plot."""

    name: str
    question: str  # the contrast's: its mark
    value: float
    low: float | None
    high: float | None
    limit: float | None  # smallest detectable effect
    label: str  # the numbers
    short: str  # fewer of them
    tone: str  # good | bad | plain
    is_told: bool  # significant: the mark is filled
    aside: str = ""  # beside the name

    @property
    def ends(self) -> tuple[float, ...]:
        """Return the effect and its interval."""
        return tuple(one for one in (self.value, self.low, self.high) if one is not None)


def forest(
    effects: Sequence[Effect], sides: tuple[str, str], *, percent: bool = True, narrow: bool = False
) -> str:
    """Return a forest plot as SVG: an effect with its interval in each row, zero, and what cannot be detected.

    sides: what stands left and right of zero. narrow: names above the intervals, for small screens.
    """
    low, high = _range(effects)
    width = _NARROW if narrow else _PLOT
    step = _LOW_STEP if narrow else _STEP
    height = step * len(effects)
    rows = [_row(one, place, step, narrow) for place, one in enumerate(effects)]
    x = {"type": "quantitative", "scale": {"domain": [low, high], "nice": False, "zero": False}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": _pixels(height)}
    layers = [*_ground(x, y, rows, low, high, percent), *_marks(x, y, rows)]
    layers += [*_texts(y, rows, narrow, width), *_sides(sides, width)]
    padding = {"left": 12, "right": 12, "top": 20, "bottom": 24}
    if not narrow:
        padding["left"] = (
            sum(max(drawing.wide(row[part]) for row in rows) for part in ("name", "aside")) + GAP
        )
        padding["right"] = max(drawing.wide(row["label"]) for row in rows) + GAP
    return drawing.drawn(drawing.whole(layers, rows, width, height, padding))


def _row(one: Effect, place: int, step: int, narrow: bool) -> dict[str, Any]:
    top = place * step
    name, aside = drawing.shortened(one.name), one.aside
    if narrow:
        room = int((_NARROW - drawing.wide(one.short) - drawing.wide(one.aside)) / 7)
        name = " · ".join(filter(None, (drawing.shortened(one.name, max(room, 6)), aside)))
        aside = ""
    return {
        "name": name,
        "aside": aside,
        "label": one.short if narrow else one.label,
        "y": top + (step - 11 if narrow else step / 2),
        "text": top + 14,
        "top": top + (step - 19 if narrow else 3),
        "bottom": top + step - 3,
        "value": one.value,
        "low": one.low,
        "high": one.high,
        "limit": one.limit,
        "color": COLORS[one.tone],
        "fill": COLORS[one.tone] if one.is_told else PAPER,
        "shape": SHAPES.get(one.question, "square"),
    }


def _range(effects: Sequence[Effect]) -> tuple[float, float]:
    ends = [0.0, *(end for one in effects for end in one.ends)]
    widest = max(map(abs, ends)) * _MOST_BAND
    limits = [one.limit for one in effects if one.limit is not None]
    band = min(max(limits, default=0.0), widest or math.inf)
    low, high = min(*ends, -band), max(*ends, band)
    room = (high - low) * _ROOM or 0.01
    return low - room, high + room


def _pixels(height: int) -> dict[str, Any]:
    return {"domain": [0, height], "range": [0, height], "nice": False, "zero": False}


def ticks(low: float, high: float, most: int) -> tuple[list[float], int]:
    """Return round numbers between two, at most so many, and how many decimals they need."""
    rough = (high - low) / most
    power = math.floor(math.log10(rough))
    step = next(s for s in (1, 2, 5, 10) if s * 10**power >= rough * 0.999) * 10.0**power
    decimals = max(0, -math.floor(math.log10(step * 1.001)))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, decimals + 2) for n in range(first, last + 1)], decimals


def _ground(
    x: dict[str, Any],
    y: dict[str, Any],
    rows: list[dict[str, Any]],
    low: float,
    high: float,
    percent: bool,
) -> list[dict[str, Any]]:
    """Return the band of what cannot be detected, and the line at zero with the axis."""
    bands = [
        {
            "from": max(low, -row["limit"]),
            "to": min(high, row["limit"]),
            "y": row["top"],
            "end": row["bottom"],
        }
        for row in rows
        if row["limit"] is not None
    ]
    places, decimals = ticks(low * (100 if percent else 1), high * (100 if percent else 1), 5)
    axis = {
        "values": [place / 100 for place in places] if percent else places,
        "labelExpr": f"abs(datum.value) < 1e-12 ? '0' : format(datum.value, '+.{decimals}{'%' if percent else 'f'}')",
        "title": None,
        "grid": False,
        "tickColor": RULE,
        "domainColor": RULE,
        "labelOverlap": False,
        "labelBound": False,
        "labelFlush": False,
    }
    told = {**x, "axis": axis}
    band = {
        "data": {"values": bands},
        "mark": {"type": "rect", "color": PALE, "opacity": 0.55},
        "encoding": {"x": {"field": "from", **told}, "x2": {"field": "to"}, "y": y, "y2": {"field": "end"}},
    }
    lines = [{"zero": 0, "y": row["top"] - 3, "end": row["bottom"] + 3} for row in rows]
    zero = {
        "data": {"values": lines},
        "mark": {"type": "rule", "color": INK, "strokeWidth": 1},
        "encoding": {"x": {"field": "zero", **told}, "y": y, "y2": {"field": "end"}},
    }
    return [band, zero]


def _marks(x: dict[str, Any], y: dict[str, Any], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the intervals, and on each the mark of its effect."""
    known = [row for row in rows if row["low"] is not None and row["high"] is not None]
    color = {"field": "color", "type": "nominal", "scale": None}
    bars = {
        "data": {"values": known},
        "mark": {"type": "rule", "strokeWidth": 2.5},
        "encoding": {"x": {"field": "low", **x}, "x2": {"field": "high"}, "y": y, "color": color},
    }
    points = {
        "mark": {"type": "point", "size": 75, "strokeWidth": 2, "opacity": 1},
        "encoding": {
            "x": {"field": "value", **x},
            "y": y,
            "stroke": color,
            "fill": {"field": "fill", "type": "nominal", "scale": None},
            "shape": {"field": "shape", "type": "nominal", "scale": None},
        },
    }
    return [bars, points]


def _texts(y: dict[str, Any], rows: list[dict[str, Any]], narrow: bool, width: int) -> list[dict[str, Any]]:
    """Return names, what stands beside them, and numbers."""
    at = {**y, "field": "text"} if narrow else y

    def text(field: str, align: str, pixel: float, **more: Any) -> dict[str, Any]:
        mark = {
            "type": "text",
            "align": align,
            "baseline": "middle",
            "fontSize": _SMALL,
            "color": INK,
            **more,
        }
        place = {"x": {"value": pixel}, "y": at, "text": {"field": field, "type": "nominal"}}
        return {"mark": mark, "encoding": place}

    label = text("label", "right", width + 6) if narrow else text("label", "left", width + GAP)
    if narrow:
        return [text("name", "left", -6), label]
    widest = sum(max(drawing.wide(row[part]) for row in rows) for part in ("name", "aside"))
    return [text("name", "left", -widest, fontWeight=600), text("aside", "right", -GAP), label]


def _sides(sides: tuple[str, str], width: int) -> list[dict[str, Any]]:
    def side(words: str, align: str, pixel: int) -> dict[str, Any]:
        mark = {
            "type": "text",
            "align": align,
            "baseline": "middle",
            "fontSize": _SMALL,
            "color": INK,
            "fontStyle": "italic",
        }
        encoding = {
            "x": {"value": pixel},
            "y": {"value": -GAP - 2},
            "text": {"field": "words", "type": "nominal"},
        }
        return {"data": {"values": [{"words": words}]}, "mark": mark, "encoding": encoding}

    return [side(sides[0], "left", 0), side(sides[1], "right", width)]


@dataclass(frozen=True, slots=True)
class Line:
    """One arm's training loss; look: how its line is drawn, full | raw | random | planted | other."""

    name: str
    look: str
    points: tuple[float, ...]


_LOOKS: dict[str, dict[str, Any]] = {
    "other": {"color": RULE, "strokeWidth": 1, "opacity": 0.7},
    "planted": {"color": MARK, "strokeWidth": 2, "strokeDash": [2, 3]},
    "random": {"color": INK, "strokeWidth": 1.5, "strokeDash": [7, 4]},
    "raw": {"color": INK, "strokeWidth": 2},
    "full": {"color": BAR, "strokeWidth": 2.5},
}


def curves(lines: Sequence[Line], unit: str) -> str:
    """Return training curves as SVG: x is the share of training, y the loss."""
    width, height = 300, 210
    values = [point for line in lines for point in line.points]
    low, high = min(values), max(values)
    room = (high - low) * _ROOM or 0.1
    places, decimals = ticks(low - room, high + room, 5)
    axis = {"grid": False, "tickColor": RULE, "domainColor": RULE, "labelOverlap": False, "labelBound": False}
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": [0, 1], "nice": False},
        "axis": {
            **axis,
            "values": [0, 0.25, 0.5, 0.75, 1],
            "format": ".0%",
            "labelFlush": False,
            "title": "of training",
        },
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [low - room, high + room], "nice": False, "zero": False},
        "axis": {**axis, "values": places, "format": f".{decimals}f", "title": unit, "titleX": -44},
    }
    layers = [
        {
            "data": {"values": _points([line for line in lines if line.look == look])},
            "mark": {"type": "line", **style},
            "encoding": {"x": x, "y": y, "detail": {"field": "arm", "type": "nominal"}},
        }
        for look, style in _LOOKS.items()
        if any(line.look == look for line in lines)
    ]
    padding = {"left": 58, "right": 22, "top": 8, "bottom": 42}
    return drawing.drawn(drawing.whole(layers, [], width, height, padding))


def _points(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [
        {"arm": line.name, "x": place / max(len(line.points) - 1, 1), "y": point}
        for line in lines
        for place, point in enumerate(line.points)
    ]
