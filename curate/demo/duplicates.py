"""Plants exact duplicates and near duplicates."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence

from curate.demo.drafts import Corpus, Draft, Turns, tries
from curate.demo.edits import edited
from curate.demo.grammar import Draw
from curate.demo.similarity import jaccard, shingles
from curate.demo.sources import PERMITTED

NEAR = 0.82
"""Least similarity of any two members of a near-duplicate cluster: above 0.8 by a margin, so that a tokeniser
that cuts words a little differently agrees. In short texts `minhash` counts symbols as words; so does this."""

EXACT_CLUSTERS = {"handbook": 28, "support": 10, "forum": 14, "articles": 10, "norsk": 14, "web": 14}
NEAR_CLUSTERS = {"handbook": 22, "support": 10, "forum": 12, "articles": 16, "norsk": 14, "web": 14}


def plant(corpus: Corpus) -> None:
    """Plant both kinds."""
    _exact(corpus)
    _near(corpus)


def similarity(a: Draft, b: Draft) -> float:
    """Return the Jaccard similarity of the less similar part, by words or by words and symbols."""
    return min(*parts(a, b), *parts(a, b, symbols=True))


def parts(a: Draft, b: Draft, *, symbols: bool = False) -> tuple[float, float]:
    """Return the Jaccard similarities of the prompts and of the responses."""
    prompts = jaccard(shingles(a.prompt, symbols=symbols), shingles(b.prompt, symbols=symbols))
    return prompts, jaccard(shingles(a.response, symbols=symbols), shingles(b.response, symbols=symbols))


def mark(cluster: str, kind: str, stage: str, original: Draft, others: Sequence[Draft]) -> None:
    """Note in the truth that the drafts are one cluster, and which of them came first."""
    for draft in (original, *others):
        draft.plants.append({"plant": kind, "stage": stage, "cluster": cluster})
    original.plants[-1]["original"] = True


def _as_is(text: str) -> str:
    return text


def _spaced(text: str) -> str:
    return "  " + text.replace(". ", ".  ").replace(", ", ",\u00a0", 1) + " \n"


def _decomposed(text: str) -> str:
    return unicodedata.normalize("NFD", text).replace("fi", "\ufb01")  # the ligature is NFKC for f and i


def _shouted(text: str) -> str:
    return text.upper()


DISGUISES: tuple[Callable[[str], str], ...] = (_as_is, _as_is, str.lower, _shouted, _spaced, _decomposed)
"""What may happen to a text on its way without making it another text: case, white space, Unicode form."""


def _exact(corpus: Corpus) -> None:
    draw = corpus.draw("exact")
    for source, clusters in EXACT_CLUSTERS.items():
        for number, original in enumerate(draw.shuffled(corpus.unplanted(source))[:clusters], 1):
            copies = []
            for _ in range(draw.pick([1, 1, 1, 2])):
                target = _elsewhere(draw, original)
                disguise = draw.pick(DISGUISES)
                turns = tuple((role, disguise(content)) for role, content in original.turns)
                given = disguise(original.given) if original.given else ""
                copy = original.copy(source=target, turns=turns, given=given)
                copy.license = draw.pick(PERMITTED) if target == "forum" else None
                copies.append(corpus.add(copy))
            mark(f"exact-{source}-{number}", "exact-duplicate", "exact", original, copies)


def _elsewhere(draw: Draw, original: Draft) -> str:
    """Return the source of a copy: questions with one answer wander between the handbook and the forum."""
    if original.source in ("handbook", "forum") and len(original.turns) == 2 and not original.given:
        return draw.pick(["handbook", "forum"])
    return "web" if original.source == "articles" and draw.chance(0.4) else original.source


def _near(corpus: Corpus) -> None:
    draw = corpus.draw("near")
    for source, clusters in NEAR_CLUSTERS.items():
        planted = 0
        for original in draw.shuffled(corpus.unplanted(source)):
            if planted == clusters:
                break
            copies = _near_copies(corpus, draw, original, draw.pick([1, 1, 2, 3]))
            if copies:
                planted += 1
                mark(f"near-{source}-{planted}", "near-duplicate", "minhash", original, copies)


def _near_copies(corpus: Corpus, draw: Draw, original: Draft, count: int) -> list[Draft]:
    """Add up to count edited copies, every two of them near duplicates; none if the text is too short."""
    family = [original]
    for _ in tries():
        if len(family) > count:
            break
        copy = original.copy(turns=_edited_turns(draw, original))
        copy.license = draw.pick(PERMITTED) if copy.source == "forum" else None
        near = all(NEAR <= similarity(copy, member) < 1 for member in family)
        if near and corpus.is_new(copy, family=tuple(family)):
            family.append(corpus.add(copy))
    return family[1:]


def _edited_turns(draw: Draw, original: Draft) -> Turns:
    """Edit the answers, and now and then the questions too."""
    language = "no" if original.source == "norsk" else "en"
    turns = []
    for role, content in original.turns:
        if role in ("assistant", "text"):
            content = edited(draw, content, language)
        elif role == "user" and draw.chance(0.25):
            content = edited(draw, content, language, "thanks")
        turns.append((role, content))
    return tuple(turns)
