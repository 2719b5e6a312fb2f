"""datasheet.html: one file that needs nothing else, in which every number is a link to its evidence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from curate.govern import drawing, pages
from curate.govern.datasheet import charts
from curate.govern.datasheet.blocks import Block, Cell, Chart, Line, Part, Strong
from curate.govern.datasheet.questions import SECTIONS, STATES, Answered
from curate.govern.datasheet.sheet import Sheet
from curate.govern.datasheet.values import Value, at, sha256, written

_HERE = Path(__file__).parent
LONG = 60  # characters from which text with numbers in it gets a link of its own beside it
CUT = 90  # characters of a value in the list of evidence
_TITLED = 3  # pointers that fit a hint
_NUMBERED = re.compile(r"(.*/)(\d+)(/[^/]*)")
_EVIDENCE = 40  # pointers listed under a question; all of them are in datasheet.json
_CODE = re.compile(r"`([^`]*)`")
_STRONG = re.compile(r"\*\*([^*]*)\*\*")


def render(sheet: Sheet) -> str:
    """Return the datasheet as HTML."""
    evidence = Evidence(sheet.manifest.value)
    return (
        pages.environment(_HERE)
        .get_template(pages.TEMPLATE)
        .render(
            m=sheet.manifest.value,
            sections=sheet.sections,
            questions=_grouped(sheet.questions),
            counts={state: sum(one.state == state for one in sheet.questions) for state in STATES},
            stale=sum(one.stale for one in sheet.questions),
            states=STATES,
            line=evidence.line,
            cell=evidence.cell,
            chart=evidence.chart,
            kind=_kind,
            most=_EVIDENCE,
            css=pages.css(_HERE),
            evidence=evidence,
        )
    )


def _grouped(answered: tuple[Answered, ...]) -> list[tuple[str, str, list[Answered]]]:
    return [
        (start, title, [one for one in answered if one.question.id.startswith(f"{start}-")])
        for start, title in SECTIONS.items()
    ]


def _kind(block: Block) -> str:
    return type(block).__name__.lower()


class Evidence:
    """Writes values as HTML, and remembers where each of them came from for the list at the end."""

    def __init__(self, manifest: Mapping[str, Any]) -> None:
        self.manifest = manifest
        self.anchors: dict[str, str] = {}  # pointer → id in the page

    def line(self, line: Line) -> Markup:
        """Return a line as HTML."""
        return Markup("").join(self._part(part) for part in line)

    def cell(self, cell: Cell) -> Markup:
        """Return a cell of a table as HTML."""
        return self.line(cell) if isinstance(cell, tuple) else self._part(cell)

    def _part(self, part: Part) -> Markup:
        if isinstance(part, Strong):
            return Markup("<strong>{}</strong>").format(self.line(part.parts))
        if isinstance(part, Value):
            return self._value(part)
        return Markup(_STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", str(escape(part)))))

    def _value(self, value: Value) -> Markup:
        where = _attributes(value)
        text = escape(value.text)
        if value.code:
            return Markup(f"<code{where}>{text}</code>")
        if value.is_number:
            hint = escape(", ".join(f"manifest.json#{pointer}" for pointer in value.pointers[:_TITLED]))
            return Markup(
                f'<a class="n" href="#{self._anchor(value.pointers[0])}"{where} title="{hint}">{text}</a>'
            )
        plain = f"<span{where}>{text}</span>"
        if len(value.text) > LONG and any(letter.isdigit() for letter in value.text):
            told = escape(f"evidence: {value.pointers[0]}")
            plain += f' <a class="e" href="#{self._anchor(value.pointers[0])}" aria-label="{told}">↓</a>'
        return Markup(plain)

    def _anchor(self, pointer: str) -> str:
        return self.anchors.setdefault(pointer, f"e{len(self.anchors) + 1}")

    def chart(self, chart: Chart) -> Markup:
        """Return a chart as a figure: the picture, and its numbers for those who do not see it."""
        name = escape(f"c-{chart.name}")
        drawn = drawing.dressed(charts.svg(chart), chart.title, chart.note, name)
        said = Markup("").join(Markup("<li>{}</li>").format(item) for item in self._told(chart))
        more = (
            " The longest lists are cut; the table has all."
            if max(len(chart.bars), len(chart.spans)) > charts.MOST
            else ""
        )
        head = Markup("<strong>{}.</strong> {}{}").format(chart.title, chart.note, more)
        return Markup(
            f'<figure>{drawn}<figcaption>{head}</figcaption><ul class="unseen" id="{name}">{said}</ul></figure>'
        )

    def _told(self, chart: Chart) -> list[Markup]:
        """Return each of a chart's numbers with its name; without links, as nobody sees where these are."""
        pairs = [(x, [y]) for x, y in chart.curve]
        for bar in chart.bars[: charts.MOST]:
            pairs.append((bar.name, [bar.value, *([] if bar.behind is None else [bar.behind])]))
        for span in chart.spans[: charts.MOST]:
            ends = [one for one in (span.low, span.high, span.limit) if one is not None]
            pairs.append((span.name, [span.value, *ends]))
        if chart.mark is not None:
            pairs.append((chart.mark, []))
        if chart.stacks:
            return [
                Markup(", ").join(
                    _unlinked(line)
                    for line in (
                        one.name,
                        *((*k, " ", v) for k, v in zip(chart.keys, one.shares, strict=False)),
                    )
                )
                for one in chart.stacks
            ]
        return [
            Markup(", ").join(
                Markup(f"<span{_attributes(value)}>{escape(value.text)}</span>") for value in (name, *values)
            )
            for name, values in pairs
        ]

    def groups(self) -> list[tuple[str, str, list[tuple[str, str, Markup]]]]:
        """Return all that was linked, by the part of the manifest that holds it: pointer, hash, (id, key, value)."""
        found: dict[str, list[tuple[str, str, Markup]]] = {}
        for pointer, anchor in self.anchors.items():
            parent, _, key = pointer.rpartition("/")
            found.setdefault(parent, []).append((anchor, key, self._shown(pointer)))
        return [(parent or "/", self._hash(parent), entries) for parent, entries in sorted(found.items())]

    def _hash(self, pointer: str) -> str:
        try:
            return sha256(at(self.manifest, pointer)) if pointer else ""
        except (KeyError, IndexError):
            return ""

    def _shown(self, pointer: str) -> Markup:
        try:
            held = at(self.manifest, pointer)
        except (KeyError, IndexError):
            return Markup("<i>not there, so none</i>")
        if isinstance(held, list | dict):
            return Markup('<b data-pointer="{}" data-of="len">{}</b> entries').format(
                pointer, written(len(held))
            )
        text = written(held)
        if len(text) > CUT:
            return Markup('<b data-pointer="{}" data-of="cut">{}…</b>').format(pointer, text[:CUT])
        return Markup('<b data-pointer="{}">{}</b>').format(pointer, text)


def _unlinked(line: Line) -> Markup:
    """Return a line without links, for where nobody sees them."""
    return Markup("").join(
        Markup(f"<span{_attributes(part)}>{escape(part.text)}</span>")
        if isinstance(part, Value)
        else escape(str(part))
        for part in line
    )


def _attributes(value: Value) -> str:
    of = f' data-of="{escape(value.of)}"' if value.of else ""
    if len(value.pointers) == 1:
        return f' data-pointer="{escape(value.pointers[0])}"{of}'
    several = _ranges([pointer.replace(" ", "%20") for pointer in value.pointers])
    return f' data-pointers="{escape(" ".join(several))}"{of}'


def _ranges(pointers: list[str]) -> list[str]:
    """Return pointers with neighbors of one list written together: /a/0/b /a/1/b /a/2/b as /a/0-2/b."""
    found: list[tuple[str, int, int, str]] = []
    for pointer in pointers:
        parts = _NUMBERED.fullmatch(pointer)
        if parts is None:
            found.append((pointer, -1, -1, ""))
            continue
        before, number, after = parts[1], int(parts[2]), parts[3]
        if found and found[-1][0] == before and found[-1][3] == after and found[-1][2] == number - 1:
            found[-1] = (before, found[-1][1], number, after)
        else:
            found.append((before, number, number, after))
    return [
        f"{a}{first if first >= 0 else ''}{f'-{last}' if last > first else ''}{z}"
        for a, first, last, z in found
    ]
