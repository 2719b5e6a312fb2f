"""Arithmetic word problems: the numbers are drawn, and the answer is worked out from them.

Each function returns the slots of one problem of the bank ``sums``: what is given and what follows from it.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.demo.grammar import Draw, bank, join

Slots = dict[str, object]


def _shopping(draw: Draw) -> Slots:
    count, price, paid = draw.between(3, 9), draw.between(4, 17), 200
    who = draw.pick(["A teacher", "A scout leader", "The caretaker", "A grandmother"])
    thing = draw.pick(["notebooks", "candles", "tins of paint", "tulip bulbs", "concert tickets"])
    total = count * price
    return {**locals(), "change": paid - total}


def _journey(draw: Draw) -> Slots:
    vehicle = draw.pick(["train", "coach", "delivery van", "tourist bus"])
    speed, hours, further = 10 * draw.between(4, 10), draw.between(2, 6), draw.between(11, 95)
    first = speed * hours
    return {**locals(), "total": first + further}


def _recipe(draw: Draw) -> Slots:
    people, grams, guests = 4, 50 * draw.between(3, 12), draw.between(5, 14)
    food = draw.pick(["flour", "rice", "pasta", "sugar", "butter"])
    return {**locals(), "each": f"{grams / people:g}", "total": f"{grams / people * guests:g}"}


def _fence(draw: Draw) -> Slots:
    length, width = draw.between(6, 30), draw.between(4, 20)
    around = 2 * (length + width)
    return {**locals(), "posts": around // 2}


def _discount(draw: Draw) -> Slots:
    thing = draw.pick(["winter coat", "bookcase", "bicycle helmet", "rucksack", "coffee grinder", "lamp"])
    price, percent = 20 * draw.between(3, 45), draw.pick([5, 10, 15, 20, 25, 30, 35, 40])
    off = price * percent // 100
    return {**locals(), "now": price - off}


def _pages(draw: Draw) -> Slots:
    daily, days, left = draw.between(12, 48), draw.between(4, 11), draw.between(15, 180)
    read = daily * days
    return {**locals(), "total": read + left}


def _orchard(draw: Draw) -> Slots:
    trees, each, sold = draw.between(5, 24), draw.between(30, 95), draw.between(60, 140)
    picked = trees * each
    return {**locals(), "rest": picked - sold}


def _mean(draw: Draw) -> Slots:
    values = [draw.between(3, 28) for _ in range(4)]
    last = draw.between(3, 24)
    values.append(last - (sum(values) + last) % 5 + 5)  # so that the mean is whole
    words = [str(value) for value in values]
    shown, added = f"{', '.join(words[:-1])} and {words[-1]}", " + ".join(words)
    return {"shown": shown, "added": added, "total": sum(values), "mean": sum(values) // 5}


def _tank(draw: Draw) -> Slots:
    flow, leak, minutes = draw.between(14, 40), draw.between(2, 9), draw.between(6, 25)
    gain = flow - leak
    return {**locals(), "total": minutes * gain}


def _tiles(draw: Draw) -> Slots:
    length, width, side = draw.between(3, 9), draw.between(2, 6), draw.pick([20, 25, 50])
    along, across = length * 100 // side, width * 100 // side
    return {**locals(), "total": along * across}


def _ages(draw: Draw) -> Slots:
    young, factor, years = draw.between(13, 18), draw.between(4, 5), draw.between(2, 12)
    old = young * factor
    today = young + old
    return {**locals(), "then": today + 2 * years}


def _savings(draw: Draw) -> Slots:
    thing = draw.pick(["a guitar", "a pair of skis", "a telescope", "a second-hand bicycle", "a drum"])
    weekly, have, weeks = draw.between(6, 35), draw.between(20, 120), draw.between(5, 22)
    missing = weekly * weeks
    return {**locals(), "goal": have + missing}


def _eggs(draw: Draw) -> Slots:
    hens, days = draw.between(7, 40), draw.between(3, 14)
    eggs = hens * days
    boxes, rest = divmod(eggs, 6)
    over = {0: "no egg is", 1: "one egg is"}.get(rest, f"{rest} eggs are")
    return locals()


def _speed(draw: Draw) -> Slots:
    who = draw.pick(["A cyclist", "A skater", "A tram", "A farmer on a tractor"])
    speed, minutes = 6 * draw.between(2, 5), draw.pick([5, 10, 15, 20, 25, 35, 40, 50])
    each = speed * 1000 // 60  # whole, as speed is a multiple of 6
    return {**locals(), "total": minutes * each}


PROBLEMS: dict[str, Callable[[Draw], Slots]] = {
    "shopping": _shopping,
    "journey": _journey,
    "recipe": _recipe,
    "fence": _fence,
    "discount": _discount,
    "pages": _pages,
    "orchard": _orchard,
    "mean": _mean,
    "tank": _tank,
    "tiles": _tiles,
    "ages": _ages,
    "savings": _savings,
    "eggs": _eggs,
    "speed": _speed,
}
"""Problem of the bank → what draws its numbers."""


def problem(draw: Draw, values: Draw | None = None) -> tuple[str, str]:
    """Return a word problem and its worked answer; the numbers come from values, if it is given."""
    name = draw.pick(list(PROBLEMS))
    text, slots = bank("sums")[name], PROBLEMS[name](values or draw)
    question = draw.fill(text["question"], **slots)
    return join(question, draw.pick(bank("sums")["asked"])), draw.fill(text["answer"], **slots)
