"""Context words near a find, as presidio's LemmaContextAwareEnhancer looks for them, without reading all of a text.

The enhancer takes the token that a find begins in; of it and the tokens before it the last six that are
keywords, and of it and those behind it the first. Where one of them is (or holds) a context word of the
recognizer, the find's score rises. Presidio tokenises the whole text for that. Here tokens are made of the
words around a find only, each word's once.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import NamedTuple, TypeAlias

from curate.stages.finders.words import Token, Words, word_after, word_before

# A word, or the space between two; spaCy holds one space to be part of the word before it.
_PIECE = re.compile(r"(?:(?<=\S) )?(\S+|\s+)")
_COLON = re.compile(r"\S*:\S*")
_Found: TypeAlias = tuple[list[str], list[str], list[str], list[str]]
_NEAR = 80  # characters before a find, to begin with
_ENOUGH = 4096  # characters; beyond, the text is tokenised as a whole


class Near(NamedTuple):
    """The lemmas around a place."""

    keywords: list[str]  # that presidio counts
    others: list[str]  # among them
    surely: list[str]  # keywords that count whatever else does

    def hold(self, words: Sequence[str], whole: bool) -> bool:
        """Tell whether a keyword is (or, not whole, holds) one of the words."""
        if whole:
            return any(word in self.keywords for word in words)
        return any(word in lemma for word in words for lemma in self.keywords)


class Surroundings:
    """The keywords around places of one text."""

    def __init__(self, words: Words, text: str, before: int, behind: int) -> None:
        """Keywords are counted, ``before`` of them up to the token at a place and ``behind`` from it on."""
        self.words = words
        self.text = text
        self.before = before
        self.behind = behind
        self._known: dict[int, Near] = {}
        self._reached: dict[int, str] = {}
        self._pieces: dict[str, bool] = {}
        self._cut: dict[int, frozenset[str]] = {}
        self._whole: dict[frozenset[str], _Keywords] = {}

    def hold(self, place: int, words: Sequence[str], whole: bool) -> bool:
        """Tell whether presidio sees one of the words near what begins at a place.

        Presidio cuts keywords at colons, and then takes for a keyword whatever equals a piece of one anywhere in
        the text, "the" where there is a "1:the". That matters only where a word is seen near the place without it
        or is itself so dull, and is looked up only then.

        Raises ValueError where no token ends behind the place, as presidio does.
        """
        if not any(word in self._reach(place) for word in words):
            return False
        if (near := self._known.get(place)) is None:
            near = self._known[place] = self._look(place, frozenset())
        if not (near.hold(words, whole) or Near(near.others, [], []).hold(words, whole)):
            return False
        if not self.words.with_colons or ":" not in self.text or Near(near.surely, [], []).hold(words, whole):
            return near.hold(words, whole)
        besides = frozenset(filter(self._is_piece, near.others))
        return (self._look(place, besides) if besides else near).hold(words, whole)

    def _reach(self, place: int) -> str:
        """Return, in lower case, the words that the keywords around a place can be in, and some more.

        As far as the words that are surely keywords go: most finds are far from any context word, and their own
        words, of which no two are the same, need not be tokenised to tell.
        """
        if (known := self._reached.get(place)) is None:
            before = self._sure_words(place, self.before, -1)
            known = self._reached[place] = " ".join(before + self._sure_words(place, self.behind, 1)).lower()
        return known

    def _sure_words(self, place: int, count: int, step: int) -> list[str]:
        reach, sure = _NEAR, self.words.sure
        while True:
            first, last = (max(0, place - reach), place) if step < 0 else (place, place + reach)
            words = self.text[first:last].split()[::step]
            left = count
            for number, word in enumerate(words[1:-1], 2):  # the first may be the find's own, the last be cut
                if (left := left - sure(word)) <= 0:
                    return words[:number]
            if first == 0 if step < 0 else last >= len(self.text):
                return words
            reach *= 4

    def _is_piece(self, lemma: str) -> bool:
        if (known := self._pieces.get(lemma)) is None:
            known = self._pieces[lemma] = any(self._pieces_like(lemma))
        return known

    def _pieces_like(self, lemma: str) -> Iterator[bool]:
        behind, before = f":{lemma}", f"{lemma}:"
        if behind not in self._lowered and before not in self._lowered:
            return
        for start, end, word in self._colons:
            if behind in word or before in word:
                if (pieces := self._cut.get(start)) is None:
                    pieces = self._cut[start] = self._cut_at_colons(start, end)
                yield lemma in pieces

    def _cut_at_colons(self, start: int, end: int) -> frozenset[str]:
        """Return the pieces of the keywords with colons in a word."""
        lemmas = (token.lemma for token in self.words.near(self.text, start, end) if ":" in token.lemma)
        keywords = filter(self.words.says_something, lemmas)
        return frozenset(piece for lemma in keywords for piece in lemma.split(":"))

    @cached_property
    def _lowered(self) -> str:
        return self.text.lower()

    @cached_property
    def _colons(self) -> list[tuple[int, int, str]]:
        """Return the words of the text with colons: start, end and word."""
        matches = _COLON.finditer(self.text)
        return [(match.start(), match.end(), match.group().lower()) for match in matches]

    def _look(self, place: int, besides: frozenset[str]) -> Near:
        reach = _NEAR
        while besides not in self._whole and reach < _ENOUGH:
            first = _word_start(self.text, place - reach)
            last = _word_end(self.text, place + (reach - _NEAR) // 4)
            near = self._walk(place, first, last, besides)
            behind = near and (len(near[2]) >= self.behind or last == len(self.text))
            if near and behind and (first == 0 or len(near[0]) == self.before):
                return Near(near[0] + near[2][: self.behind], near[1], near[3])
            reach *= 4
        if besides not in self._whole:
            self._whole[besides] = self._all(besides)
        return self._whole[besides].around(place, self.before, self.behind)

    def _walk(self, place: int, first: int, last: int, besides: frozenset[str]) -> _Found | None:
        """Return the keywords up to a place, last first, what else is there, the keywords behind it, sure ones."""
        tokens = self._backward(first, last)
        behind: list[tuple[str, bool]] = []
        for end, token in tokens:
            counts = token.keyword or token.lemma in besides
            if end > place:
                behind.append((token.lemma, counts))
                continue
            if not behind:
                return None
            return self._count(chain([(token.lemma, counts)], _lemmas(tokens, besides)), behind)
        return self._count((), behind) if behind else None

    def _count(self, before: Iterable[tuple[str, bool]], behind: list[tuple[str, bool]]) -> _Found:
        keywords: list[str] = []
        surely: list[str] = []
        others = [lemma for lemma, counts in behind if not counts]
        for number, (lemma, counts) in enumerate(chain([behind[-1]], before)):
            (keywords if counts else others).append(lemma)
            if counts and number < self.before:
                surely.append(lemma)  # were all tokens keywords, it would still be one of the last
            if len(keywords) == self.before:
                break
        return keywords, others, [lemma for lemma, counts in reversed(behind) if counts], surely

    def _backward(self, first: int, last: int) -> Iterator[tuple[int, Token]]:
        """Yield the tokens in a part of the text that begins and ends where a word does, last first: end, token."""
        for start, end in [match.span(1) for match in _PIECE.finditer(self.text, first, last)][::-1]:
            for token in self.words.near(self.text, start, end)[::-1]:
                yield start + token.end, token

    def _all(self, besides: frozenset[str]) -> _Keywords:
        found = _Keywords([], [], [], [])
        for end, token in list(self._backward(0, len(self.text)))[::-1]:
            if token.keyword or token.lemma in besides:
                found.places.append(len(found.ends))
                found.keywords.append(token.lemma)
            found.ends.append(end)
            found.lemmas.append(token.lemma)
        return found


def _lemmas(tokens: Iterable[tuple[int, Token]], besides: frozenset[str]) -> Iterator[tuple[str, bool]]:
    return ((token.lemma, token.keyword or token.lemma in besides) for _, token in tokens)


class _Keywords(NamedTuple):
    ends: list[int]  # of every token
    lemmas: list[str]  # of every token
    places: list[int]  # of the keywords among the tokens
    keywords: list[str]

    def around(self, place: int, before: int, behind: int) -> Near:
        """Return what is around a place. Raises ValueError where no token ends behind it."""
        token = bisect_right(self.ends, place)
        if token == len(self.ends):
            raise ValueError("a find that begins behind the last token")
        so_far, from_here = bisect_right(self.places, token), bisect_left(self.places, token)
        first, last = max(0, so_far - before), from_here + behind
        tokens = slice(
            self.places[first] if so_far - before >= 0 else 0,
            self.places[last - 1] + 1 if last <= len(self.places) else None,
        )
        return Near(
            self.keywords[first:so_far] + self.keywords[from_here:last], _few(self.lemmas[tokens]), []
        )


def _few(lemmas: list[str]) -> list[str]:
    return list(dict.fromkeys(lemmas))


def _word_start(text: str, place: int) -> int:
    """Return where a word begins at or before a place: no space before it but at the text's start."""
    return max(0, place) and word_before(text, place)


def _word_end(text: str, place: int) -> int:
    """Return where a word ends behind a place, or the text."""
    return word_after(text, place) if place < len(text) else len(text)
