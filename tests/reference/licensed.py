"""The slow twin of the search for licenses in texts: every expression over the whole of every text."""

from __future__ import annotations

import re

from curate.licensenames import expression
from curate.stages.licensing import licensed
from curate.stages.licensing.licensed import Spot
from curate.stages.licensing.licensetexts import texts


def spots(text: str, document: bool = True) -> list[Spot]:
    """Return what one text says it is under; no trigger, no windows, no word that must be there first."""
    whole = [Spot(start, end, "text", found) for start, end, found in texts(text, text.lower())]
    told = [*licensed._tags(text), *licensed._gnu(text), *licensed._links(text)]
    if document:
        told += licensed._fields(text)
    for pattern in (
        licensed._OPENING,
        licensed._SUBJECT,
        licensed._FOOTER,
        licensed._LICENSES_THIS,
        licensed._SUBJECT_TO,
    ):
        for match in pattern.finditer(text):
            if pattern is licensed._SUBJECT and licensed._says_otherwise(text, match):
                continue
            before = text[max(0, match.start() - licensed._BEFORE) : match.start()]
            if pattern is licensed._OPENING and licensed._CREDIT.search(before):
                continue
            if named := licensed._name(text[match.end() : match.end() + licensed._LOOKED_AT]):
                told.append(Spot(match.start(), match.end(), "phrase", named))
    first = min((spot.start for spot in whole), default=len(text))
    return sorted([*{(s.start, s.license): s for s in told if s.start < first}.values(), *whole])


def about_licenses(messages: list[dict[str, str]]) -> bool:
    return any(m["role"] != "assistant" and re.search("licen[cs]", m["content"], re.I) for m in messages)


def joined(found: list[Spot]) -> str | None:
    names = sorted({spot.license for spot in found})
    return expression(" AND ".join(f"({name})" for name in names)) if names else None
