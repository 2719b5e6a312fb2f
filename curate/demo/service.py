"""Customer support: conversations of several turns about an order, an account or a broken thing."""

from __future__ import annotations

from typing import NamedTuple

from curate.demo.grammar import Draw, bank, join, sentence

Turns = list[tuple[str, str]]  # (role, content)


class Ticket(NamedTuple):
    """A support conversation."""

    issue: str
    turns: Turns


def ticket(draw: Draw, values: Draw | None = None) -> Ticket:
    """Return a conversation: complaint, question back, answer, solution and perhaps thanks.

    The phrases come from draw; names and numbers come from values, if it is given.
    """
    shop = bank("support")
    issue, talk = draw.pick(shop["issue"]), shop["talk"]
    slots = _slots(values or draw, issue.get("products", shop["products"]))

    def say(phrases: list[str]) -> str:
        return sentence(draw.fill(draw.pick(phrases), **slots))

    turns: Turns = []
    if draw.chance(0.3):
        turns.append(("system", draw.pick(talk["system"])))
    turns.append(("user", join(draw.pick(talk["hello"]), say(issue["say"]))))
    turns.append(("assistant", say(issue["ask"])))
    turns.append(("user", say(issue["reply"])))
    turns.append(("assistant", say(issue["fix"])))
    if draw.chance(0.7):
        turns.append(("user", draw.pick(talk["thanks"])))
        turns.append(("assistant", draw.pick(talk["bye"])))
    return Ticket(issue["name"], turns)


def _slots(draw: Draw, products: list[str]) -> dict[str, object]:
    shop = bank("support")
    talk = shop["talk"]
    month, plan = draw.pick(talk["month"]), draw.pick(shop["subscriptions"])
    return {
        "product": draw.pick(products),
        "plan": plan,
        "plan_start": sentence(plan),
        "town": draw.pick(talk["town"]),
        "colour": draw.pick(talk["colour"]),
        "month": month,
        "date": f"{draw.between(2, 28)} {month}",
        "days": draw.between(4, 19),
        "n": draw.between(3, 9),
        "year": draw.between(2017, 2024),
        "percent": draw.pick([40, 60, 70, 80, 90]),
        "amount": f"{draw.between(12, 240)} euros",
        "version": f"{draw.between(2, 9)}.{draw.between(0, 9)}",
        "order": f"{draw.pick('ABKLNT')}-{draw.between(1200, 9800)}",
    }
