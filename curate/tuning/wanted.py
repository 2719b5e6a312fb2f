"""Which arms are asked for, by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from curate.errors import RecipeError
from curate.rules import did_you_mean
from curate.tuning.contract import Kind
from curate.tuning.filters import Filter

PRESETS = {"leave-one-out": ("without_",), "each": ("only_",), "all": ("only_", "without_")}


class Asked(NamedTuple):
    """An arm by name."""

    name: str
    kind: Kind
    stage: str | None
    stages: tuple[str, ...]  # in the recipe's order


def asked(wanted: str | Sequence[str], filters: Sequence[Filter], canaries: str | None) -> list[Asked]:
    """Return the arms in the order in which they are told. Raises RecipeError with every name that is none.

    wanted: leave-one-out, each, all (both), or names of arms, to which ``raw`` and ``full`` are added. canaries: the
    stage that scrubs them, None where there is none.
    """
    known = {arm.name: arm for arm in _all(filters, canaries)}
    if isinstance(wanted, str) and wanted in PRESETS:
        own = tuple(f"{start}{one.name}" for start in PRESETS[wanted] for one in filters)
        names = {name for name, arm in known.items() if arm.kind not in ("alone", "without") or name in own}
    else:
        given = [wanted] if isinstance(wanted, str) else list(wanted)
        problems = [_unknown(name, known, filters) for name in given if name not in known]
        if problems:
            raise RecipeError(problems)
        names = {"raw", "full", *given}
    return [arm for name, arm in known.items() if name in names]


def _all(filters: Sequence[Filter], canaries: str | None) -> list[Asked]:
    every = tuple(one.name for one in filters)
    found = [Asked("raw", "raw", None, ()), Asked("random_drop", "random", None, ())]
    found += [Asked(f"only_{name}", "alone", name, (name,)) for name in every]
    found += [
        Asked(f"without_{name}", "without", name, tuple(other for other in every if other != name))
        for name in every
    ]
    found += [Asked("full", "full", None, every), Asked("planted", "planted", None, every)]
    if canaries is not None:
        found += [
            Asked("canary", "canary", canaries, ()),
            Asked("canary_scrubbed", "scrubbed", canaries, (canaries,)),
        ]
    return found


def _unknown(name: str, known: dict[str, Asked], filters: Sequence[Filter]) -> str:
    if name in ("canary", "canary_scrubbed"):
        return f"arms: {name} needs a stage pii that takes personal data out; the release has none"
    stage = name.removeprefix("only_").removeprefix("without_")
    near = (
        did_you_mean(name, list(known))
        or f"; filters of the release: {', '.join(one.name for one in filters)}"
    )
    if stage == "suppress":
        near = "; what was taken down is in no arm, so suppress has none"
    return f"arms: {name!r} is neither an arm nor one of {', '.join(PRESETS)}{near}"
