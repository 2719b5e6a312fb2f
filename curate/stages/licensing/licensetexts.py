"""Licenses whose text, or a header with a wording of its own, stands in a text.

Each is told by its telling sentences (``texts`` in ``rules/licenses.yaml``), or by its title and a text as long as
a license's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TypeAlias

from curate import rules
from curate.licensenames import index, phrase

_LEADING = (
    200  # characters before the words that open a license's text; its first telling sentence may begin there
)
_TITLE = 200  # characters at the start of a license's text that hold its title
_TIMES = 4  # that a license's text says the word, its title aside
_WHOLE = 1200  # characters; a license's text is longer than a paragraph about it

_TITLED = re.compile(r"licen[cs]e|commons|^\s*Attribution", re.IGNORECASE)
_CC_TEXT = re.compile(
    r"creative commons (?:legal code )?(?P<name>(?:attribution|noncommercial|sharealike|noderiv\w*|share alike|"
    r" )+?)(?P<version>\d \d)(?: unported| generic| international)?(?: public license)?"
    r" (?:by exercising the licensed|creative commons corporation is not)"
)

_NEAR = 600  # characters around an opener that hold the first telling sentence


def texts(text: str, lowered: str) -> Iterator[tuple[int, int, str]]:
    """Yield where a license's text begins (start and end of its first words), and the license.

    lowered: the text in lower case, character by character.
    """
    reach, openers, telling = _telling()
    seen: set[str] = set()
    everything: str | None = None
    for words, opener in openers:
        if not all(word in lowered for word in words):
            continue
        for match in opener.finditer(lowered):
            start = max(0, match.start() - _LEADING)
            near = plain(lowered[start : match.start() + _NEAR])
            if not (likely := [entry for entry in telling if entry[0] not in seen and entry[1][0] in near]):
                continue
            if everything is None:
                everything = plain(lowered)
            # A telling sentence that stands nowhere need not be looked for at every opener.
            seen |= {spdx for spdx, wanted, _ in likely if not all(w in everything for w in wanted)}
            if not (likely := [entry for entry in likely if entry[0] not in seen]):
                continue
            whole = plain(lowered[start : match.start() + reach])
            for spdx, wanted, unwanted in likely:
                if all(w in whole for w in wanted) and not any(u in whole for u in unwanted):
                    seen.add(spdx)
                    yield match.start(), match.end(), spdx
    if (named := _titled(text)) and named not in seen:
        yield 0, min(len(text), _TITLE), named


def _titled(text: str) -> str | None:
    """Return the license whose title a long text begins with."""
    if len(text) < _WHOLE or not _TITLED.search(text, 0, _TITLE):
        return None
    head = plain(text[:8000])
    if found := _CC_TEXT.search(head):
        return phrase(f"Creative Commons {found['name']} {found['version'].replace(' ', '.')}")
    if head.count("licen") < _TIMES or not (found := _titles().match(head)):
        return None
    return index().aliases.get(f"{_folded(found['name'])} {found['version'].replace(' ', '.')}")


@cache
def _titles() -> re.Pattern[str]:
    names = sorted(
        (plain(name) for name in rules.load("licenses").data["names"].values()), key=len, reverse=True
    )
    either = "|".join(re.escape(name).replace("public\\ license", "public\\ licen[cs]e") for name in names)
    return re.compile(
        rf"\s*(?:the )?(?P<name>{either}) (?:[a-z]+ )?(?:version |ver |v )*(?P<version>\d+(?: \d+)?[a-z]?)\b"
    )


def _folded(name: str) -> str:
    return " ".join(word for word in name.split() if word not in ("the", "license", "licence", "version"))


_Entry: TypeAlias = tuple[str, tuple[str, ...], tuple[str, ...]]  # license, all of these, none of those


@cache
def _telling() -> tuple[int, tuple[tuple[list[str], re.Pattern[str]], ...], tuple[_Entry, ...]]:
    data = rules.load("licenses").data["texts"]
    # The two longest words of an opener are the rarest, and looked for first.
    openers = tuple(
        (sorted(said.split(), key=len, reverse=True)[:2], re.compile(r"[\W_]+".join(said.split())))
        for said in data["openers"]
    )
    entries = tuple(
        (entry["spdx"], tuple(entry["all"]), tuple(entry.get("none", ()))) for entry in data["telling"]
    )
    return int(data["reach"]), openers, entries


def plain(text: str) -> str:
    """Return a text in lower case with one space for everything that is no letter or digit."""
    return re.sub(r"[^a-z0-9]+", " ", text.lower())
