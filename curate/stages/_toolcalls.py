"""Calls of tools against what the tools declare, and against the results that follow.

Declarations are OpenAI's (``{"type": "function", "function": {"name", "parameters"}}``) or the function alone, in a
column ``tools``, nested or as JSON text. Parameters are a JSON Schema; the draft is what ``$schema`` says, else
2020-12. A schema is made ready once per process. It comes with the data, so nothing that it says can reach the
network, and its patterns run on RE2, in linear time: one that RE2 does not know constrains nothing.

Arguments may be JSON text, as OpenAI's API has them, or an object, as chat templates of Hugging Face models want them;
which of the two is right depends on who reads the release, so neither is made into the other.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import re2
from jsonschema import validators
from jsonschema.exceptions import SchemaError, ValidationError
from referencing import Registry
from referencing.exceptions import Unresolvable

from curate.stages._turns import Extra

MALFORMED, UNKNOWN, INVALID, UNANSWERED, UNASKED, REPEATED, BROKEN = (
    f"conversation/{name}"
    for name in (
        "malformed-call", "unknown-tool", "invalid-arguments", "unanswered-call", "unasked-result",
        "repeated-call-id", "broken-tools",
    )
)  # fmt: skip
RULES = (MALFORMED, UNKNOWN, INVALID, UNANSWERED, UNASKED, REPEATED, BROKEN)

_MOST_SCHEMAS = 4096  # kept ready at a time


class Call(NamedTuple):
    """One call of a tool."""

    turn: int
    name: Any
    arguments: Any
    id: Any


class Tools(NamedTuple):
    """What a record declares."""

    known: Mapping[str, Any]  # name → validator; None where the schema is broken
    broken: int  # declarations or schemas that nobody can read


class Finding(NamedTuple):
    """What a rule says of a record."""

    rule: str
    evidence: dict[str, Any]


def check(roles: Sequence[str | None], contents: Sequence[str], extra: Extra, tools: Any) -> list[Finding]:
    """Return what is wrong with a record's calls: at most one finding per rule, in the order of RULES.

    tools: the record's declarations as JSON text, None where there are none.
    """
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
        elif (valid := _valid(declared.known[call.name], arguments)) is not True:
            yield BROKEN if valid is None else INVALID


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
    names = [one.get("name") for one in keys]
    wrong = [
        turn
        for turn, name, call in zip(results, names, asked, strict=False)
        if isinstance(name, str) and isinstance(call.name, str) and name != call.name
    ]
    swapped = Counter(n for n in names if n) == Counter(call.name for call in asked)
    return max(0, len(asked) - len(results)), [*([] if swapped else wrong), *results[len(asked) :]]


def _listed(content: str) -> int | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return len(value) if isinstance(value, list) else None


# --- what tools declare -----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def declarations(text: str) -> Tools:
    """Return the tools that a JSON text declares. Never raises: what cannot be read is counted as broken."""
    try:
        listed = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Tools({}, 1)
    known: dict[str, Any] = {}
    broken = 0
    for one in listed if isinstance(listed, list) else [listed]:
        if isinstance(one, str):  # a list of JSON texts
            try:
                one = orjson.loads(one)
            except orjson.JSONDecodeError:
                one = None
        function = one.get("function", one) if isinstance(one, dict) else None
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(function, dict) or not isinstance(name, str) or not name:
            broken += 1
            continue
        known[name] = _ready(function.get("parameters"))
        broken += known[name] is None
    return Tools(known, broken)


def _ready(schema: Any) -> Any:
    """Return a validator for a tool's parameters; None where they are no JSON Schema."""
    if schema is None:
        schema = {}
    if not isinstance(schema, dict | bool):
        return None
    return _compiled(orjson.dumps(schema))


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def _compiled(schema: bytes) -> Any:
    plain = _linear(orjson.loads(schema))
    try:
        named = validators.validator_for(plain, default=validators.Draft202012Validator)
        named.check_schema(plain, format_checker=None)
        return _bounded(named)(plain, registry=Registry())
    except (SchemaError, Unresolvable, RecursionError, TypeError, ValueError, AttributeError):
        return None


@functools.cache
def _bounded(validator: Any) -> Any:
    """Return the draft's validator with patterns that run on RE2."""
    return validators.extend(validator, {"pattern": _pattern})


def _pattern(validator: Any, pattern: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and (compiled := _expression(pattern)) and not compiled.search(instance):
        yield ValidationError("does not match", validator="pattern")


@functools.lru_cache(maxsize=_MOST_SCHEMAS)
def _expression(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error:
        return None


def _linear(schema: Any) -> Any:
    """Return a schema without patterns for names of properties, which would run on Python's own engine."""
    if isinstance(schema, list):
        return [_linear(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    taken = {"patternProperties", "additionalProperties", "unevaluatedProperties"}
    drop = taken if isinstance(schema.get("patternProperties"), dict) else set[str]()
    return {key: _linear(value) for key, value in schema.items() if key not in drop}


def _valid(validator: Any, arguments: dict[str, Any]) -> bool | None:
    """Tell whether arguments fit; null where the schema refers to what is not there, or to itself without end.

    Nothing is held against arguments where the schema was broken from the start.
    """
    if validator is None:
        return True
    try:
        return bool(validator.is_valid(arguments))
    except (Unresolvable, RecursionError, SchemaError, TypeError, ValueError, AttributeError, KeyError):
        return None
