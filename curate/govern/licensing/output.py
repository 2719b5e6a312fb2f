"""Terms under which providers of models give out what their models write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from curate import licenses

PROVIDER = "LicenseRef-provider-output-terms"
_COMPETING = re.compile(
    r"compet|(?:improv|train|develop)\w* (?:any )?other (?:large )?(?:language )?models?", re.IGNORECASE
)
# "None of it may be used …" is no such answer.
_NOTHING = re.compile(r"\s*(?:none|no terms|not applicable)\s*(?:[.,;:(–—-]|$)", re.IGNORECASE)


def generated(sources: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every model that wrote records, by source, with the license that its terms of output stand for.

    ``license`` is null where the terms are not stated, or name a license that asks nothing of the output; ``read``
    tells whether they were understood: by name, by their URL, or as a ban on training competing models.
    """
    found = []
    for source in sorted(sources, key=lambda source: str(source["name"])):
        for model in source.get("generated_by") or ():
            stated = [text for key in ("terms", "terms_url") if (text := model.get(key))]
            found.append(
                {
                    "source": source["name"],
                    "model": " ".join(part for part in (model["model"], model.get("version")) if part),
                    **_read(stated),
                }
            )
    return found


def _read(stated: list[str]) -> dict[str, Any]:
    for text in stated:
        concluded = licenses.resolve(text).concluded
        if concluded:
            binding = any(map(_binds, licenses.ids(concluded)))
            return {"license": concluded if binding else None, "stated": True, "read": True}
        if _COMPETING.search(text):
            return {"license": PROVIDER, "stated": True, "read": True}
        if _NOTHING.match(text):
            return {"license": None, "stated": True, "read": True}
    return {"license": None, "stated": bool(stated), "read": False}


def _binds(license_id: str) -> bool:
    """Tell whether a license, named as terms of output, restricts what may be done with the output."""
    found = licenses.get(license_id)
    free = found.terms.commercial is True and found.terms.derivatives is True
    return not free or found.category == "use-restricted"
