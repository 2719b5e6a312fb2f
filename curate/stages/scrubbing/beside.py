"""What stands beside the turns of a conversation, as texts: to search them, and to put other ones in their place.

Read are, of the columns ``messages_extra`` and ``rejected_extra``, every string and every whole number of five digits
or more, also in JSON that stands in a string (OpenAI's ``arguments``), and every key that is no plain name; of
``rejected``, every turn.
Not read is what must stay as it is: the names of functions, the ids and types of calls.

A value is read behind the name that it has, ``ssn: 078-05-1120``: what a number is, the key often says, not the
value. That lead is never changed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from curate.record import MESSAGES_EXTRA, REJECTED, REJECTED_EXTRA, Batch, content

Visit = Callable[[str, str], str]  # a value's key and text → what is to stand there

_NAME = re.compile(r"[A-Za-z_$][\w$.-]{0,63}", re.ASCII)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_CALLS = ("tool_calls", "function_call")
_LINKS = frozenset(
    {"id", "type", "index", "name"}
)  # of a call: what names the function and joins it to its result
_LEAST = 10_000  # a smaller number is nobody's
_STYLES: tuple[dict[str, Any], ...] = (
    {"ensure_ascii": False},
    {},
    {"ensure_ascii": False, "separators": (",", ":")},
    {"separators": (",", ":")},
    {"ensure_ascii": False, "indent": 2},
    {"ensure_ascii": False, "indent": 4},
)


class Place(NamedTuple):
    """Where a text stands beside the turns."""

    part: str  # calls, extra (other keys of a turn), rejected, rejected_calls or rejected_extra
    turn: int  # of messages, or of the reply that lost
    value: int  # which of the texts there, from 0


@dataclass(slots=True)
class Texts:
    """The texts beside one record's turns."""

    texts: list[str] = field(default_factory=list)  # each behind its lead
    leads: list[int] = field(default_factory=list)  # characters
    places: list[Place] = field(default_factory=list)

    def reader(self, part: str, turn: int) -> Visit:
        """Return a visitor that takes the texts of a place down and leaves them as they are."""
        first = len(self.texts)

        def read(key: str, value: str) -> str:
            lead = lead_of(key)
            self.places.append(Place(part, turn, len(self.texts) - first))
            self.texts.append(lead + value)
            self.leads.append(len(lead))
            return value

        return read


def texts(batch: Batch) -> dict[int, Texts]:
    """Return the texts beside the turns, by row; of rows that have any.

    Raises nothing: JSON that is nested too deep to be read is one text.
    """
    found: dict[int, Texts] = {}
    names = batch.schema.names
    if MESSAGES_EXTRA in names and batch.column(MESSAGES_EXTRA).null_count < batch.num_rows:
        for row, extra in _valid(batch.column(MESSAGES_EXTRA)):
            mine = found.setdefault(row, Texts())
            walk(orjson.loads(extra), roles(content(batch)[row].as_py()), mine.reader)
    if REJECTED in names and batch.column(REJECTED).null_count < batch.num_rows:
        for row, reply in _valid(batch.column(REJECTED)):
            mine = found.setdefault(row, Texts())
            for turn, said in enumerate(reply):
                mine.reader("rejected", turn)("", said["content"] or "")
    if REJECTED_EXTRA in names and batch.column(REJECTED_EXTRA).null_count < batch.num_rows:
        for row, extra in _valid(batch.column(REJECTED_EXTRA)):
            mine = found.setdefault(row, Texts())
            walk(orjson.loads(extra), _spoken(batch, REJECTED_EXTRA, row), partial(_of_reply, mine))
    return {row: mine for row, mine in found.items() if mine.texts}


def replaced(batch: Batch, new: Mapping[int, Sequence[str]]) -> dict[str, pa.Array]:
    """Return the columns beside the turns with other texts, of some rows, in the order of :func:`texts`, no leads."""
    columns: dict[str, pa.Array] = {}
    rest = {row: iter(values) for row, values in new.items()}
    for name, put in ((MESSAGES_EXTRA, _extra), (REJECTED, _reply), (REJECTED_EXTRA, _extra)):
        if name in batch.schema.names and new:
            values = batch.column(name).to_pylist()
            for row, written in rest.items():
                if values[row] is not None:
                    values[row] = put(values[row], _spoken(batch, name, row), written)
            columns[name] = pa.array(values, batch.column(name).type)
    return columns


def _of_reply(mine: Texts, part: str, turn: int) -> Visit:
    return mine.reader(f"rejected_{part}", turn)


def _spoken(batch: Batch, name: str, row: int) -> list[str | None]:
    """Return the roles of the turns that a column beside the content tells more of."""
    told = batch.column(REJECTED) if name == REJECTED_EXTRA else content(batch)
    return roles(told[row].as_py())


def _valid(column: pa.Array) -> Iterator[tuple[int, Any]]:
    return ((row, value) for row, value in enumerate(column.to_pylist()) if value is not None)


def _extra(extra: str, spoken: Sequence[str | None], new: Iterator[str]) -> str:
    found = walk(orjson.loads(extra), spoken, lambda part, turn: lambda key, value: next(new))
    return orjson.dumps(found).decode()


def _reply(reply: Any, spoken: Sequence[str | None], new: Iterator[str]) -> Any:
    said = [(turn, next(new)) for turn in reply]
    return [{**turn, "content": text if turn["content"] else turn["content"]} for turn, text in said]


def roles(messages: Sequence[Mapping[str, Any]] | None) -> list[str | None]:
    """Return the roles of a conversation's turns."""
    return [turn["role"] for turn in messages or ()]


def lead_of(key: str) -> str:
    """Return what is read before a value of this key, as words; nothing where it has none."""
    return f"{re.sub(r'[_.$-]+', ' ', _HUMP.sub(' ', key)).strip()}: " if key else ""


def walk(
    extra: Sequence[Mapping[str, Any] | None],
    spoken: Sequence[str | None],
    visit: Callable[[str, int], Visit],
) -> list[dict[str, Any] | None]:
    """Return a conversation's ``messages_extra`` with what ``visit(part, turn)`` makes of each text."""
    found: list[dict[str, Any] | None] = []
    for turn, keys in enumerate(extra):
        calls, other = visit("calls", turn), visit("extra", turn)
        is_result = turn < len(spoken) and spoken[turn] in ("tool", "function")
        new: dict[str, Any] = {}
        for key, value in (keys or {}).items():
            if key == "tool_call_id" or (key == "name" and is_result):
                new[key] = value
            else:
                new[key] = _call(value, calls) if key in _CALLS else _walk(value, key, other)
        found.append(None if keys is None else new)
    return found


def _call(value: Any, visit: Visit) -> Any:
    if isinstance(value, list):
        return [_call(one, visit) for one in value]
    if not isinstance(value, dict):
        return _walk(value, "", visit)
    return {
        key: one
        if key in _LINKS
        else _call(one, visit)
        if key == "function"
        else _walk(one, "" if key == "arguments" else key, visit)
        for key, one in value.items()
    }


def _walk(value: Any, key: str, visit: Visit) -> Any:
    """Return JSON with what ``visit`` makes of its strings, its large whole numbers and its keys that are no names."""
    if isinstance(value, str):
        inner = _parsed(value)
        if inner is None:
            return visit(key, value)
        new = _walk(inner, key, visit)
        return value if new == inner else _written(new, inner, value)
    if isinstance(value, int) and abs(value) >= _LEAST:
        spelled = str(value)
        text = visit(key, spelled)
        return value if text == spelled else text
    if isinstance(value, list):
        return [_walk(one, key, visit) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for name, one in value.items():
        plain = _NAME.fullmatch(name) is not None
        new_name = name if plain else visit("", name)
        while new_name in found:
            new_name += "_"  # two keys were edited to the same: neither value is lost
        found[new_name] = _walk(one, name if plain else "", visit)
    return found


def _parsed(text: str) -> Any:
    """Return what JSON text says, null where the text is none, or none that could be written again without a loss."""
    if not text.lstrip().startswith(("{", "[", '"')):
        return None
    try:
        found = json.loads(text, object_pairs_hook=_once)
        if "\\u" in text:
            json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair is no text
        _deep(found, 0)
    except (ValueError, RecursionError):
        return None
    return found


_DEEPEST = 100


def _deep(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise RecursionError
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _deep(one, depth + 1)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _written(new: Any, old: Any, text: str) -> str:
    """Return JSON text in the style of what it replaces."""
    styles = (style for style in _STYLES if json.dumps(old, **style) == text.strip())
    return json.dumps(new, **next(styles, _STYLES[0]))
