"""Questions and answers in Norwegian, and paragraphs in the languages that the starter recipe drops."""

from __future__ import annotations

from curate.demo.grammar import Draw, bank, join, listed, sentence
from curate.demo.knowledge import Exchange


def exchange(draw: Draw) -> Exchange:
    """Return a question about one Norwegian topic, or about two."""
    norsk = bank("norsk")
    tema, ramme = norsk["tema"], norsk["ramme"]
    if draw.chance(0.3):
        first, second = draw.shuffled(tema)[:2]
        return _two(draw, first, second, ramme)
    topic = draw.pick(tema)
    frame = draw.pick(ramme["spor"])
    question = sentence(draw.fill(frame, **topic))
    if "tre råd" in frame:
        return Exchange(topic["navn"], question, listed(draw.some(topic["fakta"], 3)))
    facts = draw.some(topic["fakta"], draw.between(3, 4))
    answer = join(draw.pick(ramme["aapning"]), *facts, draw.pick(ramme["slutt"]))
    return Exchange(topic["navn"], question, answer)


def _two(draw: Draw, a: dict[str, str], b: dict[str, str], ramme: dict[str, list[str]]) -> Exchange:
    slots = {"a": a["navn"], "b": b["navn"], "sa": a["spor"], "sb": b["spor"]}
    question = draw.fill(draw.pick(ramme["to"]), **slots)
    first, second = (" ".join(draw.some(topic["fakta"], draw.between(2, 3))) for topic in (a, b))
    between = draw.fill(draw.pick(ramme["mellom"]), **slots)
    return Exchange(a["navn"], question, f"{first}\n\n{between} {second}")


def foreign(draw: Draw, language: str) -> str:
    """Return a document of two paragraphs in a language of the bank ``languages``."""
    topics = draw.shuffled(bank("languages")[language]["topics"])[:2]
    return "\n\n".join(" ".join(draw.some(lines, draw.between(2, 4))) for lines in topics)


LANGUAGES = ("de", "es", "fi", "fr", "it", "nl", "pl", "pt", "sv")
