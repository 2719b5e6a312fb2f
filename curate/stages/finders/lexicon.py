"""What the gazetteer knows: the lists of rules/names.yaml, and what a sequence of capitalised words is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from curate import rules

PERSON, LOCATION = "PERSON", "LOCATION"
KINDS = (LOCATION, PERSON)

# Capital letters of the Latin blocks, U+0041 to U+024F and U+1E00 to U+1EFF: assigned once and for all, so that
# the answer does not depend on the Unicode version of Python. Letters include the combining marks.
_UPPER = "".join(char for char in map(chr, (*range(0x41, 0x250), *range(0x1E00, 0x1F00))) if char.isupper())
_LETTER = "A-Za-zÀ-ÖØ-öø-ɏḀ-ỿ\u0300-\u036f"
_LONGEST = 16  # words of a sequence: a line of more is cut, so that the time is linear in its length
INITIAL = re.compile(rf"[{_UPPER}]\.?")


@dataclass(frozen=True)
class Lexicon:
    """The lists of rules/names.yaml; words as they are written there, capitalised."""

    common: frozenset[str]
    tails: frozenset[str]
    heads: frozenset[str]
    follows: tuple[str, ...]  # after a name, tell that it is part of another
    given: frozenset[str]
    ambiguous: frozenset[str]
    surnames: frozenset[str]
    chinese: frozenset[str]
    forerunners: dict[str, str]  # title, office or greeting by the word, after which a name comes
    particles: frozenset[str]
    suffixes: frozenset[str]
    cues: tuple[str, ...]
    weak_cues: tuple[str, ...]  # after which things stand, too
    scores: dict[str, float]
    places: frozenset[str]
    unsure: frozenset[str]
    before: tuple[str, ...]
    areas: frozenset[str]
    place_score: float

    @classmethod
    def of(cls, pack: rules.Pack) -> Lexicon:
        """Read the pack."""
        person, location = pack.rule(PERSON).data, pack.rule(LOCATION).data
        listed = ("given", "ambiguous", "surnames", "chinese", "particles", "suffixes")
        before = {"title": "titles", "office": "offices", "greeting": "greetings"}
        return cls(
            common=frozenset(word.capitalize() for word in pack.data["common"].split()),
            tails=frozenset(pack.data["tails"].split()),
            heads=frozenset(pack.data["heads"].split()),
            **{name: frozenset(person[name].split()) for name in listed},
            follows=tuple(pack.data["follows"]),
            forerunners={word: how for how, name in before.items() for word in person[name].split()},
            cues=tuple(person["cues"]),
            weak_cues=tuple(person["weak_cues"]),
            scores=dict(person["scores"]),
            places=frozenset(name.strip() for name in location["places"].split(",")),
            unsure=frozenset(name.strip() for name in location["unsure"].split(",")),
            before=tuple(f"{word} " for word in location["before"].split()),
            areas=frozenset(location["areas"].split()),
            place_score=location["score"],
        )

    def signs(self, kinds: Sequence[str]) -> frozenset[str]:
        """Return the words of which a sequence must hold one, or a cue stand before it."""
        persons = (self.given, self.ambiguous, self.chinese, self.forerunners.keys())
        places = {name.split()[0] for name in self.places} if LOCATION in kinds else set()
        initials = {f"{letter}." for letter in _UPPER}
        return frozenset().union(*persons, initials, places)

    def is_surname(self, word: str) -> bool:
        """Tell whether the word is in the list of surnames, which has no O'Neal but Oneal."""
        return word in self.surnames or word.replace("'", "").replace("’", "").capitalize() in self.surnames

    @cached_property
    def sequence(self) -> re.Pattern[str]:
        """Compile what matches the capitalised words of a line, such as ``Mr. John F. van Dyke``.

        A full stop belongs to titles, suffixes and initials only, an apostrophe to the word but for ``'s``.
        Nothing that adjoins a digit or a sign of code or of an address is matched.
        """
        stops = sorted(word[:-1] for word in {*self.forerunners, *self.suffixes} if word.endswith("."))
        dotted = "|".join(rf"(?<=\b{word}\.)" for word in (f"[{_UPPER}]", *stops))
        word = rf"[{_UPPER}](?:[{_LETTER}]|['’-](?!s\b)(?=[{_LETTER}]))*+(?:\.(?:{dotted}))?"
        between = "|".join(sorted(self.particles, key=lambda particle: (-len(particle), particle)))
        before = r"(?<![\w@#$/\\.&%=+<{~^:-])"
        after = r"(?![\w(\[=@/\\<]|\.\w|::|-\w)"
        return re.compile(
            rf"{before}(?>{word}(?: (?:(?:{between}) ){{0,3}}{word}){{0,{_LONGEST - 1}}}+){after}"
        )


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Return the lists, read once per process."""
    return Lexicon.of(rules.load("names"))
