"""LLaMA-Factory's datasets (llamafactory 0.9.5, ``data/README.md`` and ``data/converter.py``).

JSON lines in its sharegpt formatting, and the ``dataset_info.json`` that names them. Its reader drops conversations
that do not alternate, with a warning; those are counted here and left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from curate.exporting import shapes
from curate.exporting.shapes import Kind, Record, Turns

# How its own reader of OpenAI's format puts the results of several calls together.
_BETWEEN = "\n</tool_response>\n<tool_response>\n"
_TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "observation",
    "function_tag": "function_call",
    "system_tag": "system",
}


def shape(record: Record, kind: Kind) -> Record:
    """Return a record as LLaMA-Factory takes it. Raises Skip where it cannot."""
    found = shapes.told(record)
    if kind == "documents":
        return {**found, "text": record["text"]}
    tools = {"tools": shapes.tools_text(record) or ""}
    if kind == "conversations":
        return {**found, "messages": _turns(shapes.answered(record["messages"]), 0), **tools}
    prompt, chosen, rejected = shapes.pair(record)
    if len(rejected) != 1:
        raise shapes.Skip("rejected reply of several turns")
    turns = _turns(prompt, 1)
    return {**found, "messages": turns, "chosen": _turn(chosen[0]), "rejected": _turn(rejected[0]), **tools}


def _turns(turns: Turns, odd: int) -> Turns:
    """Return turns: a system's at most at the head, then user or observation and answer or call by turns.

    odd: how many turns more than pairs of them there are.
    """
    found: Turns = []
    for turn in map(_turn, turns):
        if found and turn["role"] == found[-1]["role"] == "observation":
            found[-1] = {**turn, "content": found[-1]["content"] + _BETWEEN + turn["content"]}
        else:
            found.append(turn)
    said = found[1:] if found and found[0]["role"] == "system" else found
    sides = ({"user", "observation"}, {"assistant", "function_call"})
    if len(said) % 2 != odd or any(turn["role"] not in sides[place % 2] for place, turn in enumerate(said)):
        raise shapes.Skip("turns do not alternate")
    return found


def _turn(turn: dict[str, Any]) -> dict[str, Any]:
    role, content = turn["role"], turn.get("content") or ""
    if called := shapes.calls(turn):
        if content.strip():
            raise shapes.Skip("text beside calls of tools")
        return {"role": "function_call", "content": orjson.dumps(called).decode()}
    return {"role": "observation" if role == "tool" else role, "content": content}


def notes(files: Mapping[tuple[str, Kind], str], name: str) -> dict[str, str]:
    """Return dataset_info.json. files: by split and kind, relative to the export. name: of the release."""
    told: dict[str, Any] = {}
    for (split, kind), path in files.items():
        entry: dict[str, Any] = {"file_name": path}
        if kind == "documents":
            entry["columns"] = {"prompt": "text"}  # pre-training
        else:
            columns = {"messages": "messages", "tools": "tools"}
            pairs = {"chosen": "chosen", "rejected": "rejected"} if kind == "preferences" else {}
            entry |= {"formatting": "sharegpt", "columns": {**columns, **pairs}, "tags": _TAGS}
            entry |= {"ranking": True} if pairs else {}
        told[f"{re.sub(r'[^A-Za-z0-9]+', '_', name)}_{kind}_{split}"] = entry
    return {"dataset_info.json": orjson.dumps(told, option=orjson.OPT_INDENT_2).decode() + "\n"}
