"""The sixteen questions that only a person can answer, as far as recipe and source manifests answer them."""

from __future__ import annotations

from collections.abc import Callable

from curate.govern.datasheet import facts
from curate.govern.datasheet.facts import Answer
from curate.govern.datasheet.values import Held, show


def _about(*keys: str) -> Callable[[Held], Answer]:
    def answer(m: Held) -> Answer:
        found = [m.get("recipe", "about", key) for key in keys]
        return [(show(held),) for held in found if held]

    return answer


def _sources(key: str) -> Callable[[Held], Answer]:
    def answer(m: Held) -> Answer:
        said = facts.by_source(m, key)
        return [facts.told("Declared by source: ", said, m["recipe"]["sources"])] if said else []

    return answer


ANSWERS: dict[str, Callable[[Held], Answer]] = {
    "motivation-creator": _about("creator"),
    "motivation-purpose": _about("description"),
    "maintenance-contact": _about("contact"),
    "collection-notified": _sources("notice"),
    "collection-consent": _sources("consent"),
}
