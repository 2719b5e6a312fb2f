"""Everything that the stage pii searches texts with, as one: recognizers, our own rules, lists of names, a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from curate import rules
from curate.kernels.spans import Span
from curate.stages.finders import Finder, Finds
from curate.stages.finders.lookalikes import Exceptions

PACK, SECRETS, NAMES = "pii", "secrets", "names"
"""The rule packs."""
_DIGITS = 4  # of a score


class Plan(NamedTuple):
    """What to search with, as the options ask for; equal plans are one search."""

    thresholds: tuple[tuple[str, float], ...]  # of every kind that is looked for
    presidio: bool  # engine presidio in place of rules/pii.yaml
    countries: tuple[str, ...]  # of engine presidio
    whole_word: bool  # of engine presidio
    gazetteer: bool


class _ByRecord(Protocol):
    """A finder that reads the turns of a record together."""

    def find(self, texts: pa.Array, records: Sequence[int]) -> list[Finds]: ...


class Search:
    """Several finders as one; each is asked once for the whole batch."""

    def __init__(
        self, thresholds: Mapping[str, float], finders: Sequence[Finder], by_record: Sequence[_ByRecord] = ()
    ) -> None:
        """thresholds: what is found of a kind from which score on; of other kinds nothing is."""
        self._thresholds = thresholds
        self._finders = tuple(finders)
        self._by_record = tuple(by_record)

    def and_with(self, finder: Finder) -> Search:
        """Return a search with one finder more."""
        return Search(self._thresholds, [*self._finders, finder], self._by_record)

    def find(self, texts: pa.Array, offsets: Sequence[int]) -> list[Finds]:
        """Return what is in each turn: string [n]; record i owns turns offsets[i]:offsets[i + 1]."""
        together: list[Finds] = [[] for _ in range(len(texts))]
        answers = [finder.find(texts) for finder in self._finders]
        answers += [finder.find(texts, offsets) for finder in self._by_record]
        for answer in answers:
            for turn, found in enumerate(answer):
                if found:
                    together[turn] = self._both(together[turn], found)
        return together

    def _both(self, a: Finds, b: Finds) -> Finds:
        """Return two finders' finds in one text; a text that one of them has not scanned has not been scanned."""
        if isinstance(a, Exception):
            return a
        if isinstance(b, Exception):
            return b
        enough = (s for s in b if s.score >= self._thresholds.get(s.type, 2))
        return sorted({*a, *(s._replace(score=round(s.score, _DIGITS)) for s in enough)})


class Ours:
    """Presidio's recognizers and our own patterns, as rules/pii.yaml has them, without their lookalikes."""

    def __init__(self, thresholds: Mapping[str, float]) -> None:
        from curate.stages.finders import own  # before presidio: it takes the frameworks out of its sight

        # isort: split
        from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer

        from curate.stages.finders.sweep import Sweep, settled
        from curate.stages.finders.words import PlainWords

        chosen = [rules.load(PACK).rule(kind) for kind in thresholds]
        self.recognizers: list[Any] = []
        for rule in chosen:
            for recognizer in own.recognizers({"id": rule.id, **rule.data}):
                recognizer.score_thresholds = {"default": thresholds[rule.id]}
                self.recognizers.append(recognizer)
        enhancer = LemmaContextAwareEnhancer(context_matching_mode="whole_word")
        self.sweep, self._settled = Sweep(self.recognizers, PlainWords(), enhancer), settled
        self._exceptions = {rule.id: Exceptions.of(rule.data.get("except", {})) for rule in chosen}

    def find(self, texts: pa.Array) -> list[Finds]:
        """Return what is in each of the texts: string [n], null as empty → [n]."""
        return [
            found if not found or isinstance(found, Exception) else self._real(texts[at].as_py(), found)
            for at, found in enumerate(self.sweep.over(texts))
        ]

    def _real(self, text: str, found: Sequence[Span]) -> list[Span]:
        return self._settled([s for s in found if not self._exceptions[s.type].covers(text, s.start, s.end)])


@lru_cache(maxsize=32)
def search(plan: Plan) -> Search:
    """Return the search, made once per process."""
    thresholds = dict(plan.thresholds)
    secrets, named = (_of(thresholds, kinds(pack)) for pack in (SECRETS, NAMES))
    finders: list[Finder] = []
    if rest := {kind: score for kind, score in thresholds.items() if kind not in {*secrets, *NAMED}}:
        finders.append(_presidio(plan, rest) if plan.presidio else Ours(rest))
    if secrets:
        from curate.stages.finders.secrets import Secrets

        chosen = [rules.load(SECRETS).rule(kind) for kind in secrets]
        finders.append(Secrets([{"id": rule.id, **rule.data} for rule in chosen]))
    if not plan.gazetteer or not named:
        return Search(thresholds, finders)
    from curate.stages.finders.names import Gazetteer

    return Search(thresholds, finders, [Gazetteer(tuple(named), min(named.values()))])


def _of(thresholds: Mapping[str, float], kinds: Sequence[str]) -> dict[str, float]:
    return {kind: thresholds[kind] for kind in kinds if kind in thresholds}


def _presidio(plan: Plan, thresholds: Mapping[str, float]) -> Finder:
    from curate.stages.finders.presidio import Presidio

    return Presidio(
        entities=tuple(thresholds),
        countries=plan.countries,
        thresholds=thresholds,
        whole_word=plan.whole_word,
    )


NAMED = ("LOCATION", "NRP", "ORGANIZATION", "PERSON")
"""The kinds that only names find: by a gazetteer some of them, by a model those that it knows."""


def kinds(pack: str) -> tuple[str, ...]:
    """Return the kinds that a rule pack has rules for."""
    return tuple(rule.id for rule in rules.load(pack).rules)


@lru_cache(maxsize=8)
def presidio_kinds(countries: tuple[str, ...]) -> tuple[str, ...]:
    """Return the kinds of engine presidio. Raises ValueError for a country that it has nothing for."""
    from curate.stages.finders.presidio import Presidio

    return Presidio(countries=countries).kinds
