"""Traces every number of a datasheet in HTML to the manifest: written apart from what renders it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

NUMBER = re.compile(r"(?<![\w.…/-])\d[\d,]*(?:\.\d+)?%?(?![\w-])")
UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")  # acts
VOID = {"meta", "link", "br", "hr", "img", "input"}
NOT_READ = {
    "style",
    "title",
    "code",
    "time",
    "desc",
}  # hashes, versions of formats, dates, the page's own title


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    parent: Element | None
    parts: list[str | Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def up(self) -> Iterator[Element]:
        yield self
        if self.parent is not None:
            yield from self.parent.up()

    def all(self) -> Iterator[Element]:
        yield self
        for part in self.parts:
            if isinstance(part, Element):
                yield from part.all()

    @property
    def pointers(self) -> list[str] | None:
        if "data-pointer" in self.attributes:
            return [self.attributes["data-pointer"]]
        several = self.attributes.get("data-pointers")
        if several is None:
            return None
        return [each for pointer in several.split(" ") for each in _each(pointer.replace("%20", " "))]


def _each(pointer: str) -> list[str]:
    """Return the pointers that /a/0-2/b stands for."""
    range_ = re.fullmatch(r"(.*/)(\d+)-(\d+)(/[^/]*)", pointer)
    if range_ is None:
        return [pointer]
    return [f"{range_[1]}{number}{range_[4]}" for number in range(int(range_[2]), int(range_[3]) + 1)]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.here = self.root = Element("document", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.here)
        self.here.parts.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.here.parts.append(Element(tag, {name: value or "" for name, value in attrs}, self.here))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert tag == self.here.tag, f"</{tag}> closes <{self.here.tag}>"
        assert self.here.parent is not None
        self.here = self.here.parent

    def handle_data(self, data: str) -> None:
        self.here.parts.append(data)


def parsed(html: str) -> Element:
    reader = _Reader()
    reader.feed(html)
    reader.close()
    assert reader.here is reader.root, f"<{reader.here.tag}> is not closed"
    return reader.root


def untraced(html: str, manifest: Any) -> list[str]:
    """Return what in the page is a number without evidence, or says something else than its evidence."""
    root = parsed(html)
    wrong = []
    for element in root.all():
        pointers = element.pointers
        if pointers is not None:
            of = element.attributes.get("data-of", "")
            if of == "in":
                expected = element.text if element.text in _there(pointers[0], manifest) else "an entry"
            else:
                expected = evaluated(of, pointers, manifest)
            if " ".join(element.text.split()) != " ".join(str(expected).split()):
                wrong.append(f"{pointers}: says {element.text[:60]!r}, should say {str(expected)[:60]!r}")
        if "data-count" in element.attributes:
            state = element.attributes["data-count"]
            key = "data-stale" if state == "stale" else "data-state"
            found = sum(
                one.attributes.get(key) in (state, "true") for one in root.all() if one.tag == "article"
            )
            if element.text != str(found):
                wrong.append(f"{state}: says {element.text}, counted {found}")
        wrong += _loose(element)
    return wrong


def _loose(element: Element) -> Iterator[str]:
    """Yield numbers of an element's own text that stand in no element with a pointer."""
    chain = list(element.up())
    if any(
        one.tag in NOT_READ or one.pointers is not None or "data-count" in one.attributes for one in chain
    ):
        return
    texts = [part for part in element.parts if isinstance(part, str)]
    if any(one.tag == "svg" for one in chain):
        if any("role-axis" in one.attributes.get("class", "") for one in chain):
            return  # the axis of a curve is a scale; names beside bars are checked below with the bars
        figure = next(one for one in chain if one.tag == "figure")
        listed = next(one for one in figure.all() if one.tag == "ul")
        told = {one.text.lstrip("+−") for one in listed.all() if one.pointers is not None}
        for text in texts:
            yield from (f"{number} in a chart" for number in NUMBER.findall(text) if number not in told)
        return
    for text in texts:
        yield from (f"{number} in {text.strip()[:80]!r}" for number in NUMBER.findall(text))


def evaluated(of: str, pointers: list[str], manifest: Any) -> str:
    """Return what a page has to say of what stands at the pointers."""
    if of == "absent":
        return "0" if _there(pointers[0], manifest) is None else "not absent"
    if of == "count":
        return f"{len(pointers):,}"
    if of == "key":
        return _parts(pointers[0])[-1] if _there(pointers[0], manifest) is not None else "nothing there"
    values = [_there(pointer, manifest) for pointer in pointers]
    first = values[0]
    if of.startswith("none "):
        return "0" if not any(of[5:] in map(str, entry.values()) for entry in first) else "not none"
    if of == "a/b" or of.startswith("share "):
        cut = 1 if of == "a/b" else int(of.split()[1])
        key = of.split(" ", 2)[2:]
        numbers: list[Any] = [0 if value is None else value for value in values]
        whole = sum(entry[key[0]] for entry in numbers[cut]) if key else sum(numbers[cut:])
        return f"{sum(numbers[:cut]) / whole:.1%}" if whole else "–"
    if of.startswith("sum "):
        return _said(sum(entry[of[4:]] for entry in first))
    if of == "mean":
        return f"{values[0] / values[1]:,.0f}"
    if of.startswith("len"):
        return f"{len(first) - int(of[4:] or 0):,}"
    if of == "cut":
        return _said(first)[:90] + "…"
    written: dict[str, Callable[[], str]] = {
        "": lambda: _said(first),
        "sum": lambda: _said(sum(values)),
        "json": lambda: json.dumps(first, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        "percent": lambda: f"{first:.1%}",
        "percent0": lambda: f"{first:.0%}",
        "percent2": lambda: f"{first:.2%}",
        "effect": lambda: _effect(first),
        "decimal": lambda: f"{first:.2f}",
        "chance": lambda: f"{math.floor(first * 10000) / 10000:.4f}",
        "hash": lambda: first[:16] + "…",
    }
    return written[of]()


def _said(value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else UNSEEN.sub(_point, " ".join(str(value).split()))


def _effect(value: float) -> str:
    size = f"{abs(value):.2%}"
    return size if size == "0.00%" else ("+" if value > 0 else "−") + size


def _point(found: re.Match[str]) -> str:
    return f"U+{ord(found[0]):04X}"


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _there(pointer: str, manifest: Any) -> Any:
    for part in _parts(pointer):
        try:
            manifest = manifest[int(part)] if isinstance(manifest, list) else manifest[part]
        except (KeyError, IndexError, ValueError):
            return None
    return manifest
