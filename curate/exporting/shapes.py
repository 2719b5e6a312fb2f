"""What all formats of conversations have in common: kinds of records, the tools that they name, their calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import orjson

from curate.record import calls_of

Record: TypeAlias = dict[str, Any]
Turns: TypeAlias = list[dict[str, Any]]
Kind: TypeAlias = Literal["conversations", "preferences", "documents"]
KINDS: tuple[Kind, ...] = ("conversations", "preferences", "documents")

ANSWER = "assistant"


class Skip(Exception):
    """A format cannot say what a record says; it stays in the release. Its argument is the reason, as counted."""

    @property
    def reason(self) -> str:
        """Return the reason."""
        return str(self.args[0])


def kind(record: Record) -> Kind:
    """Return what a record is to a trainer. Raises Skip where it is nothing."""
    if record.get("messages"):
        return "preferences" if record.get("rejected") else "conversations"
    if record.get("text"):
        return "documents"
    raise Skip("empty")


def told(record: Record) -> Record:
    """Return what every exported record keeps to be found again in the release."""
    return {name: record.get(name) for name in ("id", "source", "license", "language")}


def answered(turns: Turns) -> Turns:
    """Return turns up to the last answer. Raises Skip where there is none."""
    last = max((place for place, turn in enumerate(turns) if turn["role"] == ANSWER), default=-1)
    if last < 0:
        raise Skip("no answer")
    return turns[: last + 1]


def pair(record: Record) -> tuple[Turns, Turns, Turns]:
    """Return a preference pair's prompt, chosen reply and rejected reply. Raises Skip for a pair without a prompt."""
    turns = record["messages"]
    if turns[-1]["role"] != ANSWER:
        raise Skip("no answer")
    if len(turns) < 2:
        raise Skip("no prompt")
    return turns[:-1], turns[-1:], record["rejected"]


def tools(record: Record) -> list[dict[str, Any]] | None:
    """Return the definitions of tools in a record's column ``tools``, nested or as JSON text; None without any."""
    found = record.get("tools")
    if isinstance(found, str):
        try:
            found = orjson.loads(found)
        except orjson.JSONDecodeError:
            return None
    found = [found] if isinstance(found, dict) else found
    ok = isinstance(found, list) and found and all(isinstance(one, dict) for one in found)
    return found if ok else None


def tools_text(record: Record) -> str | None:
    """Return the definitions of tools as JSON text."""
    found = tools(record)
    return None if found is None else orjson.dumps(found).decode()


def has_calls(turns: Sequence[dict[str, Any]]) -> bool:
    """Tell whether some turn calls a tool."""
    return any(calls_of(turn) for turn in turns)


def calls(turn: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a turn's calls as {name, arguments}, arguments as an object where they are one."""
    return [
        {"name": call.get("name"), "arguments": _object(call.get("arguments"))} for call in calls_of(turn)
    ]


def with_objects(turn: dict[str, Any]) -> dict[str, Any]:
    """Return a turn whose calls have their arguments as objects, as chat templates write them; else the turn."""
    if not isinstance(turn.get("tool_calls"), list):
        return turn
    return {**turn, "tool_calls": [_call(call) for call in turn["tool_calls"]]}


def _call(call: Any) -> Any:
    if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
        return call
    function = call["function"]
    if "arguments" not in function:
        return call
    return {**call, "function": {**function, "arguments": _object(function["arguments"])}}


def _object(arguments: Any) -> Any:
    if not isinstance(arguments, str):
        return arguments
    try:
        found = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    return found if isinstance(found, dict) else arguments
