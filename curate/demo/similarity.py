"""How alike two records are, the slow and readable way; decides what the corpus may call a duplicate."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict

NGRAM = 5  # words per shingle; what `minhash` uses by default
Shingles = frozenset[tuple[str, ...]]


def shingles(text: str, *, symbols: bool = False) -> Shingles:
    """Return the word 5-grams of a text, without regard to case, Unicode form and punctuation.

    With symbols, each character that is of no word and no white space is a word. A text of fewer words is one
    shingle; an empty text has none.
    """
    words = re.findall(r"\w+|[^\w\s]" if symbols else r"\w+", unicodedata.normalize("NFKC", text).casefold())
    if len(words) < NGRAM:
        return frozenset([tuple(words)] if words else [])
    return frozenset(tuple(words[i : i + NGRAM]) for i in range(len(words) - NGRAM + 1))


def jaccard(a: Shingles, b: Shingles) -> float:
    """Return |a ∩ b| / |a ∪ b| (Jaccard 1901); two empty sets are alike."""
    return len(a & b) / len(a | b) if a or b else 1.0


class Neighbours:
    """Finds the most similar of the records seen so far, by an inverted index of the responses' shingles.

    Two records are as similar as the less similar of their two parts, prompt and response. Parts are compared
    in full only where the responses share a shingle, since all others have a similarity of 0.
    """

    def __init__(self) -> None:
        self._records: list[tuple[Shingles, Shingles]] = []
        self._holding: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)

    def nearest(self, prompt: str, response: str) -> float:
        """Return the similarity to the nearest record, 0 where there is none."""
        return max((score for score, _ in self.near(prompt, response)), default=0.0)

    def near(self, prompt: str, response: str) -> list[tuple[float, int]]:
        """Return (similarity, number of the record) for every record whose response shares a shingle."""
        asked, answered = shingles(prompt), shingles(response)
        shared = Counter(number for shingle in answered for number in self._holding[shingle])
        found = []
        for number, common in shared.items():
            other_asked, other_answered = self._records[number]
            answers = common / (len(answered) + len(other_answered) - common)
            found.append((min(answers, jaccard(asked, other_asked)), number))
        return found

    def add(self, prompt: str, response: str) -> int:
        """Remember a record and return its number, counted from 0."""
        asked, answered = shingles(prompt), shingles(response)
        self._records.append((asked, answered))
        for shingle in answered:
            self._holding[shingle].append(len(self._records) - 1)
        return len(self._records) - 1
