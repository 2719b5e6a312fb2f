"""Calls of tools against what the tools declare, and against the results that follow.

Declarations are OpenAI's (``{"type": "function", "function": {"name", "parameters"}}``) or the function alone, in a
column ``tools``, nested or as JSON text. Parameters are a JSON Schema (:mod:`curate.stages.conversing.toolschemas`).

Arguments may be JSON text, as OpenAI's API has them, or an object, as chat templates of Hugging Face models want them;
which of the two is right depends on who reads the release, so neither is made into the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson

from curate.stages.conversing.toolschemas import Tools, afresh, declarations, valid
from curate.stages.conversing.turns import Extra

MALFORMED, UNKNOWN, INVALID, UNANSWERED, UNASKED, REPEATED, BROKEN = (
    f"conversation/{name}"
    for name in (
        "malformed-call", "unknown-tool", "invalid-arguments", "unanswered-call", "unasked-result",
        "repeated-call-id", "broken-tools",
    )
)  # fmt: skip
RULES = (MALFORMED, UNKNOWN, INVALID, UNANSWERED, UNASKED, REPEATED, BROKEN)


class Call(NamedTuple):
    """One call of a tool."""

    turn: int
    name: Any
    arguments: Any
    id: Any


class Finding(NamedTuple):
    """What a rule says of a record."""

    rule: str
    evidence: dict[str, Any]


def check(roles: Sequence[str | None], contents: Sequence[str], extra: Extra, tools: Any) -> list[Finding]:
    """Return what is wrong with a record's calls: at most one finding per rule, in the order of RULES.

    tools: the record's declarations as JSON text, None where there are none.
    """
    afresh()
    calls = list(_calls(roles, extra))
    declared = None if tools is None else declarations(tools)
    found: dict[str, list[int]] = {}
    for call in calls:
        for rule in _of_call(call, declared):
            found.setdefault(rule, []).append(call.turn)
    if calls:
        _answers(roles, contents, extra, calls, found)
    ids = Counter(call.id for call in calls if isinstance(call.id, str) and call.id)
    if repeated := [call.turn for call in calls if isinstance(call.id, str) and ids[call.id] > 1]:
        found[REPEATED] = repeated
    findings = [
        Finding(rule, {"turn": min(turns), "count": len(turns)}) for rule, turns in found.items() if turns
    ]
    if BROKEN not in found and declared is not None and declared.broken and (calls or declared.known):
        findings.append(Finding(BROKEN, {"count": declared.broken}))
    return sorted(findings, key=lambda finding: RULES.index(finding.rule))


def _calls(roles: Sequence[str | None], extra: Extra) -> Iterator[Call]:
    """Yield every call of the assistant, in order; see record.calls_of for the forms they have."""
    for turn, (role, keys) in enumerate(zip(roles, extra, strict=False)):
        if role != "assistant" or not keys:
            continue
        listed = keys.get("tool_calls") or keys.get("function_call")
        for one in listed if isinstance(listed, list) else [listed] if listed else []:
            function = one.get("function", one) if isinstance(one, dict) else None
            if isinstance(function, dict):
                yield Call(turn, function.get("name"), function.get("arguments"), one.get("id"))
            else:
                yield Call(turn, None, None, None)


def _of_call(call: Call, declared: Tools | None) -> Iterator[str]:
    arguments = _arguments(call.arguments)
    if arguments is None or not isinstance(call.name, str) or not call.name.strip():
        yield MALFORMED
    elif declared is not None and declared.known:
        if call.name not in declared.known:
            yield UNKNOWN
        elif (fits := valid(declared.known[call.name], arguments)) is not True:
            yield BROKEN if fits is None else INVALID


def _arguments(value: Any) -> dict[str, Any] | None:
    """Return a call's arguments as an object; None where they are none. No arguments at all are an empty object."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None
    # A nested column of a table has every key of every record, null where a record has none of its own.
    return without_nulls(value) if isinstance(value, dict) else None


def without_nulls(value: Any) -> Any:
    """Return a value without keys that are null, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _answers(
    roles: Sequence[str | None],
    contents: Sequence[str],
    extra: Extra,
    calls: Sequence[Call],
    found: dict[str, list[int]],
) -> None:
    """Hold the turns of tools against the calls before them. Calls in the last turn wait for an answer yet."""
    by_turn: dict[int, list[Call]] = {}
    for call in calls:
        by_turn.setdefault(call.turn, []).append(call)
    asked: list[Call] = []
    at, results = -1, list[int]()
    for turn, role in enumerate([*roles, None]):
        if role == "tool":
            results.append(turn)
            continue
        if results or (asked and turn < len(roles)):
            missing, more = _unmatched(asked, results, contents, extra)
            found.setdefault(UNANSWERED, []).extend([at] * missing)
            found.setdefault(UNASKED, []).extend(more)
        asked, at, results = by_turn.get(turn, []), turn, []


def _unmatched(
    asked: Sequence[Call], results: Sequence[int], contents: Sequence[str], extra: Extra
) -> tuple[int, list[int]]:
    """Return how many calls have no result, and the turns whose results no call asked for."""
    keys = [(extra[turn] if turn < len(extra) else None) or {} for turn in results]
    ids = [one.get("tool_call_id") for one in keys]
    if asked and all(call.id for call in asked) and all(ids):
        wanted = Counter(str(call.id) for call in asked)
        more = []
        for turn, one in zip(results, ids, strict=True):
            if wanted[str(one)]:
                wanted[str(one)] -= 1
            else:
                more.append(turn)
        return wanted.total(), more
    if len(asked) > 1 and len(results) == 1 and _listed(contents[results[0]]) == len(asked):
        return 0, []  # the results of several calls as one JSON list
    names = [name if isinstance(name := one.get("name"), str) else None for one in keys]
    wrong = [
        turn
        for turn, name, call in zip(results, names, asked, strict=False)
        if name is not None and isinstance(call.name, str) and name != call.name
    ]
    swapped = Counter(n for n in names if n) == Counter(str(call.name) for call in asked)
    return max(0, len(asked) - len(results)), [*([] if swapped else wrong), *results[len(asked) :]]


def _listed(content: str) -> int | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return len(value) if isinstance(value, list) else None
