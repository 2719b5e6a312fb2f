"""Which licenses let their texts into a work under which other license.

Data: ``merging`` in ``rules/licenses.yaml``, each line with its source. Answers are yes, no and unknown (None).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

from curate import licenses, rules
from curate.licenses import License, Tri, strictest


class Choice(NamedTuple):
    """One way of using an expression: which of its licenses hold."""

    works: Tri
    rank: int  # the most that any of the licenses asks
    ids: tuple[str, ...]  # sorted


class Obstacle(NamedTuple):
    """Two licenses that no term keeps apart, and something else does."""

    works: Tri  # no, or unknown
    reason: str


@cache
def outbound(license_id: str) -> tuple[str, ...] | None:
    """Return the licenses under which adaptations may be offered; None: any that passes on what this one asks."""
    found = licenses.get(license_id)
    if (listed := _table().get(license_id)) is not None:
        return tuple(dict.fromkeys((license_id, *listed["outbound"])))
    if found.terms.share_alike is True:
        return (license_id,)
    return None


def unclear(license_id: str) -> tuple[str, ...]:
    """Return the licenses under which adaptations may or may not be offered: the texts do not settle it."""
    return tuple(_table().get(license_id, {}).get("unclear", ()))


@cache
def allows(license_id: str, target: str) -> Tri:
    """Tell whether adaptations of what is under one license may be offered under another, the target."""
    found = licenses.get(license_id)
    if found.terms.derivatives is not True or not found.redistribution:
        return False if found.terms.derivatives is False or not found.redistribution else None
    if license_id == target:
        return True
    if obstacle := obstacles().get((license_id, target)):
        return obstacle.works
    listed = outbound(license_id)
    if listed is not None:
        return True if target in listed else None if target in unclear(license_id) else False
    return _passes_on(found, licenses.get(target))


def _passes_on(found: License, target: License) -> Tri:
    """Tell whether the target asks for all that a license without share-alike asks for."""
    if found.terms.commercial is None or found.terms.attribution is None:
        return None  # terms of its own, which no other license repeats
    if found.terms.commercial is False and target.terms.commercial is not False:
        return False
    return not (found.terms.attribution and target.terms.attribution is False)


def targets(ids: Iterable[str]) -> tuple[str, ...]:
    """Return what a work made of these licenses' texts may be thought to be offered under, sorted."""
    found = {*ids, *rules.load("licenses").data["merging"]["offers"]}
    for license_id in ids:
        found |= {*(outbound(license_id) or ()), *unclear(license_id)}
    return tuple(sorted(found))


def choose(expression: str, works: Callable[[str], Tri]) -> Choice:
    """Return the best way of using an expression, given what works of single licenses.

    Of OR's operands the one that works, or may work; of several the one that asks least, then by name.
    """
    found: Choice | None = licenses.fold_expression(
        expression, lambda key: Choice(works(key), licenses.get(key).rank, (key,)), _together, _best
    )
    return Choice(None, licenses.UNKNOWN_RANK, ()) if found is None else found


def _together(parts: list[Choice]) -> Choice:
    ids = tuple(sorted({key for part in parts for key in part.ids}))
    return Choice(strictest(part.works for part in parts), max(part.rank for part in parts), ids)


def _best(ways: list[Choice]) -> Choice:
    return min(ways, key=lambda way: ((True, None, False).index(way.works), way.rank, way.ids))


@cache
def _table() -> dict[str, dict[str, Any]]:
    listed = rules.load("licenses").data["merging"]["outbound"]
    return {license_id: entry for entry in listed for license_id in entry["inputs"]}


@cache
def obstacles() -> dict[tuple[str, str], Obstacle]:
    """Return the exceptions, by license and target."""
    return {
        (license_id, target): Obstacle(False if entry["answer"] == "no" else None, entry["reason"])
        for entry in rules.load("licenses").data["merging"]["exceptions"]
        for license_id in entry["inputs"]
        for target in entry["outbound"]
    }
