"""Turns as the formats write them, made turns as we hold them: role, content, and what else a turn has."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import orjson

from curate.io.cells import MISSING, json_text
from curate.io.columns import FUNCTION_CALL
from curate.io.faults import Bad, kind_of

Turns: TypeAlias = list[tuple[str, str]]  # role, content
Extra: TypeAlias = list[dict[str, Any] | None]  # per turn its keys beyond role and content

SHAREGPT_ROLES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "assistant", "chatgpt", "bing", "bard"), "assistant"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
    "system": "system",
}
"""Roles of sharegpt turns; any other passes as it is, for the conversation stage to judge."""

KEYS = {"openai": ("role", "content"), "sharegpt": ("from", "value")}
_CALLS = ("tool_calls", "function_call")  # a turn that has one may do without content


class Conversation(NamedTuple):
    """What one record's turns were read into."""

    turns: Turns
    extra: str | None = None  # JSON text of Extra; None where no turn has any
    rejected: Turns | None = None  # of a preference pair
    rejected_extra: str | None = None


def text(value: Any, name: str) -> str:
    """Return the value if it is a string. Raises Bad."""
    if type(value) is str:
        return value
    raise wrong(value, name, "a string")


def optional(value: Any, name: str) -> str:
    """Return the value if it is a string, nothing where there is none. Raises Bad."""
    return "" if value is None or value is MISSING else text(value, name)


def wrong(value: Any, name: str, wanted: str) -> Bad:
    """Return what to raise of a value that is not what was wanted."""
    if value is MISSING:
        return Bad("read/missing-field", f"{name!r} is missing")
    if value is None:
        return Bad("read/null-text", f"{name!r} is null")
    return Bad("read/wrong-type", f"{name!r} is {kind_of(value)}; expected {wanted}")


def parsed(value: Any, name: str) -> Any:
    """Return the value, or what JSON text holds: a csv field, or a column of such text. Raises Bad."""
    if type(value) is not str:
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise Bad("read/not-json", f"{name!r}: {error.msg} at character {error.pos + 1}") from None


def read_turns(value: Any, name: str, format_: str | None) -> tuple[Turns, Extra]:
    """Return a list of turns as roles and contents, and their further keys. Raises Bad.

    format_: openai or sharegpt; None where each turn's keys tell it.
    """
    if type(value) is not list:
        raise wrong(value, name, "a list of turns")
    turns: Turns = []
    extra: Extra = []
    for i, turn in enumerate(value, 1):
        if type(turn) is not dict:
            raise Bad("read/wrong-type", f"turn {i} of {name!r} is {kind_of(turn)}; expected an object")
        told = format_ or (
            "sharegpt" if turn.get("from") is not None and turn.get("role") is None else "openai"
        )
        role_key, content_key = KEYS[told]
        role = turn.get(role_key, MISSING)
        content = turn.get(content_key, MISSING)
        if content is None or content is MISSING:
            content = "" if any(turn.get(call) for call in _CALLS) else content
        if type(role) is not str or type(content) is not str:
            text(role, f"{name}[{i}].{role_key}")
            text(content, f"{name}[{i}].{content_key}")
        more = {k: v for k, v in turn.items() if v is not None and k != role_key and k != content_key}
        if told == "sharegpt":
            if role == FUNCTION_CALL:
                role, content, more = "assistant", "", {"tool_calls": _called(content), **more}
            role = SHAREGPT_ROLES.get(role, role)
        turns.append((role, content))
        extra.append(more or None)
    return turns, extra


def _called(value: str) -> list[Any]:
    """Return the calls in a function_call turn as OpenAI's tool_calls; what is no such JSON stays text, for a stage."""
    try:
        listed = orjson.loads(value)
    except orjson.JSONDecodeError:
        return [value]
    listed = listed if type(listed) is list else [listed]
    return [{"type": "function", "function": one} if type(one) is dict else one for one in listed] or [value]


def beside(extra: Extra) -> str | None:
    """Return the turns' further keys as JSON text, None where there are none. Raises Bad."""
    try:
        return json_text(extra) if any(extra) else None
    except orjson.JSONEncodeError:  # whose only cause is depth: anything else has a form
        raise Bad("read/too-deep", "a turn's keys are nested too deep to be written as JSON") from None


def with_system(said: str, turns: Turns, extra: Extra) -> tuple[Turns, Extra]:
    """Return turns with what a column says for the system in front, unless they begin with just that."""
    if not said or (turns and turns[0][0] == "system" and turns[0][1].strip() == said.strip()):
        return turns, extra
    return [("system", said), *turns], [None, *extra]
