"""Documents: short pages from the web, and longer articles made of a bank's entries."""

from __future__ import annotations

from typing import Any, NamedTuple

from curate.demo.grammar import Draw, bank, join, listed, sentence


class Review(NamedTuple):
    """What somebody thinks of a product."""

    text: str
    mood: str  # positive | negative | mixed


class Event(NamedTuple):
    """A notice and what it announces."""

    text: str
    what: str
    where: str
    when: str


class Page(NamedTuple):
    """A document with its topic and, for articles, its title."""

    topic: str
    text: str
    title: str = ""


def review(draw: Draw) -> Review:
    """Praise a product, complain about it, or both."""
    page, product = bank("web")["page"], draw.pick(bank("web")["product"])
    mood = draw.pick(["positive", "negative", "mixed"])
    plus, minus = product["plus"], product["minus"]
    slots = {"month": draw.pick(bank("support")["talk"]["month"]), "n": draw.between(2, 11)}
    if mood == "positive":
        said = [draw.pick(page["good"]), *draw.shuffled(plus)[:3], draw.pick(page["good_end"])]
    elif mood == "negative":
        said = [draw.pick(page["bad"]), *draw.shuffled(minus)[:3], draw.pick(page["bad_end"])]
    else:
        said = [
            *draw.shuffled(plus)[:2],
            "On the other hand:",
            *draw.shuffled(minus)[:2],
            draw.pick(page["mixed_end"]),
        ]
    heading = sentence(draw.pick([f"the {product['name']}", product["name"], f"my new {product['name']}"]))
    return Review(f"{heading}: {draw.fill(' '.join(said), **slots)}", mood)


def event(draw: Draw, values: Draw | None = None) -> Event:
    """Announce something in a village; names and dates come from values, if it is given."""
    page = bank("web")["page"]
    notice = draw.pick(bank("web")["event"])
    values = values or draw
    slots: dict[str, Any] = {key: values.pick(page[key]) for key in ("season", "place", "village", "topic")}
    slots |= {"day": values.between(2, 28), "month": values.pick(bank("support")["talk"]["month"])}
    text = join(draw.fill(notice["text"], **slots), *draw.shuffled(page["event_more"])[: draw.between(2, 4)])
    where = draw.fill(notice["where"], **slots)
    return Event(text, notice["what"], where, f"{slots['day']} {slots['month']}")


def web_page(draw: Draw) -> Page:
    """Return a short page of any kind."""
    kind = draw.pick(["review", "event", "news", "sale", "guide", "guide"])
    page = bank("web")["page"]
    if kind == "review":
        return Page("review", review(draw).text)
    if kind == "event":
        return Page("notice", event(draw).text)
    if kind == "sale":
        offer = draw.fill(
            draw.pick(page["sale"]), thing=draw.pick(page["thing"]), state=draw.pick(page["state"])
        )
        return Page("small ads", join(offer, *draw.shuffled(page["sale_more"])[: draw.between(3, 4)]))
    if kind == "guide":
        return _guide(draw)
    slots: dict[str, Any] = {key: draw.pick(page[key]) for key in ("season", "place", "village", "club")}
    slots |= {"n": draw.between(3, 14), "month": draw.pick(bank("support")["talk"]["month"])}
    text = draw.fill(draw.pick(page["news"]), **slots)
    return Page("club news", join(text, *draw.shuffled(page["news_more"])[: draw.between(2, 4)]))


def _guide(draw: Draw) -> Page:
    """A how-to about one plant, food or city, with a heading and two paragraphs."""
    name, key, order = draw.pick([_PLANT, _FOOD, _CITY])
    entry = draw.pick(bank(name)[key])
    sides = draw.some(order, draw.between(3, 4))
    heading = sentence(draw.fill(draw.pick(_HEADINGS[name]), name=entry["name"]))
    first, last = join(*(entry[side] for side in sides[:2])), join(*(entry[side] for side in sides[2:]))
    return Page(
        name, f"{heading}\n\n{first} {tip(draw, name, sides[1])}\n\n{last} {tip(draw, name, sides[-1])}"
    )


def tip(draw: Draw, name: str, side: str) -> str:
    """Return a piece of general advice that suits one side of a bank's entries."""
    advice: str = draw.pick(bank(name)["tip"][side])
    return advice


_PLANT = ("gardening", "plant", ("sow", "place", "water", "trouble", "harvest"))
_FOOD = ("cooking", "food", ("buy", "store", "pair", "wrong", "cook"))
_CITY = ("travel", "city", ("see", "eat", "move", "day", "when"))
_HEADINGS = {
    "gardening": [
        "Growing {name}",
        "All about {name}",
        "{name} for beginners",
        "How to grow {name}",
        "Our advice on {name}",
    ],
    "cooking": [
        "Cooking with {name}",
        "{name}: what to know",
        "In season: {name}",
        "The kitchen guide to {name}",
    ],
    "travel": ["A weekend in {name}", "{name} in brief", "What to do in {name}", "First time in {name}"],
}


_ENTRIES = {
    "garden": ("gardening", "plant"),
    "city": ("travel", "city"),
    "science": ("science", "topic"),
    "food": ("cooking", "food"),
    "home": ("repair", "problem"),
}


def article(draw: Draw) -> Page:
    """Return a longer document about two things of one kind."""
    kind = draw.pick(["garden", "city", "science", "science", "food", "food", "home"])
    frame = bank("articles")[kind]
    source, key = _ENTRIES[kind]
    first, second = draw.shuffled(bank(source)[key])[:2]
    slots = {"a": first["name"], "b": second["name"], "ask": second.get("ask", "")}
    slots |= {"A": sentence(slots["a"]), "B": sentence(slots["b"])}
    intro, bridge, outro = (
        draw.fill(draw.pick(frame[part]), **slots) for part in ("intro", "bridge", "outro")
    )
    title = sentence(draw.fill(draw.pick(frame["title"]), **slots))
    paragraphs = [intro, *_paragraphs(draw, kind, first), bridge, *_paragraphs(draw, kind, second), outro]
    return Page(source, "\n\n".join([title, *paragraphs]), title)


def _paragraphs(draw: Draw, kind: str, entry: dict[str, Any]) -> list[str]:
    """Return what an article says of one entry: two or three paragraphs."""
    if kind == "science":
        cut = draw.between(2, 3)
        return [" ".join(entry["facts"][:cut]), " ".join(entry["facts"][cut:])]
    if kind == "home":
        steps = listed(entry["steps"])
        return [join(entry["say"], entry["cause"]), f"We needed {entry['tools']}.\n\n{steps}", entry["stop"]]
    source, _, order = {"garden": _PLANT, "city": _CITY, "food": _FOOD}[kind]
    said = [entry[side] for side in order]
    return [
        " ".join(said[:2]),
        join(said[2], tip(draw, source, order[2])),
        join(*said[3:], tip(draw, source, order[4])),
    ]
