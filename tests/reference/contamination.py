"""Decontamination as one would write it on a blackboard: sets of word tuples, and loops over all items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from reference.dedup import normalise, words

N, MOST, CONTENT, SIGNS, CHARACTERS, ANSWER, SHARED, HEAVY = 8, 50, 4, 4, 16, 16, 3, 40

Gram = tuple[str, ...]


class Part(NamedTuple):
    item: int
    kind: str
    text: str
    how: str
    weights: list[Fraction]  # of each word


def bare(text: str) -> str:
    return re.sub(r"""[.,;:!?"'‘’“”„«»`]""", "", "".join(normalise(text).split()))


def grams(listed: Sequence[str], n: int = N) -> list[Gram]:
    return [tuple(listed[at : at + n]) for at in range(len(listed) - n + 1)]


def folded_lines(text: str) -> list[str]:
    """The lines of a text: it is folded line by line, so that no line break is lost."""
    return [normalise(line) for line in re.split(r"[\r\n]", text)]


def fit(
    items: Sequence[tuple[Sequence[str], Sequence[str]]], function_words: frozenset[str], n: int = N
) -> list[Part]:
    """Items are (questions, answers)."""
    same = [
        tuple((kind, bare(one)) for kind, texts in (("q", q), ("a", a)) for one in dict.fromkeys(texts))
        for q, a in items
    ]
    holders: dict[Gram, set[object]] = {}
    spellings: dict[Gram, set[str]] = {}
    for owner, (questions, answers) in zip(same, items, strict=True):
        for one in (*questions, *answers):
            listed = words(normalise(one))
            spellings.setdefault(tuple(listed), set()).add(bare(one))
            for gram in grams(listed, n):
                holders.setdefault(gram, set()).add(owner)

    def weight(gram: Gram) -> Fraction:
        return Fraction(1, len(holders[gram])) if len(holders[gram]) <= MOST else Fraction(0)

    found = []
    for number, (questions, answers) in enumerate(items):
        for kind, texts in (("question", questions), ("answer", answers)):
            for one in dict.fromkeys(texts):
                listed = words(normalise(one))
                here = [weight(gram) for gram in grams(listed, n)]
                of_words = [min(here[max(0, k - n + 1) : k + 1]) for k in range(len(listed))] if here else []
                total = sum(of_words, Fraction(0))
                telling = {w for w in listed if w not in function_words and any(map(str.isalpha, w))}
                signs = sum(not char.isalpha() for char in bare(one))
                own = len(spellings[tuple(listed)]) == 1
                how = "beside"
                if kind == "answer" and (len(listed) < ANSWER or total * SHARED < len(listed)):
                    pass
                elif len(telling) >= CONTENT and own and len(listed) >= n and total >= Fraction(n, 2):
                    how = "ngrams"
                elif len(telling) >= CONTENT and own:
                    how = "whole"
                elif listed and len(bare(one)) >= CHARACTERS and signs >= SIGNS:
                    how = "verbatim"
                found.append(Part(number, kind, one, how, of_words))
    return found


def needed(total: Fraction, overlap: float) -> Fraction:
    least = Fraction(overlap)
    return least + (1 - least) * (1 - min(total / HEAVY, Fraction(1)))


def match(part: Part, texts: Sequence[str], overlap: float, n: int = N) -> Fraction | None:
    """How much of a part a record of these texts holds; None for too little. Not for parts told beside another."""
    listed = words(normalise(part.text))
    turns = [words(normalise(one)) for one in texts]
    if part.how == "ngrams":
        held = {gram for turn in turns for gram in grams(turn, n)}
        found = [gram in held for gram in grams(listed, n)]
        covered = [
            any(found[at] for at in range(max(0, k - n + 1), min(k, len(found) - 1) + 1))
            for k in range(len(listed))
        ]
        total = sum(part.weights, Fraction(0))
        share = sum((w for w, c in zip(part.weights, covered, strict=True) if c), Fraction(0)) / total
        return share if share >= needed(total, overlap) else None
    in_row = any(listed == turn[at : at + len(listed)] for turn in turns for at in range(len(turn)))
    lines = [line for one in texts for line in (normalise(one), *folded_lines(one))]
    if part.how == "whole":
        alone = any(words(line) == listed for line in lines)
        return Fraction(1) if (in_row if len(listed) >= n else alone) else None
    if part.how != "verbatim":
        return None
    if len(listed) < n:
        return Fraction(1) if bare(part.text) in {bare(line) for line in lines} else None
    return Fraction(1) if in_row and any(_apart(bare(part.text), one) for one in texts) else None


def _apart(wanted: str, text: str) -> bool:
    whole = "".join(bare(line) for line in folded_lines(text))
    starts, size = {0}, 0
    for line in folded_lines(text):
        size += len(bare(line))
        starts.add(size)

    def goes_on(one: str, other: str) -> bool:
        return not one.isalnum() and not other.isalnum()

    for at in range(len(whole) - len(wanted) + 1):
        end = at + len(wanted)
        if whole[at:end] != wanted:
            continue
        before = at not in starts and goes_on(whole[at - 1], wanted[0])
        after = end not in starts and goes_on(wanted[-1], whole[end])
        if not before and not after:
            return True
    return False
