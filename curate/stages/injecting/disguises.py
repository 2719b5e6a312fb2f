"""Payloads that are not written as they are read: each disguise is undone, and the result searched.

A *view* is a text with one disguise undone, and the way back to the characters it came from. What is decoded or
hidden is itself looked at once more, two levels deep in all; of one run of code at most 64 KiB are decoded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from curate import rules
from curate.stages.injecting import hidden as _hidden
from curate.stages.injecting.disguise_signs import BACKWARDS, GLUED, ROT13, SPACED, checked, leet
from curate.stages.injecting.payloads import PACK, Hit, compiled, in_text
from curate.stages.injecting.undisguised import OTHERS, View, decoded, pieces, unmasked

_DEPTH = 2


class Disguised(NamedTuple):
    """A payload, where its disguise stands in the text, and the disguise, outermost first."""

    rule: str
    pattern: str
    start: int
    end: int
    disguise: str


_IN_PLACE = (
    "characters",
    "digits",
    "glued",
)  # disguises in which a payload in plain sight is found once more


def in_disguise(text: str, checks: Iterable[str], plain: Iterable[Hit] = ()) -> list[Disguised]:
    """Return the payloads in disguise. checks: what :func:`suspicious` says; plain: those in plain sight."""
    seen = {(hit.rule, at) for hit in plain for at in (hit.start, hit.end)}
    hits = {
        hit
        for hit in _search(text, frozenset(checks), 1)
        if hit.disguise not in _IN_PLACE or not seen & {(hit.rule, hit.start), (hit.rule, hit.end)}
    }
    return sorted(hits, key=lambda hit: (hit.start, hit.end, hit.rule, hit.pattern, hit.disguise))


def _search(text: str, checks: frozenset[str], depth: int) -> Iterator[Disguised]:
    for view in _views(text, checks):
        for hit in in_text(view.text, view.hidden, view.glued):
            yield Disguised(hit.rule, hit.pattern, *view.place(hit.start, hit.end), view.disguise)
        if view.again and depth < _DEPTH:
            within = checked(view.text)
            for inner in _search(view.text, within, depth + 1):
                place = view.place(inner.start, inner.end)
                yield Disguised(inner.rule, inner.pattern, *place, f"{view.disguise}/{inner.disguise}")


def _views(text: str, checks: frozenset[str]) -> Iterator[View]:
    if "hidden" in checks:
        for start, end, spelled in _hidden.spelled(text):
            yield View("invisible", spelled, None, (start, end), hidden=True, again=True)
    if "odd" in checks:
        yield from unmasked(text)
    if "spaced" in checks:
        for run in _RE_SPACED.finditer(text):
            yield View("spaced", re.sub(r"[^a-zA-Z]", "", run[0]), None, run.span(), glued=True)
    if "spelled" in checks:
        yield from _spelled(text)
    if "base64" in checks:
        yield from decoded(text, ("base64",))
    if "encoded" in checks:
        yield from decoded(text, OTHERS)
    if "markup" in checks:
        for match in _RE_MARKUP.finditer(text):
            inner = next(group for group in match.groups() if group is not None)
            yield View("markup", inner, None, match.span(), hidden=True, again=True)
    if "pieces" in checks:
        yield from pieces(text)


_RE_SPACED = re.compile(SPACED)
_RE_MARKUP = re.compile(
    r"<!--(.{1,4000}?)-->"
    r"|<[a-z]+[^<>]{0,300}?(?:display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])(?:px|pt|em|rem|%)?|opacity\s*:\s*0(?![.\d])"
    r"|(?<![-\w])color\s*:\s*(?:\#fff(?:fff)?\b|white|transparent)|\shidden\b)[^<>]{0,300}>([^<]{1,4000})"
    r"|\\(?:textcolor\{white\}|color\{white\})\s*\{?([^{}]{1,4000})"
    r"|^\[(?://|comment)\]:\s*\#?\s*[(\"']?(.{1,1000})",
    re.IGNORECASE | re.DOTALL | re.MULTILINE,
)


def _spelled(text: str) -> Iterator[View]:
    data, whole = text.encode(), (0, len(text))
    if compiled(GLUED).search(data):
        yield View("glued", text, range(len(text)), whole, glued=True)
    if compiled(leet()).search(data):
        yield View("digits", text.translate(_leet_table()), range(len(text)), whole)
    if compiled(ROT13).search(data):
        yield View("rot13", codecs.encode(text, "rot13"), range(len(text)), whole)
    if compiled(BACKWARDS).search(data):
        yield View("backwards", text[::-1], range(len(text) - 1, -1, -1), whole)


@lru_cache(maxsize=1)
def _leet_table() -> dict[int, str]:
    return {ord(sign): letter for sign, letter in rules.load(PACK).data["leet"].items()}
