"""Why a verdict is what it is, in sentences that name the licenses and count the records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate import licenses
from curate.govern.licensing import merging
from curate.govern.licensing.merging import Choice
from curate.licenses import License, Tri

_LISTED = 6  # licenses that one sentence names


def collection(
    mix: Mapping[str | None, int], edited: Mapping[str | None, int], choices: Mapping[str, Choice]
) -> list[str]:
    """Return the reasons of the verdict on a collection."""
    told = [*_empty(mix), *_unknown(mix), *_choices(choices)]
    for expression, choice in choices.items():
        if choice.works is not False:
            continue
        if closed := _closed(choice.ids):
            told.append(
                f"{' and '.join(closed)} allows no copies to be passed on ({_records(mix[expression])})."
            )
        else:
            told.append(
                f"{expression} allows no changed text to be published, and the text of "
                f"{_records(edited[expression])} under it was changed."
            )
    for expression, choice in choices.items():
        if choice.works is None:
            told.append(
                f"Whether changed text may be published under {expression} cannot be told "
                f"({_records(edited.get(expression, 0))} changed)."
            )
    told += _terms(mix, choices)
    return told or [
        "Every license allows commercial use and derivatives, as long as what it asks for is done."
    ]


def merged(
    mix: Mapping[str | None, int],
    choices: Mapping[str, Choice],
    outbound: Sequence[str],
    works: Tri,
    conflicts: Sequence[Mapping[str, Any]],
) -> list[str]:
    """Return the reasons of the verdict on one merged work."""
    told = [*_empty(mix), *_unknown(mix), *_choices(choices)]
    told += list(dict.fromkeys(str(pair["reason"]) for pair in conflicts))
    ids = sorted({key for choice in choices.values() for key in choice.ids})
    if works is False and not conflicts:
        told.append(f"No license is left that all of {_listed(ids)} allow.")
    if works is not False:
        told += [_narrowed(key) for key in ids if merging.outbound(key) is not None]
        told += _unsettled(choices) if works is None and not outbound and None not in mix else []
    told += _terms(mix, choices)
    if works:
        told.append(
            f"Everything together may be offered under {_listed(outbound, 'or')}, with the credits and notices of "
            "its parts."
        )
    return told


def conflict(a: str, b: str) -> str:
    """Tell why no merged work can hold what is under both."""
    for expression in (a, b):
        if _adaptable(expression):
            continue
        if closed := _closed(licenses.ids(expression)):
            return f"{closed[0]} allows no copies to be passed on, so it can be part of no merged work."
        return f"{expression} allows no adaptations to be published, so it can be part of no merged work."
    mine, theirs = _adaptable(a), _adaptable(b)
    told = [_narrowed(key)[:-1] for key in mine + theirs if merging.outbound(key) is not None]
    told += [
        f"{key} forbids commercial use"
        for key in mine + theirs
        if merging.outbound(key) is None and licenses.get(key).terms.commercial is False
    ]
    pairs = [(x, y) for x in mine for y in theirs]
    told += [
        f"{x} does not go into {y}: {merging.obstacles()[x, y].reason}"
        for x, y in [*pairs, *((y, x) for x, y in pairs)]
        if (x, y) in merging.obstacles()
    ]
    joined = "; ".join(dict.fromkeys(told))
    return f"{a} and {b} cannot be merged: {joined or 'no license is left that both allow'}."


def _closed(ids: Sequence[str]) -> list[str]:
    return [key for key in ids if not licenses.get(key).redistribution]


def _adaptable(expression: str) -> tuple[str, ...]:
    """Return the licenses of the best way of using an expression; none where no way allows adaptations."""
    best = merging.choose(expression, _adapts)
    return () if best.works is False else best.ids


def _adapts(license_id: str) -> Tri:
    found = licenses.get(license_id)
    return found.terms.derivatives if found.redistribution else False


def _narrowed(license_id: str) -> str:
    listed = merging.outbound(license_id) or ()
    if unclear := merging.unclear(license_id):
        return (
            f"{license_id} allows adaptations under {_listed(listed, 'or')}; whether also under "
            f"{_listed(unclear, 'or')} cannot be told."
        )
    return f"{license_id} allows adaptations under {_listed(listed, 'or')} only."


def _unsettled(choices: Mapping[str, Choice]) -> list[str]:
    """Name what is neither allowed nor forbidden, where nothing is allowed."""
    ids = {key for choice in choices.values() for key in choice.ids}
    told = [
        f"Whether {license_id} may go into a work under {target} cannot be told: {obstacle.reason}."
        for (license_id, target), obstacle in merging.obstacles().items()
        if obstacle.works is None and license_id in ids and target in ids
    ]
    open_ = [key for key in sorted(ids) if None in (_adapts(key), licenses.get(key).terms.commercial)]
    named = _listed(open_ or sorted(ids))
    return told or ([f"Whether a merged work may hold texts under {named} cannot be told."] if ids else [])


def _choices(choices: Mapping[str, Choice]) -> list[str]:
    return [
        f"Of {expression!r} the choice is {' and '.join(choice.ids)}."
        for expression, choice in choices.items()
        if choice.ids and set(choice.ids) != set(licenses.ids(expression))
    ]


def _empty(mix: Mapping[str | None, int]) -> list[str]:
    return [] if mix else ["There is no record."]


def _unknown(mix: Mapping[str | None, int]) -> list[str]:
    if not mix.get(None):
        return []
    allows = "it allows" if mix[None] == 1 else "they allow"
    return [f"The license of {_records(mix[None])} is not known, so nobody can tell what {allows}."]


def _terms(mix: Mapping[str | None, int], choices: Mapping[str, Choice]) -> list[str]:
    """Tell which licenses forbid something, or leave it open, or cover less than it seems."""
    told = []
    for sentence, holds in _SENTENCES:
        found: dict[str, int] = {}
        for expression, choice in choices.items():
            for key in choice.ids:
                if holds(licenses.get(key), choice.ids):
                    found[key] = found.get(key, 0) + mix[expression]
        if found:
            named = [f"{key} ({_records(count)})" for key, count in sorted(found.items())]
            told.append(f"{sentence}: {_listed(named)}.")
    return told


def _asks(obligation: str) -> Callable[[License, Sequence[str]], bool]:
    return lambda one, _: obligation in one.obligations


def _covers_no_contents(one: License, beside: Sequence[str]) -> bool:
    return all("database-only" in licenses.get(key).obligations for key in (one.id, *beside))


# What is said of a license, given the licenses that hold beside it.
_SENTENCES: tuple[tuple[str, Callable[[License, Sequence[str]], bool]], ...] = (
    ("No commercial use", lambda one, _: one.terms.commercial is False),
    ("No derivatives", lambda one, _: one.terms.derivatives is False),
    ("Commercial use cannot be told", lambda one, _: one.terms.commercial is None),
    ("Whether derivatives are allowed cannot be told", lambda one, _: one.terms.derivatives is None),
    ("The license covers a database; what licenses its contents is not stated", _covers_no_contents),
    ("The European database right is not licensed", _asks("no-database-right")),
    ("A claim of status and no grant, to be backed by evidence", _asks("evidence")),
    ("The provider's terms forbid training models that compete with its own", _asks("no-competing-models")),
)


def _records(count: int) -> str:
    return f"{count:,} record{'' if count == 1 else 's'}"


def _listed(names: Sequence[str], joiner: str = "and") -> str:
    """Join names as a sentence does; those past the sixth are counted."""
    shown = list(names[:_LISTED])
    if rest := len(names) - len(shown):
        shown.append(f"{rest} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {joiner} {shown[-1]}" if shown else ""
