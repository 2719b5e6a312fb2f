"""Charts as SVG: Vega-Lite specifications, drawn by vl-convert, offline.

Nothing is left to the fonts of the machine: places are computed from the number of characters, so the same numbers
give the same bytes anywhere. Colors are stand-ins, which a page replaces by its own for light and dark.
"""

from __future__ import annotations

import functools
import re
import threading
from typing import Any

import orjson
from markupsafe import escape

LONGEST_NAME = 24  # characters
INK, BAR, PALE, RULE, MARK, PAPER = (
    "#1b1f24",
    "#0b5cad",
    "#b9d0ea",
    "#8a929c",
    "#b3470b",
    "#fefefe",
)  # told apart without hue, too
COLORS = {
    INK: "var(--ink)",
    BAR: "var(--bar)",
    PALE: "var(--pale)",
    RULE: "var(--rule)",
    MARK: "var(--mark)",
    PAPER: "var(--paper)",
}
FONT = "sans-serif"
GAP = 8  # pixels
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


def drawn(specification: dict[str, Any]) -> str:
    """Return a Vega-Lite specification that holds its data as SVG, without title or description."""
    return _drawn(orjson.dumps(specification, option=orjson.OPT_SORT_KEYS))


@functools.lru_cache(256)  # one release is rendered more than once, and most of its charts stay as they are
def _drawn(specification: bytes) -> str:
    import vl_convert  # starts a JavaScript engine: half a second, once

    svg: str = vl_convert.vegalite_to_svg(orjson.loads(specification), allowed_base_urls=[])
    svg = _TAG.sub(lambda tag: _NOT_NEEDED.sub("", tag[0]), svg)
    return re.sub(r"<(/?)svg class=\"marks\"", r"<\1svg", svg)


def dressed(svg: str, title: str, note: str, described: str) -> str:
    """Return a chart for a page: in the page's colors and font, with a name.

    described: id of the element that tells its numbers to those who do not see it.
    """
    for color, variable in COLORS.items():
        svg = svg.replace(f'"{color}"', f'"{variable}"')
    svg = svg.replace(f'font-family="{FONT}"', "")
    named = f"<title>{escape(title)}</title><desc>{escape(note)}</desc>"
    found = re.match(r"<svg ([^>]*)>", svg)
    assert found is not None  # the engine draws nothing else
    head = f'<svg {found[1]} role="img" aria-label="{escape(title)}" aria-describedby="{escape(described)}">'
    return head + named + svg[found.end() :]


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """Return a name that fits beside a chart."""
    return name if len(name) <= longest else name[: longest - 1] + "…"


def wide(text: str) -> int:
    """Return the most pixels that a text takes, and a gap."""
    capitals = sum(letter.isupper() or ord(letter) > 0x2E80 for letter in text)
    return round(capitals * _WIDE + (len(text) - capitals) * _NARROW) + GAP


def whole(
    layers: list[dict[str, Any]], rows: list[dict[str, Any]], width: int, height: int, padding: dict[str, int]
) -> dict[str, Any]:
    """Return the specification of a chart of layers: a plot of width x height pixels, and what is around it."""
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
