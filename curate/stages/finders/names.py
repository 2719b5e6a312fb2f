"""Names of persons, and of countries and large cities, without a model: rules/names.yaml read as a gazetteer.

One regular expression finds the sequences of capitalised words in a line; a sequence is looked at only where a
word in it, or the cue before it, says that a name may stand there. Parts of the names so found are found again
in the rest of the text. Latin script only, words in capitals left out, and given names as they are in the
United States; rules/names.yaml states what that finds of labelled text and how often it is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import pyarrow as pa

from curate import rules
from curate.kernels.spans import Span
from curate.stages.finders import Finds
from curate.stages.finders.lexicon import INITIAL, KINDS, LOCATION, PERSON, lexicon

_CUE = 12  # characters before a sequence in which a cue must lie
_MOST = 4  # words of a name, particles and suffixes apart; a longer sequence is a heading
_PLACE = 4  # words of a place's name at most
_MID_SENTENCE = re.compile(r"[a-z,] ")
_ARTICLES = ("the ", "The ", " a ", " an ")
_OF = 32  # characters before a place in which what it is part of the name of must lie
_NAMED_AFTER = re.compile(r"[A-Z][a-z]+ of (?:the )?\Z")  # the University of Oslo
# A syllable of Hanyu Pinyin (ISO 7098), tones left out; a Chinese given name has one or two.
_SYLLABLE = (
    r"(?:(?:[zcs]h?|[bpmfdtnlgkhjqxryw])?(?:[iu]?a(?:ng?|[io])?|ueng?|eng?|[iu]?e|ei|er|i(?:n|ng|u)?|i?ong|"
    r"ou|u?o|u[in]?))"
)
_PINYIN = re.compile(rf"{_SYLLABLE}{{1,2}}")
_TWO_SYLLABLES = re.compile(rf"(?=.{{5}}){_SYLLABLE}{{2}}")


class Word(NamedTuple):
    """A word of a sequence and the character that it starts at."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """The character after its last."""
        return self.start + len(self.text)


class Gazetteer:
    """Finds names by lists, titles, cues and carry-over."""

    def __init__(self, kinds: Sequence[str] = (PERSON,), threshold: float = 0.5) -> None:
        """Take the kinds to look for, of PERSON and LOCATION, and the score from which a find counts.

        A given name by itself scores 0.4: it is found from that threshold down.
        """
        if unknown := sorted(set(kinds) - set(KINDS)):
            raise ValueError(f"gazetteer: no kind {unknown[0]!r}; known: {', '.join(KINDS)}")
        self.kinds: tuple[str, ...] = tuple(sorted(set(kinds)))
        self.threshold = threshold
        self._lexicon = lexicon()
        self._sequence = self._lexicon.sequence
        self._signs = self._lexicon.signs(self.kinds)

    def describe(self) -> str:
        """Return what was used, for the datasheet."""
        pack = rules.load("names")
        return f"gazetteer {pack.path} {pack.version} (sha256 {pack.sha256[:16]}), threshold {self.threshold}"

    def find(self, texts: pa.Array, records: Sequence[int] | None = None) -> list[Finds]:
        """Return the names in each of the texts: string [n], null as empty → [n].

        ``records`` [m + 1] are offsets of records among the texts: names are carried over within a record.
        Without it, each text is read by itself.
        """
        listed = [text or "" for text in texts.to_pylist()]
        offsets = range(len(listed) + 1) if records is None else records
        found: list[Finds] = []
        for start, end in pairwise(offsets):
            try:
                found += self.read(listed[start:end])
            except Exception as error:  # noqa: BLE001  whatever it was, the texts have not been read to their end
                found += [error] * (end - start)
        return found

    def read(self, texts: Sequence[str]) -> list[list[Span]]:
        """Return the names in the texts of one record."""
        named = [list(self._named(text)) for text in texts]
        parts = frozenset(
            part for text, spans in zip(texts, named, strict=True) for part in self._parts(text, spans)
        )
        found = []
        for text, spans in zip(texts, named, strict=True):
            if parts:
                spans += list(self._carried(text, spans, parts))
            found.append(sorted(s for s in spans if s.type in self.kinds and s.score >= self.threshold))
        return found

    def _named(self, text: str) -> Iterator[Span]:
        """Yield the names that a sign or a cue tells."""
        signs, weak, follows = self._signs, self._lexicon.weak_cues, self._lexicon.follows
        cues = self._lexicon.cues + weak
        for match in self._sequence.finditer(text):
            listed = match.group().split(" ")
            start = match.start()
            cued = 0
            if text.endswith(cues, max(0, start - _CUE), start):
                cued = 2 if text.endswith(weak, max(0, start - _CUE), start) else 1
            if cued or not signs.isdisjoint(listed):
                words = _words(listed, start)
                persons = list(self._persons(words, cued))
                if persons and text.startswith(follows, match.end()):
                    persons = [span for span in persons if span.end < match.end()]
                yield from persons
                if LOCATION in self.kinds:
                    yield from self._places(words, persons, text)

    def _persons(self, words: Sequence[Word], cued: int) -> Iterator[Span]:
        """Yield the persons named in a sequence; after a cue, any of at least so many words."""
        at = 0
        while at < len(words):
            how, first, end = self._person(words, at)
            if cued and at == 0 and how not in ("title", "full"):
                length = self._length(words, 0)
                if (length >= cued or how == "alone") and not self._is_no_name(words[0].text):
                    how, first, end = "cue", 0, length
            if how:
                score = self._lexicon.scores[how]
                yield Span(words[first].start, words[end - 1].end, PERSON, score, f"gazetteer/{how}")
            at = max(end, at + 1)

    def _person(self, words: Sequence[Word], at: int) -> tuple[str, int, int]:
        """Return how a name is told whose first sign is this word, and its words first to end; or ''."""
        lex = self._lexicon
        how = lex.forerunners.get(words[at].text)
        if how and not (at and INITIAL.fullmatch(words[at].text)):  # M. is Monsieur, or an initial
            first = at + 1
            while first < len(words) and lex.forerunners.get(words[first].text, "greeting") != "greeting":
                how, first = "title", first + 1
            length = self._length(words, first)
            if length and (not self._is_no_name(words[first].text) or lex.is_surname(words[first].text)):
                return how, first, first + length
            return "", at, first
        if at and words[at - 1].text in lex.heads:
            return "", at, at
        if self._is_chinese(words[at : at + 4]):
            return "pinyin", at, at + 2
        length = self._length(words, at)
        if not length:
            return "", at, at
        how, length = self._by_lists([word.text for word in words[at : at + length]])
        return how, at, at + length

    def _is_no_name(self, word: str) -> bool:
        return word in self._lexicon.common or word in self._lexicon.places

    def _by_lists(self, name: Sequence[str]) -> tuple[str, int]:
        """Return how the words are known for a name, or '', and how many of them it has."""
        lex = self._lexicon
        first, last, count = name[0], name[-1], len(name)
        if first in lex.given:
            if count == 1:
                return "alone", 1
            return ("full" if any(map(lex.is_surname, name[1:])) else "given"), count
        if first in lex.ambiguous and count > 1 and lex.is_surname(last) and last not in lex.common:
            return "ambiguous", count
        if count < 3 or not {first, last}.isdisjoint(lex.common) or first in lex.ambiguous:
            return "", 0
        middle = len(name[1]) == 2 and name[1].endswith(".") and name[1] != "I."  # World War I. Then …
        return ("initial", count) if middle else ("", 0)

    def _is_chinese(self, words: Sequence[Word]) -> bool:
        """Tell whether the first two words are a Chinese surname and given name, in either order."""
        lex = self._lexicon
        if len(words) < 2 or any(word.text in lex.tails for word in words[2:]):
            return False
        first, second = words[0].text, words[1].text
        if first in lex.chinese:
            syllables = _TWO_SYLLABLES if first in lex.common else _PINYIN
            return second not in lex.common and bool(syllables.fullmatch(second.lower()))
        known = first in lex.common or first in lex.given or first in lex.places
        proper = second in lex.chinese and second not in lex.common
        return proper and not known and bool(_TWO_SYLLABLES.fullmatch(first.lower()))

    def _length(self, words: Sequence[Word], first: int) -> int:
        """Return how many words from this one on may be one name; 0 where they name something else."""
        lex = self._lexicon
        length = proper = 0
        for word in (word.text for word in words[first:]):
            if word in lex.tails or proper > _MOST:
                return 0
            if word in lex.suffixes and proper:
                length += 1
                break
            ends = (len(word) > 1 and word.isupper()) or word in lex.forerunners
            known = lex.is_surname(word) or (not length and word in lex.ambiguous)
            other = word in lex.common or (length and word in lex.places)
            if (ends and not INITIAL.fullmatch(word)) or (other and not known):
                break
            length += 1
            proper += word not in lex.particles
        after = first + length
        if any(word.text in lex.tails for word in words[after : after + 2]):
            return 0
        return 0 if all(INITIAL.fullmatch(word.text) for word in words[first:after]) else length

    def _parts(self, text: str, spans: Iterable[Span]) -> Iterator[str]:
        """Yield the words that stand for a person once the whole name is known."""
        lex = self._lexicon
        for span in spans:
            if span.type == PERSON and span.score >= self.threshold:
                words = text[span.start : span.end].split(" ")
                if span.recognizer == "gazetteer/pinyin":  # a surname alone is a syllable like any other
                    words = words[1:]
                for word in words:
                    if len(word) > 3 and word not in lex.particles and word not in lex.suffixes:
                        yield word

    def _carried(self, text: str, spans: Sequence[Span], parts: frozenset[str]) -> Iterator[Span]:
        """Yield the parts of names where they come again outside the spans."""
        score = self._lexicon.scores["carried"]
        taken = {at for span in spans if span.type == PERSON for at in range(span.start, span.end)}
        for match in self._sequence.finditer(text):
            listed = match.group().split(" ")
            if parts.isdisjoint(listed):
                continue
            words = _words(listed, match.start())
            for at, word in enumerate(words):
                if word.text not in parts or word.start in taken:
                    continue
                length = self._length(words, at)
                if not length or self._is_doubtful(words, at, text):
                    continue
                end = words[at + length - 1].end
                taken.update(range(word.start, end))
                yield Span(word.start, end, PERSON, score, "gazetteer/carried")

    def _is_doubtful(self, words: Sequence[Word], at: int, text: str) -> bool:
        """Tell whether what stands before a part of a name, or the word itself, speaks against it."""
        lex, word = self._lexicon, words[at]
        if at and words[at - 1].text in lex.heads:
            return True
        if text.endswith(_ARTICLES, max(0, word.start - 4), word.start):
            return True
        known = word.text in lex.common or word.text in lex.ambiguous or word.text in lex.places
        return known and not _MID_SENTENCE.fullmatch(text, max(0, word.start - 2), word.start)

    def _places(self, words: Sequence[Word], persons: Sequence[Span], text: str) -> Iterator[Span]:
        """Yield the places named in a sequence: those that are no part of a name of someone or something else."""
        lex = self._lexicon
        at = 0
        while at < len(words):
            length = self._place(words[at:])
            start, after = words[at].start, at + length
            if length and not any(span.start <= start < span.end for span in persons):
                while after < len(words) and words[after].text in lex.areas:
                    after += 1
                name = " ".join(word.text for word in words[at : at + length])
                before = text[max(0, start - _OF) : start]
                sure = name not in lex.unsure or (at == 0 and before.endswith(lex.before))
                sure = sure and not _NAMED_AFTER.search(before)
                alone = at == 0 or words[at - 1].text in lex.common
                ended = after == len(words) or words[after].text in lex.common or self._place(words[after:])
                if (
                    sure
                    and alone
                    and ended
                    and not any(w.text in lex.tails for w in words[after : after + 2])
                ):
                    yield Span(start, words[after - 1].end, LOCATION, lex.place_score, "gazetteer/place")
            at = max(after, at + 1)

    def _place(self, words: Sequence[Word]) -> int:
        """Return how many words from the first on are a listed place, the longest."""
        for length in range(min(_PLACE, len(words)), 0, -1):
            if " ".join(word.text for word in words[:length]) in self._lexicon.places:
                return length
        return 0


def _words(listed: Sequence[str], start: int) -> list[Word]:
    """Return the words of a sequence that starts at a character; one space lies between two."""
    found = []
    for text in listed:
        found.append(Word(text, start))
        start += len(text) + 1
    return found


def matches(rule: rules.Rule, example: str) -> bool:
    """Tell whether a text holds what the rule looks for: how rules/names.yaml is tested."""
    return any(span.type == rule.id for span in Gazetteer((rule.id,)).read([example])[0])
