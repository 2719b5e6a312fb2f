"""The stage injection without its shortcuts: every expression on every text, every character asked for itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

from curate import rules
from curate.stages.injecting import disguise_signs, disguises
from curate.stages.injecting import hidden as _hidden
from curate.stages.injecting.payloads import _LOOSE, Hit, _expanded


def payloads(text: str) -> list[Hit]:
    """Return the payloads in plain sight as Python's own expressions find them, no rule passed over."""
    pack = rules.load("injection")
    found = []
    for rule in pack.rules:
        if rule.data.get("within") == "hidden":
            continue
        for name, written in rule.data.get("patterns", {}).items():
            found += [Hit(rule.id, name, *match.span()) for match in _python(written).finditer(text)]
    return found


def _python(written: str) -> re.Pattern[str]:
    """Return an expression in RE2's syntax as one of Python's, for texts of ASCII letters."""
    pattern = _expanded(written, rules.load("injection").data["macros"], _LOOSE)
    pattern = re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", pattern)
    pattern = re.sub(r"\(\?m:\$\)", "(?=\\n|\\\\Z)", pattern)
    return re.compile(pattern, re.IGNORECASE | re.ASCII)


def disguised(text: str) -> list[disguises.Disguised]:
    """Return the payloads in disguise, every disguise undone whether or not the text looks like it."""
    return disguises.in_disguise(text, disguise_signs.ALL, payloads(text))


def places(text: str) -> list[tuple[str, int]]:
    """Return each character that is not in place, with its kind, asked one by one."""
    return sorted({(place.kind, at) for place in _each(text) for at in range(place.start, place.end)})


def _each(text: str) -> Iterator[_hidden.Place]:
    for kind, pattern in (
        (_hidden.INVISIBLE, _hidden._INVISIBLES),
        (_hidden.TAGS, _hidden._TAGS),
        (_hidden.SELECTORS, _hidden._SELECTORS),
    ):
        for match in pattern.finditer(text):  # at every position, not at the suspects only
            mark = match[0] in _hidden._MARKS and any(a <= match.start() < b for a, b in _rtl(text))
            if match["out"] is not None and not mark:
                yield _hidden.Place(kind, *match.span())
    for match in _hidden._ESCAPES.finditer(text):
        yield _hidden.Place(_hidden.ANSI, *match.span())
    yield from _hidden._bidi(text)


def _rtl(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for line in re.split(r"([\n\r\x1c-\x1e\x85\u2029])", text):
        if any(_hidden._RTL.match(sign) for sign in line):
            yield at, at + len(line)
        at += len(line)
