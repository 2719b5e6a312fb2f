"""The demo's sources before anything is planted: how many records each has and where they come from."""

from __future__ import annotations

from collections.abc import Callable

from curate.demo import knowledge, norwegian, pages, service
from curate.demo.drafts import Corpus, Draft, single, threaded, tries
from curate.demo.grammar import Draw

PERMITTED = ("CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0", "MIT", "Apache-2.0")
"""Licenses in the forum's column that allow commercial use."""


def handbook(draw: Draw) -> Draft:
    """Return a question with its answer."""
    return single("handbook", knowledge.exchange(draw))


def support(draw: Draw) -> Draft:
    """Return a support conversation."""
    ticket = service.ticket(draw)
    return Draft("support", tuple(ticket.turns), ticket.issue)


def forum(draw: Draw) -> Draft:
    """Return a thread with a license of its own that allows commercial use."""
    draft = threaded(draw, knowledge.exchange(draw))
    draft.license = draw.pick(PERMITTED)
    return draft


def articles(draw: Draw) -> Draft:
    """Return a long document."""
    article = pages.article(draw)
    return Draft("articles", (("text", article.text),), article.topic, title=article.title)


def norsk(draw: Draw) -> Draft:
    """Return a question with its answer in Norwegian."""
    return single("norsk", norwegian.exchange(draw))


def web(draw: Draw) -> Draft:
    """Return a short document."""
    page = pages.web_page(draw)
    return Draft("web", (("text", page.text),), page.topic)


SOURCES: dict[str, tuple[Callable[[Draw], Draft], int]] = {
    "handbook": (handbook, 720),
    "support": (support, 410),
    "forum": (forum, 430),
    "articles": (articles, 230),
    "norsk": (norsk, 330),
    "web": (web, 380),
}
"""Each source's generator and the number of its records before planting."""


def sow(corpus: Corpus) -> None:
    """Fill every source with records that are all distinct."""
    for name, (make, count) in SOURCES.items():
        draw = corpus.draw(name)
        for _ in range(count):
            corpus.add(fresh(corpus, make, draw))


def fresh(corpus: Corpus, make: Callable[[Draw], Draft], draw: Draw) -> Draft:
    """Return a draft that resembles none so far. Raises RuntimeError if the banks are exhausted."""
    for _ in tries():
        draft = make(draw)
        if corpus.is_new(draft):
            return draft
    raise RuntimeError(
        f"{make.__name__}: the phrase banks have no new record left; add phrases or ask for fewer"
    )
