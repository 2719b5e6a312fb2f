"""Plants hard negatives: records that share a template, or a whole question or answer, and are distinct.

Each template takes two draws. The first chooses the phrases and starts anew for every member of a family, so
that all members read alike; the second chooses names, numbers and facts.
"""

from __future__ import annotations

from collections.abc import Callable

from curate.demo import pages, service, sums
from curate.demo.drafts import Corpus, Draft, tries
from curate.demo.duplicates import parts
from curate.demo.grammar import Draw, bank, join

Template = Callable[[Draw, Draw], Draft]

TEMPLATED = (0.5, 0.68)
"""Of any two members, one part is at least as similar as the first number and one at most as the second."""


def _answers(phrases: Draw, values: Draw) -> Draft:
    """Ask the same question, and choose other facts for the answer."""
    school = bank("science")
    topic = phrases.pick(school["topic"])
    question = phrases.fill(phrases.pick(school["ask"]["frames"]), **topic)
    answer = join(phrases.pick(school["talk"]["opening"]), *values.some(topic["facts"], 3))
    return Draft("handbook", (("user", question), ("assistant", answer)), "science and history")


def _labels(phrases: Draw, values: Draw) -> Draft:
    """Give the same label to another review."""
    instruction, mood = (
        phrases.pick(bank("tasks")["sentiment"]),
        phrases.pick(["positive", "negative", "mixed"]),
    )
    review = next(found for found in (pages.review(values) for _ in tries()) if found.mood == mood)
    turns = (("user", instruction), ("assistant", mood.capitalize()))
    return Draft("handbook", turns, "text tasks", given=review.text)


def _numbers(phrases: Draw, values: Draw) -> Draft:
    """Put other numbers into the same word problem."""
    question, answer = sums.problem(phrases, values)
    return Draft("handbook", (("user", question), ("assistant", answer)), "arithmetic")


def _tickets(phrases: Draw, values: Draw) -> Draft:
    """Have another customer go through the same conversation."""
    ticket = service.ticket(phrases, values)
    return Draft("support", tuple(ticket.turns), ticket.issue)


def _notices(phrases: Draw, values: Draw) -> Draft:
    """Announce the same kind of event at another place and time."""
    return Draft("web", (("text", pages.event(phrases, values).text),), "notice")


FAMILIES: dict[str, tuple[Template, int]] = {
    "answers": (_answers, 12),
    "labels": (_labels, 10),
    "numbers": (_numbers, 14),
    "tickets": (_tickets, 12),
    "notices": (_notices, 10),
}
"""Templates and how many families of two to four records each has."""


def plant(corpus: Corpus) -> None:
    """Plant all families."""
    for name, (template, families) in FAMILIES.items():
        for number in range(1, families + 1):
            cluster = f"{name}-{number}"
            for member in _family(corpus, template, cluster):
                member.plants.append({"plant": "hard-negative", "stage": "minhash", "cluster": cluster})


def _family(corpus: Corpus, template: Template, cluster: str) -> list[Draft]:
    """Add a family; some phrases leave too little or too much to the values, and then others are tried."""
    for attempt in tries():
        size = corpus.draw(f"{cluster} {attempt}").between(2, 4)
        values = corpus.draw(f"{cluster} {attempt} values")
        family: list[Draft] = []
        for _ in range(30):
            draft = template(corpus.draw(f"{cluster} {attempt} phrases"), values)
            if corpus.is_new(draft) and all(_look_alike(draft, member) for member in family):
                family.append(draft)
            if len(family) == size:
                return [corpus.add(member) for member in family]
    raise RuntimeError(f"{cluster}: no phrases give {TEMPLATED} as similarities")


def _look_alike(a: Draft, b: Draft) -> bool:
    """Tell whether two records are similar in one part, and in another not enough to be duplicates."""
    prompts, responses = parts(a, b)
    similar = [prompts, responses] if a.prompt else [responses]
    return max(similar) >= TEMPLATED[0] and min(similar) <= TEMPLATED[1]
