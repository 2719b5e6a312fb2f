"""Preference pairs: a prompt, the reply that was chosen and the one that was rejected.

Forms (TRL 1.16, "Dataset formats and types", and LLaMA-Factory 0.9, data/README.md):

- explicit prompt: ``prompt`` is text or turns, ``chosen`` and ``rejected`` are text or the turns of the reply;
- implicit prompt: ``chosen`` and ``rejected`` are whole conversations; the prompt is the longest sequence of first
  turns that they share, of which both have at least one more. A ``prompt`` beside them, as some sets have it, repeats
  one of these turns, and nothing is made of it;
- LLaMA-Factory's: ``conversations`` and, as ``chosen`` and ``rejected``, one turn each; or ``instruction`` and
  ``input`` as in alpaca, and texts.
"""

from __future__ import annotations

from typing import Any

import orjson

from curate.io.cells import MISSING
from curate.io.faults import Bad
from curate.io.turns import KEYS, Conversation, Extra, Turns, beside, optional, read_turns, with_system, wrong

_Read = tuple[Turns, Extra]


def read_pair(
    names: dict[str, str], chosen: Any, rejected: Any, prompt: Any, context: Any, system: Any
) -> Conversation:
    """Return a pair as one conversation that ends in the chosen reply, and the rejected one beside it. Raises Bad.

    names: role → column, for what is said of a bad record.
    """
    replies = [_unpacked(chosen), _unpacked(rejected)]
    if str in map(type, replies):  # a reply may well be such JSON, where the other is none
        replies = [chosen, rejected]
    won, lost = (_reply(one, names[name]) for one, name in zip(replies, ("chosen", "rejected"), strict=True))
    asked = _prompt(prompt, names.get("prompt", "prompt"))
    if more := optional(context, names.get("input", "input")):
        nobody: _Read = ([("user", "")], [None])
        turns, extra = asked if asked and asked[0] else nobody
        role, said = turns[-1]
        asked = ([*turns[:-1], (role, f"{said}\n\n{more}" if said else more)], extra)
    if _whole(won[0]) != _whole(lost[0]):
        name = names["rejected" if _whole(won[0]) else "chosen"]
        raise Bad("read/no-common-prompt", f"{name!r} is no whole conversation, and the other reply is one")
    if _whole(won[0]):
        shared, won, lost = _split(won, lost, names)
        _repeats(asked, shared[0], names)
        asked = shared
    if asked is None:
        raise Bad(
            "read/missing-field",
            "'prompt' is missing, and 'chosen' and 'rejected' are no whole conversations",
        )
    asked = with_system(optional(system, names.get("system", "system")), *asked)
    return Conversation([*asked[0], *won[0]], beside([*asked[1], *won[1]]), lost[0], beside(lost[1]))


def _reply(value: Any, name: str) -> _Read:
    """Return a reply's turns: of text one, of one turn that one. Raises Bad."""
    if type(value) is str:
        return [("assistant", value)], [None]
    if type(value) is dict:
        value = [value]
    if type(value) is not list:
        raise wrong(value, name, "a string or a list of turns")
    return read_turns(value, name, None)


def _prompt(value: Any, name: str) -> _Read | None:
    """Return a prompt's turns: text is what the user says. Raises Bad."""
    value = _unpacked(value)
    if value is None or value is MISSING:
        return None
    if type(value) is str:
        return [("user", value)], [None]
    if type(value) is not list:
        raise wrong(value, name, "a string or a list of turns")
    return read_turns(value, name, None)


def _unpacked(value: Any) -> Any:
    """Return the turns that JSON text holds, as a csv field does; other text, JSON or not, stays as it is."""
    if type(value) is not str or value.lstrip()[:1] not in ("[", "{"):
        return value
    try:
        found = orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
    listed = found if type(found) is list else [found]
    turns = all(
        type(one) is dict and any(set(keys) <= one.keys() for keys in KEYS.values()) for one in listed
    )
    return found if listed and turns else value


def _whole(turns: Turns) -> bool:
    """Tell whether turns are a whole conversation rather than a reply, which the assistant begins."""
    return bool(turns) and turns[0][0] in ("user", "system")


def _split(won: _Read, lost: _Read, names: dict[str, str]) -> tuple[_Read, _Read, _Read]:
    """Return the turns that two conversations share from their beginning, then what remains of each. Raises Bad."""
    most = min(len(won[0]), len(lost[0])) - 1
    shared = 0
    while shared < most and all(won[k][shared] == lost[k][shared] for k in (0, 1)):
        shared += 1
    if won[0][shared][0] in ("user", "system") or lost[0][shared][0] in ("user", "system"):
        raise Bad(
            "read/no-common-prompt",
            f"{names['chosen']!r} and {names['rejected']!r} differ in turn {shared + 1}, which is not a reply",
        )
    first, mine, theirs = ((k[0][a:b], k[1][a:b]) for k, a, b in (
        (won, 0, shared), (won, shared, len(won[0])), (lost, shared, len(lost[0]))
    ))  # fmt: skip
    return first, mine, theirs


def _repeats(asked: _Read | None, shared: Turns, names: dict[str, str]) -> None:
    """Raise Bad if a prompt says what no turn that both conversations share says: which of them holds, nobody knows."""
    said = [content for _, content in shared]
    for _, content in asked[0] if asked else ():
        if not any(content.strip() in one for one in said):
            raise Bad(
                "read/no-common-prompt",
                f"{names.get('prompt', 'prompt')!r} is not among the turns that 'chosen' and 'rejected' share",
            )
