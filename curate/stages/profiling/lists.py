"""The lists of the rule packs ``tasks`` and ``representation`` as the kernels read them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from curate import rules
from curate.kernels import asking, folding, terms
from curate.kernels.signs import signs
from curate.kernels.terms import LONGEST, Letters, Lists, Walk
from curate.kernels.text import buffers
from curate.rules import Rule

CASES = ("terms", "capital", "upper")
"""Keys of a group's terms: counted in any case, where the first letter is a capital, where all letters are."""


@cache
def letters() -> Letters:
    """Return what each character is; made once per process."""
    made = signs()
    return Letters(folding.characters().classes, made.kinds, made.lower)


def groups() -> tuple[str, ...]:
    """Return the names of the groups, in the rule pack's order."""
    return tuple(rule.id for rule in rules.load("representation").rules)


def room(longest: int) -> Walk:
    """Return room for the words of a text of so many bytes; the pages come when they are written."""
    most = longest // 2 + 2
    return Walk(
        np.empty(most, np.uint64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.uint8),
        np.empty(most, np.int32),
    )


class Words(NamedTuple):
    """Lists, and the words by their numbers."""

    lists: Lists
    names: tuple[str, ...]


@dataclass(slots=True)
class _Making:
    """Words and phrases, as they are found in the lists, by their hash."""

    numbers: dict[int, int] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    classes: list[int] = field(default_factory=list)
    groups: list[list[int]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    phrases: dict[int, int] = field(default_factory=dict)
    phrase_groups: list[list[int]] = field(default_factory=list)
    leads: list[bool] = field(default_factory=list)
    counts: list[bool] = field(default_factory=list)

    def word(self, name: str, h: int) -> int:
        if h not in self.numbers:
            self.numbers[h] = len(self.names)
            self.names.append(name)
            self.classes.append(0)
            self.groups.append([0, 0, 0])
            self.lengths.append(0)
        return self.numbers[h]

    def phrase(self, names: Sequence[str], hashes: npt.NDArray[np.uint64]) -> int:
        self.lengths[self.word(names[0], int(hashes[0]))] |= 1 << (len(names) - 1)
        h = int(terms.hash_phrase(hashes))
        if h not in self.phrases:
            self.phrases[h] = len(self.phrase_groups)
            self.phrase_groups.append([0, 0, 0])
            self.leads.append(False)
            self.counts.append(False)
        return self.phrases[h]


def made(vocabulary: Sequence[str] = (), common: Iterable[str] = ()) -> Words:
    """Return the rule packs' lists as tables. vocabulary: terms of topics, in order. common: nouns that may
    be named, beside those that are usual in English."""
    making, pack = _Making(), rules.load("tasks")
    _tasks(making)
    _representation(making)
    usual = [*pack.rule("tasks/noun").data["nouns"].split(), *rules.load("names").data["common"].split()]
    usual += [f"{noun}s" for noun in usual]  # one list has the singular alone; what is no word harms nothing
    listed = [*vocabulary, *sorted({*common, *usual})]
    numbers = [making.word(name, int(found[0])) for name, found in zip(listed, _hashes(listed), strict=True)]
    place = np.full(len(making.names), -1, np.int32)
    place[numbers[: len(vocabulary)]] = np.arange(len(vocabulary))
    is_common = np.zeros(len(making.names), np.bool_)
    is_common[numbers[len(vocabulary) :]] = True
    slots, at = _table(making.numbers)
    phrase_slots, phrase_at = _table(making.phrases)
    lists = Lists(
        slots,
        at,
        np.array(making.classes, np.uint32),
        np.array(making.groups, np.uint64),
        np.array(making.lengths, np.uint8),
        place,
        is_common,
        phrase_slots,
        phrase_at,
        np.array(making.phrase_groups, np.uint64),
        np.array(making.leads, np.bool_),
        np.array(making.counts, np.bool_),
    )
    return Words(lists, tuple(making.names))


def split(listed: str) -> list[str]:
    """Return the parts of a list that commas part."""
    return [" ".join(part.split()) for part in listed.split(",") if part.strip()]


def _tasks(making: _Making) -> None:
    pack = rules.load("tasks")
    by_class: list[tuple[Any, Rule, str]] = [
        (asking.VERB, pack.rule("tasks/verb"), "words"),
        (asking.INTRODUCTION, pack.rule("tasks/introduction"), "words"),
        (asking.QUESTION, pack.rule("tasks/question"), "words"),
        (asking.ASKING, pack.rule("tasks/question"), "asking"),
        (asking.AUXILIARY, pack.rule("tasks/question"), "auxiliary"),
        (asking.BEFORE, pack.rule("tasks/noun"), "before"),
        (asking.ENDS, pack.rule("tasks/noun"), "ends"),
        (asking.BLOCKING, pack.rule("tasks/noun"), "blocking"),
        (asking.ENGLISH, pack.rule("tasks/noun"), "english"),
        (asking.ARTICLE, pack.rule("tasks/noun"), "article"),
        (asking.FOREIGN, pack.rule("tasks/noun"), "foreign"),
    ]
    for bit, rule, key in by_class:
        names = rule.data[key].split()
        for name, found in zip(names, _hashes(names), strict=True):
            making.classes[making.word(name, int(found[0]))] |= int(bit)
    phrases = split(pack.rule("tasks/lead").data["words"])
    for phrase, found in zip(phrases, _hashes(phrases), strict=True):
        if len(found) == 1:
            making.classes[making.word(phrase, int(found[0]))] |= int(asking.LEAD)
        else:
            making.leads[making.phrase(phrase.split(), found)] = True


def _representation(making: _Making) -> None:
    pack = rules.load("representation")
    for group, rule in enumerate(pack.rules):
        for case, key in enumerate(CASES):
            listed = split(rule.data.get(key, ""))
            for name, found in zip(listed, _hashes(listed), strict=True):
                if len(found) == 1:
                    making.groups[making.word(name.lower(), int(found[0]))][case] |= 1 << group
                    continue
                phrase = making.phrase(_cut(name), found)
                making.phrase_groups[phrase][case] |= 1 << group
                making.counts[phrase] = True
    listed = split(pack.data["ignored"])
    for name, found in zip(listed, _hashes(listed), strict=True):
        making.counts[making.phrase(_cut(name), found)] = True


def _cut(phrase: str) -> list[str]:
    return phrase.lower().replace("'", " ").replace("-", " ").split()


def _hashes(listed: Sequence[str]) -> list[npt.NDArray[np.uint64]]:
    """Return the hashes of the words of each word or phrase."""
    data, offsets = buffers(pa.array(listed, pa.large_string()))
    longest = int(np.diff(offsets).max(initial=0))
    own, found = room(longest), room(2 * len(data))
    count = terms.walk_all(data, offsets[:-1], offsets[1:], LONGEST, letters(), own, found)
    ends = np.searchsorted(found.numbers[:count], np.arange(len(listed) + 1))
    return [found.hashes[a:b] for a, b in itertools.pairwise(ends)]


def _table(numbers: dict[int, int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    size = 1 << max(4, (4 * len(numbers)).bit_length())
    slots, found = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
    for h, number in numbers.items():
        at = h % size
        while slots[at]:
            at = (at + 1) % size
        slots[at], found[at] = h, number
    return slots, found
