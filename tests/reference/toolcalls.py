"""Calls of tools held against declarations and results, plainly: twin of curate.stages.conversing.toolcalls."""

from __future__ import annotations

import json
from typing import Any

import jsonschema

Found = dict[str, int]  # rule → how many turns or calls it found


def check(roles: list[str], extra: list[dict[str, Any] | None], tools: list[dict[str, Any]]) -> Found:
    """Return what is wrong with a record whose schemas are sound, and whose calls and results either all have ids."""
    found: Found = {}

    def count(rule: str) -> None:
        found[f"conversation/{rule}"] = found.get(f"conversation/{rule}", 0) + 1

    known = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in tools}
    every_id = [call["id"] for keys in extra if keys for call in keys.get("tool_calls", ()) if call.get("id")]
    for turn, keys in enumerate(extra):
        calls = (keys or {}).get("tool_calls", ())
        results = _results(roles, turn) if roles[turn] == "assistant" else []
        for call in calls:
            _judge_call(call["function"], known, count)
            if call.get("id") and every_id.count(call["id"]) > 1:
                count("repeated-call-id")
        if turn == len(roles) - 1 or not every_id_or_none(extra):
            continue
        left = [call.get("id") for call in calls]
        for result in results:
            told = (extra[result] or {}).get("tool_call_id")
            if told in left:
                left.remove(told)
            elif any(every and every.get("tool_calls") for every in extra):
                count("unasked-result")
        for _ in left:
            count("unanswered-call")
    return found


def every_id_or_none(extra: list[dict[str, Any] | None]) -> bool:
    """Tell whether a record is one that this twin can judge by ids."""
    return all(call.get("id") for keys in extra if keys for call in keys.get("tool_calls", ()))


def _results(roles: list[str], turn: int) -> list[int]:
    found = []
    for after in range(turn + 1, len(roles)):
        if roles[after] != "tool":
            break
        found.append(after)
    return found


def _judge_call(function: dict[str, Any], known: dict[str, Any], count: Any) -> None:
    try:
        arguments = json.loads(function["arguments"])
    except json.JSONDecodeError:
        arguments = None
    if not isinstance(arguments, dict) or not function.get("name"):
        count("malformed-call")
    elif known and function["name"] not in known:
        count("unknown-tool")
    elif known:
        try:
            jsonschema.validate(arguments, known[function["name"]])
        except jsonschema.ValidationError:
            count("invalid-arguments")
