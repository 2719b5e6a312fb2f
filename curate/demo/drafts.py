"""A record of the demo corpus before it is written: content, description, and what was planted in it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from curate.demo.grammar import Draw, bank
from curate.demo.knowledge import Exchange
from curate.demo.similarity import Neighbours

Turns = tuple[tuple[str, str], ...]  # (role, content); a document is one turn of role 'text'

ALIKE = 0.7
"""Unplanted records, and hard negatives, stay below this similarity to every other record."""

_MOST_TRIES = 200


@dataclass
class Draft:
    """One record in the making."""

    source: str
    turns: Turns
    topic: str
    given: str = ""  # alpaca's `input`; empty in other formats
    title: str = ""  # of an article
    license: str | None = None  # the record's own, where its source has such a column
    plants: list[dict[str, Any]] = field(
        default_factory=list
    )  # lines of the truth, still without source and id
    id: str = ""  # value of the id column, given when the source is complete

    @property
    def prompt(self) -> str:
        """What a model is shown: every turn that is not the assistant's; nothing for a document."""
        shown = [content for role, content in self.turns if role not in ("assistant", "text")]
        return "\n\n".join([*shown, self.given] if self.given else shown)

    @property
    def response(self) -> str:
        """What a model learns to say: the assistant's turns, or the document."""
        return "\n\n".join(content for role, content in self.turns if role in ("assistant", "text"))

    def copy(self, **changes: Any) -> Draft:
        """Return a copy without the plants and the id."""
        return replace(self, plants=[], id="", **changes)


class Corpus:
    """All drafts so far, by source, and an index that keeps accidental duplicates out."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.drafts: dict[str, list[Draft]] = {}
        self.all: list[Draft] = []  # as numbered in the index
        self.index = Neighbours()

    def draw(self, name: str) -> Draw:
        """Return choices of their own for one part of the corpus, so that no part moves the others."""
        return Draw(self.seed, name)

    def add(self, draft: Draft) -> Draft:
        """Take a draft in."""
        self.drafts.setdefault(draft.source, []).append(draft)
        self.all.append(draft)
        self.index.add(draft.prompt, draft.response)
        return draft

    def is_new(self, draft: Draft, *, family: tuple[Draft, ...] = (), limit: float = ALIKE) -> bool:
        """Tell whether no draft but those of its family comes as close as the limit."""
        close = [n for score, n in self.index.near(draft.prompt, draft.response) if score >= limit]
        return all(any(self.all[n] is member for member in family) for n in close)

    def unplanted(self, source: str) -> list[Draft]:
        """Return the drafts of a source in which nothing is planted yet."""
        return [draft for draft in self.drafts[source] if not draft.plants]


def tries() -> range:
    """Return how often something is drawn again before giving up."""
    return range(_MOST_TRIES)


def single(source: str, exchange: Exchange) -> Draft:
    """Return an exchange as a conversation of one question and one answer."""
    turns = (("user", exchange.question), ("assistant", exchange.answer))
    return Draft(source, turns, exchange.topic, given=exchange.given)


def threaded(draw: Draw, exchange: Exchange) -> Draft:
    """Return an exchange as it would go in a forum: with a greeting, thanks and perhaps a second question."""
    talk = bank("forum")
    asked = f"{exchange.question}\n\n{exchange.given}" if exchange.given else exchange.question
    asked = " ".join(filter(None, (draw.pick(talk["hello"]), asked, draw.pick(talk["thanks"]))))
    turns = [("user", asked), ("assistant", exchange.answer)]
    if exchange.follow and draw.chance(0.6):
        turns.append(("user", draw.fill(draw.pick(talk["follow"]), q=exchange.follow[0])))
        turns.append(("assistant", exchange.follow[1]))
    return Draft("forum", tuple(turns), exchange.topic)
