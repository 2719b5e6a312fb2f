"""Questions and answers about cooking, gardens, repairs, journeys, science, code and texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from curate.demo import pages, sums
from curate.demo.grammar import Draw, bank, join, listed, sentence


class Exchange(NamedTuple):
    """One question with its answer, and perhaps a second question about the same thing."""

    topic: str
    question: str
    answer: str
    given: str = ""  # a text that the question is about: alpaca's `input`
    follow: tuple[str, str] | None = None


def cooking(draw: Draw) -> Exchange:
    """Talk about one food, a soup of it, or two foods on one plate."""
    kitchen = bank("cooking")
    ask, talk = kitchen["ask"], kitchen["talk"]
    food = draw.pick(kitchen["food"])
    if food["name"] in talk["soup"] and draw.chance(0.2):
        return _soup(draw, food["name"], talk)
    if draw.chance(0.15):
        return _plate(draw, food, draw.pick([f for f in kitchen["food"] if f is not food]), talk)
    return _about(draw, "cooking", food, ask, talk["context"])


def _soup(draw: Draw, name: str, talk: dict[str, Any]) -> Exchange:
    herb, finish = draw.pick(talk["herb"]), draw.pick(talk["finish"])
    question = draw.fill(
        "[Write a simple recipe for a soup with {name}|How do I make a soup of {name}|Give me a soup recipe"
        " that uses {name}], seasoned with {herb}[.|, please.]",
        name=name,
        herb=herb,
    )
    question = question.rstrip(".") + "?" if question.startswith("How") else question
    steps = [draw.fill(step, name=name, herb=herb, finish=finish) for step in talk["soup_step"]]
    servings = draw.pick(["Serves four", "Enough for four bowls", "Makes supper for three and a lunch box"])
    text = listed(steps) if draw.chance(0.5) else " ".join(steps)
    return Exchange("cooking", question, f"{servings}.\n\n{text}\n\n{pages.tip(draw, 'cooking', 'cook')}")


def _plate(draw: Draw, first: dict[str, str], second: dict[str, str], talk: dict[str, Any]) -> Exchange:
    question = draw.fill(
        "[What can I make with {a} and {b}?|I have {a} and {b} in the house. Any ideas for supper?"
        "|Can {a} and {b} go on one plate?]",
        a=first["name"],
        b=second["name"],
    )
    answer = join(
        draw.pick(
            [
                "Yes, and without much work.",
                "Certainly.",
                "Treat them one by one and bring them together at the end.",
            ]
        ),
        first["cook"],
        second["cook"],
        draw.pick([first, second])["pair"],
        pages.tip(draw, "cooking", "pair"),
    )
    return Exchange("cooking", join(question, _maybe(draw, talk["context"])), answer)


def gardening(draw: Draw) -> Exchange:
    """Talk about one plant."""
    garden = bank("gardening")
    plant = draw.pick(garden["plant"])
    return _about(
        draw, "gardening", {"crop": plant["name"], **plant}, garden["ask"], garden["talk"]["context"]
    )


def travel(draw: Draw) -> Exchange:
    """Talk about one city, or plan a few days there."""
    guide = bank("travel")
    city, ask, talk = draw.pick(guide["city"]), guide["ask"], guide["talk"]
    if not draw.chance(0.35):
        return _about(draw, "travel", city, {key: ask[key] for key in ask if key != "plan"}, talk["context"])
    question = draw.fill(
        draw.pick(ask["plan"]), name=city["name"], who=draw.pick(talk["who"]), month=draw.pick(talk["month"])
    )
    days = [
        f"Day one: {city['see']} {city['eat']}",
        f"Day two: {city['day']} {pages.tip(draw, 'travel', 'day')}",
        draw.pick([f"Getting around: {city['move']}", f"When to go: {city['when']}"]),
    ]
    return Exchange("travel", sentence(question), "\n\n".join(days))


# What an answer may go on to say after the side of the matter that was asked about.
_NEXT = {
    "cook": "wrong", "wrong": "cook", "store": "buy", "buy": "store", "pair": "cook",
    "sow": "place", "place": "sow", "water": "trouble", "trouble": "water", "harvest": "trouble",
    "see": "eat", "eat": "see", "move": "day", "day": "move", "when": "see",
}  # fmt: skip


def _about(
    draw: Draw, topic: str, entry: dict[str, str], ask: dict[str, list[str]], context: list[str]
) -> Exchange:
    """Ask about one side of an entry, answer with it, and keep another side for a second question."""
    first, second = draw.shuffled(list(ask))[:2]
    question = join(*draw.shuffled([draw.fill(draw.pick(ask[first]), **entry), _maybe(draw, context)]))
    more = entry[_NEXT[first]] if _NEXT[first] != second and draw.chance(0.8) else ""
    answer = join(entry[first], more, pages.tip(draw, topic, first))
    again = draw.fill(draw.pick(ask[second]), **entry)
    follow = join(entry[second], pages.tip(draw, topic, second))
    return Exchange(topic, question, answer, follow=(again, follow))


def repair(draw: Draw) -> Exchange:
    """Describe a fault in the house and get help."""
    workshop = bank("repair")
    problem, ask, talk = draw.pick(workshop["problem"]), workshop["ask"], workshop["talk"]
    kind = draw.pick(["full", "full", "cause", "tools"])
    wanted = draw.fill(draw.pick(ask[kind]), name=problem["name"])
    told = "" if kind == "tools" else problem["say"]
    question = join(told, _maybe(draw, talk["context"]), wanted)
    steps = listed(problem["steps"]) if draw.chance(0.6) else " ".join(problem["steps"])
    tools = f"You need {problem['tools']}."
    closing = join(problem["stop"], draw.pick(talk["closing"]))
    if kind == "cause":
        answer = join(problem["cause"], tools, closing)
    elif kind == "tools":
        answer = join(tools, problem["cause"], closing)
    else:
        answer = f"{join(draw.pick(talk['opening']), problem['cause'], tools)}\n\n{steps}\n\n{closing}"
    return Exchange("household repair", question, answer)


def science(draw: Draw) -> Exchange:
    """Explain a thing of nature or history."""
    school = bank("science")
    topic, talk = draw.pick(school["topic"]), school["talk"]
    frame = draw.pick(school["ask"]["frames"])
    question = draw.fill(frame, name=topic["name"], ask=topic["ask"])
    if "three facts" in frame:
        answer = listed(draw.some(topic["facts"], 3))
    else:
        opening, closing = _maybe(draw, talk["opening"]), _maybe(draw, talk["closing"])
        answer = join(opening, *draw.some(topic["facts"], draw.between(3, 4)), closing)
    rest = [fact for fact in topic["facts"] if fact not in answer]
    again = f"Is there more to know about {topic['name']}?"
    return Exchange(
        "science and history", question, answer, follow=(again, join("Yes.", *rest)) if rest else None
    )


def programming(draw: Draw) -> Exchange:
    """Ask how something is done in code."""
    desk = bank("programming")
    task, talk = draw.pick(desk["task"]), desk["talk"]
    question = join(draw.pick(task["ask"]), _maybe(draw, talk["context"]))
    language = {
        "SQL": "sql",
        "git": "sh",
        "bash": "sh",
        "JavaScript": "js",
        "CSS": "css",
        "Docker": "dockerfile",
    }
    code = f"```{language.get(task['lang'], 'python')}\n{task['code'].strip()}\n```"
    after = join(task["why"], *draw.shuffled([task["trap"], _maybe(draw, talk["closing"])]))
    return Exchange("programming", question, f"{draw.pick(talk['opening'])}\n\n{code}\n\n{after}")


def arithmetic(draw: Draw) -> Exchange:
    """Solve a word problem step by step."""
    question, answer = sums.problem(draw)
    return Exchange("arithmetic", question, answer)


def task(draw: Draw) -> Exchange:
    """Do something with a given text: classify, rewrite, extract."""
    tasks = bank("tasks")
    kind = draw.pick(["sentiment", "sentiment", "rewrite", "extract"])
    if kind == "sentiment":
        review = pages.review(draw)
        return Exchange(
            "text tasks", draw.pick(tasks["sentiment"]), review.mood.capitalize(), given=review.text
        )
    if kind == "rewrite":
        message = draw.pick(tasks["rewrite"])
        answer = f"{message['polite']}\n\n{draw.pick(tasks['ask']['explain'])}"
        return Exchange("text tasks", draw.pick(tasks["ask"]["rewrite"]), answer, given=message["blunt"])
    notice = pages.event(draw)
    answer = json.dumps({"what": notice.what, "where": notice.where, "when": notice.when}, indent=2)
    return Exchange("text tasks", draw.pick(tasks["extract"]["ask"]), answer, given=notice.text)


def _maybe(draw: Draw, phrases: list[str]) -> str:
    return draw.pick(phrases) if draw.chance(0.6) else ""


DOMAINS: dict[Callable[[Draw], Exchange], int] = {
    cooking: 24,
    gardening: 17,
    science: 18,
    travel: 15,
    repair: 9,
    programming: 9,
    arithmetic: 10,
    task: 8,
}
"""What people talk about, with weights."""


def exchange(draw: Draw, domains: dict[Callable[[Draw], Exchange], int] = DOMAINS) -> Exchange:
    """Return an exchange about anything."""
    number = draw.below(sum(domains.values()))
    for domain, weight in domains.items():
        if number < weight:
            return domain(draw)
        number -= weight
    raise AssertionError("unreachable: the weights add up")
