"""Two verdicts on a release: as a collection of records, and as one merged work; and why.

As a *collection* every record keeps its license, and all of them hold. As *one merged work*, as packing texts
into training sequences may make it, everything must be offered under one license: what each part allows is met
with what every other part allows. What cannot be told is contagious: no verdict is more than *unknown* then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from curate import licenses
from curate.govern.licensing import merging, reasons
from curate.govern.licensing.merging import Choice
from curate.licensenames import tree
from curate.licenses import Tri, freest, strictest

Mix: TypeAlias = Mapping[str | None, int]
"""License expression, None for unknown, → records."""

UNKNOWN = "LicenseRef-curate-unknown"
_VERDICTS: dict[Tri, str] = {True: "allowed", False: "conflict", None: "unknown"}


def judge(mix: Mix, edited: Mix) -> dict[str, Any]:
    """Return both verdicts and the conflicts, as the manifest holds them.

    mix: kept records by license. edited: those of them whose text was changed.
    """
    held = {expression: count for expression, count in mix.items() if count}
    return {
        "collection": collection(held, edited),
        "merged": merged(held),
        "conflicts": conflicts(held),
    }


def collection(mix: Mix, edited: Mix) -> dict[str, Any]:
    """Return the verdict on the release as a collection."""
    choices = {e: _kept_apart(e, bool(edited.get(e))) for e in _known(mix)}
    ids = _ids(choices.values())
    works = strictest([choice.works for choice in choices.values()])
    told = _terms(ids, unknown=None in mix or not mix)
    if works is not False and (None in mix or not mix or _untold(ids)):
        works = None
    return {
        "expression": _expression(mix),
        "verdict": _VERDICTS[works],
        **told,
        "obligations": _obligations(ids),
        "reasons": reasons.collection(mix, edited, choices),
    }


def _kept_apart(expression: str, edited: bool) -> Choice:
    """Return how records that keep their license are best used, changed or as they were."""

    def works(license_id: str) -> Tri:
        found = licenses.get(license_id)
        if not found.redistribution:
            return False
        return found.terms.derivatives if edited else True

    return merging.choose(expression, works)


def merged(mix: Mix) -> dict[str, Any]:
    """Return the verdict on the release as one merged work, and what it could be offered under, best first."""
    known, answers = _answers(mix)
    total = {t: strictest([by[t] for by in answers.values()]) for t in _shared(answers)}
    if None in mix or not mix:
        total = {target: None if works else works for target, works in total.items()}
    leaves = {license_id for expression in known for license_id in licenses.ids(expression)}
    outbound = sorted((t for t, works in total.items() if works), key=lambda t: _preference(t, leaves))
    # Nothing stands in the way of unknown records alone, and nothing lets them in.
    works = freest(total.values()) if total else None
    if None in mix and works is not False:
        works = None
    choices = {e: _best_way(e, outbound[:1]) for e in known}
    told = _terms((*_ids(choices.values()), *outbound[:1]), unknown=None in mix or not mix)
    if works and _untold(_ids(choices.values())):
        works = None
    if not works:  # where nothing can be offered, or nobody can tell, nothing is allowed, or nobody can tell
        told |= {use: False if told[use] is False else works for use in ("commercial", "derivatives")}
    return {
        "expression": _expression(mix),
        "verdict": _VERDICTS[works],
        **told,
        "obligations": _obligations(_ids(choices.values())),
        "reasons": reasons.merged(mix, choices, outbound, works, conflicts(mix)),
        "outbound": outbound if works else [],
    }


def _best_way(expression: str, target: Sequence[str]) -> Choice:
    if target:
        return merging.choose(expression, lambda license_id: merging.allows(license_id, target[0]))
    return merging.choose(expression, lambda license_id: licenses.get(license_id).terms.derivatives)


def _preference(target: str, leaves: set[str]) -> tuple[bool, bool, int, str]:
    """Put what allows commercial use first, then what the parts are under, then what asks least."""
    found = licenses.get(target)
    return (found.terms.commercial is not True, target not in leaves, found.rank, target)


def conflicts(mix: Mix) -> list[dict[str, Any]]:
    """Return each pair of licenses that no merged work can hold, with their records; one alone as its own pair."""
    known, answers = _answers(mix)
    found = []
    for i, a in enumerate(known):
        others = known[i + 1 :] if len(known) > 1 else [a]
        for b in others:
            if any(
                strictest([works, answers[b][target]]) is not False for target, works in answers[a].items()
            ):
                continue
            found.append(
                {
                    "a": a,
                    "b": b,
                    "records_a": mix[a],
                    "records_b": mix[b],
                    "reason": reasons.conflict(a, b),
                }
            )
    return found


def _answers(mix: Mix) -> tuple[list[str], dict[str, dict[str, Tri]]]:
    """Return the known licenses, sorted, and of each whether it works under every target."""
    known = _known(mix)
    ids = sorted({license_id for expression in known for license_id in licenses.ids(expression)})
    targets = merging.targets(ids)
    return known, {
        e: {t: merging.choose(e, lambda key, t=t: merging.allows(key, t)).works for t in targets}  # type: ignore[misc]
        for e in known
    }


def _shared(answers: Mapping[str, Mapping[str, Tri]]) -> list[str]:
    return list(next(iter(answers.values()), {}))


def _known(mix: Mix) -> list[str]:
    return sorted(expression for expression in mix if expression is not None)


def _ids(choices: Iterable[Choice]) -> tuple[str, ...]:
    return tuple(sorted({license_id for choice in choices for license_id in choice.ids}))


def _untold(ids: Iterable[str]) -> bool:
    """Tell whether any license leaves open what may be done."""
    found = [licenses.get(license_id).terms for license_id in ids]
    return any(None in (terms.commercial, terms.derivatives) for terms in found)


def _terms(ids: Iterable[str], unknown: bool) -> dict[str, Tri]:
    """Return the terms of licenses that hold together; unknown: so does one that nobody can tell."""
    found = [licenses.get(license_id).terms for license_id in ids]
    nothing: list[Tri] = [None] if unknown else []
    return {
        "commercial": strictest([*(t.commercial for t in found), *nothing]),
        "derivatives": strictest([*(t.derivatives for t in found), *nothing]),
        "attribution": freest([*(t.attribution for t in found), *nothing]),
        "share_alike": freest([*(t.share_alike for t in found), *nothing]),
    }


def _expression(mix: Mix) -> str | None:
    """Return the AND of all distinct licenses, canonical; unknown ones as a LicenseRef. None without records."""
    parts = [f"({expression})" for expression in _known(mix)] + ([UNKNOWN] if None in mix else [])
    return str(tree(" AND ".join(parts)).render()) if parts else None


def _obligations(ids: Iterable[str]) -> list[str]:
    asked = {key for license_id in ids for key in duties(license_id)}
    return [key for key in licenses.obligations() if key in asked]


def duties(license_id: str) -> tuple[str, ...]:
    """Return what a license asks, as keys of the pack's obligations; of one without a rule what its terms say."""
    found = licenses.get(license_id)
    if found.obligations or found.terms.attribution is not True:
        return found.obligations
    return ("keep-notices", "license-text", *(("share-alike",) if found.terms.share_alike else ()))
