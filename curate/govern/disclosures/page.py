"""A disclosure as JSON and as Markdown."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from curate.govern.disclosures.form import PROPOSED, Field
from curate.govern.disclosures.known import OWNERS
from curate.govern.facts import title
from curate.govern.writing import table

NOTICE = (
    "This is not legal advice. It is a draft made from a manifest by a program: whether it meets the law, and "
    "is true of a given model, is for the people who sign it to decide."
)
STATES = {
    "measured": "counted from the records",
    "derived": "follows from what the manifest holds",
    "declared": "written by a person in the recipe, a source manifest or the answers",
    "proposed": "suggested by the evidence, to be confirmed by a person",
    "not_applicable": "does not apply, with the reason",
    "unanswered": "open, with its owner",
}


def document(
    manifest: Mapping[str, Any],
    name: str,
    heading: str,
    basis: str,
    fields: Sequence[Field],
    found: Sequence[Mapping[str, Any]],
    rules: Sequence[str],
) -> dict[str, Any]:
    """Return a disclosure in the form of its JSON file. found: contradictions; rules: what was checked, in words."""
    counts: Counter[str] = Counter(field.state for field in fields)
    return {
        "document": name,
        "title": heading,
        "basis": basis,
        "notice": NOTICE,
        "release": {
            "title": title(manifest),
            "name": manifest["name"],
            "version": manifest["version"],
            "root": manifest["root"],
        },
        "states": {state: counts.get(state, 0) for state in STATES},
        "open": {
            owner: [field.id for field in fields if field.owner == owner]
            for owner in sorted({field.owner for field in fields if field.owner})
        },
        "checked": list(rules),
        "contradictions": [{key: f[key] for key in ("reason", "message", "count")} for f in found],
        "fields": [field.to_json() for field in fields],
    }


def as_json(made: Mapping[str, Any]) -> bytes:
    """Return the JSON file."""
    return orjson.dumps(made, option=orjson.OPT_INDENT_2) + b"\n"


def as_markdown(made: Mapping[str, Any]) -> bytes:
    """Return the Markdown file: what it is, what is open, what contradicts itself, then every question."""
    release = made["release"]
    head = f"""# {made["title"]}

For **{_line(release["title"])}**, release `{release["name"]}` {release["version"]}, root `{release["root"]}`.

> {made["notice"]}

{made["basis"]}"""
    parts = [head, _states(made), _open(made), _contradictions(made)]
    for section, fields in itertools.groupby(made["fields"], key=lambda field: str(field["section"])):
        parts += [f"## {section}", *(_field(field) for field in fields)]
    return ("\n\n".join(part for part in parts if part) + "\n").encode()


def _states(made: Mapping[str, Any]) -> str:
    rows = [(_state(state), why, made["states"][state]) for state, why in STATES.items()]
    return "## How the answers are known\n\n" + table(("state", "meaning", "fields"), rows, 1)


def _open(made: Mapping[str, Any]) -> str:
    if not made["open"]:
        return ""
    lines = [f"- **{owner}** ({OWNERS[owner]}): {', '.join(ids)}" for owner, ids in made["open"].items()]
    return "## To be answered or confirmed\n\n" + "\n".join(lines)


def _contradictions(made: Mapping[str, Any]) -> str:
    if not made["contradictions"]:
        return f"## Contradictions\n\nNone was found by the {len(made['checked'])} rules across fields."
    lines = [f"- {_line(found['message'])}" for found in made["contradictions"]]
    return "## Contradictions\n\nTo be cleared up before anyone signs:\n\n" + "\n".join(lines)


def _field(field: Mapping[str, Any]) -> str:
    lines = [f"### {field['id']} {field['question']}", _answer(field)]
    if field["note"] and field["state"] != "unanswered":
        lines.append(_line(field["note"]))
    evidence = ", ".join(f"`{found['pointer']}`" for found in field["evidence"][:_MOST])
    if more := len(field["evidence"]) - _MOST:
        evidence += f" and {more} more, in the JSON file" if more > 0 else ""
    told = [_state(field["state"])]
    if field["owner"] and field["state"] == "proposed":
        told.append(f"by: {field['owner']}")
    if evidence:
        told.append(f"evidence: {evidence}")
    if field["state"] != "unanswered":
        lines.append(f"*{' · '.join(told)}*")
    return "\n\n".join(lines)


_MOST = 6  # pointers shown per field
_SHORT = 120  # characters of an answer that stands out


def _answer(field: Mapping[str, Any]) -> str:
    answer = field["answer"]
    if answer is None:
        return f"**Open.** Owner: {field['owner']}. {_line(field['note'])}"
    if isinstance(answer, list):
        if not answer:
            return "**Nothing to list.**"
        heads = list(answer[0])
        numbers = 0
        while numbers < len(heads) - 1 and all(_is_number(row[heads[-1 - numbers]]) for row in answer):
            numbers += 1
        return table(heads, [[row[key] for key in heads] for row in answer], numbers)
    mark = f" ({PROPOSED})" if field["state"] == "proposed" else ""
    text = _line(answer)
    return f"**{text}**{mark}" if len(text) <= _SHORT else f"{text}{mark}"


def _is_number(cell: object) -> bool:
    return isinstance(cell, int) or bool(re.fullmatch(r"<?[\d.,]+ ?(%|[kMGT]?B|bytes)|–", str(cell)))


def _state(state: str) -> str:
    return state.replace("_", " ")


def _line(text: object) -> str:
    return " ".join(str(text).split()).replace("<", "&lt;")
