"""Plants personal data, foreign languages, broken conversations and missing licenses."""

from __future__ import annotations

from curate.demo import norwegian, sources
from curate.demo.drafts import Corpus, Draft, Turns, tries
from curate.demo.grammar import Draw, bank, join

ADDRESSED = {"support": 84, "forum": 26, "norsk": 10}
"""How many records of each source hold personal data."""
REPEATED = 3
"""In one of so many of these the answer holds the personal data, where a model would learn to say it."""

FOREIGN = 63
EMPTY = {"handbook": 14, "norsk": 6, "support": 6, "articles": 5}
BROKEN = {"support": 14, "forum": 10}
UNLICENSED, NONCOMMERCIAL = 36, 30

_UNKNOWN = (None, "other", "unknown", None, "see website")
_NOT_FOR_SALE = ("CC-BY-NC-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0")


def plant(corpus: Corpus) -> None:
    """Plant every kind, in new records that share nothing with the other plants."""
    _personal(corpus)
    _foreign(corpus)
    _empty(corpus)
    _broken(corpus)
    _licenses(corpus)


def _new(corpus: Corpus, draw: Draw, source: str) -> Draft:
    return sources.fresh(corpus, sources.SOURCES[source][0], draw)


def value(draw: Draw, entity: str) -> str:
    """Return an identifier that belongs to nobody; the bank ``pii`` names the ranges."""
    values = bank("pii")["values"]
    number = draw.between(0, 99)
    made: dict[str, str] = {
        "EMAIL_ADDRESS": f"{draw.pick(values['mailbox'])}@{draw.pick(values['domain'])}",
        "PHONE_NUMBER": draw.fill(
            "[({area}) 555-01{n}|{area}-555-01{n}|+1 {area} 555 01{n}]",
            area=draw.pick(values["area"]),
            n=f"{number:02}",
        ),
        "CREDIT_CARD": draw.pick(values["card"]),
        "IBAN_CODE": draw.pick(values["iban"]),
        "IP_ADDRESS": f"{draw.pick(values['network'])}.{draw.between(2, 250)}",
        # No social security number begins with 9, and no taxpayer number has a middle group below 50 (IRS
        # Publication 1915), so this range is never issued.
        "US_SSN": f"9{draw.between(10, 98)}-{draw.between(11, 39)}-{draw.between(1200, 9800)}",
    }
    return made[entity]


def _personal(corpus: Corpus) -> None:
    draw = corpus.draw("personal data")
    for source, count in ADDRESSED.items():
        said = bank("pii")[source]
        for number in range(count):
            kinds = draw.some(list(said), min(len(said), draw.pick([1, 1, 1, 2, 2, 3])))
            for _ in tries():
                draft = _new(corpus, draw, source)
                telling = [draw.fill(draw.pick(said[kind]), value=value(draw, kind)) for kind in kinds]
                speaker = "assistant" if number % REPEATED == 0 else "user"
                draft.turns = _appended(draft.turns, " ".join(telling), speaker)
                if corpus.is_new(draft):
                    break
            draft.plants.append({"plant": "pii", "stage": "pii", "types": dict.fromkeys(kinds, 1)})
            corpus.add(draft)


def _appended(turns: Turns, sentences: str, speaker: str) -> Turns:
    """Add sentences to the speaker's second turn, or its only one: the user's, or the answer that repeats them."""
    spoken = [i for i, (role, _) in enumerate(turns) if role == speaker]
    at = spoken[min(1, len(spoken) - 1)]
    role, content = turns[at]
    return (*turns[:at], (role, join(content, sentences)), *turns[at + 1 :])


def _foreign(corpus: Corpus) -> None:
    draw = corpus.draw("foreign")

    def page(values: Draw) -> Draft:
        return Draft("web", (("text", norwegian.foreign(values, language)),), "abroad")

    for number in range(FOREIGN):
        language = norwegian.LANGUAGES[number % len(norwegian.LANGUAGES)]
        draft = corpus.add(sources.fresh(corpus, page, draw))
        draft.plants.append({"plant": "wrong-language", "stage": "language", "language": language})


def _empty(corpus: Corpus) -> None:
    draw = corpus.draw("empty")
    for source, count in EMPTY.items():
        for _ in range(count):
            draft = _new(corpus, draw, source)
            (role, content), *rest = draft.turns
            nothing = draw.pick(["", "", " ", "\n"])
            if not rest or (role == "user" and draw.chance(0.25)):
                draft.turns, draft.given = ((role, nothing), *rest), ""
            else:
                draft.turns = ((role, content), *rest[:-1], (rest[-1][0], nothing))
            draft.plants.append({"plant": "empty", "stage": "conversation"})
            corpus.drafts[source].append(draft)  # not into the index: all empty texts are alike


def _broken(corpus: Corpus) -> None:
    draw = corpus.draw("broken")
    for source, count in BROKEN.items():
        for number in range(count):
            draft = _new(corpus, draw, source)
            asked = next(i for i, (role, _) in enumerate(draft.turns) if role == "user")
            question = draft.turns[asked]
            if number % 2:
                again = (
                    "user",
                    draw.pick(["Is anybody there?", "Hello? Has anyone seen my message?", "Any news?"]),
                )
                draft.turns = (*draft.turns[: asked + 1], again, *draft.turns[asked + 1 :])
            else:
                draft.turns = (*draft.turns[:asked], question)
            draft.plants.append({"plant": "broken", "stage": "conversation"})
            corpus.drafts[source].append(draft)


def _licenses(corpus: Corpus) -> None:
    draw = corpus.draw("licenses")
    for kind, count, stated in (
        ("unlicensed", UNLICENSED, _UNKNOWN),
        ("noncommercial", NONCOMMERCIAL, _NOT_FOR_SALE),
    ):
        for _ in range(count):
            draft = corpus.add(_new(corpus, draw, "forum"))
            draft.license = draw.pick(stated)
            draft.plants.append({"plant": kind, "stage": "license"})
