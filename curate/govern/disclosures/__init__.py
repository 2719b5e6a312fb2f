"""``disclosures/``: what the law asks to be told of training data, proposed from the manifest.

Each document is a list of fields (:mod:`curate.govern.disclosures.form`): a question, its answer, how the answer is
known, and pointers into manifest.json with the hash of what stands there. Yes and No are never asserted from evidence:
they are proposed, and a person confirms them, by an answer under ``<document>/<field>``. Not legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curate.govern.datasheet.values import sha256
from curate.govern.disclosures import california, eu, gdpr, nist, page
from curate.govern.disclosures.checks import RULES
from curate.govern.disclosures.checks import contradictions as contradictions

FOLDER = "disclosures"
DOCUMENTS = (eu, california, nist, gdpr)
ASKED = f"^({'|'.join(part.NAME for part in DOCUMENTS)})/."


def asks(question: str) -> bool:
    """Tell whether a question's id, ``<document>/<field>``, is of one of the disclosures."""
    return re.match(ASKED, question) is not None


def evidence_sha256(manifest: Mapping[str, Any], question: str) -> str | None:
    """Return the hash that binds an answer to its evidence; None if the release's disclosures lack the question."""
    document, _, id = question.partition("/")
    unanswered = {**manifest, "answers": {}}
    for part in DOCUMENTS:
        for field in part.fields(unanswered).fields if document == part.NAME else ():
            if field.id == id:
                return sha256(field.evidence)
    return None


def render(manifest: Mapping[str, Any]) -> dict[str, bytes]:
    """Return every disclosure, as JSON and as Markdown, by its path in the release."""
    found = contradictions(manifest)
    files = {}
    for part in DOCUMENTS:
        fields = part.fields(manifest).fields
        made = page.document(manifest, part.NAME, part.TITLE, part.BASIS, fields, found, list(RULES))
        files[f"{FOLDER}/{part.NAME}.json"] = page.as_json(made)
        files[f"{FOLDER}/{part.NAME}.md"] = page.as_markdown(made)
    return files
