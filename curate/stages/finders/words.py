"""Tokens for presidio's search for context words, of a whole text or word by word."""

from __future__ import annotations

from curate.stages.finders import light  # noqa: F401  before presidio

# isort: split

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import spacy
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine
from spacy.lang.en.stop_words import STOP_WORDS
from spacy.lang.lex_attrs import is_punct as is_punctuation
from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

LANGUAGE = "en"  # presidio's name for the one set of recognizers in use; the text may be in any language
_LAST_WORD = re.compile(r"\S+\s*\Z")
_REST_AND_WORD = re.compile(r"\s*\S+")
_KEPT = 1 << 17  # words whose tokens are remembered
_SHORT = 16  # characters
_LONG = 64  # characters; longer words hardly come again


class Token(NamedTuple):
    """One token of a text."""

    start: int
    end: int
    lemma: str
    keyword: bool


class Words(NlpEngine):  # type: ignore[misc]  # presidio has no type information
    """Tokens for presidio, with the lower-case token as its lemma, and the same tokens word by word.

    A blank spaCy pipeline has empty lemmas, which silently switches context off.
    """

    with_colons = True  # tokens may hold a colon and more

    def __init__(self) -> None:
        self._known: dict[str, tuple[Token, ...]] = {}
        self._sure: dict[str, int] = {}

    @abstractmethod
    def tokens(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the tokens of a text: start and token."""

    def near(self, text: str, start: int, end: int) -> Sequence[Token]:
        """Return the tokens of a word or of the space between two, characters start to end of a text."""
        word = text[start:end]
        if (found := self._known.get(word)) is None:
            found = tuple(self._token(at, token) for at, token in self.tokens(word))
            if len(word) <= _LONG:
                if len(self._known) >= _KEPT:
                    self._known.clear()
                self._known[word] = found
        return found

    def _token(self, start: int, token: str) -> Token:
        lemma = token.lower()
        return Token(start, start + len(token), lemma, self.is_keyword(lemma))

    def sure(self, word: str) -> int:
        """Return how many keywords a word surely holds; of a long word, which hardly comes again, none."""
        if (count := self._sure.get(word)) is None:
            count = self._sure_of(word) if len(word) <= _SHORT else 0
            if len(self._sure) < _KEPT:
                self._sure[word] = count
        return count

    def _sure_of(self, word: str) -> int:
        return sum(token.keyword for token in self.near(word, 0, len(word)))

    def is_keyword(self, lemma: str) -> bool:
        """Tell whether presidio counts a token of this lemma, wherever it stands."""
        return ":" not in lemma and self.says_something(lemma)

    def says_something(self, lemma: str) -> bool:
        """Tell whether presidio takes a lemma for a keyword; it then cuts it at colons."""
        dull = self.is_stopword(lemma, LANGUAGE) or self.is_punct(lemma, LANGUAGE)
        return not dull and lemma not in ("-PRON-", "be")

    # What presidio asks of an engine.

    def load(self) -> None:
        """Nothing to load."""

    def is_loaded(self) -> bool:
        """Always."""
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        """Tokenise."""
        found = list(self.tokens(text))
        tokens = [token for _, token in found]
        lemmas = [token.lower() for token in tokens]
        return NlpArtifacts([], tokens, [start for start, _ in found], lemmas, self, language)

    def process_batch(
        self, texts: Iterable[str], language: str, **_: Any
    ) -> Iterator[tuple[str, NlpArtifacts]]:
        """Tokenise one text after the other."""
        for text in texts:
            yield text, self.process_text(text, language)

    def get_supported_entities(self) -> list[str]:
        """None: there is no model."""
        return []

    def get_supported_languages(self) -> list[str]:
        """Return the one name in use."""
        return [LANGUAGE]


class PlainWords(Words):
    """Runs of letters and digits, or single other characters: ``user_phone`` holds the word ``phone``."""

    with_colons = False
    # A context word must not be skipped as a stop word ("call me at …").
    stop_words = frozenset(STOP_WORDS) - {"call"}
    _run = re.compile(r"[^\W_]+|[^\w\s]|_")

    def tokens(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the tokens of a text: start and token."""
        return ((match.start(), match.group()) for match in self._run.finditer(text))

    def is_stopword(self, word: str, language: str) -> bool:
        """Tell whether the word says nothing about what follows."""
        return word in self.stop_words

    def is_punct(self, word: str, language: str) -> bool:
        """Tell whether the token is no word. Numbers are none, so that they do not hide the words around."""
        return not any(map(str.isalpha, word))


class SpacyWords(Words):
    """The tokens of spaCy's English tokenizer, which needs no model.

    It tokenises word by word, but for one thing: special cases such as emoticons are also found as sequences of
    tokens, which may begin in one word and end in another. Such a sequence is left alone, and hides the special
    cases that it shares a token with (spaCy 3.8, Tokenizer._apply_special_cases).
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = tokenizer = spacy.blank(LANGUAGE).tokenizer
        bare = Tokenizer(
            tokenizer.vocab,
            prefix_search=tokenizer.prefix_search,
            suffix_search=tokenizer.suffix_search,
            infix_finditer=tokenizer.infix_finditer,
            token_match=tokenizer.token_match,
            url_match=tokenizer.url_match,
        )
        split = {case: [token.text for token in bare(case)] for case in tokenizer.rules}
        made = {case: tuple(token[ORTH] for token in rule) for case, rule in tokenizer.rules.items()}
        self._special = {made[case] for case, tokens in split.items() if tuple(tokens) != made[case]}
        self._longest = max(map(len, self._special))
        self._around = max(map(len, split.values()))  # words that such a sequence may reach into
        self.may_be_hidden = lru_cache(maxsize=1 << 15)(self._may_be_hidden)

    def tokens(self, text: str) -> Iterator[tuple[int, str]]:
        """Yield the tokens of a text: start and token."""
        return ((token.idx, token.text) for token in self.tokenizer(text))

    def near(self, text: str, start: int, end: int) -> Sequence[Token]:
        """Return the tokens of a word or of the space between two, characters start to end of a text."""
        found = super().near(text, start, end)
        if not self.may_be_hidden(text[start:end]):
            return found
        first, last = start, end
        for _ in range(self._around):
            first, last = word_before(text, first), word_after(text, last)
        inside = (self._token(at + first - start, token) for at, token in self.tokens(text[first:last]))
        return [token for token in inside if 0 <= token.start < end - start]

    def _sure_of(self, word: str) -> int:
        return 0 if self.may_be_hidden(word) else super()._sure_of(word)

    def _may_be_hidden(self, word: str) -> bool:
        """Tell whether a special case was applied in a word by itself."""
        tokens = tuple(token for _, token in self.tokens(word))
        runs = (tokens[a : a + n] for n in range(1, self._longest + 1) for a in range(len(tokens) - n + 1))
        return any(run in self._special for run in runs)

    def is_stopword(self, word: str, language: str) -> bool:
        """Tell whether the word is one of spaCy's stop words."""
        return word.lower() in STOP_WORDS

    def is_punct(self, word: str, language: str) -> bool:
        """Tell whether all characters are punctuation."""
        return not word[:1].isalnum() and bool(is_punctuation(word))


def word_before(text: str, place: int) -> int:
    """Return the start of the last word that begins before a place, or 0."""
    reach = 64
    while place > 0:
        first = max(0, place - reach)
        if match := _LAST_WORD.search(text[first:place]):
            start = first + match.start()
            if start == 0 or match.start() > 0:
                return start
        if first == 0:
            return 0
        reach *= 4
    return 0


def word_after(text: str, place: int) -> int:
    """Return the end of the first word that ends behind a place, or the end of the text."""
    match = _REST_AND_WORD.match(text, place)
    return match.end() if match else len(text)
